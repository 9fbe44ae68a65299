"""Whether Unstick itself works, on one machine: `/healthz` for anybody, `/metrics` for those who know this machine's token.

Strangers see which part is ill; the log has the details, such as the store's path."""

import time
from functools import lru_cache

from flask import Request

from functions.adapters.schedulers.local import LocalScheduler
from functions.bootstrap import current_adapters
from functions.entrypoints import access
from functions.entrypoints.metrics import metrics
from functions.entrypoints.responses import Response, json_response, not_allowed
from functions.runtime import logs

KEPT_S = 5.0  # strangers may ask as often as they like: an answer is kept this long
CHECK_S = 2.0


def respond(request: Request) -> Response:
    """200 if the store can be written and wake-ups are delivered, otherwise 503 with what is wrong."""
    if request.method not in ("GET", "HEAD"):
        return not_allowed("GET, HEAD")
    wrong = _find_wrong(time.monotonic() // KEPT_S)
    if request.path == "/healthz":
        return json_response(503 if wrong else 200, healthy=not wrong, wrong=wrong)
    refusal = access.refuse_stranger(request)
    return refusal or (metrics(current_adapters(), healthy=not wrong), 200, {"Content-Type": "text/plain; version=0.0.4"})


@lru_cache(maxsize=1)
def _find_wrong(_moment: float) -> list[str]:
    adapters = current_adapters()
    parts = {
        "the store can't be written": adapters.store.check(timeout_s=CHECK_S),
        "wake-ups can't be written": adapters.scheduler.check(timeout_s=CHECK_S),
    }
    wrong = {part: str(finding.detail) for part, findings in parts.items() for finding in findings if finding.ok is not True}
    for part, detail in wrong.items():
        logs.event("ERROR", f"unhealthy: {part}: {detail}")
    if not wrong and isinstance(adapters.scheduler, LocalScheduler) and not adapters.scheduler.is_running(timeout_s=CHECK_S):
        return ["no process delivers wake-ups"]
    return list(wrong)
