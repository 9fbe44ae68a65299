"""Writes docs/benchmarks-details.md and its chart from the measurements."""

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
INTRODUCTION = """# Benchmarks: the details

What users can count on is on [one screen](benchmarks.md). This page has the rest: what Unstick costs a machine, by what others cost, each with its limit.

`make bench` writes this page; do not edit it by hand. All figures are from one run on one machine. In each round every contender does
the same work, one after the other (alternating for small forged requests): it starts, answers forged requests, and lets the same Rundeck
stand-in restart something.
A figure is the median of the rounds with its quartiles. Ratios are computed within a round, before the median.

- **Unstick** runs under functions-framework as `make run` serves it, with the local store and scheduler. For cold starts it runs as `infra/` deploys it: the
  archive of `infra/package.py`, the cloud's store and scheduler, all secrets in Secret Manager. The secret that authenticates Grafana is mounted as a file;
  Google's client fetches the others.
- **adnanh/webhook** (Debian's package `webhook`): an HMAC hook that calls Rundeck with curl. It checks nothing first.
- **ansible-rulebook** (PyPI): its own webhook source with HMAC, and a rule that calls Rundeck with `ansible.builtin.uri`.
- **same calls without guards**: a function that makes the same calls as Unstick (documents, RabbitMQ, history, wake-up, saves,
  run, save; parallel where Unstick's are) and decides nothing. For cold starts it uses Google's libraries, which it imports
  when it first needs them, as Unstick does.
- **a bare function**, one that **reads and hashes** the body, and one that **imports requests** and does nothing.
"""
NO_LIMIT = """
Starts of one machine have no limit: such a process starts once, and reads and checks its YAML then ([what that takes](#what-a-start-imports)). Its figures are below.
"""
NOTES = """
- "To Rundeck" ends when Rundeck has received the request; it begins with the last byte of the alert, or when the process starts.
- A forged request has a fresh timestamp and a wrong signature of the right form, so the whole body is hashed.
- Of a round's five cold starts the lowest figure counts (ansible-rulebook has only one): other work of the machine only adds to it.
- For warm figures all functions and adnanh/webhook run at the same time, idle while another is measured; ansible-rulebook runs alone. A round has
  {starts} starts for the small forged requests: one start of the same server can be up to a quarter slower than another.
- Warm measurements begin half a second after the first answer: until then, on one machine, Unstick's scheduler makes its first round.
- Cloud Run fetches a mounted secret when its file is read; here it is a file on this machine. Without a mounted secret, the first caller waits
  for Google's client; callers within the next five minutes do not.
- Google's services are stand-ins on the same machine, without credentials. In the cloud the network and the token add time, for both.
- adnanh/webhook answers before its command runs, and answers a wrong signature with 500. ansible-rulebook answers before its rule
  runs, and the rule needs seconds, so it takes part in fewer rounds.
- Of a notification with 1,000 alerts, adnanh/webhook and the function without guards read the first one; Unstick decides all of them.
- adnanh/webhook is a Go program that starts in milliseconds and restarts whatever it is asked to; each of 300 notifications of one
  alert is a restart. That difference is what this project is about.
- Python on the same machine sends the requests. That limits the highest rates as much as the server does.
- The 1,000 alerts have one target, so one restart is correct. With a target each, ten are decided at once and the rest is saved for its wake-ups.
- Calls in sequence are counted with the cloud's store and scheduler (the real libraries against stand-ins), with 50 and 150 ms added
  to each call. A history of more than 100 rows takes one more call to Rundeck. "One such call" is a single request to Rundeck's stand-in,
  without an HTTP library. The function has one CPU then, as `infra/` gives it; with all CPUs of this machine it was {all_cpus:.2f} such calls.
"""
UNKEPT = """
Promises that this run does not keep:

"""
COLD = """\
- **A cold start**: of the {whole:.0f} ms of the list below msgspec takes {msgspec:.0f}; the rest imports the adapters that the configuration
  names, and reads it. The limit leaves {left:.0f} ms in addition to a bare function.
"""
SEQUENCE = """\
- **3.3 calls**: the time beyond the calls in sequence is computing, {computing:.0f} ms of it, by Unstick, by Google's clients and by the
  stand-ins and delays on the same cores.
"""
LATER = ("requests", "google.api_core", "google.auth", "google.cloud")
"""Modules that a start does not import, according to the page."""

