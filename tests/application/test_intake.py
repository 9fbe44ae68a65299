"""Which alerts of a notification are decided at once, which wait, and which documents the sweep steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from functions.application import intake
from functions.application.documents import encode
from functions.application.intake import LISTED_BYTES, document_key, group_by_document, hand_over, handle_notification, sweep
from functions.application.reconcile import advance
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.events import AlertsReceived, Origin, Reply, TimerFired
from functions.runtime.errors import Denied, Unavailable
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import MAIL, NOW, TARGET, alert, case, document, incident, runbook, well

DAY_S = 86400.0


@dataclass
class Timed(Memory):
    """Remembers how long each wake-up might have taken to create."""

    limits: list[float] = field(default_factory=list)

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        self.limits.append(timeout_s)
        super().wake(at, content, timeout_s=timeout_s)


def of_target(number: int, **changes: Any) -> MatchedAlert:
    """An alert of a target of its own."""
    return MatchedAlert(alert(fingerprint=f"fp-{number}", **changes), runbook(), replace(TARGET, key=f"key-{number}"), MAIL)


def lists(ports: Memory) -> list[list[dict[str, Any]]]:
    return [content["deferred"] for _, content in ports.wakes if "deferred" in content]


# --- names -------------------------------------------------------------------------------------------------------------


def test_an_alert_without_a_target_has_a_document_of_its_own():
    """By its source and fingerprint; one with a target is in the target's."""
    keys = {document_key(MatchedAlert(alert(**changes), None)) for changes in ({}, {"fingerprint": "fp-2"}, {"source": "other"})}
    assert len(keys) == 3
    assert all(re.fullmatch("alert-[0-9a-f]{20}", key) for key in keys)
    assert document_key(MatchedAlert(alert(starts_at=1.0), None)) in keys
    grouped = group_by_document([case(), of_target(1), case(fingerprint="fp-2")])
    assert {key: [one.alert.fingerprint for one in cases] for key, cases in grouped.items()} == {
        TARGET.key: ["fp-1", "fp-2"],
        "key-1": ["fp-1"],
    }


# --- at once or later --------------------------------------------------------------------------------------------------


def test_a_notification_has_a_thousand_targets_at_most():
    """Of all others people are told in one message an hour; they take no place of those that are decided."""
    ports = Memory(mail=well)
    beyond = (alert(fingerprint="b-1"), alert(fingerprint="b-2", firing=False), alert(fingerprint="b-3"))
    for _ in range(2):
        handled = handle_notification(ports, [of_target(n) for n in range(1003)], ports.budget(), beyond=beyond)
    assert (len(handled.replies), handled.lost) == (1001, 0)
    assert (len(lists(ports)), sum(map(len, lists(ports)))) == (2 * 10, 2 * 991)
    told = [channel for channel, card in ports.posts if "5 alerts were left out: a notification may have 10,000" in str(card)]
    assert told == ["duty", "everybody"]


# --- what matches nothing -----------------------------------------------------------------------------------------------


def test_87_seconds_of_a_suspicion_without_a_runbook_leave_a_trace():
    """A line in the log and one message, whatever number of times it is delivered; the answer says `no_runbook`."""
    ports, lines = Memory(mail=well), list[tuple[str, str]]()
    ports.log = lambda severity, message, **_: lines.append((severity, message))
    labels = {"alertname": "MaybeStuck", "queue": "invoice_jobs", "unstick": "suspicion"}
    for _ in range(5):
        (reply,) = handle_notification(
            ports, [MatchedAlert(alert(labels=labels), reason=Reason.NO_RUNBOOK)], ports.budget()
        ).replies
        assert (reply.action, reply.reason) == (Action.HELD, Reason.NO_RUNBOOK)
        ports.clock += 20.0
    said = 'a suspicion matches no runbook: MaybeStuck invoice_jobs: the runbooks look at alertname="MaybeStuck"'
    assert [(severity, message) for severity, message in lines if message == said] == [("WARNING", said)]
    assert ports.names.count("save unmatched") == 1
    ((at, content),) = ports.wakes
    ports.clock = max(at, ports.clock)
    advance(ports, content["target"], TimerFired(content["due"]), ports.budget())
    assert [(channel, card.kind) for channel, card in ports.posts] == [("everybody", "unmatched")]


# --- lists -------------------------------------------------------------------------------------------------------------


