"""Ill, well, and the verdict after a restart: on what a real broker answered, and at each bound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.adapters.symptoms.rabbitmq.answers import sighting as read
from functions.domain.decisions.health import CURVE_POINTS, is_moving, is_well, judge_health, judge_recovery, real_samples
from functions.domain.model.codes import Health, Verdict
from functions.domain.model.incidents import AfterRestart, QueueState, StuckChecks
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.domain.model.runbooks import Recovered, Symptom, Verify
from tests.support.worlds.scenes import MAIL, NEW, NOW, OLD, bare, runbook, sighting

RECORDINGS = sorted((Path(__file__).parents[2] / "recordings" / "rabbitmq").glob("*.json"))
SYMPTOM = Symptom("rabbitmq", {"vhost": "/", "queue": "mail"})
BOOK = runbook()
WATCHED = QueueState(MAIL, "mail", NOW - 1000.0)


def recorded(name: str) -> list[tuple[str, QueueSnapshot]]:
    """(note, sighting) of each look of a recording."""
    case = json.loads((RECORDINGS[0].parent / f"{name}.json").read_text())
    queue = to_queue(case["vhost"], case["case"])
    return [(one["note"], read(queue, one["totals"], one["page"], at=one["at"])) for one in case["looks"]]


# --- before a restart ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_what_a_real_broker_shows_is_judged_right(path):
    """I3: stuck queues and those without a consumer are ill; busy, idle, deploying and draining ones are never."""
    case = json.loads(path.read_text())
    for note, seen in recorded(path.stem):
        found, why, _ = judge_health(SYMPTOM, seen, WATCHED, seen.at)
        if case["ill"] is not None:
            assert (found is Health.ILL) == case["ill"], f"{note}: {why}"


@pytest.mark.parametrize("name", ["busy", "slow-drain"])
def test_a_real_queue_that_works_is_well_though_it_is_never_empty(name):
    """A busy healthy queue is turned away at once, not only left unrestarted."""
    for _, seen in recorded(name):
        assert seen.depth > 0
        assert judge_health(SYMPTOM, seen, WATCHED, seen.at)[0] is Health.WELL


@pytest.mark.parametrize("name", ["stuck-unacked", "stuck-ready", "no-consumer", "absent"])
def test_a_real_stuck_queue_is_not_ill_below_its_limit(name):
    """`max_messages` is the depth that may be, unacknowledged messages included."""
    (_, seen), *_ = recorded(name)
    assert seen.depth == 5
    assert judge_health(replace(SYMPTOM, max_messages=5), seen, WATCHED, seen.at)[0] is Health.WELL
    assert judge_health(replace(SYMPTOM, max_messages=4), seen, WATCHED, seen.at)[0] is Health.ILL


@pytest.mark.parametrize("name", ["stuck-unacked", "stuck-ready", "no-consumer"])
def test_a_real_stuck_queue_is_not_ill_before_it_was_so_for_all_of_for(name):
    """75 s after the messages came, a `for` of two minutes is not over."""
    (_, seen), *_ = recorded(name)
    assert judge_health(replace(SYMPTOM, for_s=120.0), seen, WATCHED, seen.at)[0] is not Health.ILL


@pytest.mark.parametrize(
    ("name", "still_s"), [("slow-consumer", 25.0), ("bursts", 18.0), ("deployment", 40.0), ("long-job", 150.0)]
)
@pytest.mark.parametrize("more_s", [10.0, 60.0])
def test_a_real_application_that_stands_still_for_a_while_is_never_ill_with_a_longer_for(name, still_s, more_s):
    """I3: between two messages, while it is deployed, during a long job: docs/rabbitmq.md asks for 10 s more than that."""
    found = [judge_health(replace(SYMPTOM, for_s=still_s + more_s), seen, WATCHED, seen.at)[0] for _, seen in recorded(name)]
    assert Health.ILL not in found
    assert {Health.UNSURE, Health.WELL} == set(found)


@pytest.mark.parametrize(("name", "for_s"), [("deployment", 30.0), ("long-job", 60.0)])
def test_a_real_application_that_stands_still_longer_than_for_is_ill(name, for_s):
    """So `for` has to be chosen: nothing else tells a long job, or a deployment, from a stuck one."""
    symptom = replace(SYMPTOM, for_s=for_s)
    assert Health.ILL in [judge_health(symptom, seen, WATCHED, seen.at)[0] for _, seen in recorded(name)]


def test_a_single_zero_sample_is_a_gap_and_no_empty_queue():
    """A sample that falls between two collections reads 0; a stuck queue stays ill, and a busy one well."""
    stuck = sighting(50)
    depths = list(stuck.depth_samples)
    acks = list(stuck.ack_samples)
    depths[-4] = (depths[-4][0], 0)
    acks[-6] = (acks[-6][0], 0)
    gappy = replace(stuck, depth_samples=tuple(depths), ack_samples=tuple(acks))
    assert judge_health(SYMPTOM, gappy, WATCHED, NOW)[0] is Health.ILL


@pytest.mark.parametrize(
    ("acked_s_ago", "expected"), [(5, Health.WELL), (10, Health.WELL), (15, Health.UNSURE), (60, Health.UNSURE), (65, Health.ILL)]
)
def test_nothing_acknowledged_for_all_of_for_is_ill(acked_s_ago, expected):
    """What was acknowledged just now is well, within `for` neither, before it ill."""
    seen = sighting(50)
    step = int(acked_s_ago / 5)
    counters = [1000 if place < 26 - step else 1004 for place in range(26)]
    seen = replace(seen, ack_samples=tuple((at, n) for (at, _), n in zip(seen.ack_samples, counters, strict=True)))
    assert judge_health(SYMPTOM, seen, WATCHED, NOW)[0] is expected


def test_a_depth_that_falls_is_well_though_nobody_counts_acknowledgements():
    """Expired or purged messages go without an acknowledgement; the live depth below all samples is movement."""
    seen = replace(sighting(50), depth=40, ready=40)
    assert judge_health(SYMPTOM, seen, WATCHED, NOW)[0] is Health.WELL


def test_messages_that_have_just_come_are_not_ill_yet():
    """An idle queue that gets messages is over the limit for less than `for`."""
    seen = sighting(50)
    depths = [0] * 20 + [50] * 6
    seen = replace(seen, depth_samples=tuple((at, n) for (at, _), n in zip(seen.depth_samples, depths, strict=True)))
    assert judge_health(SYMPTOM, seen, WATCHED, NOW)[0] is Health.UNSURE


@pytest.mark.parametrize(("empty_s_ago", "expected"), [(50, Health.UNSURE), (55, Health.UNSURE), (70, Health.ILL)])
def test_a_queue_that_was_empty_within_for_is_not_ill_yet(empty_s_ago, expected):
    """Two samples in a row are no gap of the collection: it was empty, and has been over the limit for less than `for`."""
    seen = sighting(50)
    newest = seen.depth_samples[-1][0]
    empty = (newest - empty_s_ago, newest - empty_s_ago - 5)
    seen = replace(seen, depth_samples=tuple((at, 0 if at in empty else 50) for at, _ in seen.depth_samples))
    assert judge_health(SYMPTOM, seen, WATCHED, NOW)[0] is expected


@pytest.mark.parametrize("count", [1, 2, 6])
def test_samples_that_do_not_cover_for_leave_it_to_two_looks(count):
    """What the broker keeps is too short to tell; but acknowledgements that it shows are a sign of life all the same."""
    short = [replace(sighting(50, at=at), depth_samples=sighting(50, at=at).depth_samples[-count:]) for at in (NOW, NOW + 60)]
    first, _, watched = judge_health(SYMPTOM, short[0], WATCHED, NOW)
    assert (first, judge_health(SYMPTOM, short[1], watched, NOW + 60)[0]) == (Health.UNSURE, Health.ILL)
    alive = replace(sighting(50, acks=3), depth_samples=short[0].depth_samples)
    assert judge_health(SYMPTOM, alive, WATCHED, NOW)[0] is Health.WELL


@pytest.mark.parametrize(
    ("depths", "acks", "first"),
    [
        pytest.param(26, 0, Health.ILL, id="no counter"),
        pytest.param(26, 1, Health.UNSURE, id="one of the counter"),
        pytest.param(1, 1, Health.UNSURE, id="one of each"),
        pytest.param(0, 26, Health.UNSURE, id="none of the depth"),
        pytest.param(12, 26, Health.ILL, id="one missing at the beginning of `for`"),
        pytest.param(11, 26, Health.UNSURE, id="two missing"),
        pytest.param(26, 11, Health.UNSURE, id="two missing of the counter"),
    ],
)
def test_both_kinds_of_samples_have_to_cover_for(depths, acks, first):
    """Where either is too short, two looks decide; a queue whose work nobody counts is judged by its depth."""
    seen = sighting(50)
    few = replace(seen, depth_samples=seen.depth_samples[26 - depths :], ack_samples=seen.ack_samples[26 - acks :])
    found, _, watched = judge_health(SYMPTOM, few, WATCHED, NOW)
    assert found is first
    assert judge_health(SYMPTOM, replace(few, at=NOW + 60), watched, NOW + 60)[0] is Health.ILL


@pytest.mark.parametrize(("count", "expected"), [(2, Health.UNSURE), (3, Health.ILL)])
def test_three_samples_are_enough(count, expected):
    """With a sample a minute and a `for` of a minute."""
    times = [NOW - 60.0 * back for back in range(count - 1, -1, -1)]
    rare = replace(sighting(50), depth_samples=tuple((at, 50) for at in times), ack_samples=tuple((at, 7) for at in times))
    assert judge_health(SYMPTOM, rare, WATCHED, NOW)[0] is expected


def sampled(depths: list[int], acks: list[int], *, step_s: float = 5.0, **changes) -> QueueSnapshot:
    """A queue with these samples, the newest of which is of NOW."""
    rows = [tuple((NOW - step_s * (len(row) - 1 - place), n) for place, n in enumerate(row)) for row in (depths, acks)]
    made = replace(sighting(depths[-1]), depth_samples=rows[0], ack_samples=rows[1])
    return replace(made, **{"zeros": True, **changes})


STILL, FLAT = [50] * 26, [7] * 26
SAID = [
    pytest.param(sampled(STILL, FLAT), "depth 50 and nothing processed for 60 s", id="stuck"),
    pytest.param(sampled(STILL, FLAT, depth=0), "depth 0", id="well"),
    pytest.param(sampled(STILL, FLAT, depth=49), "the depth is falling: 50 before, 49 now", id="falls"),
    pytest.param(sampled(STILL, FLAT, blind=Unknown("no counter")), "no counter", id="unseen work"),
    pytest.param(sampled(STILL, [*FLAT[:25], 9]), "processed in the last 10 s: 2", id="works"),
    pytest.param(sampled(STILL, [*FLAT[:24], 9, 11]), "processed in the last 10 s: 4", id="works on"),
    pytest.param(sampled(STILL, [*FLAT[:23], 0, 1, 3]), "processed in the last 10 s: 3", id="the counter began anew"),
    pytest.param(sampled(STILL, [*FLAT[:24], 9, 0]), "processed in the last 10 s: 2", id="it begins anew"),
    pytest.param(sampled(STILL, [*FLAT[:22], 9, 9, 9, 9]), "processed in the last 60 s: 2, but nothing right now", id="pauses"),
    pytest.param(
        sampled(STILL, [*FLAT[:13], 9, 12, *[12] * 11]), "processed in the last 60 s: 3, but nothing right now", id="pauses long"
    ),
    pytest.param(sampled([*[0] * 13, *[50] * 13], FLAT), "depth 50 and nothing processed for 60 s", id="for as long as `for`"),
    pytest.param(sampled([*[0] * 14, *[50] * 12], FLAT), "depth over 0 for less than 60 s", id="not so long"),
    pytest.param(sampled([50] * 6, [1, 1, 1, 1, 1, 2], step_s=60), "processed in the last 120 s: 1", id="rare samples"),
    pytest.param(
        sampled([50] * 6, [1, 1, 1, 2, 2, 2], step_s=60), "depth 50 and nothing processed for 60 s", id="rare samples, stuck"
    ),
]


@pytest.mark.parametrize(("seen", "why"), SAID)
def test_people_are_told_why(seen, why):
    """With the figures that the judgement rests on, and the time that they are of."""
    assert str(judge_health(SYMPTOM, seen, WATCHED, NOW)[1]) == why


def test_the_limit_and_the_time_are_the_runbooks():
    """A backlog of five is usual, and the application takes a while."""
    symptom = replace(SYMPTOM, max_messages=5, for_s=30.0)
    for depths, why in (
        ([*[5] * 20, *[50] * 6], "depth over 5 for less than 30 s"),
        ([*[5] * 19, *[50] * 7], "depth 50 and nothing processed for 30 s"),
        ([*[6] * 20, *[50] * 6], "depth 50 and nothing processed for 30 s"),
    ):
        assert str(judge_health(symptom, sampled(depths, FLAT), WATCHED, NOW)[1]) == why


@pytest.mark.parametrize(
    ("for_s", "acks", "expected"),
    [(5.0, [*FLAT[:24], 9, 9], Health.WELL), (5.0, [*FLAT[:23], 9, 9, 9], Health.ILL), (5.0, FLAT, Health.ILL)],
)
def test_a_for_shorter_than_two_samples_looks_back_ten_seconds_all_the_same(for_s, acks, expected):
    """Less says nothing about a queue that works."""
    assert judge_health(replace(SYMPTOM, for_s=for_s), sampled(STILL, acks), WATCHED, NOW)[0] is expected


@pytest.mark.parametrize(
    ("values", "real"),
    [
        pytest.param([5, 0, 5], [5, 5], id="between others"),
        pytest.param([1, 0, 1], [1, 1], id="between the smallest"),
        pytest.param([5, 0, 0, 5], [5, 0, 0, 5], id="two in a row"),
        pytest.param([0, 5, 6], [5, 6], id="first"),
        pytest.param([0, 5, 0], [5], id="first and last"),
        pytest.param([5, 6, 0], [5, 6], id="last"),
        pytest.param([0, 0, 5], [0, 0, 5], id="two at first"),
        pytest.param([5, 0, 0], [5, 0, 0], id="two at last"),
        pytest.param([5, 0, 6, 0, 7], [5, 6, 7], id="one here, one there"),
        pytest.param([0], [0], id="nothing else"),
        pytest.param([1, 2], [1, 2], id="none"),
        pytest.param([], [], id="no samples"),
    ],
)
def test_a_zero_between_other_values_is_a_gap(values, real):
    """It is left out, unless the samples are known to have no gaps."""
    samples = tuple((NOW + place, value) for place, value in enumerate(values))
    assert [value for _, value in real_samples(sighting(), samples)] == real
    assert real_samples(replace(sighting(), zeros=True), samples) == samples


LOOKS = [
    pytest.param([(0, 50), (60, 50)], Health.ILL, id="does not fall"),
    pytest.param([(0, 50), (60, 55)], Health.ILL, id="rises"),
    pytest.param([(0, 50), (59, 50)], Health.UNSURE, id="less than `for` apart"),
    pytest.param([(0, 50), (60, 49)], Health.WELL, id="falls"),
    pytest.param([(0, 50), (15, 49), (60, 49)], Health.UNSURE, id="fell in between, counted anew"),
    pytest.param([(0, 50), (15, None), (60, 50)], Health.UNSURE, id="unseen in between, counted anew"),
    pytest.param([(0, 50), (15, 0), (60, 50)], Health.UNSURE, id="empty in between"),
    pytest.param([(0, 50)], Health.UNSURE, id="one look"),
    pytest.param([(0, 0)], Health.WELL, id="empty"),
]


@pytest.mark.parametrize(("looks", "expected"), LOOKS)
def test_without_statistics_two_live_looks_for_apart_decide(looks, expected):
    """Where the page or its statistics are off, it takes two looks `for` apart with the depth not falling."""
    watched, found = WATCHED, None
    for after_s, depth in looks:
        seen = Unknown("down") if depth is None else bare(depth, NOW + after_s)
        found, _, watched = judge_health(SYMPTOM, seen, watched, NOW + after_s)
    assert found is expected


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([(0, 50, 1)], "depth 50; without earlier figures it takes 60 s to tell"),
        ([(0, 50, 1), (15, 50, 1)], "depth 50, watched for 15 s"),
        ([(0, 50, 1), (15, 51, 1), (30, 52, 1)], "depth 52, watched for 30 s"),
        ([(0, 50, 1), (15, 50, 1), (61, 50, 1)], "depth 50, not falling for 61 s"),
        ([(0, 50, 1), (15, 49, 1)], "it is moving: depth 50 before, 49 now"),
        ([(0, 50, 1), (15, 52, 1), (30, 51, 1)], "it is moving: depth 52 before, 51 now"),
        ([(0, 50, 1), (15, 50, 4)], "processed since the check before: 3"),
        ([(0, 50, 1), (15, 50, 0), (30, 50, 2)], "processed since the check before: 2"),
        ([(0, 50, None), (15, 50, 1), (30, 50, 2)], "processed since the check before: 1"),
    ],
)
def test_people_are_told_what_live_looks_have_shown(looks, why):
    """Each look is compared with the one before it, and the time counts from the first."""
    watched, said = WATCHED, None
    for after_s, depth, acks in looks:
        _, said, watched = judge_health(SYMPTOM, bare(depth, NOW + after_s, acks=acks), watched, NOW + after_s)
    assert str(said) == why


def test_a_counter_that_has_samples_is_not_compared_between_looks():
    """They say when it rose, and the rise may have been before the first look."""
    seen = [replace(sighting(50, at=NOW + after_s), depth_samples=(), acks=acks) for after_s, acks in ((0.0, 7), (60.0, 9))]
    _, _, watched = judge_health(SYMPTOM, seen[0], WATCHED, NOW)
    assert watched.stuck.acks is None
    assert judge_health(SYMPTOM, seen[1], watched, NOW + 60)[0] is Health.ILL


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ((100.0, float("100")), Health.ILL),
        ((100.0, 160.0), Health.WELL),
        ((None, 160.0), Health.ILL),
        ((100.0, None), Health.ILL),
    ],
)
def test_another_oldest_message_is_movement_only_where_both_looks_saw_one(heads, expected):
    """A busy queue of constant depth shows itself by its head; a head that was not seen says nothing."""
    watched, found = WATCHED, None
    for after_s, head_at in zip((0.0, 60.0), heads, strict=True):
        found, _, watched = judge_health(SYMPTOM, bare(50, NOW + after_s, head_at=head_at), watched, NOW + after_s)
    assert found is expected


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        pytest.param((7, 7), Health.ILL, id="stands still"),
        pytest.param((7, 8), Health.WELL, id="rises"),
        pytest.param((7, 0), Health.ILL, id="began again"),
        pytest.param((None, 8), Health.ILL, id="not seen before"),
        pytest.param((7, None), Health.ILL, id="not seen now"),
    ],
)
def test_a_counter_without_samples_is_compared_between_two_looks(counters, expected):
    """I3: a system that keeps no history, such as a table of jobs, and gets as many jobs as it finishes is not stuck."""
    watched, found = WATCHED, None
    for after_s, acks in zip((0.0, 60.0), counters, strict=True):
        found, _, watched = judge_health(SYMPTOM, bare(50, NOW + after_s, acks=acks), watched, NOW + after_s)
    assert found is expected


def test_what_can_not_be_read_is_unknown_and_forgets_the_first_look():
    """I4: no look counts across a gap."""
    found, why, watched = judge_health(SYMPTOM, Unknown("401 from RabbitMQ"), replace(WATCHED, stuck=StuckChecks(NOW - 100)), NOW)
    assert (found, why, watched.stuck.since) == (Health.UNKNOWN, "401 from RabbitMQ", None)


# --- after a restart -------------------------------------------------------------------------------------------------


def looked(*looks: tuple[float, QueueSnapshot | Unknown], before: QueueSnapshot | None = None) -> QueueState:
    """The queue after looks at these seconds after the restart's end."""
    watched = replace(WATCHED, before=before or sighting(50))
    for age_s, seen in looks:
        at = NOW + age_s
        fresh = seen if isinstance(seen, Unknown) else replace(seen, at=at)
        if not isinstance(fresh, Unknown) and fresh.behind_s:
            fresh = replace(fresh, depth_samples=((at - fresh.behind_s, fresh.depth),))
        watched = judge_recovery(BOOK, fresh, watched, age_s=age_s, now=at)
    return watched


