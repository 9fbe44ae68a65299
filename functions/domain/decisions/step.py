"""The step: (document, event, observation, now) -> (document, acts).
The step is level-triggered: it depends on the current state, not on which call this is. Repeating it changes nothing: before
`due` it only takes in alerts, and the document's phase prevents anything from being ordered twice."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions import phases
from functions.domain.decisions.endings import end_as_declined
from functions.domain.decisions.escalations import on_acknowledgement, on_restart_wanted, remind
from functions.domain.decisions.evidence import on_evidence_started, without_evidence_runs
from functions.domain.decisions.guards import Kind, decide, escalated_queues, hold_escalated, is_about_other_queues
from functions.domain.decisions.matching import explain_mismatch, render_evidence
from functions.domain.decisions.messages import LATE_S, LINKED_TRIGGERS, end_escalation, to_alert_ref
from functions.domain.decisions.observing import is_over, observe_alerts, stop_observing
from functions.domain.decisions.queries import is_decided_at_once, is_replaced
from functions.domain.decisions.turn import Turn, has_unseen, is_all_resolved
from functions.domain.health.looks import remember_history
from functions.domain.model import events, unmatched
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.bounds import ALERTS_KEPT, QUEUES_KEPT, note_history
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.firings import (
    SAME_START_S,
    Firings,
    alert_key,
    alerts_of_outcomes,
    by_alert,
    new_alerts,
    short_source,
)
from functions.domain.model.incidents import AlertRef, Document, Incident, QueueState
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Observation
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Text, in_brackets

WEEK_S, DAY_S = 7 * 86400.0, 86400.0
UNTOLD_S = 60.0  # an unposted message keeps a document due at most this far ahead
BUNDLE_S = 20.0  # how long a message waits for others to be bundled with

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
REQUESTS_KEPT = 100


def step(
    document: Document, event: events.Event, seen: Observation, now: float, rules: Rules, wake_at: float | None = None
) -> events.Step:
    """Take one step. Raises nothing for documents that this or the former release wrote.
    `wake_at`: the time of an already existing wake-up; what is due then needs no other one."""
    expected = event.handed_over_at if isinstance(event, events.AlertsReceived) else document.due
    late_s = now - expected if expected is not None else 0.0
    turn = Turn(document, rules, without_evidence_runs(seen), now)
    turn.wake_at, turn.late_s = wake_at, late_s if late_s > LATE_S else 0.0
    if isinstance(event, events.AlertsReceived):
        turn.crowd, turn.was_saved = event.crowd, document.incident is not None
    HANDLERS[type(event)](turn, event)
    if turn.late_s and document.incident is not None and turn.document.incident is not None and turn.document != document:
        turn.change(late_s=document.incident.late_s + turn.late_s)
    result = events.Step(note_history(document, turn.document, now), tuple(turn.acts), turn.reply)
    return _set_due(document, result, turn)


def _set_due(before: Document, result: events.Step, turn: Turn) -> events.Step:
    after = result.document
    if after == before:
        return result
    dues = [one.due for one in (after.incident, after.escalation, after.unmatched) if one is not None and one.due is not None]
    if after.to_tell or after.to_archive:
        dues.append(post_untold_at(before, after, turn))
    due = min(dues, default=None)
    after = replace(after, due=due)
    if due is None or due in (before.due, turn.wake_at):
        return replace(result, document=after)
    return replace(result, document=after, acts=(events.Wake(due), *result.acts))


def post_untold_at(before: Document, after: Document, turn: Turn) -> float:
    """When to try again to post or archive. New messages don't postpone older ones."""
    bundled = after.to_tell and all(message.bundle for message in after.to_tell)
    post_at = turn.due_within(BUNDLE_S if bundled else UNTOLD_S)
    waited, waits = (
        {message.id for message in one.to_tell} | {record.incident.id for record in one.to_archive} for one in (before, after)
    )
    if not waited or before.due is None or before.due <= turn.at:
        return post_at
    return before.due if waits <= waited else min(before.due, post_at)


