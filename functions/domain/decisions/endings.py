"""The end of an incident. Whoever was told of it is told its end, on the same channels: by `close`."""

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.learning import confirm
from functions.domain.decisions.messages import channels_for, note_told, post, post_hold
from functions.domain.decisions.turn import Turn
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import Decision, Declined
from functions.domain.model.incidents import AlertRef, Approval, Archive, Asked, Escalation, Incident, Outcome, QueueState
from functions.domain.model.observations import Execution

REMINDED_EVERY_S = 900.0
OUTCOMES_KEPT = 20
RECORDS_KEPT = 20  # to archive
LOOK_AT_MOST_S = 60.0  # between two looks at what waits, in the first half hour
ACKNOWLEDGED, HEALTHY = "ack", "healthy"
"""In a nonce, instead of an approval's number of the attempt."""
PASSED = frozenset({Reason.SYMPTOM_GONE, Reason.NOT_FIRING})  # the reasons with which a suspicion clears: the queue moves again


def end_as_well(turn: Turn) -> None:
    """End what people were told of: it is well again, and nothing was restarted for it, or whatever was helped."""
    turn.change(reason=Reason.SYMPTOM_GONE, detail="")
    if turn.incident.restarts:
        return close(turn, Ending.RECOVERED, turn.card(CardKind.RECOVERED))
    turn.answer(Action.HELD, Reason.SYMPTOM_GONE)
    close(turn, Ending.HELD, turn.card(CardKind.RESOLVED, Reason.SYMPTOM_GONE))


def end_as_not_approved(turn: Turn) -> None:
    """End the incident because nobody answered within a day."""
    card_input = turn.card(CardKind.NOT_APPROVED, turn.incident.reason, turn.incident.detail)
    escalates = turn.incident.restarts > 0 and turn.incident.reason is not Reason.LIKELY_STUCK
    if escalates:
        card_input = replace(card_input, acknowledge_url=_answer_url(turn, ACKNOWLEDGED))
    close(turn, Ending.ESCALATED if escalates else Ending.HELD, card_input)


def end_as_declined(turn: Turn, declined: Declined) -> None:
    """End what a person declined to restart: what their card named, and nothing else. That it works on purpose can be said of
    what is only likely: what stands still is then followed to its end, and counts. Otherwise the answer teaches nothing.
    This isn't an escalation, so it blocks no other alert. Its own alerts are settled: see `Outcome.settles`."""
    asked = turn.incident.approval.asked or Asked(turn.at)
    if declined.on_purpose:
        turn.document = confirm(turn.document, asked.subjects)
    turn.change(reason=Reason.DECLINED, detail=declined.why)
    turn.change_approval(declined_by=declined.by, nonce="")
    note_told(turn, Reason.DECLINED)
    turn.answer(Action.HELD, Reason.DECLINED)
    ended = frozenset(subject.queue for subject in asked.subjects) or frozenset(asked.queues)
    close(turn, Ending.HELD, turn.card(CardKind.DECLINED, Reason.DECLINED, declined.why), ended)


def end_as_held(turn: Turn, decision: Decision) -> None:
    """End the incident as held. If it was stored, it leaves an outcome; if people get a card of it, a record."""
    if turn.incident.is_suspicion and (decision.reason in PASSED or not decision.tell):
        return end_as_passed(turn, decision)
    card_input, was_told = hold_card(turn, decision), bool(turn.incident.told)
    turn.answer(Action.HELD, decision.reason, about=card_input.incident)
    repeats = decision.reason is Reason.LIKELY_STUCK and not decision.tell  # people were asked, and that is in the archive
    leaves_outcome = turn.was_saved and not repeats and decision.reason is not Reason.OBSERVE_ONLY  # else the card is all
    if was_told or leaves_outcome:
        return close(turn, Ending.HELD, card_input, tell=decision.tell or was_told)
    bundled = turn.crowd or decision.reason is Reason.TOO_MANY_TARGETS
    if decision.tell and post_hold(turn, card_input, turn.incident.id, bundled=bundled):
        # Only if people get a card of it is it archived: repeats write no records. It settles no alert, so it leaves no outcome.
        incident = replace(turn.incident, reason=card_input.reason, detail=card_input.detail)
        channels = channels_for(turn.rules, card_input.runbook)
        _archive(turn, incident, _to_outcome(incident, Ending.HELD, card_input, channels))
    turn.document = replace(turn.document, incident=None)


