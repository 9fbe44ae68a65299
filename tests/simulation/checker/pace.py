"""How soon people are told, how often and by whom a target is looked at, and how soon what is suspected is restarted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import decode
from functions.domain.decisions.phases import FIRST_LOOK_S
from functions.domain.model.incidents import Document
from functions.domain.model.messages import Card
from tests.simulation.checker.history import Violation
from tests.simulation.courses.held import TARGET
from tests.simulation.models import Faults
from tests.simulation.world import World

TOLD_WITHIN_S = 600.0
"""A minute, clocks that differ by another, and a wake-up that came too early for its clock: then the sweep, a minute late."""

TOLD_WITHIN_ONE_CLOCK_S = 75.0
"""A minute, and what the wake-up, its step and the chat take."""

WINDOW_S = 60.0
MORE_LOOKS, MORE_LOOKS_AFTER_FAULTS = 8, 16
"""Looks in a window beside those that are `every` apart: at changes of the phase and after conflicts; and wherever a killed
process or a lost answer has the scheduler try again."""

UNDISTURBED = frozenset({"auto", "sick", "untroubled", "one_clock"})
SOON_S = 10.0
"""Beyond `for`, from the alert or the suspicion."""

MessageKey = tuple[str, str, str, float]


def check_pace(world: World) -> list[Violation]:
    """All violations of these five."""
    pace = (_told_late, _told_twice, _looked_at_too_often, _left_to_the_sweep, _restarted_late)
    return [violation for check in pace for violation in check(world)]


def is_steady(world: World) -> bool:
    """Whether no process, store, scheduler or network ever got in the way."""
    faults = world.faults
    return not any((
        faults.crash, faults.stall, faults.slow, faults.store_lost, faults.store_down,
        faults.wake_lost, faults.wake_twice, faults.wake_late, faults.wake_down,
    ))  # fmt: skip


def _restarted_late(world: World) -> list[Violation]:
    """Where nothing gets in the way, what is stuck is restarted soon after it stood still for all of `for`."""
    if world.faults != Faults() or not world.options >= UNDISTURBED or world.pauses or world.rundeck.one_at_a_time:
        return []
    if not world.broker.monitoring:  # nothing is proved without channels
        return []
    if len({answer.alert.labels["app"] for answer in world.answered}) > world.rules.storm_targets:
        return []
    violations, known = [], set[str]()
    for answer in world.answered:
        queue, target = answer.alert.labels["queue"], f"target-{answer.alert.labels['app']}"
        if target == TARGET:  # I13 has its bound
            continue
        if not answer.alert.firing or queue in known or is_in_the_way(world, target, answer.asked_at):
            continue
        known.add(queue)
        true, bound_s = world.queues[to_queue("/", queue).key], world.rules.runbooks["mail"].symptom.for_s + SOON_S
        stood = true.stuck(answer.asked_at + bound_s, bound_s - 1.0)
        sent_at = next((one["at"] for one in world.sent if one["target"] == target and one["at"] >= answer.asked_at - 1.0), None)
        if stood and (sent_at is None or sent_at - answer.asked_at > bound_s):
            violations.append(Violation("soon", f"{queue} was told at {answer.asked_at:.0f}, and {target} restarted {sent_at}"))
    return violations


def is_in_the_way(world: World, target: str, at: float) -> bool:
    """Whether somebody restarted it, it was restarted within the cooldown or too often, or its job fails."""
    limits = world.rules.runbooks["mail"].limits
    runs = [run for run in world.rundeck.runs if run.target == target and run.sent_at < at - 1.0]
    lately = sum(run.sent_at > at - 3600.0 for run in runs) >= limits.restarts[0][1]
    return lately or any(
        run.by != "unstick" or run.status == "failed" or run.ends is None or run.ends + limits.cooldown_s > at - 1.0
        for run in runs
    )


def _key(channel: str, card: Card) -> MessageKey:
    return (channel, card.kind, card.incident, card.at)


def _told_late(world: World) -> list[Violation]:
    """While a document has something to tell, the chat is tried again and again, a bound apart."""
    steady = is_steady(world)
    bound_s = TOLD_WITHIN_ONE_CLOCK_S if steady and "one_clock" in world.options else TOLD_WITHIN_S
    violations = []
    for key, begin, end, tries in _waits(world):
        begins = begin if steady else max(begin, world.calm_from)
        moments = [begins, *(at for at in tries if begins < at < end), end]
        longest_s = max((later - earlier for earlier, later in pairwise(moments)), default=0.0)
        if end > begins and longest_s > bound_s:
            violations.append(Violation("told", f"{key} had something to tell, and nobody tried for {longest_s:.0f} s"))
    return violations


def _waits(world: World) -> Iterator[tuple[str, float, float, list[float]]]:
    """(document, from, to, when the chat was tried for it), for each time that a document had something to tell."""
    tries: dict[MessageKey, list[float]] = {}
    for at, channel, card in world.chat.tries:
        tries.setdefault(_key(channel, card), []).append(at)
    waiting: dict[str, tuple[float, set[MessageKey]]] = {}
    for at, key, body in world.saved:
        if key.startswith(("pause", "storm")):
            continue
        keys = {_key(m.channel, m.card) for m in decode(Document, body, key).to_tell if not m.bundle}
        if keys:
            begin, known = waiting.get(key, (at, set()))
            waiting[key] = (begin, known | keys)
        elif key in waiting:
            begin, known = waiting.pop(key)
            yield key, begin, at, sorted(one for message in known for one in tries.get(message, ()))
    for key, (begin, known) in waiting.items():
        yield key, begin, world.now, sorted(one for message in known for one in tries.get(message, ()))


def _told_twice(world: World) -> list[Violation]:
    """Where nothing goes wrong and all clocks are one, each message is posted once."""
    if not is_steady(world) or world.faults.chat_lost or "one_clock" not in world.options:
        return []
    posts = Counter((_key(channel, card), card.headline) for _, channel, card in world.chat.posts)
    return [Violation("once", f"posted {times} times: {headline}") for (_, headline), times in posts.items() if times > 1]


def _looked_at_too_often(world: World) -> list[Violation]:
    """Wake-ups look at a target `every` apart, and a few times more where something changes.

    Alerts that were handed over don't count: where processes are killed, a list of them is delivered until it gets through.
    Each webhook may create a wake-up of its own, beside its observation. Several targets that are decided at the same moment
    contend for storm slots, above all those that people allow together; each slot that one takes has the others decide anew.
    """
    more = MORE_LOOKS if is_steady(world) else MORE_LOOKS_AFTER_FAULTS
    slots = [at for at, key, _ in world.saved if key.startswith("storm")]
    slots += [at for asked in world.asked.values() for at, by in asked if by.startswith(("approval", "restart again"))]
    paced = WINDOW_S / world.rules.runbooks["mail"].verify.every_s + more
    violations = []
    for target, asked in world.asked.items():
        looks = [at for at, by in asked if by.startswith("wake-up")]
        others = sorted([at for at, by in asked if by.startswith("webhook")] + slots)
        first = 0
        for number, at in enumerate(looks):
            while looks[first] <= at - WINDOW_S:
                first += 1
            most = paced + bisect_right(others, at) - bisect_left(others, at - WINDOW_S - FIRST_LOOK_S)
            if number - first + 1 > most:
                violations.append(
                    Violation("every", f"{target} was looked at {number - first + 1} times within {WINDOW_S:.0f} s")
                )
                break
    return violations


def _left_to_the_sweep(world: World) -> list[Violation]:
    """Where every wake-up comes in time and no process is killed or frozen, the sweep finds nothing to do."""
    faults = world.faults
    needed = any((
        faults.crash, faults.stall, faults.store_down,
        faults.wake_lost, faults.wake_late, faults.wake_down,
    ))  # fmt: skip
    if needed or "one_clock" not in world.options:
        return []
    return [
        Violation("sweep", f"nothing but the sweep came for {target} at {at:.0f}")
        for target, asked in world.asked.items()
        for at, by in asked
        if by == "sweep"
    ]