def _on_timer(turn: Turn, event: events.TimerFired) -> None:
    document = turn.document
    if is_replaced(document, event, turn.at):
        return
    incident = document.incident
    if incident is not None and is_decided_at_once(incident, event):
        return phases.run_phase(turn)
    if document.due is not None and turn.at < document.due:
        return
    remind(turn)
    _tell_of_unmatched(turn)
    if incident is not None and turn.at >= incident.due:
        phases.run_phase(turn)
    elif turn.document.to_tell or turn.document.to_archive or incident is None:
        # Changing `due` makes one process post: the one whose save succeeds.
        turn.document = replace(turn.document, due=None)


def _on_request(turn: Turn, event: events.AlertsReceived) -> None:
    """Take in the alerts, unless the same signed request was already taken in: a copy decides nothing."""
    document, origin = turn.document, event.origin
    if document.requests.get(origin.id, 0.0) > turn.at:
        return _answer_duplicate(turn, event, event.cases[0])
    _on_alerts(turn, event)
    if origin.id and event.cases[0].reason is not Reason.NO_RUNBOOK and new_alerts(document, event.cases):
        current = {name: until for name, until in document.requests.items() if until > turn.at} | {origin.id: origin.until}
        turn.document = replace(turn.document, requests=dict(list(current.items())[-REQUESTS_KEPT:]))


def _on_alerts(turn: Turn, event: events.AlertsReceived) -> None:
    first = event.cases[0]
    if first.target is None:
        return _turn_away(turn, event, next((case for case in event.cases if case.alert.firing), first))
    turn.document = replace(turn.document, target=first.target)
    _note_matched(turn, event)
    _note_resolved(turn, tuple(case for case in event.cases if not case.alert.firing))
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        return _on_resolved(turn, event)
    new = new_alerts(turn.document, firing)
    if not new:
        return _answer_duplicate(turn, event, firing[0])
    if turn.document.incident is not None and is_over(turn.document.incident, turn.rules):
        stop_observing(turn)
    opened = turn.document.incident is None
    incident, left_out = _with_alerts(turn.document.incident or _new_incident(event, new[0], turn.at), new, turn.at)
    turn.open(_leave_out_escalated(turn, event, incident))
    if opened:
        phases.run_phase(turn)
    else:
        _join_incident(turn, event, new)
    _tell_left_out(turn, event, new[0], event.left_out + left_out)


def _on_resolved(turn: Turn, event: events.AlertsReceived) -> None:
    """All alerts of the request are resolved. If all those of the incident are, it takes its next step if that is due."""
    incident, first = turn.document.incident, event.cases[0]
    due = incident is not None and turn.at >= incident.due and not has_unseen(turn.seen)
    if incident is not None and is_all_resolved(incident) and (due or incident.is_suspicion):
        phases.run_phase(turn)
    else:
        turn.document = phases.clear_escalation_if_healthy(turn, first.runbook)
    if turn.reply is None:
        turn.answer_alerts(event, first, Action.HELD, Reason.NOT_FIRING)


def _answer_duplicate(turn: Turn, event: events.AlertsReceived, case: MatchedAlert) -> None:
    """Answer with the incident of the alert: the one that settled it, otherwise the open one or the last that held it."""
    document = turn.document
    turn.answer_alerts(event, case, Action.HELD, Reason.DUPLICATE)
    outcome = alerts_of_outcomes(document).find(case)
    if outcome is None and not (document.incident and by_alert([document.incident]).find(case)):
        outcome = by_alert(reversed(document.outcomes)).find(case)
    if outcome and turn.reply:
        turn.reply = replace(turn.reply, incident=outcome.incident, execution=None)


def _tell_left_out(turn: Turn, event: events.AlertsReceived, case: MatchedAlert, count: int) -> None:
    """Report, once an hour for each source, that alerts were held because their incident is full."""
    if not count:
        return
    trigger = replace(to_alert_ref(case), fingerprint=Reason.INCIDENT_FULL.value)
    detail = Text(
        "{count} alert was left out; an incident takes {alerts} alerts and {queues} queues",
        "{count} alerts were left out; an incident takes {alerts} alerts and {queues} queues",
    ).fill(count=count, alerts=ALERTS_KEPT, queues=QUEUES_KEPT)
    _post_held(
        turn, event, trigger, runbook=case.runbook, target=turn.document.target, reason=Reason.INCIDENT_FULL, detail=detail
    )


