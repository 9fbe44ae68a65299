"""Ends an incident, or lets it wait or ask for approval. An escalation stays until its queues are healthy, and people are
reminded of it until somebody takes it."""

from collections.abc import Iterable

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.learning import confirm
from functions.domain.decisions.messages import channels_for, post, post_hold, was_told_recently
from functions.domain.decisions.turn import QUESTION_S, Turn, question_key
from functions.domain.health.recovery import be_patient, looks_well
from functions.domain.health.rows import GROWS_TIMES
from functions.domain.health.stalls import LOOK_S
from functions.domain.model.codes import ASKED, OVERRULED, Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import Acknowledged, Decision, Declined, Resumed, hold
from functions.domain.model.incidents import AlertRef, Archive, CardKind, Document, Escalation, Incident, Outcome, QueueState
from functions.domain.model.observations import Execution, Unknown
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import in_brackets

REMINDED_EVERY_S = 900.0
OUTCOMES_KEPT = 20
RECORDS_KEPT = 20  # to archive
GRACE_S = 900.0  # without a restart for `within` plus this time, an incident escalates
APPROVAL_S = 1800.0
LOOK_AT_MOST_S, LONG_S = 60.0, 1800.0  # between two looks at what waits; after the second time LOOK_S
SHARE = 0.1  # the next look at what waits comes after this share of the time so far
ACKNOWLEDGED, HEALTHY = "ack", "healthy"
"""In a nonce, instead of an approval's number of the attempt."""
PASSED = frozenset({Reason.SYMPTOM_GONE, Reason.NOT_FIRING})  # the reasons with which a suspicion clears: the queue moves again
TOLD_AGAIN = 3  # maximum number of reminders: a fourth wouldn't help if three didn't


def handle_hold(turn: Turn, decision: Decision) -> None:
    """Wait if the hold ends by itself, ask if a person may overrule it, otherwise end."""
    turn.change(reason=decision.reason, detail=decision.detail)
    if decision.again_in_s is not None:
        _wait(turn, decision)
    elif decision.reason is Reason.LIKELY_STUCK:  # people were asked, or can't be
        _note_question(turn, _list_likely(turn.incident))
        end_as_held(turn, decision)
    elif turn.incident.restarts > 0:
        escalate(turn, decision)
    elif _may_ask(turn, decision):
        request_approval(turn, decision)
    else:
        end_as_held(turn, decision)


def _may_ask(turn: Turn, decision: Decision) -> bool:
    """Whether to ask a person to overrule the hold: not with many targets, not again within the hour, not in mode observe."""
    incident, reason = turn.incident, decision.reason
    if turn.runbook.mode is Mode.OBSERVE or reason is Reason.TOO_MANY_TARGETS or incident.approval.overruled:
        return False
    can_ask = reason in OVERRULED and turn.rules.can_ask
    return can_ask and not was_told_recently(turn.document, incident.triggers, reason, turn.at)


def _wait(turn: Turn, decision: Decision) -> None:
    most_s = LOOK_AT_MOST_S if turn.at - turn.incident.began_at < LONG_S else LOOK_S
    again = turn.at + min(max(decision.again_in_s or 0.0, 1.0), most_s)
    if (known := ends_at(turn, decision)) is not None:
        turn.change(waits_from=known)
    deadline = deadline_of(turn.incident, turn.runbook)
    if decision.reason is Reason.SYMPTOM_UNKNOWN and not decision.tell:  # no row of the table has lasted for long enough yet
        deadline += max(GROWS_TIMES * turn.runbook.symptom.for_s - turn.runbook.verify.within_s, 0.0)
    if turn.at >= deadline:
        if turn.incident.is_suspicion and decision.reason is Reason.SYMPTOM_UNKNOWN and not decision.tell:
            return _end_as_passed(turn, decision)  # it kept moving, though rarely
        return escalate(turn, decision)
    turn.change(phase=Phase.WAITING, due=min(again, deadline))
    if decision.tell:
        tell_wait(turn, decision)
    turn.answer(Action.HELD, decision.reason)


def ends_at(turn: Turn, decision: Decision) -> float | None:
    """When a hold ends whose end is known: it doesn't escalate before."""
    run = decision.execution
    if run is not None and run.may_go_on:
        return (run.runner_started_at or 0.0) + turn.runbook.restart.max_run_s - turn.incident.runner_ahead_s
    return turn.at + max(decision.again_in_s or 0.0, 1.0) if decision.reason is Reason.COOLDOWN else None


