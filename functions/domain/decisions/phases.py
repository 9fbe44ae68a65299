"""The phases of an incident. Each looks at the current state and decides what comes next."""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from functions.domain.decisions import endings, guards
from functions.domain.decisions.evidence import needs_evidence, note_evidence, order_evidence, wait_for_evidence
from functions.domain.decisions.guards import Decision, Kind, decide, hold, judge_queues
from functions.domain.decisions.matching import find_only_host
from functions.domain.decisions.messages import end_escalation
from functions.domain.decisions.observing import watch_observed
from functions.domain.decisions.turn import Turn, has_unseen, is_all_resolved
from functions.domain.health.looks import before_restart
from functions.domain.health.proofs import Judgement
from functions.domain.health.recovery import (
    Since,
    find_same_again,
    find_survivor,
    is_moving,
    judge_recovery,
    looks_well,
    say_same_again,
    say_survivor,
)
from functions.domain.model.codes import Action, Ending, Phase, Reason, Verdict
from functions.domain.model.events import Claim, Start, StartResult
from functions.domain.model.incidents import (
    REFUSED_LATE,
    STUCK,
    UNCLEAR,
    AfterRestart,
    Document,
    Doubt,
    How,
    Incident,
    PastAttempt,
    QueueState,
    failed,
)
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import EvidenceReading, Execution, ExecutionHistory, Unknown, figures_of
from functions.domain.model.runbooks import Runbook
from functions.domain.texts.words import duration, worded
from functions.runtime.text import Phrase, Text, join, named

SLOT_AGAIN_S = 1.0  # after a lost storm slot; for a crash only, since the process decides again immediately
FIRST_LOOK_S = 20.0  # when to look for a start whose answer was lost; `webhook` creates that wake-up before it decides

NO_ANSWER = Text("the answer to the start is lost")

NUMBER_ANEW_S = 60.0  # how long after `not_after` Unstick gives up an attempt that it can't find: the runner's history may lag


def run_phase(turn: Turn) -> None:
    """Take the next step of the incident's phase."""
    incident, history = turn.incident, turn.history
    ahead_s, page = incident.runner_ahead_s, incident.start_page or turn.seen.start_page
    if history is not None:  # its page has the options filled in
        ahead_s, page = history.runner_now - (turn.at if history.read_at is None else history.read_at), history.start_page or page
    turn.change(runner_ahead_s=ahead_s, start_page=page)
    if incident.runbook not in turn.rules.runbooks and incident.phase is not Phase.OBSERVING:
        gone = Text("the runbook {runbook} is no longer in the configuration", runbook=incident.runbook)
        return endings.escalate(turn, Reason.NO_RUNBOOK, gone)
    PHASES[incident.phase](turn)


def evaluate_guards(turn: Turn) -> None:
    """Evaluate the guards, and carry out their decision."""
    incident = turn.incident
    if is_all_resolved(incident) and incident.restarts == 0:
        return endings.end_as_held(turn, hold(Reason.NOT_FIRING))
    if incident.phase is Phase.DEFERRED and not turn.was_saved and has_unseen(turn.seen):
        return defer(turn)
    guard_context = turn.guard_context(approved=incident.approval.overruled)
    looked = judge_queues(guard_context)
    judged = tuple(judgement for judgement, _ in looked)
    queues = tuple(_note_verdict(watched, judgement) for judgement, watched in looked)
    if incident.restarts:  # what was held before the restart is compared with what is held after it
        queues = tuple(replace(one, held_by=before.held_by) for one, before in zip(queues, incident.queues, strict=True))
    turn.change(queues=queues)
    turn.document = clear_escalation_if_healthy(turn, turn.runbook)
    # With the queues before this observation, so that it counts once.
    decision = decide(replace(guard_context, document=turn.document))
    turn.change(reason=decision.reason, detail=decision.detail)
    if needs_evidence(turn, decision):
        return order_evidence(turn, judged)
    if decision.kind is Kind.ADOPT and decision.execution is not None:
        return _adopt(turn, decision.execution, decision.reason)
    if decision.kind is Kind.ASK:
        return endings.request_approval(turn, decision)
    if decision.kind is Kind.HOLD:
        return _hold(turn, decision)
    if sum(attempt.how == UNCLEAR for attempt in incident.tries) >= guards.MAX_UNCLEAR:
        return endings.escalate(turn, Reason.START_UNCLEAR, incident.run.unclear or NO_ANSWER)
    if incident.attempt >= guards.MAX_NUMBERED:
        return endings.escalate(turn, incident.reason, Text("numbered attempts: {count}", count=guards.MAX_NUMBERED))
    _order_start(turn, guard_context.history, judged)


