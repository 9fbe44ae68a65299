"""Follows a restart until every queue is healthy twice."""

from msgspec.structs import replace

from functions.domain.decisions import endings, waiting
from functions.domain.decisions.guards import GOES_ON, LOOK, decide, describe_zombie, unstopped
from functions.domain.decisions.turn import Turn
from functions.domain.health.recovery import SAME_AGAIN, find_same_again, find_survivor, is_moving, judge_recovery, say_survivor
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.events import Decision, Kind, hold
from functions.domain.model.incidents import REFUSED_LATE, STUCK, AfterRestart, How, Incident, PastAttempt, QueueState, failed
from functions.domain.model.observations import Execution, Unknown
from functions.domain.model.runbooks import Runbook
from functions.domain.texts.words import worded
from functions.runtime.text import Text, join, named

NODE_ANSWERS_S = 60.0  # after a failure, such as of a node that doesn't answer: twice Rundeck's time-out for it


def check_run(turn: Turn) -> None:
    """See whether the restart still runs, and how it ended."""
    execution = _note_execution(turn)
    if execution is None or not execution.ended:
        turn.change(queues=turn.note_figures(turn.incident.queues))
        unseen = _why_unseen(turn)
        if unseen is None:
            return _watch_running(turn)
        verify, unseen_s = turn.runbook.verify, turn.at - (turn.incident.looked_at or turn.incident.began_at)
        deadline = _started_at(turn.incident) + turn.runbook.restart.max_run_s + verify.within_s + waiting.GRACE_S
        return waiting.wait_for_history(turn, unseen, deadline, tell=unseen_s >= verify.within_s)
    if execution.aborted_by or execution.abandoned:
        return endings.escalate(turn, _explain_failure(execution))
    if execution.refused and not _has_run_before(execution, turn):
        tries = (*turn.incident.tries, PastAttempt(execution.tag, execution, REFUSED_LATE, turn.incident.run.holder_host))
        turn.change(execution=None, tries=tries, restarts=turn.incident.restarts - turn.incident.is_further(execution))
        return turn.enter(Phase.WAITING)
    turn.change(queues=tuple(replace(state, after=AfterRestart()) for state in turn.incident.queues))
    if execution.succeeded:
        return turn.enter(Phase.VERIFYING)
    # The job failed. The queue may have recovered anyway; otherwise the next attempt is decided.
    turn.change(phase=Phase.VERIFYING)
    if is_used_up(turn.incident, turn.runbook):
        return endings.escalate(turn, (turn.history and unstopped(turn.guard_context())) or _explain_failure(execution))
    _next_attempt(turn, failed(execution))


def _explain_failure(execution: Execution) -> Decision:
    """The hold with which an execution that failed or was aborted is handed to people."""
    if execution.abandoned:
        gone = Text("execution {id} is gone and its end was not recorded, so nobody knows how far it got", id=execution.id)
        return hold(Reason.LEDGER_UNKNOWN, gone)
    reason, ended = Reason.FAILING, Text("the job ended as {status}", status=worded(execution.status))
    if execution.aborted_by:
        reason, ended = Reason.ABORTED, Text("{user} aborted execution {id}", user=execution.aborted_by, id=execution.id)
    elif execution.may_still_run:
        reason = Reason.ZOMBIE_EXECUTION
    return hold(reason, join((ended, GOES_ON)), remedy=LOOK) if execution.may_still_run else hold(reason, ended)


def _why_unseen(turn: Turn) -> Unknown | None:
    """Why this observation can't show whether the execution still runs; None if it was seen running."""
    history, ours = turn.seen.history, turn.incident.execution
    if isinstance(history, Unknown):
        return history
    if ours is not None and (history.followed or any(execution.id == ours.id for execution in history.executions)):
        return None
    gone = Text("execution {id} is no longer in {runner}: it was deleted, or its job")
    return Unknown(gone.fill(id=ours.id if ours else "?", runner=turn.rules.runner))


