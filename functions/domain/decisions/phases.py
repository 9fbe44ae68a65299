"""The phases of an incident: the table of all, and those until its job runs. Each looks at the current state and decides what
comes next; a phase that it enters takes its step at once."""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from functions.domain.decisions import endings, guards
from functions.domain.decisions.evidence import check_evidence, needs_evidence, order_evidence
from functions.domain.decisions.following import check_recovery, check_run
from functions.domain.decisions.guards import decide
from functions.domain.decisions.matching import find_only_host
from functions.domain.decisions.messages import post
from functions.domain.decisions.turn import Turn, has_unseen, is_all_resolved, symptom
from functions.domain.health.looks import Judgement, before_restart
from functions.domain.health.stalls import say_stalls
from functions.domain.model.codes import UNKNOWN, Action, Phase, Reason
from functions.domain.model.events import Claim, Decision, Kind, Start, StartResult, hold
from functions.domain.model.incidents import UNCLEAR, CardKind, Doubt, Incident, PastAttempt, QueueState
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
        return endings.end_as_held(turn, hold(Reason.NOT_FIRING))
    if incident.phase is Phase.DEFERRED and not turn.was_saved and has_unseen(turn.seen):
        return defer(turn)
    endings.clear_escalation_if_healthy(turn, turn.runbook)
    # With the queues before this observation, so that it counts once.
    guard_context = turn.guard_context(approved=incident.approval.overruled)
    judged = tuple(judgement for judgement, _ in guard_context.judged)
    queues = tuple(_note_verdict(turn, state, judgement) for judgement, state in guard_context.judged)
    if incident.restarts:  # what was held before the restart is compared with what is held after it
        queues = tuple(replace(state, held_by=past.held_by) for state, past in zip(queues, incident.queues, strict=True))
    turn.change(queues=queues)
    decision = decide(guard_context)
    is_well = decision.reason is Reason.SYMPTOM_GONE
    turn.change(reason=decision.reason, detail=decision.detail, well_at=incident.well_at if is_well else None)
    if needs_evidence(turn, decision):
        return order_evidence(turn, judged)
    if decision.kind is Kind.ADOPT and decision.execution is not None:
        return _adopt(turn, decision.execution, decision.reason)
    if decision.kind is Kind.ASK:
        return endings.request_approval(turn, decision)
    if decision.kind is Kind.HOLD:
        return _hold(turn, decision)
    if incident.attempt >= guards.MAX_NUMBERED:
        return endings.escalate(turn, hold(incident.reason, Text("numbered attempts: {count}", count=guards.MAX_NUMBERED)))
    _order_start(turn, guard_context.history, judged)


def _hold(turn: Turn, decision: Decision) -> None:
    """Hold. What is healthy after a restart need not be told as a failure: it is verified, whatever helped."""
    last = _last_run(turn.incident)
    if decision.reason is not Reason.SYMPTOM_GONE or last is None:
        if not turn.incident.told or decision.reason is not Reason.SYMPTOM_GONE or _is_over(turn, well=True):
            return endings.handle_hold(turn, decision)
        turn.change(phase=Phase.WAITING, due=turn.at + turn.runbook.verify.every_s)
        return turn.answer(Action.HELD, decision.reason)
    turn.change(execution=last.execution)
    turn.change_run(holder_host=last.holder_host)
    turn.forget_followed()
    turn.answer(Action.HELD, None)
    turn.enter(Phase.VERIFYING)


def _last_run(incident: Incident) -> PastAttempt | None:
    """The last attempt that ran."""
    return next((past for past in reversed(incident.tries) if past.execution is not None and not past.execution.refused), None)


def _is_over(turn: Turn, *, well: bool) -> bool:
    """Whether what people were told of is not well, or was so in two looks. Notes the first."""
    well_at = (turn.at if turn.incident.well_at is None else turn.incident.well_at) if well else None
    turn.change(well_at=well_at)
    return well_at is None or turn.at - well_at >= turn.runbook.verify.every_s


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
    if turn.incident.restarts == 0 and not isinstance(turn.seen.storm, Unknown):
        turn.acts.append(Claim(turn.at, turn.seen.storm))
    turn.acts.append(Start(turn.tag, not_after, within_s, {holder.option: host} if holder and host else {}))
    turn.answer(Action.RESTARTED, None)


def _note_verdict(turn: Turn, state: QueueState, judged: Judgement) -> QueueState:
    """Note in the queue the verdict that the restart, or the question, rests on."""
    if judged.proof is None:
        return state
    held_by = tuple(replace(channel, work=(), redeliveries=()) for channel in judged.held_by)
    doubt = Doubt(judged.against)
    learned, symptom = turn.document.stalls.get(state.queue.key), turn.runbook_of(state).symptom
    stalls = say_stalls(symptom, learned, [judged.kind]) if learned else ""
    return replace(state, proof=judged.proof, kind=judged.kind, stalls=stalls, held_by=held_by, doubt=doubt)