def _hold(turn: Turn, decision: Decision) -> None:
    """Hold. What is healthy after a restart need not be told as a failure: it is verified, whatever helped."""
    ran = (past for past in reversed(turn.incident.tries) if past.execution is not None and not past.execution.refused)
    last = next(ran, None)
    if decision.reason is not Reason.SYMPTOM_GONE or last is None:
        return endings.handle_hold(turn, decision)
    turn.change(phase=Phase.VERIFYING, execution=last.execution)
    turn.change_run(holder_host=last.holder_host)
    turn.forget_followed()
    turn.answer(Action.HELD, None)
    _check_recovery(turn)


def clear_escalation_if_healthy(turn: Turn, runbook: Runbook | None) -> Document:
    """The document, without an escalation whose queues are all healthy, whoever fixed them."""
    document = turn.document
    if document.escalated_at is None or runbook is None:
        return document
    last = next((outcome for outcome in reversed(document.outcomes) if outcome.ending is Ending.ESCALATED), None)
    parts = [part.queues for part in (document.escalation, document.incident) if part is not None]
    queues = {watched.queue.key for part in parts for watched in part} | {queue.key for queue in (last.queues if last else ())}
    seen = [turn.seen.queues.get(key) for key in queues or turn.seen.queues.keys()]
    well = all(looks_well(runbook.recovered, one) for one in seen)
    return end_escalation(document) if well else document


def defer(turn: Turn, wait_s: float = 0.0) -> None:
    """Leave the decision to a wake-up, which has time to observe: immediately, or in `wait_s`."""
    turn.change(due=turn.at + wait_s)
    turn.answer(Action.DEFERRED, None)


def _order_start(turn: Turn, history: ExecutionHistory, judged: tuple[Judgement, ...]) -> None:
    within_s = turn.runbook.restart.start_within_s
    not_after = history.runner_now + within_s
    holder = turn.runbook.restart.holder
    host = find_only_host(holder, judged)
    if any(past.holder_host == host and past.execution is not None and past.execution.failed for past in turn.incident.tries):
        host = ""  # the job could not be limited to it; without the option all hosts are restarted
    if holder is not None and turn.document.target is not None:  # written for other runbooks, perhaps
        turn.document = replace(turn.document, target=replace(turn.document.target, holder=holder.option))
    queues = tuple(map(partial(_note_proof, turn), turn.incident.queues, judged))
    turn.change(phase=Phase.STARTING, attempt=turn.incident.attempt + 1, execution=None)
    turn.change(queues=queues, due=turn.due_within(FIRST_LOOK_S))
    turn.change_run(runner_not_after=not_after, unclear="", adopted=False, holder_host=host, tail=None)
    turn.change_approval(nonce="")
    if turn.incident.restarts == 0 and not isinstance(turn.seen.storm, Unknown):
        turn.acts.append(Claim(turn.at))
    turn.acts.append(Start(turn.tag, not_after, within_s, {holder.option: host} if holder and host else {}))
    turn.answer(Action.RESTARTED, None)


