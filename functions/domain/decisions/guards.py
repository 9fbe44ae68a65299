"""The guards, which hold a restart. Each is one small function, and the first that objects decides.

A guard takes a `GuardContext` and returns None or a `Decision`. What can't be known holds the restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.decisions import health as judge
from functions.domain.model.codes import Health, Mode, Reason
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import NOT_CHECKED, Execution, ExecutionHistory, Observation, Pause, Slot, Storm, Unknown
from functions.domain.model.runbooks import Freeze, Rules, Runbook
from functions.domain.texts.words import duration
from functions.runtime.text import Phrase, Text, join, named

SAME_CAUSE_S = 60.0
"""An alert that began up to this long after a restart ended has the same cause as that restart."""

ESCALATION_HOLDS_S = 86400.0
MAX_NUMBERED = 6
RUNNING = Text("execution {id} of the same job is running")
SCHEDULED = Text("execution {id} of the same job is waiting to start")
LOOKS_BETWEEN = 4
"""Without statistics only a fall between two checks shows that a queue is busy, so there are more than two."""


class Kind(StrEnum):
    RESTART = "restart"
    HOLD = "hold"
    ASK = "ask"
    ADOPT = "adopt"
    """Continue from an execution that exists already, running or ended."""


class Decision(Struct, frozen=True):
    kind: Kind
    reason: Reason | None = None
    detail: Phrase = ""
    again_in_s: float | None = None
    """The hold passes by itself: decide again after this time. None: it does not."""
    remedy: Phrase = ""
    execution: Execution | None = None
    """The execution to continue from, or that the hold is about."""
    tell: bool = True


class GuardContext(Struct, frozen=True):
    """Everything that a guard may use."""

    rules: Rules
    runbook: Runbook
    document: Document
    incident: Incident
    seen: Observation
    now: float
    approved: bool = False
    """A person has read the reason for the hold and pressed the button."""

    @property
    def between(self) -> bool:
        """Whether the incident already had a restart."""
        return self.incident.restarts > 0

    @property
    def ledger(self) -> ExecutionHistory:
        """The history, for guards after `ledger_unknown`."""
        if isinstance(self.seen.ledger, Unknown):
            raise TypeError(self.seen.ledger.why)
        return self.seen.ledger

    @property
    def began_at(self) -> float:
        """When the newest alert of the incident began."""
        return max((trigger.starts_at for trigger in self.incident.triggers), default=self.incident.began_at)


def hold(
    reason: Reason, detail: Phrase = "", *, again_in_s: float | None = None, remedy: Phrase = "", tell: bool = True
) -> Decision:
    return Decision(Kind.HOLD, reason, detail, again_in_s, remedy, tell=tell)


def count_as_restarts(ledger: ExecutionHistory) -> tuple[Execution, ...]:
    """The target's executions that were restarts, newest start first. Refused late starts and scheduled runs do not count."""
    return tuple(e for e in ledger.executions if not e.refused and not e.scheduled)


def newest_end(ledger: ExecutionHistory) -> Execution | None:
    """The last restart that ended."""
    ended = [e for e in count_as_restarts(ledger) if e.ended]
    return max(ended, key=lambda e: e.runner_ended_at or 0.0, default=None)


# --- the guards, in their order --------------------------------------------------------------------------------------


def paused(scene: GuardContext) -> Decision | None:
    pause = scene.seen.pause
    if isinstance(pause, Unknown):
        return hold(
            Reason.PAUSED,
            Text("the kill switch can't be read: {why}", why=pause.why),
            again_in_s=scene.runbook.verify.every_s,
            remedy=pause.remedy,
            tell=_needs_telling(scene, pause),
        )
    if isinstance(pause, Pause):
        return hold(Reason.PAUSED, pause.why)
    return None


def stale_alert(scene: GuardContext) -> Decision | None:
    age_s = scene.now - scene.began_at
    if scene.approved or scene.between or age_s <= scene.runbook.limits.stale_s:
        return None
    return hold(Reason.STALE_ALERT, Text("the alert started {age} ago", age=duration(age_s)))


