"""Writes the first half of docs/benchmarks.md: what users can count on, then how the time to a restart was measured. page.py writes
the second half.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from statistics import median
from xml.sax.saxutils import escape

from bench.parts import PAGE, with_promises
from bench.restart_time import KNOWN_LIMIT_S, LIMITS_S, VERIFY, Measured, Trial
from bench.soak_page import Promise
from bench.stage import ROOT
from tools.docs.costs_page import DAYS, Month, dollars, usage

CHART = ROOT / "docs" / "benchmarks-restart.svg"
MILLION = 1e6
FLOOD_DOLLARS, MONTH_DOLLARS = 5.0, 10.0

TOP = """# Benchmarks

`make bench` writes this page; don't edit it by hand. `ARGS='--only restart-time'` writes only the part above [Beside others](#beside-others), in five minutes.

"""
NOTES = """
Times are the slowest of {trials}, on real servers. Costs are computed from [list prices](costs.md), without the free tier.

![From the message that gets stuck to the restart and the good news](benchmarks-restart.svg)

## Time to restart

A queue gets stuck while Prometheus, Alertmanager (not Grafana) and Unstick run with [the shipped rules](../infra/prometheus/README.md) and the default times. A stand-in for Rundeck restarts the consumer. Median and slowest, in seconds:

"""
HOW = """
- `for` counts from the last movement, so the time until the alert fires adds nothing if it is shorter. RabbitMQ's samples add up to 10 s.
- Each message gets stuck at another moment between two scrapes. The applications that get stuck set `keeps: never`.
- *Recovered* takes two checks: {first} after the restart, and {every} later.

**No healthy application is restarted.** These ran beside the stuck ones, in `mode: auto`:

