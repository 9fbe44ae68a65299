"""The order of outbound calls, and what is left where one of them fails: nothing twice, nothing lost."""

import random
import string
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from functions.application import intake, reconcile
from functions.application.observe import observe
from functions.application.ports import Mismatch
from functions.domain.model.alerts import Alert, MatchedAlert
from functions.domain.model.cards import Card, Message
from functions.domain.model.codes import VERSION, Action, Ending, Mode, Phase, Reason
from functions.domain.model.events import AlertsReceived, Approved, TimerFired
from functions.domain.model.incidents import Document, Outcome
from functions.domain.model.observations import Execution, Pause
from functions.entrypoints import webhook
from functions.runtime.errors import Conflict, Denied, DeniedCode, Unavailable
from tests.support.worlds.memory import Memory, fails, once
from tests.support.worlds.one_machine import payload_of
from tests.support.worlds.scenes import (
    MAIL,
    NOW,
    TARGET,
    alert,
    alerted,
    case,
    change,
    document,
    escalation,
    execution,
    incident,
    resolved,
    rules,
    runbook,
    trigger,
    well,
)

KEY = TARGET.key
SLOW = Unavailable("rundeck", "did not answer in time", late=True)


def sent(ports: Memory) -> list[str]:
    return [name for name in ports.names if name.startswith("run ")]


def told_kinds(ports: Memory) -> dict[str, list[str]]:
    """The kinds of what each channel got, in order."""
    return {channel: [card.kind for name, card in ports.posts if name == channel] for channel, _ in ports.posts}


class InTime(Memory):
    """Gives up a call that takes longer than it may, as the real outside does."""

    def run_parallel(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]:
        def timed(call: Callable[[], Any]) -> Any:
            began = self.clock
            result = call()
            if self.clock - began > timeout_s:
                raise Unavailable("time", "no answer in the time given", late=True)
            return result

        return super().run_parallel([partial(timed, call) for call in calls], timeout_s)


def advance(ports: Memory, event: AlertsReceived | TimerFired | None = None, seconds: float = 8.0):
    return reconcile.advance(ports, KEY, event or alerted(), ports.budget(seconds))


def notify(ports: Memory, *cases: MatchedAlert) -> intake.IntakeResult:
    return intake.handle_notification(ports, list(cases or (case(),)), ports.budget())


def woken_later(ports: Memory, seconds: float) -> None:
    """The wake-up comes, a while later."""
    ports.clock += seconds
    ports.before = lambda name: None
    reconcile.advance(ports, KEY, TimerFired(), ports.budget(60.0))


def test_a_restart_is_written_down_before_it_is_made_and_told_after():
    """I3, I6: load, look and wake-up at once; save and claim; POST; only then people."""
    ports = Memory()
    reply = advance(ports)
    legs: dict[int, set[str]] = {}
    for leg, name in ports.calls:
        legs.setdefault(leg, set()).add(name)
    assert list(legs.values())[:3] == [
        {f"load {KEY}", "wake", "load pause", "history", "load storm", "queue mail.delivery"},
        {f"save {KEY}", "save storm", "load pause"},
        {"run " + ports.executions[0].tag},
    ]
    assert ports.names.index("post ops") > ports.names.index(sent(ports)[0])
    assert (reply.action, reply.execution) == (Action.RESTARTED, ports.executions[0])
    assert ports.document(KEY).incident.phase is Phase.RUNNING


