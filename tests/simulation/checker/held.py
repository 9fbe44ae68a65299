"""I13: what is only likely is a question, and a restart rests on a proof, a person's word, or the evidence job's.

Whether something was provable is read here from the truth, by the table in docs/rabbitmq.md and not by the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import decode
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.codes import Ending, Mode, Phase, Proof, Reason
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.runbooks import Runbook, Symptom
from tests.simulation.checker.history import LOOK_AND_FENCE_S, SKEW_S, Violation, effective, incident_of, queues_of, records
from tests.simulation.checker.pace import SOON_S, is_in_the_way, is_steady
from tests.simulation.courses.held import APP, RUNBOOK, TARGET, Held
from tests.simulation.courses.troubles import OF_THE_BROKER
from tests.simulation.models import Faults, Run
from tests.simulation.queues import COUNTED_S, Queue, Worker
from tests.simulation.scenario import Scenario
from tests.simulation.world import World

STEP_S = 5.0
LOOK_S = 75.0
"""A process may freeze between its look and what it saves."""
KEPT_MORE_S = 20.0
"""Beyond `for`: so long a held message that leaves room for more waits for a proof, before people are asked."""
UNDISTURBED = frozenset({"auto", "untroubled", "one_clock"})
COMMAND = "rabbitmqctl close_connection"
MAY_HANG = "may hang"
CALLED = "boss"
"""The channel of the held application's `escalate`."""


def check_held(scenario: Scenario) -> list[Violation]:
    """All violations of I13."""
    world, case = scenario.world, scenario.held
    violations = [*_unproved(world), *_asked_again(world), *_asked_early(world), *_never_calm(world)]
    if case is not None:
        violations += [*_healthy_restarted(world, case), *_survivor(world, case), *_restarted_late(world, case)]
    return violations


def is_provable(world: World, key: str, at: float) -> bool:
    """Whether no healthy application looks like this for all of `for`, by what the broker showed until then."""
    queue, runbook = world.queues[key], _runbook_of(world, key)
    for_s = runbook.symptom.for_s - COUNTED_S
    if at - queue.up_since < for_s:
        return False
    return _is_held(world, key, runbook.symptom, at) or _is_left(world, key, runbook, at)


def _is_held(world: World, key: str, symptom: Symptom, at: float) -> bool:
    """A window that is full, or messages that wait behind what a channel holds, of a queue that is no lock."""
    queue = world.queues[key]
    holding = [one for one in queue.hung(at, symptom.for_s - COUNTED_S, kept=True) if not one.polls]
    own = [one for one in holding if not symptom.users or not one.user or one.user in symptom.users]
    if not own or not world.broker.monitoring or not (symptom.keeps_nothing or _was_acked(world, key, at)):
        return False
    return symptom.keeps_nothing or any(map(_is_full, own)) or _waits(queue, at, symptom.for_s - COUNTED_S)


def _is_full(worker: Worker) -> bool:
    return bool(worker.window) and worker.holds >= (worker.window or 0)


def _is_left(world: World, key: str, runbook: Runbook, at: float) -> bool:
    """Messages wait, nobody holds one, and the consumers are given none, or are gone."""
    queue, for_s = world.queues[key], runbook.symptom.for_s - COUNTED_S
    if not _waits(queue, at, for_s) or any(one.holds for one in queue.piece(at).workers):
        return False
    if queue.consumers(at):
        return world.broker.monitoring
    return runbook.recovered.min_consumers > 0 and (_was_consumed(world, key, at) or _was_acked(world, key, at))


def _waits(queue: Queue, at: float, for_s: float) -> bool:
    """Whether messages were ready all the time, and nothing was delivered or finished."""
    moments = [at - STEP_S * step for step in range(int(for_s / STEP_S) + 1)]
    return queue.moves(at) == queue.moves(at - for_s) and all(queue.ready(moment) for moment in moments)


def _was_acked(world: World, key: str, at: float) -> bool:
    return _is_remembered(world, key, ACKED_1D, at, lambda queue, when: queue.counted(when)[1])


def _was_consumed(world: World, key: str, at: float) -> bool:
    return _is_remembered(world, key, CONSUMERS_1D, at, lambda queue, when: queue.counted(when)[0] or len(queue.consumers(when)))