def _note_verdict(watched: QueueState, judged: Judgement) -> QueueState:
    """Note in the queue the verdict that the restart, or the question, rests on."""
    if judged.proof is None:
        return watched
    held_by = tuple(replace(channel, work=(), redeliveries=()) for channel in judged.held_by)
    return replace(watched, proof=judged.proof, held_by=held_by, doubt=Doubt(judged.against, judged.settle))


def _note_proof(turn: Turn, watched: QueueState, judged: Judgement) -> QueueState:
    seen = figures_of(turn.snapshot_of(watched))
    before = before_restart(seen) if seen is not None else watched.before
    watched = watched if judged.proof else replace(watched, proof=None, held_by=(), doubt=Doubt())
    return replace(_note_verdict(watched, judged), before=before)


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
        _handle_busy(turn, event.refusal)
    else:
        again_in_s = turn.runbook.verify.every_s if event.passive else None
        endings.handle_hold(turn, hold(Reason.RESTART_REFUSED, event.refusal, again_in_s, remedy=event.remedy))


def _end_as_mismatch(turn: Turn, execution: Execution, event: StartResult) -> None:
    text = Text("execution {id} ran with options that were not sent; after the abort {runner} shows it as {status}")
    if event.refusal:
        text = Text("execution {id} runs with options that were not sent, and was not aborted: {why}")
    status, runner = worded(execution.status), turn.rules.runner
    detail = text.fill(id=execution.id, why=event.refusal, status=status, runner=runner)
    endings.escalate(turn, Reason.RESTART_REFUSED, detail, remedy=event.remedy, about=execution)


def _handle_unsent(turn: Turn, unsent: Reason, event: StartResult) -> None:
    """Nothing was sent: the kill switch is on, another target took the storm slot, something could not be read, or the
    observation was too old."""
    if unsent is Reason.PAUSED or event.unread:
        again_in_s = turn.runbook.verify.every_s if event.unread else None
        return endings.handle_hold(turn, hold(unsent, event.refusal, again_in_s, tell=not event.unread))
    if turn.at >= endings.deadline_of(turn.incident, turn.runbook):
        return endings.escalate(turn, unsent, event.refusal)
    turn.change(phase=Phase.DEFERRED)
    defer(turn, SLOT_AGAIN_S if unsent is Reason.TOO_MANY_TARGETS else 0.0)


def _handle_busy(turn: Turn, detail: Phrase) -> None:
    """The runner answers that the job is busy: adopt a run of this target, otherwise wait."""
    history = turn.history or ExecutionHistory(0.0)
    for execution in history.executions:
        if not execution.ended and not execution.scheduled:
            return _adopt(turn, execution, Reason.ALREADY_RUNNING)
    other = next((one for one in history.others if not one.scheduled), None)
    endings.handle_hold(turn, hold(Reason.JOB_BUSY, detail, again_in_s=turn.runbook.verify.every_s, execution=other))


def _check_asked(turn: Turn) -> None:
    expires_at = turn.incident.approval.expires_at
    if expires_at is None or turn.at >= expires_at:
        return endings.end_as_not_approved(turn)
    if turn.incident.reason is not Reason.LIKELY_STUCK:
        return turn.change(due=expires_at)
    # It may be proved by now, or have passed.
    decision = decide(turn.guard_context())
    if decision.reason in (Reason.LIKELY_STUCK, Reason.SYMPTOM_UNKNOWN, Reason.LEDGER_UNKNOWN, Reason.PAUSED):
        return turn.change(due=min(turn.at + turn.runbook.verify.every_s, expires_at))
    turn.withdraw_question()
    evaluate_guards(turn)


def _check_evidence(turn: Turn) -> None:
    reading = turn.seen.evidence or EvidenceReading()
    if reading.awaited:
        return wait_for_evidence(turn, reading)
    note_evidence(turn, reading)
    turn.change(phase=Phase.WAITING)
    evaluate_guards(turn)