VERDICTS = [
    pytest.param([(20, Unknown("down"))], Verdict.UNKNOWN, id="unreadable"),
    pytest.param([(20, sighting(0, ids=NEW))], Verdict.RECOVERED, id="empty with a consumer"),
    pytest.param([(20, sighting(0, ids=()))], None, id="empty with nobody there"),
    pytest.param([(20, sighting(50, ids=NEW))], None, id="first look"),
    pytest.param([(20, sighting(50, ids=NEW)), (35, sighting(49, ids=NEW))], Verdict.DRAINING, id="depth fell"),
    pytest.param([(20, sighting(50)), (35, sighting(50, acks=1))], Verdict.DRAINING, id="acknowledged"),
    pytest.param([(20, sighting(50)), (35, sighting(55))], None, id="rises"),
    pytest.param([(20, sighting(50)), (119, sighting(50))], None, id="before patience"),
    pytest.param([(20, sighting(50)), (120, sighting(50))], Verdict.STUCK, id="no movement for patience"),
    pytest.param([(20, sighting(0, ids=())), (120, sighting(0, ids=()))], Verdict.STUCK, id="nobody came"),
    pytest.param([(20, sighting(50)), (35, sighting(40)), (154, sighting(40))], Verdict.DRAINING, id="moved lately"),
    pytest.param([(20, sighting(50)), (35, sighting(40)), (155, sighting(40))], Verdict.STUCK, id="moved once, then not"),
    pytest.param([(20, sighting(50)), (35, Unknown("down")), (50, sighting(40))], Verdict.DRAINING, id="seen again"),
]