def _is_remembered(world: World, key: str, annotation: str, at: float, figure: Callable[[Queue, float], int]) -> bool:
    """Whether it shows now, in the alert's history, or was shown to an earlier look."""
    queue = world.queues[key]
    told = int(world.annotations.get(key, {}).get(annotation, "0"))
    looks = (when for when, _, _ in world.looks.get(key, ()) if when <= at)
    return bool(told or figure(queue, at)) or any(figure(queue, when) for when in looks)


def _runbook_of(world: World, key: str) -> Runbook:
    return world.rules.runbooks[RUNBOOK if key == _key() and RUNBOOK in world.rules.runbooks else "mail"]


def _key() -> str:
    return to_queue("/", f"{APP}.jobs").key


def _keys(world: World, target: str) -> list[str]:
    queues = queues_of(world, target)
    return [key for key, queue in world.queues.items() if queue in queues]


def _own(world: World) -> Iterator[Run]:
    """The restarts that Unstick decided, with no person's word for their incident before."""
    archived = records(world)
    for runs in effective(world).values():
        for run in runs:
            record = archived.get(incident_of(run))
            began = record.incident.began_at - SKEW_S if record else 0.0
            said = any(key == run.target and began <= when <= run.sent_at for when, key in world.presses)
            if run.by == "unstick" and not said:
                yield run


def _unproved(world: World) -> list[Violation]:
    if world.faults.scrape_s or world.rules.runbooks["mail"].mode is not Mode.AUTO:
        return []
    return [
        Violation("I13", f"{run.tag} was sent without a proof, and nobody said so")
        for run in _own(world)
        if not _was_provable(world, run) and not _was_said(world, run)
    ]


def _moments(run: Run) -> list[float]:
    return [run.sent_at - step for step in range(int(LOOK_AND_FENCE_S) + 1)]


def _was_provable(world: World, run: Run) -> bool:
    return any(is_provable(world, key, at) for key in _keys(world, run.target) for at in _moments(run))


def _was_said(world: World, run: Run) -> bool:
    """Whether the evidence job said that it is stuck, of the only host that held anything then."""
    hosts = {one.host for queue in queues_of(world, run.target) for one in queue.hung(run.sent_at, LOOK_AND_FENCE_S, kept=True)}
    return any(one.incident == incident_of(run) and one.stuck and {one.host} >= hosts for one in world.opinions)


def _healthy_restarted(world: World, case: Held) -> list[Violation]:
    """What keeps messages, is a lock, or was scaled to zero, is never restarted without a person."""
    return [
        Violation("I13", f"{run.tag} restarted an application that is healthy: {case.kind}")
        for run in _own(world)
        if run.target == TARGET and run.sent_at < case.hangs_from
    ]


def _asked_again(world: World) -> list[Violation]:
    """One question for each queue and verdict in a day; a schedule is shorter, but where it only observes."""
    asked: dict[str, set[tuple[str, str]]] = {}
    nonces: set[str] = set()
    violations = []
    for _, key, incident in _saved(world):
        if incident is None or incident.phase is not Phase.ASKED or incident.reason is not Reason.LIKELY_STUCK:
            continue
        if incident.approval.nonce in nonces:
            continue
        nonces.add(incident.approval.nonce)
        about = {(one.queue.key, one.proof.value if one.proof else "") for one in incident.queues if one.is_likely}
        if about <= asked.setdefault(key, set()):
            violations.append(Violation("I13", f"{incident.id} asked once more about {sorted(about)}"))
        asked[key] |= about
    return violations


def _asked_early(world: World) -> list[Violation]:
    """A question about what a channel holds comes once its proof would have come first."""
    violations, known = [], set[str]()
    for at, key, incident in _saved(world):
        if incident is None or incident.phase is not Phase.ASKED or incident.reason is not Reason.LIKELY_STUCK:
            continue
        (watched, *others), symptom = incident.queues, _runbook_of(world, incident.queues[0].queue.key).symptom
        if incident.id in known or others or not watched.held_by:
            continue
        known.add(incident.id)
        held_s = symptom.for_s + (KEPT_MORE_S if watched.proof is Proof.PERHAPS else 0.0) - COUNTED_S
        queue = world.queues[watched.queue.key]
        # It may have stalled between its look and its save.
        looks = [when for document, name, when in world.kept if (document, name) == (key, watched.queue.key) and when <= at]
        moments = [before - step for before in (at, *looks[-1:]) for step in range(int(LOOK_S) + 1)]
        if not any(queue.hung(moment, held_s, kept=True) for moment in moments):
            violations.append(Violation("I13", f"{incident.id} asked about what was held for less than {held_s:.0f} s"))
    return violations