def already_escalated(scene: GuardContext) -> Decision | None:
    at = scene.document.escalated_at
    if scene.approved or scene.between or at is None or scene.now - at >= ESCALATION_HOLDS_S:
        return None
    return hold(
        Reason.ESCALATED,
        Text("the last incident was escalated {age} ago, and it has not recovered since", age=duration(scene.now - at)),
    )


def frozen(scene: GuardContext) -> Decision | None:
    if scene.approved or not scene.runbook.freeze:
        return None
    window = freeze_at(scene.runbook.freeze, datetime.fromtimestamp(scene.now, scene.rules.zone))
    if window is None:
        return None
    return hold(Reason.FROZEN, window.text)


def freeze_at(windows: tuple[Freeze, ...], local: datetime) -> Freeze | None:
    """The window that is open at this local time, if any."""
    minute, today = local.hour * 60 + local.minute, local.weekday()
    for window in windows:
        over_midnight = window.end_minute <= window.start_minute
        if today in window.days and minute >= window.start_minute and (over_midnight or minute < window.end_minute):
            return window
        if over_midnight and (today - 1) % 7 in window.days and minute < window.end_minute:
            return window
    return None


def ledger_unknown(scene: GuardContext) -> Decision | None:
    ledger = scene.seen.ledger
    if not isinstance(ledger, Unknown):
        return None
    well = None if scene.between else symptom(scene)
    if well is not None and well.reason is Reason.SYMPTOM_GONE:
        return well
    return hold(
        Reason.LEDGER_UNKNOWN,
        ledger.why,
        again_in_s=scene.runbook.verify.every_s,
        remedy=ledger.remedy,
        tell=_needs_telling(scene, ledger),
    )


def _needs_telling(scene: GuardContext, unseen: Unknown) -> bool:
    """Whether to notify people. A problem that may pass by itself can wait; a clear refusal (token, ACL, job) has a remedy."""
    since = max(scene.incident.began_at, scene.incident.waits_from)
    return scene.now - since >= scene.runbook.verify.within_s or scene.between or bool(unseen.remedy)


def own_execution(scene: GuardContext) -> Decision | None:
    """Continue from an execution of this incident that was not known yet."""
    known = {attempt.tag for attempt in scene.incident.tries}
    for execution in scene.ledger.executions:
        incident, _, number = execution.tag.rpartition(".")
        if incident == scene.incident.id and number and execution.tag not in known and not execution.refused:
            return Decision(Kind.ADOPT, execution=execution)
    return None


def running(scene: GuardContext) -> Decision | None:
    """`already_running`, `zombie_execution`, and `job_busy` for a later start of the same restart."""
    unfinished = [execution for execution in scene.ledger.executions if not execution.ended]
    for execution in sorted(unfinished, key=lambda one: one.scheduled):
        if execution.scheduled:
            return _hold_as_busy(scene, execution, SCHEDULED)
        age_s = scene.ledger.runner_now - (execution.runner_started_at or scene.ledger.runner_now)
        if age_s > scene.runbook.restart.max_run_s:
            detail = Text("execution {id} has been running for {age}", id=execution.id, age=duration(age_s))
            return replace(hold(Reason.ZOMBIE_EXECUTION, detail), execution=execution)
        return Decision(
            Kind.ADOPT, Reason.ALREADY_RUNNING, Text("execution {id} is already running", id=execution.id), execution=execution
        )
    return None


def job_busy(scene: GuardContext) -> Decision | None:
    for execution in scene.ledger.others:
        return _hold_as_busy(scene, execution, SCHEDULED if execution.scheduled else RUNNING)
    return None


def _hold_as_busy(scene: GuardContext, execution: Execution, busy: Text) -> Decision:
    return hold(Reason.JOB_BUSY, busy.fill(id=execution.id), again_in_s=scene.runbook.verify.every_s)


