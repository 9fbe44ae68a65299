"""What is likely and not proved: one calm question for each queue and verdict in a day, and what becomes of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.codes import Action, Ending, Mode, Phase, Proof, Reason
from functions.domain.model.events import Collect, Start, Step
from functions.domain.model.incidents import Document
from functions.domain.model.observations import EvidenceReading, Execution, Holder, NodeOutput, Pause, QueueSnapshot
from functions.domain.model.runbooks import EvidenceJob, Freeze, HolderOption, Recovered, Restart, Rules, Symptom
from tests.support.worlds.scenes import (
    NOW,
    RUNNER_NOW,
    alerted,
    bare,
    case,
    channels,
    history_of,
    holding,
    kinds,
    moved,
    phase,
    reason,
    resolved,
    rules,
    runbook,
    seen,
    snapshot,
    well,
    woken,
)

DAY_S = 86400.0
EMPTY = Document("mail-key")
ONE = Holder("10.0.3.7", "worker-1", 1)
ALL_DAY = Freeze(frozenset(range(7)), 0, 24 * 60 - 1, "all day")
QUEUE = {"vhost": "/", "queue": "mail"}
EVIDENCE = EvidenceJob("job-e", {"host": "${holder.host}"}, {"host": r"10\.0\.3\.[0-9]+"}, opinion=True)


def asking(*, url: str = "https://unstick.example.com", **changes: Any) -> Rules:
    return rules(runbook(**changes), public_url=url)


def kept(at: float = NOW, **changes: Any) -> QueueSnapshot:
    """One message has been held for two minutes, by a channel that could take seven more."""
    one = holding(ONE, at=at)
    return replace(one, channels=tuple(replace(channel, window=8, user="app") for channel in one.channels or ()), **changes)


def full(at: float = NOW) -> QueueSnapshot:
    return holding(ONE, at=at)


def asked(with_rules: Rules | None = None, **changes: Any) -> Step:
    return moved(EMPTY, alerted(case(**changes)), seen(mail=kept()), with_rules=with_rules or asking())


def looked(step: Step, at: float, mail: QueueSnapshot, with_rules: Rules | None = None) -> Step:
    return woken(step.document, at, seen(now=at, mail=mail), with_rules or asking())


def start_of(step: Step) -> Start | None:
    return next((act for act in step.acts if isinstance(act, Start)), None)


def test_in_auto_a_person_is_asked_calmly_with_what_speaks_against_it():
    """I13. No mention, no `escalate`; the card and the page say what speaks for a hang, what against, and what settles it."""
    result = asked()
    assert (phase(result), reason(result), start_of(result)) == (Phase.ASKED, Reason.LIKELY_STUCK, None)
    assert result.reply.action is Action.ASKED
    assert channels(result.document) == {"ops"}
    (message,) = result.document.to_tell
    card = message.card
    assert (card.urgency, card.mention, card.actions[:2]) == ("plan", (), ("approve", "on_purpose"))
    facts = dict(card.facts)
    assert facts["Likely"] == "messages stand still"
    assert (
        facts["Against it"] == "it holds 1, and may be able to take more: Celery's countdowns, batches and delays look like this"
    )
    assert "What settles it" not in facts, "no line that restarts what keeps messages on purpose"
    assert "Proved" not in facts


def test_the_modes_ask_or_say_that_they_would_have_asked():
    """`approve` asks as `auto` does; `observe` only says so."""
    assert reason(asked(asking(mode=Mode.APPROVE))) is Reason.LIKELY_STUCK
    result = asked(asking(mode=Mode.OBSERVE))
    assert reason(result) is Reason.OBSERVE_ONLY
    assert "mail may hang; Unstick only observes and would have asked" in result.document.to_tell[0].card.headline


def test_where_nobody_can_be_asked_it_is_a_hold():
    """Once a day, too."""
    alone = asking(url="")
    result = asked(alone)
    assert (phase(result), reason(result), kinds(result.document)) == (None, Reason.LIKELY_STUCK, ["held"])
    later = replace(result.document, to_tell=())
    at = NOW + 7200.0
    again = moved(later, alerted(case(starts_at=at), incident="inc-2"), seen(now=at, mail=kept(at)), at, alone)
    assert (reason(again), kinds(again.document)) == (Reason.LIKELY_STUCK, [])


def test_who_heard_of_a_pause_alone_is_asked_after_it():
    paused = moved(EMPTY, alerted(case()), seen(mail=kept(), pause=Pause("a test")), with_rules=asking())
    at = NOW + 900.0
    again = moved(paused.document, alerted(case(starts_at=at), incident="inc-2"), seen(now=at, mail=kept(at)), at, asking())
    assert (reason(paused), phase(again)) == (Reason.PAUSED, Phase.ASKED)


def test_a_question_stays_open_for_a_day_and_reminds_three_times():
    """No ACT NOW; each reminder renews the link. Then it ends calmly and blocks nothing, and the same standstill asks anew."""
    result, told = asked(), []
    while result.document.incident is not None:
        at = result.document.incident.due
        result = looked(replace(result, document=replace(result.document, to_tell=())), at, kept(at))
        told += [(message.card, at) for message in result.document.to_tell]
    *reminders, (end, ended_at) = told
    assert [round(at - NOW, -2) for _, at in reminders] == [900.0, 1800.0, 2700.0]
    assert all(card.kind == "held" and card.urgency == "plan" and card.nonce_until > at + 1799.0 for card, at in reminders)
    assert any("Nobody has answered for" in text for text in reminders[0][0].text)
    assert (end.kind, end.urgency, ended_at - NOW >= DAY_S) == ("not_approved", "plan", True)
    assert (result.document.outcomes[-1].ending, result.document.escalation) == (Ending.HELD, None)
    at = ended_at + 60.0
    event = alerted(case(starts_at=at - 90.0), incident="inc-2")
    again = moved(result.document, event, seen(now=at, mail=kept(at)), at, asking())
    assert (phase(again), reason(again)) == (Phase.ASKED, Reason.LIKELY_STUCK)


@pytest.mark.parametrize("hours", [2, 6, 12, 20])
def test_the_next_hang_of_the_day_is_a_new_question(hours):
    """Whatever became of the earlier one: it had gone away by itself, and nobody was told of the next."""
    result = asked()
    for after_s in (15.0, 30.0):
        result = looked(result, NOW + after_s, well(NOW + after_s))
    assert (result.document.incident, kinds(result.document)) == (None, ["held", "resolved"])
    at = NOW + hours * 3600.0
    event = alerted(case(starts_at=at - 90.0), incident="inc-2")
    assert phase(moved(result.document, event, seen(now=at, mail=kept(at)), at, asking())) is Phase.ASKED


def test_a_question_is_settled_by_what_comes_to_be_proved_or_passes():
    """While it is open Unstick goes on looking: proved it restarts, moving again it ends."""
    result = asked()
    assert result.document.incident.due == NOW + 15.0
    still = looked(result, NOW + 15.0, kept(NOW + 15.0))
    assert (phase(still), still.document.incident.due) == (Phase.ASKED, NOW + 30.0)
    unread = looked(result, NOW + 15.0, bare(1, NOW + 15.0))
    assert phase(unread) is Phase.ASKED, "what can't be read for a moment changes nothing"
    proved = looked(still, NOW + 30.0, full(NOW + 30.0))
    assert start_of(proved) is not None
    once = looked(still, NOW + 30.0, well(NOW + 30.0))
    assert (phase(once), kinds(once.document)) == (Phase.ASKED, kinds(still.document))
    passed = looked(once, NOW + 45.0, well(NOW + 45.0))
    assert passed.document.incident is None
    assert passed.document.to_tell[-1].card.urgency == "fine"
    silent = moved(replace(passed.document, to_tell=()), resolved(), at=NOW + 60.0)
    assert silent.document.to_tell == (), "one green card for one healed question"
    to_approve = asking(mode=Mode.APPROVE)
    anew = looked(asked(to_approve), NOW + 15.0, full(NOW + 15.0), to_approve)
    assert (phase(anew), anew.document.incident.reason) == (Phase.ASKED, Reason.AWAITING_APPROVAL), "asked anew, as proved"
    off = seen(now=NOW + 30.0, history=history_of(now=NOW + 90.0, read_at=NOW + 30.0), mail=full(NOW + 30.0))
    assert phase(woken(anew.document, NOW + 30.0, off, to_approve)) is Phase.ASKED, "nor does one host's wrong clock"


def test_a_long_for_is_waited_for_quietly():
    """Within the time no question and no message, longer than `verify.within`; where nothing is kept on purpose, it is proved."""
    patient = asking(symptom=Symptom("rabbitmq", QUEUE, for_s=3600.0))
    result = moved(EMPTY, alerted(), seen(mail=full()), with_rules=patient)
    assert (phase(result), reason(result), kinds(result.document)) == (Phase.WAITING, Reason.SYMPTOM_UNKNOWN, [])
    for n in range(1, 60):
        at = NOW + 60.0 * n
        result = looked(result, at, full(at), patient)
        assert (phase(result), kinds(result.document)) == (Phase.WAITING, []), "it escalates nothing"
    never = asking(symptom=Symptom("rabbitmq", QUEUE, keeps_nothing=True))
    assert start_of(moved(EMPTY, alerted(), seen(mail=kept()), with_rules=never)) is not None


@pytest.mark.parametrize(
    ("annotations", "up_s", "expected"),
    [
        ({}, 3600.0, (None, Reason.NEVER_CONSUMED)),
        ({}, 3599.0, (Phase.ASKED, Reason.LIKELY_STUCK)),
        ({CONSUMERS_1D: "3"}, 600.0, (Phase.STARTING, None)),
        ({CONSUMERS_1D: "3"}, DAY_S, (Phase.STARTING, None)),
        ({ACKED_1D: "812"}, 600.0, (Phase.STARTING, None)),
        ({CONSUMERS_1D: "0"}, 600.0, (None, Reason.NEVER_CONSUMED)),
        ({CONSUMERS_1D: "many"}, 600.0, (Phase.ASKED, Reason.LIKELY_STUCK)),
    ],
)
def test_after_the_broker_s_restart_the_alert_remembers_who_consumed(annotations, up_s, expected):
    """Its counters began anew, and the application did not come back: the most ordinary incident of all. Nor do they tell
    that what is held is no lock."""
    fresh = replace(full(), acks=None, ack_samples=())
    step = moved(EMPTY, alerted(case(annotations=annotations)), seen(mail=fresh), with_rules=asking())
    assert phase(step) is (Phase.STARTING if ACKED_1D in annotations else Phase.ASKED)
    new = replace(snapshot(ids=(), deliveries=None, ack_samples=(), nodes=("a",), nodes_up_s=up_s), acks=None)
    result = moved(EMPTY, alerted(case(annotations=annotations)), seen(mail=new), with_rules=asking())
    assert (phase(result), reason(result)) == expected
    if expected[0] is Phase.STARTING:
        zero = asking(recovered=Recovered(min_consumers=0))
        result = moved(EMPTY, alerted(case(annotations=annotations)), seen(mail=new), with_rules=zero)
        assert (phase(result), result.document.incident.queues[0].proof) == (Phase.ASKED, Proof.GONE), "scaled to zero"


def with_opinions(mail: QueueSnapshot, *said: str, status: str = "succeeded", with_rules: Rules | None = None) -> Step:
    """The evidence job ran on the host of each holder, and wrote this about itself."""
    with_rules = with_rules or asking(evidence=EVIDENCE)
    event = alerted(case(book=with_rules.runbooks["mail"]))
    result = moved(EMPTY, event, seen(mail=mail), with_rules=with_rules)
    ordered = [act for act in result.acts if isinstance(act, Collect)]
    assert [act.options for act in ordered] == [{"host": host} for host in ("10.0.3.7", "10.0.3.8")[: len(said)]]
    assert "evidence" in ordered[0].tag
    assert ordered[0].tag.rpartition("-")[2] not in str(result.document.to_tell), "shown nowhere before the run"
    at, readings = NOW + 5.0, []
    for act, word in zip(ordered, said, strict=True):
        run = Execution("12", "http://rundeck/12", status, RUNNER_NOW, RUNNER_NOW + 2.0, act.tag)
        line = f"unstick {act.tag} {word}" if word.startswith(("healthy", "stuck")) else word
        readings.append(EvidenceReading(run, (NodeOutput("node", f"state\n{line}"),)))
    what = replace(seen(now=at, mail=replace(mail, at=at)), evidence=tuple(readings))
    return woken(result.document, at, what, with_rules)


def test_the_application_itself_holds_a_restart_or_confirms_it():
    """Healthy holds what was proved, and the card says who said so; stuck makes likely proved."""
    held = with_opinions(full(), "healthy 3 countdowns until 08:00")
    assert (held.document.incident, reason(held)) == (None, Reason.SYMPTOM_GONE)
    text = " ".join(held.document.to_tell[-1].card.text)
    assert "10.0.3.7: 3 countdowns until 08:00" in text
    assert start_of(with_opinions(kept(), "stuck send_mail has run for 40 min")) is not None


def test_a_word_holds_while_the_same_channels_hold():
    """Seven repeats of the alert within two minutes ran the job seven times, and began seven incidents."""
    held = with_opinions(full(), "healthy 3 countdowns").document
    with_rules = asking(evidence=EVIDENCE)
    for number in range(2, 9):
        at = NOW + 20.0 * number
        event = alerted(case(starts_at=NOW - 90.0, book=with_rules.runbooks["mail"]), incident=f"inc-{number}")
        again = moved(replace(held, to_tell=()), event, seen(now=at, mail=full(at)), at, with_rules)
        assert not any(isinstance(act, Collect | Start) for act in again.acts)
        assert (kinds(again.document), phase(again)) == ([], None)
    other = full(NOW + 99.0)
    (channel,) = other.channels
    moved_on = replace(channel, work=tuple((at, count + 2) for at, count in channel.work))
    result = moved(held, event, seen(now=NOW + 99.0, mail=replace(other, channels=(moved_on,))), NOW + 99.0, with_rules)
    assert phase(result) is Phase.COLLECTING, "it has worked since, and hangs anew"


@pytest.mark.parametrize(
    ("output", "status"),
    [
        pytest.param("state", "succeeded", id="silence"),
        pytest.param("healthy x", "failed", id="a run that failed"),
        pytest.param("healthyish", "succeeded", id="another word"),
    ],
)
def test_whatever_else_the_evidence_says_changes_nothing(output, status):
    """I10: proved is restarted, likely is asked about."""
    assert start_of(with_opinions(full(), output, status=status)) is not None
    assert phase(with_opinions(kept(), output, status=status)) is Phase.ASKED


@pytest.mark.parametrize(
    ("said", "left"),
    [
        pytest.param(("healthy", "healthy"), None, id="both are healthy"),
        pytest.param(("healthy", "-"), "10.0.3.8", id="one is, and the other says nothing"),
        pytest.param(("stuck", "healthy"), "10.0.3.7", id="they disagree"),
        pytest.param(("-", "-"), "", id="silence"),
    ],
)
def test_the_word_of_one_host_is_about_its_channels_alone(said, left):
    """The other host's hang was closed with it, nine alerts in a row. What is left is restarted, and nothing else."""
    two = holding(ONE, Holder("10.0.3.8", "worker-2", 1))
    two = replace(two, channels=tuple(replace(channel, user="mail") for channel in two.channels))
    mine = Symptom("rabbitmq", QUEUE, users=("mail",))
    one_host = Restart("job-1", holder=HolderOption("host", "[0-9.]+"))
    start = start_of(with_opinions(two, *said, with_rules=asking(evidence=EVIDENCE, restart=one_host, symptom=mine)))
    assert (start and start.options.get("host", "")) == left


