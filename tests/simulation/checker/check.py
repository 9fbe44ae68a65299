"""Whether the invariants held. It knows only what the models saw, not what the code under test thought."""

from __future__ import annotations

from itertools import pairwise

from functions.application.documents import decode
from functions.domain.decisions.judging import QUESTION_S
from functions.domain.model.alerts import Alert
from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.events import Reply
from functions.domain.model.incidents import AlertRef, Archive, Document, Outcome
from tests.simulation.checker.evidence import check_evidence
from tests.simulation.checker.guards import check_guards
from tests.simulation.checker.held import check_held
from tests.simulation.checker.history import LOOK_AND_FENCE_S, SKEW_S, Violation, effective, incident_of, pressed, queues_of
from tests.simulation.checker.history import records as archived
from tests.simulation.checker.observe_only import check_observed
from tests.simulation.checker.pace import check_pace
from tests.simulation.checker.recoveries import check_recoveries
from tests.simulation.checker.reminders import check_reminders
from tests.simulation.checker.sticky import check_overlooked, check_stickiness
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S
from tests.simulation.scenario import Scenario
from tests.simulation.world import Answered, World

STALLED_S = 300.0
"""By how much a process may have stalled between its look and what it makes of it."""

SAME_HOLD_S = 3700.0
"""The same hold of the same alert is reported once an hour."""


def check(scenario: Scenario) -> list[Violation]:
    """All violations of one finished schedule."""
    world = scenario.world
    violations = [Violation("defect", defect) for defect in world.defects]
    records = list(archived(world).values())
    violations += _restarts(scenario, records)
    violations += check_guards(world)
    violations += check_evidence(world)
    violations += check_held(scenario)
    violations += _told(world, records)
    violations += check_recoveries(world)
    violations += _zombies(world, records)
    violations += _foreign(world, records)
    violations += _repeated(world, records)
    violations += _told_again(world, records)
    violations += _declined(world, records)
    violations += check_observed(world)
    violations += check_pace(world)
    violations += check_reminders(world)
    violations += _told_of_suspicions(world, records)
    violations += check_overlooked(world, records)
    violations += [
        Violation("I2", f"{d.key} is open at the end: {d.incident.phase if d.incident else 'untold'}")
        for d in world.documents()
        if d.open
    ]
    return violations


def _restarts(scenario: Scenario, records: list[Archive]) -> list[Violation]:
    """I1: one restart at a time, one for a cause, no more than `attempts` for an incident."""
    world, violations = scenario.world, []
    runbook = world.rules.runbooks["mail"]
    by_incident = {record.incident.id: record for record in records}
    for target, runs in effective(world).items():
        per_incident: dict[str, int] = {}
        for run in runs:
            incident = incident_of(run)
            if incident:
                per_incident[incident] = per_incident.get(incident, 0) + 1
        violations += [
            Violation("I1", f"{target}: {n} restarts for {i}") for i, n in per_incident.items() if n > runbook.limits.attempts
        ]
        violations += _chains(world, by_incident, runs)
        violations += check_stickiness(world, by_incident, runs)
        for earlier, later in pairwise(runs):
            if later.by != "unstick":
                continue
            if earlier.ends is None or later.started < earlier.ends:
                if later.sent_at - earlier.seen_from > 1.0 or earlier.by == "unstick":
                    violations.append(Violation("I1", f"{target}: {later.id} was started while {earlier.id} ran"))
                continue
            violations += _spaced(world, by_incident, earlier, later)
    return violations


def _spaced(world: World, records: dict[str, Archive], earlier: Run, later: Run) -> list[Violation]:
    """Between two restarts of one cause lies a verdict: time to recover, a consumer that hangs again, or a job that failed."""
    runbook = world.rules.runbooks["mail"]
    gap_s = later.started - (earlier.ends or 0.0)
    if earlier.status != "succeeded" or gap_s >= runbook.verify.patience_s - 1.0 or not _same_cause(records, earlier, later):
        return []
    for_s = runbook.symptom.for_s - COUNTED_S
    hung = [one for queue in queues_of(world, later.target) for one in queue.hung(later.sent_at - LOOK_AND_FENCE_S, for_s)]
    hung += [one for queue in queues_of(world, later.target) for one in queue.hung(later.sent_at, for_s)]
    if pressed(world, later.target, later.sent_at) or (hung and gap_s >= for_s):
        return []
    return [Violation("I1", f"{later.id} came {gap_s:.0f} s after {earlier.id} for the same cause")]