def just_restarted(scene: GuardContext) -> Decision | None:
    """Verify a restart that was not verified for this alert, instead of restarting again."""
    last = newest_end(scene.ledger)
    if scene.approved or last is None:
        return None
    if scene.between:
        return _adopt_newer_restart(scene, last)
    ended_at = _to_our_clock(scene, last.runner_ended_at or 0.0)
    if scene.began_at < ended_at + SAME_CAUSE_S:
        return Decision(Kind.ADOPT, detail=Text("execution {id} ended after the alert started", id=last.id), execution=last)
    return None


def _adopt_newer_restart(scene: GuardContext, last: Execution) -> Decision | None:
    """Adopt a restart that somebody else made after our last attempt: it gets its time to help, too."""
    own = [attempt.execution for attempt in scene.incident.tries if attempt.execution and attempt.how != "refused_late"]
    ended_at = max((execution.runner_ended_at or 0.0 for execution in own), default=0.0)
    if not own or last.id in {execution.id for execution in own} or (last.runner_ended_at or 0.0) <= ended_at:
        return None
    return Decision(Kind.ADOPT, detail=Text("execution {id} ended after the last attempt", id=last.id), execution=last)


def cooldown(scene: GuardContext) -> Decision | None:
    last = newest_end(scene.ledger)
    if scene.between or scene.approved or last is None:
        return None
    left_s = (last.runner_ended_at or 0.0) + scene.runbook.limits.cooldown_s - scene.ledger.runner_now
    if left_s <= 0:
        return None
    return hold(
        Reason.COOLDOWN, Text("restarted {age} ago", age=duration(scene.runbook.limits.cooldown_s - left_s)), again_in_s=left_s
    )


def too_many_restarts(scene: GuardContext) -> Decision | None:
    if scene.approved:
        return None
    starts = [e.runner_started_at or 0.0 for e in count_as_restarts(scene.ledger)]
    for window_s, limit in scene.runbook.limits.restarts:
        count = sum(scene.ledger.runner_now - at < window_s for at in starts)
        if count >= limit:
            return hold(
                Reason.TOO_MANY_RESTARTS,
                Text("restarts within {hours} h: {count}, the limit is {limit}", hours=window_s / 3600, count=count, limit=limit),
            )
    return None


def failing(scene: GuardContext) -> Decision | None:
    ended = sorted((e for e in count_as_restarts(scene.ledger) if e.ended), key=lambda e: -(e.runner_ended_at or 0.0))
    failed = list(takewhile(lambda e: not e.succeeded, ended))
    if scene.approved or len(failed) < scene.runbook.limits.failing:
        return None
    return replace(hold(Reason.FAILING, Text("failed executions in a row: {count}", count=len(failed))), execution=failed[0])


def symptom(scene: GuardContext) -> Decision | None:
    """`symptom_gone` and `symptom_unknown`. One stuck queue is enough for a restart."""
    found = [_health(scene, watched) for watched in scene.incident.queues]
    if any(health is Health.ILL for health, _, _ in found):
        return None
    for health, why, watched in found:
        if health is Health.UNKNOWN:
            every_s = scene.runbook.verify.every_s
            seen = scene.seen.queues.get(watched.queue.key)
            remedy: Phrase = seen.remedy if isinstance(seen, Unknown) else ""
            return hold(Reason.SYMPTOM_UNKNOWN, named(watched.queue.name, why), again_in_s=every_s, remedy=remedy)
    for health, why, watched in found:
        if health is Health.UNSURE:
            for_s = _runbook_of(scene, watched).symptom.for_s
            left_s = for_s - (scene.now - (watched.ill_since or scene.now))
            again_s = max(min(left_s, for_s / LOOKS_BETWEEN), 1.0)
            return hold(Reason.SYMPTOM_UNKNOWN, named(watched.queue.name, why), again_in_s=again_s, tell=False)
    return hold(Reason.SYMPTOM_GONE, join(named(watched.queue.name, why) for _, why, watched in found))


def _health(scene: GuardContext, watched: QueueState) -> tuple[Health, Phrase, QueueState]:
    seen = scene.seen.queues.get(watched.queue.key, NOT_CHECKED)
    return judge.judge_health(_runbook_of(scene, watched).symptom, seen, watched, scene.now)


