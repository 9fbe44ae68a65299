"""Writes the second half of docs/benchmarks.md, Unstick beside others, and its chart from the measurements."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench import measures
from bench.claims import claims
from bench.contenders import BARE, HASHING, REQUESTING, RULEBOOK, UNGUARDED, UNSTICK, WEBHOOK
from bench.legs import LEGS_ALL_CPUS
from bench.measures import UNITS
from bench.parts import APPLICATIONS, DETAILS, LONG_RUN, LOOK, PAGE, READING, part_of, with_details
from bench.samples import Samples, middle, spread
from bench.stage import ROOT

CHART = ROOT / "docs" / "benchmarks.svg"
COLUMNS = (UNSTICK, WEBHOOK, RULEBOOK, UNGUARDED, HASHING, REQUESTING, BARE)
INTRODUCTION = f"""{DETAILS}

Each program starts, answers forged requests, and has the same Rundeck stand-in restart something: Unstick, [adnanh/webhook](https://github.com/adnanh/webhook) and ansible-rulebook, which check nothing first, a function that makes Unstick's calls and
decides nothing, and almost empty functions. Figures are medians of rounds; ratios are computed within a round.
"""
NOTES = """
- *To Rundeck* ends when Rundeck has received the request. A forged request has a wrong signature of the right form.
- The fastest of five cold starts counts.
- Google's services are stand-ins on the same machine. adnanh/webhook and ansible-rulebook answer before they act.
- Calls in sequence are counted with 50 and 150 ms added to each. On all CPUs of this machine the count was {all_cpus:.2f}.
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The circumstances of this run."""

    rounds: int
    load_before: float
    load_after: float
    took_s: float
    missing: dict[str, str]


def write(samples: Samples, circumstances: Circumstances) -> None:
    """Write the page and the chart. The parts that are written by themselves stay."""
    before = PAGE.read_text(encoding="utf-8")
    kept = [part for heading in (APPLICATIONS, LOOK, LONG_RUN) if (part := part_of(before, heading))]
    details = page(samples, circumstances, "\n\n".join(kept))
    PAGE.write_text(with_details(before, details), encoding="utf-8")
    CHART.write_text(chart(samples), encoding="utf-8")


def page(samples: Samples, circumstances: Circumstances, kept: str = "") -> str:
    """Markdown: the limits and the circumstances."""
    promises = [
        "| | limit | measured (quartiles) | holds |",
        "| --- | ---: | ---: | :---: |",
        *(claim.row() for claim in claims(samples)),
    ]
    notes = NOTES.format(all_cpus=middle(samples.of(LEGS_ALL_CPUS, UNSTICK.name)))
    parts = [
        INTRODUCTION, "![Unstick beside others](benchmarks.svg)\n", *promises, "",
        *([kept, ""] if kept else []), READING, notes + _this_run(samples, circumstances),
    ]  # fmt: skip
    return "\n".join(parts)


def _this_run(samples: Samples, circumstances: Circumstances) -> str:
    cpu = samples.of(measures.FORGED_CPU, BARE.name)
    low, high = spread(cpu)
    noise = 100 * (high - low) / middle(cpu) if cpu else float("nan")
    took = f"{circumstances.rounds} rounds in {circumstances.took_s:.0f} s"
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    load = f"load {circumstances.load_before:.1f} before and {circumstances.load_after:.1f} after"
    lines = [
        f"- This run: {time.strftime('%Y-%m-%d', time.gmtime())}, {took}, {machine}, {load}. Quartiles of a bare request's CPU time are {noise:.0f} % apart.",
        *(f"- {name} is missing: {why}." for name, why in circumstances.missing.items()),
    ]
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


# --- the chart -------------------------------------------------------------------------------------------------------------

PANELS = {
    measure: UNITS[measure]
    for measure in (
        measures.COLD_FORGED, measures.COLD_ALERT, measures.ALERT, measures.PSS_AFTER, measures.PARALLEL_RESTARTS,
    )
}  # fmt: skip
WIDTH, LABEL, BAR, GAP, HEAD = 760, 230, 15, 5, 34
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600}.v{fill:#59636e}rect{fill:#a8b1bb}.us{fill:#1f6feb}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9198a1}rect{fill:#656c76}.us{fill:#4493f8}}"
)


def chart(samples: Samples) -> str:
    """Bars for each measure. Each panel has its own scale, from zero."""
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