def _note_proof(turn: Turn, state: QueueState, judged: Judgement) -> QueueState:
    figures = figures_of(turn.snapshot_of(state))
    before = before_restart(figures) if figures is not None else state.before
    state = state if judged.proof else replace(state, proof=None, held_by=(), doubt=Doubt())
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
        held_by = (tuple(channel for channel in state.held_by if channel.host == host) for state in queues)
        turn.change(queues=tuple(replace(state, held_by=held) for state, held in zip(queues, held_by, strict=True)))
    turn.change_run(adopted=not own, holder_host=host)
    _follow(turn, execution, Action.RESTARTED if own else Action.ADOPTED, reason=reason)


def _follow(turn: Turn, execution: Execution, action: Action, *, reason: Reason | None = None) -> None:
    due, incident = turn.at + turn.runbook.verify.every_s, turn.incident
    due = min(incident.due, due) if incident.due > turn.at else due
    turn.change(phase=Phase.RUNNING, execution=execution, restarts=incident.restarts + 1, reason=reason)
    turn.change(due=due, looked_at=turn.at)
    turn.change_run(tail=None)
    turn.change_approval(overruled=False)
    turn.answer(action, reason)
    if not execution.ended or not (turn.incident.run.adopted or execution.refused):
        post(turn, turn.card(CardKind.STARTED, reason), f"{incident.id}-started-{execution.id}")
    if execution.ended:
        turn.forget_followed()
        turn.enter(Phase.RUNNING)


def _check_asked(turn: Turn) -> None:
    """While people think it over, look again and again: it may be proved by now, or be well, in two looks."""
    approval, every_s = turn.incident.approval, turn.runbook.verify.every_s
    expires_at = approval.expires_at or turn.at
    turn.change(queues=turn.note_figures(turn.incident.queues))
    guard_context = turn.guard_context()
    decision, of_queues = decide(guard_context), symptom(guard_context)  # most guards of the former ask for no figures
    well = of_queues is not None and of_queues.reason is Reason.SYMPTOM_GONE
    is_over = _is_over(turn, well=well)
    stays = well or decision.reason in (turn.incident.reason, *UNCLEAR_YET)
    over = turn.at >= expires_at
    if over and not well:
        return endings.end_as_not_approved(turn)
    if over or not stays or (well and is_over):
        return turn.withdraw_question()
    asked_s = turn.at - (expires_at - endings.APPROVAL_S)
    wait_s = every_s if well else max(every_s, min(asked_s * endings.SHARE, endings.LOOK_AT_MOST_S))
    turn.change(due=min(turn.at + wait_s, expires_at))


def _check_start(turn: Turn) -> None:
    """Find out from the history whether the job was started; notify people as soon as it can't be seen."""
    turn.change(queues=turn.note_figures(turn.incident.queues))
    history = turn.seen.history
    if isinstance(history, Unknown):
        deadline = endings.deadline_of(turn.incident, turn.runbook)
        turn.answer(Action.DEFERRED, Reason.LEDGER_UNKNOWN)
        tell = bool(turn.incident.run.unclear) or turn.at >= deadline - endings.GRACE_S
        return endings.wait_for_history(turn, history, deadline, tell=tell)
    own_executions = (execution for execution in history.executions if execution.tag == turn.tag)
    newest = max(own_executions, key=lambda execution: execution.runner_started_at or 0.0, default=None)
    if newest is not None:  # the runner's own retry has the same tag
        return _follow(turn, newest, Action.RESTARTED)
    left_s = (turn.incident.run.runner_not_after or 0.0) + NUMBER_ANEW_S - history.runner_now
    if left_s >= 0:
        unclear = turn.incident.run.unclear or NO_ANSWER
        turn.change(reason=Reason.START_UNCLEAR, detail=unclear)
        endings.tell_wait(turn, hold(Reason.START_UNCLEAR, unclear))
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
        endings.handle_hold(turn, hold(Reason.JOB_BUSY, event.refusal, again_in_s=turn.runbook.verify.every_s))
    else:
        again_in_s = turn.runbook.verify.every_s if event.passive else None
        endings.handle_hold(turn, hold(Reason.RESTART_REFUSED, event.refusal, again_in_s, remedy=event.remedy))


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
        return endings.handle_hold(turn, hold(unsent, event.refusal, again_in_s, tell=not event.unread))
    if turn.at >= endings.deadline_of(turn.incident, turn.runbook):
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
