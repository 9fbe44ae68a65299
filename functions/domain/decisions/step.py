"""The step: (document, event, observation, now) -> (document, acts).

The step is level-triggered: it depends on the current state, not on which call this is. Repeating it changes nothing: before
`due` it only takes in alerts, and the document's phase prevents anything from being ordered twice."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.endings import end_as_declined
from functions.domain.decisions.escalations import on_acknowledgement, on_restart_wanted, remind
from functions.domain.decisions.evidence import on_evidence_started, without_evidence_runs
from functions.domain.decisions.matching import explain_mismatch, render_evidence
from functions.domain.decisions.messages import LATE_S, LINKED_TRIGGERS, default_channels, end_escalation, to_alert_ref
from functions.domain.decisions.observing import is_over, observe_alerts, stop_observing
from functions.domain.decisions.phases import (
    clear_escalation_if_healthy,
    evaluate_guards,
    guard_still_blocks,
    on_start_result,
    run_phase,
)
from functions.domain.decisions.queries import is_decided_at_once, is_replaced
from functions.domain.decisions.turn import StepContext, Turn, has_unseen, is_all_resolved
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
from functions.domain.model.firings import SAME_START_S, Firings, alert_key, by_alert, new_alerts, settled_by
from functions.domain.model.incidents import AlertRef, Document, Incident, QueueState
from functions.domain.model.observations import Observation
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Text, in_brackets

WEEK_S, DAY_S = 7 * 86400.0, 86400.0
UNTOLD_S = 60.0  # an unposted message keeps a document due at most this far ahead
BUNDLE_S = 20.0  # how long a message waits for others to be bundled with

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
REQUESTS_KEPT = 100


def step(document: Document, event: Event, seen: Observation, now: float, rules: Rules, wake_at: float | None = None) -> Step:
    r"""Take one step. Raises nothing for documents that this or the former release wrote.

    `wake_at`: the time of an already existing wake-up; what is due then needs no other one.
    """
    expected = event.handed_over_at if isinstance(event, AlertsReceived) else document.due
    late_s = now - expected if expected is not None else 0.0
    context = StepContext(rules, without_evidence_runs(seen), now, late_s=late_s if late_s > LATE_S else 0.0, wake_at=wake_at)
    turn = Turn(document, context)
    match event:
        case AlertsReceived():
            turn.context = replace(context, crowd=event.crowd, was_saved=document.incident is not None)
            _on_request(turn, event)
        case TimerFired():
            _on_timer(turn, event)
        case Approved() | Declined() | Acknowledged() | RestartWanted() | Resumed():
            _on_person(turn, event)
        case StartResult():
            on_start_result(turn, event)
        case EvidenceStarted():
            on_evidence_started(turn, event)
        case MessagesDelivered():
            _on_delivered(turn, event)
        case Bundled():
            _on_bundle(turn, event)
        case Unsigned():
            _on_unsigned(turn)
        case TokenExpiring():
            _on_token_expiring(turn)
    result = Step(note_history(document, turn.document, now), tuple(turn.acts), turn.reply)
    return _set_due(document, result, context)


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
    """When to try again to post or archive. New messages don't postpone older ones."""
    bundled = after.to_tell and all(message.bundle for message in after.to_tell)
    post_at = context.due_within(BUNDLE_S if bundled else UNTOLD_S)
    waited, waits = _ids(before), _ids(after)
    if not waited or before.due is None or before.due <= context.at:
        return post_at
    return before.due if waits <= waited else min(before.due, post_at)


def _ids(document: Document) -> set[str]:
    return {message.id for message in document.to_tell} | {record.incident.id for record in document.to_archive}


def _on_timer(turn: Turn, event: TimerFired) -> None:
    document = turn.document
    if is_replaced(document, event, turn.at):
        return
    incident = document.incident
    if incident is not None and is_decided_at_once(incident, event):
        return run_phase(turn)
    if document.due is not None and turn.at < document.due:
        return
    remind(turn)
    if incident is not None and turn.at >= incident.due:
        run_phase(turn)
    elif turn.document.to_tell or turn.document.to_archive or incident is None:
        # Changing `due` makes one process post: the one whose save succeeds.
        turn.document = replace(turn.document, due=None)