def test_what_is_handed_over_is_whole():
    """The wake-up that carries it decides as the webhook would have: as it was then, in a crowd or not, by the same request."""
    ports = Timed()
    first = AlertsReceived((case(), case(fingerprint="fp-2")), "inc-1", crowd=True, left_out=3, origin=Origin("r1", NOW + 9))
    second = AlertsReceived((MatchedAlert(alert(), None, reason=Reason.NO_RUNBOOK),), "inc-2")
    replies = hand_over(ports, [("a", first), ("b", second)], ports.budget())
    assert replies == [
        Reply("inc-1", "mail", "service=mail", Action.DEFERRED, None),
        Reply("inc-2", "", "", Action.DEFERRED, Reason.NO_RUNBOOK),
    ]
    ((at, content),) = ports.wakes
    one, other = content["deferred"]
    assert (at, one["at"], one["incident"], one["crowd"], one["left_out"]) == (NOW, NOW, "inc-1", True, 3)
    assert ([listed["fingerprint"] for listed in one["alerts"]], one["origin"]) == (
        ["fp-1", "fp-2"],
        {"id": "r1", "until": NOW + 9},
    )
    assert (other["incident"], other["crowd"], other["left_out"], len(other["alerts"])) == ("inc-2", False, 0, 1)
    assert ports.limits == [pytest.approx(5.0)]


def sized(number: int, size: int) -> MatchedAlert:
    """An alert that is so long in a list."""
    empty = len(encode(of_target(number, annotations={"d": ""}).alert))
    long = of_target(number, annotations={"d": "x" * (size - empty)})
    assert len(encode(long.alert)) == size
    return long


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([LISTED_BYTES], 1), ([LISTED_BYTES + 1], 1), ([LISTED_BYTES + 1, 500], 1), ([LISTED_BYTES - 500, 500], 2),
        ([LISTED_BYTES - 499, 500], 1), ([LISTED_BYTES - 1000, 500, 500, 500], 3),
    ],
)  # fmt: skip
def test_of_one_target_as_many_alerts_are_handed_over_as_fit(sizes, kept):
    """The first in any case; the others are counted."""
    ports = Memory()
    cases = tuple(replace(sized(n, size), target=TARGET) for n, size in enumerate(sizes))
    hand_over(ports, [(TARGET.key, AlertsReceived(cases, "inc-1", left_out=2))], ports.budget())
    ((entry,),) = lists(ports)
    assert (len(entry["alerts"]), entry["left_out"]) == (kept, 2 + len(sizes) - kept)


# --- the sweep ---------------------------------------------------------------------------------------------------------


def overdue(ports: Memory, ages: Mapping[str, float | None]) -> None:
    """Documents whose incident was due so long ago."""
    for key, age_s in ages.items():
        before = document(incident()) if age_s is None else document(incident(due=NOW - age_s))
        ports.put(key, replace(before, key=key))
        body, generation, _ = ports.bodies[key]
        ports.bodies[key] = (body, generation, None if age_s is None else NOW - age_s)


def swept(ports: Memory) -> list[str]:
    """The documents that were loaded, in order, each once."""
    return list(dict.fromkeys(name.removeprefix("load ") for name in ports.names if name.startswith("load doc-")))


def test_the_sweep_begins_with_what_is_overdue_longest():
    """By more than a minute; what is not due is left alone."""
    ports = Memory(mail=well)
    overdue(ports, {"doc-a": 60.01, "doc-b": 600.0, "doc-c": 59.0, "doc-d": None, "doc-e": 60.0, "doc-f": 90.0})
    assert sweep(ports, ports.budget(60.0)) == 3
    assert swept(ports) == ["doc-b", "doc-f", "doc-a"]


def test_the_sweep_ends_with_its_budget(monkeypatch):
    """One document may take all of it; what it did not come to is not counted."""
    ports = Memory()
    overdue(ports, {"doc-a": 100.0, "doc-b": 200.0, "doc-c": 300.0})
    stepped: list[str] = []

    def slow(_: Memory, key: str, event: object, budget: object) -> None:
        stepped.append(key)
        ports.clock += 10.0

    monkeypatch.setattr(intake, "advance", slow)
    assert sweep(ports, ports.budget(15.0)) == 2
    assert stepped == ["doc-c", "doc-b"]
    stepped.clear()
    assert sweep(ports, ports.budget(45.0)) == 3
    assert stepped == ["doc-c", "doc-b", "doc-a"]


@pytest.mark.parametrize("error", [Unavailable("store", "is down"), Denied("store", "no right")])
def test_a_document_that_can_not_be_stepped_is_logged_and_not_counted(error, monkeypatch):
    """The sweep goes on with the next."""
    ports, lines = Memory(), []
    ports.log = lambda severity, message, **fields: lines.append((severity, message.partition(":")[0], fields["document"]))
    overdue(ports, {"doc-a": 100.0, "doc-b": 200.0})

    def advance(_: Memory, key: str, event: object, budget: object) -> None:
        if key == "doc-b":
            raise error

    monkeypatch.setattr(intake, "advance", advance)
    assert sweep(ports, ports.budget(60.0)) == 1
    assert lines == [
        ("WARNING", "wake-up missing; advanced by the sweep", "doc-b"),
        ("ERROR", "sweep failed for a document", "doc-b"),
        ("WARNING", "wake-up missing; advanced by the sweep", "doc-a"),
    ]
