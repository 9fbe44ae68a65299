"""Plays the town, and prints how each application was treated.

python -m tests.system.town [--version 3.10|4.0|4.3] [--minutes 4] [--only NAME...]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.broker import PLUGINS, add_version, broker, free_ports
from testbed.libraries import reason_against
from tests.system.town.healthy import HEALTHY
from tests.system.town.libraries import LIBRARIES
from tests.system.town.play import Town, summary, town
from tests.system.town.protocols import PROTOCOLS, SPOKEN, listener
from tests.system.town.stuck import STUCK


def main() -> int:
    """0 where all were treated rightly."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.town", description="Some ninety applications on a real broker.")
    add_version(parser)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--for", dest="for_s", type=float, default=60.0, help="the symptom's `for`, in seconds")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where Unstick's log stays")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args()
    if reason := reason_against():
        parser.error(reason)
    with tempfile.TemporaryDirectory() as folder, open_town(given, Path(folder)) as (played, wait):
        wait()
        played.close()
        lines = played.lines()
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(played.unstick.log, given.keep)
    print(*lines, "", *summary(lines), *played.alerts.mistakes[:10], sep="\n")
    return int(not all(line.right for line in lines))


@contextmanager
def open_town(given: argparse.Namespace, folder: Path) -> Iterator[tuple[Town, Callable[[], None]]]:
    """The town that is asked for, and what to wait with until it has been open long enough."""
    patterns = [one for one in HEALTHY + STUCK + PROTOCOLS + LIBRARIES if one.name in given.only or not given.only]
    (mqtt_port,) = free_ports(1)
    with (
        broker(folder / "broker", version=given.version, plugins=(*PLUGINS, *SPOKEN), lines=(listener(mqtt_port),)) as node,
        town([node], patterns, folder / "unstick", for_s=given.for_s, mqtt_port=mqtt_port) as played,
    ):

        def wait() -> None:
            ends = time.monotonic() + given.minutes * 60
            while time.monotonic() < ends:
                time.sleep(min(30.0, max(0.0, ends - time.monotonic())))
                tell(f"{sum(not line.right for line in played.lines())} of {len(patterns)} not right so far")

        yield played, wait


def tell(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