def _on_request(turn: Turn, event: AlertsReceived) -> None:
    """Take in the alerts, unless the same signed request was already taken in: a copy decides nothing."""
    document, origin = turn.document, event.origin
    if document.requests.get(origin.id, 0.0) > turn.at:
        return _answer_duplicate(turn, event, event.cases[0])
    _on_alerts(turn, event)
    if origin.id and event.cases[0].reason is not Reason.NO_RUNBOOK and new_alerts(document, event.cases):
        current = {name: until for name, until in document.requests.items() if until > turn.at} | {origin.id: origin.until}
        turn.document = replace(turn.document, requests=dict(list(current.items())[-REQUESTS_KEPT:]))


def _on_alerts(turn: Turn, event: AlertsReceived) -> None:
    first = event.cases[0]
    if first.target is None:
        return _turn_away(turn, event, next((case for case in event.cases if case.alert.firing), first))
    turn.document = replace(turn.document, target=first.target)
    _note_resolved(turn, tuple(case for case in event.cases if not case.alert.firing))
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        return _on_resolved(turn, event)
    new = new_alerts(turn.document, firing)
    if not new:
        return _answer_duplicate(turn, event, firing[0])
    if turn.document.incident is not None and is_over(turn.document.incident, turn.context.rules):
        stop_observing(turn)
    opened = turn.document.incident is None
    incident, left_out = _with_alerts(turn.document.incident or _new_incident(event, new[0], turn.at), new, turn.at)
    turn.open(incident)
    if opened:
        run_phase(turn)
    else:
        _join_incident(turn, event, new)
    _tell_left_out(turn, event, new[0], event.left_out + left_out)


def _on_resolved(turn: Turn, event: AlertsReceived) -> None:
    """All alerts of the request are resolved. If all those of the incident are, it takes its next step if that is due."""
    incident, first = turn.document.incident, event.cases[0]
    due = incident is not None and turn.at >= incident.due and not has_unseen(turn.context)
    if incident is not None and is_all_resolved(incident) and (due or incident.is_suspicion):
        run_phase(turn)
    else:
        turn.document = clear_escalation_if_healthy(turn.document, first.runbook, turn.context)
    if turn.reply is None:
        turn.answer_alerts(event, first, Action.HELD, Reason.NOT_FIRING)


def _answer_duplicate(turn: Turn, event: AlertsReceived, case: MatchedAlert) -> None:
    """Answer with the incident of the alert: the one that settled it, otherwise the open one or the last that held it."""
    document = turn.document
    turn.answer_alerts(event, case, Action.HELD, Reason.DUPLICATE)
    outcome = settled_by(document, case)
    if outcome is None and not (document.incident and by_alert([document.incident]).find(case)):
        outcome = by_alert(reversed(document.outcomes)).find(case)
    if outcome and turn.reply:
        turn.reply = replace(turn.reply, incident=outcome.incident, execution=None)


def _tell_left_out(turn: Turn, event: AlertsReceived, case: MatchedAlert, count: int) -> None:
    """Report, once an hour for each source, that alerts were held because their incident is full."""
    if not count:
        return
    trigger = replace(to_alert_ref(case), fingerprint=Reason.INCIDENT_FULL.value)
    detail = Text(
        "{count} alert was left out; an incident takes {alerts} alerts and {queues} queues",
        "{count} alerts were left out; an incident takes {alerts} alerts and {queues} queues",
        count=count,
        alerts=ALERTS_KEPT,
        queues=QUEUES_KEPT,
    )
    reason, target = Reason.INCIDENT_FULL, turn.document.target
    card_input = CardInput("held", turn.at, case.runbook, target, reason=reason, detail=detail, trigger=trigger)
    turn.post_hold(card_input, event.incident, bundle=reason.value if turn.context.crowd else "")


def _turn_away(turn: Turn, event: AlertsReceived, case: MatchedAlert) -> None:
    """Report an alert without a target, and do nothing else. A suspicion that matches no runbook is another team's."""
    reason = case.reason or Reason.NO_RUNBOOK
    if not case.alert.firing:
        reason = Reason.NOT_FIRING
    elif reason is Reason.NO_RUNBOOK:
        _tell_unmatched(turn, event)
    elif turn.document.incident is None:
        is_test = reason is Reason.TEST_ALERT
        trigger = to_alert_ref(case)
        kind = "test" if is_test else "held"
        card_input = CardInput(kind, turn.at, case.runbook, reason=reason, detail=case.detail, trigger=trigger)
        turn.post_hold(card_input, event.incident, bundle=reason.value if turn.context.crowd else "", always=is_test)
    turn.answer_alerts(event, case, Action.HELD, reason)