@pytest.mark.parametrize(("looks", "verdict"), VERDICTS)
def test_the_verdict_is_the_first_that_holds(looks, verdict):
    """I5: unknown, recovered, draining, stuck, in this order; None is to look again."""
    assert looked(*looks).after.verdict is verdict


@pytest.mark.parametrize(("age_s", "verdict"), [(9.9, None), (10.0, Verdict.RECOVERED)])
def test_the_pages_count_of_consumers_speaks_of_the_time_after_only_from_ten_seconds_on(age_s, verdict):
    """A page read earlier may show the consumer that the restart has just ended."""
    assert looked((age_s, sighting(0, ids=OLD)), before=sighting(50, ids=OLD)).after.verdict is verdict


@pytest.mark.parametrize(
    ("before", "ids", "verdict"),
    [
        pytest.param(sighting(50, ids=OLD), NEW, Verdict.RECOVERED, id="a new one"),
        pytest.param(sighting(50, ids=OLD), OLD, None, id="the old one, late"),
        pytest.param(sighting(50, ids=OLD), OLD + NEW, Verdict.RECOVERED, id="one of each"),
        pytest.param(sighting(50, ids=OLD), (), None, id="the old one is gone"),
        pytest.param(sighting(50, ids=()), NEW, Verdict.RECOVERED, id="nobody before"),
        pytest.param(bare(50), NEW, None, id="not seen before"),
        pytest.param(sighting(50, ids=OLD), None, None, id="not seen now"),
    ],
)
def test_within_ten_seconds_only_consumers_that_were_not_there_before_count(before, ids, verdict):
    """I5: `consumer_details` are younger than the rest of the page, but an old consumer may still be shown."""
    assert looked((3.0, sighting(0, ids=ids)), before=before).after.verdict is verdict


