"""Chooses the lines of an evidence job's output that cards show."""

from __future__ import annotations

MARK = ">> "  # the job's prefix for the lines that matter
LINES, LINE = 12, 240  # lines of evidence or of a job's log on a card, and characters of each


def choose_lines(output: str) -> tuple[str, ...]:
    """The first 12 lines that the job marked with `>> `, without the mark; if none is marked, the last 12 that aren't blank."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    marked = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return tuple(line[:LINE] for line in (marked[:LINES] or lines[-LINES:]))
