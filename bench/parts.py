"""Parts of docs/benchmarks.md that are written by themselves: each begins with its heading and ends before the next one.

From DETAILS on, page.py writes the page; what stands before it, promises.py.
"""

from __future__ import annotations

from bench.stage import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
DETAILS, LONG_RUN, READING = "## Beside others", "## A long run", "## How to read them"
APPLICATIONS, LOOK = "## Applications, healthy and stuck", "## What a check costs RabbitMQ"


def part_of(page: str, heading: str) -> str:
    """The part with this heading, without empty lines at its end; "" if there is none."""
    _, found, after = page.partition(heading + "\n")
    return (heading + "\n" + after.partition("\n## ")[0]).rstrip() if found else ""


def with_part(page: str, heading: str, part: str) -> str:
    """The page with this part in the place of the one that it has, else before "How to read them"."""
    if former := part_of(page, heading):
        return page.replace(former, part.rstrip())
    return page.replace(READING, part.rstrip() + "\n\n" + READING, 1)


def with_promises(page: str, promises: str) -> str:
    """The page with these promises in the place of its own."""
    return f"{promises}\n" + "".join(page.partition(DETAILS)[1:])


def with_details(page: str, details: str) -> str:
    """The page with these details in the place of its own."""
    return page.partition(DETAILS)[0] + details


def write_part(heading: str, part: str) -> None:
    """Put it into the page."""
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), heading, part), encoding="utf-8")
