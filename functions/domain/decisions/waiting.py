"""Lets an incident wait, or ask people, and looks on at what people were told of until it is well.

A question and an escalation are the same: people are asked, and Unstick looks, reminds, and stays at it for a day. They differ in
who acts: a question is part of its incident, since an answer may go on with it; an escalated incident has ended, so that the
target's other queues need not wait for people."""

from collections.abc import Iterable

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.endings import (
    LOOK_AT_MOST_S,
    REMINDED_EVERY_S,
    end_as_held,
    end_as_passed,
    escalate,
    forget_told,
    hold_card,
)
from functions.domain.decisions.guards import ESCALATION_HOLDS_S, list_objections
from functions.domain.decisions.messages import channels_for, is_repeat, note_told, post, post_hold
from functions.domain.decisions.turn import Turn
from functions.domain.health.recovery import note_well
from functions.domain.health.rows import GROWS_TIMES
from functions.domain.health.stalls import LOOK_S
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import ASKED, OVERRULED, Action, Mode, Phase, Reason
from functions.domain.model.events import Acknowledged, Decision, Resumed, hold
from functions.domain.model.incidents import Asked, Escalation, Incident, QueueState
from functions.domain.model.observations import Statement, Unknown
from functions.domain.model.runbooks import Runbook
from functions.domain.texts.words import REASONS
from functions.runtime.text import Phrase, Text, in_brackets, join, named

GRACE_S = 900.0  # without a restart for `within` plus this time, an incident escalates
APPROVAL_S = 1800.0  # how long a link works; each reminder brings a new one
LONG_S = 1800.0  # after this time what waits is looked at every LOOK_S
SHARE = 0.1  # the next look at what waits comes after this share of the time so far
AWAY_S = 60.0  # a look that comes so late was not made in time because Unstick was away
TOLD_AGAIN = 3  # maximum number of reminders: a fourth wouldn't help if three didn't


def handle_hold(turn: Turn, decision: Decision) -> None:
    """Wait if the hold ends by itself, ask if a person may overrule it, otherwise end."""
    turn.change(reason=decision.reason, detail=decision.detail)
    if decision.again_in_s is not None:
        _wait(turn, decision)
    elif decision.reason is Reason.LIKELY_STUCK:  # people were asked, or can't be
        end_as_held(turn, decision)
    elif turn.incident.restarts > 0:
        escalate(turn, decision)
    elif _may_ask(turn, decision):
        request_approval(turn, decision)
    else:
        end_as_held(turn, decision)


def _may_ask(turn: Turn, decision: Decision) -> bool:
    """Whether to ask a person to overrule the hold: not with many targets, not in mode observe, not again about a standstill."""
    incident, reason = turn.incident, decision.reason
    if turn.runbook.mode is Mode.OBSERVE or reason not in OVERRULED or reason is Reason.TOO_MANY_TARGETS:
        return False
    return turn.rules.can_ask and not is_repeat(turn, incident.triggers, reason, incident)


def _wait(turn: Turn, decision: Decision) -> None:
    most_s = LOOK_AT_MOST_S if turn.at - turn.incident.began_at < LONG_S else LOOK_S
    again = turn.at + min(max(decision.again_in_s or 0.0, 1.0), most_s)
    if decision.reason is not None and (known := ends_at(turn, decision)) is not None:
        turn.change(found={**turn.incident.found, decision.reason: known})
    deadline = deadline_of(turn.incident, turn.runbook)
    if decision.reason is Reason.SYMPTOM_UNKNOWN and not decision.tell:  # no row of the table has lasted for long enough yet
        deadline += max(GROWS_TIMES * turn.runbook.symptom.for_s - turn.runbook.verify.within_s, 0.0)
    if turn.at >= deadline:
        if turn.incident.is_suspicion and decision.reason is Reason.SYMPTOM_UNKNOWN and not decision.tell:
            return end_as_passed(turn, decision)  # it kept moving, though rarely
        return escalate(turn, decision)
    turn.change(phase=Phase.WAITING, due=min(again, deadline))
    if decision.tell:
        tell_wait(turn, decision)
    turn.answer(Action.HELD, decision.reason)


def ends_at(turn: Turn, decision: Decision) -> float | None:
    """When a hold ends whose end is known: it doesn't escalate before."""
    run = decision.execution
    if run is not None and run.may_still_run:
        return (run.runner_started_at or 0.0) + turn.runbook.restart.max_run_s - turn.incident.runner_ahead_s
    return turn.at + max(decision.again_in_s or 0.0, 1.0) if decision.reason is Reason.COOLDOWN else None


def note_found(turn: Turn, reason: Reason | None) -> None:
    """Note the first look that found this reason, for its deadline. Time in which Unstick was away doesn't count."""
    away_s = max(turn.at - turn.incident.due, 0.0)
    away_s = away_s if away_s > AWAY_S else 0.0
    first_looks = {known: at + away_s for known, at in turn.incident.found.items()}
    if reason is not None:
        first_looks.setdefault(reason, turn.at)
    turn.change(found=first_looks)