def test_late_acknowledgements_are_no_movement():
    """I5: what the page counts within 10 s may be of the time before the restart's end, as the first of two figures too."""
    early = looked((2.0, sighting(50, acks=0)), (9.0, sighting(50, acks=7)))
    assert (early.after.moved_at, early.after.acks) == (None, None)
    assert looked((2.0, sighting(50, acks=0)), (12.0, sighting(50, acks=7))).after.moved_at is None
    assert looked((2.0, sighting(50)), (12.0, sighting(50)), (17.0, sighting(50, acks=7))).after.moved_at == NOW + 12.0


def test_acknowledgements_count_from_ten_seconds_on():
    """The page's counter is of the time after the end then. One that began anew is no movement."""
    assert looked((10.0, sighting(50)), (17.0, sighting(50, acks=7))).after.moved_at == NOW + 10.0
    assert looked((9.9, sighting(50)), (17.0, sighting(50, acks=7))).after.moved_at is None
    assert looked((20.0, sighting(50, acks=7)), (35.0, sighting(50))).after.moved_at is None


LATE = replace(sighting(0, ids=None, consumers=1), behind_s=12.0, zeros=True)
"""A queue that Prometheus shows as empty, with a consumer, twelve seconds late."""


@pytest.mark.parametrize(
    ("looks", "verdict", "proven"),
    [
        pytest.param([(11.0, LATE)], None, False, id="of before the end"),
        pytest.param([(21.0, LATE)], None, False, id="consumers of the first ten seconds"),
        pytest.param([(22.0, LATE)], Verdict.RECOVERED, False, id="of ten seconds after"),
        pytest.param([(22.0, LATE), (37.0, replace(LATE, behind_s=27.0))], Verdict.RECOVERED, False, id="the same sample twice"),
        pytest.param([(22.0, LATE), (37.0, replace(LATE, behind_s=40.0))], Verdict.RECOVERED, False, id="an older sample"),
        pytest.param(
            [(42.0, LATE), (57.0, replace(LATE, behind_s=30.0, depth=9))],
            Verdict.RECOVERED,
            False,
            id="an older one after the end",
        ),
        pytest.param([(22.0, LATE), (42.0, replace(LATE, behind_s=18.0))], Verdict.RECOVERED, False, id="14 s younger"),
        pytest.param([(22.0, LATE), (37.0, LATE)], Verdict.RECOVERED, True, id="15 s younger"),
        pytest.param([(131.0, replace(LATE, depth=9))], None, False, id="patience is not over in the figures"),
        pytest.param([(132.0, replace(LATE, depth=9))], Verdict.STUCK, False, id="patience is over in the figures"),
    ],
)
def test_figures_that_are_behind_count_at_their_own_time(looks, verdict, proven):
    """I5: what was so before the end says nothing, one sample is one check, and `every` and `patience` are of the figures."""
    watched = looked(*looks)
    assert watched.after.verdict is verdict
    assert (
        watched.after.well_at is not None and (watched.after.looked_at or 0.0) - watched.after.well_at >= BOOK.verify.every_s
    ) == proven


