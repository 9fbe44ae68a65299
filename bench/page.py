"""Writes docs/benchmarks.md and its chart from what was measured."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench import rounds
from bench.claims import claims
from bench.contenders import BARE, HASHING, REQUESTING, RULEBOOK, UNGUARDED, UNSTICK, WEBHOOK
from bench.samples import Samples, middle, spread
from bench.stage import ROOT

PAGE, CHART = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
COLUMNS = (UNSTICK, WEBHOOK, RULEBOOK, UNGUARDED, HASHING, REQUESTING, BARE)
MS, MIB, PER_S, TIMES = ("ms", 1000.0), ("MiB", 1.0), ("/s", 1.0), ("", 1.0)
ROWS = {
    rounds.COLD_FORGED: MS, rounds.COLD_FORGED_CPU: MS, rounds.COLD_ALERT: MS, rounds.COLD_ALERT_CPU: MS,
    rounds.FORGED: MS, rounds.FORGED_CPU: MS, rounds.FORGED_LARGE: MS,
    rounds.ALERT: MS, rounds.ANSWER: MS, rounds.ANSWER_MANY: MS, rounds.PARALLEL_S: MS, rounds.PARALLEL_RESTARTS: TIMES,
    rounds.RATE_SMALL: PER_S, rounds.RATE_LARGE: PER_S,
    rounds.PSS_REST: MIB, rounds.PSS_AFTER: MIB, rounds.RSS_REST: MIB, rounds.RSS_AFTER: MIB,
}  # fmt: skip
INTRODUCTION = """# Benchmarks

Written by `make bench`; change nothing here by hand. All figures are of one run on one machine. In each round everybody does
the same work, one after the other: starts anew, answers forged requests, and has the same Rundeck stand-in restart something.
A figure is the median of the rounds with its quartiles; a ratio is taken within a round, before the median.

