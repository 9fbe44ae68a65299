"""Plays the town, and prints how each application was treated.

python -m tests.system.town [--version 3.10|4.0|4.3] [--minutes 4] [--only NAME...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support.broker import HOST, broker, reason_against
from tests.system.town.healthy import HEALTHY
from tests.system.town.play import town
from tests.system.town.stuck import STUCK


def main() -> int:
    """0 where all were treated rightly."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.town", description="Forty applications on a real broker.")
    parser.add_argument("--version", default="3.10", choices=["3.10", "4.0", "4.3"], help="3.10: the host's")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--for", dest="for_s", type=float, default=60.0, help="the symptom's `for`, in seconds")
    parser.add_argument("--repeat", type=float, default=60.0, help="seconds after which an alert is sent again")
    parser.add_argument("--tags", default="monitoring", help="of the user that Unstick is")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--keep", type=Path, help="a folder for Unstick's log and database")
    given = parser.parse_args()
    version = HOST if given.version == "3.10" else given.version
    if reason := reason_against(version):
        print(reason, file=sys.stderr)
        return 2
    patterns = [one for one in HEALTHY + STUCK if one.name in given.only or not given.only]
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder) / "broker", version=version) as made:
        kept = given.keep or Path(folder) / "unstick"
        with town([made], patterns, kept, for_s=given.for_s, repeat_s=given.repeat, tags=given.tags) as played:
            ends = time.monotonic() + given.minutes * 60
            while time.monotonic() < ends:
                time.sleep(min(30.0, max(0.0, ends - time.monotonic())))
                wrong = [line for line in played.lines() if not line.right]
                print(
                    f"{time.strftime('%H:%M:%S')} {len(wrong)} of {len(patterns)} not right so far", file=sys.stderr, flush=True
                )
            lines = played.lines()
    print(*lines, *played.alerts.mistakes[:10], sep="\n")
    return int(not all(line.right for line in lines))


if __name__ == "__main__":
    sys.exit(main())
