"""I5: recovered is said only of queues that were seen well twice, or to move until the time was up, after the restart's end.

And stuck only of a queue that was looked at after its patience was over.
"""

from __future__ import annotations

from collections.abc import Iterator

from functions.application.documents import decode
from functions.domain.model.codes import Ending, Verdict
from functions.domain.model.incidents import Archive, Document, Incident, Outcome, QueueState
from tests.simulation.checker.history import LOOK_AND_FENCE_S, SKEW_S, Violation, effective, incident_of, records
from tests.simulation.models import Run
from tests.simulation.queues import RANGE
from tests.simulation.world import World

LEAVING_S = 10.0
"""A consumer of before may take so long to leave; one that is there still is one that stays."""

SLOW_S = 5.0
"""A consumer may take so long for one message."""
MOVED_S = 20.0
LOOK_S = 10.0
"""Its parts are asked at once, and answer when they do."""
STALLED_S = 300.0
"""For so long the offset to Rundeck's clock may be that of another look."""
KNOWN_S = 2.0
"""Rundeck's Date has whole seconds, and a queue's answer may come up to half a second from it, at both looks."""


def check_recoveries(world: World) -> list[Violation]:
    """All violations of I5."""
    violations: list[Violation] = _called_stuck_too_soon(world)
    archived = records(world)
    seen: set[str] = set()
    for at, key, body in world.saved:
        if key.startswith(("pause", "storm")):
            continue
        for outcome in decode(Document, body, key).outcomes:
            if outcome.incident not in seen and outcome.ending is Ending.RECOVERED:
                seen.add(outcome.incident)
                violations += _proven(world, archived.get(outcome.incident), at, key, outcome)
    return violations


def _proven(world: World, record: Archive | None, at: float, key: str, outcome: Outcome) -> list[Violation]:
    execution = record.incident.execution if record else None
    runs = [
        run
        for run in effective(world).get(key, [])
        if execution is not None and execution.id in {str(one.id) for one in run.chain()}
    ]
    if not runs or runs[0].ends is None or runs[0].ends > at:
        return [Violation("I5", f"{outcome.incident} of {key} recovered without a restart that had ended")]
    return [
        Violation("I5", f"{outcome.incident}: {name} was not well when it was called recovered")
        for name in {trigger.queue for trigger in outcome.triggers}
        if not _seen_well(world, key, name, runs[0], at) and not _moving(world, name, runs[0], at)
    ]


def _seen_well(world: World, key: str, name: str, run: Run, told_at: float) -> bool:
    """Twice, `every` apart, with all looks between well as well, if anybody knows of them."""
    ended = run.ends or 0.0
    verify = world.rules.runbooks["mail"].verify
    first = None
    looks = world.looks.get(name, [])
    range_s = RANGE * world.faults.scrape_s
    for when, depth, _ in looks:
        if not ended < when <= told_at:
            continue
        well = _present(world, name, run, when) and (depth == 0 or _works_again(world, name, run, when))
        if range_s:  # by conditions that look back: nothing of it from before the end, and nothing of it twice
            well = when >= ended + range_s - KNOWN_S and _worked(world, name, when, range_s)
        if not well and not _was_judged(world, key, name, when):
            continue
        first = (when if first is None else first) if well else None
        if first is None:
            continue
        # Without Rundeck's clock, what lies between two looks is by the clocks of those who look. A look takes up to LOOK_S.
        unread = any(first - LOOK_S <= at <= when + LOOK_S for at in world.unread)
        every_s = max(verify.every_s, range_s) - KNOWN_S
        if when - first >= (0.1 if unread else every_s):
            return True
    return False


def _was_judged(world: World, key: str, name: str, when: float) -> bool:
    """Whether the look was saved with its verdict, as far as that can be told. Alerts that come before the next look is due
    are saved without."""
    body = world.kept.get((key, name, when))
    incident = decode(Document, body, key).incident if body is not None else None
    if incident is None or any(when - STALLED_S <= at <= when + LOOK_S for at in world.unread):
        return body is not None
    judged = [watched.after.looked_at for watched in incident.queues if watched.queue.key == name]
    return any(at is not None and abs(at - when - world.rundeck.ahead_s) <= KNOWN_S for at in judged)


def _present(world: World, name: str, run: Run, when: float) -> bool:
    """Whether it has a consumer that came with the restart, or that stays."""
    queue = world.queues[name]
    old = () if when >= (run.ends or 0.0) + LEAVING_S else queue.consumers(run.started)
    return any(one not in old for one in queue.consumers(when))


def _worked(world: World, name: str, when: float, range_s: float) -> bool:
    """Whether it was empty, or a job was done, as far as scrapes can tell."""
    queue, scrape_s = world.queues[name], world.faults.scrape_s
    return any(queue.depth(at) == 0 for at in (when, when - scrape_s)) or queue.acks(when) > queue.acks(when - range_s - scrape_s)


def _works_again(world: World, name: str, run: Run, when: float) -> bool:
    """Where a consumer hung: each of those that are there has done something since the restart, or came long after it."""
    queue, ended, for_s = world.queues[name], run.ends or 0.0, world.rules.runbooks["mail"].symptom.for_s
    sent = [one["at"] for one in world.sent if incident_of(run) and one["tag"].startswith(incident_of(run))]
    hung = any(queue.hung(at, for_s - LOOK_AND_FENCE_S) for at in (*sent, run.sent_at))
    return hung and not queue.hung(when, max(when - ended - LEAVING_S, SLOW_S))


def _moving(world: World, name: str, run: Run, at: float) -> bool:
    """At the end of `within`: it moved, and has consumers."""
    ended, queue = run.ends or 0.0, world.queues[name]
    verify = world.rules.runbooks["mail"].verify
    unread = any(at - LOOK_AND_FENCE_S <= when <= at for when in world.unread)
    if at < ended + verify.within_s - (SKEW_S if unread else 2.0):
        return False
    lately = [at - 0.5 * n for n in range(int(2 * (verify.patience_s + MOVED_S)))]
    return bool(queue.consumers(at)) and any(queue.acks(m) > queue.acks(max(ended, m - MOVED_S)) for m in lately if m > ended)


def _called_stuck_too_soon(world: World) -> list[Violation]:
    """A queue has its patience from when it joined its incident."""
    patience_s = world.rules.runbooks["mail"].verify.patience_s - (0.1 if "one_clock" in world.options else SKEW_S)
    violations, known = [], set()
    for at, incident, watched in _called_stuck(world):
        queue = watched.queue.key
        if (incident.id, queue) in known:
            continue
        known.add((incident.id, queue))
        if world.queues[queue].ill_within(at - LOOK_AND_FENCE_S, at, world.rules.runbooks["mail"].symptom.for_s) and (
            watched.after.held_again
        ):
            continue
        if not any(watched.joined_at + patience_s <= when <= at for when, _, _ in world.looks.get(queue, [])):
            joined_s = at - watched.joined_at
            violations.append(Violation("I5", f"{incident.id}: {queue} was called stuck {joined_s:.0f} s after it joined"))
    return violations


def _called_stuck(world: World) -> Iterator[tuple[float, Incident, QueueState]]:
    """(when it was saved, incident, queue), for each save that calls a queue stuck."""
    for at, key, body in world.saved:
        if key.startswith(("pause", "storm")):
            continue
        document = decode(Document, body, key)
        open_ones = [document.incident] if document.incident else []
        for incident in (*open_ones, *(record.incident for record in document.to_archive)):
            for watched in incident.queues:
                if watched.after.verdict is Verdict.STUCK:
                    yield at, incident, watched