def deadline_of(incident: Incident, runbook: Runbook) -> float:
    """Until when an incident may wait for a hold that ends by itself. Each cooldown, approval and start restarts the time."""
    ran = (attempt.execution for attempt in incident.tries)
    ends = [run.runner_ended_at - incident.runner_ahead_s for run in ran if run and run.runner_ended_at]
    if incident.phase is Phase.STARTING and incident.run.runner_not_after is not None:
        ends.append(incident.run.runner_not_after - incident.runner_ahead_s)
    return max([incident.began_at, incident.waits_from, *ends]) + runbook.verify.within_s + GRACE_S


def wait_for_history(turn: Turn, unseen: Unknown, deadline: float, *, tell: bool) -> None:
    """Look for the run again later, since the history can't be read. At the deadline the incident escalates."""
    decision = hold(Reason.LEDGER_UNKNOWN, unseen.why, remedy=unseen.remedy)
    if turn.at >= deadline:
        return escalate(turn, decision)
    turn.change(reason=decision.reason, detail=unseen.why, due=min(turn.at + turn.runbook.verify.every_s, deadline))
    if tell or unseen.remedy:
        tell_wait(turn, decision)


def tell_wait(turn: Turn, decision: Decision) -> None:
    """Report, once an attempt, a hold that Unstick waits out."""
    post_hold(turn, replace(hold_card(turn, decision), again=True), turn.mark)


def request_approval(turn: Turn, decision: Decision) -> None:
    """Ask a person, with a link that works once and expires."""
    if decision.reason is Reason.LIKELY_STUCK:
        _note_question(turn, _list_likely(turn.incident))
    expires_at = turn.at + APPROVAL_S
    nonce = f"{turn.tag}.{turn.seen.nonce}"
    turn.change(phase=Phase.ASKED, due=turn.at + turn.runbook.verify.every_s)
    turn.change_approval(nonce=nonce, expires_at=expires_at)
    post_hold(
        turn, replace(hold_card(turn, decision), approve_url=turn.rules.link_to_answer(nonce)), f"{turn.mark}-asked", always=True
    )
    turn.answer(Action.ASKED if decision.reason in ASKED else Action.HELD, decision.reason)


def _note_question(turn: Turn, states: Iterable[QueueState]) -> None:
    """Remember what people were asked, told, or said about these verdicts."""
    recent = {key: at for key, at in turn.document.questions.items() if turn.at - at < QUESTION_S}
    asked = {question_key(state, state.proof): turn.at for state in states}
    turn.document = replace(turn.document, questions=asked | recent)


def _list_likely(incident: Incident) -> list[QueueState]:
    return [state for state in incident.queues if state.is_likely]


def end_as_not_approved(turn: Turn) -> None:
    """End the incident because nobody answered in time."""
    card_input = turn.card(CardKind.NOT_APPROVED, turn.incident.reason, turn.incident.detail)
    escalates = turn.incident.restarts > 0 and turn.incident.reason is not Reason.LIKELY_STUCK
    if escalates:
        card_input = replace(card_input, acknowledge_url=_answer_url(turn, ACKNOWLEDGED))
    post(turn, card_input, f"{turn.incident.id}-not-approved")
    close(turn, Ending.ESCALATED if escalates else Ending.HELD, card_input, tell=False)


def end_as_declined(turn: Turn, declined: Declined) -> None:
    """End the incident because a person declined. To a question whether it hangs that means that it works on purpose: what stands
    still is followed to its end, and counts. Who only leaves a limit as it is says nothing of that.
    This isn't an escalation, so it blocks no other alert. Its own alerts are settled: see `Outcome.settles`."""
    _note_question(turn, turn.incident.queues)
    if turn.incident.reason in ASKED:
        turn.document = confirm(turn.document, turn.incident)
    turn.change(reason=Reason.DECLINED, detail=declined.why)
    turn.change_approval(declined_by=declined.by, nonce="")
    turn.answer(Action.HELD, Reason.DECLINED)
    card_input = turn.card(CardKind.DECLINED, Reason.DECLINED, declined.why)
    told = (*channels_for(turn.rules, card_input.runbook), *turn.incident.told)
    post(turn, card_input, f"{turn.incident.id}-declined", tuple(dict.fromkeys(told)))
    close(turn, Ending.HELD, card_input, tell=False)


