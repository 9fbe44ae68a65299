"""Simulates the decision about a notification: the core's own step, on documents and observations from any source."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.documents import load
from functions.application.intake import DIRECT, group_by_document, make_incident_id
from functions.application.observe import NOTHING_SEEN
from functions.application.observe import observe as observe_systems
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.config.settings import Config
from functions.domain.decisions.guards import Decision, GuardContext, evaluate_all
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.step import step
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import AlertsReceived, Claim, Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Observation, Slot, Storm

LOOK_BUDGET_S = 40.0
Observe = Callable[[str, AlertsReceived, float], tuple[Document, Observation]]
"""(document key, event, now) -> the current document, and its observation."""


class SimulatedDecision(Struct, frozen=True):
    document: Document  # the document as it would be saved
    cases: tuple[MatchedAlert, ...]
    reply: Reply
    detail: str
    guards: tuple[tuple[str, Decision | None], ...]  # the result of each guard by itself; empty if none is evaluated
    decides: str  # the deciding guard, if any
    told: tuple[str, ...]
    again_at: float | None  # when the next decision would come
    seen: Observation

    @property
    def held(self) -> bool:
        """Whether somebody might miss a restart."""
        return self.reply.action in (Action.HELD, Action.DEFERRED, Action.ASKED) and self.reply.reason is not Reason.NOT_FIRING


def decide_notification(
    settings: Config, alerts: Iterable[Alert], now: float, observe: Observe, advance: Callable[[], object] = bool
) -> list[SimulatedDecision]:
    """Decide each target like `webhook`, in the notification's order; each sees the storm slots of those before it."""
    # An evidence job would only postpone the simulated decision.
    settings = replace(settings, runbooks=tuple(replace(runbook, evidence=None) for runbook in settings.runbooks))
    groups = group_by_document(settings.match_alerts(alerts))
    decisions: list[SimulatedDecision] = []
    storm: Storm | None = None
    for key, cases in groups.items():
        event = AlertsReceived(tuple(cases), make_incident_id(key, now, cases), crowd=len(groups) > DIRECT)
        document, observation = observe(key, event, now)
        if storm is not None:
            observation = replace(observation, storm=storm)
        decision, claim = _decide_target(settings, document, event, observation, now)
        if claim is not None and isinstance(observation.storm, Storm):
            storm = Storm((*observation.storm.slots, claim))
        decisions.append(decision)
        advance()
    return decisions


def _decide_target(
    settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float
) -> tuple[SimulatedDecision, Slot | None]:
    result = step(document, event, seen, now, settings.rules)
    if result.reply is None:
        raise TypeError("a step on alerts has a reply")
    claim = next((Slot(result.document.key, act.at) for act in result.acts if isinstance(act, Claim)), None)
    guards = _guards(settings, document, event, seen, now)
    is_duplicate = result.reply.reason is Reason.DUPLICATE
    decides, deciding = next(((name, one) for name, one in guards if one is not None and not is_duplicate), ("", None))
    waiting_before = {message.id for message in document.to_tell}
    told = dict.fromkeys(message.channel for message in result.document.to_tell if message.id not in waiting_before)
    incident = result.document.incident
    detail = str(deciding.detail if deciding is not None else event.cases[0].detail)
    again_at = incident.due if incident and result.reply.action in (Action.HELD, Action.DEFERRED) else None
    decision = SimulatedDecision(
        result.document, event.cases, result.reply, detail, tuple(guards), decides, tuple(told), again_at, seen
    )
    return decision, claim


def _guards(
    settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float
) -> list[tuple[str, Decision | None]]:
    firing = [case for case in event.cases if case.alert.firing]
    runbook = firing[0].runbook if firing else None
    if runbook is None or firing[0].target is None:
        return []
    incident = document.incident or _opened(event.incident, runbook.name, firing, now)
    context = GuardContext(settings.rules, runbook, replace(document, target=firing[0].target), incident, seen, now)
    return evaluate_all(context)


def _opened(name: str, runbook: str, cases: list[MatchedAlert], now: float) -> Incident:
    queues = {case.queue.key: QueueState(case.queue, runbook, now) for case in cases if case.queue is not None}
    triggers = tuple(to_alert_ref(case) for case in cases)
    return Incident(name, Phase.DEFERRED, now, runbook, tuple(queues.values()), triggers, due=now)


def live_observations(ports: Adapters) -> Observe:
    """Use the store's documents and the real systems. Saves, starts and sends nothing."""

    def observe_target(key: str, event: AlertsReceived, _now: float) -> tuple[Document, Observation]:
        document, _ = load(ports, key)
        if event.cases[0].target is None:
            return document, NOTHING_SEEN
        observation, _ = observe_systems(ports, document, event, Budget(ports, ports.monotonic() + LOOK_BUDGET_S))
        return document, observation

    return observe_target


def made_up_observations(observe: Callable[[tuple[MatchedAlert, ...], float], Observation]) -> Observe:
    """Use no documents, and a made-up observation."""

    def observe_target(key: str, event: AlertsReceived, now: float) -> tuple[Document, Observation]:
        return Document(key), observe(event.cases, now)

    return observe_target


def recorded_at(at: float | None, alerts: Iterable[Alert]) -> float:
    """The time of a recording; if it has none, when its newest alert began."""
    return at if at is not None else max(alert.starts_at for alert in alerts)


def as_json(decision: SimulatedDecision) -> dict[str, Any]:
    """One decision as JSON values."""
    target = decision.cases[0].target
    return {
        "runbook": decision.reply.runbook or None,
        "target": decision.reply.target or None,
        "job": target.job if target else None,
        "options": dict(target.options) if target else None,
        "action": decision.reply.action,
        "reason": decision.reply.reason,
        "detail": decision.detail,
        "again_at": decision.again_at,
        "told": decision.told,
        "alerts": [
            {
                "name": case.alert.name,
                "fingerprint": case.alert.fingerprint,
                "firing": case.alert.firing,
                "queue": case.queue.key if case.queue else None,
            }
            for case in decision.cases
        ],
        "guards": [
            {
                "guard": name,
                "says": "passes" if result is None else result.kind,
                "reason": result.reason if result else None,
                "detail": result.detail if result else "",
                "decides": name == decision.decides,
            }
            for name, result in decision.guards
        ],
        "seen": msgspec.to_builtins(decision.seen) if target else None,
    }