def _post_held(turn: Turn, event: events.AlertsReceived, trigger: AlertRef, kind: CardKind = CardKind.HELD, **about: Any) -> None:
    card_input = CardInput(kind, turn.at, trigger=trigger, **about)
    turn.post_hold(card_input, event.incident, bundled=turn.crowd, always=kind == CardKind.TEST)


def _turn_away(turn: Turn, event: events.AlertsReceived, case: MatchedAlert) -> None:
    """Report an alert without a target, and do nothing else."""
    _note_matched(turn, event)
    reason = case.reason or Reason.NO_RUNBOOK
    if not case.alert.firing:
        reason = Reason.NOT_FIRING
    elif reason is Reason.NO_RUNBOOK:
        _note_unmatched(turn, event)
        _tell_unmatched(turn, event)
    elif turn.document.incident is None:
        kind = CardKind.TEST if reason is Reason.TEST_ALERT else CardKind.HELD
        _post_held(turn, event, to_alert_ref(case), kind, runbook=case.runbook, reason=reason, detail=case.detail)
    turn.answer_alerts(event, case, Action.HELD, reason)


def _tell_unmatched(turn: Turn, event: events.AlertsReceived) -> None:
    """Report, once an hour for all alerts of a rule, what a runbook would have to match."""
    case = next((case for case in event.cases if case.alert.firing and not case.alert.is_suspicion), None)
    if case is None or turn.document.incident is not None:
        return
    trigger = replace(to_alert_ref(case), fingerprint=Reason.NO_RUNBOOK.value)
    detail = explain_mismatch(turn.rules.runbooks, case.alert.labels)
    _post_held(turn, event, trigger, reason=Reason.NO_RUNBOOK, detail=detail)


def _note_unmatched(turn: Turn, event: events.AlertsReceived) -> None:
    """Note suspicions that match no runbook. They repeat every few seconds, so people are told of all of them once a day."""
    known = turn.document.unmatched
    for alert in (case.alert for case in event.cases if case.alert.firing and case.alert.is_suspicion):
        key = alert_key(short_source(alert.source), alert.fingerprint)
        known = unmatched.note(known, key, alert, partial(explain_mismatch, turn.rules.runbooks, alert.labels), turn.at)
    turn.document = replace(turn.document, unmatched=known)


def _tell_of_unmatched(turn: Turn) -> None:
    """Report the suspicions that were noted since the last such message."""
    known = turn.document.unmatched
    if known.due is None or turn.at < known.due:
        return
    since = known.told_at if known.told_at < turn.at else 0.0  # later than now: our clock was set back
    new = tuple(one for one in known.recent(turn.at, unmatched.KEPT_S) if one.at > since)
    turn.document = replace(turn.document, unmatched=replace(known, told_at=turn.at, due=None))
    if new:
        turn.post(CardInput(CardKind.UNMATCHED, turn.at, unmatched=new), f"unmatched-{turn.at:.0f}")


def _note_matched(turn: Turn, event: events.AlertsReceived) -> None:
    """Note, to the hour, when a runbook last matched a firing alert."""
    names = {case.runbook.name for case in event.cases if case.runbook and case.alert.firing}
    old = [name for name in names if not 0 <= turn.at - turn.document.matched.get(name, 0.0) < unmatched.NOTED_S]
    if old:
        turn.document = replace(turn.document, matched={**turn.document.matched, **dict.fromkeys(sorted(old), turn.at)})


def _new_incident(event: events.AlertsReceived, case: MatchedAlert, now: float) -> Incident:
    name, job = (case.runbook.name, case.runbook.evidence) if case.runbook else ("", None)
    evidence = render_evidence(job, case.alert.labels) if job else None
    return Incident(event.incident, Phase.DEFERRED, now, name, (), (), due=now, evidence=evidence)


