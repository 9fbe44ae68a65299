"""The order of outbound calls, and what is left where one of them fails: nothing twice, nothing lost."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from functions.application import intake, reconcile
from functions.domain.decisions import matching
from functions.domain.model.alerts import Alert, Case, Target
from functions.domain.model.codes import VERSION, Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import Alerted, Woken
from functions.domain.model.incidents import Document, Trigger
from functions.domain.model.messages import Card, Message
from functions.domain.model.observations import Slot, Storm
from functions.domain.model.runbooks import Matcher
from functions.entrypoints import webhook
from functions.runtime.errors import Conflict, Denied, Unavailable
from tests.support.memory import Memory
from tests.support.one_machine import payload_of
from tests.support.scenes import (
    MAIL,
    NOW,
    POST,
    TARGET,
    alert,
    alerted,
    case,
    document,
    incident,
    resolved,
    rules,
    runbook,
    sighting,
    starting,
    well,
)

KEY = TARGET.key
DOWN = Unavailable("store", "is down")
SLOW = Unavailable("rundeck", "did not answer in time", late=True)


def fails(*names: str, error: Exception = DOWN, times: int = 10_000) -> Callable[[str], None]:
    """What makes calls whose name begins with one of these fail, the first `times` of them."""
    left = [times]

    def before(name: str) -> None:
        if name.startswith(names) and left[0] > 0:
            left[0] -= 1
            raise error

    return before


def once(name: str, act: Callable[[], None], *, at: int = 1) -> Callable[[str], None]:
    """What does something as the `at`-th call of this name begins."""
    count = [0]

    def before(called: str) -> None:
        count[0] += called == name
        if called == name and count[0] == at:
            act()

    return before


def sent(outside: Memory) -> list[str]:
    return [name for name in outside.names if name.startswith("run ")]


class InTime(Memory):
    """Gives up a call that takes longer than it may, as the real outside does."""

    def together(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]:
        def timed(call: Callable[[], Any]) -> Any:
            began = self.clock
            result = call()
            if self.clock - began > timeout_s:
                raise Unavailable("time", "no answer in the time given", late=True)
            return result

        return super().together([partial(timed, call) for call in calls], timeout_s)


def advance(outside: Memory, event: Alerted | Woken | None = None, seconds: float = 8.0):
    return reconcile.advance(outside, KEY, event or alerted(), outside.budget(seconds))


def notify(outside: Memory, *cases: Case) -> intake.Notified:
    return intake.notified(outside, list(cases or (case(),)), outside.budget())


def woken_later(outside: Memory, seconds: float) -> None:
    """The wake-up comes, a while later."""
    outside.clock += seconds
    outside.before = lambda name: None
    reconcile.advance(outside, KEY, Woken(), outside.budget(60.0))


# --- the order -------------------------------------------------------------------------------------------------------


def test_a_restart_is_written_down_before_it_is_made_and_told_after():
    """I3, I6: load and look at once, wake-up and claim, save, POST; only then people."""
    outside = Memory()
    reply = advance(outside)
    legs: dict[int, set[str]] = {}
    for leg, name in outside.calls:
        legs.setdefault(leg, set()).add(name)
    assert list(legs.values())[:4] == [
        {f"load {KEY}", "load pause", "load storm", "history", "queue mail.delivery"},
        {"wake", "save storm"},
        {f"save {KEY}", "load pause"},
        {"run " + outside.executions[0].tag},
    ]
    assert outside.names.index("post ops") > outside.names.index(sent(outside)[0])
    assert reply is not None
    assert (reply.action, reply.execution) == (Action.RESTARTED, outside.executions[0])
    assert outside.document(KEY).incident.phase is Phase.RUNNING


def test_an_accepted_alert_reaches_the_runner_after_four_legs():
    """Both systems are asked at once with the store; the POST itself is the fourth."""
    outside = Memory()
    notify(outside)
    leg = next(leg for leg, name in outside.calls if name.startswith("run "))
    assert leg - outside.calls[0][0] + 1 <= 4


def test_a_wake_up_before_its_time_costs_one_call():
    """It looks at the document and at nothing else."""
    outside = Memory()
    outside.put(KEY, starting())
    assert advance(outside, Woken()) is None
    assert outside.names == [f"load {KEY}"]


def test_a_wake_up_for_a_document_that_is_not_there_does_no_harm():
    """Any number of wake-ups, for anything, at any time."""
    outside = Memory()
    for _ in range(3):
        assert advance(outside, Woken()) is None
    assert (outside.bodies, outside.wakes, set(outside.names)) == ({}, [], {f"load {KEY}"})


def test_a_wake_up_names_a_target_and_nothing_else():
    """Everything else is looked up when it comes."""
    outside = Memory()
    advance(outside)
    assert {json.dumps(content) for _, content in outside.wakes} == {json.dumps({"target": KEY})}
    assert min(at for at, _ in outside.wakes) > NOW


def test_a_duplicate_costs_no_save_and_no_message():
    """The same alert of a restarted target again: answered, and that is all."""
    outside = Memory()
    advance(outside)
    body, posts, wakes = outside.bodies[KEY], list(outside.posts), list(outside.wakes)
    reply = advance(outside, alerted(incident="inc-2"))
    assert reply is not None
    assert (reply.incident, reply.action, reply.reason) == ("inc-1", Action.HELD, Reason.DUPLICATE)
    assert reply.execution == outside.executions[0]
    assert (outside.bodies[KEY], outside.posts, outside.wakes, len(sent(outside))) == (body, posts, wakes, 1)


def test_every_alert_is_answered_with_its_incident():
    """200 with each incident's id, action and reason, whatever the incident is doing just then."""
    outside = Memory()
    advance(outside)
    for after_s in (1.0, 20.0, 15.0, 15.0, 15.0):
        outside.clock += after_s
        found = notify(outside, case(fingerprint=f"fp-{after_s}"))
        assert [reply.incident for reply in found.replies] == ["inc-1"]