def _tell_unmatched(turn: Turn, event: AlertsReceived) -> None:
    """Report, once an hour for all alerts of a rule, what a runbook would have to match."""
    case = next((case for case in event.cases if case.alert.firing and not case.alert.is_suspicion), None)
    if case is None or turn.document.incident is not None:
        return
    reason = Reason.NO_RUNBOOK
    trigger = replace(to_alert_ref(case), fingerprint=reason.value)
    detail = explain_mismatch(turn.context.rules.runbooks, case.alert.labels)
    card_input = CardInput("held", turn.at, reason=reason, detail=detail, trigger=trigger)
    turn.post_hold(card_input, event.incident, bundle=reason.value if turn.context.crowd else "")


def _new_incident(event: AlertsReceived, case: MatchedAlert, now: float) -> Incident:
    runbook = case.runbook
    job = runbook.evidence if runbook else None
    return Incident(
        event.incident,
        Phase.DEFERRED,
        now,
        runbook.name if runbook else "",
        (),
        (),
        due=now,
        evidence=render_evidence(job, case.alert.labels) if job else None,
    )


def _with_alerts(incident: Incident, cases: tuple[MatchedAlert, ...], now: float) -> tuple[Incident, int]:
    r"""Add these alerts and their queues to the incident, and count those that don't fit.

    Existing alerts stay unchanged, including earlier firings.
    """
    triggers, queues = list(incident.triggers), {watched.queue.key: watched for watched in incident.queues}
    places = Firings[int]()
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
            queues[new_queue.key] = QueueState(new_queue, case.runbook.name, now)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values())), left_out


def _join_incident(turn: Turn, event: AlertsReceived, cases: tuple[MatchedAlert, ...]) -> None:
    incident = turn.incident
    if incident.phase is Phase.OBSERVING:
        return observe_alerts(turn)
    if incident.phase is Phase.ASKED and incident.reason is not Reason.AWAITING_APPROVAL and not has_unseen(turn.context):
        return _recheck_guard(turn, event)
    turn.answer_alerts(event, cases[0], Action.DEFERRED if incident.phase is Phase.DEFERRED else Action.HELD, Reason.DUPLICATE)
    if turn.at >= incident.due and not has_unseen(turn.context):
        run_phase(turn)


def _recheck_guard(turn: Turn, event: AlertsReceived) -> None:
    """Evaluate again the guard that held the incident for a person: it may no longer object."""
    if turn.incident.runbook not in turn.context.rules.runbooks:
        return run_phase(turn)
    if guard_still_blocks(turn):
        reason = turn.incident.reason or Reason.DUPLICATE
        return turn.answer_alerts(event, event.cases[0], Action.HELD, reason)
    turn.change(phase=Phase.WAITING, nonce="", expires_at=None, waits_from=turn.at)
    evaluate_guards(turn)


def _note_resolved(turn: Turn, cases: tuple[MatchedAlert, ...]) -> None:
    """Note the alerts that Grafana resolved, and report it once in the incident's channels."""
    document = turn.document
    if document.incident is not None:
        return turn.change(triggers=_mark_resolved(document.incident.triggers, cases, turn.at))
    if not document.outcomes:
        return
    last = document.outcomes[-1]
    triggers = _mark_resolved(last.triggers, cases, turn.at)
    if triggers == last.triggers:
        return
    turn.document = replace(document, outcomes=(*document.outcomes[:-1], replace(last, triggers=triggers)))
    if not all(trigger.resolved_at for trigger in triggers):
        return
    if document.escalation is not None and document.escalation.incident == last.incident:
        turn.document = replace(turn.document, escalation=replace(document.escalation, due=None))
    card_input = CardInput("resolved", turn.at, target=document.target, trigger=triggers[0], detail=last.incident)
    turn.post(card_input, f"{last.incident}-resolved", last.channels)