def _same_cause(records: dict[str, Archive], earlier: Run, later: Run) -> bool:
    """Whether the later restart is for an alert that began before the earlier one ended."""
    if incident_of(earlier) == incident_of(later):
        return True
    record = records.get(incident_of(later))
    return record is not None and max(t.starts_at for t in record.incident.triggers) < (earlier.ends or 0.0) - 1.0


def _chains(world: World, records: dict[str, Archive], runs: list[Run]) -> list[Violation]:
    """No alert gets more restarts than `attempts` after it began, whichever incidents they belong to."""
    attempts = world.rules.runbooks["mail"].limits.attempts
    own = [run for run in runs if run.by == "unstick" and not pressed(world, run.target, run.sent_at)]
    for place, run in enumerate(own):
        record = records.get(incident_of(run))
        if record is None:
            continue
        began = max(trigger.starts_at for trigger in record.incident.triggers)
        since = [earlier for earlier in own[: place + 1] if earlier.started >= began + SKEW_S]
        if len(since) > attempts:
            return [Violation("I1", f"{run.id} is restart {len(since)} for one cause")]
    return []


def _told(world: World, records: list[Archive]) -> list[Violation]:
    """I2: every alert that was answered 2xx has an outcome that people were told of, and only one."""
    violations = []
    for record in records:
        kinds = {card.kind for _, _, card in world.chat.posts if card.incident == record.incident.id}
        wanted = {Ending.HELD: {"held", "not_approved", "declined", "bundle"}}.get(
            record.outcome.ending, {record.outcome.ending.value, "not_approved", "declined"}
        )
        app = record.target.options["app"] if record.target else ""
        # What was only observed is archived when it was followed, up to a day after the hold.
        held_at = record.outcome.at if record.incident.observed.observed_at is None else record.incident.observed.observed_at
        bundled = record.outcome.ending is Ending.HELD and _bundled(world, app, held_at, held_at)
        repeated = record.outcome.ending is Ending.HELD and _told_lately(world, app, held_at, held_at)
        asked = record.outcome.reason is Reason.LIKELY_STUCK and _was_asked(world, app, held_at)
        if not kinds & wanted and not bundled and not repeated and not asked:
            violations.append(Violation("I2", f"{record.incident.id} {record.outcome.ending} was not told, only {sorted(kinds)}"))
        if {"recovered", "escalated"} <= kinds:
            violations.append(Violation("I2", f"{record.incident.id} was told as recovered and as escalated"))
    violations += [
        Violation("I2", f"the alert {answer.alert.fingerprint} of {answer.alert.starts_at} came to nothing: {_of(answer)}")
        for answer in world.answered
        if not _came_to_something(world, records, answer)
    ]
    return violations


def _has_ended(run: Run, by: float) -> bool:
    ends = run.chain()[-1].ends
    return ends is not None and ends < by


def _zombies(world: World, records: list[Archive]) -> list[Violation]:
    """I4: that a restart does not end is said only of one that ran when it was looked at, or that blocked the job then."""
    runs = {str(run.id): run for run in world.rundeck.runs}
    violations = []
    for record in records:
        execution, outcome = record.incident.execution, record.outcome
        if outcome.reason is Reason.ZOMBIE_EXECUTION and execution is not None and execution.id in runs:
            own = runs[execution.id]
            ends = own.chain()[-1].ends
            of_the_job = [run for run in runs.values() if world.rundeck.one_at_a_time or run.target == own.target]
            if ends is not None and all(_has_ended(run, outcome.at - STALLED_S) for run in of_the_job):
                violations.append(Violation("I4", f"{execution.id} was told as running {outcome.at - ends:.0f} s after it ended"))
    return violations


