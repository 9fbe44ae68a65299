"""The step: (document, event, observation, now) -> (document, acts).

It is level-triggered: it looks at the current state, not at which call this is. Repeating a step changes nothing: before `due` it
only takes in alerts, and the document's phase fences whatever it orders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.context import StepContext, has_unseen, is_all_resolved, reply_for_alerts
from functions.domain.decisions.endings import end_as_declined
from functions.domain.decisions.escalations import on_acknowledgement, on_restart_wanted, remind
from functions.domain.decisions.evidence import on_evidence_started, without_evidence_runs
from functions.domain.decisions.matching import render_evidence
from functions.domain.decisions.messages import (
    LATE_S,
    LINKED_TRIGGERS,
    alert_key,
    default_channels,
    end_escalation,
    enqueue_hold,
    enqueue_message,
    short_source,
    to_alert_ref,
)
from functions.domain.decisions.observing import is_over, observe_alerts, stop_observing
from functions.domain.decisions.phases import (
    clear_escalation_if_healthy,
    evaluate_guards,
    guard_still_blocks,
    on_start_result,
    run_phase,
)
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.bounds import ALERTS_KEPT, QUEUES_KEPT, note_history
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import (
    Acknowledged,
    AlertsReceived,
    Approved,
    Bundled,
    Declined,
    Event,
    EvidenceStarted,
    MessagesDelivered,
    Reply,
    RestartWanted,
    Resumed,
    StartResult,
    Step,
    TimerFired,
    TokenExpiring,
    Unsigned,
    Waiting,
    Wake,
)
from functions.domain.model.incidents import AlertRef, Document, Incident, Outcome, QueueState
from functions.domain.model.observations import Observation
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Text, in_brackets

WEEK_S, DAY_S = 7 * 86400.0, 86400.0
UNTOLD_S = 60.0
"""An unposted message keeps a document due at most this far ahead."""

REPLACED_S = 10.0
"""From so long after `due` on, any wake-up will do: the one that was created for it may be lost, or fail and be repeated."""

BUNDLE_S = 20.0
"""How long a message waits for others to be bundled with."""

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
REQUESTS_KEPT = 100
SAME_START_S = 60.0
"""Grafana's replicas give the same alert slightly different start times."""


def step(document: Document, event: Event, seen: Observation, now: float, rules: Rules, wake_at: float | None = None) -> Step:
    """Take one step. It raises nothing for any document that this or the former release wrote.

    `wake_at`: when a wake-up comes that exists already; what is due then needs no other one.
    """
    expected = event.handed_over_at if isinstance(event, AlertsReceived) else document.due
    late_s = now - expected if expected is not None else 0.0
    context = StepContext(rules, without_evidence_runs(seen), now, late_s=late_s if late_s > LATE_S else 0.0, wake_at=wake_at)
    match event:
        case AlertsReceived():
            result = _on_request(document, event, replace(context, crowd=event.crowd, was_saved=document.incident is not None))
        case TimerFired():
            result = _on_timer(document, event, context)
        case Approved() | Declined() | Acknowledged() | RestartWanted() | Resumed():
            result = _on_person(document, event, context)
        case StartResult():
            result = on_start_result(document, event, context)
        case EvidenceStarted():
            result = on_evidence_started(document, event, context)
        case MessagesDelivered():
            result = _on_delivered(document, event)
        case Bundled():
            result = _on_bundle(document, event, context)
        case Unsigned():
            result = _on_unsigned(document, context)
        case TokenExpiring():
            result = _on_token_expiring(document, context)
    return _set_due(document, replace(result, document=note_history(document, result.document, now)), context)


def _set_due(before: Document, result: Step, context: StepContext) -> Step:
    """Set the document's `due`, and order a wake-up if none exists for it."""
    after = result.document
    if after == before:
        return result
    dues = (after.incident.due if after.incident else None, after.escalation.due if after.escalation else None)
    due = min((one for one in dues if one is not None), default=None)
    if after.to_tell or after.to_archive:
        post_at = post_untold_at(before, after, context)
        due = post_at if due is None else min(due, post_at)
    after = replace(after, due=due)
    if due is None or due in (before.due, context.wake_at):
        return replace(result, document=after)
    return replace(result, document=after, acts=(Wake(due), *result.acts))