# --- the moment of acting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["with the save", "after a slow save", "unreadable"])
def test_nothing_is_sent_when_the_kill_switch_turns_on_between_decision_and_post(how):
    """I9: it is read again right before the POST; turned on or unreadable, the restart is held and told."""
    outside = Memory()

    def late() -> None:
        outside.clock += 3.0
        outside.before = once("load pause", outside.pause, at=2)

    outside.before = {
        "with the save": once(f"save {KEY}", outside.pause),
        "after a slow save": once(f"save {KEY}", late),
        "unreadable": once(f"save {KEY}", lambda: setattr(outside, "before", fails("load pause", times=1))),
    }[how]
    reply = advance(outside)
    assert sent(outside) == []
    assert reply is not None
    assert (reply.action, reply.reason) == (Action.HELD, Reason.PAUSED)
    if how == "unreadable":  # that passes
        woken_later(outside, 15.0)
        assert (sent(outside), [card.kind for _, card in outside.posts]) == (["run inc-1.1"], ["started"])
    else:
        assert [card.kind for _, card in outside.posts] == ["held"]
        assert outside.document(KEY).incident is None


def test_the_environment_is_a_kill_switch_too():
    """`UNSTICK_PAUSED=1`: no document is needed."""
    outside = Memory(by_environment=True)
    reply = advance(outside)
    assert reply is not None
    assert (reply.reason, sent(outside)) == (Reason.PAUSED, [])


@pytest.mark.parametrize(("stall_s", "is_sent"), [(3.0, True), (28.5, False), (600.0, False)])
def test_a_holder_that_stalls_past_its_fence_sends_nothing(stall_s, is_sent):
    """I1: by monotonic time since the look; then a wake-up decides anew, with the same number."""
    outside = Memory()

    def stall() -> None:
        outside.clock += stall_s

    outside.before = once(f"save {KEY}", stall)
    reply = advance(outside, seconds=700.0)
    assert bool(sent(outside)) == is_sent
    assert reply is not None
    assert reply.action is (Action.RESTARTED if is_sent else Action.DEFERRED)
    if not is_sent:
        woken_later(outside, 1.0)
        assert sent(outside) == ["run inc-1.1"]


