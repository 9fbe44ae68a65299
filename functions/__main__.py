"""`python -m functions`, the command line's name before 1.0. Runs `unstick`; to be removed in the next release."""

import runpy
import sys

if __name__ == "__main__":
    sys.stderr.write("`python -m functions` is going away; use `unstick` instead.\n")
    runpy.run_module("unstick", run_name="__main__", alter_sys=True)
