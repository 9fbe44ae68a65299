"""`python -m functions`: the command line. docs/command-line.md is what its help says."""

from __future__ import annotations

import io
import os
import sys

COMPLETION = "_UNSTICK_COMPLETE"
"""Set by the shell's completion of the command `unstick` (tools/unstick)."""

if __name__ == "__main__":
    try:
        from functions.cli.main import command_line
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "functions":
            raise
        # In a fresh clone the system's own Python has no packages, and its traceback suggests no remedy.
        sys.stderr.write(
            f"The package {error.name} is not installed here. Run `make setup`, then `.venv/bin/python -m functions ...`.\n"
        )
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show a character is no reason to fail
    command_line(prog_name="unstick" if COMPLETION in os.environ else "python -m functions", complete_var=COMPLETION)