@pytest.mark.parametrize(
    ("error", "action", "reason"),
    [
        (SLOW, Action.DEFERRED, None),
        (Denied("rundeck", "no right", remedy="Load the ACL.", status=403), Action.HELD, Reason.RESTART_REFUSED),
        (Denied("rundeck", "runs already", code="busy", status=409), Action.HELD, Reason.JOB_BUSY),
        (Denied("rundeck", "99", code="mismatch"), Action.HELD, Reason.RESTART_REFUSED),
    ],
    ids=["no answer", "403", "409", "other options"],
)
def test_what_the_runner_answers_is_answered(error, action, reason):
    """`deferred` where nobody knows; a clear no with its reason; what runs with other options is aborted."""
    outside = Memory(before=fails("run", error=error, times=1))
    reply = advance(outside)
    assert reply is not None
    assert (reply.action, reply.reason, len(sent(outside))) == (action, reason, 1)
    assert outside.aborted == (["99"] if reason is Reason.RESTART_REFUSED and error is not SLOW and "99" in str(error) else [])


def test_a_409_is_looked_into_before_it_is_believed():
    """Somebody started the same restart a moment earlier: adopted."""
    outside = Memory()
    busy = Denied("rundeck", "runs already", code="busy", status=409)

    def somebody() -> None:
        outside.run(TARGET, "", 0.0, 1.0)
        raise busy

    outside.before = once("run inc-1.1", somebody)
    reply = advance(outside)
    assert reply is not None
    assert (reply.action, reply.reason, reply.execution) == (Action.ADOPTED, Reason.ALREADY_RUNNING, outside.executions[0])


def test_a_start_without_an_answer_is_never_repeated():
    """I1: it ran all the same; the wake-up finds it in the history."""
    outside = Memory()

    def accepted() -> None:
        outside.before = lambda name: None
        outside.run(TARGET, "inc-1.1", NOW + 1000, 1.0)
        raise SLOW

    outside.before = once("run inc-1.1", accepted)
    advance(outside)
    woken_later(outside, 20.0)
    assert len(outside.executions) == 1
    assert outside.document(KEY).incident.phase is Phase.RUNNING


# --- conflicts and crashes -------------------------------------------------------------------------------------------


def test_a_conflict_begins_again_and_joins_whoever_was_faster():
    """I1: two replicas of Grafana at once: one start."""
    outside = Memory()
    outside.before = once(f"save {KEY}", lambda: outside.put(KEY, starting()))
    reply = advance(outside, alerted(case(fingerprint="fp-2"), incident="inc-2"))
    assert reply is not None
    assert (reply.incident, reply.reason, sent(outside)) == ("inc-1", Reason.DUPLICATE, [])
    assert [one.fingerprint for one in outside.document(KEY).incident.triggers] == ["fp-1", "fp-2"]


def test_a_save_whose_answer_was_lost_counts_as_not_made():
    """I1: nobody acts on it, though it is there; the wake-up goes on from it."""
    outside = Memory()
    real = outside.save

    def lost(key, body, generation, due, timeout_s):
        real(key, body, generation, due, timeout_s)
        if key == KEY and not outside.document(KEY).incident.reason:
            outside.save = real
            raise Unavailable("store", "the answer was lost")

    outside.save = lost
    advance(outside)
    assert sent(outside) == []
    woken_later(outside, 20.0)
    assert sent(outside) == []
    woken_later(outside, 75.0)
    assert sent(outside) == ["run inc-1.2"]


def test_a_store_that_takes_no_save_is_not_hammered():
    """Each try asks every system again, so after two the alert goes to the scheduler."""
    outside = Memory(before=fails(f"save {KEY}"))
    found = notify(outside)
    assert [reply.action for reply in found.replies] == [Action.DEFERRED]
    assert outside.names.count("history") == 2