def end_as_held(turn: Turn, decision: Decision) -> None:
    """End the incident as held. If it was stored, it leaves an outcome; if people get a card of it, a record."""
    if turn.incident.is_suspicion and (decision.reason in PASSED or not decision.tell):
        return _end_as_passed(turn, decision)
    card_input = hold_card(turn, decision)
    turn.answer(Action.HELD, decision.reason, about=card_input.incident)
    repeats = decision.reason is Reason.LIKELY_STUCK and not decision.tell  # people were asked, and that is in the archive
    if turn.was_saved and not repeats and decision.reason is not Reason.OBSERVE_ONLY:  # of a would-be restart the card is all
        return close(turn, Ending.HELD, card_input, tell=decision.tell)
    if decision.tell:
        bundled = turn.crowd or decision.reason is Reason.TOO_MANY_TARGETS
        post_and_record_hold(turn, card_input, turn.incident, turn.incident.id, bundled=bundled)
    turn.document = replace(turn.document, incident=None)


def _end_as_passed(turn: Turn, decision: Decision) -> None:
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
    runbook = turn.rules.runbooks.get(turn.incident.runbook)
    if turn.incident.restarts == 0 and (runbook is None or runbook.mode is Mode.OBSERVE):
        return end_as_held(turn, replace(decision, tell=True))
    turn.change(reason=decision.reason, detail=decision.detail)
    turn.answer(Action.HELD, decision.reason)
    card_input = replace(hold_card(turn, decision), kind=CardKind.ESCALATED, about=decision.execution)
    close(turn, Ending.ESCALATED, replace(card_input, acknowledge_url=_answer_url(turn, ACKNOWLEDGED)))


def _answer_url(turn: Turn, answer: str) -> str:
    """The link for this answer. Its nonce is random, as an approval's is, so nobody can guess it."""
    return turn.rules.link_to_answer(turn.seen.nonce and f"{turn.incident.id}.{answer}.{turn.seen.nonce}")


def close(turn: Turn, ending: Ending, card_input: CardInput, *, tell: bool = True) -> None:
    """Remove the incident from the document: keep its outcome, post it, and archive the incident."""
    incident, document = turn.incident, turn.document
    channels = tuple(dict.fromkeys((*channels_for(turn.rules, card_input.runbook), *incident.told)))
    if tell and ending is Ending.HELD:
        post_hold(turn, card_input, incident.id, bundled=card_input.reason is Reason.TOO_MANY_TARGETS)
    elif tell:
        if ending is Ending.RECOVERED and incident.restarts and not incident.run.adopted:
            card_input = replace(card_input, healthy_url=_answer_url(turn, HEALTHY))
        post(turn, card_input, f"{incident.id}-{ending.value}", channels)
    outcome = _to_outcome(incident, ending, card_input, tuple(dict.fromkeys((*channels, *turn.incident.told))))
    escalation = document.escalation
    if ending is Ending.ESCALATED:
        escalation = _to_escalation(document, incident, card_input)
    elif ending is Ending.RECOVERED and not _left_escalated(document, incident):
        escalation = None
    outcomes = _drop_oldest((*document.outcomes, outcome))
    turn.document = replace(turn.document, outcomes=outcomes, incident=None, escalation=escalation)
    _archive(turn, incident, outcome)


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
        kinds={state.queue.key: state.kind for state in incident.queues if state.kind},
        places=incident.places,
    )


def post_and_record_hold(turn: Turn, card_input: CardInput, incident: Incident, mark: str, *, bundled: bool) -> None:
    """Post the hold of an incident that is not kept open. Only if people get a card of it is it archived, so that it can be
    looked up: repeats write no records. It settles no alert, so it leaves no outcome."""
    if post_hold(turn, card_input, mark, bundled=bundled):
        incident = replace(incident, reason=card_input.reason, detail=card_input.detail)
        channels = channels_for(turn.rules, card_input.runbook)
        _archive(turn, incident, _to_outcome(incident, Ending.HELD, card_input, channels))