def end_as_passed(turn: Turn, decision: Decision) -> None:
    """End a suspicion that cleared, and notify nobody. Records of a queue that is suspected every minute would fill the archive,
    and nobody would read them."""
    turn.answer(Action.HELD, decision.reason)
    turn.document = replace(turn.document, passed_at=turn.at, incident=None)


def hold_card(turn: Turn, decision: Decision) -> CardInput:
    """The card of a hold."""
    incident = _with_execution(turn.incident, decision.execution)
    return replace(turn.card(CardKind.HELD, decision.reason, decision.detail, incident), remedy=decision.remedy)


def _with_execution(incident: Incident, execution: Execution | None) -> Incident:
    """Add the execution that a card is about as a link; the incident itself doesn't follow it."""
    if incident.execution is not None or execution is None:
        return incident
    adopted = not execution.tag.startswith(f"{incident.id}.")
    return replace(incident, execution=execution, run=replace(incident.run, adopted=adopted))


def escalate(turn: Turn, decision: Decision) -> None:
    """Hand the incident to people, with everything that is known; the decision may name an execution that it doesn't follow.
    Without a restart, if the runbook only observes or is gone, there is nothing to hand over: the card is a hold."""
    if turn.incident.restarts == 0 and (turn.is_runbook_gone or turn.runbook.mode is Mode.OBSERVE):
        return end_as_held(turn, replace(decision, tell=True))
    turn.change(reason=decision.reason, detail=decision.detail)
    turn.answer(Action.HELD, decision.reason)
    card_input = replace(hold_card(turn, decision), kind=CardKind.ESCALATED, about=decision.execution)
    close(turn, Ending.ESCALATED, replace(card_input, acknowledge_url=_answer_url(turn, ACKNOWLEDGED)))


def _answer_url(turn: Turn, answer: str) -> str:
    """The link for this answer. Its nonce is random, as an approval's is, so nobody can guess it."""
    return turn.rules.link_to_answer(turn.seen.nonce and f"{turn.incident.id}.{answer}.{turn.seen.nonce}")


def close(turn: Turn, ending: Ending, card_input: CardInput, ended: frozenset[str] = frozenset(), *, tell: bool = True) -> None:
    """End the incident: tell whoever was told of it, keep its outcome, settle its alerts, and archive it. A hold that nobody was
    told of yet begins and ends at once: it may be a repeat, or one of many.
    `ended`: the keys of the queues that it ends for; the others go on as an incident of their own. Empty: all."""
    ended_only, rest = _split(turn.incident, ended, turn.at)
    turn.open(ended_only)
    card_input = replace(card_input, incident=replace(ended_only, execution=card_input.shown.execution, run=card_input.shown.run))
    escalation, also_told = _end_escalation(turn, ending)
    told = (*channels_for(turn.rules, card_input.runbook), *ended_only.told, *also_told)
    channels = tuple(dict.fromkeys(told))
    if tell and ending is Ending.HELD and not ended_only.told:
        post_hold(turn, card_input, ended_only.id, bundled=card_input.reason is Reason.TOO_MANY_TARGETS)
    elif tell:
        if ending is Ending.RECOVERED and ended_only.restarts and not ended_only.run.adopted:
            card_input = replace(card_input, healthy_url=_answer_url(turn, HEALTHY))
        post(turn, card_input, f"{ended_only.id}-{card_input.kind.value}", channels)
    outcome = _to_outcome(ended_only, ending, card_input, tuple(dict.fromkeys((*channels, *turn.incident.told))))
    if ending is Ending.ESCALATED:
        escalation = _to_escalation(turn, ended_only, card_input, outcome.channels)
    outcomes = _drop_oldest((*turn.document.outcomes, outcome))
    turn.document = replace(turn.document, outcomes=outcomes, incident=rest, escalation=escalation)
    _archive(turn, ended_only, outcome)
    if ending is Ending.RECOVERED or card_input.reason in PASSED:
        forget_told(turn, ended_only.queues)


