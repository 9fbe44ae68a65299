"""What one notification may cost, however many alerts and queues it names."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.intake import handle_notification
from functions.application.reconcile import advance
from functions.application.serialization import encode
from functions.domain.model import bounds
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.bounds import ALERTS_KEPT, HISTORY_KEPT, MAX_BYTES, QUEUES_KEPT, before_restart, shrink
from functions.domain.model.codes import Ending, Phase
from functions.domain.model.events import TimerFired
from functions.domain.model.incidents import AlertRef, Archive, Document, Escalation, Evidence, HistoryEntry, Outcome, QueueState
from functions.domain.model.messages import Card, Message
from functions.domain.model.observations import Holder
from functions.runtime.errors import Unavailable
from functions.runtime.parallel import MOST_THREADS, run_parallel
from tests.application.test_reconcile import fails
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import NOW, TARGET, alert, alerted, execution, incident, moved, runbook, snapshot

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


HOSTILE = "\U0001f4a5" * 300


def large() -> Document:
    """Everything as long and as many as a document takes, in characters of four bytes, and no chat or archive for a day."""
    triggers = tuple(
        AlertRef(f"{n:064}", "s" * 200, NOW, "q" * 520, HOSTILE, HOSTILE, HOSTILE[:64], dict.fromkeys("abcde", "h" * 2000))
        for n in range(ALERTS_KEPT)
    )
    watched = incident().queues[0]
    curve = tuple((NOW + at / 7, 10**9) for at in range(120))
    holders = (Holder("h" * 80, HOSTILE[:80], 10**9, NOW / 7),) * 5
    before = before_restart(replace(snapshot(), holders=holders))
    queues = tuple(
        replace(watched, queue=to_queue("v" * 255, f"{n:0255}"), before=before, holders=holders, curve=curve)
        for n in range(QUEUES_KEPT)
    )
    evidence = Evidence(dict.fromkeys("abc", "v" * 1024), NOW, NOW, execution(), (HOSTILE[:240],) * 12, HOSTILE, HOSTILE)
    history = (HistoryEntry(NOW, Phase.WAITING, None, HOSTILE, 1),) * HISTORY_KEPT
    open_one = incident(
        Phase.VERIFYING, triggers=triggers, queues=queues, execution=execution(), evidence=evidence, history=history
    )
    escalation = Escalation(
        "inc-0", "mail", NOW, NOW, "n" * 200, 3, HOSTILE, NOW, tuple(QueueState(one.queue, "mail", NOW) for one in queues)
    )
    outcome = Outcome("inc-0", Ending.RECOVERED, None, NOW, triggers, queues=tuple(one.queue for one in queues))
    card = Card("held", "act", HOSTILE, ((HOSTILE, HOSTILE),) * 12, (HOSTILE,) * 12, (HOSTILE,) * 15, ((NOW, 5),) * 120)
    return Document(
        TARGET.key,
        TARGET,
        open_one,
        (outcome,) * 20,
        tuple(Message(f"m{n}@ops", "ops", card) for n in range(100)),
        (Archive(TARGET, open_one, outcome),) * 20,
        escalation=escalation,
        passed={f"2026-10-{day:02}": 1440 for day in range(32)},
    )


def test_a_document_stays_under_256_kb_whatever_comes():
    """The newest outcome and the open incident stay to the last: no restart rests on anything else."""
    smallest = list(shrink(large()))[-1]
    assert len(encode(smallest)) < MAX_BYTES
    assert (len(smallest.incident.triggers), len(smallest.incident.queues), len(smallest.outcomes)) == (50, 20, 1)


def test_what_people_read_goes_before_what_decisions_need():
    """Step by step: outcomes but the last, details but of the first queue and alert, and messages and records in the end."""
    bundled = {f"m{n}": NOW for n in range(1001)}
    first, *steps = shrink(replace(large(), bundled=bundled))
    assert len(first.bundled) == 1001
    assert [*steps[0].bundled] == [f"m{n}" for n in range(1, 1001)]
    assert [len(one.outcomes) for one in steps[:20]] == [*range(20, 0, -1)]
    outcome, incident, card, barest = (steps[place] for place in (19, 20, 21, 22))
    assert [len(trigger.name) for trigger in outcome.outcomes[0].triggers] == [len(HOSTILE), *[0] * 49]
    assert outcome.incident == first.incident
    for kept in (incident.incident, incident.to_archive[0].incident):
        assert [(len(one.curve), len(one.holders), len(one.before.holders)) for one in kept.queues[:2]] == [
            (120, 5, 5),
            (5, 0, 0),
        ]
        assert (len(kept.history), len(kept.evidence.lines)) == (5, 5)
        assert [len(trigger.summary) > 0 for trigger in kept.triggers[:2]] == [True, False]
    assert incident.incident.queues[1].curve == first.incident.queues[1].curve[-5:]
    archived = incident.to_archive[0]
    assert (len(archived.incident.triggers), len(archived.outcome.triggers)) == (5, 5)
    shown = card.to_tell[-1].card
    assert [len(part) for part in (shown.text, shown.facts, shown.evidence, shown.curve)] == [5, 5, 0, 0]
    kept = barest.incident
    assert {(len(one.curve), len(one.holders), one.before is None) for one in kept.queues} == {(0, 0, False)}
    assert (len(kept.history), len(kept.evidence.lines), len(kept.evidence.options)) == (0, 0, 3)
    assert [(len(one.to_tell), len(one.to_archive)) for one in steps[22:26]] == [(100, 20), (99, 19), (98, 18), (97, 17)]
    assert [message.id for message in steps[23].to_tell[:1]] == ["m1@ops"], "the oldest goes first"
    assert (len(steps), len(steps[-1].to_tell), len(steps[-1].to_archive)) == (123, 0, 0)


def test_a_hold_makes_place_for_other_outcomes():
    """Its alert is only posted again; the last outcome stays, whatever it is."""
    held, ended = (Outcome(ending.value, ending, None, NOW, ()) for ending in (Ending.HELD, Ending.ESCALATED))
    for outcomes, left in (
        ((ended, held, held), (ended, held)),
        ((ended, ended, held), (ended, held)),
        ((held, ended), (ended,)),
    ):
        assert bounds.drop_oldest(outcomes) == left
    assert [one.incident for one in bounds.drop_oldest((replace(ended, incident="old"), ended))] == ["escalated"]


def test_consumers_are_remembered_up_to_a_size():
    """Their names recognize new ones after the restart; 2,000 characters of them are kept."""
    for ids in (("a" * 1000, "b" * 1000), ("a" * 1000, "b" * 1001)):
        assert before_restart(snapshot(ids=ids)).consumer_ids == (ids if len(ids[1]) == 1000 else None)


def test_the_history_keeps_its_first_and_its_last_entries():
    """However often an incident changes."""
    documents = [replace(EMPTY, incident=incident(attempt=number)) for number in range(100)]
    kept = documents[0]
    for former, later in pairwise(documents):
        kept = bounds.note_history(former, replace(later, incident=replace(later.incident, history=kept.incident.history)), NOW)
    assert [entry.attempt for entry in kept.incident.history] == [*range(1, 21), *range(80, 100)]
    same = replace(documents[0], incident=replace(documents[0].incident, detail="in other words"))
    assert bounds.note_history(documents[0], same, NOW) is same


@pytest.mark.parametrize("dropped", [True, False])
def test_messages_and_records_that_find_no_place_are_counted_in_the_log(dropped):
    """Whoever reads the log learns that something was lost, and how much; details for people go without a word."""
    messages, records = large().to_tell[:30], large().to_archive[:4]
    waiting = replace(large(), incident=None, due=NOW - 1, to_tell=messages, to_archive=records)
    waiting = waiting if dropped else replace(waiting, to_tell=messages[:5], to_archive=())
    ports, logged = Memory(before=fails("post", "arch", error=Unavailable("chat", "is down"))), []
    ports.log = lambda severity, message, **_: logged.append((severity, message))
    ports.put(TARGET.key, waiting)
    advance(ports, TARGET.key, TimerFired(), ports.budget(60.0))
    kept = ports.document(TARGET.key)
    assert len(ports.bodies[TARGET.key][0]) < MAX_BYTES
    lost = [message.rpartition(": ")[2] for severity, message in logged if severity == "ERROR" and "dropped" in message]
    assert not [message for _, message in logged if message.startswith("incident ")], "no incident ended"
    if not dropped:
        assert (lost, len(kept.to_tell)) == ([], 5)
        return
    assert len(kept.to_archive) < len(records)
    assert lost == [str(len(messages) - len(kept.to_tell) + len(records) - len(kept.to_archive))]


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
