"""A queue's past over days, for `suggest-for`: a decision needs a `for` and no more."""

from __future__ import annotations

import math
import time
from urllib.parse import quote, urlencode

from functions.adapters.symptoms.prometheus.answers import Envelope, good, shaped, to_number
from functions.adapters.symptoms.prometheus.client import ask
from functions.adapters.symptoms.prometheus.settings import SYSTEM, Settings
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied
from functions.runtime.text import Text

FINER = 3
"""In each step a counter is looked at so often."""


def past_queries(queue: QueueRef, step_s: float) -> tuple[str, str]:
    """The depth, and what is above zero where work was done in the last `step_s`: the counter changed, or else the depth fell."""
    depth, done = queue.keys["depth"], queue.keys.get("done")
    within = f"[{step_s + step_s / FINER:g}s:{step_s / FINER:g}s]"
    return depth, f"changes(({done}){within})" if done else f"resets(({depth}){within})"


def read_past(settings: Settings, depth: str, work: str, *, back_s: float, step_s: float, timeout_s: float) -> QueueSnapshot:
    """With samples of the depth, and of a counter that rises by one in each step in which work was done. Raises Denied or
    Unavailable.
    """
    ends_at = time.time() // step_s * step_s
    reach = {"start": f"{ends_at - back_s:.0f}", "end": f"{ends_at:.0f}", "step": f"{step_s:g}"}
    paths = [f"/api/v1/query_range?{urlencode({'query': query, **reach}, quote_via=quote)}" for query in (depth, work)]
    outcomes = ask(settings, paths, timeout_s=timeout_s)
    depths, works = (_points(query, outcome) for query, outcome in zip((depth, work), outcomes, strict=True))
    total, counted = 0, []
    for at, value in works:
        total += value > 0
        counted.append((at, total))
    past = tuple((at, math.ceil(value)) for at, value in depths)
    return QueueSnapshot(ends_at, past[-1][1] if past else 0, ack_samples=tuple(counted), depth_samples=past, zeros=True)


def _points(query: str, outcome: object) -> list[tuple[float, float]]:
    series = shaped(good(outcome, query).json(), Envelope).data.result
    if len(series) > 1:
        raise Denied(SYSTEM, Text("`{query}` gives {count} series", query=query, count=len(series)), code="several")
    return [(at, value) for one in series for at, text in one.values if (value := to_number(text)) is not None]
