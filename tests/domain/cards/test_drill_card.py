"""The cards of a drill and of a check: what failed, and what to do about it."""

from __future__ import annotations

import pytest

from functions.domain.cards.drill_card import Leg, card, check, deployed
from tests.support.worlds.example_stories import NOW, rules

WELL, SLOW = Leg("webhook", ok=True, seconds=0.04), Leg("scheduler", ok=True, seconds=12.34)
LATE = Leg("scheduler", ok=False, seconds=60.0, detail="timed out", remedy="Look at the scheduler.")
TOLD = ["Test alerts were sent as Grafana sends them. Nothing was restarted."]


@pytest.mark.parametrize(
    ("legs", "headline", "text", "facts"),
    [
        ((WELL, SLOW), "No action needed: The drill succeeded from end to end", TOLD,
            [("Webhook", "0.0 s"), ("Wake-up delivered", "12.3 s")]),
        ((WELL, LATE, Leg("refusal", ok=False, detail="it ran")),
            "ACT NOW: The drill failed at: Wake-up delivered. A real alert may be lost",
            [*TOLD, "What to do: Look at the scheduler."],
            [("Webhook", "0.0 s"), ("Wake-up delivered", "FAILED: timed out (60.0 s)"),
                ("Job refuses a late start", "FAILED: it ran (0.0 s)")]),
    ],
)  # fmt: skip
def test_a_drill_names_the_first_part_that_failed(legs, headline, text, facts):
    """With the times of all."""
    shown = card(legs, rules(), NOW)
    assert (shown.headline, list(shown.text), list(shown.facts)) == (headline, text, facts)


def test_a_check_lists_the_first_that_failed_and_each_remedy_once():
    """The headline has every system; the log has the rest."""
    failed = [(f"system {n // 2}", f"what {n}", "detail" if n else "", "Fix it." if n < 8 else "Late.") for n in range(10)]
    shown = check(failed, rules(), NOW)
    assert shown.headline == (
        "ACT NOW: The check failed at system 0, system 1, system 2, system 3, system 4. Restarts may not work"
    )
    assert list(shown.text[1:]) == ["What to do: Fix it."]
    assert shown.facts[:2] == (("system 0", "what 0"), ("system 0", "what 1: detail"))
    assert len(shown.facts) == 8
    assert "Unstick 1.4 was deployed" in deployed("1.4", rules(), NOW).headline
