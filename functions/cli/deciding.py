"""What would be decided of a notification: the core's own step, on documents and looks that come from where one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.intake import DIRECT, document_key, make_incident_id
from functions.application.observe import NOTHING_SEEN, observe
from functions.application.ports import Budget
from functions.application.reconcile import STORE_S, load_document
from functions.domain.decisions import matching
from functions.domain.decisions.guards import Decision, GuardContext, evaluate_all
from functions.domain.decisions.messages import to_alert_ref
from functions.domain.decisions.step import step
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import AlertsReceived, Claim, Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Observation, Storm
from functions.runtime.text import Phrase

if TYPE_CHECKING:
    from functions.bootstrap import Adapters
    from functions.config.settings import Config

LOOK_BUDGET_S = 40.0
Look = Callable[[str, AlertsReceived, float], tuple[Document, Observation]]
"""(document's key, event, now) -> the document as it stands, and what is seen beside it."""


class Decided(Struct, frozen=True):
    """What would become of the alerts of one target."""

    document: Document
    """As it would be saved."""
    cases: tuple[MatchedAlert, ...]
    reply: Reply
    detail: Phrase
    guards: tuple[tuple[str, Decision | None], ...]
    """What each guard says by itself; empty where none is asked."""
    decides: str
    """The guard that decides, if one does."""
    told: tuple[str, ...]
    again_at: float | None
    """When it would be decided again."""
    seen: Observation

    @property
    def held(self) -> bool:
        """Somebody might miss a restart."""
        return self.reply.action in (Action.HELD, Action.DEFERRED, Action.ASKED) and self.reply.reason is not Reason.NOT_FIRING


def decided(
    settings: Config, alerts: Iterable[Alert], now: float, look_at: Look, done: Callable[[], object] = bool
) -> list[Decided]:
    """Decide each target as `webhook` would, in the notification's order; each sees the storm slots of those before it."""
    groups: dict[str, list[MatchedAlert]] = {}
    for case in matching.match_alerts(settings.rules, settings.runner_url, alerts):
        groups.setdefault(document_key(case), []).append(case)
    found: list[Decided] = []
    storm: Storm | None = None
    for key, cases in groups.items():
        event = AlertsReceived(tuple(cases), make_incident_id(key, now, cases), crowd=len(groups) > DIRECT)
        document, seen = look_at(key, event, now)
        if storm is not None:
            seen = replace(seen, storm=storm)
        one, claim = _decided(settings, document, event, seen, now)
        storm = claim or storm
        found.append(one)
        done()
    return found


def _decided(
    settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float
) -> tuple[Decided, Storm | None]:
    made = step(document, event, seen, now, settings.rules)
    if made.reply is None:
        raise TypeError("a step on alerts has a reply")
    claim = next((act.storm for act in made.acts if isinstance(act, Claim)), None)
    guards = _guards(settings, document, event, seen, now)
    asked = made.reply.reason is not Reason.DUPLICATE
    decides, says = next(((name, says) for name, says in guards if says is not None and asked), ("", None))
    before = {message.id for message in document.to_tell}
    told = dict.fromkeys(message.channel for message in made.document.to_tell if message.id not in before)
    incident = made.document.incident
    detail = says.detail if says is not None else event.cases[0].detail
    again_at = incident.due if incident and made.reply.action in (Action.HELD, Action.DEFERRED) else None
    return Decided(made.document, event.cases, made.reply, detail, tuple(guards), decides, tuple(told), again_at, seen), claim


def _guards(
    settings: Config, document: Document, event: AlertsReceived, seen: Observation, now: float
) -> list[tuple[str, Decision | None]]:
    firing = [case for case in event.cases if case.alert.firing]
    runbook = firing[0].runbook if firing else None
    if runbook is None or firing[0].target is None:
        return []
    incident = document.incident or _opened(event.incident, runbook.name, firing, now)
    scene = GuardContext(settings.rules, runbook, replace(document, target=firing[0].target), incident, seen, now)
    return evaluate_all(scene)


def _opened(name: str, runbook: str, cases: list[MatchedAlert], now: float) -> Incident:
    queues = {case.queue.key: QueueState(case.queue, runbook, now) for case in cases if case.queue is not None}
    triggers = tuple(to_alert_ref(case) for case in cases)
    return Incident(name, Phase.DEFERRED, now, runbook, tuple(queues.values()), triggers, due=now)


def live(ports: Adapters) -> Look:
    """The store's documents and a look at the real systems. Nothing is saved, started or told."""

    def look_at(key: str, event: AlertsReceived, _now: float) -> tuple[Document, Observation]:
        document = load_document(key, ports.load(key, STORE_S))
        if event.cases[0].target is None:
            return document, NOTHING_SEEN
        seen, _ = observe(ports, document, event, Budget(ports, ports.monotonic() + LOOK_BUDGET_S))
        return document, seen

    return look_at


def alone(seen_of: Callable[[tuple[MatchedAlert, ...], float], Observation]) -> Look:
    """No documents at all, and an observation that is made up."""

    def look_at(key: str, event: AlertsReceived, now: float) -> tuple[Document, Observation]:
        return Document(key), seen_of(event.cases, now)

    return look_at


def clock_of(at: float | None, alerts: Iterable[Alert]) -> float:
    """The moment that a recording is of; where it does not say, when its newest alert began."""
    return at if at is not None else max(alert.starts_at for alert in alerts)


def as_json(one: Decided) -> dict[str, Any]:
    """One decision as plain values."""
    target = one.cases[0].target
    return {
        "runbook": one.reply.runbook or None,
        "target": one.reply.target or None,
        "job": target.job if target else None,
        "options": dict(target.options) if target else None,
        "action": one.reply.action.value,
        "reason": one.reply.reason.value if one.reply.reason else None,
        "detail": one.detail,
        "again_at": one.again_at,
        "told": one.told,
        "alerts": [
            {
                "name": case.alert.name,
                "fingerprint": case.alert.fingerprint,
                "firing": case.alert.firing,
                "queue": case.queue.key if case.queue else None,
            }
            for case in one.cases
        ],
        "guards": [_guard(name, says, decides=name == one.decides) for name, says in one.guards],
        "seen": msgspec.to_builtins(one.seen) if target else None,
    }


def _guard(name: str, says: Decision | None, *, decides: bool) -> dict[str, Any]:
    said = "passes" if says is None else says.kind.value
    reason = says.reason.value if says and says.reason else None
    return {"guard": name, "says": said, "reason": reason, "detail": says.detail if says else "", "decides": decides}