def deadline_of(incident: Incident, runbook: Runbook) -> float:
    """Until when an incident may wait for a hold that ends by itself: its time runs from the first look that found the reason."""
    began_at = incident.found.get(incident.reason, incident.began_at) if incident.reason else incident.began_at
    if incident.phase is Phase.STARTING and incident.run.runner_not_after is not None:
        began_at = max(began_at, incident.run.runner_not_after - incident.runner_ahead_s)
    return began_at + runbook.verify.within_s + GRACE_S


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


# --- people are asked, or called ------------------------------------------------------------------------------------------------


def request_approval(turn: Turn, decision: Decision) -> None:
    """Ask a person, with a link for one answer. The card names all that objects and all that stands still: the answer covers
    that. An earlier card of this incident asks no more."""
    context, overruled = turn.guard_context(), turn.incident.approval.approved
    objections = list_objections(context)
    own = ("likely_stuck",) if decision.reason is Reason.LIKELY_STUCK else ()
    asked = Asked(
        at=turn.at,
        runner_at=turn.at + turn.ahead_s,
        subjects=tuple(subject for subject, _ in context.list_subjects()),
        queues=tuple(state.queue.key for state in turn.incident.queues),
        guards=tuple(dict.fromkeys((*(overruled.guards if overruled else ()), *own, *objections))),
        remind_at=turn.at + REMINDED_EVERY_S,
    )
    turn.withdraw_question()
    decision = replace(decision, detail=_join_objections(decision, objections))
    turn.change(phase=Phase.ASKED, due=turn.at + turn.runbook.verify.every_s, reason=decision.reason, detail=decision.detail)
    nonce, expires_at = f"{turn.tag}.{turn.seen.nonce}", turn.at + APPROVAL_S
    turn.change_approval(nonce=nonce, expires_at=expires_at, asked=asked)
    _post_question(turn, decision, f"asked-{len(turn.incident.approval.replaced)}")
    note_told(turn, decision.reason)
    turn.answer(Action.ASKED if decision.reason in ASKED else Action.HELD, decision.reason)


def _join_objections(decision: Decision, objections: dict[str, Decision]) -> Phrase:
    """The decision's detail, and what else objects."""
    others = [
        each.detail if each.reason is decision.reason else named(REASONS[each.reason].short, each.detail)
        for each in objections.values()
        if each.reason is not None and each.detail != decision.detail
    ]
    return join((decision.detail, *others))


def _post_question(turn: Turn, decision: Decision, mark: str) -> None:
    url = turn.rules.link_to_answer(turn.incident.approval.nonce)
    post(turn, replace(hold_card(turn, decision), approve_url=url), f"{turn.mark}-{mark}")


def remind_asked(turn: Turn) -> None:
    """Ask again if the reminder is due. It renews the link: the last one works until the question ends."""
    incident, asked = turn.incident, turn.incident.approval.asked
    if asked is None or asked.remind_at is None or turn.at < asked.remind_at:
        return
    if all(state.after.well_at is not None for state in incident.queues):
        return
    asked = _note_reminder(asked, turn.at)
    ends = asked.at + ESCALATION_HOLDS_S
    turn.change_approval(asked=asked, expires_at=turn.at + APPROVAL_S if asked.remind_at else ends)
    _post_question(turn, hold(incident.reason, incident.detail), f"again-{asked.reminded}")


def _note_reminder(asked: Asked, now: float) -> Asked:
    count = asked.reminded + 1
    return replace(asked, reminded=count, remind_at=now + REMINDED_EVERY_S if count < TOLD_AGAIN else None)


def next_look(turn: Turn, asked: Asked, queues: tuple[QueueState, ...], every_s: float) -> float:
    """When to look at these queues again: often while it is young, and after a look that found one well, as soon as a second one
    proves it; at the latest when people are reminded."""
    age_s = turn.at - asked.at
    if seems_well := [turn.snapshot_of(state) for state in queues if state.after.well_at is not None]:
        ranges = (reading.range_s for reading in seems_well if isinstance(reading, Statement))
        return turn.at + max((every_s, *ranges)) + turn.clock_error_s
    wait_s = min(max(every_s, age_s * SHARE), LOOK_AT_MOST_S) if age_s < LONG_S else LOOK_S
    remind_at = asked.remind_at if asked.remind_at is not None and asked.remind_at > turn.at else turn.at + wait_s
    return min(turn.at + wait_s, remind_at)