def _with_alerts(incident: Incident, cases: tuple[MatchedAlert, ...], now: float) -> tuple[Incident, int]:
    """Add these alerts and their queues to the incident, and count those that don't fit.
    Existing alerts stay unchanged, including earlier firings."""
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
        if case.queue is not None and case.queue.key in queues:
            queues[case.queue.key] = remember_history(queues[case.queue.key], case.alert)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values())), left_out


def _leave_out_escalated(turn: Turn, event: events.AlertsReceived, incident: Incident) -> Incident:
    """The incident without the queues that people were called for, if it is about others too: those must not wait for people.
    What is left out is held, as it would be alone. A restart that people approved for such a queue keeps it."""
    escalated, held, before = escalated_queues(turn.document), hold_escalated(turn.document, turn.at), turn.document.incident
    queues = tuple(watched for watched in incident.queues if watched.queue.key not in escalated)
    is_asked = before is not None and before.phase is Phase.ASKED and before.reason is Reason.ESCALATED
    is_approved = before is not None and not is_asked and not is_about_other_queues(turn.document, before)
    if held is None or not queues or queues == incident.queues or is_approved:
        return incident
    out = replace(
        incident,
        id=event.incident,
        queues=tuple(watched for watched in incident.queues if watched.queue.key in escalated),
        triggers=tuple(trigger for trigger in incident.triggers if trigger.queue in escalated),
    )
    card_input = turn.card(CardKind.HELD, held.reason, held.detail, incident=out)
    turn.post_and_record_hold(card_input, out, f"{event.incident}-out", bundled=turn.crowd)
    triggers = tuple(trigger for trigger in incident.triggers if trigger.queue not in escalated)
    return replace(incident, queues=queues, triggers=triggers, runbook=queues[0].runbook)


def _join_incident(turn: Turn, event: events.AlertsReceived, cases: tuple[MatchedAlert, ...]) -> None:
    incident = turn.incident
    if incident.phase is Phase.OBSERVING:
        return observe_alerts(turn)
    if incident.phase is Phase.ASKED and incident.reason is not Reason.AWAITING_APPROVAL and not has_unseen(turn.seen):
        return _recheck_guard(turn, event)
    turn.answer_alerts(event, cases[0], Action.DEFERRED if incident.phase is Phase.DEFERRED else Action.HELD, Reason.DUPLICATE)
    if turn.at >= incident.due and not has_unseen(turn.seen):
        phases.run_phase(turn)


def _recheck_guard(turn: Turn, event: events.AlertsReceived) -> None:
    """Evaluate again the guard that held the incident for a person: it may no longer object."""
    if turn.incident.runbook not in turn.rules.runbooks:
        return phases.run_phase(turn)
    document = phases.clear_escalation_if_healthy(turn, turn.runbook)
    decision = decide(replace(turn.guard_context(), document=document))
    if decision.kind is Kind.HOLD and decision.reason is turn.incident.reason:
        return turn.answer_alerts(event, event.cases[0], Action.HELD, decision.reason or Reason.DUPLICATE)
    turn.change(phase=Phase.WAITING, nonce="", expires_at=None, waits_from=turn.at)
    phases.evaluate_guards(turn)


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
    card_input = CardInput(
        CardKind.RESOLVED,
        turn.at,
        target=document.target,
        trigger=triggers[0],
        detail=last.incident,
        risked=last.risked,
        restarts=last.restarts,
    )
    turn.post(card_input, f"{last.incident}-resolved", last.channels)


def _mark_resolved(triggers: tuple[AlertRef, ...], cases: tuple[MatchedAlert, ...], now: float) -> tuple[AlertRef, ...]:
    resolved = {alert_key(case.alert.source, case.alert.fingerprint): case.alert for case in cases}

    def marked(trigger: AlertRef) -> AlertRef:
        alert = resolved.get(alert_key(trigger.source, trigger.fingerprint))
        ends_here = alert is not None and trigger.resolved_at is None and alert.starts_at >= trigger.starts_at - SAME_START_S
        return replace(trigger, resolved_at=(alert.ends_at if alert else None) or now) if ends_here else trigger

    return tuple(marked(trigger) for trigger in triggers)


