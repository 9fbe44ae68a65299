"""The step: (document, event, observation, now) -> (document, acts).
The step is level-triggered: it depends on the current state, not on which call this is. Repeating it changes nothing: before
`due` it only takes in alerts, and the document's phase prevents anything from being ordered twice."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions import learning, messages, waiting
from functions.domain.decisions.endings import end_as_declined
from functions.domain.decisions.evidence import on_evidence_started, without_evidence_runs
from functions.domain.decisions.guards import escalated_queues, hold_escalated, is_about_other_queues
from functions.domain.decisions.matching import render_evidence
from functions.domain.decisions.phases import on_start_result, run_entered, run_phase
from functions.domain.decisions.turn import Turn, has_unseen, is_all_resolved, with_terms
from functions.domain.health.looks import remember_history
from functions.domain.model import events
from functions.domain.model.alerts import MatchedAlert, QueueRef, Target
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import Action, Phase, Reason
from functions.domain.model.events import AlertsReceived, Approved, Event, TimerFired
from functions.domain.model.incidents import (
    ALERTS_KEPT,
    QUEUES_KEPT,
    Document,
    HistoryEntry,
    Incident,
    QueueState,
    find_settled,
    new_alerts,
)
from functions.domain.model.observations import Observation
from functions.domain.model.runbooks import Rules, Runbook

SOON_S = 15.0  # a standstill that is due while something else is read waits for so long
SAVED_S = 1.0  # a wake-up that comes before the save finds nothing to do, and is gone
UNTOLD_S = 60.0  # an unposted message keeps a document due at most this far ahead
BUNDLE_S = 20.0  # how long a message waits for others to be bundled with
HISTORY_KEPT = 40
REPLACED_S = 10.0  # seconds after `due` from which any wake-up is accepted: its own may be lost or failing
Queues = dict[str, tuple[QueueRef, Runbook | None]]  # queue key -> the queue, and the runbook that judges it


class Wanted(Struct, frozen=True):
    """The observation that one step needs, besides the kill switch and the storm."""

    target: Target | None
    queues: Queues
    follow: str | None = None  # the execution to follow, by id
    tail: bool = False  # whether to read its last log lines
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the queue's key: the channels that were proved to hold messages, to be read before others."""


def has_firing_target(event: AlertsReceived) -> bool:
    """Whether these alerts may lead to a restart."""
    return event.cases[0].target is not None and any(case.alert.firing for case in event.cases)


def needs_observation(document: Document, event: Event, now: float) -> bool:
    """Whether the step on this event depends on more than the document."""
    incident = document.incident
    match event:
        case AlertsReceived():
            if event.cases[0].target is None:
                return False
            if incident is None:
                # An escalation ends only when its queues are healthy again.
                return has_firing_target(event) or document.escalation is not None
            return now >= incident.due
        case TimerFired():
            due = incident is not None and now >= incident.due
            due = due or any(now >= standstill.due for standstill in document.standstills)
            return not is_replaced(document, event, now) and (due or document.is_escalation_due(now))
        case Approved():
            return incident is not None
    return False


def is_replaced(document: Document, event: TimerFired, now: float) -> bool:
    """Whether another wake-up exists for what is due now.
    Processes that step a document at the same moment each create the next wake-up, and one of them saves: from then on the
    others' would come at the same time, each with an observation of its own."""
    is_due_late = document.due is not None and now >= document.due + REPLACED_S
    return event.due not in (None, document.due) and not is_due_late


def of_alerts(cases: tuple[MatchedAlert, ...]) -> Wanted:
    """The observation for the alerts of one target, whatever its document says: as many queues as fit into an incident."""
    queues: Queues = {}
    for case in cases:
        if case.queue is not None and len(queues) < QUEUES_KEPT:
            queues.setdefault(case.queue.key, (case.queue, case.runbook))
    return Wanted(cases[0].target, queues)


def is_enough(wanted: Wanted, document: Document) -> bool:
    """Whether the observation for the alerts alone is all that the step needs."""
    if document.incident is not None or document.escalation is not None or document.standstills:
        return False
    # If there are many queues, the ones that were read may all belong to an outcome.
    return len(wanted.queues) < QUEUES_KEPT or not document.outcomes


