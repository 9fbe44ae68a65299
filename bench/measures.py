"""The measures by their names, their units, and who is left out of which, and why."""

from __future__ import annotations

from bench.contenders import BARE, HASHING, REQUESTING, RULEBOOK, UNGUARDED, UNSTICK

COLD_FORGED = "process start to first answer, forged"
COLD_ALERT = "process start to Rundeck, first alert"
COLD_FORGED_CPU = "CPU from process start to first answer, forged"
COLD_ALERT_CPU = "CPU from process start to the first alert's answer"
FETCHED_FORGED = "the same with its secret fetched by Google's client: to first answer, forged"
MACHINE_FORGED = "the same on one machine: to first answer, forged"
MACHINE_ALERT = "the same on one machine: to Rundeck, first alert"
FORGED = "forged request, warm"
FORGED_CPU = "CPU of a forged request"
FORGED_LARGE = "forged request of 2.6 MB, warm"
ALERT = "alert to Rundeck, warm"
ANSWER = "alert to the answer, warm"
ANSWER_MANY = "1,000 alerts (2.6 MB) to the answer"
RATE_SMALL = "forged requests of 4 kB a second"
RATE_LARGE = "forged requests of 2.6 MB a second"
PARALLEL_S = "300 at once, one alert"
PARALLEL_RESTARTS = "restarts by 300 at once, one alert"
PSS_REST, PSS_AFTER = "memory of all processes (PSS), at rest", "memory of all processes (PSS), after 1,000"
RSS_REST, RSS_AFTER = "memory of the worker (RSS), at rest", "memory of the worker (RSS), after 1,000"

MS, MIB, PER_S, TIMES = ("ms", 1000.0), ("MiB", 1.0), ("/s", 1.0), ("", 1.0)
UNITS = {
    COLD_FORGED: MS, COLD_FORGED_CPU: MS, COLD_ALERT: MS, COLD_ALERT_CPU: MS,
    FETCHED_FORGED: MS, MACHINE_FORGED: MS, MACHINE_ALERT: MS, FORGED: MS, FORGED_CPU: MS, FORGED_LARGE: MS,
    ALERT: MS, ANSWER: MS, ANSWER_MANY: MS, PARALLEL_S: MS, PARALLEL_RESTARTS: TIMES, RATE_SMALL: PER_S, RATE_LARGE: PER_S,
    PSS_REST: MIB, PSS_AFTER: MIB, RSS_REST: MIB, RSS_AFTER: MIB,
}  # fmt: skip
"""In the order of the page."""

LEFT_OUT = {
    "a": "It calls nothing, so there is no alert to measure.",
    "b": "It is the bare function with one more import; only its start, the time of a small request and its memory matter.",
    "c": "Its server accepts 1 MiB, and answers 413 before it checks the signature.",
    "d": "It runs one rule after the other (the row from alert to Rundeck shows the time of each), so 300 or 1,000 would take many minutes.",
    "e": "It has neither documents nor these secrets, so it starts in one way only: the rows above.",
}
_CALLS_NOTHING = {BARE.name, HASHING.name, REQUESTING.name}
_ALERTS = {COLD_ALERT, COLD_ALERT_CPU, ALERT, ANSWER, ANSWER_MANY, PARALLEL_S, PARALLEL_RESTARTS}
_LARGE = {FORGED_LARGE, RATE_LARGE, ANSWER_MANY}


def left_out(measure: str, contender: str) -> str:
    """The key of the reason for which this contender is not measured so; empty if it is."""
    if measure in (FETCHED_FORGED, MACHINE_FORGED, MACHINE_ALERT) and contender not in (UNSTICK.name, UNGUARDED.name):
        return "e"
    if measure in _ALERTS and contender in _CALLS_NOTHING:
        return "a"
    if measure in (FORGED_CPU, FORGED_LARGE, RATE_SMALL, RATE_LARGE) and contender == REQUESTING.name:
        return "b"
    if measure in _LARGE and contender == RULEBOOK.name:
        return "c"
    if measure in (PARALLEL_S, PARALLEL_RESTARTS, PSS_AFTER, RSS_AFTER) and contender == RULEBOOK.name:
        return "d"
    return ""