def _bundled(world: World, app: str, since: float, until: float) -> bool:
    """Whether a message about many names this one, within the hour in which the same hold is not told again."""
    name, since, until = f"app={app}", since - SAME_HOLD_S, until + SAME_HOLD_S
    return any(
        card.kind == "bundle" and since <= when <= until and any(name in text.split(", ") for _, text in card.facts)
        for when, _, card in world.chat.posts
    )


def _told_lately(world: World, app: str, since: float, until: float) -> bool:
    """The same hold of the same alert is reported once an hour."""
    since, until = since - SAME_HOLD_S, until + SAME_HOLD_S
    return any(card.kind == "held" and app in card.headline and since <= at <= until for at, _, card in world.chat.posts)


def _was_asked(world: World, app: str, until: float) -> bool:
    """Whether people were asked, or told, about it before: they are only once in a day."""
    return any(card.kind in ("held", "not_approved") and app in card.headline and at <= until for at, _, card in world.chat.posts)


def _of(answer: Answered) -> str:
    return ", ".join(f"{reply.action.value} {reply.reason}" for reply in answer.replies)


def _carries(outcome: Outcome, answer: Answered) -> bool:
    return any(
        t.fingerprint == answer.alert.fingerprint and abs(t.starts_at - answer.alert.starts_at) <= 61.0 for t in outcome.triggers
    )


def _came_to_something(world: World, records: list[Archive], answer: Answered) -> bool:
    if any(_carries(record.outcome, answer) for record in records):
        return True
    app = answer.alert.labels["app"]
    if answer.alert.is_suspicion and any(at >= answer.asked_at for at in _passed(world, f"target-{app}")):
        return True
    mine: list[Reply] = [reply for reply in answer.replies if reply.target == f"app={app}"]
    if not mine:
        return False
    spoken = (_told_lately(world, app, answer.asked_at, answer.at), _bundled(world, app, answer.asked_at, answer.at))
    incidents = {reply.incident for reply in mine}
    held = any(card.kind == "held" and card.incident in incidents for _, _, card in world.chat.posts)
    asked = any(reply.reason is Reason.LIKELY_STUCK for reply in mine) and _was_asked(world, app, answer.at)
    # What waits before its first restart, or is handed over, may be what people were asked about already: that is not told again.
    later = any(reply.action is Action.DEFERRED for reply in mine) or _has_waited(world, f"target-{app}", incidents)
    asked = asked or (later and _was_asked_that_day(world, f"target-{app}", answer.at))
    return any(spoken) or held or asked or bool(incidents & world.lost_lists)


def _has_waited(world: World, target: str, incidents: set[str]) -> bool:
    """Whether one of these incidents waited before its first restart."""
    opened = (decode(Document, body, key).incident for _, key, body in world.saved if key == target)
    return any(one is not None and one.id in incidents and one.phase is Phase.WAITING and not one.attempt for one in opened)


def _was_asked_that_day(world: World, target: str, at: float) -> bool:
    """Whether the target's document says so, in the last save before."""
    saved = [body for when, key, body in world.saved if key == target and when <= at]
    return bool(saved) and any(0 <= at - asked < QUESTION_S for asked in decode(Document, saved[-1], target).questions.values())


def _passed(world: World, target: str) -> list[float]:
    """When suspicions of this target came to nothing, by the clock of the process that saved it."""
    last = [(at, decode(Document, body, key).passed_at) for at, key, body in world.saved if key == target]
    return [at for (_, before), (at, passed_at) in pairwise([(0.0, None), *last]) if passed_at != before]