def _check_start(turn: Turn) -> None:
    """Find out from the history whether the job was started; notify people as soon as it can't be seen."""
    turn.change(queues=turn.note_figures(turn.incident.queues))
    history = turn.seen.history
    if isinstance(history, Unknown):
        return endings.look_again(turn, history)
    own_executions = (execution for execution in history.executions if execution.tag == turn.tag)
    first = min(own_executions, key=lambda execution: execution.runner_started_at or 0.0, default=None)
    if first is not None:
        return _follow(turn, first, Action.RESTARTED)
    left_s = (turn.incident.run.runner_not_after or 0.0) + NUMBER_ANEW_S - history.runner_now
    if left_s >= 0:
        unclear = turn.incident.run.unclear or NO_ANSWER
        turn.change(reason=Reason.START_UNCLEAR, detail=unclear)
        endings.tell_wait(turn, hold(Reason.START_UNCLEAR, unclear))
        return defer(turn, left_s + 1)
    tries = (*turn.incident.tries, PastAttempt(turn.tag, None, UNCLEAR))
    turn.change(phase=Phase.WAITING, tries=tries)
    evaluate_guards(turn)


def _adopt(turn: Turn, execution: Execution, reason: Reason | None) -> None:
    incident, history = turn.incident, turn.history
    own = execution.tag.startswith(f"{incident.id}.")
    if not own and history is not None:
        began_at = incident.newest_alert_at + incident.runner_ahead_s
        others = (restart for restart in guards.count_as_restarts(history) if restart.id != execution.id)
        earlier = sum((restart.runner_started_at or 0.0) >= began_at - guards.SAME_CAUSE_S for restart in others)
        turn.change(restarts=max(incident.restarts, earlier))
    turn.change_run(adopted=not own, holder_host=incident.run.holder_host if own else "")
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
        turn.post(turn.card(CardKind.STARTED, reason), f"{incident.id}-started-{execution.id}")
    if execution.ended:
        turn.forget_followed()
        _check_run(turn)


def _check_run(turn: Turn) -> None:
    execution = _note_execution(turn)
    if execution is None or not execution.ended:
        turn.change(queues=turn.note_figures(turn.incident.queues))
        unseen = _why_unseen(turn)
        return _watch_running(turn) if unseen is None else _wait_unseen(turn, unseen)
    if execution.aborted_by or execution.abandoned:
        code, why = _explain_failure(execution)
        return endings.escalate(turn, code, join((why, _say_if_healthy(turn) if execution.abandoned else "")))
    if execution.refused and not _has_run_before(execution, turn):
        tries = (*turn.incident.tries, PastAttempt(execution.tag, execution, REFUSED_LATE, turn.incident.run.holder_host))
        turn.change(phase=Phase.WAITING, execution=None, tries=tries, restarts=turn.incident.restarts - 1)
        return evaluate_guards(turn)
    queues = (replace(watched, after=AfterRestart()) for watched in turn.incident.queues)
    turn.change(phase=Phase.VERIFYING, queues=tuple(queues))
    if execution.succeeded:
        return _check_recovery(turn)
    # The job failed. The queue may have recovered anyway; otherwise the next attempt is decided.
    if is_used_up(turn.incident, turn.runbook):
        return endings.escalate(turn, *_explain_failure(execution))
    _next_attempt(turn, failed(execution))


def _explain_failure(execution: Execution) -> tuple[Reason, Phrase]:
    """Why an execution that failed or was aborted is handed to people, and the details."""
    if execution.abandoned:
        gone = Text("execution {id} is gone and left no end, so nobody knows how far it came", id=execution.id)
        return Reason.LEDGER_UNKNOWN, gone
    if execution.aborted_by:
        return Reason.ABORTED, Text("{user} aborted execution {id}", user=execution.aborted_by, id=execution.id)
    return Reason.FAILING, Text("the job ended as {status}", status=worded(execution.status))


