"""The report: what is counted in which period, and what its card says."""

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.cards.report import Report, compose, count, to_case
from functions.domain.model.alerts import Target
from functions.domain.model.cards import Card
from functions.domain.model.codes import Ending, Mode, Phase
from functions.domain.model.incidents import AlertRef, Archive, Evidence, Incident, Outcome, PastAttempt, Place, QueueState
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Restart, Rules, Runbook, Symptom

NOW = 1_795_561_678.0
DAY_S = 86400.0
CAUSE = "https://tracker.example.com/MAIL-123"
RUNBOOK = Runbook("mail", (), Restart("job"), Symptom("rabbitmq"), mode=Mode.AUTO, root_cause=CAUSE)
TARGET = Target("t1", "https://rundeck.example.com", "job", {"service": "mail-delivery"})


def rules(language: str = "en", **runbooks: Runbook) -> Rules:
    return Rules(runbooks or {"mail": RUNBOOK}, language=language)


def execution(number: int, at: float, tag: str = "", **changes: object) -> Execution:
    return replace(Execution(str(number), f"https://r/{number}", "succeeded", at, at + 30, tag), **changes)  # type: ignore[arg-type]


def record(
    days_ago: float,
    number: int,
    *,
    ending: Ending = Ending.RECOVERED,
    took_s: float = 300,
    runbook: str = "mail",
    places: tuple[str, ...] = ("causes.py, deliver, line 10",),
    **changes: object,
) -> Archive:
    """An incident that ended so long ago, with one restart by Unstick unless it was held."""
    at, name = NOW - days_ago * DAY_S, f"inc{number}"
    queue = QueueState(to_queue("/", "mail"), runbook, at - took_s)
    trigger = AlertRef("f", "g", at - took_s, queue.queue.key)
    ran = execution(number, at - 100, f"{name}.1") if ending is not Ending.HELD else None
    incident = Incident(name, Phase.VERIFYING, at - took_s + 5, runbook, (queue,), (trigger,), execution=ran)
    incident = replace(incident, evidence=Evidence(places=tuple(Place(f"10.0.3.{n}", text) for n, text in enumerate(places))))
    return Archive(TARGET, replace(incident, **changes), Outcome(name, ending, None, at, (trigger,)))


def counted(*records: Archive, days: int = 7, spoken: Rules | None = None) -> Report:
    return count(map(to_case, records), spoken or rules(), NOW, days)


def card_of(*records: Archive, spoken: Rules | None = None, days: int = 7) -> Card:
    return compose(counted(*records, days=days, spoken=spoken), spoken or rules())


FIRST = (
    "3 of 5 hung at causes.py deliver (first on 2026-11-16, last on 2026-11-23); 2 at stock.py reserve; no place is known of 1"
)
BEFORE = "1 of 2 hung at causes.py deliver (first on 2026-11-16, last on 2026-11-16); no place is known of 1"


def test_the_card_has_both_periods_side_by_side() -> None:
    """Minutes stuck, incidents, restarts, hand-overs and where they hung; the headline says what it costs in all."""
    reserve = "stock.py, reserve, line 7"
    card = card_of(
        record(1, 1, took_s=3600),
        record(2, 2, ending=Ending.ESCALATED, took_s=1800, places=("causes.py, deliver, line 12, waits for CPU", reserve)),
        record(3, 3, ending=Ending.HELD, places=(reserve, "stock.py, reserve, line 9")),
        record(4, 4, ending=Ending.HELD, places=()),
        record(5, 7, took_s=0, places=()),
        record(6, 8, took_s=0),
        record(8, 5, took_s=7200),
        record(9, 9, took_s=0, places=()),
        record(15, 6),
    )
    assert card.headline == "In working hours: Stuck for 1 h 40 min in 7 days, 4 restarts"
    assert [label for label, _ in card.facts] == ["mail, 7 days", "mail, the 7 days before"]
    assert [text.split("; ", 4) for _, text in card.facts] == [
        ["stuck for 1 h 40 min", "6 incidents", "4 restarts", "1 hand-over to people", FIRST],
        ["stuck for 2 h 0 min", "2 incidents", "2 restarts", "0 hand-overs to people", BEFORE],
    ]
    assert card.links == (("Root cause: mail", CAUSE),)
    assert (card.kind, card.mention, card.curve, card.text) == ("report", (), (), ())


OWN = execution(1, NOW - 100, "inc1.1")


@pytest.mark.parametrize(
    ("changes", "restarts"),
    [
        ({"execution": execution(7, NOW - 100)}, 1),
        ({"execution": None}, 0),
        ({"tries": (PastAttempt("inc1.1", replace(OWN, id="2"), "stuck"),)}, 1),
        ({"tries": (PastAttempt("inc1.2", execution(2, NOW - 900, "inc1.2"), "stuck"),)}, 2),
        ({"tries": (PastAttempt("inc1.2", execution(2, NOW - 900, "inc1.2"), "refused_late"),)}, 1),
        ({"execution": replace(OWN, scheduled=True)}, 0),
        ({"execution": replace(OWN, runner_not_after=NOW - 200, status="failed")}, 0),
    ],
    ids=["by hand", "none", "Rundeck's retry", "two attempts", "a try that was refused late", "scheduled", "refused late"],
)
def test_a_restart_counts_once(changes: dict[str, object], restarts: int) -> None:
    """By Unstick and by hand; what never ran is none, and one that two incidents followed is one."""
    assert counted(record(0, 1, **changes), record(0, 1, **changes)).now.restarts == restarts


def test_an_alert_that_is_held_again_and_again_is_stuck_once() -> None:
    """Its incidents begin together; another target counts for itself."""
    hour = 1 / 24
    held = [record(1 - n * hour, n, ending=Ending.HELD, took_s=600 + n * 3600) for n in range(3)]
    apart, other = record(2, 4), replace(record(1, 5), target=replace(TARGET, key="t2"))
    assert counted(*held, apart).now.stuck_s == 600 + 2 * 3600 + 300
    assert counted(*held, other).now.stuck_s == 600 + 2 * 3600 + 300


def test_runbooks_are_listed_by_how_long_they_were_stuck() -> None:
    """Eight are shown, the others counted; one that left the configuration too, though nobody is asked for its ticket."""
    book = replace(RUNBOOK, root_cause="")
    name = "x" * 79
    records = [record(1, n, took_s=1000 - n, runbook=f"{n}{name}") for n in range(9)]
    spoken = rules(**{f"{n}{name}": book for n in range(1, 9)})
    card = card_of(*records, record(8, 10, runbook="quiet"), spoken=spoken)
    assert [label for label, _ in card.facts[:2]] == [f"0{name[:58]}…, 7 days", f"0{name[:58]}…, the 7 days before"]
    assert card.facts[16:] == (("", "and 2 more runbooks"),)
    assert [text[0] for text in card.text] == [str(n) for n in range(1, 8)]
    assert card.text[0].endswith(": nobody owns the bug yet. Open a ticket and put its link into the runbook as root_cause.")


def test_a_period_without_an_incident_is_fine() -> None:
    """The one before is shown all the same."""
    card = card_of(record(8, 1))
    assert card.headline == "No action needed: Stuck for 0 s in 7 days, 0 restarts"
    assert card.facts[0] == ("mail, 7 days", "0 incidents; 0 restarts; 0 hand-overs to people")
    assert card.facts[1][1].startswith("stuck for 5 min; 1 incident; 1 restart; ")
    assert card_of(days=1).headline == "No action needed: Stuck for 0 s in 1 day, 0 restarts"