def post_untold_at(before: Document, after: Document, context: StepContext) -> float:
    """When to try again what waits to be posted or archived. What is new does not put off what waited before."""
    bundled = after.to_tell and all(message.bundle for message in after.to_tell)
    post_at = context.due_within(BUNDLE_S if bundled else UNTOLD_S)
    waited, waits = _ids(before), _ids(after)
    if not waited or before.due is None or before.due <= context.at:
        return post_at
    return before.due if waits <= waited else min(before.due, post_at)


def _ids(document: Document) -> set[str]:
    return {message.id for message in document.to_tell} | {record.incident.id for record in document.to_archive}


def is_decided_at_once(incident: Incident, event: TimerFired) -> bool:
    """Whether the process that deferred the decision makes it now, before the wake-up does."""
    return event.at_once and incident.phase is Phase.DEFERRED


def is_replaced(document: Document, event: TimerFired, now: float) -> bool:
    """Whether another wake-up exists for what is due now.

    Each of several processes that step a document at the same moment creates the next wake-up, and one of them saves. The
    others' wake-ups would come together from then on, each with an observation of its own.
    """
    is_due_late = document.due is not None and now >= document.due + REPLACED_S
    return event.due not in (None, document.due) and not is_due_late


def _on_timer(document: Document, event: TimerFired, context: StepContext) -> Step:
    if is_replaced(document, event, context.at):
        return Step(document)
    incident = document.incident
    if incident is not None and is_decided_at_once(incident, event):
        return run_phase(document, incident, context)
    if document.due is not None and context.at < document.due:
        return Step(document)
    document = remind(document, context)
    if incident is not None and context.at >= incident.due:
        return run_phase(document, incident, context)
    if document.to_tell or document.to_archive or incident is None:
        # Changing `due` gives the posting to one process: the one whose save succeeds.
        return Step(replace(document, due=None))
    return Step(document)


def _on_request(document: Document, event: AlertsReceived, context: StepContext) -> Step:
    """Take in the alerts, unless the same signed request was taken in before: a copy decides nothing."""
    origin, requests = event.origin, document.requests
    if requests.get(origin.id, 0.0) > context.at:
        return Step(document, reply=_reply_for_duplicate(document, event, event.cases[0]))
    result = _on_alerts(document, event, context)
    if not origin.id or not new_alerts(document, event.cases):
        return result
    current = {name: until for name, until in requests.items() if until > context.at} | {origin.id: origin.until}
    kept = dict(list(current.items())[-REQUESTS_KEPT:])
    return replace(result, document=replace(result.document, requests=kept))


def _on_alerts(document: Document, event: AlertsReceived, context: StepContext) -> Step:
    first = event.cases[0]
    if first.target is None:
        return _turn_away(document, event, first, context)
    document = replace(document, target=first.target)
    document = _note_resolved(document, tuple(case for case in event.cases if not case.alert.firing), context)
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        incident = document.incident
        due = incident is not None and context.at >= incident.due and not has_unseen(context)
        if incident is not None and is_all_resolved(incident) and (due or incident.is_suspicion):
            result = run_phase(document, incident, context)
        else:
            result = Step(clear_escalation_if_healthy(document, first.runbook, context))
        reply = reply_for_alerts(document, event, first, Action.HELD, Reason.NOT_FIRING)
        return result if result.reply else replace(result, reply=reply)
    new = new_alerts(document, firing)
    if not new:
        return Step(document, reply=_reply_for_duplicate(document, event, firing[0]))
    if document.incident is not None and is_over(document.incident, context.rules):
        document = stop_observing(document, document.incident, context)
    incident_before = document.incident or _new_incident(event, new[0], context)
    incident, left_out = _with_alerts(incident_before, new, context)
    if document.incident is not None:
        result = _join_incident(document, incident, event, new, context)
    else:
        result = run_phase(document, incident, context)
    return _tell_left_out(result, event, new[0], event.left_out + left_out, context)


def _reply_for_duplicate(document: Document, event: AlertsReceived, case: MatchedAlert) -> Reply:
    """It names the incident that the alert came to: the one that settled it, otherwise the open one or the last that held it."""
    reply = reply_for_alerts(document, event, case, Action.HELD, Reason.DUPLICATE)
    outcome = _alerts_of_outcomes(document).find(case)
    if outcome is None and not (document.incident and _by_alert([document.incident]).find(case)):
        outcome = _by_alert(reversed(document.outcomes)).find(case)
    return replace(reply, incident=outcome.incident, execution=None) if outcome else reply