def what_to_observe(document: Document, event: Event, rules: Rules) -> Wanted:
    """Everything that the step on this event may need."""
    wanted, rules = Wanted(document.target, {}), with_terms(rules, document)
    if isinstance(event, AlertsReceived):
        wanted = of_alerts(new_alerts(document, event.cases) or event.cases)
    queues = dict(wanted.queues)
    incident, channels = document.incident, {}
    for part in (document.escalation, incident):
        for state in part.queues if part is not None else ():
            queues.setdefault(state.queue.key, (state.queue, rules.runbooks.get(state.runbook)))
            channels[state.queue.key] = tuple(held.id for held in state.held_by)
    for standstill in document.standstills:
        key = standstill.queue.key
        queues.setdefault(key, (standstill.queue, rules.runbooks.get(standstill.runbook)))
        channels[key] = (*channels.get(key, ()), *([standstill.channel] if standstill.channel else []))
    channels = {key: first for key, first in channels.items() if first}
    if incident is None:
        return Wanted(wanted.target, queues, channels=channels)
    follow = incident.execution.id if incident.execution else None
    return Wanted(wanted.target, queues, follow, tail=follow is not None and incident.run.tail is None, channels=channels)


def step(
    document: Document, event: events.Event, seen: Observation, now: float, rules: Rules, wake_at: float | None = None
) -> events.Step:
    """Take one step. Raises nothing for a stored document.
    `wake_at`: the time of an already existing wake-up; what is due then needs no other one."""
    turn = Turn(document, rules, without_evidence_runs(seen), now)
    turn.wake_at = wake_at
    if isinstance(event, events.AlertsReceived):
        turn.crowd, turn.was_saved = event.crowd, document.incident is not None
    learns = not isinstance(event, Approved) and needs_observation(document, event, now)
    if learns:
        learning.learn(turn)  # first, so that what has ended counts for what is decided now
    HANDLERS[type(event)](turn, event)
    run_entered(turn)
    if learns:
        learning.begin(turn, learning.queues_of_step(document, turn.document, event, now))
    after = _keep_terms(document, _note_history(document, turn.document, now), turn.rules)
    result = events.Step(after, tuple(turn.acts), turn.reply)
    return _set_due(document, result, turn)


def _note_history(before: Document, after: Document, now: float) -> Document:
    """Add an entry to the incident's history if phase, reason or attempt have changed."""
    incident, former = after.incident, before.incident
    if incident is None:
        return after
    now_is = (incident.id, incident.phase, incident.reason, incident.attempt)
    if former is not None and now_is == (former.id, former.phase, former.reason, former.attempt):
        return after
    history = (*incident.history, HistoryEntry(now, incident.phase, incident.reason, incident.detail, incident.attempt))
    return replace(after, incident=replace(incident, history=history[-HISTORY_KEPT:]))


def _keep_terms(before: Document, after: Document, rules: Rules) -> Document:
    """Keep the runbooks of what is open, as they are now."""
    parts = [part for part in (after.incident, after.escalation) if part is not None]
    names = {part.runbook for part in parts} | {state.runbook for part in parts for state in part.queues}
    books = {name: rules.runbooks[name] for name in sorted(names & rules.runbooks.keys())}
    terms = {name: replace(book, freeze=(), evidence=None) for name, book in books.items()}
    return replace(after, terms=terms) if after != before else after


def _set_due(before: Document, result: events.Step, turn: Turn) -> events.Step:
    after = result.document
    if after == before:
        return result
    parts = (after.incident, after.escalation, after.turned_away)
    dues = [part.due for part in parts if part is not None and part.due is not None]
    dues += [max(standstill.due, turn.at + SOON_S) for standstill in after.standstills]
    if after.to_tell or after.to_archive:
        dues.append(post_at(before, after, turn))
    due = min(dues, default=None)
    if due is None or (due in (before.due, turn.wake_at) and due >= turn.at):  # one that is overdue may have been lost
        return replace(result, document=replace(after, due=due))
    due = max(due, turn.at + SAVED_S)
    return replace(result, document=replace(after, due=due), acts=(events.Wake(due), *result.acts))