def _watch_running(turn: Turn) -> None:
    incident, runbook = turn.incident, turn.runbook
    running_s = turn.at - _started_at(incident)
    if running_s > runbook.restart.max_run_s:
        detail = describe_zombie(incident.execution, running_s)
        return endings.escalate(turn, hold(Reason.ZOMBIE_EXECUTION, detail))
    reason = None if incident.reason is Reason.LEDGER_UNKNOWN else incident.reason
    turn.change(looked_at=turn.at, reason=reason, due=turn.at + runbook.verify.every_s)


def _started_at(incident: Incident) -> float:
    started_at = incident.execution.runner_started_at if incident.execution else None
    return incident.began_at if started_at is None else started_at - incident.runner_ahead_s


def _has_run_before(execution: Execution, turn: Turn) -> bool:
    """Whether the run that the job refused as too late is the runner's own retry of one that had failed."""
    executions = turn.history.executions if turn.history else ()
    others = (other for other in executions if other.tag == execution.tag and other.id != execution.id)
    return execution.retry_of_restart or any(other.ended and not other.refused for other in others)


def _note_execution(turn: Turn) -> Execution | None:
    """Note the execution and the end of its log as in the history now, otherwise as last known."""
    before, history = turn.incident.execution, turn.history
    if history is None:
        return before
    if history.tail is not None:
        turn.change_run(tail=history.tail)
    if before is None:
        return None
    current = history.followed or next((execution for execution in history.executions if execution.id == before.id), before)
    # The history may lag, so remember a retry instead of looking it up again.
    retried = before.retry_of_restart or (current.id != before.id and not before.late)
    over = current.over or (before.over and current.id == before.id)  # a log may be unreadable the next time
    current = replace(current, tag=current.tag or before.tag, retry_of_restart=retried, over=over)
    turn.change(execution=current)
    return current


def is_used_up(incident: Incident, runbook: Runbook) -> bool:
    """Whether the incident has had all its restarts."""
    return incident.restarts >= runbook.limits.attempts


def check_recovery(turn: Turn) -> None:
    """See whether the queues are healthy after the restart. The next attempt, or people, if they are not."""
    _note_execution(turn)
    runbook, age_s = turn.runbook, _age_s(turn)
    verify = runbook.verify
    if age_s < verify.first_s:
        return turn.change(due=turn.at + verify.first_s - age_s)
    # What a restart holds that a person approved is not kept on purpose.
    confirmed = bool(turn.incident.approval.approved_by)
    pairs = [(state, turn.since(state, age_s, confirmed=confirmed)) for state in turn.incident.queues]
    queues = tuple(judge_recovery(turn.runbook_of(state), turn.snapshot_of(state), state, since) for state, since in pairs)
    turn.change(queues=queues, looked_at=turn.at)
    if all(state.after.proven for state in queues):
        return endings.close(turn, Ending.RECOVERED, turn.card(CardKind.RECOVERED))
    if any(queue.after.verdict is Verdict.STUCK for queue in queues):
        return _after_failure(turn, queues)
    turn.change_approval(approved=None)  # what the next restart was approved for has passed
    joined_s = turn.at - max(state.joined_at for state in queues)
    if min(age_s, joined_s) >= verify.within_s:
        return _end_of_time(turn)
    left_s = max(verify.within_s - age_s, 0.0)
    turn.change(due=turn.at + (min(verify.every_s, left_s) or verify.every_s))


def _after_failure(turn: Turn, queues: tuple[QueueState, ...]) -> None:
    """The restart did not help: another one, or people. On the same message another would hang as well."""
    if turn.history is not None and unstopped(turn.guard_context()):  # it may still restart the application
        return _next_attempt(turn, STUCK)
    if survivor := find_survivor(queues):
        return endings.escalate(turn, hold(detail=say_survivor(survivor)))
    if find_same_again(queues):
        return endings.escalate(turn, hold(detail=SAME_AGAIN))
    if is_used_up(turn.incident, turn.runbook):
        return endings.escalate(turn, hold(detail=Text("it is still stuck")))
    _next_attempt(turn, STUCK)


def _age_s(turn: Turn) -> float:
    """Seconds since the restart ended, on the runner's clock, at least."""
    incident = turn.incident
    ended_at = incident.execution.runner_ended_at if incident.execution else None
    return turn.at + turn.ahead_s - ended_at - turn.clock_error_s if ended_at is not None else turn.at - incident.began_at


