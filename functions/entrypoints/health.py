"""Whether Unstick itself works, on one machine: `/healthz` for anybody, `/metrics` for those who know this machine's token.

Strangers see which part is ill; the log has the details, such as the store's path."""

import time
from functools import lru_cache

from flask import Request

from functions.adapters.schedulers.local import LocalScheduler
from functions.application.observe import read_pause
from functions.bootstrap import current_adapters
from functions.entrypoints import access
from functions.entrypoints.responses import Response, json_response, not_allowed
from functions.runtime import logs
from functions.runtime.errors import Denied, Unavailable

KEPT_S = 5.0  # strangers may ask as often as they like: an answer is kept this long
CHECK_S = 2.0
OVERDUE_S = 120.0


def respond(request: Request) -> Response:
    """200 if the store can be written and wake-ups are delivered, otherwise 503 with what is wrong."""
    if request.method not in ("GET", "HEAD"):
        return not_allowed("GET, HEAD")
    wrong = _find_wrong(time.monotonic() // KEPT_S)
    if request.path == "/healthz":
        return json_response(503 if wrong else 200, healthy=not wrong, wrong=wrong)
    refusal = access.refuse_stranger(request)
    return refusal or (_metrics(healthy=not wrong), 200, {"Content-Type": "text/plain; version=0.0.4"})


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


def _metrics(*, healthy: bool) -> str:
    """Metrics from the list of documents; if the store can't be read, only that Unstick isn't healthy."""
    figures: dict[str, float] = {"healthy": healthy}
    adapters = current_adapters()
    try:
        due = [one.due for one in adapters.store.list_documents(timeout_s=CHECK_S) if one.due is not None]
        figures["paused"] = read_pause(adapters, CHECK_S) is not None
        figures["documents_open"] = len(due)
        figures["documents_overdue"] = sum(adapters.now() - at > OVERDUE_S for at in due)
    except (Unavailable, Denied):
        figures["healthy"] = False
    return "".join(f"# TYPE unstick_{name} gauge\nunstick_{name} {value:d}\n" for name, value in figures.items())
