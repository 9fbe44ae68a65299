"""The verdict after a restart: on what a real broker answered, and at each bound."""

from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.health.looks import CURVE_POINTS
from functions.domain.health.recovery import Since, is_moving, judge_recovery, say_survivor
from functions.domain.model.codes import Verdict
from functions.domain.model.incidents import AfterRestart, Looks, QueueState
from functions.domain.model.observations import Channel, Holder, QueueSnapshot, Reading, Returns, Statement, Unknown
from functions.domain.model.runbooks import Recovered, Verify
from tests.support.recorded import RABBITMQ, read_looks
from tests.support.worlds.scenes import MAIL, NEW, NOW, OLD, bare, held_by, holding, runbook, snapshot

BOOK = runbook()
WATCHED = QueueState(MAIL, "mail", NOW - 1000.0)


def looked(*looks: tuple[float, Reading], before: QueueSnapshot | None = None) -> QueueState:
    """The queue after looks at these seconds after the restart's end."""
    watched = replace(WATCHED, before=before or snapshot(50))
    for age_s, seen in looks:
        at = NOW + age_s
        fresh = seen if isinstance(seen, Unknown) else replace(seen, at=at)
        watched = judge_recovery(BOOK, fresh, watched, Since(age_s, at))
    return watched


COUNTED, SILENT = replace(snapshot(50), acks=594), Unknown("nodes send no statistics")
VERDICTS = [
    pytest.param([(20, Unknown("down"))], Verdict.UNKNOWN, id="unreadable"),
    pytest.param([(20, snapshot(0, ids=NEW))], Verdict.RECOVERED, id="empty with a consumer"),
    pytest.param([(20, snapshot(0, ids=()))], None, id="empty with nobody there"),
    pytest.param([(20, snapshot(50, ids=NEW))], None, id="first look"),
    pytest.param([(20, snapshot(50, ids=NEW)), (35, snapshot(49, ids=NEW))], Verdict.DRAINING, id="depth fell"),
    pytest.param([(20, snapshot(50)), (35, snapshot(50, acks=1))], Verdict.DRAINING, id="acknowledged"),
    pytest.param([(20, COUNTED), (35, replace(COUNTED, acks=396, blind=SILENT)), (50, COUNTED)], None, id="a node was silent"),
    pytest.param([(20, snapshot(50)), (35, snapshot(55))], None, id="rises"),
    pytest.param([(20, snapshot(50)), (119, snapshot(50))], None, id="before patience"),
    pytest.param([(20, snapshot(50)), (120, snapshot(50))], Verdict.STUCK, id="no movement for patience"),
    pytest.param([(20, snapshot(0, ids=())), (120, snapshot(0, ids=()))], Verdict.STUCK, id="nobody came"),
    pytest.param([(20, snapshot(50)), (35, snapshot(40)), (154, snapshot(40))], Verdict.DRAINING, id="moved lately"),
    pytest.param([(20, snapshot(50)), (35, snapshot(40)), (155, snapshot(40))], Verdict.STUCK, id="moved once, then not"),
    pytest.param([(20, snapshot(50)), (35, Unknown("down")), (50, snapshot(40))], Verdict.DRAINING, id="seen again"),
    # without statistics nobody can see consumers; but who takes messages later than 10 s after the restart's end is there
    pytest.param([(20, bare(0)), (35, bare(0))], None, id="empty, and nobody to see"),
    pytest.param([(20, bare(50)), (35, bare(0))], Verdict.RECOVERED, id="somebody emptied it"),
    pytest.param([(20, bare(50)), (140, bare(50))], Verdict.STUCK, id="nobody to see, and no movement"),
    pytest.param([(4, bare(50)), (9.9, bare(0))], Verdict.DRAINING, id="the old consumer may have emptied it"),
    pytest.param([(4, bare(50)), (10, bare(0))], Verdict.RECOVERED, id="not after ten seconds"),
    # the page may show the consumer that the restart has just ended, and messages that were dropped
    pytest.param([(9.9, snapshot(0, ids=OLD))], None, id="the page may be of before"),
    pytest.param([(10, snapshot(0, ids=OLD))], Verdict.RECOVERED, id="the page is of after"),
]