ESCALATED = document(
    outcomes=(Outcome("inc-0", Ending.ESCALATED, None, NOW - 60, (trigger(),), queues=(MAIL,)),),
    escalation=escalation(due=NOW + 900),
)
RUNNING = incident(Phase.RUNNING, attempt=1, restarts=1, execution=execution(11, ended=None, tag="inc-1.1"), due=NOW + 100)
ASKING = incident(Phase.ASKED, nonce="n", due=NOW + 100, expires_at=NOW + 100, reason=Reason.AWAITING_APPROVAL)
LOOKS = [
    pytest.param(document(), alerted(), True, id="an alert"),
    pytest.param(document(), resolved(), False, id="resolved"),
    pytest.param(document(), alerted(MatchedAlert(alert(), None)), False, id="no target"),
    pytest.param(document(RUNNING), resolved(), False, id="resolved while it runs"),
    pytest.param(document(RUNNING), TimerFired(), False, id="a wake-up too early"),
    pytest.param(document(replace(RUNNING, due=NOW)), TimerFired(), True, id="a wake-up"),
    pytest.param(document(replace(RUNNING, due=NOW)), TimerFired(due=NOW - 5), False, id="one that another has replaced"),
    pytest.param(document(replace(RUNNING, due=NOW - 9.9)), TimerFired(due=NOW - 15), False, id="while its own may come"),
    pytest.param(document(replace(RUNNING, due=NOW - 10)), TimerFired(due=NOW - 15), True, id="instead of one that is lost"),
    pytest.param(replace(ESCALATED, due=NOW), TimerFired(), False, id="a message that waits"),
    pytest.param(
        replace(ESCALATED, due=NOW, escalation=replace(ESCALATED.escalation, due=NOW)), TimerFired(), True, id="a reminder"
    ),
    pytest.param(document(ASKING), Approved("n", "anna"), True, id="a yes"),
]


@pytest.mark.parametrize(("before", "event", "looks"), LOOKS)
def test_the_world_is_looked_at_only_where_something_is_decided(before, event, looks):
    """Whatever else happens costs no system a call."""
    ports = Memory()
    ports.put(KEY, before)
    reconcile.advance(ports, KEY, event, ports.budget(60.0))
    assert ("queue mail.delivery" in ports.names) is looks
    assert ("load storm" in ports.names) is looks


def test_patterns_of_the_configuration_mask_the_log_of_a_run():
    """`mask` in unstick.yaml: what is a secret in evidence is one there too."""
    ports = Memory()
    ports.rules = replace(ports.rules, mask=("customer [0-9]+",))
    read = ports.look
    ports.look = lambda target, **named: replace(read(target, **named), tail=("customer 4711", "waits"))
    seen = observe(ports, ESCALATED, TimerFired(), ports.budget(60.0))
    assert seen.history.tail == ("***", "waits")


@pytest.mark.parametrize("left_s", [0.05, 8.0])
def test_a_conflict_is_tried_again_while_there_is_time(left_s):
    """Another process makes progress meanwhile. Without time it is late, and left to the scheduler."""
    ports = Memory()
    ports.before = fails(f"save {KEY}", error=Conflict(KEY), times=2)
    if left_s > 1.0:
        advance(ports, seconds=left_s)
        assert ports.names.count(f"save {KEY}") > 2
        return
    ports.before = fails(f"save {KEY}", error=Conflict(KEY))
    with pytest.raises(Unavailable, match="kept changing") as raised:
        advance(ports, seconds=left_s)
    assert raised.value.late
    assert 1 <= ports.names.count(f"save {KEY}") <= 2


@pytest.mark.parametrize(
    ("waited_s", "due", "event", "posted"),
    [
        (5.0, NOW + 30.0, alerted(case(fingerprint="fp-2")), []),
        (40.0, NOW + 30.0, alerted(case(fingerprint="fp-2")), ["waited", "held"]),
        (5.0, NOW - 30.0, alerted(case(fingerprint="fp-2")), ["waited", "held"]),
        (40.0, NOW - 30.0, TimerFired(), ["waited"]),
    ],
)
def test_no_message_overtakes_an_older_one_of_its_channel(waited_s, due, event, posted):
    """What an outage left is posted first. A moment after it was saved, another process may be posting it."""
    ports = Memory(rules=rules(runbook(notify=("ops",), escalate=())))
    waiting = Message("m@ops", "ops", Card("waited", "plan", "it waited", at=NOW - waited_s))
    ports.put(KEY, Document(KEY, TARGET, to_tell=(waiting,), due=due))
    ports.put("pause", Pause("x", "anna", NOW))
    advance(ports, event)
    assert [card.kind for _, card in ports.posts] == posted


