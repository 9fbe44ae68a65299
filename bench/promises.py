"""Writes the first part of docs/benchmarks.md: what users can count on, then how the time to a restart was measured."""

import os
import platform
import time
from collections.abc import Callable
from statistics import median

from bench.page import Promise, table, write_part
from bench.restart_time import KNOWN_LIMIT_S, LIMITS_S, VERIFY, Measured, Trial, measure
from tools.docs.costs_page import DAYS, Month, dollars, usage

MILLION = 1e6
FLOOD_DOLLARS, MONTH_DOLLARS = 5.0, 10.0

TOP = """# Benchmarks

`make bench` writes this page but for [its end](#each-version-of-rabbitmq); `ARGS='--only restart-time'` writes the part above [Beside others](#beside-others), in five minutes.

"""
NOTES = """
Times are the slowest of {trials}, on real servers. Costs are computed from [list prices](costs.md), without the free tier.

## Time to restart

A queue gets stuck while Prometheus, Alertmanager (not Grafana) and Unstick run with [the shipped rules](../infra/prometheus/README.md) and the default times; a stand-in for Rundeck restarts the consumer. Median and slowest, in seconds:

"""
HOW = """
`for` counts from the last movement, and RabbitMQ's samples add up to 10 s. *Recovered* takes two checks: {first} after the restart, and {every} later. The applications set `keeps: never`, and `max_messages: 5` since a message comes each second.

**No healthy application is restarted.** These ran beside the stuck ones, in `mode: auto`:

"""


def promises(measured: Measured) -> list[Promise]:
    """What is promised, and what was measured or computed."""
    rows = []
    for for_s, limit_s in sorted(LIMITS_S.items(), reverse=True):
        slowest_s = max(one.restart_s for one in _of(measured, for_s))
        what = f"time to restart with `for: {for_s}s`: from the message that gets stuck to the start in Rundeck"
        rows.append(Promise(what, f"at most {limit_s:g} s", f"{slowest_s:.0f} s", slowest_s <= limit_s))
    known_s = max(one.known_s for one in measured.trials)
    what = "time to know: from the consumer that is back to *recovered* in the chat"
    rows.append(Promise(what, f"at most {KNOWN_LIMIT_S:g} s", f"{known_s:.0f} s", known_s <= KNOWN_LIMIT_S))
    restarted = sum(one.restarts for one in measured.healthy)
    what = "restarts of healthy applications: slow, in bursts, being deployed, with jobs shorter than `for`"
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
    "gets stuck → Unstick knows": lambda one: one.told_at - one.stuck_at,
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
    lines = [TOP + table(promises(measured)), NOTES.format(trials=trials) + _head(waits), f"| --- |{' ---: |' * len(waits)}"]
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


def write(_rounds: int) -> list[Promise]:
    """Measure once, and write the part."""
    measured = measure()
    write_part("", page(measured))
    return promises(measured)