def post_at(before: Document, after: Document, turn: Turn) -> float:
    """When to try again to post or archive. New messages don't postpone older ones."""
    bundled = after.to_tell and all(message.bundle for message in after.to_tell)
    at = turn.due_within(BUNDLE_S if bundled else UNTOLD_S)
    is_waiting = bool(before.to_tell or before.to_archive) and before.due is not None and before.due > turn.at
    return min(before.due or at, at) if is_waiting else at


def _on_timer(turn: Turn, event: events.TimerFired) -> None:
    document = turn.document
    if is_replaced(document, event, turn.at):
        return
    incident = document.incident
    if document.due is not None and turn.at < document.due:
        return
    waiting.watch_escalation(turn)
    messages.tell_turned_away(turn)
    if incident is not None and turn.at >= incident.due:
        run_phase(turn)
    elif turn.document.to_tell or turn.document.to_archive or incident is None:
        # Changing `due` makes one process post: the one whose save succeeds.
        turn.document = replace(turn.document, due=None)


def _on_alerts(turn: Turn, event: events.AlertsReceived) -> None:
    first = event.cases[0]
    if first.target is None:
        return messages.turn_away(turn, event)
    turn.document = replace(turn.document, target=first.target)
    messages.note_matched(turn, event)
    over = tuple(case for case in event.cases if not case.alert.firing)
    if turn.document.incident is not None:
        turn.change(triggers=messages.mark_resolved(turn.incident.triggers, over, turn.at))
    if over:
        waiting.watch_escalation(turn, max(case.alert.ends_at or turn.at for case in over))
    firing = tuple(case for case in event.cases if case.alert.firing)
    if not firing:
        return _on_resolved(turn, event)
    new = new_alerts(turn.document, firing)
    if not new:
        return _answer_duplicate(turn, event, firing[0])
    opened = turn.document.incident is None
    incident, left_out = _with_alerts(turn.document.incident or _new_incident(event, new[0], turn.at), new, turn.at)
    turn.open(_leave_out_escalated(turn, event, incident))
    if opened:
        run_phase(turn)
    else:
        _join_incident(turn, event, new)
    messages.tell_left_out(turn, event, new[0], left_out)


def _on_resolved(turn: Turn, event: events.AlertsReceived) -> None:
    """All alerts of the request are resolved. If all those of the incident are, it takes its next step if that is due; what
    people were asked is looked at soon: an alert may be resolved by lost samples, too."""
    incident, first = turn.document.incident, event.cases[0]
    if incident is not None and is_all_resolved(incident):
        due = turn.at >= incident.due and not has_unseen(turn.seen)
        if due or incident.is_suspicion:
            run_phase(turn)
        elif incident.phase in (Phase.ASKED, Phase.WAITING):
            turn.change(due=min(incident.due, turn.at + turn.runbook.verify.every_s))
    if turn.reply is None:
        turn.answer_alerts(event, first, Action.HELD, Reason.NOT_FIRING)


def _answer_duplicate(turn: Turn, event: events.AlertsReceived, case: MatchedAlert) -> None:
    """Answer with the incident that settled the alert."""
    turn.answer_alerts(event, case, Action.HELD, Reason.DUPLICATE)
    outcome = find_settled(turn.document)(case)
    if outcome and turn.reply:
        turn.reply = replace(turn.reply, incident=outcome.incident, execution=None)


def _new_incident(event: events.AlertsReceived, case: MatchedAlert, now: float) -> Incident:
    name, job = (case.runbook.name, case.runbook.evidence) if case.runbook else ("", None)
    evidence = render_evidence(job, case.alert.labels) if job else None
    return Incident(event.incident, Phase.DEFERRED, now, name, (), (), due=now, evidence=evidence)