def look_again(
    turn: Turn, queues: tuple[QueueState, ...], runner_told_at: float, resolved: Iterable[float | None]
) -> tuple[QueueState, ...]:
    """Whether they are well, by figures that are younger than what people were told, and than the end of their alerts."""
    ends = [min(at, turn.at) + turn.ahead_s for at in resolved if at is not None]
    age_s = turn.at + turn.ahead_s - max([runner_told_at, *ends]) - turn.clock_error_s
    pairs = [(state, turn.rules.runbooks.get(state.runbook)) for state in queues]
    return tuple(note_well(book, turn.snapshot_of(one), one, turn.since(one, age_s)) if book else one for one, book in pairs)


# --- an escalation --------------------------------------------------------------------------------------------------------------


def watch_escalation(turn: Turn, resolved_at: float | None = None) -> None:
    """Look at what people were called for, if that is due or its alert is resolved. It ends for each queue that is well, whoever
    fixed it; people are reminded of the others. An open incident about them says so by its own end."""
    document, escalation = turn.document, turn.document.escalation
    if escalation is None or not (resolved_at is not None or document.is_escalation_due(turn.at)):
        return
    queues = look_again(turn, escalation.queues, escalation.asked.runner_at, [resolved_at])
    book = turn.rules.runbooks.get(escalation.runbook)
    left = tuple(state for state in queues if not state.after.proven)
    due = next_look(turn, escalation.asked, left, book.verify.every_s if book else LOOK_AT_MOST_S)
    escalation = replace(escalation, queues=left, due=due)
    turn.document = replace(document, escalation=escalation)
    if well := tuple(state for state in queues if state.after.proven):
        forget_told(turn, well)
        _end_escalated(turn, replace(escalation, queues=well), CardInput(CardKind.RESOLVED, turn.at, again=bool(left)), left)
    elif turn.at - escalation.at >= ESCALATION_HOLDS_S:
        late = Text("no check has found it healthy for a day")
        _end_escalated(turn, escalation, CardInput(CardKind.RESUMED, turn.at, detail=late))
    elif document.incident is None and any(state.after.well_at is None for state in left):
        _remind(turn, escalation)


def _remind(turn: Turn, escalation: Escalation) -> None:
    """Remind people of an escalation that nobody has taken. While an incident is open, somebody works on it."""
    asked = escalation.asked
    if asked.remind_at is None or turn.at < asked.remind_at or escalation.taken_by:
        return
    escalation = replace(escalation, asked=_note_reminder(asked, turn.at))
    turn.document = replace(turn.document, escalation=escalation)
    card_input = CardInput(CardKind.ESCALATED_AGAIN, turn.at, acknowledge_url=turn.rules.link_to_answer(escalation.nonce))
    _post_escalation(turn, escalation, card_input, f"again-{asked.reminded + 1}")


def _end_escalated(turn: Turn, escalation: Escalation, card_input: CardInput, left: tuple[QueueState, ...] = ()) -> None:
    """End the escalation, and tell whoever was told of it: by the end of the open incident, if that is about the same queues.
    `left`: the queues for which it goes on."""
    incident, keys = turn.document.incident, {state.queue.key for state in escalation.queues}
    turn.document = replace(turn.document, escalation=replace(escalation, queues=left) if left else None)
    if incident is not None and incident.told and keys.issubset(state.queue.key for state in incident.queues):
        turn.change(told=tuple(dict.fromkeys((*incident.told, *escalation.channels))))
    else:
        _post_escalation(turn, escalation, card_input, f"{card_input.kind.value}-{len(left)}")


def on_acknowledgement(turn: Turn, event: Acknowledged) -> None:
    """Somebody takes the escalation, which ends the reminders. Only the first person counts."""
    escalation = turn.document.escalation
    if escalation is None or escalation.taken_by or event.incident not in ("", escalation.incident):
        return
    escalation = replace(escalation, taken_by=event.by, taken_at=turn.at)
    turn.document = replace(turn.document, escalation=escalation)
    _post_escalation(turn, escalation, CardInput(CardKind.ACKNOWLEDGED, turn.at), "acknowledged")


def on_resume(turn: Turn, event: Resumed) -> None:
    """Somebody allows restarts of the target again."""
    escalation = turn.document.escalation
    if escalation is not None:
        forget_told(turn, escalation.queues)
        turn.document = replace(turn.document, escalation=None)
        card_input = CardInput(CardKind.RESUMED, turn.at, detail=in_brackets(event.reason, event.by))
        _post_escalation(turn, escalation, card_input, f"{card_input.kind.value}-{turn.at:.0f}")


def _post_escalation(turn: Turn, escalation: Escalation, card_input: CardInput, mark: str) -> None:
    outcome, runbook = turn.document.find_outcome(escalation.incident), turn.rules.runbooks.get(escalation.runbook)
    reason, trigger = (outcome.reason, next(iter(outcome.triggers), None)) if outcome else (None, None)
    card_input = replace(card_input, runbook=runbook, target=turn.document.target, reason=reason, trigger=trigger)
    told = escalation.channels or channels_for(turn.rules, runbook)
    post(turn, replace(card_input, escalation=escalation), f"{escalation.incident}-{mark}", told)