def _on_answer(turn: Turn, event: events.Approved | events.Declined) -> None:
    incident = turn.document.incident
    if incident is None or incident.phase is not Phase.ASKED or not event.nonce or incident.approval.nonce != event.nonce:
        return
    expired = incident.approval.expires_at is not None and turn.at >= incident.approval.expires_at
    if expired or (isinstance(event, events.Approved) and incident.runbook not in turn.rules.runbooks):
        return phases.run_phase(turn)
    if isinstance(event, events.Declined):
        return end_as_declined(turn, event)
    turn.change(approved_by=event.by, approved_why=event.why, overruled=True, nonce="", phase=Phase.WAITING, waits_from=turn.at)
    phases.evaluate_guards(turn)


def _on_resume(turn: Turn, event: events.Resumed) -> None:
    document = turn.document
    if document.escalated_at is None:
        return
    card_input = CardInput(CardKind.RESUMED, turn.at, target=document.target, detail=in_brackets(event.reason, event.by))
    channels = document.outcomes[-1].channels if document.outcomes else turn.rules.default_channels
    turn.document = end_escalation(document)
    turn.post(card_input, f"resumed-{turn.at:.0f}", channels)


def _on_delivered(turn: Turn, event: events.MessagesDelivered) -> None:
    document = turn.document
    unposted = tuple(message for message in document.to_tell if message.id not in event.ids)
    unarchived = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    turn.document = replace(document, to_tell=unposted, to_archive=unarchived, threads=threads)


def _on_bundle(turn: Turn, event: events.Bundled) -> None:
    """Take over messages from several documents about one reason, each message once."""
    document = turn.document
    new = event.ids - set(document.bundled)
    if not new:
        return
    recent = {name: at for name, at in document.bundled.items() if turn.at - at < BUNDLES_KEPT_S}
    turn.document = replace(document, bundled={**recent, **dict.fromkeys(sorted(new), turn.at)})
    by_channel: dict[str, list[events.Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput(CardKind.BUNDLE, turn.at, reason=event.reason, bundled=names, bundled_links=links, is_calm=is_calm)
        turn.post(card_input, f"{document.key}-{turn.at:.3f}", (channel,))


def _on_token_expiring(turn: Turn, _: events.TokenExpiring) -> None:
    """Warn twice before the runner's token expires: a week ahead, and a day ahead."""
    document, expires_at = turn.document, turn.rules.token_expires_at
    if expires_at is None or turn.at < expires_at - WEEK_S:
        return
    token = f"{document.key}-{expires_at:.0f}"
    _post_once(turn, CardKind.EXPIRING, f"{token}-{'day' if turn.at >= expires_at - DAY_S else 'week'}", token)


def _on_unsigned(turn: Turn, event: events.Unsigned) -> None:
    """Report, at most once an hour, that alerts wait whose key is gone."""
    mark = f"{turn.document.key}-{turn.at // 3600:.0f}"
    _post_once(turn, CardKind.UNSIGNED, mark, mark, event.names)


def _post_once(turn: Turn, kind: CardKind, mark: str, keep: str, names: tuple[str, ...] = ()) -> None:
    """Post a message unless its mark is noted already. Marks that begin with `keep` stay noted."""
    noted = turn.document.bundled
    if mark not in noted:
        kept = {known: at for known, at in noted.items() if known.startswith(keep)}
        turn.document = replace(turn.document, bundled={**kept, mark: turn.at})
        turn.post(CardInput(kind, turn.at, bundled=names), mark)


HANDLERS: Mapping[type[events.Event], Callable[[Turn, Any], None]] = {
    events.AlertsReceived: _on_request,
    events.TimerFired: _on_timer,
    events.Approved: _on_answer,
    events.Declined: _on_answer,
    events.Acknowledged: on_acknowledgement,
    events.RestartWanted: on_restart_wanted,
    events.Resumed: _on_resume,
    events.StartResult: phases.on_start_result,
    events.EvidenceStarted: on_evidence_started,
    events.MessagesDelivered: _on_delivered,
    events.Bundled: _on_bundle,
    events.Unsigned: _on_unsigned,
    events.TokenExpiring: _on_token_expiring,
}
