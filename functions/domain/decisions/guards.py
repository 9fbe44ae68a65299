"""The guards, which hold a restart. Each is a small function; the first that objects decides. Anything unknown holds the restart.
Each takes the `GuardContext`, and returns None or a `Decision`. Those that judge the queues are in turn.py."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import takewhile

from functions.domain.decisions.turn import GuardContext, delivery_limit, hold_as_unread, likely_stuck, symptom
from functions.domain.model.codes import OVERRULED, Mode, Reason
from functions.domain.model.events import Decision, Kind, hold
from functions.domain.model.incidents import UNCLEAR, Document, Incident
from functions.domain.model.observations import MAX_SKEW_S, Execution, ExecutionHistory, Unknown
from functions.domain.model.runbooks import Freeze
from functions.domain.texts.words import duration, worded
from functions.runtime.text import Text, join

SAME_CAUSE_S = 60.0  # an alert that began up to this long after a restart ended has the same cause as that restart
ESCALATION_HOLDS_S = 86400.0
MAX_NUMBERED = 6


def count_as_restarts(history: ExecutionHistory) -> tuple[Execution, ...]:
    """The target's executions that were restarts, newest start first. Refused late starts and scheduled runs don't count."""
    return tuple(execution for execution in history.executions if not execution.refused and not execution.scheduled)


def _ended_restarts(history: ExecutionHistory) -> list[Execution]:
    """The restarts that ended, newest end first."""
    ended = [execution for execution in count_as_restarts(history) if execution.ended]
    return sorted(ended, key=lambda execution: -(execution.runner_ended_at or 0.0))


def paused(context: GuardContext) -> Decision | None:
    pause = context.seen.pause
    if isinstance(pause, Unknown):
        return hold_as_unread(context, Reason.PAUSED, Text("the kill switch can't be read: {why}", why=pause.why), pause)
    return hold(Reason.PAUSED, pause.why) if pause is not None else None


def stale_alert(context: GuardContext) -> Decision | None:
    age_s = context.now - context.incident.newest_alert_at
    if age_s <= context.runbook.limits.stale_s:
        return None
    return hold(Reason.STALE_ALERT, Text("the alert started {age} ago", age=duration(age_s)))


def escalated(context: GuardContext) -> Decision | None:
    held = hold_escalated(context.document, context.now)
    # Nobody is asked about a queue that is well, or not yet known to be stuck again.
    return None if held is None or is_about_other_queues(context.document, context.incident) else symptom(context) or held


def hold_escalated(document: Document, now: float) -> Decision | None:
    """The hold of a target that people were called for within the last day, and that has not recovered."""
    if document.escalation is None or (age_s := now - document.escalation.at) >= ESCALATION_HOLDS_S:
        return None
    detail = Text("the last incident was escalated {age} ago, and no check has found it healthy since", age=duration(age_s))
    return hold(Reason.ESCALATED, detail)


def is_about_other_queues(document: Document, incident: Incident) -> bool:
    """Whether the escalation is only about other queues than the incident's: it blocks its queues, not their whole target."""
    keys = escalated_queues(document)
    return bool(keys) and keys.isdisjoint(state.queue.key for state in incident.queues)


def escalated_queues(document: Document) -> set[str]:
    """The keys of the queues that people were called for."""
    return {state.queue.key for state in document.escalation.queues} if document.escalation else set()


def frozen(context: GuardContext) -> Decision | None:
    windows = context.runbook.freeze
    if not windows:  # the time zone is loaded for windows only
        return None
    window = freeze_at(windows, datetime.fromtimestamp(context.now, context.rules.zone))
    # Nothing is restarted anyway, so nobody is told of a queue that is well, or not yet known to be stuck.
    return None if window is None else symptom(context) or hold(Reason.FROZEN, window.text)


def freeze_at(windows: tuple[Freeze, ...], local: datetime) -> Freeze | None:
    """The window that is open at this local time, if any."""
    minute, today = local.hour * 60 + local.minute, local.weekday()
    for window in windows:
        over_midnight = window.end_minute <= window.start_minute
        today_open = today in window.days and minute >= window.start_minute and (over_midnight or minute < window.end_minute)
        if today_open or (over_midnight and (today - 1) % 7 in window.days and minute < window.end_minute):
            return window
    return None


def ledger_unknown(context: GuardContext) -> Decision | None:
    history = context.seen.history
    if not isinstance(history, Unknown):
        return None
    well = None if context.between else symptom(context)
    if well is not None and well.reason is Reason.SYMPTOM_GONE:
        return well
    return hold_as_unread(context, Reason.LEDGER_UNKNOWN, history.why, history)


def own_execution(context: GuardContext) -> Decision | None:
    """Continue with an execution of this incident that was not known yet."""
    noted = {attempt.tag for attempt in context.incident.tries if attempt.how != UNCLEAR}
    for execution in context.history.executions:
        started_by, _, number = execution.tag.rpartition(".")
        if started_by == context.incident.id and number and execution.tag not in noted and not execution.refused:
            return Decision(Kind.ADOPT, execution=execution)
    return None