@pytest.mark.parametrize(("looks", "verdict"), VERDICTS)
def test_the_verdict_is_the_first_that_holds(looks, verdict):
    """I5: unknown, recovered, draining, stuck, in this order; None means to check again."""
    after = looked(*looks).after
    assert (after.verdict, after.held_again) == (verdict, 0)


@pytest.mark.parametrize(("age_s", "verdict"), [(9.9, None), (10.0, Verdict.RECOVERED)])
def test_a_restart_that_may_have_cost_messages_is_not_judged_before_their_returns_are_counted(age_s, verdict):
    """The counter is up to ten seconds late."""
    assert looked((age_s, snapshot(0, ids=NEW)), before=snapshot(50, returns=Returns(1, 1))).after.verdict is verdict


@pytest.mark.parametrize("ids", [OLD, NEW, (), None])
def test_within_ten_seconds_no_consumer_counts(ids):
    """I5: an old one may still be shown."""
    assert looked((3.0, snapshot(0, ids=ids)), before=snapshot(50, ids=OLD)).after.verdict is None


def test_late_acknowledgements_are_no_movement():
    """I5: what the page counts within 10 s may be of the time before the restart's end; later it is movement."""
    early = looked((2.0, snapshot(50, acks=0)), (9.0, snapshot(50, acks=7)))
    assert (early.after.moved_at, early.after.acks) == (None, None)
    assert looked((2.0, snapshot(50, acks=0)), (12.0, snapshot(50, acks=7))).after.moved_at is None
    assert looked((2.0, snapshot(50)), (12.0, snapshot(50)), (17.0, snapshot(50, acks=7))).after.moved_at == NOW + 12.0
    assert looked((10.0, snapshot(50)), (17.0, snapshot(50, acks=7))).after.moved_at == NOW + 10.0
    assert looked((9.9, snapshot(50)), (17.0, snapshot(50, acks=7))).after.moved_at is None
    assert looked((20.0, snapshot(50, acks=7)), (35.0, snapshot(50))).after.moved_at is None


STUCK = Statement(NOW, 60.0, 60.0)
HEALTHY, NEITHER = replace(STUCK, stuck_s=None, recovered=True), replace(STUCK, stuck_s=None)


@pytest.mark.parametrize(
    ("looks", "verdict", "proven"),
    [
        pytest.param([(-1.0, HEALTHY)], None, False, id="of before the end"),
        pytest.param([(59.0, HEALTHY)], None, False, id="it looks back on the time before the end"),
        pytest.param([(60.0, HEALTHY)], Verdict.RECOVERED, False, id="once"),
        pytest.param([(60.0, HEALTHY), (119.0, HEALTHY)], Verdict.RECOVERED, False, id="the two look back on the same time"),
        pytest.param([(60.0, HEALTHY), (75.0, HEALTHY), (120.0, HEALTHY)], Verdict.RECOVERED, True, id="twice"),
        pytest.param([(60.0, HEALTHY), (75.0, STUCK), (120.0, HEALTHY)], Verdict.RECOVERED, False, id="not in between"),
        pytest.param([(60.0, HEALTHY), (75.0, NEITHER), (120.0, HEALTHY)], Verdict.RECOVERED, False, id="unknown in between"),
        pytest.param([(60.0, replace(HEALTHY, stuck_s=0.0))], None, False, id="both"),
        pytest.param([(119.0, STUCK)], None, False, id="patience is not over"),
        pytest.param([(120.0, STUCK)], Verdict.STUCK, False, id="patience is over"),
        pytest.param([(400.0, replace(STUCK, stuck_s=59.0))], None, False, id="not for all of `for`"),
    ],
)  # fmt: skip
def test_conditions_count_once_all_that_they_look_back_on_is_after_the_restart(looks, verdict, proven):
    """I5: one `range` after its end, and twice, one `range` apart."""
    after = looked(*looks).after
    assert after.verdict is verdict
    assert after.proven == proven


