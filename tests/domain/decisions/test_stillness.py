"""What a queue's samples say of the times in which it stood still, and the `for` that follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.adapters.symptoms.rabbitmq.answers import sighting
from functions.domain.decisions.health import judge_health
from functions.domain.decisions.stillness import History, Stillness, healed_of, propose_for, read_history, restart_times
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import Execution, QueueSnapshot
from functions.domain.model.runbooks import Symptom

RECORDINGS = Path(__file__).parents[2] / "recordings" / "rabbitmq"


def snapshot(depths: str, done: str = "", step_s: int = 5) -> QueueSnapshot:
    """Samples from 1,000 on."""
    rows = [tuple((1000.0 + step_s * place, int(value)) for place, value in enumerate(row.split())) for row in (depths, done)]
    return QueueSnapshot(rows[0][-1][0], rows[0][-1][1], 0, 0, ack_samples=rows[1], depth_samples=rows[0])


def found(seen: QueueSnapshot, *restarts: tuple[float, float], max_messages: int = 0) -> list[tuple[float, float, bool]]:
    history = read_history(seen, max_messages, restarts)
    assert history is not None
    return [(one.began_at, one.lasted_s, one.healed) for one in history.stillnesses]


@pytest.mark.parametrize(
    ("depths", "done", "expected"),
    [
        pytest.param("5 5 5 5 5", "1 2 3 4 5", [], id="busy, always as deep"),
        pytest.param("0 0 0 0 0", "1 1 1 1 1", [], id="idle"),
        pytest.param("5 5 5 5 5 5", "1 2 2 2 3 4", [(1005, 10, True)], id="still between two acknowledgements"),
        pytest.param("0 5 5 5 5 3", "1 1 1 1 2 3", [(1005, 10, True)], id="from the first message on"),
        pytest.param("5 5 5 5 0 0", "1 2 2 2 2 2", [(1005, 10, True)], id="until it is empty"),
        pytest.param("5 5 5 5 5 5", "1 2 2 2 2 2", [(1005, 20, False)], id="still, and still so"),
        pytest.param("0 5 0 0 7 0 0", "1 1 2 2 2 3 3", [], id="shorter than a sample"),
        pytest.param("5 5 0 5 5 5", "1 2 0 2 2 3", [(1005, 15, True)], id="a gap is no movement"),
        pytest.param("9 9 9 8 8 8 7", "", [(1000, 10, True), (1015, 10, True)], id="without a counter the depth tells"),
        pytest.param("5 5 7 7 7 4", "", [(1000, 20, True)], id="a depth that rises is no movement"),
        pytest.param("5 5 5 5 5 5", "9 9 9 1 1 2", [(1000, 20, True)], id="a counter that began anew is no movement"),
        pytest.param("5 5 5 5", "2 2 2 3", [(1000, 10, True)], id="still from the first sample on"),
        pytest.param("0 0 0 5", "1 1 1 1", [(1015, 0, False)], id="just come"),
        pytest.param("0 0 1 1", "1 1 1 1", [(1010, 5, False)], id="a single message"),
        pytest.param("5 5 5 5", "998 998 999 999", [(1000, 5, True), (1010, 5, False)], id="twice"),
    ],
)
def test_a_queue_stands_still_where_messages_wait_and_nothing_is_acknowledged(depths, done, expected):
    """When it began, for how long at least, and whether it ended by itself."""
    assert found(snapshot(depths, done)) == expected


def test_below_the_limit_nothing_waits():
    """As for the restart: `max_messages` may be there."""
    seen = snapshot("5 5 5 5 5 5", "1 2 2 2 2 3")
    assert found(seen, max_messages=5) == found(seen, max_messages=6) == []
    assert found(seen, max_messages=4) == [(1005.0, 15.0, True)]


@pytest.mark.parametrize(("before", "began_at"), [(3, 1005.0), (4, 1005.0), (5, 1000.0), (6, 1000.0)])
def test_it_stands_still_from_the_first_sample_over_the_limit(before, began_at):
    """Which is the one before, if that was over it as well."""
    assert found(snapshot(f"{before} 9 9 9 9", "1 1 1 1 2"), max_messages=4)[0][0] == began_at


@pytest.mark.parametrize(("gap_s", "expected"), [(37.5, [(0.0, 82.5)]), (38.0, [(53.0, 30.0)])])
def test_one_sample_may_be_missing(gap_s, expected):
    """Two and a half steps are still one stillness, more are two, of which the first has no end that anybody saw."""
    times = (0.0, 15.0, gap_s + 15.0, gap_s + 30.0, gap_s + 45.0)
    seen = QueueSnapshot(times[-1], 5, depth_samples=tuple((at, 5) for at in times), ack_samples=tuple((at, 1) for at in times))
    history = read_history(seen, 0, [])
    assert history is not None
    assert [(one.began_at, one.lasted_s) for one in history.stillnesses] == expected


def test_a_stillness_may_be_as_short_as_the_samples_show():
    """Some systems are asked each second."""
    assert found(snapshot("5 5 5 5", "1 2 2 3", step_s=1)) == [(1001.0, 1.0, True)]


def test_three_samples_are_a_history():
    """It says since when it reaches, and how far its samples are apart."""
    history = read_history(snapshot("5 5 5", "1 1 1"), 0, [])
    assert history == History(1000.0, 5.0, (Stillness(1000.0, 10.0, 5.0, ended=False),))
    assert read_history(snapshot("5 5", "1 1"), 0, []) is None


def test_samples_of_which_only_one_kind_is_there_tell_nothing():
    """The broker's two rows may begin and end a sample apart."""
    seen = snapshot("5 5 5 5 5 5", "1 2 3 4 5 6")
    assert found(QueueSnapshot(1025.0, 5, 0, 5, ack_samples=seen.ack_samples[1:-1], depth_samples=seen.depth_samples)) == []


