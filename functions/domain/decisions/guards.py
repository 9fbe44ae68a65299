"""The guards, which hold a restart. Each is a small function; the first that objects decides. Anything unknown holds the restart.
A guard takes what it decides by, which `GUARDS` binds, and returns None or a `Decision`. The `GuardContext` itself goes to those
that judge the queues, and to those that wait for what can't be read."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import takewhile

from msgspec.structs import replace

from functions.domain.decisions.judging import GuardContext, HistoryUnknown, delivery_limit, hold_as_unread, likely_stuck, symptom
from functions.domain.model.codes import SETTLED, Mode, Reason
from functions.domain.model.events import Decision, Kind, hold
from functions.domain.model.incidents import REFUSED_LATE, UNCLEAR, Document, Incident, Outcome
from functions.domain.model.observations import Execution, ExecutionHistory, Unknown
from functions.domain.model.runbooks import Freeze, Runbook
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.words import duration
from functions.runtime.text import Text, join, named

SAME_CAUSE_S = 60.0  # an alert that began up to this long after a restart ended has the same cause as that restart
ESCALATION_HOLDS_S = 86400.0
MAX_NUMBERED = 6
MAX_UNCLEAR = 2  # starts without a clear answer; then people decide, since what keeps Rundeck from answering may last


def count_as_restarts(history: ExecutionHistory) -> tuple[Execution, ...]:
    """The target's executions that were restarts, newest start first. Refused late starts and scheduled runs don't count."""
    return tuple(execution for execution in history.executions if not execution.refused and not execution.scheduled)


def newest_end(history: ExecutionHistory) -> Execution | None:
    """The last restart that ended."""
    ended = [execution for execution in count_as_restarts(history) if execution.ended]
    return max(ended, key=lambda execution: execution.runner_ended_at or 0.0, default=None)


def paused(context: GuardContext) -> Decision | None:
    pause = context.seen.pause
    if isinstance(pause, Unknown):
        return hold_as_unread(context, Reason.PAUSED, Text("the kill switch can't be read: {why}", why=pause.why), pause)
    return hold(Reason.PAUSED, pause.why) if pause is not None else None


def stale_alert(alert_at: float, stale_s: float, now: float) -> Decision | None:
    age_s = now - alert_at
    return hold(Reason.STALE_ALERT, Text("the alert started {age} ago", age=duration(age_s))) if age_s > stale_s else None


def already_escalated(document: Document, incident: Incident, now: float) -> Decision | None:
    return None if is_about_other_queues(document, incident) else hold_escalated(document, now)


def hold_escalated(document: Document, now: float) -> Decision | None:
    """The hold of a target that people were called for within the last day, and that has not recovered."""
    if document.escalation is None or (age_s := now - document.escalation.at) >= ESCALATION_HOLDS_S:
        return None
    detail = Text("the last incident was escalated {age} ago, and it has not recovered since", age=duration(age_s))
    return hold(Reason.ESCALATED, detail)


def is_about_other_queues(document: Document, incident: Incident) -> bool:
    """Whether the escalation is only about other queues than the incident's: it blocks its queues, not their whole target."""
    escalated = escalated_queues(document)
    return bool(escalated) and escalated.isdisjoint(watched.queue.key for watched in incident.queues)


def escalated_queues(document: Document) -> set[str]:
    """The keys of the queues that people were called for."""
    return {watched.queue.key for watched in document.escalation.queues} if document.escalation else set()


def frozen(windows: tuple[Freeze, ...], local_time: Callable[[], datetime]) -> Decision | None:
    window = freeze_at(windows, local_time()) if windows else None  # the time zone is loaded for windows only
    return None if window is None else hold(Reason.FROZEN, window.text)


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


def own_execution(history: ExecutionHistory, incident: Incident) -> Decision | None:
    """Continue with an execution of this incident that was not known yet."""
    known = {attempt.tag for attempt in incident.tries if attempt.how != UNCLEAR}
    for execution in history.executions:
        started_by, _, number = execution.tag.rpartition(".")
        if started_by == incident.id and number and execution.tag not in known and not execution.refused:
            return Decision(Kind.ADOPT, execution=execution)
    return None


def running(history: ExecutionHistory, max_run_s: float, every_s: float, runner: str) -> Decision | None:
    """Holds for `already_running`, `zombie_execution`, and `job_busy` for a later start of the same restart."""
    unfinished = [execution for execution in history.executions if not execution.ended]
    for execution in sorted(unfinished, key=lambda one: one.scheduled):
        if execution.scheduled:
            return _hold_as_scheduled(execution, every_s)
        age_s = history.runner_now - (execution.runner_started_at or history.runner_now)
        if age_s > max_run_s or execution.abandoned:
            return hold(Reason.ZOMBIE_EXECUTION, describe_zombie(runner, execution, age_s), execution=execution)
        detail = Text("execution {id} is already running", id=execution.id)
        return Decision(Kind.ADOPT, Reason.ALREADY_RUNNING, detail, execution=execution)
    return None


