"""`python -m bench [--only PART] [--rounds N]`: measure, and write docs/benchmarks.md."""

import argparse
import sys

from bench import beside, look, promises

PARTS = {"restart-time": promises.write, "beside": beside.write, "look": look.write}


def main() -> int:
    """Measure, and say which promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Unstick; writes docs/benchmarks.md.")
    parser.add_argument("--only", choices=PARTS, help="measure and write only this part: 5, 10 or 45 minutes")
    parser.add_argument("--rounds", type=int, default=5, help="of the part `beside` (default %(default)s)")
    asked = parser.parse_args()
    for name, write in PARTS.items():
        if asked.only in (None, name):
            print(f"{name} ...", flush=True)
            print(*(promise.row() for promise in write(asked.rounds)), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