@pytest.mark.parametrize(
    ("at_s", "late_s", "verdict"), [(400.0, 0.0, None), (400.0, 25.0, None), (419.0, 0.0, None), (420.0, 0.0, Verdict.STUCK)]
)
@pytest.mark.parametrize("seen", [snapshot(50), STUCK])
def test_a_queue_that_joined_late_is_not_stuck_by_figures_of_before_its_patience_is_over(seen, at_s, late_s, verdict):
    """It joined after 300 s and has 120 s, by the figures' own time; however long the process took from them to the step."""
    watched, seen = replace(WATCHED, joined_at=NOW + 300.0), replace(seen, at=NOW + at_s)
    assert judge_recovery(BOOK, seen, watched, Since(at_s + late_s, NOW + at_s + late_s)).after.verdict is verdict


def test_a_real_restart_is_seen_to_recover():
    """Stuck before, then moving, then recovered, never stuck; where the new consumer sticks too, nothing moves."""
    (_, before), *later = read_looks(RABBITMQ / "restarted.json")
    ended = later[0][1].at - 1.0
    watched = replace(WATCHED, joined_at=before.at, before=before)
    verdicts = []
    for _, seen in later:
        watched = judge_recovery(BOOK, seen, watched, Since(seen.at - ended, seen.at))
        verdicts.append(watched.after.verdict)
    assert verdicts[0] is None
    assert Verdict.STUCK not in verdicts
    assert watched.after.verdict in (Verdict.DRAINING, Verdict.RECOVERED)
    (_, before), *later = read_looks(RABBITMQ / "restarted-in-vain.json")
    ended = later[0][1].at - 1.0
    book = runbook(verify=Verify(patience_s=10.0))
    watched = replace(WATCHED, joined_at=before.at, before=before)
    for _, seen in later:
        watched = judge_recovery(book, seen, watched, Since(seen.at - ended, seen.at))
    assert (watched.after.verdict, watched.after.moved_at) == (Verdict.STUCK, None)


def test_the_curve_stays_small_and_keeps_its_end():
    """People are shown the depth over the incident, however long it takes."""
    watched = looked(*((20.0 + n, snapshot(500 - n)) for n in range(400)))
    assert len(watched.curve) <= CURVE_POINTS
    assert watched.curve[-1] == (NOW + 419.0, 101)
    assert list(watched.curve) == sorted(watched.curve)


def test_figures_of_before_the_end_do_not_count_however_long_the_process_took():
    """I5: a process was frozen between its look and its step, and the restart ended in between."""
    before_the_end = snapshot(0, at=NOW - 25.0, ids=NEW)
    assert judge_recovery(BOOK, before_the_end, WATCHED, Since(20.0, NOW)) == WATCHED
    after_the_end = replace(before_the_end, at=NOW - 5.0)
    assert judge_recovery(BOOK, after_the_end, WATCHED, Since(20.0, NOW)).after.well_at is not None


VERSIONS = sorted(path.name for path in (RABBITMQ / "channels").iterdir())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("channels", [True, False], ids=["channels", "no channels"])
@pytest.mark.parametrize("case", ["same-again", "same-again-quorum", "restarted-slow"])
def test_a_real_restart_that_hangs_on_the_same_message_is_told_from_a_slow_job(version, channels, case):
    """By redeliveries, once it has been held for all of `for` again; a job of 25 s shows the same at first."""
    (_, before), *later = read_looks(RABBITMQ / "channels" / version / f"{case}.json", channels=channels)
    ended = later[0][1].at - 1.0
    watched = replace(WATCHED, joined_at=before.at, before=before)
    for note, seen in later:
        watched = judge_recovery(BOOK, seen, watched, Since(seen.at - ended, seen.at))
        told = case != "restarted-slow" and note.startswith("70 s")
        assert watched.after.same_again is told, note
        assert (watched.after.verdict is Verdict.STUCK) == told, note