def test_without_samples_there_is_no_history():
    """The broker's statistics may be off."""
    assert read_history(QueueSnapshot(1000.0, 5, 5, 0), 0, []) is None


def test_a_time_without_samples_is_no_stillness():
    """Prometheus was down: nobody knows whether anything was acknowledged."""
    depths = tuple((at, 5) for at in (0.0, 15.0, 30.0, 300.0, 315.0, 330.0))
    done = tuple((at, 1) for at, _ in depths)
    history = read_history(QueueSnapshot(330.0, 5, ack_samples=done, depth_samples=depths), 0, [])
    assert history is not None
    assert [(one.began_at, one.lasted_s, one.ended) for one in history.stillnesses] == [(300.0, 30.0, False)]


def test_what_a_restart_ended_did_not_heal_by_itself():
    """Neither Unstick's restarts nor those by hand make `for` longer; one long before or after does not count."""
    seen = snapshot("5 5 5 5 5 5 5 5", "1 2 2 2 2 2 3 4")
    assert found(seen) == found(seen, (900.0, 910.0)) == found(seen, (1200.0, 1210.0)) == [(1005.0, 20.0, True)]
    assert found(seen, (1020.0, 1023.0)) == [(1005.0, 20.0, False)]
    assert found(seen, (800.0, 1015.0)) == [(1005.0, 20.0, False)]


@pytest.mark.parametrize(
    ("began", "ended", "healed"),
    [(1040.0, 1050.0, False), (1040.5, 1050.0, True), (980.0, 995.0, False), (980.0, 994.5, True), (990.0, 1050.0, False)],
)
def test_a_restart_within_ten_seconds_of_a_stillness_may_have_ended_it(began, ended, healed):
    """Clocks differ, and the stillness may have lasted until the next sample."""
    assert found(snapshot("5 5 5 5 5 5 5 5", "1 2 2 2 2 2 3 4"), (100.0, 110.0), (began, ended)) == [(1005.0, 20.0, healed)]