"""


def promises(measured: Measured) -> list[Promise]:
    """What is promised, and what was measured or computed."""
    rows = []
    for for_s, limit_s in sorted(LIMITS_S.items(), reverse=True):
        slowest_s = max(one.restart_s for one in _of(measured, for_s))
        what = f"time to restart with `symptom.for: {for_s}s`: from the message that gets stuck to the start in Rundeck"
        rows.append(Promise(what, f"at most {limit_s:g} s", f"{slowest_s:.0f} s", slowest_s <= limit_s))
    known_s = max(one.known_s for one in measured.trials)
    what = "time to know: from the consumer that is back to *recovered* in the chat"
    rows.append(Promise(what, f"at most {KNOWN_LIMIT_S:g} s", f"{known_s:.0f} s", known_s <= KNOWN_LIMIT_S))
    restarted = sum(one.restarts for one in measured.healthy)
    what = "restarts of healthy applications: slow, in bursts, being deployed, with jobs shorter than `for` ([what else](libraries.md))"
    rows.append(Promise(what, "0", str(restarted), restarted == 0))
    flood = _dollars(Month("", forged=MILLION)) - _dollars(Month(""))
    rows.append(_cost("a million forged requests", flood, FLOOD_DOLLARS))
    rows.append(_cost("a month on Google Cloud at one alert a day", _dollars(Month("", alerts=DAYS)), MONTH_DOLLARS))
    return rows


def _cost(what: str, amount: float, limit: float) -> Promise:
    return Promise(what, f"at most ${limit:.2f}", f"${amount:.2f}", amount <= limit)


def _dollars(month: Month) -> float:
    return dollars(usage(month), free=False)


def _of(measured: Measured, for_s: int) -> list[Trial]:
    return [one for one in measured.trials if one.for_s == for_s]


LEGS: dict[str, Callable[[Trial], float]] = {
    "gets stuck → the rule is true": lambda one: one.true_at - one.stuck_at,
    "→ evaluated": lambda one: one.evaluated_at - one.true_at,
    "→ Unstick knows": lambda one: one.told_at - one.evaluated_at,
    "→ `for` is over: restart": lambda one: one.restarted_at - one.told_at,
    "→ the consumer is back": lambda one: one.back_at - one.restarted_at,
    "→ *recovered* in the chat": lambda one: one.recovered_at - one.back_at,
}
TOTALS: dict[str, Callable[[Trial], float]] = {
    "**gets stuck → restart**": lambda one: one.restart_s,
    "**gets stuck → *recovered***": lambda one: one.recovered_at - one.stuck_at,
}


def page(measured: Measured) -> str:
    """Markdown: the promises, the legs, the healthy applications, and the circumstances."""
    waits = sorted({one.for_s for one in measured.trials}, reverse=True)
    trials = len(_of(measured, waits[0]))
    lines = [
        TOP + "| | promised | measured | holds |",
        "| --- | ---: | ---: | :---: |",
        *(promise.row() for promise in promises(measured)),
        NOTES.format(trials=trials) + _head(waits),
        f"| --- |{' ---: |' * len(waits)}",
    ]
    for name, leg in {**LEGS, **TOTALS}.items():
        cells = ([leg(one) for one in _of(measured, for_s)] for for_s in waits)
        lines.append(f"| {name} | " + " | ".join(f"{median(values):.1f} ({max(values):.1f})" for values in cells) + " |")
    lines += [
        HOW.format(first=VERIFY["first"], every=VERIFY["every"])
        + "| application | `for` | suspicions that came to nothing | restarts |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {one.what} | {one.for_s}s | {one.suspicions} | {one.restarts} |" for one in measured.healthy),
        "",
        f"Measured on {time.strftime('%Y-%m-%d', time.gmtime(measured.at))} with {measured.versions}, Python {platform.python_version()}, {os.cpu_count()} cores.",
    ]
    return "\n".join(lines) + "\n"


def _head(waits: list[int]) -> str:
    return "| | " + " | ".join(f"`for: {for_s}s`" for for_s in waits) + " |"


# --- the chart -------------------------------------------------------------------------------------------------------------

WIDTH, LABEL, BAR, GAP, ROW = 760, 70, 26, 14, 20
SHADES = ("#8c959f", "#afb8c1", "#d0d7de", "#bf8700", "#0969da", "#1a7f37")
DARK = ("#6e7681", "#484f58", "#30363d", "#d29922", "#4493f8", "#3fb950")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.v{fill:#59636e}line{stroke:#cf222e;stroke-width:2}"
    + "".join(f".l{place}{{fill:{shade}}}" for place, shade in enumerate(SHADES))
    + "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9198a1}line{stroke:#f85149}"
    + "".join(f".l{place}{{fill:{shade}}}" for place, shade in enumerate(DARK))
    + "}"
)


def chart(measured: Measured) -> str:
    """A bar for each `for`, a part for each leg's median; a red line where the restart has to be by then."""
    waits = sorted({one.for_s for one in measured.trials}, reverse=True)
    longest_s = max(median(one.recovered_at - one.stuck_at for one in _of(measured, for_s)) for for_s in waits)
    scale = (WIDTH - LABEL - 60) / longest_s
    drawn, y = [], 8
    for for_s in waits:
        drawn.append(f'<text x="0" y="{y + 18}">for: {for_s}s</text>')
        x = float(LABEL)
        for place, leg in enumerate(LEGS.values()):
            length = max(0.0, median(leg(one) for one in _of(measured, for_s))) * scale
            drawn.append(f'<rect class="l{place}" x="{x:.1f}" y="{y}" width="{length:.1f}" height="{BAR}"/>')
            x += length
        total_s = median(one.recovered_at - one.stuck_at for one in _of(measured, for_s))
        drawn.append(f'<text class="v" x="{x + 6:.1f}" y="{y + 18}">{total_s:.0f} s</text>')
        limit = LABEL + LIMITS_S[for_s] * scale
        drawn.append(f'<line x1="{limit:.1f}" x2="{limit:.1f}" y1="{y - 5}" y2="{y + BAR + 5}"/>')
        y += BAR + GAP
    for place, name in enumerate(LEGS):
        column, row = place % 2, place // 2
        at, top = LABEL + column * 340, y + row * ROW
        drawn.append(f'<rect class="l{place}" x="{at}" y="{top}" width="12" height="12"/>')
        drawn.append(f'<text x="{at + 18}" y="{top + 11}">{escape(name.replace("`", "").replace("*", ""))}</text>')
    y += 3 * ROW
    drawn.append(f'<line x1="{LABEL + 6}" x2="{LABEL + 6}" y1="{y}" y2="{y + 12}"/>')
    drawn.append(f'<text x="{LABEL + 18}" y="{y + 11}">the restart is promised by then</text>')
    height = y + ROW
    title = "Seconds from the message that gets stuck to the restart (promised: the red line) and to recovered"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def write(measured: Measured) -> None:
    """Write the page and the chart."""
    PAGE.write_text(with_promises(PAGE.read_text(encoding="utf-8"), page(measured)), encoding="utf-8")
    CHART.write_text(chart(measured), encoding="utf-8")
