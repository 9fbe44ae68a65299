"""A stand-in for Prometheus' HTTP API with a scrape history that is written, not scraped.

It computes no PromQL: a test says which series a query selects and what it gives.
tests/system/prometheus/test_prometheus_real.py asks the real one.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from testbed.doubles import server

Samples = dict[float, float]
"""By the time of the sample, in seconds before now: its value."""
STALE_S = 300.0


@dataclass
class Series:
    """What one query gives. `samples`: value by age in seconds; `exists`: whether its selectors have series at all."""

    samples: Samples = field(default_factory=dict)
    exists: bool = True


class PrometheusDouble(server.Serving):
    """`with PrometheusDouble() as prometheus:` serves on `prometheus.url` until the block ends."""

    authorization = ""
    """The header that it wants; empty: none."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        """By a part of the query: the metric's name."""
        self.began_at = time.time()
        """What the ages of samples count from. Its clock stands still, so that they are exact however busy the machine is."""
        self.ahead_s = 0.0
        """How far its clock is ahead of ours."""
        self.refuses: tuple[int, Any] | None = None
        """Status and JSON of every answer instead."""
        super().__init__(_handler(self))

    @property
    def now(self) -> float:
        return self.began_at + self.ahead_s

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        if self.refuses:
            return self.refuses
        if self.authorization and headers.get("authorization") != self.authorization:
            return 401, {"message": "Unauthorized"}
        expression = query["query"]
        if expression == "vector(1)":
            return 200, _success([{"metric": {}, "value": [self.now, str(self.now)]}])
        found = next((one for name, one in self.series.items() if re.search(rf"\b{name}\b", expression)), Series(exists=False))
        if path.endswith("/query_range"):
            start, end, step = (float(query[name]) for name in ("start", "end", "step"))
            times = [start + step * number for number in range(int((end - start) / step) + 1)]
            return 200, _success(_parts(found, times, self.began_at + self.ahead_s, ranged=True))
        return 200, _success(_parts(found, [self.now], self.began_at + self.ahead_s, ranged=False))


def _parts(found: Series, times: list[float], began_at: float, *, ranged: bool) -> list[dict[str, Any]]:
    """The figure under the label `0`, the time of its sample under `1`."""
    figures, ages = [], []
    for at in times:
        taken = {began_at - age_s: value for age_s, value in found.samples.items()}
        known = [(taken_at, value) for taken_at, value in taken.items() if at - STALE_S <= taken_at <= at]
        if known:
            taken_at, value = max(known)
            figures.append([at, f"{value:g}"])
            ages.append([at, repr(taken_at)])
    if not found.exists and found.samples:
        ages = []
    if found.exists and not found.samples:  # a filter that leaves nothing of series that exist
        ages = [[at, repr(at)] for at in times]
    rows = [({"unstick": "0"}, figures), ({"unstick": "1"}, ages)]
    if ranged:
        return [{"metric": metric, "values": values} for metric, values in rows if values]
    return [{"metric": metric, "value": values[-1]} for metric, values in rows if values]


def _success(result: list[dict[str, Any]]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def _handler(double: PrometheusDouble) -> type[server.Handler]:
    class Handler(server.Handler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            fields = {name: values[0] for name, values in parse_qs(query).items()}
            self.reply(*double.answer(path, fields, {name.lower(): value for name, value in self.headers.items()}))

    return Handler
