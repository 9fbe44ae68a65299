"""`python -m functions`, as the command line was called before 1.0: goes on as `unstick`, for this release."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.stderr.write("`python -m functions` is going away; use `unstick` instead.\n")
    runpy.run_module("unstick", run_name="__main__", alter_sys=True)
