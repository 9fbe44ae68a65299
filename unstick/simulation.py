"""Simulates the decision about a notification: the core's own step, on the store's documents and what the systems show."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.application.documents import load
from functions.application.intake import DIRECT, group_by_document, make_incident_id
from functions.application.observe import NOTHING_SEEN
from functions.application.observe import observe as observe_systems
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.config.settings import Config
from functions.domain.decisions.guards import GUARDS, evaluate
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.step import step
from functions.domain.decisions.turn import GuardContext, HistoryUnknown
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import AlertsReceived, Claim, Kind
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Observation, Slot, Storm

LOOK_BUDGET_S = 40.0
PASSES = "passes"


class SimulatedAlert(Struct, frozen=True):
    name: str
    fingerprint: str
    firing: bool
    queue: str | None
    labels: Mapping[str, str]


class GuardSays(Struct, frozen=True):
    """What one guard says by itself, whatever the others say."""

    guard: str
    says: str = PASSES
    reason: Reason | None = None
    detail: str = ""
    decides: bool = False


class SimulatedDecision(Struct, frozen=True):
    """The decision about one target, as `--json` prints it."""

    runbook: str | None
    target: str | None
    job: str | None
    options: Mapping[str, str] | None
    action: Action
    reason: Reason | None
    detail: str
    again_at: float | None  # when the next decision would come
    told: tuple[str, ...]
    alerts: tuple[SimulatedAlert, ...]
    guards: tuple[GuardSays, ...]  # empty if none is evaluated
    seen: Observation | None

    @property
    def is_held(self) -> bool:
        """Whether an alert that fires leads to no restart."""
        return self.action in (Action.HELD, Action.DEFERRED, Action.ASKED) and self.reason is not Reason.NOT_FIRING


def decide_notification(
    ports: Adapters, alerts: Iterable[Alert], now: float, advance: Callable[[], object]
) -> list[SimulatedDecision]:
    """Decide each target like `webhook`, in the notification's order; each sees the storm slots of those before it."""
    # An evidence job would only postpone the simulated decision.
    runbooks = tuple(replace(runbook, evidence=None) for runbook in ports.config.runbooks)
    settings = replace(ports.config, runbooks=runbooks)
    groups = group_by_document(settings.match_alerts(alerts))
    decisions: list[SimulatedDecision] = []
    storm: Storm | None = None
    for key, cases in groups.items():
        event = AlertsReceived(tuple(cases), make_incident_id(key, now, cases), crowd=len(groups) > DIRECT)
        document, observation = _observe(ports, key, event)
        if storm is not None:
            observation = replace(observation, storm=storm)
        decision, claim = _decide_target(settings, document, event, observation, now)
        if claim is not None and isinstance(observation.storm, Storm):
            storm = Storm((*observation.storm.slots, claim))
        decisions.append(decision)
        advance()
    return decisions


def _observe(ports: Adapters, key: str, event: AlertsReceived) -> tuple[Document, Observation]:
    """The store's document, and the real systems. Saves, starts and sends nothing."""
    document, _ = load(ports, key)
    if event.cases[0].target is None:
        return document, NOTHING_SEEN
    return document, observe_systems(ports, document, event, Budget(ports, ports.monotonic() + LOOK_BUDGET_S))


def _decide_target(
    settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float
) -> tuple[SimulatedDecision, Slot | None]:
    result = step(document, event, seen, now, settings.rules)
    reply, incident, target = result.reply, result.document.incident, event.cases[0].target
    if reply is None:
        raise TypeError("a step on alerts has a reply")
    guards = _ask_guards(settings, document, event, seen, now)
    deciding = next((guard for guard in guards if guard.says != PASSES and reply.reason is not Reason.DUPLICATE), None)
    waiting_before = {message.id for message in document.to_tell}
    decision = SimulatedDecision(
        runbook=reply.runbook or None,
        target=reply.target or None,
        job=target.job if target else None,
        options=target.options if target else None,
        action=reply.action,
        reason=reply.reason,
        detail=deciding.detail if deciding else str(event.cases[0].detail),
        again_at=incident.due if incident and reply.action in (Action.HELD, Action.DEFERRED) else None,
        told=tuple(dict.fromkeys(message.channel for message in result.document.to_tell if message.id not in waiting_before)),
        alerts=tuple(map(_show_alert, event.cases)),
        guards=tuple(replace(guard, decides=guard is deciding) for guard in guards),
        seen=seen if target else None,
    )
    return decision, next((Slot(result.document.key, act.at) for act in result.acts if isinstance(act, Claim)), None)


def _show_alert(case: MatchedAlert) -> SimulatedAlert:
    alert = case.alert
    return SimulatedAlert(alert.name, alert.fingerprint, alert.firing, case.queue.key if case.queue else None, alert.labels)


def _ask_guards(settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float) -> list[GuardSays]:
    firing = [case for case in event.cases if case.alert.firing]
    runbook = firing[0].runbook if firing else None
    if runbook is None or firing[0].target is None:
        return []
    queues = {case.queue.key: QueueState(case.queue, runbook.name, now) for case in firing if case.queue is not None}
    triggers = tuple(to_alert_ref(case) for case in firing)
    opened = Incident(event.incident, Phase.DEFERRED, now, runbook.name, tuple(queues.values()), triggers, due=now)
    document = replace(document, target=firing[0].target)
    context = GuardContext(settings.rules, runbook, document, document.incident or opened, seen, now)
    return [_ask_guard(name, context) for name in GUARDS]


def _ask_guard(name: str, context: GuardContext) -> GuardSays:
    """What the guard says by itself. One that needs the history holds if it can't be read."""
    try:
        decision = evaluate(name, context)
    except HistoryUnknown:
        return GuardSays(name, Kind.HOLD, Reason.LEDGER_UNKNOWN)
    return GuardSays(name, decision.kind, decision.reason, str(decision.detail)) if decision else GuardSays(name)
