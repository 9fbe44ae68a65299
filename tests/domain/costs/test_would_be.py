"""What became of what a runbook in mode observe would have restarted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.costs import card as cost_card
from functions.domain.costs import report, would_be
from functions.domain.costs.model import Became
from functions.domain.model.codes import Ending, Mode, Reason
from functions.domain.model.incidents import Archive, change
from tests.domain.costs.test_costs import DAY_S, NOW, RUNBOOK, execution, known, record, rules

AHEAD_S = 30.0


def observed(number: int, healed_s: float | None, restarted_s: float | None = None, ended_s: float | None = None) -> Archive:
    """Held two days ago; healed and restarted by a person so long after that."""
    made = record(2, number, ending=Ending.HELD)
    at = made.outcome.at
    by_hand = None if restarted_s is None else execution(number, at + restarted_s + AHEAD_S)
    healed_at = None if healed_s is None else at + healed_s
    ended_at = at + (ended_s if ended_s is not None else (healed_s or 0.0) + 15)
    incident = change(
        made.incident, observed_at=at, healed_at=healed_at, execution=by_hand, adopted=bool(by_hand), runner_ahead_s=AHEAD_S
    )
    return replace(made, incident=incident, outcome=replace(made.outcome, reason=Reason.OBSERVE_ONLY, at=ended_at))


@pytest.mark.parametrize(
    ("one", "became"),
    [
        (observed(1, 900, 840), Became.HEALED_BY_PERSON),
        (observed(2, 900), Became.HEALED_BY_ITSELF),
        (observed(3, 900, 950), Became.HEALED_BY_ITSELF),
        (observed(4, 20), Became.NOT_ILL),
        (observed(5, None, ended_s=DAY_S), Became.STILL_ILL),
        (observed(6, None, 840, ended_s=DAY_S), Became.STILL_ILL),
        (observed(7, None, ended_s=900), Became.UNKNOWN),
        (record(1, 8, ending=Ending.HELD), None),
    ],
    ids=[
        "person", "itself", "restarted after it healed", "at once", "still ill", "a restart did not help", "changed",
        "not observed",
    ],
)  # fmt: skip
def test_each_incident_went_one_way(one: Archive, became: Became | None):
    """A restart that somebody made counts only if the target recovered after it."""
    assert would_be.what_became(one) is became


def said(*records: Archive, language: str = "en", mode: Mode = Mode.OBSERVE) -> list[str]:
    """The lines of the report about observing."""
    spoken = rules(language, mail=replace(RUNBOOK, mode=mode))
    text = cost_card.card(report.cost(known(*records), spoken, NOW), spoken).text
    return [line for line in text if line.startswith("mail observes" if language == "en" else "mail は監視のみ")]


def test_the_report_says_how_it_would_have_gone():
    """The figure that makes a team trust it, with the advice to go on."""
    by_person = [observed(number, 1200 + number, 60.0 * number) for number in range(10, 19)]
    others = [observed(1, 900), observed(2, 900), observed(3, 20)]
    assert said(*by_person[:4], others[0]) == [
        (
            "mail observes: 5 would-be restarts in 7 days: 4 healed only after a person restarted (median 11 min 30 s later), "
            "1 healed by itself. Go on to mode approve: 4 of 5 needed a restart."
        )
    ]
    assert said(*by_person, *others) == [
        (
            "mail observes: 12 would-be restarts in 7 days: 9 healed only after a person restarted (median 14 min later), "
            "2 healed by themselves, 1 was no longer ill. Stay in mode observe, and raise symptom.for or slow the alert rule "
            "down: 3 of 12 needed no restart."
        )
    ]


def test_it_is_said_in_japanese():
    """As all of the report."""
    (line,) = said(observed(1, 900, 840), observed(2, None, ended_s=DAY_S), language="ja")
    assert "再起動" in line
    assert "later" not in line