def test_restarts_are_dated_by_our_clock_and_refused_ones_are_none():
    """The runner's clock may be ahead; a run that still runs does so until now."""
    ran = Execution("1", "", "succeeded", 1060.0, 1070.0)
    late = Execution("2", "", "failed", 1100.0, 1101.0, runner_not_after=1090.0)
    running = Execution("3", "", "running", 1200.0)
    assert restart_times([ran, late, running], 60.0, 1150.0) == [(1000.0, 1010.0), (1140.0, 1150.0)]
    assert restart_times([Execution("4", "", "running", None)], 60.0, 1150.0) == []


def test_the_finer_samples_tell_where_two_histories_overlap():
    """A minute's samples make a stillness of 25 s look like one of minutes."""
    fine = History(3000.0, 5.0, (Stillness(3100.0, 25.0, 5.0, ended=True),))
    coarse = History(0.0, 60.0, (Stillness(600.0, 60.0, 60.0, ended=True), Stillness(3060.0, 120.0, 60.0, ended=True)))
    assert [one.began_at for one in healed_of([fine, coarse])] == [600.0, 3100.0]
    assert propose_for(healed_of([fine])) == 40.0


def test_what_healed_is_listed_by_how_long_for_has_to_be():
    """The longest first. What began where the finer samples begin is theirs, and what a restart ended is nobody's."""
    fine = History(3000.0, 5.0, (Stillness(3100.0, 25.0, 5.0, ended=True), Stillness(3200.0, 90.0, 5.0, ended=True)))
    lasts = (Stillness(2000.0, 9.0, 60.0, ended=False), Stillness(2100.0, 9.0, 60.0, ended=True, restarted=True))
    coarse = History(0.0, 60.0, (*lasts, Stillness(2999.0, 0.0, 60.0, ended=True), Stillness(3000.0, 0.0, 60.0, ended=True)))
    assert [one.began_at for one in healed_of([coarse, fine])] == [2999.0, 3200.0, 3100.0]
    assert [one.began_at for one in healed_of([replace(coarse, step_s=5.0), fine])] == [2999.0, 3000.0, 3200.0, 3100.0]


@pytest.mark.parametrize(
    ("lasted_s", "step_s", "proposed_s"),
    [
        (0.0, 5.0, 30.0),
        (20.0, 5.0, 30.0),
        (20.5, 5.0, 40.0),
        (25.0, 5.0, 40.0),
        (45.0, 5.0, 60.0),
        (290.0, 5.0, 300.0),
        (291.0, 5.0, 360.0),
        (300.0, 15.0, 360.0),
        (3500.0, 60.0, 3660.0),
    ],
)
def test_the_proposal_is_longer_than_what_healed(lasted_s, step_s, proposed_s):
    """Two samples more, rounded up; never under half a minute."""
    assert propose_for([Stillness(0.0, lasted_s, step_s, ended=True)] if lasted_s else []) == proposed_s


@pytest.mark.parametrize(
    ("name", "proposed_s"), [("slow-consumer", 30.0), ("bursts", 30.0), ("deployment", 50.0), ("long-job", 160.0), ("busy", 30.0)]
)
def test_with_the_proposal_a_recorded_healthy_application_is_never_restarted(name, proposed_s):
    """On what a real broker kept of it; and not much longer than it must be."""
    case = json.loads((RECORDINGS / f"{name}.json").read_text())
    queue = to_queue("/", name)
    looks = [sighting(queue, one["totals"], one["page"], at=one["at"]) for one in case["looks"]]
    histories = [history for seen in looks if (history := read_history(seen, 0, []))]
    for_s = propose_for([one for history in histories for one in history.stillnesses if one.healed])
    watched = QueueState(queue, "mail", 0.0)
    symptom = Symptom("rabbitmq", for_s=for_s)
    assert Health.ILL not in [judge_health(symptom, seen, watched, seen.at)[0] for seen in looks]
    assert for_s == proposed_s
