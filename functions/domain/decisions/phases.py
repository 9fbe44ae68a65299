"""The phases of an incident: the table of all, and those until its job runs. Each looks at the current state and decides what
comes next; a phase that it enters takes its step at once."""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from functions.domain.decisions import endings, guards, waiting
from functions.domain.decisions.evidence import check_evidence, needs_evidence, order_evidence
from functions.domain.decisions.following import check_recovery, check_run
from functions.domain.decisions.guards import decide, list_objections
from functions.domain.decisions.matching import find_only_host
from functions.domain.decisions.messages import post
from functions.domain.decisions.turn import GuardContext, Turn, has_unseen, is_all_resolved
from functions.domain.health.looks import Judgement, before_restart, to_subject
from functions.domain.health.stalls import say_stalls
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import UNKNOWN, Action, Phase, Reason
from functions.domain.model.events import Claim, Decision, Kind, Start, StartResult, hold
from functions.domain.model.incidents import UNCLEAR, Asked, Incident, PastAttempt, QueueState
from functions.domain.model.observations import Execution, ExecutionHistory, Unknown, figures_of
from functions.runtime.text import Text, join

FIRST_LOOK_S = 20.0  # when to look for a start whose answer was lost; `webhook` creates that wake-up before it decides
NO_ANSWER = Text("the answer to the start is lost")
UNCLEAR_YET = UNKNOWN | {Reason.PAUSED}
NUMBER_ANEW_S = 60.0  # how long after `not_after` Unstick gives up an attempt that it can't find: the runner's history may lag


def run_phase(turn: Turn) -> None:
    """Take the next step of the incident's phase."""
    turn.enter(turn.incident.phase)
    run_entered(turn)


def run_entered(turn: Turn) -> None:
    """Take the steps of the phases that the incident has entered, until it waits or ends."""
    if turn.entered:
        _note_runner(turn)
    while turn.entered:
        turn.entered = False
        if turn.incident.runbook in turn.rules.runbooks:
            PHASES[turn.incident.phase](turn)
        else:
            _end_without_runbook(turn)


def _end_without_runbook(turn: Turn) -> None:
    """End what could only go on by a restart: nothing is started by a runbook that is gone."""
    gone = Text("the runbook {runbook} is no longer in the configuration", runbook=turn.incident.runbook)
    endings.escalate(turn, hold(Reason.NO_RUNBOOK, gone))


def _note_runner(turn: Turn) -> None:
    """Note how far the runner's clock is ahead of this process' own, and where people start the job."""
    incident, history = turn.incident, turn.history
    ahead_s, page = incident.runner_ahead_s, incident.start_page or turn.seen.start_page
    if history is not None:  # its page has the options filled in
        ahead_s, page = history.ahead_s(turn.at), history.start_page or page
    turn.change(runner_ahead_s=ahead_s, start_page=page)


def evaluate_guards(turn: Turn) -> None:
    """Evaluate the guards, and carry out their decision."""
    incident = turn.incident
    if is_all_resolved(incident) and incident.restarts == 0:
        waiting.note_found(turn, Reason.NOT_FIRING)
        return _hold(turn, hold(Reason.NOT_FIRING))
    if incident.phase is Phase.DEFERRED and not turn.was_saved and has_unseen(turn.seen):
        return defer(turn)
    if turn.is_runbook_gone:
        return _end_without_runbook(turn)
    # With the queues before this observation, so that it counts once.
    guard_context = turn.guard_context()
    judged, decision = tuple(judgement for judgement, _ in guard_context.judged), decide(guard_context)
    _note_judged(turn, guard_context, decision)
    waiting.note_found(turn, decision.reason)
    turn.change(reason=decision.reason, detail=decision.detail)
    if needs_evidence(turn, decision):
        return order_evidence(turn, judged)
    if decision.kind is Kind.ADOPT and decision.execution is not None:
        return _adopt(turn, decision.execution, decision.reason)
    if decision.kind is Kind.ASK:
        return waiting.request_approval(turn, decision)
    if decision.kind is Kind.HOLD:
        return _hold(turn, decision)
    if incident.attempt >= guards.MAX_NUMBERED:
        return endings.escalate(turn, hold(incident.reason, Text("numbered attempts: {count}", count=guards.MAX_NUMBERED)))
    _order_start(turn, guard_context.history, judged)