def test_what_falls_due_right_after_it_was_asked_is_not_decided_unseen():
    """A wake-up that is a moment early moves nothing; it must not take what it has not looked at for unknown."""
    outside = Memory(mail=well)
    outside.put(KEY, replace(document(incident(due=NOW + 0.015)), due=NOW + 0.015))
    clock = iter([NOW + 0.01, *[NOW + 0.02] * 9])
    outside.now = lambda: next(clock)
    reconcile.advance(outside, KEY, Woken(), outside.budget(60.0))
    assert (outside.names, outside.document(KEY).outcomes) == ([f"load {KEY}"], ())


def test_a_wake_up_that_was_faster_than_the_save_comes_again():
    """A save may land after its own wake-up has come, found nothing and is gone: another one comes after the save."""
    outside, landed = Memory(), []

    def slow(name: str) -> None:
        if name == "history":
            raise SLOW
        if name == f"save {KEY}":
            outside.clock += 2.0
            landed.append(outside.clock)

    outside.before = slow
    assert advance(outside).action is Action.DEFERRED
    assert outside.wakes[0][0] < landed[0], "it is due at once, so its wake-up came before the save"
    assert any(at >= landed[0] and content == {"target": KEY} for at, content in outside.wakes)


def test_an_alert_that_joins_during_the_post_is_kept():
    """What came of the start is saved on top of it."""
    outside = Memory()

    def joins() -> None:
        found = outside.document(KEY)
        more = (*found.incident.triggers, Trigger("fp-2", "grafana#1", NOW, POST.key))
        outside.put(KEY, replace(found, incident=replace(found.incident, triggers=more)))

    outside.before = once("run inc-1.1", joins)
    advance(outside)
    found = outside.document(KEY).incident
    assert (found.phase, [one.fingerprint for one in found.triggers]) == (Phase.RUNNING, ["fp-1", "fp-2"])


def test_without_a_wake_up_nothing_is_saved_or_sent():
    """I3: the wake-up is created first; a scheduler that takes none leaves everything as it was."""
    outside = Memory(before=fails("wake"))
    found = notify(outside)
    assert (found.lost, sent(outside), KEY in outside.bodies) == (1, [], False)


def test_a_slot_that_somebody_else_took_meanwhile_is_seen():
    """The storm is claimed by compare-and-set: at most `storm.targets` targets, however many come at once."""
    outside = Memory()
    full = Storm(tuple(Slot(f"t{n}", NOW) for n in range(3)))
    outside.before = once("save storm", lambda: outside.put("storm", full))
    reply = advance(outside)
    assert reply is not None
    assert (reply.reason, sent(outside)) == (Reason.TOO_MANY_TARGETS, [])


def test_endless_conflicts_end():
    """A fault of the store must not keep a request for ever."""
    outside = Memory(before=fails(f"save {KEY}", error=Conflict(KEY)))
    with pytest.raises(Unavailable, match="kept changing"):
        advance(outside, seconds=1e9)
    assert sent(outside) == []


@pytest.mark.parametrize("down", ["post", "archive"])
def test_a_chat_or_archive_that_is_down_holds_nothing_up(down):
    """I6: the restart is made and verified all the same; what was not told stays until it was."""
    outside = Memory(before=fails(down))
    advance(outside)
    assert outside.document(KEY).incident.phase is Phase.RUNNING
    ended = replace(outside.executions[0], status="succeeded", runner_ended_at=NOW + 205)
    outside.executions[0] = ended
    outside.mail = well
    for _ in range(8):
        outside.clock += 16.0
        reconcile.advance(outside, KEY, Woken(), outside.budget(60.0))
    found = outside.document(KEY)
    assert (found.outcomes[-1].ending, found.open) == (Ending.RECOVERED, True)
    woken_later(outside, 61.0)
    assert not outside.document(KEY).open
    assert [card.kind for _, card in outside.posts] == ["started", "recovered"]
    assert list(outside.archived) == ["incidents/2027-01-15/inc-1.json"]