def _split(incident: Incident, ended: frozenset[str], now: float) -> tuple[Incident, Incident | None]:
    """The part of the incident that ends, and what goes on."""
    left = tuple(state for state in incident.queues if ended and state.queue.key not in ended)
    if not left:
        return incident, None
    keys = {state.queue.key for state in left}
    queues = tuple(state for state in incident.queues if state.queue.key not in keys)
    others = tuple(trigger for trigger in incident.triggers if trigger.queue in keys)
    triggers = tuple(trigger for trigger in incident.triggers if trigger.queue not in keys)
    rest = replace(incident, id=f"{incident.id}-{now:.0f}", queues=left, triggers=others, phase=Phase.WAITING, due=now)
    rest = replace(rest, approval=Approval(), reason=None, detail="", history=(), found={}, runbook=left[0].runbook)
    return replace(incident, queues=queues, triggers=triggers), rest


def _end_escalation(turn: Turn, ending: Ending) -> tuple[Escalation | None, tuple[str, ...]]:
    """The escalation after this end, and who has to be told that it is over, too: its queues have recovered."""
    escalation, own = turn.document.escalation, {state.queue.key for state in turn.incident.queues}
    if escalation is None or ending is not Ending.RECOVERED:
        return escalation, ()
    left = tuple(state for state in escalation.queues if state.queue.key not in own)
    return (replace(escalation, queues=left), ()) if left else (None, escalation.channels)


def forget_told(turn: Turn, queues: tuple[QueueState, ...]) -> None:
    """Note that these queues are well: what stands still from now on is another standstill."""
    keys = {state.queue.key for state in queues}
    told = tuple(replace(each, over=True) if each.subject.queue in keys else each for each in turn.document.told)
    turn.document = replace(turn.document, told=told)


def _drop_oldest(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """At most OUTCOMES_KEPT. Holds go first: without its outcome an alert that still fires would open its incident anew."""
    if len(outcomes) <= OUTCOMES_KEPT:
        return outcomes
    dropped = next((place for place, outcome in enumerate(outcomes[:-1]) if not outcome.settles), 0)
    return (*outcomes[:dropped], *outcomes[dropped + 1 :])


def _archive(turn: Turn, incident: Incident, outcome: Outcome) -> None:
    records = (*turn.document.to_archive, Archive(turn.document.target, incident, outcome))
    turn.document = replace(turn.document, to_archive=records[-RECORDS_KEPT:])


def _without_texts(triggers: tuple[AlertRef, ...]) -> tuple[AlertRef, ...]:
    """What identifies the alerts, and what the first is called, which cards name."""
    first = tuple(replace(trigger, links={}, summary="") for trigger in triggers[:1])
    return (*first, *(replace(trigger, links={}, summary="", name="") for trigger in triggers[1:]))


def _to_outcome(incident: Incident, ending: Ending, card_input: CardInput, channels: tuple[str, ...]) -> Outcome:
    execution = incident.execution or next((attempt.execution for attempt in reversed(incident.tries) if attempt.execution), None)
    return Outcome(
        incident=incident.id,
        ending=ending,
        reason=card_input.reason,
        at=card_input.at,
        triggers=_without_texts(incident.triggers),
        runner_ended_at=execution.runner_ended_at if execution else None,
        channels=channels,
        restarts=incident.restarts,
        queues=tuple(state.queue for state in incident.queues),
        by=incident.approval.declined_by,
        runbook=incident.runbook,
        nonce=card_input.healthy_url.rpartition("#")[2],
        subjects=tuple(state.subject for state in incident.queues if state.subject),
        places=incident.places,
    )


def _to_escalation(turn: Turn, incident: Incident, card_input: CardInput, told: tuple[str, ...]) -> Escalation:
    """Queues that were escalated before stay so: the state of one queue says nothing about the target's others."""
    at, own = turn.at, {state.queue.key for state in incident.queues}
    queues = (QueueState(q.queue, q.runbook, q.joined_at, subject=q.subject, may_be_gone=q.may_be_gone) for q in incident.queues)
    before, book = turn.document.escalation, card_input.runbook
    earlier = tuple(state for state in before.queues if state.queue.key not in own) if before else ()
    subjects = tuple(state.subject for state in incident.queues if state.subject)
    return Escalation(
        incident=incident.id,
        runbook=incident.runbook,
        at=at,
        due=at + (book.verify.every_s if book else LOOK_AT_MOST_S),
        nonce=card_input.acknowledge_url.rpartition("#")[2],
        asked=Asked(at, at + turn.ahead_s, subjects, remind_at=at + REMINDED_EVERY_S),
        queues=(*queues, *earlier),
        start_page=incident.start_page,
        channels=tuple(dict.fromkeys((*told, *(before.channels if before and earlier else ())))),
    )
