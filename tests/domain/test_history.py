"""An incident's history: what was decided when, for people, and bounded whatever happens."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.model.bounds import HISTORY_KEPT, note_history, shrink
from functions.domain.model.codes import Phase, Reason
from functions.domain.model.incidents import Document, HistoryEntry
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


def test_the_history_gives_way_before_anything_that_matters() -> None:
    """A document that is too large loses most of it, and then all."""
    long = tuple(HistoryEntry(NOW + number, Phase.WAITING) for number in range(HISTORY_KEPT))
    kept = [len(smaller.incident.history) for smaller in shrink(document(incident(history=long))) if smaller.incident]
    assert list(dict.fromkeys(kept)) == [HISTORY_KEPT, 5, 0]
