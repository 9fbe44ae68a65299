"""What a notification brings about: decided at once, later, in lists or not at all; what it may cost; and when it comes again."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import encode
from functions.application.intake import LISTED_BYTES, hand_over, handle_notification, sweep
from functions.application.reconcile import advance
from functions.domain.cards.content import CardInput
from functions.domain.decisions.endings import close
from functions.domain.decisions.messages import post, to_alert_ref
from functions.domain.decisions.turn import Turn
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.cards import Card
from functions.domain.model.codes import Action, Ending, Phase, Reason
from functions.domain.model.events import AlertsReceived, Reply, TimerFired
from functions.domain.model.incidents import QUEUES_KEPT, AlertRef, Document, Outcome
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import MOST_THREADS, run_parallel
from testbed.unstick_process import alert as sent_alert
from testbed.unstick_process import notification, signed
from tests.support.worlds.memory import Memory, fails
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    TARGET,
    alert,
    alerted,
    case,
    document,
    execution,
    incident,
    moved,
    rules,
    runbook,
    seen,
    trigger,
    well,
)

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


def turned_away(name: str, queue: str = "", reason: Reason = Reason.NO_RUNBOOK, **labels: str) -> MatchedAlert:
    labels = {"alertname": name, "queue": queue, **labels}
    return MatchedAlert(alert(fingerprint=f"{name} {queue}", labels=labels), reason=reason)


def told_later(ports: Memory, key: str) -> list[Card]:
    """The cards that come with the document's wake-up."""
    ports.clock = max(ports.document(key).due or 0.0, ports.clock)
    ports.posts.clear()
    advance(ports, key, TimerFired(), ports.budget())
    return [card for _, card in ports.posts]


def test_suspicions_without_a_runbook_all_leave_a_trace():
    """The log names each once an hour, and one card a day the newest: with what a runbook lacks, and how many more there are."""
    ports, lines = Memory(mail=well), list[str]()
    ports.log = lambda severity, message, **_: lines.append(message)
    crowd = [turned_away("MaybeStuck", f"jobs-{number}", unstick="suspicion") for number in range(60)]
    logged = [f"turned away (no_runbook): MaybeStuck jobs-{number}" for number in range(60)]
    for after_s, expected in ((0.0, logged), (20.0, []), (3580.0, logged)):
        ports.clock, lines[:] = ports.clock + after_s, []
        (reply,) = handle_notification(ports, crowd, ports.budget()).replies
        assert (reply.action, reply.reason) == (Action.HELD, Reason.NO_RUNBOOK)
        assert [line for line in lines if line.startswith("turned away")] == expected
    (card,) = told_later(ports, "no-runbook")
    assert card.headline == "In working hours: 60 targets or alerts were not restarted: no runbook matches the alert"
    assert dict(card.facts)["Affected"].startswith("MaybeStuck jobs-59, MaybeStuck jobs-58, ")
    assert dict(card.facts)["Affected"].endswith(" and 50 more")
    assert any(text.startswith("Details: MaybeStuck jobs-59: the runbooks look at") for text in card.text)
    assert told_later(ports, "no-runbook") == []
    handle_notification(ports, crowd[:1], ports.budget())
    assert ports.document("no-runbook").due is None
    ports.clock += 3600.0
    handle_notification(ports, crowd[:1], ports.budget())
    assert ports.document("no-runbook").due == pytest.approx(NOW + 60.0 + 86400.0, abs=3601.0)
    (card,) = told_later(ports, "no-runbook")
    assert card.headline == "In working hours: 1 target or alert was not restarted: no runbook matches the alert"


@pytest.mark.parametrize("reason", [Reason.NO_RUNBOOK, Reason.INVALID_OPTION, Reason.TEST_ALERT])
def test_invented_alerts_flood_no_chat(reason):
    """Five cards an hour for each reason and one that counts the others, however many come; incidents' cards come on."""
    ports = Memory(rules=rules(runbook(escalate=())))
    for number in range(40):
        handle_notification(ports, [turned_away(f"Invented{number}", reason=reason)], ports.budget())
    assert len(ports.posts) == 5
    assert advance(ports, TARGET.key, alerted(), ports.budget()).action is Action.RESTARTED
    assert [channel for channel, _ in ports.posts[5:]] == ["ops"]
    (card,) = told_later(ports, reason.replace("_", "-"))
    assert "35" in card.headline
    assert "Invented39" in dict(card.facts)["Affected"]
    handle_notification(ports, [turned_away("Invented40", reason=reason)], ports.budget())
    assert ports.document(reason.replace("_", "-")).due == pytest.approx(ports.clock + 3600.0, abs=2.0)