def test_what_a_slow_chat_took_is_not_posted_again():
    """Seconds for each message, and another channel beside it: what was not posted in time is, by the wake-ups that follow."""
    outside = InTime()
    waiting = tuple(Message(f"m{n}@slow", "slow", Card("held", "act", f"message {n}")) for n in range(6))
    there = Document(KEY, TARGET, to_tell=(*waiting, Message("m@ops", "ops", Card("held", "act", "message"))), due=NOW)
    outside.put(KEY, there)

    def slowly(name: str) -> None:
        outside.clock += 2.7 if name == "post slow" else 0.0

    outside.before = slowly
    for _ in range(4):
        outside.clock = max(outside.clock, outside.document(KEY).due or 0.0)
        reconcile.advance(outside, KEY, Woken(), outside.budget(60.0))
    assert not outside.document(KEY).open
    assert sorted((where, card.headline) for where, card in outside.posts) == sorted(
        [("ops", "message"), *[("slow", f"message {n}") for n in range(6)]]
    )


def test_what_belongs_to_no_incident_opens_no_thread():
    """The second press of Test is read in the channel, not below the first."""
    outside = Memory()
    notify(outside, Case(alert(), None, None, None, Reason.TEST_ALERT))
    (key,) = (key for key in outside.bodies if key.startswith("alert-"))
    assert [card.kind for _, card in outside.posts] == ["test"]
    assert dict(outside.document(key).threads) == {}


def test_messages_of_one_incident_go_into_one_thread():
    """What a channel gave for the first message comes back with the next."""
    outside = Memory()
    advance(outside)
    assert dict(outside.document(KEY).threads) == {"ops/inc-1": "thread of ops"}


# --- saved or lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["load", "save"])
def test_alerts_that_can_not_be_saved_are_handed_to_the_scheduler(down):
    """I2: answered 200 as `deferred`; the wake-up carries them and decides them."""
    outside = Memory(before=fails(f"{down} {KEY}"))
    found = notify(outside)
    assert ([reply.action for reply in found.replies], found.lost) == ([Action.DEFERRED], 0)
    assert webhook.answered(found)[1] == 200
    (content,) = [content for _, content in outside.wakes if "deferred" in content]
    (entry,) = content["deferred"]
    alerts = msgspec.convert(entry["alerts"], tuple[Alert, ...])
    assert alerts == (alert(),)
    outside.before = lambda name: None
    advance(outside, Alerted((case(),), entry["incident"], crowd=entry["crowd"]))
    assert len(sent(outside)) == 1


def test_only_what_nobody_took_is_answered_503():
    """Grafana sends it again, and what was saved stays valid."""
    other = Target("other-key", "http://rundeck", "job-1", {"service": "other"})
    outside = Memory(before=fails(f"load {KEY}", "wake"))
    found = notify(outside, case(), Case(alert(firing=False, fingerprint="fp-9"), runbook(), other, MAIL))
    assert (found.lost, [reply.target for reply in found.replies]) == (1, ["service=other"])
    body, status, _ = webhook.answered(found)
    assert (status, len(json.loads(body)["incidents"])) == (503, 1)


def test_beyond_ten_targets_alerts_wait_in_lists_of_a_hundred():
    """Ten are decided at once, the rest by wake-ups that carry them; every one is answered."""
    cases = [Case(alert(fingerprint=f"fp-{n}"), runbook(), replace(TARGET, key=f"key-{n}"), MAIL) for n in range(225)]
    outside = Memory()
    found = notify(outside, *cases)
    lists = [content["deferred"] for _, content in outside.wakes if "deferred" in content]
    assert [len(entries) for entries in lists] == [100, 100, 15]
    assert all(entry["crowd"] for entries in lists for entry in entries)
    assert len(found.replies) == 225
    assert sum(reply.action is Action.DEFERRED for reply in found.replies) == 215
    assert len(sent(outside)) <= 3


def test_large_alerts_wait_in_lists_that_the_scheduler_takes():
    """Cloud Tasks takes 1 MB."""
    noise = random.Random(7)
    cases = [
        Case(
            alert(fingerprint=f"fp-{n}", annotations={"description": "".join(noise.choices(string.printable, k=20_000))}),
            runbook(),
            replace(TARGET, key=f"key-{n}"),
            MAIL,
        )
        for n in range(110)
    ]
    outside = Memory()
    found = notify(outside, *cases)
    lists = [content["deferred"] for _, content in outside.wakes if "deferred" in content]
    assert (len(found.replies), sum(map(len, lists))) == (110, 100)
    assert all(len(payload_of({"deferred": entries})) < 1_000_000 for entries in lists)