def _left_escalated(document: Document, incident: Incident) -> tuple[QueueState, ...]:
    own = {state.queue.key for state in incident.queues}
    earlier = document.escalation.queues if document.escalation else ()
    return tuple(state for state in earlier if state.queue.key not in own)


def _to_escalation(document: Document, incident: Incident, card_input: CardInput) -> Escalation:
    """Queues that were escalated before stay so: the state of one queue says nothing about the target's others."""
    own = [QueueState(state.queue, state.runbook, card_input.at, may_be_gone=state.may_be_gone) for state in incident.queues]
    queues = (*own, *_left_escalated(document, incident))
    due, nonce = card_input.at + REMINDED_EVERY_S, card_input.acknowledge_url.rpartition("#")[2]
    page = incident.start_page
    return Escalation(incident.id, incident.runbook, card_input.at, due, nonce, queues=queues, start_page=page)


def clear_escalation_if_healthy(turn: Turn, runbook: Runbook | None) -> None:
    """End an escalation whose queues are all healthy, whoever fixed them, and say so. An open incident says it by its own end; a
    suspicion, whose end nobody is told, does not."""
    document = turn.document
    if document.escalation is None or runbook is None:
        return
    queues = (*document.escalation.queues, *(document.incident.queues if document.incident else ()))
    runbooks = [be_patient(runbook, document.stalls.get(state.queue.key)) for state in queues]
    if queues and all(looks_well(book, turn.snapshot_of(state)) for book, state in zip(runbooks, queues, strict=True)):
        turn.document = replace(document, escalation=None)
        if document.incident is None or document.incident.is_suspicion:
            shown = replace(document.escalation, queues=turn.note_figures(document.escalation.queues))
            _post_escalation(turn, CardKind.RESOLVED, shown, "resolved")


def remind(turn: Turn) -> None:
    """Remind people of a due escalation, unless its target is healthy."""
    escalation = turn.document.escalation
    if escalation is None or not turn.document.is_reminder_due(turn.at):
        return
    clear_escalation_if_healthy(turn, turn.rules.runbooks.get(escalation.runbook))
    if turn.document.escalation is None:
        return
    told = escalation.told + 1
    escalation = replace(escalation, told=told, due=turn.at + REMINDED_EVERY_S if told < TOLD_AGAIN else None)
    turn.document = replace(turn.document, escalation=escalation)
    shown = replace(escalation, queues=turn.note_figures(escalation.queues))
    url = turn.rules.link_to_answer(escalation.nonce)
    _post_escalation(turn, CardKind.ESCALATED_AGAIN, shown, f"again-{told}", url)


def on_acknowledgement(turn: Turn, event: Acknowledged) -> None:
    """Somebody takes the escalation, which ends the reminders. Only the first person counts."""
    escalation = turn.document.escalation
    if escalation is None or escalation.taken_by or event.incident not in ("", escalation.incident):
        return
    escalation = replace(escalation, taken_by=event.by, taken_at=turn.at, due=None)
    turn.document = replace(turn.document, escalation=escalation)
    _post_escalation(turn, CardKind.ACKNOWLEDGED, escalation, "acknowledged")


def on_resume(turn: Turn, event: Resumed) -> None:
    """Somebody allows restarts of the target again."""
    document = turn.document
    if document.escalation is None:
        return
    card_input = CardInput(CardKind.RESUMED, turn.at, target=document.target, detail=in_brackets(event.reason, event.by))
    channels = document.outcomes[-1].channels if document.outcomes else turn.rules.default_channels
    turn.document = replace(document, escalation=None)
    post(turn, card_input, f"resumed-{turn.at:.0f}", channels)


def _post_escalation(turn: Turn, kind: CardKind, escalation: Escalation, mark: str, url: str = "") -> None:
    outcome, runbook = turn.document.find_outcome(escalation.incident), turn.rules.runbooks.get(escalation.runbook)
    reason, trigger = (outcome.reason, next(iter(outcome.triggers), None)) if outcome else (None, None)
    card_input = CardInput(kind, turn.at, runbook, turn.document.target, reason=reason, trigger=trigger, acknowledge_url=url)
    channels = outcome.channels if outcome else channels_for(turn.rules, runbook)
    card_input = replace(card_input, escalation=escalation, outcomes=turn.document.outcomes)
    post(turn, card_input, f"{escalation.incident}-{mark}", channels)