def _tell_left_out(result: Step, event: AlertsReceived, case: MatchedAlert, count: int, context: StepContext) -> Step:
    """Post, once an hour for each source, that alerts were held because their incident is full."""
    if not count:
        return result
    trigger = replace(to_alert_ref(case), fingerprint=Reason.INCIDENT_FULL.value)
    detail = Text(
        "{count} alert was left out; an incident takes {alerts} alerts and {queues} queues",
        "{count} alerts were left out; an incident takes {alerts} alerts and {queues} queues",
        count=count,
        alerts=ALERTS_KEPT,
        queues=QUEUES_KEPT,
    )
    target = result.document.target
    card_input = CardInput("held", context.at, case.runbook, target, reason=Reason.INCIDENT_FULL, detail=detail, trigger=trigger)
    bundle = Reason.INCIDENT_FULL.value if context.crowd else ""
    document = enqueue_hold(result.document, context.rules, card_input, (trigger,), event.incident, bundle=bundle)
    return replace(result, document=document)


def _turn_away(document: Document, event: AlertsReceived, case: MatchedAlert, context: StepContext) -> Step:
    """Post an alert without a target, and do nothing else."""
    reason = case.reason or Reason.NO_RUNBOOK
    if not case.alert.firing:
        reason = Reason.NOT_FIRING
    elif document.incident is None:
        kind = "test" if reason is Reason.TEST_ALERT else "held"
        trigger = to_alert_ref(case)
        card_input = CardInput(kind, context.at, case.runbook, reason=reason, detail=case.detail, trigger=trigger)
        always = reason is Reason.TEST_ALERT
        bundle = reason.value if context.crowd else ""
        document = enqueue_hold(document, context.rules, card_input, (trigger,), event.incident, bundle=bundle, always=always)
    return Step(document, reply=reply_for_alerts(document, event, case, Action.HELD, reason))


def _new_incident(event: AlertsReceived, case: MatchedAlert, context: StepContext) -> Incident:
    runbook = case.runbook
    job = runbook.evidence if runbook else None
    return Incident(
        event.incident,
        Phase.DEFERRED,
        context.at,
        runbook.name if runbook else "",
        (),
        (),
        due=context.at,
        evidence=render_evidence(job, case.alert.labels) if job else None,
    )


def _with_alerts(incident: Incident, cases: tuple[MatchedAlert, ...], context: StepContext) -> tuple[Incident, int]:
    """Add these alerts and their queues to the incident, and count those that do not fit.

    What it has already stays unchanged, an earlier firing too.
    """
    triggers, queues = list(incident.triggers), {watched.queue.key: watched for watched in incident.queues}
    places = _Firings[int]()
    for place, trigger in enumerate(triggers):
        places.add(trigger, place)
    left_out = 0
    for case in cases:
        known = places.find(case)
        new_queue = case.queue if case.queue is not None and case.queue.key not in queues else None
        if (new_queue is not None and len(queues) == QUEUES_KEPT) or (known is None and len(triggers) == ALERTS_KEPT):
            left_out += 1
            continue
        if known is None:
            places.add(trigger := to_alert_ref(case, linked=len(triggers) < LINKED_TRIGGERS), len(triggers))
            triggers.append(trigger)
        elif triggers[known].resolved_at is not None:
            triggers[known] = replace(triggers[known], resolved_at=None)
        if new_queue is not None and case.runbook is not None:
            queues[new_queue.key] = QueueState(new_queue, case.runbook.name, context.at)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values())), left_out


def _join_incident(
    document: Document, incident: Incident, event: AlertsReceived, cases: tuple[MatchedAlert, ...], context: StepContext
) -> Step:
    document = replace(document, incident=incident)
    if incident.phase is Phase.OBSERVING:
        return observe_alerts(document, incident, context)
    if incident.phase is Phase.ASKED and incident.reason is not Reason.AWAITING_APPROVAL and not has_unseen(context):
        return _recheck_guard(document, incident, event, context)
    action = Action.DEFERRED if incident.phase is Phase.DEFERRED else Action.HELD
    reply = reply_for_alerts(document, event, cases[0], action, Reason.DUPLICATE)
    if context.at >= incident.due and not has_unseen(context):
        result = run_phase(document, incident, context)
        return result if result.reply else replace(result, reply=reply)
    return Step(document, reply=reply)


