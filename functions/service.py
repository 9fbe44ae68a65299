"""Shell: the three entry points, from the request to the answer, and the start of a process.

Nothing is parsed, looked up or imported for a request that was not let in.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from functions import config, flood, grafana, logs, secret_places
from functions.errors import BadRequest, ConfigError, Denied, Unavailable

if TYPE_CHECKING:
    from flask import Request

    from functions.arrivals import Notified
    from functions.contracts import Budget
    from functions.model import Alert
    from functions.outside import Real

Answer = tuple[str, int, dict[str, str]]
JSON = {"Content-Type": "application/json"}
VERIFY_BUDGET_S = 120.0
HANDED_OVER_S = 300.0
"""For a list of alerts, half of what Cloud Tasks gives a task; what was not reached by then is a list of its own."""
AGAIN_S = 60.0
GIVEN_UP_S = 86400.0
"""How long alerts come again that can't be decided, or whose signature fits no key, should somebody mend that."""
UNSIGNED_KEY = "unsigned"
"""The document that says so."""
LOCAL = "local"


@lru_cache(maxsize=1)
def outside() -> Real:
    """The real outside, built on first use: after the fork of the worker."""
    from functions.outside import Real

    return Real(config.current())


def said(status: int, **content: object) -> Answer:
    """A JSON object as an answer."""
    return json.dumps(content, ensure_ascii=False), status, JSON


def refused(error: BadRequest, allow: str = "POST, PUT") -> Answer:
    """What the caller did wrong. 405 has no body, so that a redirect in front of us does not look like success."""
    if error.status == 405:
        return "", 405, {"Allow": allow}
    return said(error.status, error=error.sentence)


# --- webhook -----------------------------------------------------------------------------------------------------------


def webhook(request: Request) -> Answer:
    """Take a notification of Grafana or Alertmanager, or an approval."""
    if request.path.startswith("/approve/"):
        from functions.approval import respond

        with flood.patience(request.environ.get("gunicorn.socket")):
            return respond(request, outside())
    try:
        grafana.require_method(request.method)
        settings = config.current()
        headers = dict(request.headers.items())  # each walk through Flask's own takes 10 microseconds
        with flood.patience(request.environ.get("gunicorn.socket")):
            body = grafana.read_body(request.stream, request.content_length, settings.max_body, headers)
        grafana.authenticate(settings.auth, headers, body, time.time())
        notification = grafana.parse(body)
    except BadRequest as error:
        _log_refusal(error)
        return refused(error)
    except (Unavailable, Denied) as error:
        logs.event("ERROR", f"nobody can be let in: {error}")
        return said(503, error="Unstick can't read its own secrets; its log says why.")
    with logs.bound(trace_header=request.headers.get("X-Cloud-Trace-Context")):
        return answered(_notified(notification.alerts))


@lru_cache(maxsize=16)
def _refusals(_status: int) -> flood.Sparing:
    return flood.Sparing()


def _log_refusal(error: BadRequest) -> None:
    """By status, so that strangers' 401 don't hide a 400 of Grafana's own. A GET is no news: health checks send them."""
    if error.status == 405:
        return
    before = _refusals(error.status).passes(time.monotonic())
    if before is not None:
        more = f" ({before} more were refused since the last such line)" if before else ""
        logs.event("WARNING", f"refused with {error.status}: {error.sentence}{more}")


def _notified(alerts: tuple[Alert, ...]) -> Notified:
    from functions import runbooks
    from functions.arrivals import notified
    from functions.contracts import Budget

    settings, real = config.current(), outside()
    budget = Budget(real, real.monotonic() + settings.budget_s)
    return notified(real, runbooks.cases(settings.rules, settings.runner_url, alerts), budget)


def answered(found: Notified) -> Answer:
    """The answer to Grafana: what became of each target; 503 only if an alert could be neither decided nor saved."""
    incidents = [
        {
            "id": reply.incident,
            "runbook": reply.runbook or None,
            "target": reply.target or None,
            "action": reply.action.value,
            "reason": reply.reason.value if reply.reason else None,
            "execution": {"id": reply.execution.id, "url": reply.execution.url} if reply.execution else None,
        }
        for reply in found.replies
    ]
    if not found.lost:
        return said(200, incidents=incidents)
    logs.event("ERROR", f"{found.lost} targets could not be saved: {found.why}")
    return said(
        503, error=f"{found.lost} targets could not be saved; they come again with the next notification.", incidents=incidents
    )


# --- verify ------------------------------------------------------------------------------------------------------------


def verify(request: Request) -> Answer:
    """Take a wake-up of the scheduler, or sweep if the body names none."""
    from functions.arrivals import sweep
    from functions.contracts import Budget

    if request.method != "POST":
        return refused(BadRequest(405, ""), allow="POST")
    with logs.bound(trace_header=request.headers.get("X-Cloud-Trace-Context")):
        try:
            payload = _wake_up(request)
            if not isinstance(payload, str):
                real = outside()
                return said(200, swept=sweep(real, Budget(real, real.monotonic() + VERIFY_BUDGET_S)))
            deliver(payload)
        except BadRequest as error:
            logs.event("ERROR", f"a wake-up was refused: {error.sentence}")
            return refused(error)
        except (Unavailable, Denied) as error:
            # 503 and 429 would make Cloud Tasks slow the whole queue down, not only this wake-up.
            logs.event("ERROR", f"a wake-up comes again: {error}")
            return said(500, error=str(error))
    return said(200)