@pytest.mark.parametrize("how", ["with the save", "after a slow save", "unreadable"])
def test_nothing_is_sent_when_the_kill_switch_turns_on_between_decision_and_post(how):
    """I9: it is read again right before the POST; turned on or unreadable, the restart is held and told."""
    ports = Memory()

    def late() -> None:
        ports.clock += 3.0
        ports.before = once("load pause", ports.pause, at=2)

    ports.before = {
        "with the save": once(f"save {KEY}", ports.pause),
        "after a slow save": once(f"save {KEY}", late),
        "unreadable": once(f"save {KEY}", lambda: setattr(ports, "before", fails("load pause", times=1))),
    }[how]
    reply = advance(ports)
    assert sent(ports) == []
    assert (reply.action, reply.reason) == (Action.HELD, Reason.PAUSED)
    if how == "unreadable":  # that passes
        woken_later(ports, 15.0)
        assert (sent(ports), [card.kind for _, card in ports.posts]) == (["run inc-1.1"], ["started"])
    else:
        assert told_kinds(ports) == {"ops": ["held"], "duty": ["held"]}
        assert ports.document(KEY).incident is None


@pytest.mark.parametrize(("stall_s", "is_sent"), [(3.0, True), (27.9, True), (28.0, False), (28.5, False), (600.0, False)])
def test_a_holder_that_stalls_past_its_fence_sends_nothing(stall_s, is_sent):
    """I1: by monotonic time since the look; then a wake-up decides anew, with the same number."""
    ports = Memory()

    def stall() -> None:
        ports.clock += stall_s

    ports.before = once(f"save {KEY}", stall)
    reply = advance(ports, seconds=700.0)
    assert bool(sent(ports)) == is_sent
    assert reply.action is (Action.RESTARTED if is_sent else Action.DEFERRED)
    if not is_sent:
        woken_later(ports, 1.0)
        assert sent(ports) == ["run inc-1.1"]


@pytest.mark.parametrize(
    ("error", "action", "reason"),
    [
        (SLOW, Action.DEFERRED, Reason.START_UNCLEAR),
        (Mismatch("rundeck", Execution("99", "http://rundeck/99", "running")), Action.HELD, Reason.ZOMBIE_EXECUTION),
    ],
)
def test_what_the_runner_answers_is_answered(error, action, reason):
    """`deferred` where nobody knows; what runs with other options, and may be another target's restart, is aborted."""
    ports = Memory(before=fails("run", error=error, times=1))
    reply = advance(ports)
    assert (reply.action, reply.reason, len(sent(ports))) == (action, reason, 1)
    assert ports.aborted == (["99"] if isinstance(error, Mismatch) else [])


def test_a_409_is_looked_into_before_it_is_believed():
    """Somebody started the same restart a moment earlier: the wake-up adopts it."""
    ports = Memory()
    busy = Denied("rundeck", "runs already", code=DeniedCode.BUSY, status=409)

    def somebody() -> None:
        ports.runner.run(TARGET, tag="", runner_not_after=0.0, timeout_s=1.0)
        raise busy

    ports.before = once("run inc-1.1", somebody)
    reply = advance(ports)
    assert (reply.action, reply.reason) == (Action.HELD, Reason.JOB_BUSY)


def test_an_alert_that_comes_right_before_its_incident_is_due_steps_nothing_unseen():
    """Its look was of another question: it did not ask for the run that the incident follows."""
    ports = Memory()
    ports.put(KEY, document(replace(RUNNING, due=NOW + 0.015)))
    clock = iter([NOW + 0.01, NOW + 0.01, *[NOW + 0.02] * 9])
    ports.now = lambda: next(clock)
    reply = advance(ports, alerted(case(fingerprint="fp-2")))
    assert (reply.reason, ports.document(KEY).incident.reason, ports.posts) == (Reason.DUPLICATE, None, [])
    assert ports.names.count("history") == 1


def test_without_a_wake_up_nothing_is_saved_or_sent():
    """I3: the wake-up is created first."""
    ports = Memory(before=fails("wake"))
    handled = notify(ports)
    assert (handled.lost, sent(ports), KEY in ports.bodies) == (1, [], False)