def _recheck_guard(document: Document, incident: Incident, event: AlertsReceived, context: StepContext) -> Step:
    """Evaluate the guard again that held the incident for a person: its objection may have passed by itself."""
    if incident.runbook not in context.rules.runbooks:
        return run_phase(document, incident, context)
    if guard_still_blocks(document, incident, context):
        reason = incident.reason or Reason.DUPLICATE
        return Step(document, reply=reply_for_alerts(document, event, event.cases[0], Action.HELD, reason))
    waiting = replace(incident, phase=Phase.WAITING, nonce="", expires_at=None, waits_from=context.at)
    return evaluate_guards(document, waiting, context)


T = TypeVar("T")


class _Firings(Generic[T]):
    """A value for each firing period of an alert, found by any report of the same period in constant time."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, int], tuple[float, T]] = {}

    def add(self, trigger: AlertRef, value: T) -> None:
        """Add a value; the first of a period stays. Two starts in the same minute are one period."""
        place = (trigger.fingerprint, trigger.source, int(trigger.starts_at // SAME_START_S))
        self._kept.setdefault(place, (trigger.starts_at, value))

    def find(self, case: MatchedAlert) -> T | None:
        minute = int(case.alert.starts_at // SAME_START_S)
        source = short_source(case.alert.source)
        for near in (minute, minute - 1, minute + 1):
            kept = self._kept.get((case.alert.fingerprint, source, near))
            if kept is not None and abs(kept[0] - case.alert.starts_at) <= SAME_START_S:
                return kept[1]
        return None


C = TypeVar("C", Incident, Outcome)


def _by_alert(carriers: Iterable[C]) -> _Firings[C]:
    """The first of these for each alert that one of them carries."""
    firings = _Firings[C]()
    for carrier in carriers:
        for trigger in carrier.triggers:
            firings.add(trigger, carrier)
    return firings


def _alerts_of_outcomes(document: Document) -> _Firings[Outcome]:
    """The alerts that are settled, each with its newest outcome."""
    return _by_alert(outcome for outcome in reversed(document.outcomes) if outcome.settles)


def new_alerts(document: Document, cases: tuple[MatchedAlert, ...]) -> tuple[MatchedAlert, ...]:
    """The firing alerts that no outcome of the document carries."""
    carried = _alerts_of_outcomes(document)
    return tuple(case for case in cases if case.alert.firing and carried.find(case) is None)


def _note_resolved(document: Document, cases: tuple[MatchedAlert, ...], context: StepContext) -> Document:
    """Note the alerts that Grafana resolved, and post it once to the incident's channels."""
    resolved = {alert_key(case.alert.source, case.alert.fingerprint): case.alert for case in cases}

    def marked(trigger: AlertRef) -> AlertRef:
        alert = resolved.get(alert_key(trigger.source, trigger.fingerprint))
        ends_here = alert is not None and trigger.resolved_at is None and alert.starts_at >= trigger.starts_at - SAME_START_S
        return replace(trigger, resolved_at=(alert.ends_at if alert else None) or context.at) if ends_here else trigger

    if document.incident is not None:
        triggers = tuple(marked(trigger) for trigger in document.incident.triggers)
        return replace(document, incident=replace(document.incident, triggers=triggers))
    if not document.outcomes:
        return document
    last = document.outcomes[-1]
    triggers = tuple(marked(trigger) for trigger in last.triggers)
    if triggers == last.triggers:
        return document
    document = replace(document, outcomes=(*document.outcomes[:-1], replace(last, triggers=triggers)))
    if not all(trigger.resolved_at for trigger in triggers):
        return document
    if document.escalation is not None and document.escalation.incident == last.incident:
        document = replace(document, escalation=replace(document.escalation, due=None))
    card_input = CardInput("resolved", context.at, target=document.target, trigger=triggers[0], detail=last.incident)
    return enqueue_message(document, context.rules, card_input, last.channels, f"{last.incident}-resolved")


