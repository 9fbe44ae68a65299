"""The phases of an incident. Each looks at the current state and says what comes next."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions import health as judge
from functions.domain.decisions.context import StepContext, has_unseen, is_all_resolved, reply_for_incident
from functions.domain.decisions.endings import (
    GRACE_S,
    deadline_of,
    end_as_held,
    end_as_not_approved,
    end_as_recovered,
    escalate,
    handle_hold,
    hold_card,
    look_again,
    request_approval,
)
from functions.domain.decisions.evidence import needs_evidence, note_evidence, order_evidence, wait_for_evidence
from functions.domain.decisions.guards import (
    MAX_NUMBERED,
    SAME_CAUSE_S,
    GuardContext,
    Kind,
    claim_storm_slot,
    count_as_restarts,
    decide,
    hold,
    update_queues,
)
from functions.domain.decisions.messages import channels_for, end_escalation, enqueue_hold, enqueue_message
from functions.domain.decisions.observing import watch_observed
from functions.domain.model.bounds import before_restart
from functions.domain.model.codes import Action, Ending, Phase, Reason, Verdict
from functions.domain.model.events import Abort, Claim, Start, StartResult, Step
from functions.domain.model.incidents import AfterRestart, Document, Incident, PastAttempt, QueueState
from functions.domain.model.observations import NOT_CHECKED, EvidenceReading, Execution, ExecutionHistory, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Runbook
from functions.domain.texts.words import duration, worded
from functions.runtime.text import Phrase, Text, join

SLOT_AGAIN_S = 1.0
"""After a lost storm slot. The process that lost it decides anew at once, so the wake-up is only for one that is gone."""

FIRST_LOOK_S = 20.0
"""How long after a start Unstick checks for it, if its answer was lost. `webhook` creates that wake-up before it decides."""

NUMBER_ANEW_S = 60.0
"""How long after `not_after` Unstick gives up an attempt that it can't find: the runner's history may lag."""


def run_phase(document: Document, incident: Incident, context: StepContext) -> Step:
    """Take the next step of the incident's phase."""
    incident = replace(incident, runner_ahead_s=_ahead_s(incident, context), start_page=_start_page(incident, context))
    if incident.phase is Phase.OBSERVING:
        return watch_observed(document, incident, context)
    runbook = context.rules.runbooks.get(incident.runbook)
    if runbook is None:
        gone = Text("the runbook {runbook} is no longer in the configuration", runbook=incident.runbook)
        return escalate(document, incident, None, context, Reason.NO_RUNBOOK, gone)
    match incident.phase:
        case Phase.STARTING:
            return _check_start(document, incident, runbook, context)
        case Phase.RUNNING:
            return _check_run(document, incident, runbook, context)
        case Phase.VERIFYING:
            return _check_recovery(document, incident, runbook, context)
        case Phase.COLLECTING:
            return _check_evidence(document, incident, context)
        case Phase.ASKED:
            return _check_asked(document, incident, runbook, context)
        case _:
            return evaluate_guards(document, incident, context)


def evaluate_guards(document: Document, incident: Incident, context: StepContext) -> Step:
    """Evaluate the guards, and act on their decision."""
    runbook = context.rules.runbooks[incident.runbook]
    if is_all_resolved(incident) and incident.restarts == 0:
        return end_as_held(document, incident, runbook, context, hold(Reason.NOT_FIRING))
    if incident.phase is Phase.DEFERRED and not context.was_saved and has_unseen(context):
        return defer(document, incident, runbook, context)
    guard_context = GuardContext(
        context.rules, runbook, document, incident, context.seen, context.at, approved=incident.overruled
    )
    incident = replace(incident, queues=update_queues(guard_context))
    document = clear_escalation_if_healthy(replace(document, incident=incident), runbook, context)
    decision = decide(replace(guard_context, document=document))  # on the queues before this observation, which counts once
    last_reason = incident.reason
    incident = replace(incident, reason=decision.reason, detail=decision.detail)
    if needs_evidence(document, incident, runbook, context, decision):
        return order_evidence(document, incident, runbook, context)
    if decision.kind is Kind.ADOPT and decision.execution is not None:
        return _adopt(document, incident, runbook, context, decision.execution, decision.reason)
    if decision.kind is Kind.ASK:
        return request_approval(document, incident, runbook, context, decision)
    if decision.kind is Kind.HOLD:
        return handle_hold(document, incident, runbook, context, decision)
    if incident.attempt >= MAX_NUMBERED:
        return escalate(document, incident, runbook, context, last_reason, Text("numbered attempts: {count}", count=MAX_NUMBERED))
    return _order_start(document, incident, runbook, context, guard_context)