def test_figures_that_are_behind_show_movement_between_samples_only():
    """The same sample again is no standstill, and no movement."""
    first, again = replace(LATE, depth=50), replace(LATE, depth=50, behind_s=27.0)
    watched = looked((22.0, first), (37.0, again), (52.0, replace(LATE, depth=40)))
    assert (watched.after.verdict, watched.after.moved_at) == (Verdict.DRAINING, NOW + 10.0)


def test_the_newest_sample_tells_whether_figures_were_seen_before():
    """Older ones stay in the answer for a while."""
    shown = replace(sighting(0, at=NOW, ids=NEW), behind_s=5.0, depth_samples=((NOW - 60.0, 9), (NOW - 5.0, 0)))
    first = judge_recovery(BOOK, shown, WATCHED, age_s=30.0, now=NOW)
    newer = replace(shown, at=NOW + 15.0, depth_samples=((NOW - 60.0, 9), (NOW - 5.0, 0), (NOW + 10.0, 0)))
    assert judge_recovery(BOOK, newer, first, age_s=45.0, now=NOW + 15.0).after.looked_at == NOW + 10.0


def test_a_sample_that_was_seen_before_is_known_by_its_time():
    """Between two machines whose clocks differ the check looks like a new one. A stored time is equal, and another object."""
    shown = replace(sighting(0, at=NOW, ids=NEW), behind_s=5.0, depth_samples=((NOW - 5.0, 0),))
    first = judge_recovery(BOOK, shown, WATCHED, age_s=30.0, now=NOW)
    stored = replace(first, after=replace(first.after, sample_at=float(str(first.after.sample_at))))
    assert judge_recovery(BOOK, replace(shown, at=NOW + 15.0), stored, age_s=45.0, now=NOW + 15.0) == stored