@pytest.mark.parametrize(
    ("changes", "age_s", "rose_s", "same"),
    [
        pytest.param({}, 70.0, 120, True, id="for all of `for` and ten seconds"),
        pytest.param({}, 69.9, 120, False, id="not so long"),
        pytest.param({}, 75.0, 50, True, id="it was delivered 50 s ago, and no more"),
        pytest.param({}, 75.0, 45, False, id="it was delivered 45 s ago"),
        pytest.param({"acks": 1005}, 75.0, 120, False, id="another message was acknowledged"),
        pytest.param({"acks": 3}, 75.0, 120, False, id="its counter began anew"),
        pytest.param({"redeliveries": 3}, 75.0, 120, False, id="nothing came back"),
        pytest.param({"redeliveries": 1}, 75.0, 120, False, id="their counter began anew"),
        pytest.param({"redeliveries": None}, 75.0, 120, False, id="redeliveries are not counted"),
        pytest.param({"acks": None}, 75.0, 120, False, id="acknowledgements are not counted"),
        pytest.param({"unacked": 0, "ready": 5}, 75.0, 120, False, id="nobody holds it"),
    ],
)
def test_a_loop_is_not_the_same_message_that_hangs_again(changes, age_s, rose_s, same):
    """Without channels: in a loop redeliveries rise all the time, and the queue has its patience."""
    at = NOW + age_s
    again = tuple((at - ago, 9 if ago <= rose_s else 8) for ago in range(120, -1, -5))
    before = replace(snapshot(5, acks=4), redeliveries=3)
    seen = replace(snapshot(5, at=at, acks=4), redeliveries=9, unacked=1, ready=4, channels=None)
    seen = replace(seen, history=replace(seen.history, redeliveries=again), **changes)
    judged = judge_recovery(BOOK, seen, replace(WATCHED, before=before), Since(age_s, at))
    assert (judged.after.same_again, judged.after.verdict is Verdict.STUCK) == (same, same)
    before, began = replace(before, redeliveries=0), replace(seen, redeliveries=min(1, seen.redeliveries or 0))
    judged = judge_recovery(BOOK, began, replace(WATCHED, before=before), Since(age_s, at))
    assert judged.after.same_again is (same or changes.get("redeliveries") in (1, 3)), "nothing had come back before"
    judged = judge_recovery(BOOK, replace(began, redeliveries=0), replace(WATCHED, before=before), Since(age_s, at))
    assert not judged.after.same_again, "nor since"


GRID = range(100, -1, -5)


def worker(name: str, *, since_s: float = 100.0, held: int = 1, again: bool = False, at: float = NOW) -> Channel:
    """A channel that has not moved for so long; `again`: what it got last had been delivered before."""
    still = tuple((at - age, 8 if age <= since_s else 7) for age in GRID)
    returned = tuple((at - age, int(again and age <= since_s)) for age in GRID)
    return Channel(f"{name} (1)", "10.0.3.7", name, held, held, still, returned)


def flowing(*channels: Channel, at: float = NOW, acks: int = 100) -> QueueSnapshot:
    """A queue that is never empty."""
    ids = tuple(one.id for one in channels)
    seen = replace(snapshot(3, at=at, ids=ids), unacked=2, ready=1, acks=acks, channels=channels)
    return replace(seen, history=replace(seen.history, unacked=tuple((when, 2) for when, _ in seen.history.unacked)))


def after_restart(*looks: tuple[float, tuple[Channel, ...]]) -> QueueState:
    """One of three consumers held a message, and was restarted; then these looks."""
    watched = replace(WATCHED, before=snapshot(3, ids=("a", "b", "old")), subject=held_by(worker("old")))
    for age_s, channels in looks:
        seen = flowing(*channels, at=NOW + age_s, acks=100 + int(age_s))
        watched = judge_recovery(BOOK, seen, watched, Since(age_s, seen.at))
    return watched


