"""I3, I4 and I9: whether each restart was one that every guard lets pass, by a reading of its own.

Not read here, since the models don't tell them apart: `stale_alert` and `escalated`;
tests/domain/decisions/test_guards.py has them.
"""

from __future__ import annotations

from itertools import pairwise

from functions.application.documents import decode
from functions.domain.model.codes import Mode, Phase
from functions.domain.model.incidents import Archive, Document
from tests.simulation.checker.history import (
    LOOK_AND_FENCE_S,
    SKEW_S,
    Violation,
    effective,
    incident_of,
    is_perhaps_gone,
    known,
    pressed,
    queues_of,
    records,
)
from tests.simulation.courses.held import TARGET
from tests.simulation.courses.troubles import BLIND, frozen
from tests.simulation.models import Run
from tests.simulation.world import World

NUMBERED = 6
"""DESIGN's most numbered attempts of an incident."""

UNCLEAR = 2
"""Of which Rundeck never knew anything."""


def check_guards(world: World) -> list[Violation]:
    """All violations of I3, I4 and I9."""
    violations = _held_to_the_rules(world) + _blind(world) + _numbered(world) + _storm(world)
    archived = records(world)
    for target, runs in effective(world).items():
        own = [run for run in runs if run.by == "unstick"]
        if world.rules.runbooks["mail"].mode is Mode.APPROVE:
            pressings = sum(key == target for _, key in world.presses)
            if len(own) > pressings:
                violations.append(Violation("I3", f"{target}: {len(own)} restarts, but the button was pressed {pressings} times"))
        for run in own:
            if not pressed(world, target, run.sent_at):
                violations += _windows(world, runs, run) + _failing(world, run)
        violations += [
            Violation("I3", f"{later.id} came before the cooldown after {earlier.id}")
            for earlier, later in pairwise(runs)
            if _too_soon(world, archived, earlier, later)
        ]
    return violations


def _held_to_the_rules(world: World) -> list[Violation]:
    """Each effective restart was saved first, for a queue that was ill, with the kill switch off."""
    violations = []
    runbook = world.rules.runbooks["mail"]
    sent_first = {run.sent_at: run for runs in effective(world).values() for run in runs if run.by == "unstick"}
    for sent in world.sent:
        if sent["paused"]:
            violations.append(Violation("I9", f"{sent['tag']} was sent though the kill switch was on"))
        if runbook.mode is Mode.OBSERVE:
            violations.append(Violation("I3", f"{sent['tag']} was sent in mode observe"))
        if sent["at"] not in sent_first:
            continue
        document = decode(Document, sent["document"], "sent") if sent["document"] else None
        incident = document.incident if document else None
        if incident is None or incident.phase is not Phase.STARTING or f"{incident.id}.{incident.attempt}" != sent["tag"]:
            violations.append(Violation("I3", f"{sent['tag']} was sent without being saved as starting"))
        elif document is not None and not _wakes(world, document.key, sent["at"]):
            violations.append(Violation("I3", f"{sent['tag']} was sent without a wake-up"))
        queues = queues_of(world, sent["target"])
        begin = sent["at"] - LOOK_AND_FENCE_S - 2 * world.faults.scrape_s
        for_s = runbook.symptom.for_s - world.faults.scrape_s
        likely = sent["target"] == TARGET or is_perhaps_gone(world, sent["target"], begin)
        allowed = likely and pressed(world, sent["target"], sent["at"])  # I13 has the rest of that
        if not allowed and not any(queue.ill_within(begin, sent["at"], for_s) for queue in queues):
            violations.append(Violation("I3", f"{sent['tag']} was sent though no queue was ill"))
    return violations


def _wakes(world: World, key: str, at: float) -> bool:
    return any(target == key and ordered <= at <= due + SKEW_S for ordered, due, target in world.wakes)