def running(context: GuardContext) -> Decision | None:
    """Holds for `already_running`, `zombie_execution`, and `job_busy` for a later start, or a restart of another host."""
    history = context.history
    unfinished = [execution for execution in history.executions if not execution.ended]
    execution = min(unfinished, key=lambda execution: execution.scheduled, default=None)
    if execution is None:
        return None
    if execution.scheduled or not _concerns(context, execution):
        return _hold_as_busy(context, execution)
    age_s = history.running_s(execution)
    if age_s > context.runbook.restart.max_run_s:
        return hold(Reason.ZOMBIE_EXECUTION, describe_zombie(execution, age_s), execution=execution)
    detail = Text("execution {id} is already running", id=execution.id)
    return Decision(Kind.ADOPT, Reason.ALREADY_RUNNING, detail, execution=execution)


def _concerns(context: GuardContext, execution: Execution) -> bool:
    """Whether a run is a restart of what hangs: of all hosts, or of one that holds messages where it is known who does."""
    hosts = {channel.host for judgement, _ in context.judged for channel in judgement.held_by}
    return not execution.host or not hosts or execution.host in hosts


GOES_ON = Text("its command may still run on the job's nodes")
LOOK = Text("Look on the node whether the job's command still runs, such as with `ps -ef`, and end it there if it hangs.")


def unstopped(context: GuardContext) -> Decision | None:
    """I20: wait until `max_run` is over since the start of a run that has ended, and whose command may still run."""
    history, max_run_s = context.history, context.runbook.restart.max_run_s
    over = {run.id for run in context.incident.executions if run.over}  # each look learns it of one run
    runs = (run for run in history.executions if run.may_still_run and run.id not in over)
    execution = next((run for run in runs if history.running_s(run) <= max_run_s), None)
    if execution is None:
        return None
    well = symptom(context)
    if well is not None and well.reason is Reason.SYMPTOM_GONE:
        return well
    ended = Text("execution {id} ended as {status}", id=execution.id, status=worded(execution.status))
    waits = Text("nothing is started until {age} after its start", age=duration(max_run_s))
    detail = join((ended, GOES_ON, waits))
    return hold(Reason.ZOMBIE_EXECUTION, detail, context.runbook.verify.every_s, execution=execution, remedy=LOOK)


def describe_zombie(execution: Execution | None, running_s: float) -> Text:
    """What is known of a run that does not end."""
    return Text("execution {id} has been running for {age}", id=execution.id if execution else "?", age=duration(running_s))


def job_busy(context: GuardContext) -> Decision | None:
    """Wait for another run of the job."""
    execution = next(iter(context.history.others), None)
    return None if execution is None else _hold_as_busy(context, execution)


def _hold_as_busy(context: GuardContext, execution: Execution) -> Decision:
    """Wait for a run. One that can no longer end by itself is named: people have to abort it."""
    age_s, every_s = context.history.running_s(execution), context.runbook.verify.every_s
    if execution.scheduled:
        detail = Text("execution {id} of the same job is waiting to start", id=execution.id)
        return hold(Reason.JOB_BUSY, detail, again_in_s=every_s, execution=execution)
    detail = Text("execution {id} of the same job has been running for {age}", id=execution.id, age=duration(age_s))
    if age_s <= context.runbook.restart.max_run_s:
        return hold(Reason.JOB_BUSY, detail, again_in_s=every_s, execution=execution)
    remedy = Text("Abort the execution in {runner}; Unstick restarts as soon as the job is free.", runner=context.rules.runner)
    return hold(Reason.ZOMBIE_EXECUTION, detail, again_in_s=every_s, execution=execution, remedy=remedy)


def runner_clock(context: GuardContext) -> Decision | None:
    """The job compares `unstick_not_after`, which is on the runner's clock, with the clock of its node."""
    ahead_s, every_s = context.history.ahead_s(context.now), context.runbook.verify.every_s
    if abs(ahead_s) <= MAX_SKEW_S:
        return None
    off = Text("{runner}'s clock is {age} ahead of Unstick's")
    if ahead_s < 0:
        off = Text("{runner}'s clock is {age} behind Unstick's")
    return hold(Reason.RUNNER_CLOCK, off.fill(runner=context.rules.runner, age=duration(abs(ahead_s))), again_in_s=every_s)


def just_restarted(context: GuardContext) -> Decision | None:
    """Verify a restart that was not yet verified for this alert, instead of restarting again. One by somebody else after our last
    attempt also gets its time to help."""
    history, incident = context.history, context.incident
    last = next((restart for restart in _ended_restarts(history) if _concerns(context, restart)), None)
    if last is None or context.approved or last.id in {run.id for run in incident.executions}:
        return None
    ended_at = last.runner_ended_at or 0.0
    if incident.restarts:
        is_new = ended_at > max((run.runner_ended_at or 0.0 for run in incident.executions), default=math.inf)
        detail = Text("execution {id} ended after the last attempt", id=last.id)
    else:  # on our clock
        is_new = incident.newest_alert_at < ended_at - history.runner_now + context.now + SAME_CAUSE_S
        detail = Text("execution {id} ended after the alert started", id=last.id)
    return Decision(Kind.ADOPT, detail=detail, execution=last) if is_new else None