def test_without_the_key_no_line_is_an_opinion():
    plain = asking(evidence=replace(EVIDENCE, opinion=False))
    result = with_opinions(full(), "healthy", with_rules=plain)
    assert start_of(result) is not None


def test_a_freeze_does_not_make_a_calm_question_loud():
    """It names the window, is asked once in a day, and a proof in the window still calls people."""
    frozen = asking(freeze=(ALL_DAY,))
    result = asked(frozen)
    assert (phase(result), reason(result), channels(result.document)) == (Phase.ASKED, Reason.LIKELY_STUCK, {"ops"})
    (message,) = result.document.to_tell
    assert (message.card.urgency, message.card.mention) == ("plan", ())
    assert "a freeze window is active: all day" in " ".join(map(str, message.card.text))
    remembered = replace(EMPTY, told=result.document.told)
    repeated = moved(remembered, alerted(case(), incident="inc-2"), seen(mail=kept()), with_rules=frozen).document
    assert (repeated.incident, repeated.to_tell) == (None, ())
    proved = moved(EMPTY, alerted(case()), seen(mail=full()), with_rules=frozen)
    assert (phase(proved), reason(proved)) == (Phase.ASKED, Reason.FROZEN)


def worked(at: float) -> QueueSnapshot:
    """As `kept`, but its channel was busy until half a minute ago."""
    mail = kept(at)
    (one,) = mail.channels or ()
    work = tuple((when, count - (when < at - 30.0)) for when, count in one.work)
    return replace(mail, channels=(replace(one, work=work),))


def test_a_repeat_that_people_were_asked_about_leaves_nothing_in_the_archive():
    """Its verdict takes two looks, so the incident was saved meanwhile."""
    first = moved(EMPTY, alerted(case()), seen(mail=worked(NOW)), with_rules=asking())
    assert phase(first) is Phase.WAITING
    question = looked(first, NOW + 60.0, kept(NOW + 60.0))
    assert phase(question) is Phase.ASKED
    remembered = replace(EMPTY, told=question.document.told)
    repeated = moved(remembered, alerted(case(), incident="inc-2"), seen(mail=worked(NOW)), with_rules=asking())
    ended = looked(repeated, NOW + 60.0, kept(NOW + 60.0)).document
    assert (ended.incident, ended.outcomes, ended.to_archive, ended.to_tell) == (None, (), (), ())