def describe_zombie(runner: str, execution: Execution | None, running_s: float) -> Text:
    """What is known of a run that does not end."""
    if execution is not None and execution.abandoned:
        anew = Text("{runner} was started anew during execution {id}, so nothing runs it any more")
        return anew.fill(runner=runner, id=execution.id)
    return Text("execution {id} has been running for {age}", id=execution.id if execution else "?", age=duration(running_s))


def job_busy(history: ExecutionHistory, max_run_s: float, every_s: float, runner: str) -> Decision | None:
    """Wait for another run of the job. One that can no longer end by itself is named: people have to abort it."""
    execution = next(iter(history.others), None)
    if execution is None:
        return None
    if execution.scheduled:
        return _hold_as_scheduled(execution, every_s)
    held = partial(hold, again_in_s=every_s, execution=execution)
    age_s = max(0.0, history.runner_now - (execution.runner_started_at or history.runner_now))
    detail = Text("execution {id} of the same job has been running for {age}", id=execution.id, age=duration(age_s))
    if age_s <= max_run_s and not execution.abandoned:
        return held(Reason.JOB_BUSY, detail)
    detail = describe_zombie(runner, execution, age_s) if execution.abandoned else detail
    remedy = Text("Abort the execution in {runner}; Unstick restarts as soon as the job is free.", runner=runner)
    return held(Reason.ZOMBIE_EXECUTION, detail, remedy=remedy)


def _hold_as_scheduled(execution: Execution, every_s: float) -> Decision:
    detail = Text("execution {id} of the same job is waiting to start", id=execution.id)
    return hold(Reason.JOB_BUSY, detail, again_in_s=every_s, execution=execution)


def just_restarted(history: ExecutionHistory, incident: Incident, now: float, *, approved: bool) -> Decision | None:
    """Verify a restart that was not yet verified for this alert, instead of restarting again."""
    last = newest_end(history)
    if last is None or approved:
        return None
    if incident.restarts:
        return _adopt_newer_restart(incident, last)
    ended_at = (last.runner_ended_at or 0.0) - history.runner_now + now  # on our clock
    if incident.newest_alert_at < ended_at + SAME_CAUSE_S:
        return Decision(Kind.ADOPT, detail=Text("execution {id} ended after the alert started", id=last.id), execution=last)
    return None


def _adopt_newer_restart(incident: Incident, last: Execution) -> Decision | None:
    """Adopt a restart by somebody else after our last attempt: it also gets its time to help."""
    own = [attempt.execution for attempt in incident.tries if attempt.execution and attempt.how != REFUSED_LATE]
    ended_at = max((execution.runner_ended_at or 0.0 for execution in own), default=0.0)
    if not own or last.id in {execution.id for execution in own} or (last.runner_ended_at or 0.0) <= ended_at:
        return None
    return Decision(Kind.ADOPT, detail=Text("execution {id} ended after the last attempt", id=last.id), execution=last)


def cooldown(history: ExecutionHistory, outcomes: tuple[Outcome, ...], cooldown_s: float) -> Decision | None:
    # A job that was deleted and imported again has lost its history, so our own outcomes count, too.
    own = [outcome.runner_ended_at or 0.0 for outcome in outcomes if outcome.restarts]
    last = newest_end(history)
    left_s = max([last.runner_ended_at or 0.0 if last else 0.0, *own]) + cooldown_s - history.runner_now
    if left_s <= 0:
        return None
    return hold(Reason.COOLDOWN, Text("restarted {age} ago", age=duration(cooldown_s - left_s)), again_in_s=left_s)


def too_many_restarts(history: ExecutionHistory, limits: tuple[tuple[float, int], ...]) -> Decision | None:
    starts = [execution.runner_started_at or 0.0 for execution in count_as_restarts(history)]
    for window_s, limit in limits:
        count = sum(history.runner_now - at < window_s for at in starts)
        if count >= limit:
            detail = Text("restarts within {hours} h: {count}, the limit is {limit}")
            return hold(Reason.TOO_MANY_RESTARTS, detail.fill(hours=window_s / 3600, count=count, limit=limit))
    return None


def failing(history: ExecutionHistory, limit: int) -> Decision | None:
    ended = [execution for execution in count_as_restarts(history) if execution.ended]
    ended.sort(key=lambda execution: -(execution.runner_ended_at or 0.0))
    failed = list(takewhile(lambda execution: not execution.succeeded, ended))
    if len(failed) < limit:
        return None
    return hold(Reason.FAILING, Text("failed executions in a row: {count}", count=len(failed)), execution=failed[0])