def test_a_look_that_takes_too_long_is_left_to_a_wake_up():
    """`deferred`: saved and due at once; the wake-up has the time."""
    outside = Memory(before=fails("history", error=SLOW))
    reply = advance(outside)
    assert reply is not None
    assert (reply.action, reply.reason, outside.document(KEY).incident.phase) == (Action.DEFERRED, None, Phase.DEFERRED)
    woken_later(outside, 0.1)
    assert sent(outside) == ["run inc-1.1"]


# --- stale work ------------------------------------------------------------------------------------------------------


def test_a_wake_up_hours_late_looks_first_and_says_that_it_is_late():
    """It judges by now: the queue is well meanwhile, so nothing is restarted, and people learn why so late."""
    outside = Memory(mail=well)
    outside.put(KEY, document(incident(due=NOW)))
    woken_later(outside, 4 * 3600.0)
    assert sent(outside) == []
    assert [card.kind for _, card in outside.posts] == ["held"]
    assert any("late" in line for line in outside.posts[0][1].text)


def test_a_document_of_a_runbook_that_is_gone_goes_to_people():
    """The configuration changed under an open incident: it ends, and is told on the top-level channels."""
    outside = Memory(rules=rules(runbook(name="other")))
    outside.put(KEY, document(incident(due=NOW)))
    woken_later(outside, 1.0)
    assert (sent(outside), [channel for channel, _ in outside.posts]) == ([], ["everybody"])
    assert outside.document(KEY).outcomes[-1].reason is Reason.NO_RUNBOOK


def test_deferred_alerts_are_matched_by_the_configuration_of_now():
    """No runbook takes them any more: held as such, and told."""
    changed = rules(runbook(match=(Matcher("alertname", "=", "Other"),)))
    cases = matching.cases(changed, "http://rundeck", [alert()])
    outside = Memory(rules=changed)
    reply = reconcile.advance(outside, intake.document_key(cases[0]), Alerted(tuple(cases), "inc-1"), outside.budget())
    assert reply is not None
    assert (reply.action, reply.reason) == (Action.HELD, Reason.NO_RUNBOOK)
    assert [channel for channel, _ in outside.posts] == ["everybody"]


@pytest.mark.parametrize("event", [alerted(), resolved(), Woken()], ids=["alert", "resolved", "wake-up"])
def test_a_document_of_a_newer_release_is_left_alone(event):
    """It is not read as if it were ours, nothing is restarted, and the error says what to do."""
    outside = Memory()
    outside.put(KEY, replace(Document(KEY), version=VERSION + 1))
    before = outside.bodies[KEY]
    with pytest.raises(Denied, match="newer release") as denied:
        advance(outside, event)
    assert (denied.value.code, outside.bodies[KEY], sent(outside), outside.wakes) == ("newer", before, [], [])
    assert denied.value.remedy


def test_alerts_of_a_newer_releases_target_are_answered_503():
    """Neither decided nor saved: Grafana keeps them until the newer release is back."""
    outside = Memory()
    outside.put(KEY, replace(Document(KEY), version=VERSION + 1))
    found = notify(outside)
    assert (found.lost, webhook.answered(found)[1]) == (1, 503)
    assert "newer release" in found.why


@pytest.mark.parametrize("body", [b"not json", b'{"key": "pause", "version": 99}'])
def test_a_kill_switch_that_can_not_be_read_is_on(body):
    """I4, I9: a broken document `pause`, or one of a newer release, holds."""
    outside = Memory()
    outside.bodies["pause"] = (body, 1, None)
    reply = advance(outside)
    assert reply is not None
    assert (reply.reason, sent(outside)) == (Reason.PAUSED, [])


