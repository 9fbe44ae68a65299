"""What is proved by what real brokers answered: RabbitMQ 3.10, 4.0 and 4.3, with and without their consumers' channels."""

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.health.looks import SAMPLE_LATE_S, judge, judge_health
from functions.domain.health.rows import Terms, Trust
from functions.domain.model.codes import Health, Proof
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import (
    Channel,
    QueueHistory,
    QueueSnapshot,
    QueueStalls,
    Samples,
    Stall,
    StallKind,
    Unknown,
)
from functions.domain.model.runbooks import Symptom
from tests.support.recorded import RABBITMQ, read_looks

RECORDINGS = sorted((RABBITMQ / "channels").glob("*/*.json"))
SYMPTOM = Symptom("rabbitmq")
NOW = 1_800_000_000.0

STUCK = {
    **dict.fromkeys(("one-of-three-hung", "one-of-three-hung-quorum", "prefetch-50"), ("75 s", Proof.FULL)),
    "several-queues-held": ("one channel", Proof.FULL),
    "single-active": ("the active one", Proof.FULL),
    **dict.fromkeys(("same-again", "same-again-quorum"), (("held, before", "70 s"), Proof.FULL)),
    "had-consumers": ("75 s", Proof.GONE),
}
"""By case: how the note of the look begins in which it has lasted for all of `for`, and the row."""
OTHER = {"no-consumers": Health.NEVER_CONSUMED, "goes-round": Health.GOING_ROUND}


@pytest.mark.parametrize("channels", [True, False], ids=["channels", "no-channels"])
@pytest.mark.parametrize("path", RECORDINGS, ids=[f"{path.parent.name}-{path.stem}" for path in RECORDINGS])
def test_what_a_real_broker_shows_proves_what_was_stuck_and_nothing_else(path, channels):
    """I3: one of several that hangs, prefetched, single active, gone; never a slow, batching or rejecting one. Without their
    channels nobody is proved to hold anything."""
    beginning, proof = STUCK.get(path.stem, ("never", None))
    for note, seen in read_looks(path, channels=channels):
        judged = judge(SYMPTOM, seen, Trust(acked=path.stem not in OTHER))
        if note.startswith(beginning) and (channels or proof is Proof.GONE):
            assert (judged.health, judged.proof) == (Health.ILL, proof), f"{note}: {judged.why}"
        else:
            assert judged.health is not Health.ILL, f"{note}: {judged.why}"
            assert not channels or judged.health is OTHER.get(path.stem, judged.health), f"{note}: {judged.why}"


def flat(value: int, *, since_s: float = 120.0, before: int = 0) -> Samples:
    """A sample every 5 s of the last two minutes; the figure has this value since then."""
    return tuple((NOW - age, value if age <= since_s else before) for age in range(120, -1, -5))


def sampled(*, missing: tuple[int, ...] = (), zero: tuple[int, ...] = ()) -> Samples:
    """A flat counter without the samples of these ages, or with 0 in their place."""
    return tuple((at, 0 if NOW - at in zero else value) for at, value in flat(201) if NOW - at not in missing)