def too_many_targets(context: GuardContext) -> Decision | None:
    """Holds for `too_many_targets`, and for `storm_unknown`, which passes by itself and isn't posted at once."""
    if isinstance(context.seen.storm, Unknown):
        why = Text("the document `storm` can't be read: {why}", why=context.seen.storm.why)
        return hold_as_unread(context, Reason.STORM_UNKNOWN, why, context.seen.storm)
    slots = (slot for slot in context.seen.storm.slots if slot.target != context.document.key)
    count = sum(context.now - slot.at < context.rules.storm_within_s for slot in slots)
    if count < context.rules.storm_targets:
        return None
    likely = Text("other targets restarted within {minutes} min: {count}, so a shared cause is more likely")
    return hold(Reason.TOO_MANY_TARGETS, likely.fill(minutes=context.rules.storm_within_s / 60, count=count))


def mode(runbook: Runbook) -> Decision | None:
    if runbook.mode is Mode.OBSERVE:
        return hold(Reason.OBSERVE_ONLY)
    if runbook.mode is Mode.APPROVE:
        return Decision(Kind.ASK, Reason.AWAITING_APPROVAL)
    return None


Guard = Callable[[GuardContext], Decision | None]


def _first_only(guard: Guard) -> Guard:
    """Ask the guard about the first restart of an incident only, not between its restarts."""
    return lambda context: None if context.between else guard(context)


GUARDS: Mapping[str, Guard] = {
    "paused": paused,
    "escalated": _first_only(lambda given: already_escalated(given.document, given.incident, given.now)),
    "stale_alert": _first_only(
        lambda given: stale_alert(given.incident.newest_alert_at, given.runbook.limits.stale_s, given.now)
    ),
    "frozen": lambda given: frozen(given.runbook.freeze, given.local_time),
    "ledger_unknown": ledger_unknown,
    "own_execution": lambda given: own_execution(given.history, given.incident),
    "running": lambda given: running(
        given.history, given.runbook.restart.max_run_s, given.runbook.verify.every_s, given.rules.runner
    ),
    "just_restarted": lambda given: just_restarted(given.history, given.incident, given.now, approved=given.approved),
    "job_busy": lambda given: job_busy(
        given.history, given.runbook.restart.max_run_s, given.runbook.verify.every_s, given.rules.runner
    ),
    "symptom": symptom,
    "cooldown": _first_only(lambda given: cooldown(given.history, given.document.outcomes, given.runbook.limits.cooldown_s)),
    "too_many_restarts": lambda given: too_many_restarts(given.history, given.runbook.limits.restarts),
    "failing": lambda given: failing(given.history, given.runbook.limits.failing),
    "too_many_targets": _first_only(too_many_targets),
    "likely_stuck": likely_stuck,
    "mode": lambda given: mode(given.runbook),
    "delivery_limit": lambda given: delivery_limit(given.incident.queues, given.seen.queues, can_ask=given.rules.can_ask),
}
"""The guards in the order in which they are asked, each bound to what it decides by."""
CALLS_PEOPLE = (Reason.FROZEN, Reason.TOO_MANY_RESTARTS, Reason.FAILING)
"""Reasons that call a person about a hang. What is only likely stays the calm question of `likely_stuck`, which names them."""


def evaluate(guard: Guard, context: GuardContext) -> Decision | None:
    """The guard's objection, unless a person's approval settles it."""
    decision = guard(context)
    return None if context.approved and decision is not None and decision.reason in SETTLED else decision


def decide(context: GuardContext) -> Decision:
    """Restart, hold, ask, or adopt an execution, as decided by the first guard that objects.
    A suspicion is waited for before any other guard: most of them clear, and then nobody is notified."""
    guards = (GUARDS["symptom"], *GUARDS.values()) if context.incident.is_suspicion else GUARDS.values()
    decision = next(filter(None, (evaluate(guard, context) for guard in guards)), Decision(Kind.RESTART))
    if decision.reason in CALLS_PEOPLE and not context.between and (asked := GUARDS["likely_stuck"](context)):
        return replace(asked, detail=join((asked.detail, named(REASONS[decision.reason].short, decision.detail))))
    return decision


def evaluate_all(context: GuardContext) -> list[tuple[str, Decision | None]]:
    """The result of each guard by itself, for `simulate`. Guards that need the history hold if it can't be read."""
    decisions: list[tuple[str, Decision | None]] = []
    for name, guard in GUARDS.items():
        try:
            decisions.append((name, evaluate(guard, context)))
        except HistoryUnknown:
            decisions.append((name, hold(Reason.LEDGER_UNKNOWN)))
    return decisions