- **Unstick** under functions-framework as `make run` serves it, with the local store and scheduler.
- **adnanh/webhook** (Debian's package `webhook`): an HMAC hook that calls Rundeck by curl. It looks at nothing before it does.
- **ansible-rulebook** (PyPI): its own webhook source with HMAC, a rule that calls Rundeck by `ansible.builtin.uri`.
- **same calls without guards**: a function that makes the calls that Unstick makes (document, RabbitMQ, history, wake-up, save,
  run, save) and decides nothing. What is left between the two is what deciding costs.
- **a bare function**, one that **reads and hashes** the body, and one that **imports requests** and does nothing.
"""
NOTES = """
- "To Rundeck" ends when Rundeck's request has arrived; it begins with the last byte of the alert, or with the process's start.
- A forged request has a fresh timestamp and a wrong signature of the right form, so that the whole body is hashed.
- adnanh/webhook answers before its command runs, and answers a wrong signature with 500. ansible-rulebook answers before its rule
  runs, and needs seconds for it, so it takes part in fewer rounds and in no load.
- adnanh/webhook is a Go program that starts in milliseconds and restarts whatever it is told to; each of 300 notifications of one
  alert is a restart. That is the difference that this project is about.
- Requests come from Python on the same machine. The highest rates are limited by that as much as by the server.
- The 1,000 alerts are of one target. With a target each, ten are decided at once and the rest is saved for its wake-ups.
- Calls in sequence are counted with the cloud's store and scheduler (their real clients against stand-ins), with 50 and 150 ms put
  on each call; a history of more than 100 rows takes Rundeck one call more.

Where a promise does not hold:

- **A cold start** reads and checks the whole configuration before it serves, so that a mistake stops the deployment and not an
  alert. Of the 34 ms of CPU that this takes on top of functions-framework (November 2026, CPython 3.11), 10 import PyYAML (4 of them
  one regular expression of its reader), 4 msgspec, 2 RE2, 2 time zones and 1 SQLite; 4 read and check the file, and the rest
  imports the rooms that it names. The packages alone take nine tenths of what the limit leaves. It was 66 ms
  until the frozen dataclasses became msgspec's ([why](decisions/value-types.md)).
- **4.3 calls**: there are four in sequence and no more. What goes beyond is computing, 23 ms from the last byte in to Rundeck's
  request with no delay at all, by Unstick and by the stand-ins and slow lines beside it on the same two cores.
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What this run was like."""

    rounds: int
    load_before: float
    load_after: float
    took_s: float
    missing: dict[str, str]
    imports: str
    instructions: str
    """The part of the page that bench/instructions.py writes."""


def write(samples: Samples, circumstances: Circumstances) -> None:
    """The page and the chart."""
    PAGE.write_text(page(samples, circumstances))
    CHART.write_text(chart(samples))


def page(samples: Samples, circumstances: Circumstances) -> str:
    """Markdown: the promises, all figures, the circumstances, and the imports."""
    promised = [
        "| | limit | measured (quartiles) | holds |",
        "| --- | ---: | ---: | :---: |",
        *(one.row() for one in claims(samples)),
    ]
    shown = [one for one in COLUMNS if one.name not in circumstances.missing]
    table = ["| | " + " | ".join(one.name for one in shown) + " |", "| --- |" + " ---: |" * len(shown)]
    for measure, (unit, factor) in ROWS.items():
        cells = [_cell(samples.of(measure, one.name), factor) for one in shown]
        table.append(f"| {measure}{f', {unit}' if unit else ''} | " + " | ".join(cells) + " |")
    parts = [
        INTRODUCTION, "![Unstick beside others](benchmarks.svg)\n", "## What is promised\n", *promised, "", "## All figures\n",
        *table, "", circumstances.instructions, "## How to read them", NOTES, "## This run\n", *_this_run(samples, circumstances), "",
        "## What a start imports\n",
        (
            "On top of functions-framework, with byte code there, all of 2 ms or more (`python -X importtime`, which itself"
            " slows it down). requests, msgspec and Google's clients are not in it: they are imported by the first alert.\n"
        ),
        "```text", circumstances.imports, "```",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _this_run(samples: Samples, circumstances: Circumstances) -> list[str]:
    cpu = samples.of(rounds.FORGED_CPU, BARE.name)
    low, high = spread(cpu)
    noise = 100 * (high - low) / middle(cpu) if cpu else float("nan")
    took = f"{circumstances.rounds} rounds in {circumstances.took_s:.0f} s"
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    load = f"{circumstances.load_before:.1f} before, {circumstances.load_after:.1f} after"
    lines = [
        f"- {time.strftime('%Y-%m-%d', time.gmtime())}, {took}, {machine}. Load of the machine: {load}.",
        f"- Noise: CPU time of the bare function's requests, always the same work, has quartiles {noise:.0f} % apart.",
    ]
    return lines + [f"- {name} is missing: {why}." for name, why in circumstances.missing.items()]


def _cell(values: list[float], factor: float) -> str:
    if not values:
        return ""
    low, high = (_short(value * factor) for value in spread(values))
    return _short(middle(values) * factor) + (f" ({low}–{high})" if low != high else "")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


# --- the chart -------------------------------------------------------------------------------------------------------------

PANELS = {
    rounds.COLD_FORGED: MS, rounds.COLD_ALERT: MS, rounds.ALERT: MS, rounds.PSS_AFTER: MIB, rounds.PARALLEL_RESTARTS: TIMES,
}  # fmt: skip
WIDTH, LABEL, BAR, GAP, HEAD = 760, 230, 15, 5, 34
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600}.v{fill:#59636e}rect{fill:#a8b1bb}.us{fill:#1f6feb}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9198a1}rect{fill:#656c76}.us{fill:#4493f8}}"
)


def chart(samples: Samples) -> str:
    """Bars by measure, each panel with a scale of its own, from zero."""
    drawn: list[str] = []
    y = 0
    for measure, (unit, factor) in PANELS.items():
        values = {one.name: middle(samples.of(measure, one.name)) * factor for one in COLUMNS if samples.of(measure, one.name)}
        longest = max(values.values(), default=1.0) or 1.0
        drawn.append(f'<text class="h" x="0" y="{y + 22}">{escape(measure)}{escape(f", {unit}" if unit else "")}</text>')
        y += HEAD
        for name, value in values.items():
            length = max(1.0, value / longest * (WIDTH - LABEL - 80))
            us = ' class="us"' if name == UNSTICK.name else ""
            drawn += [
                f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
                f'<rect{us} x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
                f'<text class="v" x="{LABEL + length + 6:.1f}" y="{y + 12}">{_short(value)}</text>',
            ]
            y += BAR + GAP
    title = "Unstick beside others: times, memory and restarts; shorter is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" width="{WIDTH}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )
