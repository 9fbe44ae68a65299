"""`check` for Prometheus: whether it answers, and what each query of a runbook gives."""

import time
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from functions.adapters.symptoms._checks import explain_refusal
from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.answers import Envelope, figure, good, shaped
from functions.adapters.symptoms.prometheus.client import ask, counts_scrapes, look_all, now_paths
from functions.adapters.symptoms.prometheus.settings import QUERIES, Settings, name_queue
from functions.application.observe import unwrap
from functions.application.ports import Finding, Query, finding_of
from functions.domain.decisions.matching import NotRendered
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom

ANY = "/api/v1/query?query=vector(1)"
UNREACHABLE = "See that it is up and can be reached from here, and `url` right."
WITHOUT = {
    "done": "not given: nobody can tell whether work is done, so only a queue without a worker is restarted",
    "consumers": "not given: recovered then needs work that was seen after the restart, or `min_consumers: 0`",
}


def findings(settings: Settings, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """One line for the server, one for each query, and one for the samples of the time before."""
    ends, what = time.monotonic() + timeout_s, "Prometheus answers"
    answer = ask(settings, [ANY], timeout_s=timeout_s)[ANY]
    results = [finding_of(what, lambda: _greet(what, answer), UNREACHABLE)]
    if not results[0].ok:
        return results
    try:
        queue = name_queue(symptom, labels)
    except NotRendered as refusal:
        return [*results, explain_refusal("the queue", symptom, labels, refusal)]
    paths = now_paths(queue)
    outcomes = ask(settings, paths.values(), timeout_s=ends - time.monotonic())
    for query in QUERIES:
        what = f"{query} of {queue.name}"
        judge = partial(_judge, what, query, queue, outcomes[paths[query]]) if query in paths else None
        results.append(finding_of(what, judge, UNREACHABLE) if judge else Finding(what, None, WITHOUT[query]))
    if all(one.ok is not False for one in results):
        what = f"samples of {queue.name}"
        (seen,) = look_all(settings, [Query(queue, symptom.for_s)], timeout_s=ends - time.monotonic())
        results.append(finding_of(what, lambda: _judge_samples(what, queue, unwrap(seen)), UNREACHABLE))
    return results


def _greet(what: str, outcome: Any) -> Finding:
    known = bool(shaped(good(outcome, "vector(1)").json(), Envelope).data.result)
    return Finding(what, known, "" if known else "what answers there is not Prometheus", "Check `url`.")


def _judge(what: str, query: str, queue: QueueRef, outcome: Any) -> Finding:
    """What speaks against the figure of a query, or else the figure. What the look at the queue refuses, `samples` says."""
    one, max_age_s = figure(query, outcome, 0.0), float(queue.keys["max_age"])
    later = None if query == "done" and one.taken_at is None else False  # a counter may come with the first job
    if query == "done" and promql.has_rate(queue.keys[query]):
        remedy = "Give the counter itself, such as sum(jobs_done_total)."
        return Finding(what, False, "is a rate, not a counter: small ones look like no work", remedy)
    if one.not_a_number:
        remedy = "A division by zero, or a gauge that was never set: change the query."
        return Finding(what, later, "is not a number (NaN)", remedy)
    if one.age_s > max_age_s:
        remedy = f"Its scrapes fail, or come too seldom: look at the target, or raise `max_age` ({max_age_s:g} s)."
        return Finding(what, False, f"its newest figures are {one.age_s:.0f} s old, so they count as unknown", remedy)
    if query == "consumers" and counts_scrapes(queue) and (one.value or 0) < 1:
        remedy = "Count workers by a series that says 0 when they are gone, and look at the worker's /metrics."
        return Finding(what, None, "none was scraped: it is gone, or its scrape fails", remedy)
    if one.value is None:
        remedy = "Try the query in Prometheus: is the label right, and is the series there while there is nothing to count?"
        return Finding(what, later, "gives no series", remedy)
    return Finding(what, True, f"{one.value:g}" + ("" if one.taken_at is None else f", {one.age_s:.0f} s old"))


def _judge_samples(what: str, queue: QueueRef, seen: QueueSnapshot) -> Finding:
    """How often there are samples, and whether they are enough to judge the queue."""
    max_age_s = float(queue.keys["max_age"])
    steps = [later - earlier for (earlier, _), (later, _) in pairwise(seen.depth_samples)]
    every_s = median(steps) if steps else 0.0
    if every_s and max_age_s < 2 * every_s:
        detail = f"one every {every_s:.0f} s, and after {max_age_s:g} s they count as unknown"
        return Finding(what, False, detail, f"Raise `max_age` to {2 * every_s:.0f}s or more, or scrape more often.")
    if seen.blind is not None:
        return Finding(what, None, seen.blind.why, seen.blind.remedy)
    return Finding(what, True, f"one every {every_s:.0f} s")
