"""One line of the log for whatever a document goes through, with the fields by which an operator finds it."""

from typing import Any

import pytest
from msgspec.structs import replace

from functions.application import reconcile
from functions.domain.model.codes import Phase
from functions.domain.model.events import Event, TimerFired
from functions.domain.model.incidents import AfterRestart, Document
from functions.runtime.errors import Conflict, Denied, Unavailable
from tests.support.worlds.memory import DOWN, Memory, fails
from tests.support.worlds.scenes import (
    NOW,
    RUNNER_NOW,
    TARGET,
    alerted,
    case,
    document,
    execution,
    incident,
    snapshot,
    verifying,
    well,
)

KEY = TARGET.key
NAMED = {"document": KEY, "target": "service=mail"}
Line = tuple[str, str, dict[str, Any]]


def logged(ports: Memory, event: Event | None = None) -> list[Line]:
    """What one event leaves in the log."""
    lines: list[Line] = []
    ports.log = lambda severity, message, **fields: lines.append((severity, message, fields))
    reconcile.advance(ports, KEY, event or alerted(), ports.budget(60.0))
    return lines


def holding(document: Document, **world: Any) -> Memory:
    """An outside that has this document, due now."""
    ports = Memory(**world)
    ports.put(KEY, replace(document, due=NOW))
    return ports


def test_a_decision_is_a_line():
    """A restart begins and runs; what was turned away and a suspicion that came to nothing open no incident."""
    answered = {**NAMED, "incident": "inc-1", "action": "restarted"}
    assert logged(Memory()) == [
        ("NOTICE", "incident is starting", {**answered, "phase": "starting"}),
        ("NOTICE", "incident is running", {**answered, "phase": "running", "time_to_restart_s": 90.0}),
    ]
    lines = logged(Memory(mail=well))
    assert lines == [("INFO", "held: symptom_gone", {**NAMED, "incident": "inc-1", "action": "held", "reason": "symptom_gone"})]
    ports = Memory()
    logged(ports)
    joined = logged(ports, alerted(case(fingerprint="fp-2"), incident="inc-2"))
    assert joined == [("INFO", "held: duplicate", {**NAMED, "incident": "inc-1", "action": "held", "reason": "duplicate"})]
    suspected = case(labels={"alertname": "Stuck", "queue": "mail", "unstick": "suspicion"})
    ((severity, message, fields),) = logged(Memory(mail=well), alerted(suspected))
    assert (severity, message, fields["outcome"]) == ("INFO", "suspicion cleared; nobody was told", "passed")


FAILED = execution(11, started=-60, ended=-50, status="failed", tag="inc-1.1")
LAST_TRY = document(incident(Phase.VERIFYING, attempt=2, restarts=2, execution=FAILED, began_at=NOW - 900))


@pytest.mark.parametrize(
    ("open_document", "mail", "severity", "outcome", "code"),
    [
        pytest.param(document(incident()), well, "NOTICE", "held", "symptom_gone", id="held"),
        pytest.param(LAST_TRY, lambda at: snapshot(at=at), "ERROR", "escalated", "", id="escalated"),
        pytest.param(verifying(queues=tuple(replace(one, after=AfterRestart(well_at=RUNNER_NOW - 100),
            joined_at=NOW - 99) for one in verifying().incident.queues)), well, "NOTICE", "recovered", "", id="recovered"),
    ],
)  # fmt: skip
def test_the_end_of_an_incident_is_a_line_with_its_outcome(open_document, mail, severity, outcome, code):
    """An escalation is an error, and so found by whoever watches those."""
    ports = holding(open_document, mail=mail)
    if open_document is LAST_TRY:
        ports.clock += 600.0
    answered = {} if outcome == "recovered" else {"action": "held"}
    assert logged(ports, TimerFired())[:1] == [
        (severity, f"incident {outcome}", {**answered, **NAMED, "incident": "inc-1", "outcome": outcome, "reason": code})
    ]


def test_what_an_incident_waits_for_is_a_line_once():
    """The history of a running restart can't be read; while nothing else happens, nothing is said again."""
    ours = execution(11, started=-60, ended=None, tag="inc-1.1")
    ports = holding(document(incident(Phase.RUNNING, attempt=1, restarts=1, execution=ours, looked_at=NOW)))
    ports.before = fails("history", error=Unavailable("rundeck", "is down"))
    ((severity, message, fields),) = logged(ports, TimerFired())
    assert (severity, fields) == ("WARNING", {**NAMED, "incident": "inc-1", "reason": "ledger_unknown"})
    assert message.startswith("the incident waits: ")
    assert "is down" in message
    ports.clock = ports.document(KEY).due
    assert logged(ports, TimerFired()) == []
    ports.executions, ports.before = [ours], lambda name: None
    ports.clock = ports.document(KEY).due
    assert logged(ports, TimerFired()) == []


@pytest.mark.parametrize("error", [DOWN, Denied("store", "no right"), Conflict(KEY)])
@pytest.mark.parametrize("is_paused", [False, True])
def test_what_came_of_acting_and_could_not_be_saved_is_a_line(error, is_paused):
    """People hear of the hold all the same, of the start later. A conflict is none: what another process saved is kept."""
    ports, saves = Memory(), [0]
    if is_paused:
        ports.pause()

    def second(name: str) -> None:
        saves[0] += name == f"save {KEY}"
        if name == f"save {KEY}" and saves[0] > 1 and (saves[0] == 2 or not is_paused):
            raise error

    ports.before = second
    lines = [message for severity, message, _ in logged(ports) if severity == "WARNING"]
    assert {card.kind for _, card in ports.posts} == ({"held"} if is_paused else set())
    assert len(ports.executions) == (not is_paused)
    if is_paused:
        assert (ports.document(KEY).to_tell == ()) is isinstance(error, Conflict)
    else:
        assert ports.document(KEY).incident.phase is Phase.STARTING
    said = "not saved what was started or posted, which may be posted again"
    assert [line.partition(":")[0] for line in lines] == ([] if isinstance(error, Conflict) else [said])