def test_what_is_handed_over_is_whole():
    """The wake-up that carries it decides as the webhook would have: as it was then, in a crowd or not."""
    ports = Timed()
    first = AlertsReceived((case(), case(fingerprint="fp-2")), "inc-1", crowd=True)
    second = AlertsReceived((MatchedAlert(alert(), None, reason=Reason.NO_RUNBOOK),), "inc-2")
    replies = hand_over(ports, [("a", first), ("b", second)], ports.budget())
    assert replies == [
        Reply("inc-1", "mail", "service=mail", Action.DEFERRED, None),
        Reply("inc-2", "", "", Action.DEFERRED, Reason.NO_RUNBOOK),
    ]
    ((at, content),) = ports.wakes
    one, other = content["deferred"]
    assert (at, one["incident"], one["crowd"]) == (NOW, "inc-1", True)
    assert [listed["fingerprint"] for listed in one["alerts"]] == ["fp-1", "fp-2"]
    assert (other["incident"], other["crowd"], len(other["alerts"])) == ("inc-2", False, 1)
    assert ports.limits == [pytest.approx(5.0)]


def sized(number: int, size: int) -> MatchedAlert:
    """An alert that is so long in a list."""
    empty = len(encode(of_target(number, annotations={"d": ""}).alert))
    long = of_target(number, annotations={"d": "x" * (size - empty)})
    assert len(encode(long.alert)) == size
    return long


@pytest.mark.parametrize("direct", [1, 0], ids=["store down", "beyond ten targets"])
@pytest.mark.parametrize(
    ("sizes", "lists_of"),
    [
        ([LISTED_BYTES - 2], [1]), ([LISTED_BYTES + 1], [1]), ([LISTED_BYTES + 1, 500], [1, 1]),
        ([LISTED_BYTES - 502, 500 - 2], [2]), ([LISTED_BYTES - 502, 500], [1, 1]), ([500, LISTED_BYTES, 500, 500], [1, 1, 2]),
    ],
)  # fmt: skip
def test_what_does_not_fit_into_one_task_goes_into_more(sizes, lists_of, direct):
    """I2: each alert of a target is handed over, as an incident of its own if what came before has ended by then."""
    ports = Memory(before=fails(*["load"] * direct))
    others = [] if direct else [of_target(number, firing=False) for number in range(10)]
    cases = [replace(sized(n, size), target=TARGET) for n, size in enumerate(sizes)]
    result = handle_notification(ports, [*others, *cases], ports.budget())
    entries = [entry for listed in lists(ports) for entry in listed]
    assert (result.lost, [len(entry["alerts"]) for entry in entries]) == (0, lists_of)
    assert [alert["fingerprint"] for entry in entries for alert in entry["alerts"]] == [f"fp-{n}" for n in range(len(sizes))]
    assert len({entry["incident"] for entry in entries}) == len(lists_of)


def overdue(ports: Memory, ages: Mapping[str, float | None]) -> None:
    """Documents whose incident was due so long ago."""
    for key, age_s in ages.items():
        due = None if age_s is None else NOW - age_s
        ports.put(key, replace(document(incident(due=due or NOW)), key=key, due=due))


def swept(ports: Memory) -> list[str]:
    """The documents that were loaded, in order, each once."""
    return list(dict.fromkeys(name.removeprefix("load ") for name in ports.names if name.startswith("load doc-")))


@pytest.mark.parametrize("error", [Unavailable("store", "is down"), Denied("store", "no right")])
def test_the_sweep_begins_with_what_is_overdue_longest(error):
    """By more than a minute; what is not due is left alone. One that can't be stepped is logged, and not counted."""
    ports, lines = Memory(mail=well, before=fails("load doc-f", error=error)), []
    ports.log = lambda severity, message, **fields: lines.append((severity, message.partition(":")[0], fields["document"]))
    overdue(ports, {"doc-a": 60.01, "doc-b": 600.0, "doc-c": 59.0, "doc-d": None, "doc-e": 60.0, "doc-f": 90.0})
    assert sweep(ports, ports.budget(60.0)) == 2
    assert swept(ports) == ["doc-b", "doc-f", "doc-a"]
    assert ("WARNING", "wake-up missing; advanced by the sweep", "doc-a") in lines
    assert ("ERROR", "sweep failed for a document", "doc-f") in lines


EMPTY = Document(TARGET.key)


def of_queue(number: int, **changes) -> MatchedAlert:
    received = alert(fingerprint=f"fp-{number}", **changes)
    return MatchedAlert(received, runbook(), TARGET, to_queue("/", f"queue-{number}"))


def read(ports: Memory) -> set[str]:
    return {name for name in ports.names if name.startswith("queue ")}