@pytest.mark.parametrize(("late", "expected"), [(True, Health.UNSURE), (False, Health.UNKNOWN)])
def test_a_depth_over_the_limit_says_nothing_where_nobody_sees_the_work(late, expected):
    """I4: it is looked at again, or held with the reason. An empty queue is well all the same."""
    blind = replace(sighting(50), blind=Unknown("no counter", late=late))
    assert judge_health(SYMPTOM, blind, WATCHED, NOW)[:2] == (expected, "no counter")
    assert judge_health(SYMPTOM, replace(blind, depth=0), WATCHED, NOW)[0] is Health.WELL
    assert judge_health(SYMPTOM, replace(sighting(50, acks=3), blind=Unknown("gap", late=late)), WATCHED, NOW)[0] is Health.WELL


def test_a_sample_of_zero_is_one_where_they_are_real():
    """Prometheus has no gaps that read 0: a queue that was empty for a moment is not stuck, nor is a counter that began anew."""
    seen = sighting(50)
    depths = tuple((at, 0 if place == 20 else 50) for place, (at, _) in enumerate(seen.depth_samples))
    assert judge_health(SYMPTOM, replace(seen, depth_samples=depths), WATCHED, NOW)[0] is Health.ILL
    assert judge_health(SYMPTOM, replace(seen, depth_samples=depths, zeros=True), WATCHED, NOW)[0] is Health.UNSURE


def test_work_between_the_last_samples_is_of_now_however_far_apart_they_are():
    """With a sample a minute, ten seconds hold none."""
    times = [NOW - 60.0 * back for back in range(5, -1, -1)]
    seen = replace(
        sighting(50), depth_samples=tuple((at, 50) for at in times), ack_samples=tuple((at, n) for n, at in enumerate(times))
    )
    assert judge_health(SYMPTOM, seen, WATCHED, NOW)[0] is Health.WELL


