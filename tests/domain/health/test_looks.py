"""Stuck or not, by a look and by what earlier looks of the incident remember; one look alone: test_proofs.py."""

import json

import pytest
from msgspec.structs import replace

from functions.domain.health.looks import judge_health, remember_history
from functions.domain.health.rows import Terms
from functions.domain.model.alerts import ACKED_1D, CONSUMERS_1D
from functions.domain.model.codes import Health, Proof
from functions.domain.model.incidents import Looks, QueueState
from functions.domain.model.observations import Holder, QueueSnapshot, QueueStalls, Stall, StallKind, Statement, Unknown
from functions.domain.model.runbooks import Symptom
from tests.support.recorded import RABBITMQ, read_looks
from tests.support.worlds.scenes import MAIL, NOW, alert, bare, holding, snapshot

RECORDINGS = sorted(RABBITMQ.glob("*.json"))
SYMPTOM = Symptom("rabbitmq", {"vhost": "/", "queue": "mail"})
WATCHED = QueueState(MAIL, "mail", NOW - 1000.0)


def looked(*looks: tuple[float, QueueSnapshot | Unknown]) -> list[Health]:
    """What looks at these seconds from now find, one after the other; the samples' times move with them."""
    watched, healths = WATCHED, []
    for after_s, seen in looks:
        at = NOW + after_s
        judged, watched = judge_health(SYMPTOM, seen if isinstance(seen, Unknown) else replace(seen, at=at), watched, at)
        healths.append(judged.health)
    return healths


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_what_a_real_broker_shows_is_judged_right(path):
    """I3: busy, idle, deploying and draining queues are not even likely to be stuck, where no channel can be seen."""
    ill = json.loads(path.read_text())["ill"]
    symptom = replace(SYMPTOM, for_s=40.0 if ill else 60.0)  # people are asked 20 s later
    for note, seen in read_looks(path, channels=False):
        judged, _ = judge_health(symptom, seen, WATCHED, seen.at)
        assert ill is None or (judged.health in (Health.ILL, Health.LIKELY)) == ill, f"{note}: {judged.why}"


GONE = snapshot(deliveries=None, ids=())
UNREAD = Unknown("401 from RabbitMQ")
REJECTS = replace(HOLDS := holding(Holder("10.0.3.7", "mail-worker-2", 1)), channels=(replace(HOLDS.channels[0], counted=40),))
LOOKS = [
    pytest.param([(0, snapshot(deliveries=None)), (15, GONE), (74, GONE), (75, GONE)],
        [Health.UNSURE, Health.UNSURE, Health.UNSURE, Health.ILL], id="its consumer, of whom nothing was counted, is gone"),
    pytest.param([(0, snapshot()), (15, snapshot(ids=())), (75, snapshot(ids=()))], [Health.ILL, Health.UNSURE, Health.ILL],
        id="consumers that were given nothing are stopped"),
    pytest.param([(0, UNREAD), (15, snapshot())], [Health.UNKNOWN, Health.ILL], id="unreadable, then seen"),
    pytest.param([(0, bare(50)), (15, bare(50))], [Health.UNKNOWN, Health.UNKNOWN], id="live totals alone prove nothing"),
    pytest.param([(0, snapshot(nodes=("a",))), (15, snapshot(nodes=("a",)))], [Health.ILL, Health.ILL], id="the same nodes"),
    pytest.param([(0, snapshot(0, nodes=("a", "b"))), (15, snapshot(nodes=("a",), node_down=True))],
        [Health.WELL, Health.UNSURE], id="a node left"),
    pytest.param([(0, snapshot(nodes=("a",), node_down=True)), (60, snapshot(nodes=("a",), node_down=True))],
        [Health.UNSURE, Health.ILL], id="a node has been down, since when is not known"),
    pytest.param([(0, snapshot(nodes=("a",))), (15, snapshot(nodes=("b",)))], [Health.ILL, Health.UNSURE], id="another node"),
    pytest.param([(0, snapshot(nodes=("b",))), (15, snapshot(nodes=("a",)))], [Health.ILL, Health.UNSURE], id="the first again"),
    pytest.param([(0, snapshot(nodes=("a",), nodes_up_s=59.0))], [Health.UNSURE], id="a node came"),
    pytest.param([(0, snapshot(0, deliveries=990)), (15, snapshot())], [Health.WELL, Health.ILL], id="a counter rose"),
    pytest.param([(0, snapshot(0, deliveries=1)), (15, snapshot(deliveries=0))], [Health.WELL, Health.UNSURE], id="to zero"),
    pytest.param([(0, snapshot(0, deliveries=0)), (15, snapshot(deliveries=0))], [Health.WELL, Health.ILL], id="none"),
    pytest.param([(0, snapshot(0)), (15, snapshot(deliveries=3))], [Health.WELL, Health.UNSURE], id="a counter fell"),
    pytest.param([(0, REJECTS), (59, REJECTS), (60, REJECTS), (75, REJECTS)],
        [Health.UNSURE, Health.UNSURE, Health.ILL, Health.ILL], id="what it held is known from the first look on"),
]  # fmt: skip