IMPORTS = """\
These imports come on top of functions-framework and take 2 ms or more, with byte code cached (`python -X importtime`, which itself slows them down; the
fastest of five). They are those of the archive of `infra/package.py`, whose configuration was checked when it was built. msgspec is among them,
since it defines the configuration's types; requests and Google's clients are not: the first alert imports those that it calls.
"""
ON_ONE_MACHINE = """
On one machine the start reads and checks the file itself, so that a mistake in it stops the service and not an alert: {whole:.0f} ms, of which
PyYAML takes {yaml:.0f} ({reader:.0f} of them one regular expression of its reader), RE2 {re2:.0f}, time zones {zones:.0f} and SQLite {sqlite:.0f}.
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The circumstances of this run."""

    rounds: int
    load_before: float
    load_after: float
    took_s: float
    missing: dict[str, str]
    imports: Imports
    machine: Imports
    """The imports of a start that reads the file itself."""
    instructions: str
    """The part of the page that bench/instructions.py writes."""


def write(samples: Samples, circumstances: Circumstances) -> None:
    """Write the page and the chart. The part that `make soak` wrote stays."""
    long_run = part_of(PAGE.read_text(encoding="utf-8"), LONG_RUN)
    PAGE.write_text(page(samples, circumstances, long_run), encoding="utf-8")
    CHART.write_text(chart(samples), encoding="utf-8")


def page(samples: Samples, circumstances: Circumstances, long_run: str = "") -> str:
    """Markdown: the promises, all figures, the circumstances, and the imports."""
    promises = [
        "| | limit | measured (quartiles) | holds |",
        "| --- | ---: | ---: | :---: |",
        *(claim.row() for claim in claims(samples)),
    ]
    contenders = [contender for contender in COLUMNS if contender.name not in circumstances.missing]
    table = ["| | " + " | ".join(contender.name for contender in contenders) + " |", "| --- |" + " ---: |" * len(contenders)]
    for measure, (unit, factor) in UNITS.items():
        cells = [
            _cell(samples.of(measure, contender.name), factor) or _empty(measure, contender.name) for contender in contenders
        ]
        table.append(f"| {measure}{f', {unit}' if unit else ''} | " + " | ".join(cells) + " |")
    notes = NOTES.format(all_cpus=middle(samples.of(LEGS_ALL_CPUS, UNSTICK.name)), starts=WARM_STARTS)
    parts = [
        INTRODUCTION, "![Unstick beside others](benchmarks.svg)\n", "## Limits\n", *promises, NO_LIMIT, "## All figures\n",
        *table, "", *(f"- ({key}) {reason}" for key, reason in LEFT_OUT.items()), "", circumstances.instructions,
        *([long_run, ""] if long_run else []), READING, notes + _unkept(samples, circumstances.imports), "## This run\n", *_this_run(samples, circumstances),
        "", "## What a start imports\n", IMPORTS, "```text", circumstances.imports.tree, "```",
        _on_one_machine(circumstances.machine),
    ]  # fmt: skip
    return "\n".join(parts)


def _on_one_machine(imports: Imports) -> str:
    return ON_ONE_MACHINE.format(
        whole=imports.whole_ms, yaml=imports.modules["yaml"], reader=imports.modules["yaml.reader"], re2=imports.modules["re2"],
        zones=imports.modules["zoneinfo"], sqlite=imports.modules["sqlite3"],
    )  # fmt: skip


def _unkept(samples: Samples, imports: Imports) -> str:
    """The reason for each promise that this run does not keep; empty if it keeps all."""
    broken = {claim.what for claim in claims(samples) if not claim.holds}
    left_s = 0.15 * middle(samples.of(measures.COLD_FORGED_CPU, BARE.name))
    computing_s = middle(samples.of(BEYOND, UNSTICK.name))
    cold = COLD.format(whole=imports.whole_ms, msgspec=imports.modules["msgspec"], left=1000 * left_s)
    why = cold if any("from process start" in what or what == "the same as time" for what in broken) else ""
    why += SEQUENCE.format(computing=1000 * computing_s) if any("50 ms on each call" in what for what in broken) else ""
    return UNKEPT + why if why else ""


def _empty(measure: str, contender: str) -> str:
    """The letter that stands for a missing figure; the list below the table explains it."""
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
