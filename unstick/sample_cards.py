"""Cards of what could happen to the alerts of a notification, with figures that are made up.

A hold takes the way that the core would take, so that it alarms people, waits or asks as in a real incident.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from functions.application.intake import make_incident_id
from functions.application.observe import NOTHING_SEEN
from functions.domain.cards.card import compose
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.facts import short_name
from functions.domain.cards.rendering import rendered
from functions.domain.decisions.endings import APPROVAL_S, handle_hold, request_approval
from functions.domain.decisions.guards import Decision, hold
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.turn import StepContext, Turn
from functions.domain.model.alerts import MatchedAlert, QueueRef
from functions.domain.model.codes import Phase, Reason, Verdict
from functions.domain.model.incidents import AfterRestart, Document, Escalation, Evidence, Incident, PastAttempt, QueueState
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, QueueSnapshot
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime.text import Phrase, Text
from unstick.output import Unusable

ALERTED_S = 300.0
"""How long ago the alert began at least: a restart that helps takes some time."""

STARTED_S, ENDED_S = 120.0, 90.0
"""How long ago the made-up restart started and ended."""

FIRST_S = 150.0
"""How long before the last restart the first one was, if that did not help."""

STUCK, LEFT = 362, 97
"""Messages before the restart, and what is left while it drains."""

POINTS, EVERY_S, AFTER_S = 12, 15.0, 7.0
LOG = ("stopping the service", "stopped", "starting the service", "connected to RabbitMQ", "WARN no answer from the mail server")
STACK = ("MainThread is in recv_into (ssl.py:1166)", "  read_reply (smtp.py:41)", "  deliver (mail_worker.py:112)")
DETAILS: Mapping[str, Phrase] = {
    "escalated": Text("it is still stuck"),
    "paused": "broker upgrade (an operator)",
    "resumed": "it is done (an operator)",
}
PASSING = frozenset({Reason.COOLDOWN, Reason.JOB_BUSY, Reason.LEDGER_UNKNOWN, Reason.SYMPTOM_UNKNOWN})
"""These pass by themselves: the incident waits."""

WITHOUT_INCIDENT = frozenset({Reason.NO_RUNBOOK, Reason.INVALID_OPTION, Reason.MONITORING_FAILURE, Reason.INCIDENT_FULL})
"""Nothing can be restarted for such an alert, or its incident is full."""

AGAIN_S = 60.0
CHANNEL = "shown"


def card(key: str, cases: tuple[MatchedAlert, ...], kind: str | None, reason: Reason | None, now: float, rules: Rules) -> Card:
    """One card of this target; without `kind`, the one that fits reason or first alert."""
    first = cases[0]
    if reason is Reason.DUPLICATE:
        raise Unusable("duplicate: nobody is notified again of an alert that is part of an incident already. Use another reason.")
    now = max(now, max(case.alert.starts_at for case in cases) + ALERTED_S)
    fitting = kind or ("held" if reason else _kind(first))
    if fitting == "held":
        return _held(key, cases, reason or first.reason or Reason.COOLDOWN, now, rules)
    return compose(_card_input(key, cases, fitting, reason, now), rules)


def bundle(groups: list[list[MatchedAlert]], reason: Reason | None, now: float, rules: Rules) -> Card:
    """The one card of a notification of many targets."""
    card_inputs = (CardInput("held", now, target=cases[0].target, trigger=to_alert_ref(cases[0])) for cases in groups)
    names = [rendered(rules, short_name(one)) for one in card_inputs]
    return compose(CardInput("bundle", now, reason=reason or Reason.TOO_MANY_TARGETS, bundled=tuple(names)), rules)


def _kind(case: MatchedAlert) -> str:
    if case.alert.test:
        return "test"
    if not case.alert.firing:
        return "resolved"
    return "started" if case.target else "held"


def _card_input(key: str, cases: tuple[MatchedAlert, ...], kind: str, reason: Reason | None, now: float) -> CardInput:
    first, detail = cases[0], DETAILS.get(kind, "")
    if kind == "test":
        return CardInput(kind, now, reason=Reason.TEST_ALERT, trigger=to_alert_ref(first))
    if kind in ("paused", "unsigned", "expiring"):
        return CardInput(kind, now, detail=detail)
    if kind == "resumed":
        return CardInput(kind, now, target=first.target, detail=detail)
    incident = _incident(key, cases, kind, now)
    if kind == "resolved":
        return CardInput(kind, now, target=first.target, trigger=to_alert_ref(first), detail=incident.id)
    if kind in ("escalated_again", "acknowledged"):
        runbook = first.runbook.name if first.runbook else ""
        escalation = Escalation(incident.id, runbook, now - ALERTED_S, due=now + ALERTED_S, told=1)
        if kind == "acknowledged":
            escalation = replace(escalation, taken_by="an operator", taken_at=now)
        trigger = to_alert_ref(first)
        return CardInput(kind, now, first.runbook, first.target, reason=reason, trigger=trigger, escalation=escalation)
    if kind == "not_approved":
        now, reason = now + APPROVAL_S, reason or Reason.AWAITING_APPROVAL
    if kind == "declined":
        incident, reason = replace(incident, declined_by="an operator"), Reason.DECLINED
    return CardInput(kind, now, first.runbook, first.target, incident, reason, detail)


def _held(key: str, cases: tuple[MatchedAlert, ...], reason: Reason, now: float, rules: Rules) -> Card:
    first = cases[0]
    if reason is Reason.TEST_ALERT:
        return compose(_card_input(key, cases, "test", None, now), rules)
    if reason is Reason.ALREADY_RUNNING:
        adopted = replace(_incident(key, cases, "started", now), adopted=True)
        return compose(CardInput("started", now, first.runbook, first.target, adopted, reason), rules)
    if reason is Reason.DECLINED:
        return compose(_card_input(key, cases, "declined", reason, now), rules)
    if first.runbook is None or first.target is None or reason in WITHOUT_INCIDENT:
        runbook = first.runbook if reason is not Reason.NO_RUNBOOK else None
        target = first.target if reason is Reason.INCIDENT_FULL else None
        card_input = CardInput("held", now, runbook, target, reason=reason, detail=first.detail, trigger=to_alert_ref(first))
        return compose(card_input, rules)
    runbook = replace(first.runbook, notify=(CHANNEL,))
    incident = _incident(key, cases, "held", now)
    if reason is Reason.SYMPTOM_GONE:  # it has emptied by itself
        queues = tuple(replace(queue, before=None) for queue in _incident(key, cases, "recovered", now).queues)
        incident = replace(incident, queues=queues)
    own = replace(rules, runbooks={runbook.name: runbook})
    turn = Turn(Document(key, first.target, incident), StepContext(own, NOTHING_SEEN, now, was_saved=False))
    apply = request_approval if reason is Reason.AWAITING_APPROVAL else handle_hold
    apply(turn, _decision(reason, runbook, now))
    return turn.document.to_tell[0].card


def _decision(reason: Reason, runbook: Runbook, now: float) -> Decision:
    """What the guard of this reason says."""
    execution = None
    if reason is Reason.ZOMBIE_EXECUTION:
        execution = Execution("1847", "", "running", now - runbook.restart.max_run_s - AGAIN_S)
    elif reason is Reason.FAILING:
        execution = Execution("1847", "", "failed", now - STARTED_S, now - ENDED_S)
    return hold(reason, again_in_s=AGAIN_S if reason in PASSING else None, execution=execution)


def _incident(key: str, cases: tuple[MatchedAlert, ...], kind: str, now: float) -> Incident:
    first = cases[0]
    name = make_incident_id(key, now, list(cases))
    restarted = kind in ("draining", "recovered", "escalated")
    again = kind == "escalated" and first.runbook is not None and first.runbook.limits.attempts > 1
    tries = (PastAttempt(f"{name}.1", _ended(f"{name}.1", "1843", now - FIRST_S), "stuck"),) if again else ()
    number = 1 + len(tries)
    running = Execution("1847", "", "running", now - STARTED_S, tag=f"{name}.1")
    execution = _ended(f"{name}.{number}", "1847", now) if restarted else running if kind == "started" else None
    return Incident(
        name,
        Phase.VERIFYING if restarted else Phase.RUNNING if kind == "started" else Phase.DEFERRED,
        now,
        first.runbook.name if first.runbook else "",
        tuple({case.queue.key: _queue_state(case.queue, case.runbook, kind, now) for case in cases if case.queue}.values()),
        tuple(to_alert_ref(case) for case in cases),
        attempt=number if execution else 0,
        restarts=number if execution else 0,
        tries=tries,
        execution=execution,
        tail=LOG if kind == "escalated" else None,
        evidence=_evidence(name, now) if first.runbook and first.runbook.evidence else None,
    )


def _evidence(incident: str, now: float) -> Evidence:
    execution = _ended(f"{incident}.evidence", "1846", now - STARTED_S)
    return Evidence(asked_at=now - FIRST_S, execution=execution, lines=STACK)


def _ended(tag: str, number: str, now: float) -> Execution:
    return Execution(number, "", "succeeded", now - STARTED_S, now - ENDED_S, tag=tag)


def _queue_state(queue: QueueRef, runbook: Runbook | None, kind: str, now: float) -> QueueState:
    """The queue right before the restart, else now, and how it went on."""
    left = {"draining": LEFT, "recovered": 0, "escalated": STUCK}.get(kind)
    last_at = now - STARTED_S if left is not None or kind == "started" else now
    before = QueueSnapshot(last_at, STUCK, STUCK - 20, 20, consumers=1) if last_at < now else None
    curve = [(last_at - EVERY_S * back, STUCK - 5 * back) for back in reversed(range(POINTS))]
    verdict = None
    if left is not None:
        step = (STUCK - left) // POINTS
        curve += [(now - AFTER_S * back, left + step * back) for back in reversed(range(POINTS))]
        verdict = Verdict.STUCK if left == STUCK else Verdict.RECOVERED if left == 0 else Verdict.DRAINING
    name = runbook.name if runbook else ""
    after = AfterRestart(depth=left, verdict=verdict)
    return QueueState(queue, name, now - ALERTED_S, before, after=after, consumers=1, curve=tuple(curve))