@pytest.mark.parametrize(("looks", "expected"), LOOKS)
def test_a_discontinuity_begins_the_clock_anew(looks, expected):
    """I3: a proof lasts all of `for` without a gap, but for a held message's; what is late is reported after half a minute."""
    assert looked(*looks) == expected
    seen = holding(Holder("10.0.3.7", "mail-worker-2", 1), at=NOW)
    assert looked((0, replace(seen, nodes=("a",), node_down=True, nodes_up_s=5.0))) == [Health.ILL]
    slow = replace(bare(50), blind=Unknown("the page did not answer within 4.0 s", late=True))
    told = looked((0, slow), (29.5, slow), (30, slow), (45, slow))
    assert told == [Health.UNSURE, Health.UNSURE, Health.UNKNOWN, Health.UNKNOWN]


STATED = [
    pytest.param({"stuck_s": 60.0}, Health.ILL, "`stuck` has held for 60 s", None, id="for as long as `for`"),
    pytest.param({"stuck_s": 59.0}, Health.UNSURE, "`stuck` has held for 59 s", 1.0, id="not so long"),
    pytest.param({"stuck_s": 0.0}, Health.UNSURE, "`stuck` has held for 0 s", 60.0, id="just now"),
    pytest.param({"recovered": True}, Health.WELL, "`recovered` holds", None, id="recovered"),
    pytest.param({"stuck_s": 60.0, "recovered": True}, Health.UNKNOWN, "`stuck` and `recovered` both hold", None, id="both"),
    pytest.param({}, Health.UNKNOWN, "neither `stuck` nor `recovered` holds: a figure may be missing", None, id="neither"),
]


@pytest.mark.parametrize(("says", "health", "why", "again_s"), STATED)
@pytest.mark.parametrize("figures", [None, QueueSnapshot(NOW - 5.0, 7)])
def test_one_condition_alone_is_an_answer(figures, says, health, why, again_s):
    """I3: whatever the depth, which is there for people only. What is not well is known to be so since when."""
    judged, watched = judge_health(SYMPTOM, Statement(NOW, 60.0, figures=figures, **says), WATCHED, NOW)
    assert (judged.health, str(judged.why), judged.again_in_s) == (health, why, again_s)
    assert (judged.proof is Proof.STATED) == (health is Health.ILL)
    assert (watched.looks.unsure_at == NOW) == (health is not Health.WELL)
    assert watched.curve == (((NOW - 5.0, 7),) if figures else ())


def test_a_condition_takes_as_long_as_was_learned():
    """As with RabbitMQ: one and a half times the second-longest stall; beyond `for_at_most` a person is asked."""
    stalls = tuple(Stall(StallKind.HELD, NOW - 9000.0 * n, 200.0) for n in (1, 2))
    terms = Terms(learned=QueueStalls(0.0, stalls))
    for stuck_s, health in ((299.0, Health.UNSURE), (300.0, Health.ILL)):
        assert judge_health(SYMPTOM, Statement(NOW, 60.0, stuck_s), WATCHED, NOW, terms)[0].health is health
    short = replace(SYMPTOM, for_at_most_s=250.0)
    judged, _ = judge_health(short, Statement(NOW, 60.0, 250.0), WATCHED, NOW, terms)
    assert (judged.health, "3 min 20 s" in str(judged.against)) == (Health.LIKELY, True)


@pytest.mark.parametrize(
    ("annotation", "count"),
    [
        ("2", 2), ("2.0", 2), ("0", 0), ("-1", None), ("", None), ("NaN", None), ("+Inf", None), ("<no value>", None),
        (f"{'0' * 19}7", 7), (f"{'0' * 20}7", 0),
    ],
)  # fmt: skip
def test_the_day_before_is_what_the_alert_says_in_figures(annotation, count):
    """An annotation that is no number says nothing; of a long one the beginning is read."""
    looks = remember_history(WATCHED, alert(annotations={CONSUMERS_1D: annotation, ACKED_1D: annotation})).looks
    assert (looks.consumed, looks.acked, looks.unconsumed) == (bool(count), bool(count), count == 0)
    for known in (Looks(consumed=True, acked=True), Looks(unconsumed=True)):
        assert remember_history(replace(WATCHED, looks=known), alert()).looks == known, "an alert without it changes nothing"