def busy(at: float, *channels: Channel, step: int = 5, **changes: Any) -> QueueSnapshot:
    """A backlog that stays: so many messages are acknowledged every five seconds."""
    counter = tuple((at - age, 1000 - step * (age // 5)) for age in GRID)
    return replace(flowing(*channels, at=at, acks=1000), ack_samples=counter, **changes)


@pytest.mark.parametrize(
    ("age_s", "still_s", "changes", "well"),
    [
        pytest.param(70.0, 25.0, {}, True, id="it moved through all of `for`"),
        pytest.param(69.0, 25.0, {}, False, id="some of the figures are from before the restart's end"),
        pytest.param(70.0, 30.0, {}, False, id="one may hang again"),
        pytest.param(70.0, 25.0, {"step": 0}, False, id="nothing is acknowledged"),
        pytest.param(70.0, 25.0, {"consumer_ids": (), "consumers": 0}, False, id="none is there"),
        pytest.param(70.0, 25.0, {"channels": None}, False, id="nobody may see what they do"),
        pytest.param(70.0, 25.0, {"unseen": Unknown("a node sends none")}, False, id="one may not be seen"),
        pytest.param(70.0, 25.0, {"blind": Unknown("the page is slow")}, False, id="the queue can't be read"),
    ],
)
def test_a_backlog_that_stays_has_recovered_once_it_moves(age_s, still_s, changes, well):
    """I5: in two looks, by figures that are all younger than the restart's end. `for` is a minute; figures are 10 s late."""
    state = replace(WATCHED, before=snapshot(3, ids=("old",)))
    for after_s in (age_s, age_s + 15.0):
        seen = busy(NOW + after_s, worker("a", since_s=still_s, at=NOW + after_s), worker("b", since_s=0.0), **changes)
        state = judge_recovery(BOOK, seen, state, Since(after_s, seen.at))
        assert (state.after.verdict is Verdict.RECOVERED) is (well or (after_s > age_s and age_s == 69.0))
    assert state.after.proven is well


@pytest.mark.parametrize(("age_s", "again", "hangs"), [(59.0, True, False), (60.0, True, True), (60.0, False, True)])
def test_a_message_hangs_again_after_all_of_for(age_s, again, hangs):
    """`for` is a minute, counted from the restart's end. Another message may be helped by another restart."""
    stuck = worker("a", since_s=100.0, again=again), worker("b", since_s=0.0)
    after = after_restart((20, stuck), (age_s, stuck)).after
    assert (after.verdict is Verdict.STUCK, after.held_again, after.same_again) == (hangs, int(hangs), hangs and again)


@pytest.mark.parametrize(
    ("confirmed", "since_s", "held"), [(False, 100.0, 0), (True, 100.0, 1), (True, 60.0, 1), (True, 55.0, 0)]
)
def test_a_message_that_may_be_kept_hangs_again_once_a_person_has_said_that_it_hung(confirmed, since_s, held):
    """What is only likely proves nothing else."""
    kept = replace(worker("a", since_s=since_s), window=8)
    watched = replace(WATCHED, before=snapshot(3, ids=("old",)))
    after = judge_recovery(BOOK, replace(flowing(kept), ready=0), watched, Since(100.0, NOW, confirmed=confirmed)).after
    assert after.held_again == held
    rising = tuple((NOW - age, 100 - age) for age in GRID)
    fills = replace(flowing(replace(kept, work=rising)), ready=0, ack_samples=())
    fills = replace(fills, history=replace(fills.history, unacked=rising, deliveries=rising))
    assert judge_recovery(BOOK, fills, watched, Since(100.0, NOW, confirmed=True)).after.held_again == 0, "it takes what comes"


@pytest.mark.parametrize(("ago_s", "same"), [(55, True), (60, True), (65, True), (70, False), (None, False)])
def test_what_came_back_is_held_if_it_was_given_with_what_is_held(ago_s, same):
    """A minute ago; the counters are a sample apart at most."""
    given = tuple((at, int(at >= NOW - ago_s)) for at, _ in worker("a").work) if ago_s else ()
    stuck = replace(worker("a", since_s=60.0), redeliveries=given), worker("b", since_s=0.0)
    assert after_restart((20, stuck), (65, stuck)).after.same_again is same


@pytest.mark.parametrize(
    ("before", "finished", "same"), [(0, 0, True), (0, 14, True), (0, 15, False), (1, 39, True), (500, 39, True)]
)
def test_messages_that_follow_the_returned_ones_in_a_burst_are_not_the_same(before, finished, same):
    """Ten came back and are finished with 29 others between two samples; then the consumer hangs with ten that follow them. One
    that worked before the restart may have finished the others before it got what came back.
    """
    changed = [(at, at >= NOW - 60.0) for at, _ in worker("a").work]
    work = tuple((at, before * (at >= NOW - 90.0) + (10 + 2 * finished) * late) for at, late in changed)
    stuck = replace(worker("a", held=10), work=work, redeliveries=tuple((at, 10 * late) for at, late in changed))
    assert after_restart((20, (stuck, worker("b"))), (65, (stuck, worker("b", since_s=0.0)))).after.same_again is same


@pytest.mark.parametrize(
    ("head_at", "oldest_s", "same"),
    [(NOW - 901.0, 900.0, True), (NOW - 30.0, 900.0, False), (None, 900.0, False), (NOW - 901.0, 901.0, False),
        (NOW - 901.0, None, False)],
)  # fmt: skip
def test_a_queue_with_the_same_message_that_was_too_old_is_not_well(head_at, oldest_s, same):
    """However little waits, and whatever else moves; where nobody says how old one may be, it proves nothing."""
    book = runbook(symptom=replace(BOOK.symptom, oldest_s=oldest_s), recovered=Recovered(max_messages=40))
    watched = replace(WATCHED, before=snapshot(40, acks=9, unacked=4, head_at=NOW - 901.0, at=NOW))
    judged = judge_recovery(book, snapshot(40, at=NOW + 20, ids=NEW, head_at=head_at), watched, Since(20.0, NOW + 20))
    assert (judged.after.verdict is Verdict.RECOVERED) is not same
    moved = replace(judged, after=replace(judged.after, moved_at=NOW + 20))
    assert is_moving(book, moved, NOW + 20) is not same


def survivor(at: float, *, flat_s: float = 100.0, connected_at: float | None = 5.0) -> Channel:
    """The channel that held a message before the restart, and has done nothing for so long."""
    return replace(worker("old", since_s=flat_s, at=at), window=1, connected_at=connected_at)


@pytest.mark.parametrize(
    ("changes", "survives"),
    [
        pytest.param({}, True, id="the same channel of the same connection"),
        pytest.param({"connected_at": None}, True, id="since when it is connected is not known"),
        pytest.param({"connected_at": 900.0}, False, id="another connection of the same name"),
        pytest.param({"flat_s": 30.0}, False, id="it has worked since the restart"),
        pytest.param({"held": 0}, False, id="it holds nothing any more"),
    ],
)
def test_a_connection_that_the_restart_did_not_end_is_named_with_the_command_that_closes_it(changes, survives):
    """A black hole, or a heartbeat of 0: the broker still has it, with its messages. Nothing is concluded from what it holds."""
    watched = replace(WATCHED, before=snapshot(3, ids=("old",)), subject=held_by(survivor(NOW)))
    for age_s in (20.0, 65.0, 125.0, 185.0):
        at = NOW + age_s
        own = {name: value for name, value in changes.items() if name != "held"}
        channel = replace(survivor(at, **own), held=changes.get("held", 1))
        seen = replace(holding(Holder("10.0.3.7", "old", 1), at=at), channels=(channel,))
        watched = judge_recovery(BOOK, seen, watched, Since(age_s, at))
    assert (watched.after.survivor == "old (1)", watched.after.same_again) == (survives, False)
    if survives:
        assert watched.after.verdict is Verdict.STUCK
        said = str(say_survivor(watched))
        assert said.startswith("the restart did not end the connection old: ")
        assert "rabbitmqctl list_connections pid name" in said
        assert "rabbitmqctl close_connection PID" in said


@pytest.mark.parametrize(("age_s", "named"), [(9.9, ""), (10.0, "old (1)")])
def test_a_connection_is_not_looked_for_in_figures_of_before_the_end(age_s, named):
    """They are up to ten seconds late. Nor is it taken for a new one that hangs again, however short `for` is."""
    watched = replace(WATCHED, before=snapshot(3, ids=("old",)), subject=held_by(survivor(NOW)))
    seen = replace(holding(Holder("10.0.3.7", "old", 1)), channels=(survivor(NOW),))
    book = replace(BOOK, symptom=replace(BOOK.symptom, for_s=6.0))
    after = judge_recovery(book, seen, watched, Since(age_s, NOW)).after
    assert (after.survivor, after.held_again) == (named, 0)


@pytest.mark.parametrize(("age_s", "verdict", "named"), [(6.0, None, False), (9.9, None, False), (10.0, Verdict.STUCK, True)])
def test_patience_is_not_over_before_the_same_connections_can_be_told(age_s, verdict, named):
    """However short it is: sixty channels of one connection would be restarted once more, and hold their messages still."""
    names = [f"10.0.3.7:5 -> 10.0.0.1:5672 ({number})" for number in range(60)]
    book = replace(BOOK, verify=Verify(patience_s=5.0))
    held = tuple(replace(survivor(NOW), id=name) for name in names)
    watched = replace(WATCHED, before=snapshot(60, ids=tuple(names)), subject=held_by(*held))
    seen = replace(holding(Holder("10.0.3.7", "old", 60)), channels=held)
    after = judge_recovery(book, seen, watched, Since(age_s, NOW)).after
    assert (after.verdict, bool(after.survivor)) == (verdict, named)


@pytest.mark.parametrize(
    ("looks", "polled", "recovers"),
    [
        pytest.param(Looks(polled=True), True, True, id="before and after"),
        pytest.param(Looks(polled=True), False, True, id="nothing came since"),
        pytest.param(Looks(acked=True), True, True, id="the broker was restarted, and counts anew"),
        pytest.param(Looks(consumed=True), True, False, id="its consumer is missing, and a person looks into it"),
        pytest.param(Looks(), False, False, id="its consumer is missing"),
    ],
)
def test_a_queue_without_consumers_that_is_polled_recovers_without_any(looks, polled, recovers):
    """Its application takes messages by basic.get: nobody is missing."""
    watched = replace(WATCHED, before=snapshot(3, ids=()), looks=looks)
    for age_s in (20.0, 40.0):
        at = NOW + age_s
        watched = judge_recovery(BOOK, snapshot(0, at=at, ids=(), polled=polled), watched, Since(age_s, at))
    assert (watched.after.verdict is Verdict.RECOVERED, watched.after.well_at == NOW + 20.0) == (recovers, recovers)


@pytest.mark.parametrize(("connected_at", "survives"), [(1.0, True), (2.0, False), (None, False)])
def test_a_connection_that_the_restart_did_not_end_is_known_however_late_the_first_check_comes(connected_at, survives):
    """The samples go back two minutes only. Where its beginning is not known, a first check so late can't tell."""
    old = replace(worker("old", since_s=1000.0), connected_at=1.0)
    watched = replace(QueueState(MAIL, "mail", NOW - 1000.0), subject=held_by(replace(old, work=(), redeliveries=())))
    seen = flowing(replace(old, connected_at=connected_at), worker("new", since_s=2.0))
    after = judge_recovery(runbook(), seen, watched, Since(280.0, NOW)).after
    assert bool(after.survivor) is survives
    moved = replace(worker("old", since_s=95.0), connected_at=1.0)
    seen_later = flowing(moved, worker("new", since_s=2.0))
    assert not judge_recovery(runbook(), seen_later, watched, Since(280.0, NOW)).after.survivor, "it did something 95 s ago"
    checked = replace(watched, after=AfterRestart(survivor="old (1)", looked_at=NOW - 250.0))
    assert bool(judge_recovery(runbook(), seen, checked, Since(280.0, NOW)).after.survivor) is survives, "nor is it forgotten"