def _why_unseen(turn: Turn) -> Unknown | None:
    """Why this observation can't show whether the execution still runs; None if it was seen running."""
    history, known = turn.seen.history, turn.incident.execution
    if isinstance(history, Unknown):
        return history
    if known is not None and (history.followed or any(one.id == known.id for one in history.executions)):
        return None
    gone = Text("execution {id} is no longer in {runner}: it was deleted, or its job")
    return Unknown(gone.fill(id=known.id if known else "?", runner=turn.rules.runner))


def _watch_running(turn: Turn) -> None:
    incident, runbook = turn.incident, turn.runbook
    running_s = turn.at - _started_at(incident)
    if running_s > runbook.restart.max_run_s or (incident.execution is not None and incident.execution.abandoned):
        detail = guards.describe_zombie(turn.rules.runner, incident.execution, running_s)
        return endings.escalate(turn, Reason.ZOMBIE_EXECUTION, join((detail, _say_if_healthy(turn))))
    reason = None if incident.reason is Reason.LEDGER_UNKNOWN else incident.reason
    turn.change(looked_at=turn.at, reason=reason, due=turn.at + runbook.verify.every_s)


def _wait_unseen(turn: Turn, unseen: Unknown) -> None:
    """It is unknown whether the execution still runs: check again, notify people, and escalate long after `max_run`."""
    incident, verify = turn.incident, turn.runbook.verify
    deadline = _started_at(incident) + turn.runbook.restart.max_run_s + verify.within_s + endings.GRACE_S
    unseen_s = turn.at - (incident.looked_at or incident.began_at)
    last_seen = Text("the restart was last seen running {age} ago", age=duration(unseen_s))
    detail = join((unseen.why, last_seen, _say_if_healthy(turn)))
    if turn.at >= deadline:
        return endings.escalate(turn, Reason.LEDGER_UNKNOWN, detail, remedy=unseen.remedy)
    turn.change(reason=Reason.LEDGER_UNKNOWN, detail=detail, due=min(turn.at + verify.every_s, deadline))
    if unseen_s >= verify.within_s or unseen.remedy:
        endings.tell_wait(turn, hold(Reason.LEDGER_UNKNOWN, detail, remedy=unseen.remedy), "-unseen")


def _started_at(incident: Incident) -> float:
    started_at = incident.execution.runner_started_at if incident.execution else None
    return incident.began_at if started_at is None else started_at - incident.runner_ahead_s


def _say_if_healthy(turn: Turn) -> Phrase:
    queues = turn.incident.queues
    well = all(looks_well(turn.runbook_of(watched).recovered, turn.snapshot_of(watched)) for watched in queues)
    return Text("the queue looks healthy") if queues and well else ""


def _has_run_before(execution: Execution, turn: Turn) -> bool:
    """Whether the run that the job refused as too late is the runner's own retry of one that had failed."""
    known = turn.history.executions if turn.history else ()
    ran = (other for other in known if other.tag == execution.tag and other.id != execution.id)
    return execution.retry_of_restart or any(other.ended and not other.refused for other in ran)


def _note_execution(turn: Turn) -> Execution | None:
    """Note the execution and the end of its log as in the history now, otherwise as last known."""
    known, history = turn.incident.execution, turn.history
    if history is None:
        return known
    if history.tail is not None:
        turn.change_run(tail=history.tail)
    if known is None:
        return None
    current = history.followed or next((one for one in history.executions if one.id == known.id), known)
    # The history may lag, so remember a retry instead of looking it up again.
    retried = known.retry_of_restart or (current.id != known.id and not known.late)
    current = replace(current, tag=current.tag or known.tag, retry_of_restart=retried)
    turn.change(execution=current)
    turn.change_run(beside=_find_beside(history, current) or turn.incident.run.beside)
    return current


