"""Kills move.py, or the broker, at chance moments of a move, and counts by content what is left.

python -m tests.system.ladder.moves [--version 3.10|4.0|4.3] [--runs N] [--seed N]

One line for each kind of queue and victim; exit status 1 where a message was lost, an innocent one moved, or one is in two places
without the mark `copy`. After a killed program it is run again, as a person would do it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from testbed.broker import Cluster, add_version, cluster
from testbed.patience import wait_until
from tests.system.ladder.moves.place import VHOST, Place

VICTIMS = ("SIGKILL", "SIGTERM", "broker", "frozen")
FROZEN_S = 40.0
KINDS = ("classic", "quorum")
MESSAGES = [f"message {number}" for number in range(8)]
HUNG = MESSAGES[:2]
AT_ONCE = 6
BAD = ("lost", "doubled", "wrong", "left stopped")


def main() -> int:
    """0 where nothing was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.ladder.moves", description="Who dies in a move.")
    add_version(parser)
    parser.add_argument("--runs", type=int, default=18, help="by kind and victim")
    parser.add_argument("--victims", nargs="*", default=VICTIMS, choices=VICTIMS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), 1, version=given.version) as brokers:
        for kind in KINDS:
            for victim in given.victims:
                counts: Counter[str] = Counter()
                for first in range(0, given.runs, AT_ONCE):
                    names = [f"{kind}-{victim}-{number}" for number in range(first, min(first + AT_ONCE, given.runs))]
                    counts.update(play_together(brokers, Path(folder), kind, victim, names, chance))
                bad += sum(counts[what] for what in BAD)
                exits = ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()) if name.startswith("exit"))
                rest = ", ".join(f"{name} {counts[name]}" for name in (*BAD, "copies", "out of order"))
                print(f"{given.version:5} {kind:8} {victim:8} {given.runs} runs: {rest}; {exits}", flush=True)
    return int(bad > 0)


def play_together(
    nodes: Cluster, folder: Path, kind: str, victim: str, names: Sequence[str], chance: random.Random
) -> Counter[str]:
    """Moves of two messages each, on queues of their own, with a kill at chance moments; of the broker, one for all."""
    (node,) = nodes.nodes
    places = []
    for name in names:
        (folder / name).mkdir()
        place = Place(node, folder / name, kind, f"mail.{name}")
        place.publish(*MESSAGES)
        place.hang(len(HUNG))
        places.append(place)
    waits = [chance.uniform(0.0, 3.0) for _ in places]
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(len(places)) as pool:
        moves = list(pool.map(partial(begin, victim), places, waits))
        if victim in ("broker", "frozen"):
            time.sleep(chance.uniform(0.0, 4.0))
            hurt(nodes, victim)
        for counted in pool.map(partial(finish, victim), places, moves):
            counts.update(counted)
    return counts


def hurt(nodes: Cluster, victim: str) -> None:
    """Kill -9, or no answer for a while."""
    (node,) = nodes.nodes
    if victim == "broker":
        nodes.kill(node)
        nodes.start(node)
        return
    group = nodes.servers[node.name].pid
    os.killpg(group, signal.SIGSTOP)
    time.sleep(FROZEN_S)
    os.killpg(group, signal.SIGCONT)


def begin(victim: str, place: Place, wait_s: float) -> subprocess.Popen[str]:
    """A move, killed after so long where the program is the victim."""
    command, environment = place.command("park", str(len(HUNG))), place.environment(wait_s=60)
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    wait_until(place.stopped.exists)
    if victim.startswith("SIG"):
        time.sleep(wait_s)
        running.send_signal(getattr(signal, victim))
    return running


def finish(victim: str, place: Place, running: subprocess.Popen[str]) -> Counter[str]:
    """What came of it."""
    said, _ = running.communicate(timeout=300)
    counts = Counter({f"exit {running.returncode}": 1})
    counts["left stopped"] = int(victim != "SIGKILL" and not place.started.exists())
    if victim.startswith("SIG"):
        counts.update(after_a_kill(place))
    counts.update(judge(place, said))
    return counts


def after_a_kill(place: Place) -> Counter[str]:
    """A person runs it again, for what is left of what hung."""
    place.until_returned()
    left = [body for body in HUNG if body in place.bodies()]
    if left:
        status, _, _ = place.run("park", str(len(left)), wait_s=60)
        return Counter({f"exit again {status}": 1})
    return Counter()


def judge(place: Place, said: str) -> Counter[str]:
    wait_until(lambda: place.broker.api("GET", f"queues/{VHOST}/{place.queue}").get("state") == "running")
    parked, left = place.messages(place.parked), place.bodies()
    marked = [body.decode() for _, properties, body in parked if properties.headers["x-unstick"].get("copy")]
    unmarked = [body.decode() for _, properties, body in parked if not properties.headers["x-unstick"].get("copy")]
    places = Counter([*left, *unmarked])
    counts = Counter(
        {
            "lost": len(set(MESSAGES) - set(places) - set(marked)),
            "doubled": sum(count > 1 for count in places.values()),
            "wrong": len({*marked, *unmarked} - set(HUNG)),
            "copies": len(marked),
            "out of order": int(left != [body for body in MESSAGES if body in left]),
        }
    )
    if counts["lost"] or counts["doubled"] or counts["wrong"]:
        print(f"{place.queue}: left {left}, parked {unmarked}, copies {marked}: {said}", flush=True)
    return counts


if __name__ == "__main__":
    sys.exit(main())