def _note_judged(turn: Turn, context: GuardContext, decision: Decision) -> None:
    """Note what this look showed. Unless it found all well, the two looks that it takes begin anew."""
    queues = tuple(_note_verdict(turn, state, judgement) for judgement, state in context.judged)
    if context.between:  # what was held before the restart is compared with what is held after it
        queues = tuple(replace(state, subject=past.subject) for state, past in zip(queues, turn.incident.queues, strict=True))
    if decision.reason not in endings.PASSED:
        queues = tuple(replace(state, after=replace(state.after, well_at=None)) for state in queues)
    turn.change(queues=queues)


def _hold(turn: Turn, decision: Decision) -> None:
    """Hold. What is healthy after a restart need not be told as a failure: it is verified, whatever helped. What people were told
    of is looked at until it is well."""
    last = _last_run(turn.incident)
    if decision.reason not in endings.PASSED:
        return waiting.handle_hold(turn, decision)
    if last is None and turn.incident.told:
        return _await_well(turn, decision)
    if last is None:  # nobody was told of anything, so one look is enough to say what it found
        turn.change(queues=_look(turn, turn.incident.queues, turn.incident.first_alert_at + turn.ahead_s))
        return endings.end_as_held(turn, decision)
    turn.change(execution=last.execution)
    turn.change_run(holder_host=last.holder_host)
    turn.forget_followed()
    turn.answer(Action.HELD, None)
    turn.enter(Phase.VERIFYING)


def _last_run(incident: Incident) -> PastAttempt | None:
    """The last attempt that ran."""
    return next((past for past in reversed(incident.tries) if past.execution is not None and not past.execution.refused), None)


def _await_well(turn: Turn, decision: Decision) -> None:
    """Look until the queues are well, since nothing else is the end of what people were told of."""
    incident = turn.incident
    began_at = incident.began_at + turn.ahead_s
    turn.change(phase=Phase.WAITING, reason=decision.reason, queues=_look(turn, incident.queues, began_at))
    if all(state.after.proven for state in turn.incident.queues):
        return endings.end_as_well(turn)
    if turn.at >= waiting.deadline_of(turn.incident, turn.runbook):
        nobody = Text("nothing stands still, but nobody was seen to work on it either")
        return endings.escalate(turn, hold(Reason.SYMPTOM_UNKNOWN, nobody))
    turn.change(due=waiting.next_look(turn, Asked(incident.began_at), turn.incident.queues, turn.runbook.verify.every_s))
    return turn.answer(Action.HELD, decision.reason)


def _look(turn: Turn, queues: tuple[QueueState, ...], runner_told_at: float) -> tuple[QueueState, ...]:
    return waiting.look_again(turn, queues, runner_told_at, (trigger.resolved_at for trigger in turn.incident.triggers))


def defer(turn: Turn, wait_s: float = 0.0) -> None:
    """Leave the decision to a wake-up, which has time to observe: immediately, or in `wait_s`."""
    turn.change(due=turn.at + wait_s)
    turn.answer(Action.DEFERRED, None)


def _order_start(turn: Turn, history: ExecutionHistory, judged: tuple[Judgement, ...]) -> None:
    within_s = turn.runbook.restart.start_within_s
    not_after = history.runner_now + within_s
    holder = turn.runbook.restart.holder
    last = _last_run(turn.incident)
    failed_host = last.holder_host if last and last.execution and last.execution.failed else ""
    host = (find_only_host(holder, judged) or failed_host) if holder else ""  # what failed on one host never runs on all
    if holder is not None and turn.document.target is not None:  # written for other runbooks, perhaps
        turn.document = replace(turn.document, target=replace(turn.document.target, holder=holder.option))
    queues = tuple(map(partial(_note_proof, turn), turn.incident.queues, judged))
    turn.change(phase=Phase.STARTING, attempt=turn.incident.attempt + 1, execution=None)
    turn.change(queues=queues, due=turn.due_within(FIRST_LOOK_S))
    turn.change_run(runner_not_after=not_after, unclear="", adopted=False, holder_host=host, tail=None)
    turn.change_approval(nonce="")
    is_proved = any(judgement.proof and not judgement.against for judgement in judged)  # what is only likely makes no storm
    if is_proved and turn.incident.restarts == 0 and not isinstance(turn.seen.storm, Unknown):
        turn.acts.append(Claim(turn.at, turn.seen.storm))
    turn.acts.append(Start(turn.tag, not_after, within_s, {holder.option: host} if holder and host else {}))
    turn.answer(Action.RESTARTED, None)