def _find_beside(history: ExecutionHistory, ours: Execution) -> Phrase:
    """Name another restart of the target that ran at the same time as ours; empty if there was none."""
    began, ended = ours.runner_started_at, ours.runner_ended_at or history.runner_now
    for one in guards.count_as_restarts(history):
        own = one.id == ours.id or bool(one.tag and one.tag == ours.tag)  # Rundeck's own retry has the same tag
        started = one.runner_started_at
        if own or one.is_evidence or began is None or started is None or started > ended:
            continue
        if (one.runner_ended_at or history.runner_now) >= began:
            return Text("execution {id} by {user}", id=one.id, user=one.user or "?")
    return ""


def is_used_up(incident: Incident, runbook: Runbook) -> bool:
    """Whether the incident has had all its restarts."""
    return incident.restarts >= runbook.limits.attempts


def _check_recovery(turn: Turn) -> None:
    _note_execution(turn)
    runbook, age_s = turn.runbook, _age_s(turn)
    verify = runbook.verify
    if age_s < verify.first_s:
        return turn.change(due=turn.at + verify.first_s - age_s)
    since = Since(age_s, turn.at, turn.incident.runner_ahead_s, confirmed=turn.is_confirmed)
    looked = ((watched, turn.runbook_of(watched), turn.snapshot_of(watched)) for watched in turn.incident.queues)
    queues = tuple(judge_recovery(book, seen, watched, since) for watched, book, seen in looked)
    turn.change(queues=queues, looked_at=turn.at)
    if not _unproven(turn.incident, runbook):
        return turn.close(Ending.RECOVERED, turn.card(CardKind.RECOVERED))
    if any(queue.after.verdict is Verdict.STUCK for queue in queues):
        return _after_failure(turn, queues)
    turn.change_approval(overruled=False)  # what the next restart was approved for has passed
    joined_s = turn.at - max(watched.joined_at for watched in queues)
    if min(age_s, joined_s) >= verify.within_s:
        return _end_of_time(turn)
    left_s = max(verify.within_s - age_s, 0.0)
    turn.change(due=turn.at + (min(verify.every_s, left_s) or verify.every_s))
    _announce_draining(turn, age_s)


def _after_failure(turn: Turn, queues: tuple[QueueState, ...]) -> None:
    """The restart did not help: another one, or people. On the same message another would hang as well."""
    if survivor := find_survivor(queues):
        return endings.escalate(turn, None, say_survivor(survivor))
    if find_same_again(queues):
        return endings.escalate(turn, None, say_same_again(queues))
    if is_used_up(turn.incident, turn.runbook):
        return endings.escalate(turn, None, Text("it is still stuck"))
    _next_attempt(turn, STUCK)


def _age_s(turn: Turn) -> float:
    """Seconds since the restart ended, on the runner's clock."""
    incident = turn.incident
    ended_at = incident.execution.runner_ended_at if incident.execution else None
    return turn.at + incident.runner_ahead_s - ended_at if ended_at is not None else turn.at - incident.began_at


def _unproven(incident: Incident, runbook: Runbook) -> list[QueueState]:
    """The queues that were not yet healthy in two checks, `every` apart."""
    return [
        watched
        for watched in incident.queues
        if (after := watched.after).well_at is None or (after.looked_at or after.well_at) - after.well_at < runbook.verify.every_s
    ]


def _announce_draining(turn: Turn, age_s: float) -> None:
    """Report once per restart that the queue drains slowly."""
    incident = turn.incident
    verdicts = {watched.after.verdict for watched in incident.queues}
    mark = f"{incident.id}-draining-{incident.execution.id if incident.execution else incident.attempt}"
    drains = Verdict.DRAINING in verdicts and verdicts <= {Verdict.DRAINING, Verdict.RECOVERED}
    if drains and age_s >= turn.runbook.verify.patience_s and incident.run.draining_told != mark:
        turn.change_run(draining_told=mark)
        turn.post(turn.card(CardKind.DRAINING), mark)


