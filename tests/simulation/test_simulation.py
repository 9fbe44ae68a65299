"""The protocol holds on drawn schedules, and the checker would see it if it did not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.simulation.broken import ALONE, UNDISTURBED, VARIANTS, Variant, applied
from tests.simulation.courses.held import APP
from tests.simulation.models import Faults
from tests.simulation.run import schedule

BATCH = 10
BATCHES, LONG_BATCHES = 2, 6
"""20 schedules always, 60 in `make test-long`, 100,000 in `make prove`. Batches are small, so that workers share them well."""

VARIANT_SEEDS = 40


def _some_are_long(always: int, values: Iterable[Any]) -> list[Any]:
    """Values for a parameter, the first few for `make test` and the others for `make test-long`."""
    return [value if place < always else pytest.param(value, marks=pytest.mark.long) for place, value in enumerate(values)]


@pytest.mark.parametrize("batch", _some_are_long(BATCHES, range(LONG_BATCHES)))
def test_no_schedule_violates_an_invariant(batch: int) -> None:
    """I1 to I5, I9, I10 and I13 hold on every schedule that these seeds draw."""
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        _, violations = schedule(random.Random(seed))
        assert not violations, f"replay with `make prove SEED={seed}`: {violations[0]}"


@pytest.mark.parametrize("variant", _some_are_long(3, VARIANTS), ids=lambda variant: variant.what)
def test_a_broken_variant_is_caught(variant: Variant) -> None:
    """The checker reports a violation of the invariant that the variant breaks; the right code passes on that very schedule."""
    for seed in range(VARIANT_SEEDS):
        with applied(*variant.pieces):
            _, violations = schedule(random.Random(seed), faults=variant.faults, options=variant.options)
        if variant.caught_by in {violation.invariant for violation in violations}:
            break
    else:
        pytest.fail(f"no violation of {variant.caught_by}")
    _, violations = schedule(random.Random(seed), faults=variant.faults, options=variant.options - {"no_fence_in_job"})
    assert not violations, f"seed {seed}: {violations[0]}"


ASKED, RESTARTED, NOTHING, COMMAND = "may hang", f"Restarting {APP}", "", "rabbitmqctl close_connection"
TOLD = {
    "keeps": ASKED,
    "scaled to zero": ASKED,
    "dead letters after the broker's restart": ASKED,
    "back after the broker's restart": NOTHING,
    "fills": RESTARTED,
    "one of two": RESTARTED,
    "gone after the broker's restart": RESTARTED,
    "survives": COMMAND,
    "stalls and hangs": RESTARTED,
    "is mended and hangs": RESTARTED,
}
"""What people are told of an application that holds messages on purpose, or hangs."""


@pytest.mark.parametrize("kind", _some_are_long(2, TOLD))
def test_held_is_not_hung(kind: str) -> None:
    """I13: nobody answers, so what keeps messages on purpose is asked about at most, and what is proved is restarted."""
    told = ""
    for seed in range(8 if TOLD[kind] else 3):
        scenario, violations = schedule(random.Random(seed), faults=Faults(), options=ALONE | {kind})
        assert not violations, f"seed {seed}: {violations[0]}"
        assert scenario.held is not None
        cards = [card for _, _, card in scenario.world.chat.posts if APP in card.headline or card.kind == "escalated"]
        told += " ".join(part for card in cards for part in (card.kind, card.headline, *card.text))
        assert RESTARTED not in told or not scenario.held.is_healthy, "nobody said so"
        if TOLD[kind] and TOLD[kind] in told:
            return
    assert not TOLD[kind], told
    assert ASKED not in told


@pytest.mark.long
def test_what_stalls_by_itself_is_learned() -> None:
    """And left alone in `auto`: of the schedules in which no fault strikes most see all four stalls."""
    learned = []
    for seed in range(1, 5):
        scenario, violations = schedule(random.Random(seed), faults=Faults(), options=ALONE | {"stalls"})
        assert not violations, f"seed {seed}: {violations[0]}"
        learned += [len(one.stalls) for document in scenario.world.documents() for one in document.stalls.values()]
    assert learned.count(4) >= 3


def test_a_chat_that_is_down_delays_no_restart() -> None:
    """I6: whatever the chat does, what is stuck is restarted as soon as without."""
    starts = 0
    for seed in range(8):
        scenario, violations = schedule(random.Random(seed), faults=Faults(chat_down=0.9, chat_lost=0.3), options=UNDISTURBED)
        assert not violations, f"seed {seed}: {violations[0]}"
        starts += len(scenario.world.sent)
    assert starts >= 10


def test_the_same_seed_gives_the_same_schedule() -> None:
    """A violation can be replayed."""
    traces = [schedule(random.Random(42), trace=True)[0].world.trace for _ in range(2)]
    assert traces[0]
    assert traces[0] == traces[1]


@pytest.mark.long
def test_schedules_do_what_they_are_for() -> None:
    """Among a hundred schedules there are restarts, refused late starts, escalations, recoveries and holds."""
    missing = {"started", "held", "recovered", "escalated", "bundle"}
    refused = restarts = 0
    for seed in range(100):
        scenario, _ = schedule(random.Random(seed))
        missing -= {card.kind for _, _, card in scenario.world.chat.posts}
        refused += sum(run.refused for run in scenario.world.rundeck.runs)
        restarts += sum(not run.refused for run in scenario.world.rundeck.runs)
        if not missing and refused and restarts > 15:
            return
    pytest.fail(f"never posted: {missing}; {refused} starts refused, {restarts} restarts")