def _note_verdict(turn: Turn, state: QueueState, judged: Judgement) -> QueueState:
    """Note in the queue the verdict that the restart, or the question, rests on."""
    subject = to_subject(state, judged, turn.snapshot_of(state))
    if subject is None:
        return replace(state, proof=None, against="")
    learned, book = turn.document.stalls.get(state.queue.key), turn.runbook_of(state).symptom
    stalls = say_stalls(book, learned, [judged.kind]) if learned else ""
    return replace(state, proof=judged.proof, subject=subject, stalls=stalls, against=judged.against)


def _note_proof(turn: Turn, state: QueueState, judged: Judgement) -> QueueState:
    figures = figures_of(turn.snapshot_of(state))
    before = before_restart(figures) if figures is not None else state.before
    state = replace(state, subject=state.subject if judged.proof else None, looks=replace(state.looks, unsure_at=None))
    return replace(_note_verdict(turn, state, judged), before=before)


def _adopt(turn: Turn, execution: Execution, reason: Reason | None) -> None:
    incident, history = turn.incident, turn.history
    own = execution.tag.startswith(f"{incident.id}.")
    if not own and history is not None:  # whoever restarted it for the same alert has used up attempts (I1)
        began_at = incident.newest_alert_at + incident.runner_ahead_s
        others = (restart for restart in guards.count_as_restarts(history) if restart.id != execution.id)
        earlier = sum((restart.runner_started_at or 0.0) >= began_at - guards.SAME_CAUSE_S for restart in others)
        turn.change(restarts=max(incident.restarts, earlier))
    if host := execution.host or (incident.run.holder_host if own else ""):  # it ends what this host's channels held, no more
        queues = turn.incident.queues
        turn.change(queues=tuple(replace(state, subject=state.subject and state.subject.on_host(host)) for state in queues))
    turn.change_run(adopted=not own, holder_host=host)
    _follow(turn, execution, Action.RESTARTED if own else Action.ADOPTED, reason=reason)


def _follow(turn: Turn, execution: Execution, action: Action, *, reason: Reason | None = None) -> None:
    due, incident = turn.at + turn.runbook.verify.every_s, turn.incident
    due = min(incident.due, due) if incident.due > turn.at else due
    restarts = incident.restarts + incident.is_further(execution)
    turn.change(phase=Phase.RUNNING, execution=execution, restarts=restarts, reason=reason, due=due, looked_at=turn.at)
    turn.change_run(tail=None)
    turn.change_approval(approved=None)
    turn.answer(action, reason)
    if not execution.ended or not (turn.incident.run.adopted or execution.refused):
        post(turn, turn.card(CardKind.STARTED, reason), f"{incident.id}-started-{execution.id}")
    if execution.ended:
        turn.forget_followed()
        turn.enter(Phase.RUNNING)


def _check_asked(turn: Turn) -> None:
    """While people think it over, look on: until it is well in two looks, there is proof that needs nobody, or an answer. If more
    stands still than the card named, it got worse, or more objects, they are asked anew."""
    asked, context = turn.incident.approval.asked or Asked(turn.at), turn.guard_context()
    queues = tuple(_note_verdict(turn, state, judgement) for judgement, state in context.judged)
    turn.change(queues=_look(turn, queues, asked.runner_at))
    queues, decision = turn.incident.queues, decide(context)
    if all(state.after.proven for state in queues):
        return endings.end_as_well(turn)
    if turn.at >= asked.at + guards.ESCALATION_HOLDS_S:
        return endings.end_as_not_approved(turn)
    seems_well = decision.reason in (*endings.PASSED, *UNCLEAR_YET) or any(state.after.well_at is not None for state in queues)
    stays = (seems_well or decision.reason is turn.incident.reason) and not _has_grown(context, asked)
    if not stays and not is_all_resolved(turn.incident):
        turn.withdraw_question()
        return turn.enter(Phase.WAITING)
    waiting.remind_asked(turn)
    turn.change(due=waiting.next_look(turn, turn.incident.approval.asked or asked, queues, turn.runbook.verify.every_s))