@pytest.mark.parametrize("failing", ["save storm", "load storm"])
def test_without_its_storm_slot_a_restart_waits_and_nobody_is_told(failing):
    """I3: the answer of a claim was lost, or one 503 of the store, which is no storm."""
    ports = Memory(before=fails(failing, times=1))
    reply = advance(ports)
    assert (reply.action, reply.reason, sent(ports), ports.posts) == (Action.HELD, Reason.STORM_UNKNOWN, [], [])
    woken_later(ports, 15.1)
    assert sent(ports) == ["run inc-1.1"]


@pytest.mark.parametrize("down", ["post", "archive"])
def test_a_chat_or_archive_that_is_down_holds_nothing_up(down):
    """I6: the restart is made and verified all the same; what was not told stays until it was."""
    ports = Memory(before=fails(down))
    advance(ports)
    assert ports.document(KEY).incident.phase is Phase.RUNNING
    ended = replace(ports.executions[0], status="succeeded", runner_ended_at=NOW + 25)
    ports.executions[0] = ended
    ports.mail = well
    for _ in range(8):
        ports.clock += 16.0
        reconcile.advance(ports, KEY, TimerFired(), ports.budget(60.0))
    saved = ports.document(KEY)
    assert (saved.outcomes[-1].ending, saved.open) == (Ending.RECOVERED, True)
    woken_later(ports, 61.0)
    assert not ports.document(KEY).open
    assert [card.kind for _, card in ports.posts] == ["started", "recovered"]
    assert list(ports.archived) == ["incidents/2027-01-15/inc-1.json"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("trouble", "saves", "posts"),
    [
        ("none", 3, 1),
        ("the chat is down", 2, 0),
        ("the chat is slow", 2, 0),
        ("an alert joins meanwhile", 4, 1),
        ("killed before the second save", 2, 0),
    ],
)
def test_a_restarted_alert_writes_its_document_three_times(trouble, saves, posts):
    """`starting`, its result, and that it was told. I1, I2, I6 hold."""
    ports = InTime()

    def joins() -> None:
        saved = ports.document(KEY)
        triggers = (*saved.incident.triggers, trigger(fingerprint="fp-2"))
        ports.put(KEY, replace(saved, incident=change(saved.incident, triggers=triggers)))

    def killed() -> None:
        raise Killed

    def late(seconds: float, error: Exception | None = None) -> None:
        ports.clock += seconds
        if error:
            raise error

    ports.before = {
        "the chat is down": fails("post"),
        "the chat is slow": once("post", partial(late, 5.0, SLOW)),
        "an alert joins meanwhile": once("post", joins),
        "killed before the second save": once(f"save {KEY}", killed, at=2),
    }.get(trouble, lambda name: None)
    try:
        advance(ports)
    except Killed:
        assert ports.document(KEY).incident.phase is Phase.STARTING
    else:
        saved = ports.document(KEY)
        assert (saved.incident.phase, bool(saved.to_tell)) == (Phase.RUNNING, not posts)
        assert len(saved.incident.triggers) == (2 if "joins" in trouble else 1)
    assert (ports.names.count(f"save {KEY}"), len(ports.posts)) == (saves, posts)
    woken_later(ports, 20.1)
    told = [card.kind for _, card in ports.posts]
    assert told == ["started"]
    assert (sent(ports), ports.document(KEY).to_tell) == (["run inc-1.1"], ())


@pytest.mark.parametrize("down", ["load", "save"])
def test_alerts_that_can_not_be_saved_are_handed_to_the_scheduler(down):
    """I2: answered 200 as `deferred`; the wake-up carries them and decides them."""
    ports = Memory(before=fails(f"{down} {KEY}"))
    handled = notify(ports)
    assert ([reply.action for reply in handled.replies], handled.lost) == ([Action.DEFERRED], 0)
    assert any("handed to the scheduler" in line for line in ports.logged)
    notify(lost := Memory(before=fails(f"{down} {KEY}", "wake")))
    assert not any("handed to the scheduler" in line for line in lost.logged)
    assert webhook.to_response(handled)[1] == 200
    (content,) = [content for _, content in ports.wakes if "deferred" in content]
    (entry,) = content["deferred"]
    alerts = msgspec.convert(entry["alerts"], tuple[Alert, ...])
    assert alerts == (alert(),)
    ports.before = lambda name: None
    advance(ports, AlertsReceived((case(),), entry["incident"], crowd=entry["crowd"]))
    assert len(sent(ports)) == 1


