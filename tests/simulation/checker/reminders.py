"""Whether people were told again of what nobody took, and were left alone once somebody had."""

from __future__ import annotations

from collections import defaultdict

from functions.domain.model.incidents import Document
from tests.simulation.checker.history import SKEW_S, Violation
from tests.simulation.world import World

TOLD_AGAIN = 3


def check_reminders(world: World) -> list[Violation]:
    """All violations of these three."""
    told: dict[str, set[float]] = defaultdict(set)
    for _, _, card in world.chat.posts:
        if card.kind == "escalated_again":
            told[card.incident].add(card.at)  # a post that was repeated has the same time
    violations = [
        Violation("again", f"{incident} was told again {len(times)} times")
        for incident, times in told.items()
        if len(times) > TOLD_AGAIN
    ]
    for at, incident in world.takings:
        late = [time - at for time in told[incident] if time - SKEW_S > at]
        violations += [Violation("again", f"{incident} was told again {late[0]:.0f} s after somebody took it")] if late else []
    return violations + [
        Violation("again", f"nobody took {incident}, and it was told again {len(told[incident])} times only")
        for incident in _left_alone(world)
        if len(told[incident]) < TOLD_AGAIN
    ]


def _left_alone(world: World) -> list[str]:
    """The escalations that in the end nobody has taken, and whose alerts Grafana has not resolved."""
    resolved = {card.incident for _, _, card in world.chat.posts if card.kind == "resolved"}
    waiting = [document.escalation for document in world.documents() if _is_escalated(document)]
    return [one.incident for one in waiting if one is not None and not one.taken_by and one.incident not in resolved]


def _is_escalated(document: Document) -> bool:
    return document.escalation is not None and document.incident is None