def test_the_sweep_steps_what_is_overdue_by_a_minute():
    """A wake-up that the scheduler lost costs minutes, not the incident; one document that fails does not hide the others."""
    outside = Memory()
    outside.put(KEY, document(incident(due=NOW - 61)))
    outside.put("broken", replace(Document("broken"), version=VERSION + 1), due=NOW - 4000)
    outside.bodies["broken"] = (outside.bodies["broken"][0], 1, NOW - 4000)
    outside.put("fresh", replace(document(incident(due=NOW - 59)), key="fresh"))
    assert intake.sweep(outside, outside.budget(60.0)) == 1
    assert sent(outside) == ["run inc-1.1"]


def test_the_holds_of_many_targets_go_out_as_one_message():
    """Each document hands its message to the bundle, which posts all of them once."""
    outside = Memory()
    outside.put("storm", Storm(tuple(Slot(f"t{n}", NOW) for n in range(3))))
    cases = [
        Case(alert(fingerprint=f"fp-{n}"), runbook(), replace(TARGET, key=f"key-{n}", options={"service": f"s{n}"}), MAIL)
        for n in range(8)
    ]
    found = notify(outside, *cases)
    assert ({reply.reason for reply in found.replies}, outside.posts) == ({Reason.TOO_MANY_TARGETS}, [])
    outside.clock += 21.0
    for n in range(8):
        reconcile.advance(outside, f"key-{n}", Woken(), outside.budget(60.0))
    assert [card.kind for _, card in outside.posts] == ["bundle"]
    assert all(f"service=s{n}" in str(outside.posts[0][1].facts) for n in range(8))
    assert not any(outside.document(f"key-{n}").open for n in range(8))


def test_a_document_that_can_not_be_read_keeps_no_bundle_back():
    """One of a newer release, after a rollback: the others' message goes out all the same."""
    outside = Memory()
    for number in range(3):
        made = Case(alert(fingerprint=f"fp-{number}"), None, None, None, Reason.NO_RUNBOOK)
        reconcile.advance(outside, f"alert-{number}", Alerted((made,), f"inc-{number}", crowd=True), outside.budget())
    outside.put("foreign", Document("foreign", version=VERSION + 1), due=NOW)
    outside.bodies["foreign"] = (*outside.bodies["foreign"][:2], NOW)
    outside.clock += 21.0
    for number in range(3):
        reconcile.advance(outside, f"alert-{number}", Woken(), outside.budget(60.0))
    assert [card.kind for _, card in outside.posts] == ["bundle"]


def test_a_bundle_counts_alerts_of_one_rule_and_tells_them_apart():
    """Alerts that no runbook matches differ in their summaries only; each is counted, and what came later is told by itself."""
    outside = Memory()

    def arrives(number: int) -> None:
        made = alert(fingerprint=f"fp-{number}", annotations={"summary": f"queue {number} is stuck"})
        case = Case(made, None, None, None, Reason.NO_RUNBOOK)
        reconcile.advance(outside, f"alert-{number}", Alerted((case,), f"inc-{number}", crowd=True), outside.budget())

    def told() -> str:
        outside.clock += 21.0
        for key in [key for key in outside.bodies if key.startswith("alert-")]:
            reconcile.advance(outside, key, Woken(), outside.budget(60.0))
        return outside.posts[-1][1].headline

    for number in range(12):
        arrives(number)
    assert told().startswith("ACT NOW: 12 targets or alerts were not restarted")
    assert all(f"queue {n} is stuck" in str(outside.posts[0][1].facts) for n in range(12))
    arrives(12)
    assert told().startswith("ACT NOW: one target or alert was not restarted")
    assert len(outside.posts) == 2


def test_the_approval_link_is_signed_as_it_goes_out():
    """The core has no keys; the document holds only the nonce."""
    outside = Memory(rules=rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com"))
    reply = advance(outside)
    assert reply is not None
    assert reply.action is Action.ASKED
    urls = [url for _, card in outside.posts for _, url in card.links]
    nonce = outside.document(KEY).incident.nonce
    assert f"https://unstick.example.com/approve/{KEY}~{nonce}~{NOW + 1800:.0f}/" in urls


def test_the_document_says_what_was_seen_at_the_start():
    """Before and after need a before."""
    outside = Memory()
    advance(outside)
    assert outside.document(KEY).incident.queues[0].before.depth == sighting().depth