def _mark_resolved(triggers: tuple[AlertRef, ...], cases: tuple[MatchedAlert, ...], now: float) -> tuple[AlertRef, ...]:
    """The alerts, with the end times of those that these resolve."""
    resolved = {alert_key(case.alert.source, case.alert.fingerprint): case.alert for case in cases}

    def marked(trigger: AlertRef) -> AlertRef:
        alert = resolved.get(alert_key(trigger.source, trigger.fingerprint))
        ends_here = alert is not None and trigger.resolved_at is None and alert.starts_at >= trigger.starts_at - SAME_START_S
        return replace(trigger, resolved_at=(alert.ends_at if alert else None) or now) if ends_here else trigger

    return tuple(marked(trigger) for trigger in triggers)


def _on_person(turn: Turn, event: Approved | Declined | Acknowledged | RestartWanted | Resumed) -> None:
    match event:
        case Approved():
            _on_approval(turn, event)
        case Declined():
            _on_decline(turn, event)
        case Acknowledged():
            on_acknowledgement(turn, event)
        case RestartWanted():
            on_restart_wanted(turn, event)
        case Resumed():
            _on_resume(turn, event)


def _on_approval(turn: Turn, event: Approved) -> None:
    incident = turn.document.incident
    if incident is None or not _asks_with(incident, event.nonce):
        return
    if _is_expired(incident, turn.at) or incident.runbook not in turn.context.rules.runbooks:
        return run_phase(turn)
    turn.change(approved_by=event.by, approved_why=event.why, overruled=True, nonce="", phase=Phase.WAITING, waits_from=turn.at)
    evaluate_guards(turn)


def _asks_with(incident: Incident, nonce: str) -> bool:
    return incident.phase is Phase.ASKED and bool(incident.approval.nonce) and incident.approval.nonce == nonce


def _is_expired(incident: Incident, now: float) -> bool:
    return incident.approval.expires_at is not None and now >= incident.approval.expires_at


def _on_decline(turn: Turn, event: Declined) -> None:
    incident = turn.document.incident
    if incident is None or not _asks_with(incident, event.nonce):
        return
    if _is_expired(incident, turn.at):
        return run_phase(turn)
    end_as_declined(turn, event)


def _on_resume(turn: Turn, event: Resumed) -> None:
    document = turn.document
    if document.escalated_at is None:
        return
    card_input = CardInput("resumed", turn.at, target=document.target, detail=in_brackets(event.reason, event.by))
    channels = document.outcomes[-1].channels if document.outcomes else default_channels(turn.context.rules)
    turn.document = end_escalation(document)
    turn.post(card_input, f"resumed-{turn.at:.0f}", channels)


def _on_delivered(turn: Turn, event: MessagesDelivered) -> None:
    document = turn.document
    unposted = tuple(message for message in document.to_tell if message.id not in event.ids)
    unarchived = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    turn.document = replace(document, to_tell=unposted, to_archive=unarchived, threads=threads)


def _on_bundle(turn: Turn, event: Bundled) -> None:
    """Take over messages from several documents about one reason, each message once."""
    document = turn.document
    new = event.ids - set(document.bundled)
    if not new:
        return
    recent = {name: at for name, at in document.bundled.items() if turn.at - at < BUNDLES_KEPT_S}
    turn.document = replace(document, bundled={**recent, **dict.fromkeys(sorted(new), turn.at)})
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput("bundle", turn.at, reason=event.reason, bundled=names, bundled_links=links, is_calm=is_calm)
        turn.post(card_input, f"{document.key}-{turn.at:.3f}", (channel,))


def _on_token_expiring(turn: Turn) -> None:
    """Warn twice before the runner's token expires: a week ahead, and a day ahead."""
    document, expires_at = turn.document, turn.context.rules.token_expires_at
    if expires_at is None or turn.at < expires_at - WEEK_S:
        return
    token = f"{document.key}-{expires_at:.0f}"
    mark = f"{token}-{'day' if turn.at >= expires_at - DAY_S else 'week'}"
    if mark in document.bundled:
        return
    of_this_token = {known: at for known, at in document.bundled.items() if known.startswith(token)}
    turn.document = replace(document, bundled={**of_this_token, mark: turn.at})
    turn.post(CardInput("expiring", turn.at), mark)


def _on_unsigned(turn: Turn) -> None:
    """Report, at most once an hour, that alerts wait whose key is gone."""
    document = turn.document
    mark = f"{document.key}-{turn.at // 3600:.0f}"
    if mark in document.bundled:
        return
    turn.document = replace(document, bundled={mark: turn.at})
    turn.post(CardInput("unsigned", turn.at), mark)
