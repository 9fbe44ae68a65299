"""A stand-in for Prometheus' HTTP API. It computes no PromQL: a test says which series an expression gives, and when.

tests/system/prometheus asks the real one."""

import math
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from testbed.doubles import server


@dataclass
class Series:
    """A series that is there from so many seconds before now until so many. Two with the same labels are one with a gap."""

    since_s: float = math.inf
    until_s: float = -math.inf
    value: str = "1"
    labels: dict[str, str] = field(default_factory=dict)


class PrometheusDouble(server.Serving):
    """`with PrometheusDouble() as prometheus:` serves on `prometheus.url` until the block ends."""

    authorization = ""
    """The header that it wants; empty: none."""

    def __init__(self) -> None:
        self.series: dict[str, list[Series]] = {}
        """By a part of the expression, such as a metric's name and its labels: what it gives."""
        self.now = time.time()
        """What `since_s` and `until_s` count from: it stands still, so that they are exact however busy the machine is."""
        self.ahead_s = 0.0
        """How far its clock is ahead of ours."""
        self.refuses: dict[str, tuple[int, Any]] = {}
        """By a part of the expression: status and JSON of the answer instead. The empty part: of every answer."""
        self.warnings: list[str] = []
        self.asked: list[dict[str, str]] = []
        """The queries, with the address and the login of each."""
        super().__init__(_handler(self))

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        self.asked.append({"path": path, "authorization": headers.get("authorization", "")} | query)
        if self.authorization and headers.get("authorization") != self.authorization:
            return 401, {"message": "Unauthorized"}
        expression = query["query"]
        if refusal := next((refusal for part, refusal in self.refuses.items() if part in expression), None):
            return refusal
        if path.endswith("/query"):
            at = time.time() + self.ahead_s
            return self._success([{"metric": {}, "value": [at, str(at)]}] if expression == "vector(time())" else [])
        start, end, step = (float(query[name]) for name in ("start", "end", "step"))
        times = [start + step * number for number in range(round((end - start) / step) + 1)]
        given = next((series for part, series in self.series.items() if part in expression), [])
        rows: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
        for at in times:
            for one in given:
                if one.until_s <= self.now - at <= one.since_s:
                    rows.setdefault(tuple(one.labels.items()), []).append([at, one.value])
        return self._success([{"metric": dict(labels), "values": values} for labels, values in rows.items()])

    def _success(self, result: list[dict[str, Any]]) -> tuple[int, Any]:
        body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return 200, body | ({"warnings": self.warnings} if self.warnings else {})


def _handler(double: PrometheusDouble) -> type[server.Handler]:
    class Handler(server.Handler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            fields = {name: values[0] for name, values in parse_qs(query).items()}
            self.reply(*double.answer(path, fields, {name.lower(): value for name, value in self.headers.items()}))

    return Handler