def test_large_alerts_wait_in_lists_that_the_scheduler_takes():
    """Cloud Tasks takes 1 MB."""
    noise = random.Random(7)
    cases = [
        MatchedAlert(
            alert(fingerprint=f"fp-{n}", annotations={"description": "".join(noise.choices(string.printable, k=20_000))}),
            runbook(),
            replace(TARGET, key=f"key-{n}"),
            MAIL,
        )
        for n in range(110)
    ]
    ports = Memory()
    handled = notify(ports, *cases)
    lists = [content["deferred"] for _, content in ports.wakes if "deferred" in content]
    assert (len(handled.replies), sum(map(len, lists))) == (110, 100)
    assert all(len(payload_of({"deferred": entries})) < 1_000_000 for entries in lists)


def test_a_target_that_a_newer_release_has_is_left_to_it():
    """503, and Grafana keeps its alerts."""
    ports = Memory()
    ports.put(KEY, replace(Document(KEY), version=VERSION + 1))
    handled = notify(ports)
    assert (handled.lost, webhook.to_response(handled)[1]) == (1, 503)
    assert "newer release" in str(handled.why)


@pytest.mark.parametrize("body", [b"not json", b'{"key": "pause", "version": 99}'])
def test_a_kill_switch_that_can_not_be_read_is_on(body):
    """I4, I9: a broken document `pause`, or one of a newer release, holds."""
    ports = Memory()
    ports.bodies["pause"] = (body, 1, None)
    reply = advance(ports)
    assert (reply.reason, sent(ports)) == (Reason.PAUSED, [])


def test_a_document_that_can_not_be_read_keeps_no_bundle_back():
    """One of a newer release, after a rollback: the others' message goes out all the same, with those listed behind it."""
    ports = Memory()
    ports.put("foreign", Document("foreign", version=VERSION + 1), due=NOW)
    ports.bodies["foreign"] = (*ports.bodies["foreign"][:2], NOW)
    ports.pause()
    for number in range(3):
        target = replace(case(), target=replace(TARGET, key=f"key-{number}"))
        reconcile.advance(ports, f"key-{number}", AlertsReceived((target,), f"inc-{number}", crowd=True), ports.budget())
    ports.clock += 21.0
    for number in range(3):
        reconcile.advance(ports, f"key-{number}", TimerFired(), ports.budget(60.0))
    assert told_kinds(ports) == {"ops": ["bundle"], "duty": ["bundle"]}


def test_the_approval_link_is_signed_as_it_goes_out():
    """The document holds only the nonce, which nobody can foretell; no label that looks like a link is signed."""
    ports = Memory(rules=rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com"))
    reply = advance(ports)
    assert reply.action is Action.ASKED
    urls = [url for _, card in ports.posts for _, url in card.links]
    nonce = ports.document(KEY).incident.approval.nonce
    assert f"https://unstick.example.com/approve/#{KEY}~{nonce}~{NOW + 1800:.0f}/" in urls
    ports = Memory(rules=rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com"))
    tricks = [f"https://unstick.example.com/approve/{sign}inc-1.0.{NOW:.0f}" for sign in ("", "#")]
    handed = alerted(case(panel_url=tricks[0], dashboard_url=tricks[1], generator_url="https://unstick.example.com/approve/#"))
    advance(ports, handed)
    urls = [url for _, card in ports.posts for _, url in card.links]
    assert {*tricks, "https://unstick.example.com/approve/#"} <= set(urls)
    assert len({url for url in urls if "~" in url}) == 1
    assert ports.document(KEY).incident.approval.nonce != nonce
    assert len(nonce.rsplit(".", 1)[1]) >= 16