def _end_of_time(turn: Turn) -> None:
    incident, verify = turn.incident, turn.runbook.verify
    unproven = [state for state in incident.queues if not state.after.proven]
    runner_at = turn.at + incident.runner_ahead_s
    learned = turn.document.stalls
    works = (is_moving(turn.runbook_of(one), one, runner_at, learned.get(one.queue.key)) for one in unproven)
    if all(moves or state.after.well_at is not None for state, moves in zip(unproven, works, strict=True)):
        if any(state.after.well_at is not None or _stuck_since(incident, state) for state in unproven):
            # Either it was healthy once and the second check is still to come, or it may be stuck again.
            return turn.change(due=turn.at + verify.every_s)
        return endings.close(turn, Ending.RECOVERED, replace(turn.card(CardKind.RECOVERED), moving=True))
    if all(state.after.verdict is not Verdict.UNKNOWN for state in unproven):
        late = Text("not recovered within {minutes} min", minutes=verify.within_s / 60)
        return endings.escalate(turn, hold(detail=late))
    # Nothing shows whether the restart helped.
    readings = [(state.queue.name, turn.snapshot_of(state)) for state in unproven]
    unread = [(name, reading) for name, reading in readings if isinstance(reading, Unknown)]
    detail = join((Text("the queue could not be read"), *(named(name, reading.why) for name, reading in unread)))
    remedy = next((reading.remedy for _, reading in unread if reading.remedy), "")
    endings.escalate(turn, hold(Reason.SYMPTOM_UNKNOWN, detail, remedy=remedy))


def _stuck_since(incident: Incident, state: QueueState) -> bool:
    """Whether an alert of this queue began after it last moved: it may be stuck again, so `patience` applies."""
    moved_at = (state.after.moved_at or 0.0) - incident.runner_ahead_s
    return any(
        trigger.resolved_at is None and trigger.queue == state.queue.key and trigger.starts_at > moved_at
        for trigger in incident.triggers
    )


def _next_attempt(turn: Turn, how: How) -> None:
    """Decide about another restart. While a hold that ends by itself lasts, the incident keeps verifying."""
    incident = turn.incident
    execution = incident.execution
    tag = execution.tag or execution.id if execution else turn.tag
    tries, attempt = incident.tries, PastAttempt(tag, execution, how, incident.run.holder_host)
    if all(attempt.key != past.key for past in tries):  # otherwise it was verified again
        tries = (*tries, attempt)
    guard_context = turn.guard_context()
    guard_context = replace(guard_context, incident=replace(incident, tries=tries))
    decision, looked = decide(guard_context), tuple(state for _, state in guard_context.judged)
    if decision.kind is Kind.HOLD and (decision.again_in_s is not None or decision.reason is Reason.SYMPTOM_GONE):
        return _keep_verifying(turn, decision, looked)
    if how != STUCK and decision.kind is Kind.RESTART and (left_s := NODE_ANSWERS_S - _age_s(turn)) > 0:
        due = turn.at + min(turn.runbook.verify.every_s, left_s)
        return turn.change(phase=Phase.RUNNING, due=due, queues=_note_looks(turn, looked))
    turn.change(tries=tries)
    turn.enter(Phase.WAITING)


def _keep_verifying(turn: Turn, decision: Decision, looked: tuple[QueueState, ...]) -> None:
    """Wait for a hold that ends by itself, with a limit. Keeps the first of two checks that found the queues stuck."""
    verify = turn.runbook.verify
    time_s = verify.within_s + (waiting.GRACE_S if decision.reason is Reason.SYMPTOM_GONE else 0.0)
    if waiting.ends_at(turn, decision) is None and min(_age_s(turn), turn.at - turn.incident.began_at) >= time_s:
        return endings.escalate(turn, decision)
    if decision.reason in (Reason.ZOMBIE_EXECUTION, Reason.RUNNER_CLOCK):
        waiting.tell_wait(turn, decision)
    turn.change(due=turn.at + verify.every_s, queues=_note_looks(turn, looked))


def _note_looks(turn: Turn, looked: tuple[QueueState, ...]) -> tuple[QueueState, ...]:
    return tuple(replace(state, looks=new.looks) for state, new in zip(turn.incident.queues, looked, strict=True))