def _wake_up(request: Request) -> object:
    """What the body has as `wake`; None for one that has nothing, such as Cloud Scheduler's."""
    body = grafana.read_body(request.stream, request.content_length, config.current().max_body, request.headers)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content.get("wake") if isinstance(content, dict) else None


def deliver(payload: str) -> None:
    """Take one wake-up, whoever brings it.

    Raises BadRequest on one that is not ours, and Unavailable or Denied where it must come again.
    """
    from functions import wakeups
    from functions.contracts import Budget
    from functions.flow import advance
    from functions.model import Woken

    real = outside()
    budget = Budget(real, real.monotonic() + VERIFY_BUDGET_S)
    try:
        content = wakeups.verified(real.config.signing_keys, payload)
    except BadRequest as error:
        if error.status == 401 and _given_up(real, wakeups.carried_since(payload), budget):
            return
        raise
    if isinstance(content.get("deferred"), list):
        _decide_deferred(content["deferred"])
    elif isinstance(content.get("target"), str):
        advance(real, content["target"], Woken(), budget)


def _given_up(real: Real, carried_since: float | None, budget: Budget) -> bool:
    """Tell people of alerts that no key signed. Whether they are over a day old, and need not come again."""
    from functions.flow import advance
    from functions.model import Unsigned

    if carried_since is None:
        return False  # it names a target, which the sweep steps
    advance(real, UNSIGNED_KEY, Unsigned(), budget)
    if real.now() - carried_since <= GIVEN_UP_S:
        return False
    logs.event("ERROR", "alerts were given up: for a day none of signing_keys fitted their signature")
    return True


def _decide_deferred(entries: list[dict[str, Any]]) -> None:
    """Alerts that the webhook had no time for, each target by itself. What could not be decided, or not in time, comes again."""
    from functions.flow import STORE_S

    real, left, failed = outside(), [], None
    ends = real.monotonic() + HANDED_OVER_S
    for entry in entries:
        if real.monotonic() >= ends:
            left.append(entry)
            continue
        try:
            _decide_handed_over(real, entry)
        except (Unavailable, Denied) as error:
            failed = error
            if real.now() - entry.get("at", real.now()) <= GIVEN_UP_S:
                left.append(entry)
            else:
                logs.event("ERROR", f"alerts were given up, since for a day they could not be decided: {error}")
    if failed is not None and len(left) == len(entries):
        raise failed
    if left:
        real.wake(real.now() + (AGAIN_S if failed else 0.0), {"deferred": left}, STORE_S)


def _decide_handed_over(real: Real, entry: dict[str, Any]) -> None:
    from msgspec import ValidationError

    from functions import runbooks
    from functions.arrivals import by_document, new_id
    from functions.contracts import Budget
    from functions.decoding import converted
    from functions.flow import advance
    from functions.model import Alert, Alerted

    try:
        alerts = converted(entry["alerts"], tuple[Alert, ...])
    except (ValidationError, KeyError) as error:
        raise Denied("scheduler", f"alerts that were handed over can't be read: {error}") from None
    # They were of one target; by another configuration they may be of several.
    groups = by_document(runbooks.cases(real.config.rules, real.config.runner_url, alerts))
    for number, (key, cases) in enumerate(groups.items()):
        incident = entry["incident"] if number == 0 else new_id(key, real.now(), cases)
        event = Alerted(tuple(cases), incident, crowd=bool(entry.get("crowd")), handed_over_at=entry.get("at"))
        advance(real, key, event, Budget(real, real.monotonic() + 30.0))


def swept() -> None:
    """The sweep of the local scheduler."""
    from functions.arrivals import sweep
    from functions.contracts import Budget

    sweep(outside(), Budget(outside(), time.monotonic() + VERIFY_BUDGET_S))


# --- report ------------------------------------------------------------------------------------------------------------


def report(request: Request) -> Answer:
    """Post what the bug costs, or start the drill; called by Cloud Scheduler."""
    from functions.report import respond

    return respond(request, outside())


# --- start -------------------------------------------------------------------------------------------------------------


def start() -> None:
    """Read the configuration, so that a mistake in it stops the process, and have each worker run what falls due.

    functions-framework loads main.py in a process that serves nothing and forks the workers from it; only `--debug` serves
    from the same process.
    """
    try:
        settings = config.current()
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        raise SystemExit(2) from None
    secret_places.warn_of_unreadable(settings)
    # The garbage collector writes into whatever it looks at; what it leaves alone stays shared by all workers.
    os.register_at_fork(before=gc.freeze)
    if os.environ.get("FUNCTION_TARGET") == "webhook" and settings.scheduler.name == LOCAL:
        os.register_at_fork(after_in_child=_run_local)
        if "--debug" in sys.argv:
            _run_local()


def deliver_here(payload: str) -> None:
    """The local scheduler's delivery. A target's wake-up that no key signed ends here, in the log: the sweep steps the target."""
    from functions.wakeups import carried_since

    try:
        deliver(payload)
    except BadRequest as error:
        logs.event("ERROR", f"a wake-up was refused: {error.sentence}")
        if error.status != 401 or carried_since(payload) is not None:
            raise


def _run_local() -> None:
    import threading

    from functions.rooms import room

    settings = config.current().scheduler.settings
    run = room("schedulers", LOCAL).run
    threading.Thread(target=run, args=(settings, deliver_here, swept, threading.Event()), daemon=True, name="scheduler").start()
