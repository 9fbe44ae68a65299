"""I3, I4, I9 and I10: whether each start of a job was ordered rightly, and each evidence run kept its place."""

from __future__ import annotations

from collections import Counter

from functions.domain.model.codes import Mode, Phase, Reason
from tests.simulation.checker.past import LOOK_AND_FENCE_S, SKEW_S, Past, Violation, incident_of, queues_of
from tests.simulation.courses.held import TARGET
from tests.simulation.courses.troubles import BLIND
from tests.simulation.models import Run

STEPS_S = 10.0
"""What a wake-up, its checks and its step take in the model beyond `within`."""
SAVE_S = 2.0
"""From the decision to collect evidence until its POST."""
LOOK_S = 75.0
"""A process may freeze between the parts of a look, after it has read the queue. Evidence changes nothing."""


def check_starts(past: Past) -> list[Violation]:
    """All violations of these four."""
    return [*_ordered_rightly(past), *_blind(past), *_declined(past), *_storm(past), *_check_evidence(past)]


def _ordered_rightly(past: Past) -> list[Violation]:
    """Each effective restart was saved first, for a queue that was ill, with the kill switch off; in approve by a person."""
    world, mode = past.world, past.runbook.mode
    violations = []
    effective = {run.sent_at for runs in past.runs.values() for run in runs if run.by == "unstick"}
    for start in world.sent:
        if start.paused:
            violations.append(Violation("I9", f"{start.tag} was sent though the kill switch was on"))
        if mode is Mode.OBSERVE:
            violations.append(Violation("I3", f"{start.tag} was sent in mode observe"))
        if start.at not in effective:
            continue
        incident = start.document.incident if start.document else None
        if incident is None or incident.phase is not Phase.STARTING or f"{incident.id}.{incident.attempt}" != start.tag:
            violations.append(Violation("I3", f"{start.tag} was sent without being saved as starting"))
        elif not any(key == start.target and ordered <= start.at <= due + SKEW_S for ordered, due, key in world.wakes):
            violations.append(Violation("I3", f"{start.tag} was sent without a wake-up"))
        begin, for_s = start.at - LOOK_AND_FENCE_S, past.runbook.symptom.for_s - world.faults.scrape_s
        likely = start.target == TARGET or past.is_perhaps_gone(start.target, begin)
        allowed = likely and past.is_pressed(start.target, start.at)  # I13 has the rest of that
        begin -= 2 * world.faults.scrape_s
        if not allowed and not any(queue.ill_within(begin, start.at, for_s) for queue in queues_of(world, start.target)):
            violations.append(Violation("I3", f"{start.tag} was sent though no queue was ill"))
    for target, runs in past.runs.items():
        own, presses = sum(run.by == "unstick" for run in runs), sum(key == target for _, key in world.presses)
        if mode is Mode.APPROVE and own > presses:
            violations.append(Violation("I3", f"{target}: {own} restarts, but the button was pressed {presses} times"))
    return violations


def _blind(past: Past) -> list[Violation]:
    """Nothing is sent while nobody can know enough, give or take a look and its fence."""
    return [
        Violation("I4", f"{start.tag} was sent though {kind}")
        for start in past.world.sent
        for kind, begin, end in past.world.troubles
        if kind in BLIND and begin + LOOK_AND_FENCE_S < start.at < end
    ]


def _declined(past: Past) -> list[Violation]:
    """What a person declined is not started afterwards."""
    violations = []
    for incident, record in past.records.items():
        if record.outcome.reason is not Reason.DECLINED:
            continue
        said_at = max((at for at, declined, _ in past.world.declines if declined == incident), default=None)
        late = [start.tag for start in past.world.sent if incident_of(start.tag) == incident and start.at > (said_at or 0.0)]
        if said_at is None or late:
            violations.append(Violation("I3", f"{incident} was declined at {said_at}, and then {late} were started"))
    return violations