def _saved(world: World) -> Iterator[tuple[float, str, Incident | None]]:
    for at, key, body in world.saved:
        if not key.startswith(("pause", "storm")):
            yield at, key, decode(Document, body, key).incident


def _never_calm(world: World) -> list[Violation]:
    """A question mentions nobody, calls nobody else, and escalates nothing."""
    violations = []
    for record in records(world).values():
        incident = record.incident
        if record.outcome.reason is not Reason.LIKELY_STUCK or incident.restarts:
            continue
        if record.outcome.ending is Ending.ESCALATED:
            violations.append(Violation("I13", f"{incident.id} asked, and was escalated"))
        cards = [(channel, card) for _, channel, card in world.chat.posts if card.incident == incident.id]
        asked = [(channel, card) for channel, card in cards if card.kind == "not_approved" or MAY_HANG in card.headline]
        loud = [card.kind for channel, card in asked if channel == CALLED or card.mention]
        violations += [Violation("I13", f"{incident.id} asked, and its {kind} called people") for kind in loud]
    return violations


def _survivor(world: World, case: Held) -> list[Violation]:
    """Where its channels are seen, a connection that the restart did not end is told, and not restarted again."""
    seen = world.broker.monitoring and not any(kind in OF_THE_BROKER for kind, _, _ in world.troubles) and not world.nodes_lost
    disturbed = world.faults.broker_down or world.faults.broker_slow or world.faults.history_down
    if not case.survivor or not seen or disturbed or not is_steady(world):
        return []
    runs, archived = effective(world).get(TARGET, []), records(world)
    violations = [
        Violation("I13", f"{later.tag} was sent though {case.survivor} holds its messages still")
        for earlier, later in pairwise(runs)
        if incident_of(earlier) and incident_of(earlier) == incident_of(later) and earlier.status == "succeeded"
        if any(one.id == case.survivor for one in case.queue.hung(later.sent_at, LOOK_AND_FENCE_S))
    ]
    for run in runs:
        record = archived.get(incident_of(run))
        if record is None or record.outcome.ending is not Ending.ESCALATED or record.outcome.reason is not None:
            continue
        cards = [card for _, _, card in world.chat.posts if card.incident == record.incident.id and card.kind == "escalated"]
        if cards and not any(COMMAND in text for card in cards for text in (*card.text, *(said for _, said in card.facts))):
            violations.append(Violation("I13", f"{record.incident.id} does not tell how to close {case.survivor}"))
    return violations


def _restarted_late(world: World, case: Held) -> list[Violation]:
    """Where nothing gets in the way, what is provable is restarted soon after it was, whatever people were asked before."""
    undisturbed = world.faults == Faults() and world.options >= UNDISTURBED and not world.pauses
    if (
        not undisturbed
        or not world.broker.monitoring
        or not world.broker.statistics
        or world.rundeck.one_at_a_time
        or world.presses
        or world.declines
    ):
        return []
    runbook, begins = (
        _runbook_of(world, _key()),
        min((one["at"] for one in world.sent if one["target"] == TARGET), default=world.now),
    )
    proved_at = _proved_at(world, case, begins)
    if proved_at is None or runbook.evidence is not None or is_in_the_way(world, TARGET, proved_at):
        return []
    phases = [incident for at, key, incident in _saved(world) if key == TARGET and at <= proved_at]
    told = [one.asked_at for one in world.answered if one.alert.labels["app"] == APP and one.asked_at >= proved_at]
    if phases and phases[-1] is not None:
        until = proved_at + COUNTED_S + SOON_S + runbook.verify.every_s
    elif told:
        until = told[0] + runbook.symptom.for_s + SOON_S
    else:
        return []
    late = f"{case.kind}: provable at {proved_at:.0f}, and restarted {begins - proved_at:.0f} s later"
    return [Violation("I13", late)] if begins > until else []


def _proved_at(world: World, case: Held, until: float) -> float | None:
    """From when on it was provable, and stayed so."""
    if case.is_healthy:
        return None
    moments = [case.hangs_from + STEP_S * step for step in range(int((until - case.hangs_from) / STEP_S) + 1)]
    proved = (at for at in moments if all(is_provable(world, _key(), at + later) for later in (0.0, 15.0, 30.0)))
    return next(proved, None)