def test_unacknowledged_messages_that_fall_back_to_ready_are_no_movement():
    """The old consumer dies and its messages become ready: the depth, of both, stays."""
    held = replace(sighting(50), ready=0, unacked=50)
    back = replace(sighting(50, ids=NEW), ready=50, unacked=0)
    assert looked((2.0, held), (20.0, back), (120.0, back)).after.verdict is Verdict.STUCK


def test_without_statistics_consumers_are_inferred_from_movement_only():
    """Nobody can see them; but who takes messages after the restart's end is there."""
    assert looked((20.0, bare(0)), (35.0, bare(0))).after.verdict is None
    assert looked((20.0, bare(50)), (35.0, bare(0))).after.verdict is Verdict.RECOVERED
    assert looked((20.0, bare(50)), (140.0, bare(50))).after.verdict is Verdict.STUCK


@pytest.mark.parametrize(("age_s", "verdict"), [(9.9, Verdict.DRAINING), (10.0, Verdict.RECOVERED)])
def test_without_statistics_nothing_recovers_within_ten_seconds(age_s, verdict):
    """I5: what fell so soon may have been taken by the old consumer on its way out."""
    assert looked((4.0, bare(50)), (age_s, bare(0))).after.verdict is verdict


def test_well_is_counted_without_interruption():
    """`well_at` is the first of the looks that all were well; one that was not, or not seen, begins anew."""
    good, bad = sighting(0, ids=NEW), sighting(3, ids=NEW)
    assert looked((20.0, good), (35.0, good)).after.well_at == NOW + 20.0
    assert looked((20.0, good), (35.0, bad), (50.0, good)).after.well_at == NOW + 50.0
    assert looked((20.0, good), (35.0, Unknown("down")), (50.0, good)).after.well_at == NOW + 50.0


def test_a_queue_that_joined_late_has_its_own_patience():
    """Its looks are counted from when it joined, not from the end of the restart."""
    watched = replace(WATCHED, joined_at=NOW + 300.0)
    for age_s, verdict in ((320.0, None), (419.0, None), (420.0, Verdict.STUCK)):
        watched = judge_recovery(BOOK, sighting(50, at=NOW + age_s), watched, age_s=age_s, now=NOW + age_s)
        assert watched.after.verdict is verdict


def test_a_queue_that_joined_late_is_not_stuck_by_figures_of_before_its_patience_is_over():
    """However long the process took to get from the figures to the step: judged at once, the same figures say nothing yet."""
    watched = replace(WATCHED, joined_at=NOW + 300.0)
    figures = sighting(50, at=NOW + 400.0)
    for late_s in (0.0, 25.0):
        assert judge_recovery(BOOK, figures, watched, age_s=400.0 + late_s, now=NOW + 400.0 + late_s).after.verdict is None


def test_a_real_restart_is_seen_to_recover():
    """The recorded way of a stuck queue whose new consumer works: stuck before, then moving, then recovered, never stuck."""
    (_, before), *later = recorded("restarted")
    assert judge_health(SYMPTOM, before, WATCHED, before.at)[0] is Health.ILL
    ended = later[0][1].at - 1.0
    watched = replace(WATCHED, joined_at=before.at, before=before)
    verdicts = []
    for _, seen in later:
        watched = judge_recovery(BOOK, seen, watched, age_s=seen.at - ended, now=seen.at)
        verdicts.append(watched.after.verdict)
    assert verdicts[0] is None
    assert Verdict.STUCK not in verdicts
    assert watched.after.verdict in (Verdict.DRAINING, Verdict.RECOVERED)


def test_a_real_restart_in_vain_is_never_taken_for_movement():
    """The new consumer sticks too: messages change from unacknowledged to ready and back, and nothing moves."""
    (_, before), *later = recorded("restarted-in-vain")
    ended = later[0][1].at - 1.0
    book = runbook(verify=Verify(patience_s=10.0))
    watched = replace(WATCHED, joined_at=before.at, before=before)
    for _, seen in later:
        watched = judge_recovery(book, seen, watched, age_s=seen.at - ended, now=seen.at)
    assert (watched.after.verdict, watched.after.moved_at) == (Verdict.STUCK, None)


@pytest.mark.parametrize(
    ("depth", "consumers", "good"), [(0, 1, True), (5, 2, True), (6, 2, False), (0, 0, False), (0, None, False)]
)
def test_well_is_few_messages_and_enough_consumers(depth, consumers, good):
    """Consumers that can't be seen don't count."""
    assert is_well(Recovered(max_messages=5 if depth else 0, min_consumers=1), depth, consumers) is good


@pytest.mark.parametrize(("at_least", "verdict"), [(0, Verdict.RECOVERED), (1, None)])
def test_an_empty_queue_without_statistics_is_well_only_where_nobody_is_asked_for(at_least, verdict):
    """Empty from the first look on proves no consumer; `min_consumers: 0` asks for none."""
    book = runbook(recovered=Recovered(min_consumers=at_least))
    assert judge_recovery(book, bare(0), WATCHED, age_s=20.0, now=NOW).after.verdict is verdict


