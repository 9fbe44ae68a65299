"""`python -m functions`: the command line. docs/command-line.md is what its help says."""

from __future__ import annotations

import io
import sys

from functions.cli.commands import command_line

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show a character is no reason to fail
    command_line(prog_name="python -m functions")