def _on_person(
    document: Document, event: Approved | Declined | Acknowledged | RestartWanted | Resumed, context: StepContext
) -> Step:
    match event:
        case Approved():
            return _on_approval(document, event, context)
        case Declined():
            return _on_decline(document, event, context)
        case Acknowledged():
            return on_acknowledgement(document, event, context)
        case RestartWanted():
            return on_restart_wanted(document, event, context)
        case Resumed():
            return _on_resume(document, event, context)


def _on_approval(document: Document, event: Approved, context: StepContext) -> Step:
    incident = document.incident
    if incident is None or not _asks_with(incident, event.nonce):
        return Step(document)
    if _is_expired(incident, context) or incident.runbook not in context.rules.runbooks:
        return run_phase(document, incident, context)
    approved = replace(
        incident,
        approved_by=event.by,
        approved_why=event.why,
        overruled=True,
        nonce="",
        phase=Phase.WAITING,
        waits_from=context.at,
    )
    return evaluate_guards(document, approved, context)


def _asks_with(incident: Incident, nonce: str) -> bool:
    return incident.phase is Phase.ASKED and bool(incident.nonce) and incident.nonce == nonce


def _is_expired(incident: Incident, context: StepContext) -> bool:
    return incident.expires_at is not None and context.at >= incident.expires_at


def _on_decline(document: Document, event: Declined, context: StepContext) -> Step:
    incident = document.incident
    if incident is None or not _asks_with(incident, event.nonce):
        return Step(document)
    if _is_expired(incident, context):
        return run_phase(document, incident, context)
    runbook = context.rules.runbooks.get(incident.runbook)
    return end_as_declined(document, incident, runbook, context, event)


def _on_resume(document: Document, event: Resumed, context: StepContext) -> Step:
    if document.escalated_at is None:
        return Step(document)
    card_input = CardInput("resumed", context.at, target=document.target, detail=in_brackets(event.reason, event.by))
    channels = document.outcomes[-1].channels if document.outcomes else default_channels(context.rules)
    mark = f"resumed-{context.at:.0f}"
    return Step(enqueue_message(end_escalation(document), context.rules, card_input, channels, mark))


def _on_delivered(document: Document, event: MessagesDelivered) -> Step:
    unposted = tuple(message for message in document.to_tell if message.id not in event.ids)
    unarchived = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    return Step(replace(document, to_tell=unposted, to_archive=unarchived, threads=threads))


def _on_bundle(document: Document, event: Bundled, context: StepContext) -> Step:
    """Take over the messages of many documents about one reason, each message once."""
    new = event.ids - set(document.bundled)
    if not new:
        return Step(document)
    recent = {name: at for name, at in document.bundled.items() if context.at - at < BUNDLES_KEPT_S}
    document = replace(document, bundled={**recent, **dict.fromkeys(sorted(new), context.at)})
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages at the same time
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names = tuple(waiting.name for waiting in together)
        card_input = CardInput("bundle", context.at, reason=event.reason, bundled=names, bundled_links=links)
        document = enqueue_message(document, context.rules, card_input, (channel,), f"{document.key}-{context.at:.3f}")
    return Step(document)


def _on_token_expiring(document: Document, context: StepContext) -> Step:
    """Post twice before the runner's token expires: a week ahead, and a day ahead."""
    expires_at = context.rules.token_expires_at
    if expires_at is None or context.at < expires_at - WEEK_S:
        return Step(document)
    token = f"{document.key}-{expires_at:.0f}"
    mark = f"{token}-{'day' if context.at >= expires_at - DAY_S else 'week'}"
    if mark in document.bundled:
        return Step(document)
    of_this_token = {known: at for known, at in document.bundled.items() if known.startswith(token)}
    document = replace(document, bundled={**of_this_token, mark: context.at})
    card_input = CardInput("expiring", context.at)
    return Step(enqueue_message(document, context.rules, card_input, default_channels(context.rules), mark))


def _on_unsigned(document: Document, context: StepContext) -> Step:
    """Post at most once an hour that alerts wait for a key that is gone."""
    mark = f"{document.key}-{context.at // 3600:.0f}"
    if mark in document.bundled:
        return Step(document)
    document = replace(document, bundled={mark: context.at})
    card_input = CardInput("unsigned", context.at)
    return Step(enqueue_message(document, context.rules, card_input, default_channels(context.rules), mark))