def _with_alerts(incident: Incident, cases: tuple[MatchedAlert, ...], now: float) -> tuple[Incident, int]:
    """Add these alerts and their queues to the incident, and count those that don't fit.
    Existing alerts stay unchanged, including earlier firings."""
    triggers, queues = list(incident.triggers), {state.queue.key: state for state in incident.queues}
    left_out = 0
    for case in cases:
        place = next((place for place, trigger in enumerate(triggers) if trigger.is_of(case.alert)), None)
        new_queue = case.queue if case.queue is not None and case.queue.key not in queues else None
        if (new_queue is not None and len(queues) == QUEUES_KEPT) or (place is None and len(triggers) == ALERTS_KEPT):
            left_out += 1
            continue
        if place is None:
            triggers.append(messages.to_alert_ref(case, linked=len(triggers) < messages.LINKED_TRIGGERS))
        else:
            triggers[place] = replace(triggers[place], resolved_at=None)
        if new_queue is not None and case.runbook is not None:
            queues[new_queue.key] = QueueState(new_queue, case.runbook.name, now)
        if case.queue is not None and case.queue.key in queues:
            queues[case.queue.key] = remember_history(queues[case.queue.key], case.alert)
    return replace(incident, triggers=tuple(triggers), queues=tuple(queues.values())), left_out


def _leave_out_escalated(turn: Turn, event: events.AlertsReceived, incident: Incident) -> Incident:
    """The incident without the queues that people were called for, if it is about others too: those must not wait for people.
    What is left out is held. A restart that people approved for such a queue keeps it."""
    escalated, held, before = escalated_queues(turn.document), hold_escalated(turn.document, turn.at), turn.document.incident
    queues = tuple(state for state in incident.queues if state.queue.key not in escalated)
    is_asked = before is not None and before.phase is Phase.ASKED and before.reason is Reason.ESCALATED
    is_approved = before is not None and not is_asked and not is_about_other_queues(turn.document, before)
    if held is None or not queues or queues == incident.queues or is_approved:
        return incident
    trigger = next((trigger for trigger in incident.triggers if trigger.queue in escalated), None)
    runbook, target = turn.rules.runbooks.get(incident.runbook), turn.document.target
    card_input = CardInput(CardKind.HELD, turn.at, runbook, target, None, held.reason, held.detail, trigger=trigger)
    left_out = replace(incident, queues=tuple(state for state in incident.queues if state.queue.key in escalated))
    if not messages.is_repeat(turn, (), Reason.ESCALATED, left_out):
        messages.post_hold(turn, card_input, f"{event.incident}-out", bundled=turn.crowd)
    triggers = tuple(trigger for trigger in incident.triggers if trigger.queue not in escalated)
    return replace(incident, queues=queues, triggers=triggers, runbook=queues[0].runbook)


def _join_incident(turn: Turn, event: events.AlertsReceived, cases: tuple[MatchedAlert, ...]) -> None:
    incident, asked = turn.incident, turn.incident.approval.asked
    turn.answer_alerts(event, cases[0], Action.DEFERRED if incident.phase is Phase.DEFERRED else Action.HELD, Reason.DUPLICATE)
    is_due = turn.at >= incident.due and not has_unseen(turn.seen)
    if incident.phase is Phase.ASKED and asked and not {state.queue.key for state in incident.queues}.issubset(asked.queues):
        turn.withdraw_question()  # nobody was asked about that queue
        turn.change(due=turn.at)
    if is_due:
        run_phase(turn)


def _on_answer(turn: Turn, event: events.Approved | events.Declined) -> None:
    incident = turn.document.incident
    if incident is None or incident.phase is not Phase.ASKED or not event.nonce or incident.approval.nonce != event.nonce:
        return
    if isinstance(event, events.Declined):  # whoever checked the link knows that it has not expired
        return end_as_declined(turn, event)
    turn.change(phase=Phase.WAITING, found={})
    turn.change_approval(approved_by=event.by, approved_why=event.why, approved=incident.approval.asked, nonce="")
    run_phase(turn)


HANDLERS: Mapping[type[events.Event], Callable[[Turn, Any], None]] = {
    events.AlertsReceived: _on_alerts,
    events.TimerFired: _on_timer,
    events.Approved: _on_answer,
    events.Declined: _on_answer,
    events.Acknowledged: waiting.on_acknowledgement,
    events.Resumed: waiting.on_resume,
    events.WasHealthy: learning.on_healthy,
    events.StartResult: on_start_result,
    events.EvidenceStarted: on_evidence_started,
    events.MessagesDelivered: messages.on_delivered,
    events.Bundled: messages.on_bundle,
}