def _blind(world: World) -> list[Violation]:
    """Nothing is sent in a freeze window, nor while nobody can know enough, give or take a look and its fence."""
    windows = world.rules.runbooks["mail"].freeze
    violations = []
    for sent in world.sent:
        at = sent["at"]
        violations += [
            Violation("I4", f"{sent['tag']} was sent though {kind}")
            for kind, begin, end in world.troubles
            if kind in BLIND and begin + LOOK_AND_FENCE_S < at < end
        ]
        inside = all(frozen(windows, moment) for moment in (at - SKEW_S, at, at + SKEW_S))
        if inside and not pressed(world, sent["target"], at):
            violations.append(Violation("I3", f"{sent['tag']} was sent in a freeze window"))
    return violations


def _numbered(world: World) -> list[Violation]:
    numbered: dict[str, set[str]] = {}
    for sent in world.sent:
        numbered.setdefault(sent["tag"].rpartition(".")[0], set()).add(sent["tag"])
    known_tags = {run.tag for run in world.rundeck.runs}
    violations = [Violation("I3", f"{name} has {len(tags)} attempts") for name, tags in numbered.items() if len(tags) > NUMBERED]
    return violations + [
        Violation("unclear", f"{name} was sent {len(tags - known_tags)} times, and Rundeck ran none of them")
        for name, tags in numbered.items()
        if len(tags - known_tags) > UNCLEAR
    ]


def _windows(world: World, runs: list[Run], run: Run) -> list[Violation]:
    """`limits.restarts`, of what the look could see: somebody's restarts count, too."""
    return [
        Violation("I3", f"{run.id} came though {window_s:.0f} s had seen {limit} restarts")
        for window_s, limit in world.rules.runbooks["mail"].limits.restarts
        if sum(one.started > run.sent_at - window_s + 2.0 and known(one, run.sent_at) for one in runs) >= limit
    ]


def _failing(world: World, run: Run) -> list[Violation]:
    """`limits.failing`: nothing is started after this many that failed, one after the other."""
    limit = world.rules.runbooks["mail"].limits.failing
    ended = [
        one
        for one in world.rundeck.runs
        if one.target == run.target and not one.refused and one.id != run.id and one.ends is not None and one.ends < run.started
    ]
    newest = sorted(ended, key=lambda one: one.ends or 0.0)[-limit:]
    told = all(max(one.ends or 0.0, one.seen_from) <= run.sent_at - LOOK_AND_FENCE_S for one in newest)
    if len(newest) == limit and told and all(one.status == "failed" for one in newest):
        return [Violation("I3", f"{run.id} came after {limit} that had failed")]
    return []


def _too_soon(world: World, archived: dict[str, Archive], earlier: Run, later: Run) -> bool:
    """Whether a first attempt came before the cooldown was over."""
    record = archived.get(incident_of(later))
    if later.by != "unstick" or earlier.ends is None or record is None or pressed(world, later.target, later.sent_at):
        return False
    chain = {str(one.id) for one in earlier.chain()}
    followed = any(attempt.execution and attempt.execution.id in chain for attempt in record.incident.tries)
    if followed or incident_of(earlier) == incident_of(later) or not known(earlier, later.sent_at):
        return False
    return later.started - earlier.ends < world.rules.runbooks["mail"].limits.cooldown_s - 2.0


def _storm(world: World) -> list[Violation]:
    """Not more targets than `storm.targets` in its time: first attempts, that nobody overruled."""
    first: dict[str, Run] = {}
    archived = records(world)
    for target, runs in effective(world).items():
        for run in runs:
            record = archived.get(incident_of(run))
            by_us = run.by == "unstick" and record is not None and not pressed(world, target, run.sent_at)
            foreign = [t for t in record.incident.tries if not t.tag.startswith(record.incident.id)] if record else []
            if by_us and not foreign:
                first.setdefault(incident_of(run), run)
    violations = []
    within_s = world.rules.storm_within_s - 2 * SKEW_S
    for run in first.values():
        targets = {one.target for one in first.values() if run.sent_at - within_s < one.sent_at <= run.sent_at}
        if len(targets) > world.rules.storm_targets:
            violations.append(Violation("I3", f"{run.id} is the restart of target {len(targets)} within {within_s:.0f} s"))
    return violations
