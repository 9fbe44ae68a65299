"""What one notification may cost, however many alerts and queues it names."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.intake import handle_notification
from functions.domain.cards.content import CardInput
from functions.domain.decisions.endings import close
from functions.domain.decisions.messages import post
from functions.domain.decisions.turn import Turn
from functions.domain.health.looks import before_restart
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Ending, Reason
from functions.domain.model.incidents import QUEUES_KEPT, AlertRef, Document, Outcome
from functions.runtime.errors import Unavailable
from functions.runtime.parallel import MOST_THREADS, run_parallel
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import NOW, TARGET, alert, alerted, incident, moved, rules, runbook, seen, snapshot

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


def test_consumers_are_remembered_up_to_a_size():
    """Their names recognize new ones after the restart; 2,000 characters of them are kept."""
    for ids in (("a" * 1000, "b" * 1000), ("a" * 1000, "b" * 1001)):
        assert before_restart(snapshot(ids=ids)).consumer_ids == (ids if len(ids[1]) == 1000 else None)


def test_a_document_keeps_the_newest_messages_and_records_while_nothing_can_be_delivered():
    """The outcomes that settle alerts stay longest: no restart is decided by the others."""
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