def cooldown(context: GuardContext) -> Decision | None:
    # A job that was deleted and imported again has lost its history, so our own outcomes count, too.
    ends = [outcome.runner_ended_at or 0.0 for outcome in context.document.outcomes if outcome.restarts]
    ends += [execution.runner_ended_at or 0.0 for execution in _ended_restarts(context.history)[:1]]
    ago_s = context.history.runner_now - max(ends, default=0.0)
    left_s = context.runbook.limits.cooldown_s - ago_s
    return hold(Reason.COOLDOWN, Text("restarted {age} ago", age=duration(ago_s)), again_in_s=left_s) if left_s > 0 else None


def too_many_restarts(context: GuardContext) -> Decision | None:
    history = context.history
    starts = [execution.runner_started_at or 0.0 for execution in count_as_restarts(history)]
    for window_s, limit in context.runbook.limits.restarts:
        count = sum(history.runner_now - at < window_s for at in starts)
        if count >= limit:
            detail = Text("restarts within {hours} h: {count}, the limit is {limit}")
            return hold(Reason.TOO_MANY_RESTARTS, detail.fill(hours=window_s / 3600, count=count, limit=limit))
    return None


def failing(context: GuardContext) -> Decision | None:
    failed = list(takewhile(lambda execution: not execution.succeeded, _ended_restarts(context.history)))
    if len(failed) < context.runbook.limits.failing:
        return None
    return hold(Reason.FAILING, Text("failed executions in a row: {count}", count=len(failed)), execution=failed[0])


def too_many_targets(context: GuardContext) -> Decision | None:
    """Holds for `too_many_targets`, and for `storm_unknown`, which passes by itself and isn't posted at once."""
    storm, rules = context.seen.storm, context.rules
    if isinstance(storm, Unknown):
        why = Text("the document `storm` can't be read: {why}", why=storm.why)
        return hold_as_unread(context, Reason.STORM_UNKNOWN, why, storm)
    others = (slot for slot in storm.slots if slot.target != context.document.key)
    count = sum(context.now - slot.at < rules.storm_within_s for slot in others)
    if count < rules.storm_targets:
        return None
    likely = Text("other targets restarted within {minutes} min: {count}, so a shared cause is more likely")
    return hold(Reason.TOO_MANY_TARGETS, likely.fill(minutes=rules.storm_within_s / 60, count=count))


def mode(context: GuardContext) -> Decision | None:
    if context.runbook.mode is Mode.OBSERVE:
        return hold(Reason.OBSERVE_ONLY)
    return Decision(Kind.ASK, Reason.AWAITING_APPROVAL) if context.runbook.mode is Mode.APPROVE else None


Guard = Callable[[GuardContext], Decision | None]

GUARDS: Mapping[str, Guard] = {
    "paused": paused,
    "escalated": escalated,
    "stale_alert": stale_alert,
    "frozen": frozen,
    "ledger_unknown": ledger_unknown,
    "own_execution": own_execution,
    "running": running,
    "just_restarted": just_restarted,
    "unstopped": unstopped,
    "job_busy": job_busy,
    "symptom": symptom,
    "runner_clock": runner_clock,
    "cooldown": cooldown,
    "too_many_restarts": too_many_restarts,
    "failing": failing,
    "too_many_targets": too_many_targets,
    "likely_stuck": likely_stuck,
    "mode": mode,
    "delivery_limit": delivery_limit,
}
"""The guards in the order in which they are asked."""
FIRST_ONLY = frozenset({"escalated", "stale_alert", "cooldown", "too_many_targets"})
"""Guards of the first restart of an incident only, not between its restarts."""
CALLS_PEOPLE = (Reason.FROZEN, Reason.RUNNER_CLOCK, Reason.TOO_MANY_RESTARTS, Reason.FAILING)
"""Reasons that call a person about a hang. What is only likely stays the calm question of `likely_stuck`, which names them."""


def evaluate(name: str, context: GuardContext) -> Decision | None:
    """The guard's objection, unless a person overruled it who had read of it."""
    decision = None if name in FIRST_ONLY and context.between else GUARDS[name](context)
    overruled = context.approved is not None and name in context.approved.guards
    return None if overruled and decision is not None and decision.reason in OVERRULED else decision


def list_objections(context: GuardContext) -> dict[str, Decision]:
    """Each guard that objects and that a person may overrule, up to the first one that nobody may."""
    objections: dict[str, Decision] = {}
    for name in GUARDS:
        decision = evaluate(name, context)
        if decision is not None and decision.reason not in OVERRULED:
            break
        if decision is not None:
            objections[name] = decision
    return objections


def decide(context: GuardContext) -> Decision:
    """Restart, hold, ask, or adopt an execution, as decided by the first guard that objects.
    A suspicion is waited for before any other guard: most of them clear, and then nobody is notified."""
    names = ("symptom", *GUARDS) if context.incident.is_suspicion else GUARDS
    decision = next(filter(None, (evaluate(name, context) for name in names)), Decision(Kind.RESTART))
    question = likely_stuck(context) if decision.reason in CALLS_PEOPLE and not context.between else None
    return question or decision