def _has_grown(context: GuardContext, asked: Asked) -> bool:
    """Whether the card named less than stands still or objects by now."""
    subjects = [subject for subject, _ in context.list_subjects()]
    uncovered = any(not any(known.covers(subject) for known in asked.subjects) for subject in subjects)
    return uncovered or not set(list_objections(context)).issubset(asked.guards)


def _check_start(turn: Turn) -> None:
    """Find out from the history whether the job was started. Until the fence is over nobody can know more, so nobody is told."""
    turn.change(queues=turn.note_figures(turn.incident.queues))
    history = turn.seen.history
    if isinstance(history, Unknown):
        turn.answer(Action.DEFERRED, Reason.LEDGER_UNKNOWN)
        deadline = waiting.deadline_of(turn.incident, turn.runbook)
        return waiting.wait_for_history(turn, history, deadline, tell=turn.at >= deadline - waiting.GRACE_S)
    own_executions = (execution for execution in history.executions if execution.tag == turn.tag)
    newest = max(own_executions, key=lambda execution: execution.runner_started_at or 0.0, default=None)
    if newest is not None:  # the runner's own retry has the same tag
        return _follow(turn, newest, Action.RESTARTED)
    left_s = (turn.incident.run.runner_not_after or 0.0) + NUMBER_ANEW_S - history.runner_now
    if left_s >= 0:
        turn.change(reason=Reason.START_UNCLEAR, detail=turn.incident.run.unclear or NO_ANSWER)
        return defer(turn, left_s + 1)
    turn.change(tries=(*turn.incident.tries, PastAttempt(turn.tag, None, UNCLEAR)))
    turn.enter(Phase.WAITING)


def on_start_result(turn: Turn, event: StartResult) -> None:
    """Continue with the result of starting the job."""
    incident = turn.document.incident
    if incident is None or incident.phase is not Phase.STARTING or event.tag != turn.tag:
        return
    if event.execution is not None and event.mismatch:
        return _end_as_mismatch(turn, event.execution, event)
    if event.execution is not None:
        return _follow(turn, event.execution, Action.RESTARTED)
    if event.unsent is None and not event.busy and not event.refusal:
        turn.change_run(unclear=event.unclear)
        return turn.answer(Action.DEFERRED, Reason.START_UNCLEAR)
    turn.change(attempt=incident.attempt - 1, phase=Phase.WAITING)
    turn.change_run(runner_not_after=None, holder_host="")
    if event.unsent is not None:
        _handle_unsent(turn, event.unsent, event)
    elif event.busy:
        waiting.handle_hold(turn, hold(Reason.JOB_BUSY, event.refusal, again_in_s=turn.runbook.verify.every_s))
    else:
        again_in_s = turn.runbook.verify.every_s if event.passive else None
        waiting.handle_hold(turn, hold(Reason.RESTART_REFUSED, event.refusal, again_in_s, remedy=event.remedy))


def _end_as_mismatch(turn: Turn, execution: Execution, event: StartResult) -> None:
    """It counts as a restart: before the abort it may have been one."""
    detail = (
        Text("execution {id} was started with options that were not sent", id=execution.id),
        event.refusal and Text("it was not aborted: {why}", why=event.refusal),
        Text("it may have restarted the application"),
    )
    turn.change(execution=execution, restarts=turn.incident.restarts + 1)
    endings.escalate(turn, hold(Reason.ZOMBIE_EXECUTION, join(detail), remedy=event.remedy))


def _handle_unsent(turn: Turn, unsent: Reason, event: StartResult) -> None:
    """Nothing was sent: the kill switch is on, another target took the storm slot, something could not be read, or the
    observation was too old."""
    if unsent is Reason.PAUSED or event.unread:
        again_in_s = turn.runbook.verify.every_s if event.unread else None
        return waiting.handle_hold(turn, hold(unsent, event.refusal, again_in_s, tell=not event.unread))
    if turn.at >= waiting.deadline_of(turn.incident, turn.runbook):
        return endings.escalate(turn, hold(unsent, event.refusal))
    turn.change(phase=Phase.DEFERRED)
    defer(turn)


PHASES: Mapping[Phase, Callable[[Turn], None]] = {
    Phase.DEFERRED: evaluate_guards,
    Phase.WAITING: evaluate_guards,
    Phase.COLLECTING: check_evidence,
    Phase.ASKED: _check_asked,
    Phase.STARTING: _check_start,
    Phase.RUNNING: check_run,
    Phase.VERIFYING: check_recovery,
}
