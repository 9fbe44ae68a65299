"""An incident's history: what was decided when, for people, and bounded whatever happens."""

from __future__ import annotations

from msgspec.structs import replace

from functions.domain.model.bounds import HISTORY_KEPT, note_history, shrink
from functions.domain.model.codes import Phase, Reason
from functions.domain.model.events import StartResult
from functions.domain.model.incidents import Document, HistoryEntry
from tests.support.worlds.scenes import NOW, alerted, document, execution, incident, moved, seen, verifying, woken


def turns(found: Document) -> list[tuple[float, Phase]]:
    return [(turn.at, turn.phase) for turn in found.incident.history] if found.incident else []


def test_each_phase_is_noted_with_its_time() -> None:
    """From the alert to the run, and from a run to its verification."""
    started = moved(Document("mail-key"), alerted()).document
    running = moved(started, StartResult("inc-1.1", execution(started=1.0, ended=None, tag="inc-1.1")), at=NOW + 2).document
    assert turns(running) == [(NOW, Phase.STARTING), (NOW + 2, Phase.RUNNING)]
    ended = seen(execution(started=1.0, ended=8.0, tag="inc-1.1"), now=NOW + 30)
    assert turns(
        woken(replace(running, due=NOW + 30, incident=replace(running.incident, due=NOW + 30)), NOW + 30, ended).document
    )[-1] == (NOW + 30, Phase.VERIFYING)


def test_a_hold_is_noted_with_its_reason() -> None:
    """And once only, however often it is looked at again."""
    found = moved(Document("mail-key"), alerted(), seen(execution(started=-210.0, ended=-200.0))).document
    (turn,) = found.incident.history if found.incident else ()
    assert (turn.phase, turn.reason) == (Phase.WAITING, Reason.COOLDOWN)


def test_a_step_that_changes_nothing_notes_nothing() -> None:
    """Documents of a former release have no history, and get none without need."""
    found = verifying()
    assert turns(woken(replace(found, due=NOW + 60), NOW).document) == []


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