def guard_still_blocks(document: Document, incident: Incident, context: StepContext) -> bool:
    """Whether the guard that held the incident still objects."""
    runbook = context.rules.runbooks[incident.runbook]
    document = clear_escalation_if_healthy(document, runbook, context)
    decision = decide(GuardContext(context.rules, runbook, document, incident, context.seen, context.at))
    return decision.kind is Kind.HOLD and decision.reason is incident.reason


def clear_escalation_if_healthy(document: Document, runbook: Runbook | None, context: StepContext) -> Document:
    """End an escalation when all its queues are healthy, whoever fixed them."""
    if document.escalated_at is None or runbook is None:
        return document
    last = next((outcome for outcome in reversed(document.outcomes) if outcome.ending is Ending.ESCALATED), None)
    queues = {queue.key for queue in last.queues} if last else set()
    queues |= {watched.queue.key for watched in document.incident.queues} if document.incident else set()
    for key in queues or context.seen.queues.keys():
        seen = context.seen.queues.get(key)
        if not isinstance(seen, QueueSnapshot) or not judge.is_well(runbook.recovered, seen.depth, seen.consumers):
            return document
    return end_escalation(document)


def defer(document: Document, incident: Incident, runbook: Runbook, context: StepContext, wait_s: float = 0.0) -> Step:
    """Leave the decision to a wake-up, which has time to observe: an immediate one, or one in `wait_s`."""
    incident = replace(incident, due=context.at + wait_s)
    reply = reply_for_incident(document, incident, runbook, Action.DEFERRED, None)
    return Step(replace(document, incident=incident), reply=reply)


def _order_start(
    document: Document, incident: Incident, runbook: Runbook, context: StepContext, guard_context: GuardContext
) -> Step:
    """No guard objects: record the attempt and order the start."""
    number = incident.attempt + 1
    within_s = runbook.restart.start_within_s
    not_after = guard_context.ledger.runner_now + within_s
    queues = tuple(
        replace(
            watched,
            before=before_restart(seen)
            if isinstance(seen := context.seen.queues.get(watched.queue.key), QueueSnapshot)
            else watched.before,
        )
        for watched in incident.queues
    )
    incident = replace(
        incident,
        phase=Phase.STARTING,
        attempt=number,
        runner_not_after=not_after,
        execution=None,
        adopted=False,
        queues=queues,
        due=context.due_within(FIRST_LOOK_S),
        nonce="",
        tail=None,
    )
    storm, start = claim_storm_slot(guard_context), Start(f"{incident.id}.{number}", not_after, within_s)
    acts = (start,) if storm is None else (Claim(storm), start)
    reply = reply_for_incident(document, incident, runbook, Action.RESTARTED, None)
    return Step(replace(document, incident=incident), acts, reply)


