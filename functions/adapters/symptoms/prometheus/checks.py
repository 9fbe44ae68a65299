"""`check` for Prometheus: whether it answers, and what the conditions of a runbook said in the last day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from functions.adapters.checks import explain_refusal, finding_of
from functions.adapters.symptoms import prometheus
from functions.application.ports import Finding
from functions.domain.decisions.matching import NotRendered
from functions.domain.texts.words import duration

if TYPE_CHECKING:
    from functions.domain.model.runbooks import Symptom

DAY_S, MOST_STEPS = 86400.0, 10_000  # Prometheus answers with at most 11,000 steps
UNREACHABLE = "See that it is up and can be reached from here, and `url` right."
TRY_BOTH = "Try both in Prometheus: are the labels right, are the figures there, and is `range` at least four scrapes?"


def findings(settings: prometheus.Prometheus, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """One line for the server, and one for the conditions."""
    now = time.time()
    clock = settings.ask([prometheus.CLOCK], timeout_s=timeout_s)[prometheus.CLOCK]
    lines = [finding_of("Prometheus answers", lambda: prometheus.require_same_clock(clock, now), UNREACHABLE)]
    try:
        queue = prometheus.name_queue(symptom, labels)
    except NotRendered as refusal:
        return [*lines, explain_refusal("the queue", symptom, labels, refusal)]
    if not lines[0].ok:
        return lines
    step_s = min(float(queue.keys["range"]) / 2, symptom.for_s)
    day = prometheus.to_grid(now, min(DAY_S, MOST_STEPS * step_s), step_s)
    paths = {name: day.path(queue.keys[name]) for name in prometheus.CONDITIONS}
    outcomes = settings.ask(paths.values(), timeout_s=timeout_s)

    def judge() -> Finding:
        stuck, recovered = (set(prometheus.read(name, outcomes[path])) for name, path in paths.items())
        return _judge_day(what, day, symptom.for_s, stuck, recovered)

    what = f"{queue.name} in the last {day.count * step_s / 3600:.3g} h"
    return [*lines, finding_of(what, judge, UNREACHABLE)]


def _judge_day(what: str, day: prometheus.Grid, for_s: float, stuck: set[int], recovered: set[int]) -> Finding:
    """How often, and for how long, the queue would have been called stuck: whoever knows it sees whether `stuck` is right."""
    if not stuck | recovered:
        return Finding(what, False, "neither `stuck` nor `recovered` ever held", TRY_BOTH)
    proved = [length_s for length_s in _lengths_s(day, stuck) if length_s >= for_s]
    called = (
        f"it would have been called stuck {len(proved)} time{'s' * (len(proved) > 1)}, for up to {duration(max(proved or [0.0]))}"
    )
    held = f"`recovered` held {len(recovered) / (day.count + 1):.0%} of the time"
    detail = f"{called if proved else 'it would never have been called stuck'}; {held}"
    unclear = (day.end_ms in stuck) == (day.end_ms in recovered)
    return Finding(what, None if unclear else True, detail + ("; now it is unknown" if unclear else ""), TRY_BOTH)


def _lengths_s(day: prometheus.Grid, moments: set[int]) -> list[float]:
    """How long each run of moments without a gap was, in seconds."""
    ordered = sorted(moments)
    breaks = [place for place in range(1, len(ordered)) if ordered[place] - ordered[place - 1] > day.step_ms]
    return [(ordered[end - 1] - ordered[begin]) / 1000 for begin, end in pairwise([0, *breaks, len(ordered)]) if ordered]
