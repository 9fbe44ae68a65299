"""Client of Prometheus' HTTP API, or of a compatible one (Mimir, Thanos, Grafana's proxy).

All requests for a queue are sent at the same time: each query as an instant query, and depth and counter as range queries.
docs/symptoms.md explains each unusual answer."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from functions.adapters.symptoms._http import ask_all
from functions.adapters.symptoms.prometheus import promql
from functions.adapters.symptoms.prometheus.answers import Asked, login_failed, snapshot, with_ages
from functions.adapters.symptoms.prometheus.settings import QUERIES, SYSTEM, Settings
from functions.application.ports import Query, QueueOutcome
from functions.domain.model.alerts import QueueRef
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer, request
from functions.runtime.secrets import with_newest

LEAST_S = 300.0  # minimum range in seconds, so that a scrape interval of a minute gives enough samples and a curve
STEPS = 150  # step of a range query. Of more frequent samples, only every second or third is read


def look_all(settings: Settings, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
    """Read each queue's newest samples, and those of at least the last `for_s` seconds. Without a current depth, the queue's
    place has Denied (`query`, `several`, `no_series`, `login`, `url`) or Unavailable."""
    sent_at = time.time()
    paths = {
        path: None
        for query in queries
        for pair in zip(now_paths(query.queue).values(), before_paths(query.queue, query.for_s, sent_at).values(), strict=True)
        for path in pair
    }
    outcomes = ask(settings, paths, timeout_s=timeout_s)
    at = time.time()
    return [_snapshot(query.queue, query.for_s, outcomes, sent_at, at) for query in queries]


def _snapshot(queue: QueueRef, for_s: float, outcomes: Mapping[str, Any], sent_at: float, at: float) -> QueueOutcome:
    now = {query: outcomes[path] for query, path in now_paths(queue).items()}
    before = {query: outcomes[path] for query, path in before_paths(queue, for_s, sent_at).items()}
    max_age_s, delay_s = float(queue.keys["max_age"]), float(queue.keys["delay"])
    try:
        return snapshot(
            Asked(now, before, sent_at, counts_scrapes(queue)), for_s=for_s, max_age_s=max_age_s, delay_s=delay_s, at=at
        )
    except (Unavailable, Denied) as error:
        return error


def counts_scrapes(queue: QueueRef) -> bool:
    """Whether the workers are counted by `up`."""
    selected = promql.selectors(queue.keys["consumers"]) if "consumers" in queue.keys else ()
    return any(re.match(r"up\b", selector) for selector in selected)


def now_paths(queue: QueueRef) -> dict[str, str]:
    """The paths of the instant queries. They have no time: Prometheus uses its own clock, and returns the time."""
    wanted = {
        query: urlencode({"query": with_ages(queue.keys[query])}, quote_via=quote) for query in QUERIES if query in queue.keys
    }
    return {query: f"/api/v1/query?{parameters}" for query, parameters in wanted.items()}


def before_paths(queue: QueueRef, for_s: float, now: float) -> dict[str, str]:
    """The paths of the range queries, one after each of `now_paths`: two servers that take turns answer one of each. Different
    clocks don't matter: samples count by their own times."""
    span_s = max(LEAST_S, 2 * for_s)
    times = {"start": f"{now - span_s:.3f}", "end": f"{now:.3f}", "step": f"{span_s / STEPS:g}"}
    wanted = {query: {"query": with_ages(queue.keys[query])} | times for query in QUERIES if query in queue.keys}
    return {query: f"/api/v1/query_range?{urlencode(asked, quote_via=quote)}" for query, asked in wanted.items()}


def ask(settings: Settings, paths: Iterable[str], *, timeout_s: float) -> dict[str, Any]:
    """GET all paths at the same time: the Answer of each, or the error in its place."""
    ends = time.monotonic() + timeout_s
    secret = settings.password or settings.token

    def ask_with(value: bytes) -> dict[str, Any]:
        auth = (settings.user.encode(), value) if settings.password else None
        bearer = {} if auth or not secret else {"Authorization": f"Bearer {value.decode(errors='replace')}"}

        def get(path: str, left_s: float) -> Answer:
            url, headers = settings.url.rstrip("/") + path, {**settings.headers, **bearer}
            return request(SYSTEM, "GET", url, timeout_s=left_s, headers=headers, auth=auth, ca=settings.ca)

        return ask_all(SYSTEM, dict.fromkeys(paths, timeout_s), ends, get)

    return with_newest(secret, ask_with, lambda outcomes: any(map(login_failed, outcomes.values()))) if secret else ask_with(b"")
