"""I10: evidence never starts, delays beyond `within`, or counts as a restart; and it comes before the restart, once."""

from __future__ import annotations

from collections import Counter

from functions.application.documents import decode
from functions.domain.model.codes import Phase
from functions.domain.model.incidents import Document
from tests.simulation.checker.history import Violation, effective, incident_of, is_perhaps_gone, queues_of, records
from tests.simulation.checker.pace import is_steady
from tests.simulation.courses.held import APP
from tests.simulation.world import World

STEPS_S = 10.0
"""What a wake-up, its checks and its step take in the model beyond `within`."""

SAVE_S = 2.0
"""From the decision to collect evidence until its POST."""


def check_evidence(world: World) -> list[Violation]:
    """All violations of I10."""
    job = world.rules.runbooks["mail"].evidence
    if job is None:
        return [Violation("I10", f"{sent['tag']} was sent, but there is no evidence job") for sent in world.evidence_sent]
    violations = [*_sent_rightly(world), *_never_a_restart(world), *_first(world)]
    if is_steady(world) and "one_clock" in world.options:
        violations += [*_waited_for(world, job.within_s), *_not_too_long(world, job.within_s)]
    return violations


LOOK_S = 75.0
"""A process may freeze between the parts of a look, after it has read the queue. Evidence changes nothing."""


def _incident(tag: str) -> str:
    return tag.rpartition(".")[0]


def _sent_rightly(world: World) -> list[Violation]:
    """Once an incident, with the kill switch off, and for a queue that was ill."""
    violations = []
    symptom = world.rules.runbooks["mail"].symptom
    # A list of alerts that is delivered again opens an incident of the same id, if the first one ended as held.
    lives = Counter(incident for _, incident, phase in _phases(world) if phase is None)
    tags = Counter(str(sent["tag"]) for sent in world.evidence_sent)
    violations += [
        Violation("I10", f"{tag} was sent {times} times") for tag, times in tags.items() if times > max(1, lives[_incident(tag)])
    ]
    targets = {record.incident.id: record.target.options["app"] for record in records(world).values() if record.target}
    for sent in world.evidence_sent:
        if sent["paused"]:
            violations.append(Violation("I9", f"{sent['tag']} was sent though the kill switch was on"))
        app = targets.get(_incident(sent["tag"]))
        queues = queues_of(world, f"target-{app}")
        ill = app == APP or any(queue.ill_within(sent["at"] - LOOK_S, sent["at"], symptom.for_s) for queue in queues)
        if queues and not ill and not is_perhaps_gone(world, f"target-{app}", sent["at"]):
            violations.append(Violation("I10", f"{sent['tag']} was sent though no queue was ill"))
    return violations


def _never_a_restart(world: World) -> list[Violation]:
    """No incident goes by an evidence run."""
    ids = {str(run.id) for run in world.rundeck.evidence}
    violations = []
    for record in records(world).values():
        incident = record.incident
        followed = [one for one in (incident.execution, *(attempt.execution for attempt in incident.tries)) if one is not None]
        violations += [
            Violation("I10", f"{incident.id} took the evidence run {one.id} for a restart") for one in followed if one.id in ids
        ]
    return violations


def _first(world: World) -> list[Violation]:
    """The first restart of a target that nobody has restarted before comes after evidence was asked for."""
    collected = {incident for _, incident, phase in _phases(world) if phase is Phase.COLLECTING}
    return [
        Violation("I10", f"{runs[0].id} came without evidence")
        for runs in effective(world).values()
        if runs[0].by == "unstick" and incident_of(runs[0]) not in collected
    ]


def _waited_for(world: World, within_s: float) -> list[Violation]:
    """No restart is sent while the incident's evidence run goes on and its time is not up."""
    return [
        Violation("I10", f"{sent['tag']} was sent while the evidence run {run.id} went on")
        for sent in world.sent
        for run in world.rundeck.evidence
        if _incident(run.tag) == _incident(sent["tag"])
        and run.running(sent["at"])
        and sent["at"] < run.sent_at + within_s - SAVE_S
    ]


def _not_too_long(world: World, within_s: float) -> list[Violation]:
    """An incident leaves the phase when its time is up."""
    since: dict[str, float] = {}
    took: list[tuple[str, float]] = []
    for at, incident, phase in _phases(world):
        if phase is Phase.COLLECTING:
            since.setdefault(incident, at)
        elif incident in since:
            took.append((incident, at - since.pop(incident)))
    took += [(incident, world.now - at) for incident, at in since.items()]
    return [
        Violation("I10", f"{incident} collected evidence for {took_s:.0f} s")
        for incident, took_s in took
        if took_s > within_s + STEPS_S
    ]


def _phases(world: World) -> list[tuple[float, str, Phase | None]]:
    """(when it was saved, incident, its phase; None: it is over)."""
    phases: list[tuple[float, str, Phase | None]] = []
    open_incidents: dict[str, str] = {}
    for at, key, body in world.saved:
        if key.startswith(("pause", "storm")):
            continue
        incident = decode(Document, body, key).incident
        before = open_incidents.get(key)
        if before and (incident is None or incident.id != before):
            phases.append((at, before, None))
            del open_incidents[key]
        if incident is not None:
            phases.append((at, incident.id, incident.phase))
            open_incidents[key] = incident.id
    return phases
