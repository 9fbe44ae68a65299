"""Writes docs/benchmarks.md and its chart from what was measured."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench import measures
from bench.claims import claims
from bench.contenders import BARE, HASHING, REQUESTING, RULEBOOK, UNGUARDED, UNSTICK, WEBHOOK
from bench.imports import Imports
from bench.legs import BEYOND, LEGS_ALL_CPUS
from bench.measures import LEFT_OUT, UNITS, left_out
from bench.parts import LONG_RUN, PAGE, READING, part_of
from bench.rounds import WARM_STARTS
from bench.samples import Samples, middle, spread
from bench.stage import ROOT

CHART = ROOT / "docs" / "benchmarks.svg"
COLUMNS = (UNSTICK, WEBHOOK, RULEBOOK, UNGUARDED, HASHING, REQUESTING, BARE)
INTRODUCTION = """# Benchmarks

Written by `make bench`; change nothing here by hand. All figures are of one run on one machine. In each round everybody does
the same work, one after the other (small forged requests in turns): starts anew, answers forged requests, and has the same Rundeck
stand-in restart something.
A figure is the median of the rounds with its quartiles; a ratio is taken within a round, before the median.

- **Unstick** under functions-framework as `make run` serves it, with the local store and scheduler; for cold starts as `infra/` deploys it: the
  archive of `infra/package.py`, the cloud's store and scheduler, all secrets in Secret Manager. What tells a forged request is mounted as a file,
  the others are fetched by Google's client.
- **adnanh/webhook** (Debian's package `webhook`): an HMAC hook that calls Rundeck by curl. It looks at nothing before it does.
- **ansible-rulebook** (PyPI): its own webhook source with HMAC, a rule that calls Rundeck by `ansible.builtin.uri`.
- **same calls without guards**: a function that makes the calls that Unstick makes (documents, RabbitMQ, history, wake-up, saves,
  run, save; those together that Unstick makes together) and decides nothing; for cold starts by Google's libraries, which it imports
  when it first needs them, as Unstick does.
- **a bare function**, one that **reads and hashes** the body, and one that **imports requests** and does nothing.
"""
NOTES = """
- "To Rundeck" ends when Rundeck's request has arrived; it begins with the last byte of the alert, or with the process's start.
- A forged request has a fresh timestamp and a wrong signature of the right form, so that the whole body is hashed.
- Of a round's cold starts the least figure of five counts (of ansible-rulebook's the only one): what else a machine has to do only adds to it.
- Warm, all functions and adnanh/webhook are up at the same time, and whoever is not asked rests; ansible-rulebook is up alone. A round has
  {starts} starts for the small forged requests: the same server is up to a quarter slower after one than after another.
- Warm measures begin half a second after the first answer: on one machine Unstick's scheduler makes its first round until then.
- Cloud Run fetches a mounted secret when its file is read; here it is a file of this machine. Where none is mounted, whoever comes first waits
  for Google's client; whoever comes within the next five minutes does not.
- Google's services are stand-ins on the same machine, without credentials: what a network and a token take comes on top, for both.
- adnanh/webhook answers before its command runs, and answers a wrong signature with 500. ansible-rulebook answers before its rule
  runs, and needs seconds for it, so it takes part in fewer rounds.
- Of a notification with 1,000 alerts adnanh/webhook and the function without guards look at the first one; Unstick decides them all.
- adnanh/webhook is a Go program that starts in milliseconds and restarts whatever it is told to; each of 300 notifications of one
  alert is a restart. That is the difference that this project is about.
- Requests come from Python on the same machine. The highest rates are limited by that as much as by the server.
- The 1,000 alerts are of one target, so one restart is right. With a target each, ten are decided at once and the rest is saved for its wake-ups.
- Calls in sequence are counted with the cloud's store and scheduler (the real libraries against stand-ins), with 50 and 150 ms put
  on each call; a history of more than 100 rows takes Rundeck one call more. One such call is a request to Rundeck's stand-in, by itself,
  without an HTTP library. The function has one CPU then, as `infra/` gives it; with all CPUs of this machine it was {all_cpus:.2f} such calls.
"""
UNKEPT = """
Where a promise does not hold:

"""
COLD = """\
- **A cold start**: of the {whole:.0f} ms of the list below msgspec takes {msgspec:.0f}; the rest imports the rooms that the configuration
  names, and reads it. The limit leaves {left:.0f} ms beside a bare function.
