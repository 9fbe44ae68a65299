"""Inserts generated tables into hand-written pages."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end of tables -->"


def with_tables(page: Path, begin: str, tables: str) -> str:
    """The page with these tables between the line `begin` and END."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n\n{tables}\n\n{END}{rest.partition(END)[2]}"
