"""How soon people are told, how often and by whom a target is looked at, and how soon what is stuck is restarted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.cards import Card
from tests.simulation.checker.past import Past, Violation
from tests.simulation.courses.held import TARGET
from tests.simulation.models import Faults

TOLD_WITHIN_S = 600.0
"""A minute, clocks that differ by another, and a wake-up that came too early for its clock: then the sweep, a minute late."""
TOLD_WITHIN_ONE_CLOCK_S = 75.0
"""A minute, and what the wake-up, its step and the chat take."""
WINDOW_S = 60.0
FIRST_LOOK_S, SELDOM_S = 20.0, 600.0
"""When the wake-up comes that a webhook creates beside its observation. What the step orders is due within SELDOM_S."""
MORE_LOOKS, MORE_LOOKS_AFTER_FAULTS = 8, 16
"""Looks in a window beside those that are `every` apart: at changes of the phase and after conflicts; and wherever a killed
process or a lost answer has the scheduler try again."""
UNDISTURBED = frozenset({"auto", "sick", "untroubled", "one_clock"})
SOON_S = 10.0
"""Beyond `for`, from the alert or the suspicion."""

MessageKey = tuple[str, str, str, float]


def check_pace(past: Past) -> list[Violation]:
    """All violations of these four."""
    checks = (_restarted_late, _told_late, _told_twice, _looked_at_too_often)
    return [violation for check in checks for violation in check(past)]


def _restarted_late(past: Past) -> list[Violation]:
    """Where nothing but the chat gets in the way, what is stuck is restarted soon after it stood still for all of `for`."""
    world = past.world
    faults = replace(world.faults, chat_down=0.0, chat_lost=0.0)
    free = faults == Faults() and world.options >= UNDISTURBED and world.broker.monitoring
    many = len({answer.alert.labels["app"] for answer in world.answered}) > world.rules.storm_targets
    if not free or many or world.pauses or world.rundeck.one_at_a_time:
        return []
    violations, judged = [], set[str]()
    for answer in world.answered:
        queue, target = answer.alert.labels["queue"], f"target-{answer.alert.labels['app']}"
        if target == TARGET or queue in judged or _is_in_the_way(past, target, answer.asked_at):
            continue
        judged.add(queue)
        bound_s = past.runbook.symptom.for_s + SOON_S
        stood = world.queues[to_queue("/", queue).key].stuck(answer.asked_at + bound_s, bound_s - 1.0)
        sent_at = next((one.at for one in world.sent if one.target == target and one.at >= answer.asked_at - 1.0), None)
        if stood and (sent_at is None or sent_at - answer.asked_at > bound_s):
            violations.append(Violation("soon", f"{queue} was told at {answer.asked_at:.0f}, and {target} restarted {sent_at}"))
    return violations


def _is_in_the_way(past: Past, target: str, at: float) -> bool:
    """Whether somebody restarted it, it was restarted within the cooldown or too often, or its job fails."""
    limits = past.runbook.limits
    runs = [run for run in past.world.rundeck.runs if run.target == target and run.sent_at < at - 1.0]
    lately = sum(run.sent_at > at - 3600.0 for run in runs) >= limits.restarts[0][1]
    return lately or any(
        run.by != "unstick" or run.status == "failed" or run.ends is None or run.ends + limits.cooldown_s > at - 1.0
        for run in runs
    )


def _key(channel: str, card: Card) -> MessageKey:
    return (channel, card.kind, card.incident, card.at)


def _told_late(past: Past) -> list[Violation]:
    """While a document has something to tell, the chat is tried again and again, a bound apart."""
    bound_s = TOLD_WITHIN_ONE_CLOCK_S if past.is_steady and "one_clock" in past.world.options else TOLD_WITHIN_S
    violations = []
    for key, begin, end, tries in _waits(past):
        begins = begin if past.is_steady else max(begin, past.world.calm_from)
        moments = [begins, *(at for at in tries if begins < at < end), end]
        longest_s = max((later - earlier for earlier, later in pairwise(moments)), default=0.0)
        if end > begins and longest_s > bound_s:
            violations.append(Violation("told", f"{key} had something to tell, and nobody tried for {longest_s:.0f} s"))
    return violations


def _waits(past: Past) -> Iterator[tuple[str, float, float, list[float]]]:
    """(document, from, to, when the chat was tried for it), for each time that a document had something to tell."""
    tries: dict[MessageKey, list[float]] = defaultdict(list)
    for at, channel, card in past.world.chat.tries:
        tries[_key(channel, card)].append(at)
    waiting: dict[str, tuple[float, set[MessageKey]]] = {}
    last = [(past.world.now, key, None) for key in {key for _, key, _ in past.saves}]
    for at, key, document in (*past.saves, *last):
        to_tell = document.to_tell if document is not None else ()
        keys = {_key(message.channel, message.card) for message in to_tell if not message.bundle}
        begin, earlier = waiting.pop(key, (at, set()))
        if keys:
            waiting[key] = (begin, earlier | keys)
        elif earlier:
            yield key, begin, at, sorted(when for message in earlier for when in tries[message])


def _told_twice(past: Past) -> list[Violation]:
    """Where nothing goes wrong and all clocks are one, each message is posted once."""
    if not past.is_steady or past.world.faults.chat_lost or "one_clock" not in past.world.options:
        return []
    posts = Counter((_key(channel, card), card.headline) for _, channel, card in past.world.chat.posts)
    return [Violation("once", f"posted {times} times: {headline}") for (_, headline), times in posts.items() if times > 1]


def _looked_at_too_often(past: Past) -> list[Violation]:
    """Wake-ups look at a target `every` apart, and a few times more where something changes.

    Alerts that were handed over don't count: where processes are killed, a list of them is delivered until it gets through.
    Each webhook may create a wake-up of its own, beside its observation. Several targets that are decided at the same moment
    contend for storm slots, above all those that people allow together; each slot that one takes has the others decide anew.
    """
    world = past.world
    slots = [at for at, key, _ in world.saved if key.startswith("storm")]
    slots += [at for asked in world.asked.values() for at, by in asked if by.startswith("approval")]
    paced = WINDOW_S / past.runbook.verify.every_s + (MORE_LOOKS if past.is_steady else MORE_LOOKS_AFTER_FAULTS)
    violations, before_s = [], WINDOW_S + (FIRST_LOOK_S if past.is_steady else SELDOM_S)
    for target, asked in world.asked.items():
        looks = [at for at, by in asked if by.startswith("wake-up")]
        others = sorted([at for at, by in asked if by.startswith("webhook")] + slots)
        for number, at in enumerate(looks):
            count = number + 1 - bisect_right(looks, at - WINDOW_S)
            if count > paced + bisect_right(others, at) - bisect_left(others, at - before_s):
                violations.append(Violation("every", f"{target} was looked at {count} times within {WINDOW_S:.0f} s"))
                break
    return violations
