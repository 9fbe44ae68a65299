"""Stories for `card`: what happened to the alerts of a notification, with figures that are made up."""

from __future__ import annotations

from functions.arrivals import new_id
from functions.model import Case, Execution, Incident, Phase, Reason, Sighting, Story, Try, Verdict, Watched
from functions.telling import trigger_of

STARTED_S, ENDED_S = 120.0, 90.0
"""How long ago the made-up restart started and ended."""

STUCK, LEFT = 362, 97
"""Messages before the restart, and what is left while it drains."""

POINTS = 12
LOG = ("stopping the service", "stopped", "starting the service", "connected to RabbitMQ", "WARN no answer from the mail server")
DETAILS = {"escalated": "it is still stuck", "paused": "broker upgrade (an operator)", "resumed": "it is done (an operator)"}


def story(key: str, cases: tuple[Case, ...], kind: str | None, reason: Reason | None, now: float) -> Story:
    """One story of this target; without `kind`, the one that fits its first alert."""
    first = cases[0]
    fitting = kind or _kind(first)
    trigger = trigger_of(first)
    if fitting in ("test", "paused") or (fitting == "held" and first.target is None):
        why = Reason.TEST_ALERT if fitting == "test" else reason or first.reason
        return Story(fitting, now, first.runbook, reason=why, detail=DETAILS.get(fitting, first.detail), trigger=trigger)
    incident = _incident(key, cases, fitting, reason, now)
    if fitting == "resolved":
        return Story(fitting, now, target=first.target, trigger=trigger, detail=incident.id)
    why = reason or (Reason.COOLDOWN if fitting == "held" else None)
    mention = first.runbook.mention if first.runbook and fitting == "escalated" else ()
    detail = DETAILS.get(fitting, "")
    return Story(fitting, now, first.runbook, first.target, incident, why, detail, trigger=trigger, mention=mention)


def _kind(case: Case) -> str:
    if case.alert.test:
        return "test"
    if not case.alert.firing:
        return "resolved"
    return "started" if case.target else "held"


def _incident(key: str, cases: tuple[Case, ...], kind: str, reason: Reason | None, now: float) -> Incident:
    first = cases[0]
    name = new_id(key, now, list(cases))
    running = Execution("1847", "", "running", now - STARTED_S, tag=f"{name}.1")
    ended = Execution("1847", "", "succeeded", now - STARTED_S, now - ENDED_S, tag=f"{name}.1")
    restarted = kind in ("draining", "recovered", "escalated")
    after = {"draining": LEFT, "recovered": 0, "escalated": STUCK}.get(kind)
    queues = {case.queue.key: _watched(case, after, now) for case in cases if case.queue}
    phase = Phase.VERIFYING if restarted else Phase.RUNNING if kind == "started" else Phase.WAITING
    tries = (Try(f"{name}.1", ended, "stuck"),) if kind == "escalated" else ()
    return Incident(
        name,
        phase,
        min(case.alert.starts_at for case in cases),
        first.runbook.name if first.runbook else "",
        tuple(queues.values()),
        tuple(trigger_of(case) for case in cases),
        attempt=1 + len(tries),
        restarts=1 + len(tries) if restarted or kind == "started" else 0,
        tries=tries,
        reason=reason,
        execution=ended if restarted else running if kind == "started" else None,
        tail=LOG if kind == "escalated" else None,
    )


def _watched(case: Case, after: int | None, now: float) -> Watched:
    if case.queue is None:
        raise TypeError("a case without a queue has nothing to watch")
    before = Sighting(now - STARTED_S, STUCK, STUCK - 20, 20, consumers=1)
    curve = [(now - 300 + 15 * n, STUCK - 5 * (POINTS - n)) for n in range(POINTS)]
    verdict = None
    if after is not None:
        step = (STUCK - after) // POINTS
        curve += [(now - ENDED_S + 7 * n, max(after, STUCK - step * n)) for n in range(1, POINTS + 1)]
        verdict = Verdict.STUCK if after == STUCK else Verdict.RECOVERED if after == 0 else Verdict.DRAINING
    runbook = case.runbook.name if case.runbook else ""
    return Watched(case.queue, runbook, now - 300, before, depth=after, consumers=1, verdict=verdict, curve=tuple(curve))