"""
MACHINE = """\
- **On one machine** the start reads and checks the file ([below](#what-a-start-imports)), once, before it serves.
"""
SEQUENCE = """\
- **4.3 calls**: what goes beyond those in sequence is computing, {computing:.0f} ms of it, by Unstick, by Google's clients and by the
  stand-ins and slow lines beside it on the same cores.
"""
LATER = ("requests", "google.api_core", "google.auth", "google.cloud")
"""What the page says that a start does not import."""

IMPORTS = """\
On top of functions-framework, with byte code there, all of 2 ms or more (`python -X importtime`, which itself slows it down; the
quickest of five), for the archive of `infra/package.py`, whose configuration was read and checked when it was built. msgspec is in it,
since the configuration's types are made of it; requests and Google's clients are not: the first alert imports those that it calls.
"""
ON_ONE_MACHINE = """
On one machine the file itself is read and checked, so that a mistake in it stops the service and not an alert: {whole:.0f} ms, of them
PyYAML {yaml:.0f} ({reader:.0f} of them one regular expression of its reader), RE2 {re2:.0f}, time zones {zones:.0f} and SQLite {sqlite:.0f}.
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What this run was like."""

    rounds: int
    load_before: float
    load_after: float
    took_s: float
    missing: dict[str, str]
    imports: Imports
    machine: Imports
    """Of a start that reads the file itself."""
    instructions: str
    """The part of the page that bench/instructions.py writes."""


def write(samples: Samples, circumstances: Circumstances) -> None:
    """The page and the chart. What `make soak` wrote last stays."""
    long_run = part_of(PAGE.read_text(encoding="utf-8"), LONG_RUN)
    PAGE.write_text(page(samples, circumstances, long_run), encoding="utf-8")
    CHART.write_text(chart(samples), encoding="utf-8")


def page(samples: Samples, circumstances: Circumstances, long_run: str = "") -> str:
    """Markdown: the promises, all figures, the circumstances, and the imports."""
    promised = [
        "| | limit | measured (quartiles) | holds |",
        "| --- | ---: | ---: | :---: |",
        *(one.row() for one in claims(samples)),
    ]
    shown = [one for one in COLUMNS if one.name not in circumstances.missing]
    table = ["| | " + " | ".join(one.name for one in shown) + " |", "| --- |" + " ---: |" * len(shown)]
    for measure, (unit, factor) in UNITS.items():
        cells = [_cell(samples.of(measure, one.name), factor) or _empty(measure, one.name) for one in shown]
        table.append(f"| {measure}{f', {unit}' if unit else ''} | " + " | ".join(cells) + " |")
    notes = NOTES.format(all_cpus=middle(samples.of(LEGS_ALL_CPUS, UNSTICK.name)), starts=WARM_STARTS)
    parts = [
        INTRODUCTION, "![Unstick beside others](benchmarks.svg)\n", "## What is promised\n", *promised, "", "## All figures\n",
        *table, "", *(f"- ({key}) {reason}" for key, reason in LEFT_OUT.items()), "", circumstances.instructions,
        *([long_run, ""] if long_run else []), READING, notes + _unkept(samples, circumstances.imports), "## This run\n", *_this_run(samples, circumstances),
        "", "## What a start imports\n", IMPORTS, "```text", circumstances.imports.tree, "```",
        _on_one_machine(circumstances.machine),
    ]  # fmt: skip
    return "\n".join(parts)


def _on_one_machine(made: Imports) -> str:
    return ON_ONE_MACHINE.format(
        whole=made.whole_ms, yaml=made.modules["yaml"], reader=made.modules["yaml.reader"], re2=made.modules["re2"], zones=made.modules["zoneinfo"],
        sqlite=made.modules["sqlite3"],
    )  # fmt: skip


def _unkept(samples: Samples, made: Imports) -> str:
    """Why, for each of the promises that this run does not show; empty if it shows all."""
    broken = {one.what for one in claims(samples) if not one.holds}
    left_s = 0.15 * middle(samples.of(measures.COLD_FORGED_CPU, BARE.name))
    computing_s = middle(samples.of(BEYOND, UNSTICK.name))
    cold = COLD.format(whole=made.whole_ms, msgspec=made.modules["msgspec"], left=1000 * left_s)
    why = cold if any("from process start" in what or what == "the same as time" for what in broken) else ""
    why += MACHINE if any("on one machine" in what for what in broken) else ""
    why += SEQUENCE.format(computing=1000 * computing_s) if any("50 ms on each call" in what for what in broken) else ""
    return UNKEPT + why if why else ""


def _empty(measure: str, contender: str) -> str:
    """Why there is no figure: a letter, explained below the table."""
    key = left_out(measure, contender)
    return f"({key})" if key else "not measured"


def _this_run(samples: Samples, circumstances: Circumstances) -> list[str]:
    cpu = samples.of(measures.FORGED_CPU, BARE.name)
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