def _end_of_time(turn: Turn) -> None:
    incident, runbook = turn.incident, turn.runbook
    unproven = _unproven(incident, runbook)
    runner_at = turn.at + incident.runner_ahead_s
    if all(watched.after.well_at is not None or is_moving(runbook, watched, runner_at) for watched in unproven):
        if any(watched.after.well_at is not None or _stuck_since(incident, watched) for watched in unproven):
            # Either it was healthy once and the second check is still to come, or it may be stuck again.
            return turn.change(due=turn.at + runbook.verify.every_s)
        return turn.close(Ending.RECOVERED, replace(turn.card(CardKind.RECOVERED), moving=True))
    if all(watched.after.verdict is not Verdict.UNKNOWN for watched in unproven):
        return endings.escalate(turn, None, Text("not recovered within {minutes} min", minutes=runbook.verify.within_s / 60))
    # Nothing shows whether the restart helped.
    seen = [(watched.queue.name, turn.snapshot_of(watched)) for watched in unproven]
    unread = [(name, one) for name, one in seen if isinstance(one, Unknown)]
    detail = join((Text("the queue could not be read"), *(named(name, one.why) for name, one in unread)))
    endings.escalate(turn, Reason.SYMPTOM_UNKNOWN, detail, remedy=next((one.remedy for _, one in unread if one.remedy), ""))


def _stuck_since(incident: Incident, watched: QueueState) -> bool:
    """Whether an alert of this queue began after it last moved: it may be stuck again, so `patience` applies."""
    moved_at = (watched.after.moved_at or 0.0) - incident.runner_ahead_s
    return any(
        trigger.resolved_at is None and trigger.queue == watched.queue.key and trigger.starts_at > moved_at
        for trigger in incident.triggers
    )


def _next_attempt(turn: Turn, how: How) -> None:
    """Decide about another restart. While a hold that ends by itself lasts, the incident keeps verifying."""
    incident = turn.incident
    execution = incident.execution
    tag = execution.tag or execution.id if execution else turn.tag
    tries = incident.tries
    known = {(past.tag, past.execution.id if past.execution else "") for past in tries}  # Rundeck's own retry has the same tag
    if (tag, execution.id if execution else "") not in known:  # otherwise it was verified again
        tries = (*tries, PastAttempt(tag, execution, how, incident.run.holder_host))
    guard_context = turn.guard_context(approved=incident.approval.overruled)
    guard_context = replace(guard_context, incident=replace(incident, tries=tries))
    decision = decide(guard_context)
    if decision.kind is Kind.HOLD and (decision.again_in_s is not None or decision.reason is Reason.SYMPTOM_GONE):
        return _keep_verifying(turn, decision, tuple(watched for _, watched in judge_queues(guard_context)))
    turn.change(tries=tries, phase=Phase.WAITING)
    evaluate_guards(turn)


def _keep_verifying(turn: Turn, decision: Decision, looked: tuple[QueueState, ...]) -> None:
    """Wait for a hold that ends by itself, with a limit. Keeps the first of two checks that found the queues stuck."""
    verify = turn.runbook.verify
    time_s = verify.within_s + (endings.GRACE_S if decision.reason is Reason.SYMPTOM_GONE else 0.0)
    if min(_age_s(turn), turn.at - turn.incident.began_at) >= time_s:
        return endings.escalate(turn, decision.reason, decision.detail, remedy=decision.remedy, about=decision.execution)
    queues = zip(turn.incident.queues, looked, strict=True)
    turn.change(due=turn.at + verify.every_s, queues=tuple(replace(watched, looks=new.looks) for watched, new in queues))


PHASES: Mapping[Phase, Callable[[Turn], None]] = {
    Phase.DEFERRED: evaluate_guards,
    Phase.WAITING: evaluate_guards,
    Phase.COLLECTING: _check_evidence,
    Phase.ASKED: _check_asked,
    Phase.STARTING: _check_start,
    Phase.RUNNING: _check_run,
    Phase.VERIFYING: _check_recovery,
    Phase.OBSERVING: watch_observed,
}