def on_start_result(document: Document, event: StartResult, context: StepContext) -> Step:
    """Continue with the result of starting the job."""
    incident = document.incident
    if incident is None or incident.phase is not Phase.STARTING or event.tag != f"{incident.id}.{incident.attempt}":
        return Step(document)
    runbook = context.rules.runbooks[incident.runbook]
    if event.mismatch:
        detail = Text("execution {id} runs with options that were not sent; it is being aborted", id=event.refusal)
        reason, started_at = Reason.RESTART_REFUSED, context.at + incident.runner_ahead_s
        execution = Execution(str(event.refusal), event.link, "running", runner_started_at=started_at, tag=event.tag)
        escalated = escalate(document, incident, runbook, context, reason, detail, remedy=event.remedy, about=execution)
        return replace(escalated, acts=(Abort(str(event.refusal)),))
    if event.execution is not None:
        return _follow(document, incident, runbook, context, event.execution, Action.RESTARTED)
    unstarted = replace(incident, attempt=incident.attempt - 1, phase=Phase.WAITING, runner_not_after=None)
    if event.unsent is not None:
        return _handle_unsent(document, unstarted, runbook, context, event)
    if event.busy:
        return _handle_busy(document, unstarted, runbook, context, event.refusal)
    if event.refusal:
        refused = hold(Reason.RESTART_REFUSED, event.refusal, remedy=event.remedy)
        return handle_hold(document, unstarted, runbook, context, refused)
    return Step(document, reply=reply_for_incident(document, incident, runbook, Action.DEFERRED, None))


def _handle_unsent(document: Document, incident: Incident, runbook: Runbook, context: StepContext, event: StartResult) -> Step:
    """Unstick sent nothing: the kill switch is on, another target took the storm slot, something could not be read, or the
    observation was too old."""
    if event.unsent is Reason.PAUSED or event.unread:
        again_in_s = runbook.verify.every_s if event.unread else None
        decision = hold(event.unsent, event.refusal, again_in_s, tell=not event.unread)
        return handle_hold(document, incident, runbook, context, decision)
    if context.at >= deadline_of(incident, runbook):
        return escalate(document, incident, runbook, context, event.unsent, event.refusal)
    wait_s = SLOT_AGAIN_S if event.unsent is Reason.TOO_MANY_TARGETS else 0.0
    return defer(document, replace(incident, phase=Phase.DEFERRED), runbook, context, wait_s)


def _handle_busy(document: Document, incident: Incident, runbook: Runbook, context: StepContext, detail: Phrase) -> Step:
    """The runner says that the job is busy: adopt a run of this target, otherwise wait."""
    other = None
    if isinstance(context.ledger, ExecutionHistory):
        for execution in context.ledger.executions:
            if not execution.ended and not execution.scheduled:
                return _adopt(document, incident, runbook, context, execution, Reason.ALREADY_RUNNING)
        other = next((one for one in context.ledger.others if not one.scheduled), None)
    busy = hold(Reason.JOB_BUSY, detail, again_in_s=runbook.verify.every_s, execution=other)
    return handle_hold(document, incident, runbook, context, busy)


def _ahead_s(incident: Incident, context: StepContext) -> float:
    """How far the runner's clock is ahead of ours: as just observed, otherwise as last known."""
    if not isinstance(context.ledger, ExecutionHistory):
        return incident.runner_ahead_s
    return context.ledger.runner_now - (context.ledger.read_at if context.ledger.read_at is not None else context.at)


def _start_page(incident: Incident, context: StepContext) -> str:
    """Where people start the job by hand; with the options filled in, if the history could ever be read."""
    known = context.ledger.start_page if isinstance(context.ledger, ExecutionHistory) else ""
    return known or incident.start_page or context.seen.start_page


