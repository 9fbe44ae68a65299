"""Chooses the lines of an evidence job's output that cards show."""

from __future__ import annotations

MARK = ">> "
"""The job says which lines matter: those that begin with this."""

LINES = 12
KEPT = 240
"""Characters of a line."""


def choose_lines(output: str) -> tuple[str, ...]:
    """The first 12 lines that the job marked with `>> `, without the mark; if it marked none, its last 12 that are not blank."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    marked = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return tuple(line[:KEPT] for line in (marked[:LINES] or lines[-LINES:]))