def _told_of_suspicions(world: World, records: list[Archive]) -> list[Violation]:
    """Nobody is told of a suspicion that came to nothing, and it leaves no record."""
    violations = [
        Violation("quiet", f"{record.incident.id} was a suspicion that came to nothing, and has an outcome")
        for record in records
        if record.outcome.reason in (Reason.SYMPTOM_GONE, Reason.NOT_FIRING)
        and all(trigger.suspicion for trigger in record.incident.triggers)
        and not record.incident.told
        and not record.incident.attempt
    ]
    posted = {card.incident: at for at, _, card in world.chat.posts if card.kind == "held"}
    alerts: dict[str, list[Answered]] = {}
    for answer in world.answered:
        for reply in answer.replies:
            alerts.setdefault(reply.incident, []).append(answer)
    return violations + [
        Violation("quiet", f"{incident} was a suspicion of a queue that moves, and was told")
        for incident in posted & alerts.keys()
        if all(
            answer.alert.is_suspicion and _is_gone(answer, incident) and posted[incident] >= answer.asked_at
            for answer in alerts[incident]
        )
        and not _was_ill(world, alerts[incident][0].alert, posted[incident])
    ]


def _was_ill(world: World, alert: Alert, until: float) -> bool:
    """Whether the alert's target had a stuck queue: then its hold was right, and only told late, after a crash."""
    for_s = world.rules.runbooks["mail"].symptom.for_s
    queues = queues_of(world, f"target-{alert.labels['app']}")
    return any(queue.ill_within(alert.starts_at, until, for_s) for queue in queues)


def _is_gone(answer: Answered, incident: str) -> bool:
    return any(reply.incident == incident and reply.reason is Reason.SYMPTOM_GONE for reply in answer.replies)


def _repeated(world: World, records: list[Archive]) -> list[Violation]:
    """I1: an alert that has had its outcome starts nothing again."""
    violations = []
    restarted = {incident_of(run) for runs in effective(world).values() for run in runs if run.tag}
    for record in records:
        earlier = [
            trigger
            for other in records
            if other.outcome.at < record.incident.began_at - SKEW_S and other.outcome.settles and other.target == record.target
            for trigger in other.outcome.triggers
        ]
        again = all(any(_same(trigger, known) for known in earlier) for trigger in record.incident.triggers)
        if again and record.incident.id in restarted:
            violations.append(Violation("I1", f"{record.incident.id} restarted for alerts that had their outcome"))
    return violations


def _told_again(world: World, records: list[Archive]) -> list[Violation]:
    """I2: what came of an alert, more than that it is held, is said by one incident."""
    told: dict[tuple[str, str], list[tuple[AlertRef, str]]] = {}
    violations = []
    for record in records:
        if not record.outcome.settles or record.target is None:
            continue
        for trigger in record.outcome.triggers:
            before = told.setdefault((record.target.key, trigger.fingerprint), [])
            violations += [
                Violation("I2", f"{trigger.fingerprint} of {trigger.starts_at} has outcomes of {other} and {record.incident.id}")
                for known, other in before
                if other != record.incident.id and _same(known, trigger)
            ]
            before.append((trigger, record.incident.id))
    return violations


def _declined(world: World, records: list[Archive]) -> list[Violation]:
    """I3: what a person declined is not started afterwards, and its alerts are not asked about again."""
    violations = []
    for record in records:
        if record.outcome.reason is not Reason.DECLINED:
            continue
        said_at = max((at for at, incident in world.declines if incident == record.incident.id), default=None)
        if said_at is None:
            violations.append(Violation("I3", f"{record.incident.id} was declined by nobody"))
            continue
        late = [sent for sent in world.sent if sent["at"] > said_at and str(sent["tag"]).startswith(f"{record.incident.id}.")]
        if late:
            violations.append(Violation("I3", f"{late[0]['tag']} was started after somebody declined it"))
    return violations


def _same(one: AlertRef, other: AlertRef) -> bool:
    return one.fingerprint == other.fingerprint and abs(one.starts_at - other.starts_at) < 1.0


def _foreign(world: World, records: list[Archive]) -> list[Violation]:
    """I1: no incident goes by an execution of another target."""
    owners = {str(run.id): run.target for run in world.rundeck.runs}
    return [
        Violation("I1", f"{record.incident.id} went by the execution {execution.id} of another target")
        for record in records
        for execution in [record.incident.execution]
        if execution is not None and record.target is not None and owners.get(execution.id) != record.target.key
    ]
