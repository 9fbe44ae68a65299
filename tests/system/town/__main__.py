"""Plays the town, and prints how each application was treated.

python -m tests.system.town [--version 3.10|4.0|4.3] [--observe 12] [--minutes 20] [--only NAME...]
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from testbed.broker import add_version
from testbed.libraries import reason_against
from tests.system.town.play import ALL, single_node, summary


def main() -> int:
    """0 where all were treated rightly."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.town", description="Some ninety applications on a real broker.")
    add_version(parser)
    parser.add_argument("--observe", type=float, default=12.0, metavar="MINUTES", help="without acting, before")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--for", dest="for_s", type=float, default=60.0, help="the symptom's `for`, in seconds")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where Unstick's log stays")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args()
    if reason := reason_against():
        parser.error(reason)
    patterns = [one for one in ALL if one.name in given.only or not given.only]
    with (
        tempfile.TemporaryDirectory() as folder,
        single_node(Path(folder), patterns, version=given.version, for_s=given.for_s, observed_s=given.observe * 60) as played,
    ):
        ends = time.monotonic() + given.minutes * 60
        while (left_s := ends - time.monotonic()) > 0:
            time.sleep(min(30.0, left_s))
            wrong = sum(not line.right for line in played.lines())
            print(f"{time.strftime('%H:%M:%S')} {wrong} of {len(patterns)} not right so far", file=sys.stderr, flush=True)
        played.close()
        lines = played.lines()
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(played.unstick.log, given.keep)
    print(*lines, "", *summary(lines), *played.alerts.mistakes[:10], sep="\n")
    return int(not all(line.right for line in lines))


if __name__ == "__main__":
    sys.exit(main())