def test_an_incident_takes_twenty_queues_and_says_how_many_alerts_were_left_out():
    """3,000 alerts of one application with different queues were 9,392 threads and 22,600 requests a minute."""
    ports = Memory()
    handled = handle_notification(ports, [of_queue(number) for number in range(3000)], ports.budget())
    document = ports.document(TARGET.key)
    assert len(document.incident.queues) == len(document.incident.triggers) == QUEUES_KEPT
    assert len(read(ports)) == QUEUES_KEPT
    assert handled.lost == 0
    told = [card for channel, card in ports.posts if channel == "ops" and "too many alerts" in card.headline]
    assert len(told) == 1
    assert "2,980 alerts were left out" in " ".join(value for _, value in told[0].facts) + " ".join(told[0].text)
    before = len(ports.names)
    handle_notification(ports, [of_queue(number) for number in range(3000)], ports.budget())
    assert len([card for channel, card in ports.posts if channel == "ops" and "too many alerts" in card.headline]) == 1
    assert len([name for name in ports.names[before:] if name.startswith("queue ")]) <= QUEUES_KEPT


def test_what_was_left_out_is_decided_when_it_comes_again():
    """I2: the alerts of an outcome make place for the others; in a full incident nothing is looked at, and people are told."""
    ended = tuple(AlertRef(f"fp-{n}", "grafana#1", NOW - 90.0, f"rabbitmq:/:queue-{n}") for n in range(QUEUES_KEPT))
    ports = Memory()
    ports.put(TARGET.key, replace(EMPTY, target=TARGET, outcomes=(Outcome("inc-0", Ending.RECOVERED, None, NOW, ended),)))
    handle_notification(ports, [of_queue(number) for number in range(30)], ports.budget())
    assert {watched.queue.name for watched in ports.document(TARGET.key).incident.queues} == {f"queue-{n}" for n in range(20, 30)}
    assert {f"queue queue-{n}" for n in range(20, 30)} <= read(ports)
    full = moved(EMPTY, replace(alerted(), cases=tuple(of_queue(n) for n in range(QUEUES_KEPT)))).document
    joined = moved(full, replace(alerted(), cases=(of_queue(99),)))
    assert len(joined.document.incident.queues) == QUEUES_KEPT
    assert [message.id for message in joined.document.to_tell if "incident_full" in message.id]


def test_a_document_keeps_the_newest_messages_and_records_while_nothing_can_be_delivered():
    document = replace(EMPTY, target=TARGET)
    for number in range(120):
        document = replace(document, incident=incident(id=f"inc-{number}", reason=Reason.SYMPTOM_GONE))
        ending = Ending.ESCALATED if number == 0 else Ending.HELD
        card_input = CardInput("resumed", NOW + number)
        turn = Turn(document, rules(), seen(), NOW)
        post(turn, card_input, f"m{number}", ("ops",))
        close(turn, ending, card_input, tell=False)
        document = turn.document
    assert [message.id for message in document.to_tell] == [f"m{number}@ops" for number in range(20, 120)]
    assert [record.incident.id for record in document.to_archive] == [f"inc-{number}" for number in range(100, 120)]
    assert [outcome.incident for outcome in document.outcomes] == ["inc-0", *(f"inc-{number}" for number in range(101, 120))]


@pytest.mark.parametrize("timeout_s", [0.0, 0.2])
def test_a_call_that_no_thread_was_free_for_is_never_made(timeout_s):
    """Whoever asked goes on without it, so it must not act later."""
    calls, ends = [], threading.Event()

    def call(number: int) -> None:
        calls.append(number)
        ends.wait(60)

    results = run_parallel([lambda n=n: call(n) for n in range(100)], timeout_s=timeout_s)
    assert all(isinstance(result, Unavailable) and result.late for result in results)
    ends.set()
    for thread in threading.enumerate():
        if thread.name.startswith("parallel-"):
            thread.join(60)
    assert len(calls) <= (MOST_THREADS if timeout_s else 0)


@pytest.mark.usefixtures("patient_code")
def test_a_copy_of_a_notification_restarts_nothing(place):
    """I1: the same bytes, or Grafana's own repeat, are recognized by the alert's fingerprint and start."""
    body = notification(sent_alert("mail", "mail.delivery"))
    webhook = place.entry("webhook")
    recorded = signed(body)
    first = webhook.post("/", data=body, headers=recorded).json["incidents"][0]
    assert first["action"] == "restarted"
    for headers in (recorded, recorded, signed(body, at=time.time() + 5)):
        again = webhook.post("/", data=body, headers=headers).json["incidents"][0]
        assert (again["action"], again["reason"], again["id"]) == ("held", "duplicate", first["id"])
    assert len(place.rundeck.posts()) == 1


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_repeat_speaks_of_the_incident_that_its_alert_came_to(goes_on):
    """Not of one of its own, nor of the one that runs now for another alert of the target; nor does it name that one's run."""
    ended = Outcome("inc-1", Ending.RECOVERED, None, NOW - 100, (to_alert_ref(case()),))
    other = (trigger(fingerprint="fp-2"),)
    running = incident(Phase.RUNNING, id="inc-2", triggers=other, execution=execution(8, ended=None), due=NOW + 60)
    reply = moved(document(running if goes_on else None, outcomes=(ended,)), alerted(incident="inc-3")).reply
    assert (reply.incident, reply.execution, reply.reason) == ("inc-1", None, Reason.DUPLICATE)
