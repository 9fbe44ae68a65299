"""`check` for Prometheus: whether it answers, and what each query of a runbook gives."""

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import Any

from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.answers import Envelope, Figure, figure, good, shaped
from functions.adapters.symptoms.prometheus.client import ask, counts_scrapes, look_all, now_paths
from functions.adapters.symptoms.prometheus.settings import QUERIES, Settings, name_queue
from functions.application.ports import Finding, Query, finding_of_error
from functions.domain.decisions.matching import NotRendered, template_labels
from functions.domain.model.alerts import QueueRef
from functions.domain.model.runbooks import Symptom
from functions.runtime.errors import Denied, Unavailable

ANY = "/api/v1/query?query=vector(1)"
UNREACHABLE = "See that it is up and can be reached from here, and `url` right."
WITHOUT = {
    "done": "not given: nobody can tell whether work is done, so only a queue without a worker is restarted",
    "consumers": "not given: recovered then needs work that was seen after the restart, or `min_consumers: 0`",
}


def findings(settings: Settings, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """One line for the server, one for each query, and one for the samples of the time before."""
    ends = time.monotonic() + timeout_s
    results = [*_settings(settings), _answers(ask(settings, [ANY], timeout_s=timeout_s)[ANY])]
    if not results[-1].ok:
        return results
    try:
        queue = name_queue(symptom, labels)
    except NotRendered as refusal:
        return [*results, _unnamed(symptom, labels) or Finding("the queries", ok=False, detail=refusal.text)]
    paths = now_paths(queue)
    outcomes = ask(settings, paths.values(), timeout_s=ends - time.monotonic())
    for query in QUERIES:
        if query in paths:
            results.append(_query(query, queue, outcomes[paths[query]]))
        else:
            results.append(Finding(f"{query} of {queue.name}", ok=None, detail=WITHOUT[query]))
    if all(one.ok is not False for one in results):
        results.append(_history(settings, queue, symptom, timeout_s=ends - time.monotonic()))
    return results


def _settings(settings: Settings) -> Iterator[Finding]:
    if (settings.password is None) != (not settings.user):
        yield Finding("Prometheus login", ok=False, detail="`user` and `password` need each other", remedy="Add the other one.")
    if settings.password is not None and settings.token is not None:
        yield Finding("Prometheus login", ok=False, detail="has a password and a token", remedy="Keep one of them.")


def _answers(outcome: Any) -> Finding:
    what = "Prometheus answers"
    try:
        if not shaped(good(outcome, "vector(1)").json(), Envelope).data.result:
            return Finding(what, ok=False, detail="what answers there is not Prometheus", remedy="Check `url`.")
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, UNREACHABLE)
    return Finding(what, ok=True)


def _unnamed(symptom: Symptom, labels: Mapping[str, str]) -> Finding | None:
    names = dict.fromkeys(name for template in symptom.keys.values() for name in template_labels(template))
    missing = [name for name in names if not labels.get(name)]
    if not missing:
        return None
    detail = f"their labels come with the alert; missing here: {' and '.join(missing)}"
    remedy = "To check them, add: " + " ".join(f"--label {name}=..." for name in missing)
    return Finding("the queries", ok=None, detail=detail, remedy=remedy)


def _query(query: str, queue: QueueRef, outcome: Any) -> Finding:
    what, max_age_s = f"{query} of {queue.name}", float(queue.keys["max_age"])
    try:
        one = figure(query, outcome, 0.0)
    except (Denied, Unavailable) as error:
        return finding_of_error(what, error, UNREACHABLE)
    if query == "done" and promql.has_rate(queue.keys[query]):
        remedy = "Give the counter itself, such as sum(jobs_done_total)."
        return Finding(what, ok=False, detail="is a rate, not a counter: small ones look like no work", remedy=remedy)
    is_fresh = not one.not_a_number and one.age_s <= max_age_s
    if query == "consumers" and counts_scrapes(queue) and (one.value or 0) < 1 and is_fresh:
        remedy = "Count workers by a series that says 0 when they are gone, and look at the worker's /metrics."
        return Finding(what, ok=None, detail="none was scraped: it is gone, or its scrape fails", remedy=remedy)
    problem = _problem(query, one, max_age_s)
    if problem:
        right = None if query == "done" and one.taken_at is None else False
        return Finding(what, right, problem[0], problem[1])
    age = "" if one.taken_at is None else f", {one.age_s:.0f} s old"
    return Finding(what, ok=True, detail=f"{one.value or 0:g}{age}")


def _problem(query: str, one: Figure, max_age_s: float) -> tuple[str, str] | None:
    if one.not_a_number:
        return "is not a number (NaN)", "A division by zero, or a gauge that was never set: change the query."
    if one.taken_at is not None and one.age_s > max_age_s:
        remedy = f"Its scrapes fail, or come too seldom: look at the target, or raise `max_age` ({max_age_s:g} s)."
        return f"its newest figures are {one.age_s:.0f} s old, so they count as unknown", remedy
    if one.value is None:
        remedy = "Try the query in Prometheus: is the label right, and is the series there while there is nothing to count?"
        return "gives no series", remedy
    if one.taken_at is None and query == "depth":
        return "gives a figure of no series, as `or vector(0)` does", "Take the fallback from a series: see docs/symptoms.md."
    return None


def _history(settings: Settings, queue: QueueRef, symptom: Symptom, *, timeout_s: float) -> Finding:
    """How often there are samples, and whether they are enough to judge the queue."""
    what, max_age_s = f"samples of {queue.name}", float(queue.keys["max_age"])
    (seen,) = look_all(settings, [Query(queue, symptom.for_s)], timeout_s=timeout_s)
    if isinstance(seen, Denied | Unavailable):
        return finding_of_error(what, seen, UNREACHABLE)
    steps = [later - earlier for (earlier, _), (later, _) in pairwise(seen.depth_samples)]
    every_s = median(steps) if steps else 0.0
    if every_s and max_age_s < 2 * every_s:
        remedy = f"Raise `max_age` to {2 * every_s:.0f}s or more, or scrape more often."
        detail = f"one every {every_s:.0f} s, and after {max_age_s:g} s they count as unknown"
        return Finding(what, ok=False, detail=detail, remedy=remedy)
    if seen.blind is not None:
        return Finding(what, ok=None, detail=seen.blind.why, remedy=seen.blind.remedy)
    return Finding(what, ok=True, detail=f"one every {every_s:.0f} s")