def _check_asked(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """Wait for a person until the link expires."""
    if incident.expires_at is None or context.at >= incident.expires_at:
        return end_as_not_approved(document, incident, runbook, context)
    return Step(replace(document, incident=replace(incident, due=incident.expires_at)))


def _check_evidence(document: Document, incident: Incident, context: StepContext) -> Step:
    """Wait for the end of the evidence run, at most `within`; then decide by what is seen now."""
    reading = context.seen.evidence or EvidenceReading()
    if reading.awaited:
        return wait_for_evidence(document, incident, reading, context)
    incident, acts = note_evidence(replace(incident, phase=Phase.WAITING), reading, context.at)
    decided = evaluate_guards(document, incident, context)
    return replace(decided, acts=(*acts, *decided.acts))


def _check_start(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """Find out from the history whether the job was started."""
    if isinstance(context.ledger, Unknown):
        return look_again(document, incident, runbook, context, context.ledger)
    tag = f"{incident.id}.{incident.attempt}"
    own_executions = sorted(
        (execution for execution in context.ledger.executions if execution.tag == tag),
        key=lambda execution: execution.runner_started_at or 0.0,
    )
    if own_executions:
        return _follow(document, incident, runbook, context, own_executions[0], Action.RESTARTED)
    left_s = (incident.runner_not_after or 0.0) + NUMBER_ANEW_S - context.ledger.runner_now
    if left_s >= 0:
        return defer(document, incident, runbook, context, left_s + 1)
    return evaluate_guards(document, replace(incident, phase=Phase.WAITING), context)


def _adopt(
    document: Document, incident: Incident, runbook: Runbook, context: StepContext, execution: Execution, reason: Reason | None
) -> Step:
    own = execution.tag.startswith(f"{incident.id}.")
    action = Action.RESTARTED if own else Action.ADOPTED
    if not own and isinstance(context.ledger, ExecutionHistory):
        began_at = max((trigger.starts_at for trigger in incident.triggers), default=incident.began_at) + incident.runner_ahead_s
        earlier = [
            restart
            for restart in count_as_restarts(context.ledger)
            if restart.id != execution.id and (restart.runner_started_at or 0.0) >= began_at - SAME_CAUSE_S
        ]
        incident = replace(incident, restarts=max(incident.restarts, len(earlier)))
    return _follow(document, replace(incident, adopted=not own), runbook, context, execution, action, reason=reason)


def _follow(
    document: Document,
    incident: Incident,
    runbook: Runbook,
    context: StepContext,
    execution: Execution,
    action: Action,
    *,
    reason: Reason | None = None,
) -> Step:
    """Follow this execution from now on."""
    due = context.at + runbook.verify.every_s
    due = min(incident.due, due) if incident.due > context.at else due
    incident = replace(
        incident,
        phase=Phase.RUNNING,
        overruled=False,
        execution=execution,
        restarts=incident.restarts + 1,
        reason=reason,
        due=due,
        looked_at=context.at,
        tail=None,
    )
    document = replace(document, incident=incident)
    reply = reply_for_incident(document, incident, runbook, action, reason)
    if execution.ended:
        checked = _check_run(document, incident, runbook, _without_followed(context))
        return checked if checked.reply else replace(checked, reply=reply)
    card_input = CardInput("started", context.at, runbook, document.target, incident, reason, late_s=context.late_s)
    mark = f"{incident.id}-started-{execution.id}"
    return Step(enqueue_message(document, context.rules, card_input, channels_for(context.rules, runbook), mark), reply=reply)


def _without_followed(context: StepContext) -> StepContext:
    """The observation without the execution that it followed, since the incident has just turned to another one."""
    if isinstance(context.ledger, Unknown):
        return context
    return replace(context, seen=replace(context.seen, ledger=replace(context.ledger, followed=None, tail=None)))


def _check_run(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    execution = _current(incident, context)
    incident = replace(incident, execution=execution, tail=_tail(incident, context))
    if execution is None or not execution.ended:
        unseen = _why_unseen(incident, context)
        if unseen is None:
            return _watch_running(document, incident, runbook, context)
        return _wait_unseen(document, incident, runbook, context, unseen)
    if execution.refused and not _has_run_before(execution, context):
        tries = (*incident.tries, PastAttempt(execution.tag, execution, "refused_late"))
        again = replace(incident, phase=Phase.WAITING, execution=None, tries=tries, restarts=incident.restarts - 1)
        return evaluate_guards(document, again, context)
    queues = tuple(
        # Its newest sample may be one that was seen before this restart.
        replace(watched, after=AfterRestart(sample_at=watched.after.sample_at))
        for watched in incident.queues
    )
    verifying = replace(incident, phase=Phase.VERIFYING, queues=queues)
    if not execution.succeeded:
        return _handle_failed_job(document, verifying, runbook, context)
    return _check_recovery(document, verifying, runbook, context)


def _why_unseen(incident: Incident, context: StepContext) -> Unknown | None:
    """Why this observation can't tell whether the execution still runs; None if it was seen running."""
    if isinstance(context.ledger, Unknown):
        return context.ledger
    known = incident.execution
    if known is not None and (context.ledger.followed or any(one.id == known.id for one in context.ledger.executions)):
        return None
    return Unknown(Text("execution {id} is not in Rundeck's history", id=known.id if known else "?"))


def _watch_running(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """It is running: check again, until `max_run`."""
    running_s = context.at - _started_at(incident)
    if running_s > runbook.restart.max_run_s:
        execution = incident.execution.id if incident.execution else "?"
        detail = Text("execution {id} has been running for {age}", id=execution, age=duration(running_s))
        return escalate(document, incident, runbook, context, Reason.ZOMBIE_EXECUTION, detail)
    reason = None if incident.reason is Reason.LEDGER_UNKNOWN else incident.reason
    incident = replace(incident, looked_at=context.at, reason=reason, due=context.at + runbook.verify.every_s)
    return Step(replace(document, incident=incident))


def _wait_unseen(document: Document, incident: Incident, runbook: Runbook, context: StepContext, unseen: Unknown) -> Step:
    """Nobody can tell whether it still runs: check again, notify people why, and escalate when `max_run` is long past."""
    within_s = runbook.verify.within_s
    deadline = _started_at(incident) + runbook.restart.max_run_s + within_s + GRACE_S
    unseen_s = context.at - (incident.looked_at or incident.began_at)
    healthy = Text("the queue looks healthy") if _looks_healthy(incident, runbook, context) else ""
    detail = join((unseen.why, Text("the restart was last seen running {age} ago", age=duration(unseen_s)), healthy))
    if context.at >= deadline:
        return escalate(document, incident, runbook, context, Reason.LEDGER_UNKNOWN, detail, remedy=unseen.remedy)
    due = min(context.at + runbook.verify.every_s, deadline)
    incident = replace(incident, reason=Reason.LEDGER_UNKNOWN, detail=detail, due=due)
    document = replace(document, incident=incident)
    if unseen_s >= within_s or unseen.remedy:
        waits = hold(Reason.LEDGER_UNKNOWN, detail, remedy=unseen.remedy)
        card_input = replace(hold_card(document, incident, runbook, context, waits), again=True)
        mark = f"{incident.id}-{incident.attempt}-unseen"
        document = enqueue_hold(document, context.rules, card_input, incident.triggers, mark)
    return Step(document)


def _started_at(incident: Incident) -> float:
    """When the execution started, on our clock."""
    started_at = incident.execution.runner_started_at if incident.execution else None
    return incident.began_at if started_at is None else started_at - incident.runner_ahead_s


def _looks_healthy(incident: Incident, runbook: Runbook, context: StepContext) -> bool:
    """Whether every queue of the incident is healthy now, which says nothing about the restart."""
    for watched in incident.queues:
        snapshot = context.seen.queues.get(watched.queue.key)
        own = context.rules.runbooks.get(watched.runbook, runbook)
        if not isinstance(snapshot, QueueSnapshot) or not judge.is_well(own.recovered, snapshot.depth, snapshot.consumers):
            return False
    return bool(incident.queues)


def _has_run_before(execution: Execution, context: StepContext) -> bool:
    """Whether only the runner's own retry came too late, after a run that had failed."""
    if execution.retry_of_restart:
        return True
    known = context.ledger.executions if isinstance(context.ledger, ExecutionHistory) else ()
    return any(other.tag == execution.tag and other.id != execution.id and other.ended and not other.refused for other in known)


def _current(incident: Incident, context: StepContext) -> Execution | None:
    """The execution as the history shows it now, otherwise as last known."""
    known = incident.execution
    if not isinstance(context.ledger, ExecutionHistory) or known is None:
        return known
    listed = (execution for execution in context.ledger.executions if execution.id == known.id)
    current = context.ledger.followed or next(listed, known)
    # The history may lag, so remember a retry instead of looking it up.
    retried = known.retry_of_restart or (current.id != known.id and not known.late)
    return replace(current, tag=current.tag or known.tag, retry_of_restart=retried)


def _tail(incident: Incident, context: StepContext) -> tuple[str, ...] | None:
    fresh = context.ledger.tail if isinstance(context.ledger, ExecutionHistory) else None
    return fresh if fresh is not None else incident.tail


def is_used_up(incident: Incident, runbook: Runbook) -> bool:
    """Whether the incident has had all its restarts."""
    return incident.restarts >= (1 if incident.once else runbook.limits.attempts)


def _handle_failed_job(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """The job ran and failed. The queue may have recovered anyway; otherwise decide the next attempt."""
    execution = incident.execution
    status = execution.status if execution else "?"
    if is_used_up(incident, runbook):
        detail = Text("the job ended as {status}", status=worded(status))
        return escalate(document, incident, runbook, context, Reason.FAILING, detail)
    return _next_attempt(document, incident, runbook, context, f"failed: {status}")


def _check_recovery(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    """Check every queue, and judge the restart."""
    incident = replace(incident, execution=_current(incident, context), tail=_tail(incident, context))
    age_s = _age_s(incident, context)
    verify = runbook.verify
    if age_s < verify.first_s:
        waiting = replace(incident, due=context.at + verify.first_s - age_s)
        return Step(replace(document, incident=waiting))
    queues = tuple(_look_at(watched, context, runbook, incident, age_s) for watched in incident.queues)
    incident = replace(incident, queues=queues, looked_at=context.at)
    if not _unproven(incident, runbook):
        return end_as_recovered(document, incident, runbook, context)
    if any(queue.after.verdict is Verdict.STUCK for queue in queues):
        if is_used_up(incident, runbook):
            return escalate(document, incident, runbook, context, None, Text("it is still stuck"))
        return _next_attempt(document, incident, runbook, context, "stuck")
    joined_s = context.at - max(watched.joined_at for watched in queues)
    if min(age_s, joined_s) >= verify.within_s:
        return _end_of_time(document, incident, runbook, context)
    left_s = max(verify.within_s - age_s, 0.0)
    incident = replace(incident, due=context.at + (min(verify.every_s, left_s) or verify.every_s))
    return Step(_announce_draining(replace(document, incident=incident), incident, runbook, context, age_s))


def _age_s(incident: Incident, context: StepContext) -> float:
    """How long ago the restart ended, on the runner's clock."""
    ended_at = incident.execution.runner_ended_at if incident.execution else None
    return context.at + incident.runner_ahead_s - ended_at if ended_at is not None else context.at - incident.began_at


def _unproven(incident: Incident, runbook: Runbook) -> list[QueueState]:
    """The queues that have not been healthy in two checks, `every` apart."""
    return [
        watched
        for watched in incident.queues
        if (after := watched.after).well_at is None or (after.looked_at or after.well_at) - after.well_at < runbook.verify.every_s
    ]


def _look_at(watched: QueueState, context: StepContext, runbook: Runbook, incident: Incident, age_s: float) -> QueueState:
    seen = context.seen.queues.get(watched.queue.key, NOT_CHECKED)
    own = context.rules.runbooks.get(watched.runbook, runbook)
    return judge.judge_recovery(own, seen, watched, age_s=age_s, now=context.at, ahead_s=incident.runner_ahead_s)


def _announce_draining(document: Document, incident: Incident, runbook: Runbook, context: StepContext, age_s: float) -> Document:
    """Say once per restart that the queue moves but is slow."""
    verdicts = {watched.after.verdict for watched in incident.queues}
    if age_s < runbook.verify.patience_s or Verdict.DRAINING not in verdicts or verdicts - {Verdict.DRAINING, Verdict.RECOVERED}:
        return document
    mark = f"{incident.id}-draining-{incident.execution.id if incident.execution else incident.attempt}"
    if incident.draining_told == mark:
        return document
    document = replace(document, incident=replace(incident, draining_told=mark))
    card_input = CardInput("draining", context.at, runbook, document.target, incident, late_s=context.late_s)
    return enqueue_message(document, context.rules, card_input, channels_for(context.rules, runbook), mark)


def _end_of_time(document: Document, incident: Incident, runbook: Runbook, context: StepContext) -> Step:
    unproven = _unproven(incident, runbook)
    if all(
        watched.after.well_at is not None or judge.is_moving(runbook, watched, context.at + incident.runner_ahead_s)
        for watched in unproven
    ):
        if any(watched.after.well_at is not None or _stuck_since(incident, watched) for watched in unproven):
            # It was healthy once and the check that proves it is one interval away, or it may be stuck again.
            return Step(replace(document, incident=replace(incident, due=context.at + runbook.verify.every_s)))
        return end_as_recovered(document, incident, runbook, context, moving=True)
    if any(watched.after.verdict is Verdict.UNKNOWN for watched in unproven):
        return escalate(document, incident, runbook, context, Reason.SYMPTOM_UNKNOWN, Text("the queue could not be read"))
    detail = Text("not recovered within {minutes} min", minutes=runbook.verify.within_s / 60)
    return escalate(document, incident, runbook, context, None, detail)


def _stuck_since(incident: Incident, watched: QueueState) -> bool:
    """Whether an alert of this queue began after it last moved: it may be stuck again, so `patience` decides."""
    moved_at = (watched.after.moved_at or 0.0) - incident.runner_ahead_s
    return any(
        trigger.resolved_at is None and trigger.queue == watched.queue.key and trigger.starts_at > moved_at
        for trigger in incident.triggers
    )


def _next_attempt(document: Document, incident: Incident, runbook: Runbook, context: StepContext, how: str) -> Step:
    """Decide about another restart. A hold that passes by itself keeps the incident verifying."""
    execution = incident.execution
    tag = execution.tag or execution.id if execution else f"{incident.id}.{incident.attempt}"
    finished = replace(incident, tries=(*incident.tries, PastAttempt(tag, execution, how)))
    guard_context = GuardContext(context.rules, runbook, document, finished, context.seen, context.at)
    decision = decide(guard_context)
    passes = decision.kind is Kind.HOLD and (decision.again_in_s is not None or decision.reason is Reason.SYMPTOM_GONE)
    if passes:
        time_s = runbook.verify.within_s + (GRACE_S if decision.reason is Reason.SYMPTOM_GONE else 0.0)
        if min(_age_s(incident, context), context.at - incident.began_at) >= time_s:
            blocking, remedy = decision.execution, decision.remedy
            return escalate(document, incident, runbook, context, decision.reason, decision.detail, remedy=remedy, about=blocking)
        waiting = replace(
            incident, due=context.at + runbook.verify.every_s, queues=_note_ill_looks(incident, update_queues(guard_context))
        )
        return Step(replace(document, incident=waiting))
    return evaluate_guards(document, replace(finished, phase=Phase.WAITING), context)


def _note_ill_looks(incident: Incident, looked: tuple[QueueState, ...]) -> tuple[QueueState, ...]:
    """The verifying queues, with the first of two checks that found them stuck."""
    return tuple(replace(watched, stuck=new.stuck) for watched, new in zip(incident.queues, looked, strict=True))