def rising(step: int = 10) -> Samples:
    return tuple((NOW - age, 1000 - step * (age // 5)) for age in range(120, -1, -5))


def twice(*since_s: int) -> Samples:
    """A counter that rose by 500 at each of these times."""
    return tuple((NOW - age, 7 + 500 * sum(age <= one for one in since_s)) for age in range(120, -1, -5))


def channel(**changes) -> Channel:
    """One that has held one message for two minutes, and may hold no more."""
    return replace(Channel("c1 (1)", "10.0.3.7", "mail-worker-2", 1, 1, flat(201), window=1), **changes)


def queue(**changes) -> QueueSnapshot:
    """A queue that flows, with three consumers that acknowledge two messages a second."""
    history = QueueHistory(flat(0), flat(3), rising(), flat(0), rising())
    seen = QueueSnapshot(NOW, 3, 0, 3, consumers=3, consumer_ids=("a", "b", "c"), acks=1000, deliveries=1003, redeliveries=0)
    seen = replace(seen, published=1000, ack_samples=rising(), depth_samples=flat(3), history=history)
    return replace(seen, **changes)


def still(*, ready: int, unacked: int, **changes) -> QueueSnapshot:
    """A queue in which nothing has moved for two minutes; its consumers' channels hold nothing."""
    history = QueueHistory(flat(ready), flat(unacked), flat(7), flat(0), flat(9))
    seen = queue(depth=ready + unacked, ready=ready, unacked=unacked, ack_samples=flat(6), deliveries=7, history=history)
    return replace(seen, **{"depth_samples": flat(ready + unacked), "channels": (channel(held=0),), **changes})


WORKING = channel(id="c2 (1)", work=rising(), counted=1)
BUSY = [channel(id=f"c{n} (1)", held=1, work=rising(), counted=1) for n in (3, 4, 5)]
JUST_NOW = replace(queue().history, unacked=flat(1, since_s=5.0))
CHANNELS = [
    pytest.param(queue(channels=(channel(), WORKING)), Trust(), Health.ILL, id="one hangs, another works"),
    pytest.param(queue(channels=(channel(work=flat(201, since_s=60)),)), Trust(), Health.ILL, id="for exactly `for`"),
    pytest.param(queue(channels=(channel(work=flat(201, since_s=55, before=200)),)), Trust(), Health.UNSURE, id="not so long"),
    pytest.param(queue(channels=(channel(work=flat(201, since_s=10, before=200)),)), Trust(), Health.WELL, id="just begun"),
    # the broker misses a collection at times, and shows 0 between two; what happened in two in a row is not known
    *(
        pytest.param(queue(channels=(channel(work=work),)), Trust(), health, id=what)
        for what, work, health in (
            ("a sample is missing, twice", sampled(missing=(20, 40)), Health.ILL),
            ("two in a row are missing", sampled(missing=(20, 25)), Health.UNSURE),
            ("a sample is 7.5 s late", tuple((at - 7.5 * (at < NOW - 20), value) for at, value in flat(201)), Health.ILL),
            ("a sample is 7.6 s late", tuple((at - 7.6 * (at < NOW - 20), value) for at, value in flat(201)), Health.UNSURE),
            ("a sample reads 0, twice", sampled(zero=(20, 40)), Health.ILL),
            ("the first reads 0", sampled(zero=(120,)), Health.ILL),
            ("two in a row read 0", sampled(zero=(20, 25)), Health.UNSURE),
        )
    ),
    pytest.param(queue(channels=(channel(held=0),)), Trust(), Health.WELL, id="it holds nothing"),
    pytest.param(queue(channels=(channel(work=()),)), Trust(), Health.WELL, id="it was never given anything"),
    pytest.param(queue(channels=(channel(work=flat(0)),)), Trust(), Health.WELL, id="its counters are not there yet"),
    pytest.param(queue(channels=(channel(counted=0),)), Trust(), Health.WELL, id="it was idle, and was given a message just now"),
    pytest.param(queue(channels=(channel(counted=-1),)), Trust(), Health.WELL, id="its counters do not fit together"),
    pytest.param(queue(channels=(channel(shared=True),)), Trust(), Health.ILL, id="no other channel can hold all of it"),
    pytest.param(queue(channels=(channel(shared=True), *BUSY)), Trust(), Health.WELL, id="it holds another queue's message"),
    # one that rejects has more deliveries than acknowledgements for ever: it counts from the first look on
    pytest.param(queue(channels=(channel(counted=40),)), Trust(), Health.WELL, id="it rejects"),
    pytest.param(queue(channels=(channel(counted=40),)), Trust(unsure_s=59.0), Health.UNSURE, id="it rejected, nearly `for` ago"),
    pytest.param(queue(channels=(channel(counted=40),)), Trust(unsure_s=60.0), Health.ILL, id="it rejected before that"),
    pytest.param(queue(channels=(channel(counted=40),), history=JUST_NOW), Trust(unsure_s=200.0), Health.WELL,
        id="it rejects, and was given a message just now"),
    pytest.param(queue(channels=(channel(),), history=JUST_NOW), Trust(unsure_s=200.0), Health.WELL, id="given just now"),
    pytest.param(queue(channels=(channel(),), history=replace(JUST_NOW, unacked=())), Trust(), Health.ILL, id="not sampled"),
    # what a channel holds is up to 5 s ahead of its counters: until these show the last delivery, it could take more
    pytest.param(queue(channels=(channel(held=2, counted=1, window=2),)), Trust(), Health.LIKELY, id="filled just now"),
    pytest.param(queue(channels=(channel(held=2, counted=2, window=2, work=flat(202, since_s=5, before=201)),)), Trust(),
        Health.WELL, id="its counters show that only now"),
    pytest.param(queue(channels=(channel(held=2, counted=2, window=2, work=flat(202, since_s=60, before=201)),)), Trust(),
        Health.ILL, id="full for all of `for`"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "trust", "expected"), CHANNELS)
def test_a_channel_proves_what_it_holds_by_its_own_counters(seen, trust, expected):
    """Whatever the rest of the queue does, and whatever the depth may be."""
    assert judge(SYMPTOM, seen, trust).health is expected
    assert (judge(replace(SYMPTOM, max_messages=100), seen, trust).health is Health.ILL) is (expected is Health.ILL)


def unseen(since_s: int) -> QueueSnapshot:
    """A queue that no consumer was ever seen at, over its limit since then."""
    history = QueueHistory(flat(5), flat(0))
    seen = still(ready=5, unacked=0, consumers=0, deliveries=None, history=history)
    return replace(seen, depth_samples=flat(5, since_s=since_s))


LATE = Unknown("it is slow", late=True)
MISSING = Unknown("a node sends none")


def at_least(depth: int) -> Samples:
    """A depth that rises from 760 to 1000, by ten with each sample, once it is over this."""
    return tuple((at, max(value, depth)) for at, value in rising())


COMING = QueueHistory(rising(), flat(0), flat(7), flat(0), rising())


def polled(step: int) -> QueueSnapshot:
    """Taken by basic.get until a minute ago, never deeper than one; what comes, `step` with each sample, has waited since."""
    depths = tuple((NOW - age, max(1, step * (60 - age) // 5)) for age in range(120, -1, -5))
    taken = tuple((at, min(1000 - 12 * step, value)) for at, value in rising(step))
    history = QueueHistory(depths, flat(0), taken, flat(0), rising(step))
    return still(ready=12 * step, unacked=0, consumers=0, depth_samples=depths, history=history, ack_samples=taken)


NEVER_GIVEN = still(ready=5, unacked=0, deliveries=None, consumers=1, channels=(channel(held=0, work=()),))
UNSERVED = (Health.ILL, Proof.UNSERVED)
PERHAPS = (Health.LIKELY, Proof.PERHAPS)
QUEUES = [
    pytest.param(still(ready=5, unacked=0), UNSERVED, id="unserved"),
    pytest.param(still(ready=5, unacked=0, channels=None), PERHAPS, id="unserved, but its consumers' channels can't be seen"),
    pytest.param(still(ready=5, unacked=0, channels=(channel(shared=True),)), PERHAPS, id="it is full with another queue's"),
    pytest.param(NEVER_GIVEN, UNSERVED, id="its only consumer was never given anything"),
    pytest.param(replace(NEVER_GIVEN, channels=()), Health.UNSURE, id="absent is not zero: unserved"),
    pytest.param(replace(NEVER_GIVEN, consumers=2), Health.UNSURE, id="one of its two consumers is not seen"),
    pytest.param(still(ready=5, unacked=0, consumers=None), Health.UNSURE, id="consumers not known"),
    pytest.param(still(ready=5, unacked=0, history=QueueHistory(flat(5), flat(0, since_s=55, before=1), flat(7))),
        Health.UNSURE, id="one was held until 55 s ago"),
    pytest.param(still(ready=5, unacked=0, consumers=0), (Health.ILL, Proof.GONE), id="gone"),
    *(pytest.param(polled(step), (Health.ILL, Proof.GONE), id=f"polled until a minute ago, {step} each 5 s") for step in (1, 5)),
    pytest.param(still(ready=4, unacked=1), PERHAPS, id="held, by whom no channel shows"),
    pytest.param(still(ready=0, unacked=1, channels=None), PERHAPS, id="held, and no channel can be read"),
    pytest.param(still(ready=4, unacked=1, consumers=0), PERHAPS, id="taken by basic.get"),
    pytest.param(still(ready=4, unacked=1, deliveries=None), Health.UNSURE, id="absent is not zero: held"),
    pytest.param(unseen(60), Health.NEVER_CONSUMED, id="nobody ever took any"),
    pytest.param(unseen(55), Health.UNSURE, id="not for so long"),
    pytest.param(still(ready=5, unacked=0, blind=MISSING), Health.UNKNOWN, id="something does not fit together"),
    pytest.param(still(ready=5, unacked=0, blind=LATE), Health.UNSURE, id="it does not fit together yet"),
    pytest.param(queue(unseen=MISSING), Health.UNKNOWN, id="it flows, but one of several may hang unseen"),
    pytest.param(queue(blind=MISSING), Health.WELL, id="it flows"),
    pytest.param(still(ready=5, unacked=0, depth=4), Health.WELL, id="one has just gone"),
    pytest.param(still(ready=5, unacked=0, depth_samples=(*flat(5)[:-1], (NOW, 6))), Health.UNSURE, id="the last has gone"),
    pytest.param(still(ready=1000, unacked=0, depth_samples=rising(), history=COMING), UNSERVED, id="more and more come"),
    pytest.param(still(ready=1000, unacked=0, depth_samples=at_least(780), history=COMING), UNSERVED,
        id="the depth is two samples behind"),
    pytest.param(still(ready=1000, unacked=0, depth_samples=at_least(790), history=COMING), Health.UNSURE,
        id="of what comes, some expires"),
    pytest.param(still(ready=5, unacked=0, depth_samples=flat(5, since_s=10, before=6)), Health.UNSURE, id="one expired"),
    pytest.param(still(ready=5, unacked=0, depth_samples=flat(5, since_s=60, before=6)), UNSERVED, id="a minute ago"),
    pytest.param(still(ready=5, unacked=0, depth_samples=(*flat(7)[:4], *flat(6)[4:12], *flat(5)[12:])), UNSERVED,
        id="and one before"),
    pytest.param(queue(depth=0, ready=0, unacked=0, blind=MISSING), Health.WELL, id="empty"),
    pytest.param(queue(depth=0, channels=(channel(work=flat(201, since_s=55, before=200)),)), Health.WELL,
        id="empty by now, though a page from before has a message that is held"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), QUEUES)
def test_the_queue_as_a_whole_shows_what_lasted_all_of_for(seen, expected):
    """Where its channels can't tell; with everything that breaks the proof."""
    judged = judge(SYMPTOM, seen, Trust())
    health, proof = expected if isinstance(expected, tuple) else (expected, None)
    assert (judged.health, judged.proof) == (health, proof), str(judged.why)
    assert (judged.again_in_s is not None) == (health is Health.UNSURE)
    assert (judged.again_in_s or 0.0) <= SYMPTOM.for_s + SAMPLE_LATE_S + 20.0, "no later than a verdict that begins now"
    if proof is not None:
        assert judge(replace(SYMPTOM, for_s=121.0), seen, Trust()).proof is None, "a longer `for` is waited for"
        over = replace(SYMPTOM, max_messages=seen.depth)
        assert judge(over, seen, Trust()).health is Health.WELL, "so many may wait"


MAILERS = Symptom("rabbitmq", {"queue": "mail"}, users=("mail",))
CHOSEN = replace(MAILERS, keys={"queue": "${labels.queue}"})
SEEN = Trust(consumed=True)
TAKEN = QueueHistory(rising(-1), flat(0), rising(), flat(0), rising(), flat(7))
"""A stranger takes one every 5 s by basic.get, and nothing was pushed for two minutes."""


def taken(**changes) -> QueueSnapshot:
    """The application is dead, and a stranger takes its messages by basic.get."""
    history = replace(TAKEN, unacked=tuple((at, int(at) // 5 % 2) for at, _ in flat(0)))
    seen = still(ready=999, unacked=1, consumers=0, channels=(), owners=(), ack_samples=rising(), depth_samples=rising(-1))
    return replace(seen, **{"history": history, "nodes": ("a",), **changes})


STRANGERS = replace(TAKEN, pushed=rising())
GONE, LIKELY_GONE = (Health.ILL, Proof.GONE), (Health.LIKELY, Proof.GONE)


@pytest.mark.parametrize(
    ("seen", "symptom", "trust", "terms", "expected"),
    [
        pytest.param(taken(), MAILERS, SEEN, Terms(), GONE, id="a stranger takes by basic.get"),
        pytest.param(taken(), MAILERS, Trust(), Terms(), Health.WELL, id="it may be the application that takes by basic.get"),
        pytest.param(taken(), replace(MAILERS, users=()), SEEN, Terms(), Health.WELL, id="without `users` nobody is a stranger"),
        pytest.param(taken(owners=None), MAILERS, SEEN, Terms(), Health.WELL, id="whose consumers they are is not known"),
        pytest.param(taken(owners=("mail",), consumers=1), MAILERS, SEEN, Terms(), Health.WELL, id="the application is back"),
        pytest.param(taken(owners=("b",), consumers=1), MAILERS, replace(SEEN, gone_s=60.0), Terms(), GONE,
            id="a stranger consumes"),
        pytest.param(taken(owners=("b",), consumers=1), MAILERS, replace(SEEN, gone_s=0.0), Terms(), Health.UNSURE,
            id="a stranger consumes, and the application may have left just now"),
        pytest.param(taken(), CHOSEN, SEEN, Terms(), LIKELY_GONE, id="the alert chose the queue"),
        pytest.param(taken(), CHOSEN, SEEN, Terms(learned=QueueStalls(0.0, users=("mail",))), GONE, id="whose users were seen"),
        pytest.param(taken(), CHOSEN, SEEN, Terms(learned=QueueStalls(0.0, users=("b",))), LIKELY_GONE, id="others were seen"),
        pytest.param(taken(), MAILERS, SEEN, Terms(0), LIKELY_GONE, id="no consumer is required"),
        pytest.param(taken(history=replace(TAKEN, unacked=flat(1))), MAILERS, SEEN, Terms(), LIKELY_GONE,
            id="one is held all the time: its consumer may have been cancelled"),
    ],
)  # fmt: skip
def test_a_stranger_neither_proves_nor_disproves_that_the_application_is_gone(seen, symptom, trust, terms, expected):
    """By what was pushed and by whose consumers are there. A queue of somebody else is never proved."""
    judged = judge(symptom, seen, trust, terms)
    assert (judged.health, judged.proof) == (expected if isinstance(expected, tuple) else (expected, None)), str(judged.why)


@pytest.mark.parametrize("depths", [flat(20), tuple((at, 28 + int(at) // 5 % 3) for at, _ in flat(0))], ids=["max-length", "TTL"])
def test_what_expires_where_there_is_no_consumer_is_no_movement(depths: Samples) -> None:
    """A dead consumer before a length limit or a TTL of 30 s; where no node can be seen, one may have been lost."""
    history = QueueHistory(depths, flat(0), flat(7), flat(0), rising(5), flat(7))
    seen = still(ready=28, unacked=0, consumers=0, depth_samples=depths, history=history, nodes=("a",))
    assert (judge(SYMPTOM, seen, Trust()).health, judge(SYMPTOM, replace(seen, nodes=()), Trust()).health) == (
        Health.ILL, Health.UNSURE,
    )  # fmt: skip


@pytest.mark.parametrize(("unread_s", "health"), [(29.0, Health.UNSURE), (30.0, Health.UNKNOWN)])
def test_what_can_not_be_read_yet_counts_for_how_long_it_could_not(unread_s: float, health: Health) -> None:
    """A consumer that came just before a look is no missing agent, however old the suspicion is."""
    assert judge(SYMPTOM, still(ready=5, unacked=0, blind=LATE), Trust(unsure_s=900.0, unread_s=unread_s)).health is health


STANDS = "nothing was delivered or acknowledged for 120 s"
NO_TAG = "its consumers' channels can't be seen: RabbitMQ's user lacks the tag `monitoring`"
IDLE = [channel(name=f"w-{n}", id=f"w {n}", work=flat(9, since_s=10.0 + 50 * n, before=8)) for n in range(5)]


@pytest.mark.parametrize(
    ("seen", "said", "against"),
    [
        (queue(channels=(channel(), WORKING, replace(WORKING, id="c3 (1)"))),
            "held by mail-worker-2 for 120 s: 1 message; 2 other consumers work", ""),
        (queue(channels=(channel(name=""), channel(name="", host="", id="c9 (1)")), consumers=2),
            "held by 10.0.3.7, c9 (1) for 120 s: 2 messages", ""),
        (still(ready=0, unacked=1, channels=(channel(),)), "held by mail-worker-2 for 120 s: 1 message", ""),
        (queue(channels=tuple(IDLE), consumers=6), "held by w-3, w-4, w-2 for 120 s: 4 messages; 1 other consumer works", ""),
        (still(ready=4, unacked=1), f"1 message is held, and {STANDS}",
            "no consumer's channel holds them: they were taken by basic.get, or by a consumer that was cancelled"),
        (still(ready=0, unacked=2, unseen=MISSING), f"2 messages are held, and {STANDS}",
            "its consumers' channels can't be seen: a node sends none"),
        (still(ready=5, unacked=0), "5 messages wait, and the consumers were given nothing for 120 s", ""),
        (still(ready=5, unacked=0, channels=None), "5 messages wait, and the consumers were given nothing for 120 s", NO_TAG),
        (still(ready=5, unacked=0, consumers=0), "5 messages have waited for 120 s, and the consumer is gone", ""),
    ],
)  # fmt: skip
def test_people_are_told_what_stands_still_and_why_it_is_no_proof(seen, said, against):
    """The card's first sentence: who holds what and who works, or what waits; and one line about what can't be known."""
    judged = judge(SYMPTOM, seen, Trust())
    assert (str(judged.why), str(judged.against)) == (said, against)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, Health.GOING_ROUND, id="each delivery is one"),
        pytest.param({"acks": flat(6, since_s=60), "depth": flat(1, since_s=60)}, Health.GOING_ROUND, id="for exactly `for`"),
        pytest.param({"acks": flat(6, since_s=55)}, Health.UNSURE, id="one was acknowledged 55 s ago"),
        pytest.param({"depth": flat(1, since_s=55)}, Health.UNSURE, id="it was empty 55 s ago"),
        pytest.param({"deliveries": rising(20)}, Health.GOING_ROUND, id="each second one"),
        pytest.param({"redeliveries": twice(30, 5), "deliveries": twice(30, 5)}, Health.GOING_ROUND, id="one in each half"),
        pytest.param({"acks": ()}, Health.GOING_ROUND, id="none ever was acknowledged"),
        pytest.param({"redeliveries": twice(60), "deliveries": twice(60)}, Health.UNSURE, id="one, just before `for`"),
        pytest.param({"redeliveries": twice(50), "deliveries": twice(50)}, Health.GOING_ROUND, id="one within `for`"),
        pytest.param({"deliveries": rising(21)}, Health.UNSURE, id="fewer: it mostly delivers new ones"),
        pytest.param({"deliveries": ()}, Health.UNSURE, id="deliveries are not counted"),
        pytest.param({"redeliveries": ()}, Health.UNSURE, id="redeliveries are not counted"),
        pytest.param({"redeliveries": flat(500, since_s=65.0)}, Health.UNSURE, id="before `for`"),
    ],
)
def test_messages_go_round_while_at_least_half_of_what_is_delivered_had_been_before(changes, expected):
    """None is acknowledged for all of `for`, however seldom they come back: a loop of 70 s shows one within 60 s."""
    samples = {"depth": flat(1), "acks": flat(6), "deliveries": rising(), "redeliveries": rising(), **changes}
    history = QueueHistory(flat(0), flat(1), samples["deliveries"], samples["redeliveries"])
    seen = queue(depth=1, ready=0, unacked=1, depth_samples=samples["depth"], ack_samples=samples["acks"], history=history)
    assert judge(SYMPTOM, seen, Trust()).health is expected
    assert (judge(SYMPTOM, replace(seen, blind=LATE), Trust()).health is Health.GOING_ROUND) is (expected is Health.GOING_ROUND)


@pytest.mark.parametrize("learned_s", [0.0, 90.0], ids=["fresh", "three stalls"])
@pytest.mark.parametrize("period", [5, 30, 40, 45, 50, 58, 70, 100])
def test_no_crash_loop_is_silent_for_longer_than_its_deadline(period: int, learned_s: float) -> None:
    """A consumer that takes the message and crashes every `period` seconds: at each look that comes when the last said, until
    somebody is told, 15 s after the deadline at the latest."""
    terms = Terms(learned=QueueStalls(0.0, (Stall(StallKind.HELD, NOW, learned_s),) * 3 if learned_s else ()))
    deadline_s, at, looks = max(60.0, 1.5 * learned_s), 5.0, QueueState(to_queue("/", "mail"), "mail", NOW)
    while True:
        grid = [5.0 * step for step in range(-30, int(at // 5) + 1)]  # what the broker has collected by then
        taken = tuple((NOW + when, 9 + max(0, int(when // period) + 1)) for when in grid)
        again = tuple((when, max(0, count - 10)) for when, count in taken)
        begun = tuple((NOW + when, int(when >= 0)) for when in grid)
        held = channel(id=f"c{at // period} (1)", work=tuple((NOW + when, int(when >= at - at % period)) for when in grid))
        history = QueueHistory(flat(0), begun, taken, again, begun)
        seen = queue(at=NOW + at, depth=1, ready=0, unacked=1, depth_samples=begun, history=history, channels=(held,))
        seen = replace(seen, ack_samples=tuple((NOW + when, 9) for when in grid), redeliveries=again[-1][1], nodes=("a",))
        judged, looks = judge_health(SYMPTOM, seen, looks, NOW + at, terms)
        if judged.health in (Health.ILL, Health.LIKELY, Health.GOING_ROUND):
            break
        assert judged.health is Health.UNSURE, f"{at} s: {judged.why}"
        at += judged.again_in_s
        assert at <= deadline_s + 15.0


@pytest.mark.parametrize(
    ("since_s", "unsure_s", "health"), [(30, 180.0, Health.WELL), (30, 179.0, Health.UNSURE), (35, 180.0, Health.UNSURE)]
)
def test_a_job_that_is_never_surely_at_work_has_three_times_for(since_s, unsure_s, health):
    """One of 25 s looks unsure at each check."""
    work = flat(201, since_s=since_s, before=200)
    busy = queue(channels=(channel(work=work),), ack_samples=flat(9, since_s=20, before=8))
    assert judge(SYMPTOM, busy, Trust(unsure_s=unsure_s)).health is health


WAITS = QueueHistory(flat(4, since_s=60.0), flat(1), flat(7, since_s=60.0))


@pytest.mark.parametrize(
    ("changes", "trust", "proof"),
    [
        pytest.param({}, Trust(), Proof.WORK_WAITS, id="others wait for all of `for`"),
        pytest.param({"active": 1}, Trust(steady_s=60.0), Proof.WORK_WAITS, id="one is active"),
        pytest.param({"active": 0}, Trust(), Proof.PERHAPS, id="none is active"),
        pytest.param({"consumers": 0}, Trust(), Proof.PERHAPS, id="none consumes any more"),
        pytest.param({"ready": 0}, Trust(), Proof.PERHAPS, id="none waits now"),
        pytest.param({"history": replace(WAITS, ready=flat(4, since_s=55.0))}, Trust(), Proof.PERHAPS, id="not so long"),
        pytest.param({"history": replace(WAITS, deliveries=flat(7, since_s=55.0))}, Trust(), Proof.PERHAPS, id="one delivered"),
        pytest.param({"deliveries": None}, Trust(), Proof.PERHAPS, id="deliveries are not counted"),
        pytest.param({"blind": MISSING}, Trust(), Proof.PERHAPS, id="a delivery may be hidden"),
        pytest.param({}, Trust(steady_s=59.0), Proof.PERHAPS, id="the figures can't be relied on for so long"),
    ],
)
def test_a_consumer_that_could_take_more_is_stuck_where_others_wait(changes, trust, proof):
    """Otherwise it may keep its message on purpose."""
    seen = replace(still(ready=4, unacked=1, channels=(channel(window=8),), history=WAITS), **changes)
    judged = judge(SYMPTOM, seen, trust)
    assert (judged.proof, judged.health) == (proof, Health.ILL if proof is Proof.WORK_WAITS else Health.LIKELY)
    held = "60 s: 1 message; 4 messages wait, and none is delivered" if proof is Proof.WORK_WAITS else "120 s: 1 message"
    assert str(judged.why) == f"held by mail-worker-2 for {held}"


GROWING = tuple((at, max(value, 978)) for at, value in rising(1))


@pytest.mark.parametrize(
    ("changes", "history", "likely"),
    [
        pytest.param({}, {}, True, id="three times `for`"),
        pytest.param({"ack_samples": flat(6, since_s=115.0)}, {}, False, id="one was acknowledged later"),
        pytest.param({"ack_samples": ()}, {}, True, id="none ever was"),
        pytest.param({}, {"unacked": ((NOW - 120, 979), *GROWING[1:])}, False, id="fewer were held for a moment"),
        pytest.param({}, {"unacked": ((NOW - 125, 2000), *GROWING)}, True, id="more were held long before"),
        pytest.param({}, {"unacked": flat(1000)}, False, id="no more are held"),
        pytest.param({}, {"unacked": ()}, False, id="how many are held is not known"),
        pytest.param({}, {"deliveries": flat(9, since_s=80.0)}, False, id="delivered in one burst"),
        pytest.param({"channels": (channel(window=None, held=50, work=rising()),)}, {}, True, id="4.x doesn't show its limit"),
        pytest.param({"channels": None}, {}, True, id="nobody may see who holds them"),
        pytest.param({"uncounted": True}, {}, False, id="nobody counts what some acknowledge"),
    ],
)
def test_a_consumer_without_a_limit_is_given_all_that_comes(changes, history, likely):
    """It never stands still: only that ever more are held and none is acknowledged, for three times `for`, makes it likely."""
    symptom = replace(SYMPTOM, for_s=40.0)
    figures = {"unacked": GROWING, "deliveries": rising(), **history}
    swallows = channel(window=0, held=50, counted=50, work=rising())
    seen = still(ready=0, unacked=1000, ack_samples=flat(6), depth_samples=GROWING, channels=(swallows,))
    seen = replace(seen, history=replace(seen.history, publishes=rising(), **figures), **changes)
    judged = judge(symptom, seen, Trust())
    assert (judged.health is Health.LIKELY, judged.proof) == (likely, Proof.PERHAPS if likely else None)
    if likely:
        assert str(judged.why) == "1,000 messages are held, and none was acknowledged for 120 s while more are delivered"
        assert str(judged.against).startswith("large batches")
        assert judge(replace(symptom, keeps_nothing=True), seen, Trust()).health is Health.LIKELY, "no line proves it"
    assert judge(replace(symptom, for_s=41.0), seen, Trust()).proof is None


@pytest.mark.parametrize(("for_s", "needs_s"), [(170.0, 510.0), (180.0, 540.0), (300.0, 540.0), (580.0, 580.0)])
def test_what_only_grows_is_asked_about_before_the_samples_end(for_s, needs_s):
    """The broker keeps 600 s of them: with a long `for`, three times as long would never be seen."""
    for grown_s in (needs_s, needs_s - 5.0):
        grid = [NOW - age for age in range(int(grown_s), -1, -5)]
        grows, still_ = tuple((at, int(at - NOW + 1000)) for at in grid), tuple((at, 6) for at in grid)
        seen = still(ready=0, unacked=1000, ack_samples=still_, depth_samples=grows, channels=None)
        seen = replace(seen, history=QueueHistory(flat(0), grows, grows, flat(0), grows))
        judged = judge(replace(SYMPTOM, for_s=for_s), seen, Trust())
        assert (judged.health is Health.LIKELY) is (grown_s == needs_s)


COUNTLESS = [
    pytest.param(still(ready=5, unacked=1), Health.LIKELY, id="flat"),
    *(pytest.param(still(ready=6, unacked=2, history=QueueHistory(*both, publishes=flat(9))), Health.UNSURE, id=what)
        for what, both in (
            ("grows", (flat(6, since_s=30, before=5), flat(2))), ("shrinks", (flat(6, since_s=30, before=7), flat(2))),
            ("one more is held", (flat(6), flat(2, since_s=30, before=1))),
            ("one less is held", (flat(6), flat(2, since_s=30, before=3))),
        )),
    pytest.param(still(ready=5, unacked=0), Health.UNSURE, id="nothing is held"),
    pytest.param(still(ready=0, unacked=1, published=None), Health.UNSURE, id="it may finish as the next one comes"),
    pytest.param(still(ready=5, unacked=1, published=None, history=QueueHistory(flat(5), flat(1))), Health.LIKELY,
        id="flat, and publishes can't be seen"),
    pytest.param(still(ready=5, unacked=1, history=QueueHistory(flat(5), flat(1), publishes=rising())), Health.UNSURE,
        id="as many go as come"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), COUNTLESS)
def test_consumers_whose_work_nobody_counts_may_be_stuck_only_where_nothing_changes_at_all(seen, expected):
    """AMQP 1.0 and MQTT on RabbitMQ 4.x."""
    counted = replace(seen, uncounted=True, deliveries=None, acks=None, ack_samples=(), channels=())
    judged = judge(SYMPTOM, counted, Trust())
    assert judged.health is expected
    assert str(judged.against) == ("RabbitMQ counts no work of AMQP 1.0 and MQTT consumers" if judged.proof else "")