def update_queues(scene: GuardContext) -> tuple[QueueState, ...]:
    """The incident's queues with this observation added."""
    return tuple(_health(scene, watched)[2] for watched in scene.incident.queues)


def _runbook_of(scene: GuardContext, watched: QueueState) -> Runbook:
    return scene.rules.runbooks.get(watched.runbook, scene.runbook)


def too_many_targets(scene: GuardContext) -> Decision | None:
    if scene.approved or scene.between:
        return None
    if isinstance(scene.seen.storm, Unknown):
        why = Text("the document `storm` can't be read: {why}", why=scene.seen.storm.why)
        return hold(Reason.TOO_MANY_TARGETS, why, again_in_s=scene.runbook.verify.every_s)
    taken = [slot for slot in current_slots(scene.seen.storm, scene) if slot.target != scene.document.key]
    if len(taken) < scene.rules.storm_targets:
        return None
    within_min = scene.rules.storm_within_s / 60
    return hold(
        Reason.TOO_MANY_TARGETS,
        Text(
            "other targets restarted within {minutes} min: {count}, so a shared cause is more likely",
            minutes=within_min,
            count=len(taken),
        ),
    )


def current_slots(storm: Storm, scene: GuardContext) -> tuple[Slot, ...]:
    return tuple(slot for slot in storm.slots if scene.now - slot.at < scene.rules.storm_within_s)


def claim_storm_slot(scene: GuardContext) -> Storm | None:
    """The storm document with this target's slot; None if the target needs no slot."""
    if scene.between or isinstance(scene.seen.storm, Unknown):
        return None
    others = tuple(slot for slot in current_slots(scene.seen.storm, scene) if slot.target != scene.document.key)
    return Storm((*others, Slot(scene.document.key, scene.now)))


def mode(scene: GuardContext) -> Decision | None:
    if scene.runbook.mode is Mode.OBSERVE:
        return hold(Reason.OBSERVE_ONLY)
    if scene.runbook.mode is Mode.APPROVE and not scene.approved:
        return Decision(Kind.ASK, Reason.AWAITING_APPROVAL)
    return None


Guard = Callable[[GuardContext], Decision | None]

GUARDS: Mapping[str, Guard] = {
    "paused": paused,
    "escalated": already_escalated,
    "stale_alert": stale_alert,
    "frozen": frozen,
    "ledger_unknown": ledger_unknown,
    "own_execution": own_execution,
    "running": running,
    "just_restarted": just_restarted,
    "job_busy": job_busy,
    "symptom": symptom,
    "cooldown": cooldown,
    "too_many_restarts": too_many_restarts,
    "failing": failing,
    "too_many_targets": too_many_targets,
    "mode": mode,
}

OVERRULED = frozenset(
    {
        Reason.ESCALATED,
        Reason.STALE_ALERT,
        Reason.FROZEN,
        Reason.COOLDOWN,
        Reason.TOO_MANY_RESTARTS,
        Reason.FAILING,
        Reason.TOO_MANY_TARGETS,
        Reason.AWAITING_APPROVAL,
    }
)
"""What a person may overrule. Never the kill switch, a healthy queue, or what can't be known."""


def decide(scene: GuardContext) -> Decision:
    """Restart, hold, ask, or adopt an execution, as the first guard that objects says."""
    for guard in GUARDS.values():
        decision = guard(scene)
        if decision is not None:
            return decision
    return Decision(Kind.RESTART)


def evaluate_all(scene: GuardContext) -> list[tuple[str, Decision | None]]:
    """What each guard says by itself, for `simulate`. Guards that need the history hold if it can't be read."""
    said: list[tuple[str, Decision | None]] = []
    for name, guard in GUARDS.items():
        try:
            said.append((name, guard(scene)))
        except TypeError:
            said.append((name, hold(Reason.LEDGER_UNKNOWN)))
    return said


def _to_our_clock(scene: GuardContext, runner_at: float) -> float:
    """A time on the runner's clock, converted to ours."""
    return runner_at - scene.ledger.runner_now + scene.now