@pytest.mark.parametrize(
    ("moved", "consumers", "at_least", "counts"),
    [
        (-1.0, 1, 1, True), (-119.0, 1, 1, True), (-120.0, 1, 1, False), (-1.0, 0, 1, False), (None, 1, 1, False),
        (-1.0, None, 1, False), (-1.0, None, 0, True), (-1.0, 0, 0, True), (-1.0, 2, 2, True), (-1.0, 3, 2, True),
        (-1.0, 1, 2, False),
    ],
)  # fmt: skip
def test_moving_counts_only_lately_and_with_a_consumer(moved, consumers, at_least, counts):
    """At the end of `within` a queue that moves, with the consumers that it needs, is recovered."""
    watched = replace(WATCHED, after=AfterRestart(moved_at=None if moved is None else NOW + moved), consumers=consumers)
    assert is_moving(runbook(recovered=Recovered(min_consumers=at_least)), watched, NOW) is counts


def test_the_curve_stays_small_and_keeps_its_end():
    """People are shown the depth over the incident, however long it takes."""
    watched = looked(*((20.0 + n, sighting(500 - n)) for n in range(400)))
    assert len(watched.curve) <= CURVE_POINTS
    assert watched.curve[-1] == (NOW + 419.0, 101)
    assert list(watched.curve) == sorted(watched.curve)


def test_the_curve_begins_with_what_the_broker_kept():
    """At most two minutes of it, dated by our clock though the broker's is 40 s behind; then each look, once."""
    kept = tuple((NOW - 40.0 - 5.0 * back, 100 + back) for back in range(30, -1, -1))
    seen = replace(sighting(50), depth_samples=kept)
    first = judge_health(SYMPTOM, seen, WATCHED, NOW)[2]
    assert first.curve == (*((NOW - 5.0 * back, 100 + back) for back in range(23, 0, -1)), (NOW, 50))
    assert judge_health(SYMPTOM, replace(seen, depth=60), first, NOW + 1)[2].curve == first.curve
    later = judge_health(SYMPTOM, replace(seen, at=NOW + 15, depth=40), first, NOW + 15)[2]
    assert later.curve == (*first.curve, (NOW + 15, 40))
    assert judge_health(SYMPTOM, bare(50), WATCHED, NOW)[2].curve == ((NOW, 50),)
    behind = judge_health(SYMPTOM, replace(seen, at=NOW - 5, consumers=7), first, NOW)[2]
    assert (behind.consumers, behind.curve[-1]) == (7, (NOW - 5, 50)), "another machine's clock may be behind"


def test_a_full_curve_gives_up_every_other_point_of_its_older_half():
    """What is recent stays as it was."""
    points = tuple((NOW + n, n) for n in range(CURVE_POINTS))
    full = replace(WATCHED, curve=points[:-1])
    assert judge_health(SYMPTOM, bare(119, NOW + 119), full, NOW)[2].curve == points
    over = judge_health(SYMPTOM, bare(120, NOW + 120), replace(WATCHED, curve=points), NOW)[2].curve
    assert over == (*points[:60:2], *points[60:], (NOW + 120, 120))


def test_movement_is_dated_to_the_look_before_it_on_one_clock():
    """Two machines look, the second one's clock 45 s ahead: what moved between is as old as the first look, not younger."""
    first = judge_recovery(BOOK, sighting(50, at=NOW), WATCHED, age_s=20.0, now=NOW)
    ahead_at = NOW + 72.0 + 45.0
    second = judge_recovery(BOOK, sighting(40, at=ahead_at), first, age_s=92.0, now=ahead_at, ahead_s=-45.0)
    assert second.after.moved_at == NOW
    assert not is_moving(BOOK, second, NOW + BOOK.verify.patience_s)


@pytest.mark.parametrize("behind_s", [0.0, 5.0])
def test_figures_of_before_the_end_do_not_count_however_long_the_process_took(behind_s):
    """I5: a process was frozen between its look and its step, and the restart ended in between."""
    before_the_end = replace(sighting(0, at=NOW - 25.0, ids=NEW), behind_s=behind_s)
    assert judge_recovery(BOOK, before_the_end, WATCHED, age_s=20.0, now=NOW) == WATCHED
    after_the_end = replace(before_the_end, at=NOW - 5.0)
    assert judge_recovery(BOOK, after_the_end, WATCHED, age_s=20.0, now=NOW).after.well_at is not None


def test_a_sample_that_is_shown_again_is_no_second_check_whatever_the_clocks_say():
    """I5: another machine, whose clock is 45 s ahead, sees the sample of the first check; Rundeck's clock can't be read."""
    shown = replace(sighting(0, at=NOW, ids=NEW), behind_s=5.0)
    first = judge_recovery(BOOK, shown, WATCHED, age_s=30.0, now=NOW)
    assert first.after.well_at is not None
    assert judge_recovery(BOOK, replace(shown, at=NOW + 45.0), first, age_s=75.0, now=NOW + 45.0) == first
    newer = replace(shown, at=NOW + 60.0, depth_samples=((NOW + 15.0, 0),))
    assert judge_recovery(BOOK, newer, first, age_s=90.0, now=NOW + 60.0).after.looked_at != first.after.looked_at
