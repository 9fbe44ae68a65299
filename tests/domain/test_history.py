"""An incident's history: what was decided when, for people, and bounded whatever happens."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.model.bounds import HISTORY_KEPT, note_history
from functions.domain.model.codes import Phase, Reason
from functions.domain.model.incidents import Document
from tests.support.worlds.scenes import NOW, document, incident


def turns(found: Document) -> list[tuple[float, Phase]]:
    return [(turn.at, turn.phase) for turn in found.incident.history] if found.incident else []


def test_the_history_is_bounded() -> None:
    """A hold that comes and goes for days keeps the first and the last entries."""
    found = document(incident())
    for number in range(200):
        reason = (Reason.COOLDOWN, Reason.JOB_BUSY)[number % 2]
        after = replace(found, incident=replace(found.incident, reason=reason))
        found = note_history(found, after, NOW + number)
    history = found.incident.history if found.incident else ()
    assert len(history) == HISTORY_KEPT
    assert (history[0].at, history[-1].at) == (NOW, NOW + 199)
