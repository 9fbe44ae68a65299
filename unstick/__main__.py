"""`python -m unstick`: runs the command `unstick` if the package is not installed."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from unstick.main import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("functions", "unstick"):
            raise
        # In a fresh clone the system's own Python has no packages, and its traceback suggests no remedy.
        sys.stderr.write(f"The package {error.name} is not installed here. Run `make setup`, then `.venv/bin/unstick ...`.\n")
        raise SystemExit(2) from None
    run()