def _storm(past: Past) -> list[Violation]:
    """Not more targets than `storm.targets` in its time: first attempts, that nobody overruled."""
    first: dict[str, Run] = {}
    for target, runs in past.runs.items():
        for run in runs:
            record = past.records.get(incident_of(run.tag))
            if run.by != "unstick" or record is None or past.is_pressed(target, run.sent_at):
                continue
            if all(attempt.tag.startswith(record.incident.id) for attempt in record.incident.tries):
                first.setdefault(record.incident.id, run)
    within_s, limit = past.world.rules.storm_within_s - 2 * SKEW_S, past.world.rules.storm_targets
    targets = {run.id: {one.target for one in first.values() if run.sent_at - within_s < one.sent_at <= run.sent_at}
               for run in first.values()}  # fmt: skip
    return [
        Violation("I3", f"{run} is the restart of target {len(others)} within {within_s:.0f} s")
        for run, others in targets.items()
        if len(others) > limit
    ]


def _check_evidence(past: Past) -> list[Violation]:
    """I10: evidence is taken once and for a queue that is ill, is never taken for a restart, and holds none up for long."""
    world, job = past.world, past.runbook.evidence
    if job is None:
        return [Violation("I10", f"{start.tag} was sent, but there is no evidence job") for start in world.evidence_sent]
    ids = {str(run.id) for run in world.rundeck.evidence}
    violations = [
        Violation("I10", f"{incident} took the evidence run {execution.id} for a restart")
        for incident, record in past.records.items()
        for execution in (record.incident.execution, *(attempt.execution for attempt in record.incident.tries))
        if execution is not None and execution.id in ids
    ]
    violations += _sent_rightly(past)
    if past.is_steady and "one_clock" in world.options:
        violations += [*_not_waited_for(past, job.within_s), *_waited_too_long(past, job.within_s)]
    return violations


def _sent_rightly(past: Past) -> list[Violation]:
    violations = []
    # A list of alerts that is delivered again opens an incident of the same id, if the first one ended as held.
    lives = Counter(incident for _, incident, phase in _phases(past) if phase is None)
    tags = Counter(start.tag for start in past.world.evidence_sent)
    violations += [
        Violation("I10", f"{tag} was sent {times} times")
        for tag, times in tags.items()
        if times > max(1, lives[incident_of(tag)])
    ]
    for start in past.world.evidence_sent:
        if start.paused:
            violations.append(Violation("I9", f"{start.tag} was sent though the kill switch was on"))
        record = past.records.get(incident_of(start.tag))
        target = record.target.key if record and record.target else ""
        queues, for_s = queues_of(past.world, target), past.runbook.symptom.for_s
        ill = target == TARGET or any(queue.ill_within(start.at - LOOK_S, start.at, for_s) for queue in queues)
        if record and not ill and not past.is_perhaps_gone(target, start.at):
            violations.append(Violation("I10", f"{start.tag} was sent though no queue was ill"))
    return violations


def _not_waited_for(past: Past, within_s: float) -> list[Violation]:
    """No restart is sent while the incident's evidence run goes on and its time is not up."""
    return [
        Violation("I10", f"{start.tag} was sent while the evidence run {run.id} went on")
        for start in past.world.sent
        for run in past.world.rundeck.evidence
        if incident_of(run.tag) == incident_of(start.tag)
        and run.started <= start.at < min(run.sent_at + within_s - SAVE_S, run.ends or past.world.now)
    ]


def _waited_too_long(past: Past, within_s: float) -> list[Violation]:
    """An incident leaves the phase when its time is up."""
    since: dict[str, float] = {}
    took: list[tuple[str, float]] = []
    for at, incident, phase in _phases(past):
        if phase is Phase.COLLECTING:
            since.setdefault(incident, at)
        elif incident in since:
            took.append((incident, at - since.pop(incident)))
    took += [(incident, past.world.now - at) for incident, at in since.items()]
    return [
        Violation("I10", f"{incident} collected evidence for {took_s:.0f} s")
        for incident, took_s in took
        if took_s > within_s + STEPS_S
    ]


def _phases(past: Past) -> list[tuple[float, str, Phase | None]]:
    """(when it was saved, incident, its phase; None: it is over)."""
    phases: list[tuple[float, str, Phase | None]] = []
    opened: dict[str, str] = {}
    for at, key, document in past.saves:
        incident = document.incident
        if key in opened and (incident is None or incident.id != opened[key]):
            phases.append((at, opened.pop(key), None))
        if incident is not None:
            phases.append((at, incident.id, incident.phase))
            opened[key] = incident.id
    return phases