def curve(seen: QueueSnapshot, watched: QueueState = WATCHED) -> QueueState:
    return judge_health(SYMPTOM, seen, watched, NOW)[1]


def test_the_curve_begins_with_what_the_broker_kept():
    """At most two minutes of it, dated by our clock though the broker's is 40 s behind; then each look, once."""
    kept = tuple((NOW - 40.0 - 5.0 * back, 100 + back) for back in range(30, -1, -1))
    seen = replace(snapshot(50), depth_samples=kept)
    first = curve(seen)
    assert first.curve == (*((NOW - 5.0 * back, 100 + back) for back in range(23, 0, -1)), (NOW, 50))
    assert curve(replace(seen, depth=60), first).curve == first.curve
    assert curve(replace(seen, at=NOW + 15, depth=40), first).curve == (*first.curve, (NOW + 15, 40))
    assert curve(bare(50)).curve == ((NOW, 50),)


def test_what_was_seen_once_is_remembered():
    """That somebody consumes it, acknowledges or takes by basic.get: after a restart of the broker nothing shows it any more."""
    once = curve(snapshot(50, polled=True))
    idle = snapshot(50, at=NOW + 15, ids=(), deliveries=None)
    looks = curve(replace(idle, acks=None, ack_samples=()), once).looks
    assert (looks.consumed, looks.acked, looks.polled) == (True, True, True)
    never = curve(replace(idle, acks=0, ack_samples=())).looks
    assert (never.consumed, never.acked, never.polled) == (False, False, False)


QUARTER = Symptom("rabbitmq", {"vhost": "/", "queue": "mail"}, oldest_s=900.0)
POOL = snapshot(40, acks=9, unacked=4, head_at=NOW - 901.0)
"""It works, on many messages at once; one of them was published a quarter of an hour ago."""


@pytest.mark.parametrize(
    ("looks", "health"),
    [
        pytest.param([(0, POOL), (80, POOL)], Health.LIKELY, id="the same for `for` and 20 s"),
        pytest.param([(0, POOL), (79, POOL)], Health.UNSURE, id="not so long"),
        pytest.param([(0, POOL)], Health.UNSURE, id="one look"),
        pytest.param([(0, replace(POOL, head_at=NOW - 900.0))], Health.WELL, id="as old as it may be"),
        pytest.param([(0, POOL), (80, replace(POOL, head_at=NOW - 890.0))], Health.UNSURE, id="another one now"),
        pytest.param(
            [(0, replace(POOL, head_at=NOW - 800.0)), (80, replace(POOL, head_at=NOW - 800.0))], Health.WELL, id="younger"
        ),
        pytest.param([(0, replace(POOL, head_at=None)), (80, replace(POOL, head_at=None))], Health.WELL, id="no timestamps"),
        pytest.param([(0, replace(POOL, unacked=0)), (80, replace(POOL, unacked=0))], Health.WELL, id="nobody holds any"),
        pytest.param([(0, POOL), (30, replace(POOL, head_at=None)), (80, POOL)], Health.UNSURE, id="it was not seen meanwhile"),
        pytest.param([(0, POOL), (80, replace(bare(40), blind=UNREAD))], Health.UNKNOWN, id="no page"),
        pytest.param([(0, POOL), (30, UNREAD), (80, POOL)], Health.UNSURE, id="not readable meanwhile"),
    ],
)
def test_the_oldest_message_may_be_stuck_whatever_else_moves(looks, health):
    """Where a consumer works many messages on one channel, only the head's age shows one that hangs."""
    watched = WATCHED
    for after_s, seen in looks:
        at = NOW + after_s
        judged, watched = judge_health(QUARTER, seen if isinstance(seen, Unknown) else replace(seen, at=at), watched, at)
    assert (judged.health, judged.proof) == (health, Proof.PERHAPS if health is Health.LIKELY else None)
    assert health is not Health.LIKELY or str(judged.why) == "the oldest message is 16 min 21 s old and still in the queue"
    judged, _ = judge_health(SYMPTOM, replace(POOL, at=NOW), WATCHED, NOW)
    assert judged.health is Health.WELL, "only where the runbook asks for it"
