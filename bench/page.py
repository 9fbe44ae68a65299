"""docs/benchmarks.md, whose parts are measured and written separately, each under its heading."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
BESIDE, LOOK = "## Beside others", "## What a check costs RabbitMQ"


@dataclass(frozen=True, slots=True)
class Promise:
    """A limit, what was measured, and whether it holds."""

    what: str
    limit: str
    measured: str
    holds: bool

    def row(self) -> str:
        return f"| {self.what} | {self.limit} | {self.measured} | {'yes' if self.holds else '**no**'} |"


def table(promises: list[Promise]) -> str:
    """The promises as a table in Markdown."""
    return "\n".join(
        ["| | limit | measured | holds |", "| --- | ---: | ---: | :---: |", *(promise.row() for promise in promises)]
    )


def write_part(heading: str, part: str) -> None:
    """Replace the part with this heading. The promises come first, without a heading ("")."""
    page = PAGE.read_text(encoding="utf-8")
    pattern = rf"(?s){re.escape(heading)}\n.*?(?=\n## |\Z)" if heading else rf"(?s)\A.*?(?={re.escape(BESIDE)})"
    text, count = re.subn(pattern, lambda _: part.rstrip() + ("\n\n" if not heading else "\n"), page, count=1)
    PAGE.write_text(text if count else page.rstrip() + "\n\n" + part.rstrip() + "\n", encoding="utf-8")
