"""Plays the scenarios, and prints how each went.

python -m tests.system.ladder [--version 3.10|4.0|4.3] [--only NAME...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from testbed.broker import Broker, Cluster, add_version, cluster
from tests.system.ladder.moves.place import grant
from tests.system.ladder.play import HEADER, PASSWORD, SCENARIOS, USER, VHOST, Play, Row, Scenario

KINDS = ("classic", "quorum")
AT_ONCE = 6


def main() -> int:
    """0 where all went right."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.ladder", description="From the restart to the remedy.")
    add_version(parser)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="parts of the scenarios' names")
    given = parser.parse_args()
    chosen = [one for name, one in SCENARIOS.items() if not given.only or any(part in name for part in given.only)]
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder, one_broker(Path(folder) / "broker", given.version) as brokers:
        rows = list(play_all(brokers.nodes[0], chosen, KINDS, Path(folder)))
    return int(any(row.wrong for row in rows))


def play_all(broker: Broker, scenarios: Sequence[Scenario], kinds: Sequence[str], folder: Path) -> Iterator[Row]:
    """So many at once. They share a broker, but where it is killed."""
    admit(broker)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [(scenario, kind) for scenario in scenarios for kind in kinds]
        for row in pool.map(lambda case: play_one(broker, folder, *case), cases):
            print(row, flush=True)
            yield row


def play_one(broker: Broker, folder: Path, scenario: Scenario, kind: str) -> Row:
    own = folder / f"{kind}-{scenario.name}".replace(" ", "-").replace(",", "")
    played = partial(Play, scenario, kind, folder=own / "play")
    if scenario.kills != "broker":
        return played(Cluster([broker])).play()
    with one_broker(own / "broker", broker.version) as dying:
        admit(dying.nodes[0])
        return played(dying).play()


def one_broker(folder: Path, version: str) -> AbstractContextManager[Cluster]:
    return cluster(folder, 1, version=version)


def admit(broker: Broker) -> None:
    """The accounts of the job and of Unstick."""
    grant(broker, vhost=VHOST, configure=r"\.work\.parked$", read=r"\.work(\.parked)?$")
    broker.add_user(USER, PASSWORD, tags="monitoring", vhosts=[VHOST])


if __name__ == "__main__":
    sys.exit(main())
