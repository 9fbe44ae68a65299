"""`suggest-for`: the longest time in which a queue stood still and moved again by itself, and the `for` that follows."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.line import Line
from tests.support.broker import free_ports
from tests.support.needs import need
from tests.support.patience import wait_until
from tests.support.unstick_process import runbook

LATE_S = 120.0
"""What may pass on a busy machine between the figures that a test makes and its look at the clock."""
MAIL = ("--label", "queue=mail.delivery", "--label", "vhost=/", "--label", "service=mail-delivery")


def played(here: Line, *pauses: tuple[float, float]) -> None:
    """Five messages waited all the hour; a message was acknowledged each second but in these pauses (seconds ago, how long)."""
    queue = here.rabbit.queue("mail.delivery")
    queue.history[:] = list(_history(time.time(), pauses))


def _history(now: float, pauses: Iterable[tuple[float, float]]) -> Iterable[tuple[float, int, int]]:
    acks = 0
    for ago in range(3700, -1, -1):
        acks += not any(begin >= ago > begin - lasts for begin, lasts in pauses)
        yield now - ago, 5, acks


def test_the_longest_stillness_is_shown_with_the_for_that_covers_it(here: Line) -> None:
    """A pause of 40 s, five minutes ago: the runbook's 6 s would have restarted the application."""
    played(here, (300.0, 40.0), (100.0, 22.0))
    said = here.run("suggest-for", *MAIL, code=1).output
    assert "mail-delivery, mail.delivery: for is 6 s" in said
    assert re.search(r"5 s +2 times +\d\d s to \d\d s", said)
    assert "→  set for: 50s" in said or "→  set for: 40s" in said


def test_a_for_that_is_long_enough_is_said_to_be(here: Line) -> None:
    """Then the exit code is 0, for a check in CI."""
    here.configured(runbook("mail-delivery", symptom={"rabbitmq": {"for": "2m"}}))
    played(here, (300.0, 40.0))
    answer = here.json("suggest-for", *MAIL)
    (found,) = answer
    (one,) = found["healed"]
    assert 40.0 <= found["suggested_s"] <= 50.0
    assert one["at_least_s"] <= 40.0 <= one["at_most_s"]
    assert time.time() - one["began_at"] < 300.0 + LATE_S
    assert found["left_out"] == []


def test_a_pause_before_the_fine_samples_is_seen_in_the_hours(here: Line) -> None:
    """Half an hour ago only a sample a minute is left, so the suggestion is two minutes longer."""
    here.configured(runbook("mail-delivery", symptom={"rabbitmq": {"for": "30m"}}))
    played(here, (1800.0, 300.0))
    (found,) = here.json("suggest-for", *MAIL)
    assert 300.0 < found["suggested_s"] <= 420.0
    assert [one["step_s"] for one in found["histories"]] == [5.0, 60.0]


def test_what_a_restart_ended_is_left_out(here: Line) -> None:
    """Otherwise each restart would make `for` longer."""
    here.configured(runbook("mail-delivery", symptom={"rabbitmq": {"for": "2m"}}))
    began = time.time()
    played(here, (45.0, 40.0))
    with_all = here.json("suggest-for", *MAIL)[0]
    here.rundeck.run_by_hand({"service": "mail-delivery"})
    (run,) = here.rundeck.state.runs.values()
    run.started = run.ends_at = began - 20.0
    found = here.json("suggest-for", *MAIL)[0]
    assert with_all["healed"]
    assert (found["healed"], len(found["left_out"])) == ([], 1)


def test_where_restarts_are_not_known_it_says_so(here: Line) -> None:
    """Without the label that the job's option needs, nobody can say which runs were this application's."""
    here.configured(runbook("mail-delivery", match=['alertname="RabbitMQQueueStuck"']))
    played(here)
    said = here.run("suggest-for", *MAIL[:4]).output
    assert "restarts are not left out: option service" in said


def test_a_queue_that_stands_still_now_is_not_taken_for_healthy(here: Line) -> None:
    """It may be stuck; whether it moves again by itself is not known yet."""
    played(here, (200.0, 201.0))
    said = here.run("suggest-for", *MAIL).output
    assert "it stands still now, for 3 min" in said


def test_labels_that_name_no_queue_are_refused_with_the_remedy(here: Line) -> None:
    """Exit code 2, as for every argument that can't be used."""
    assert "--label vhost=/" in here.run("suggest-for", "--label", "service=x", code=2).output


# --- with Prometheus -----------------------------------------------------------------------------------------------------

STEP_S, HOURS, PAUSE_S = 15, 30, 450
QUEUE = '{job="rabbitmq",vhost="/",queue="mail.delivery"}'


def figures(now: int) -> Iterator[str]:
    """OpenMetrics: three messages wait for 30 hours, and one is acknowledged every 15 s, but in a pause 20 hours ago."""
    times = range(now - HOURS * 3600, now, STEP_S)
    yield "# TYPE rabbitmq_detailed_queue_messages unknown"
    yield from (f"rabbitmq_detailed_queue_messages{QUEUE} 3 {at}" for at in times)
    yield "# TYPE rabbitmq_detailed_channel_messages_acked_total unknown"
    acked, pause = 0, range(now - 20 * 3600, now - 20 * 3600 + PAUSE_S)
    for at in times:
        acked += at not in pause
        yield f'rabbitmq_detailed_channel_messages_acked_total{QUEUE[:-1]},channel="1"}} {acked} {at}'
    yield "# EOF"


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    need("prometheus")
    (tmp_path / "figures").write_text("\n".join(figures(int(time.time()))) + "\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "figures", "data"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as server:
        try:
            wait_until(lambda: _answers(f"http://{address}/-/ready"))
            yield f"http://{address}"
        finally:
            server.kill()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_with_prometheus_the_pause_of_yesterday_is_seen(here: Line, prometheus: str) -> None:
    """The broker's hour has nothing of it; a real Prometheus has the day in steps of 30 s."""
    here.configured(runbook("mail-delivery", symptom={"rabbitmq": {"for": "10m"}}))
    played(here)
    alone = here.json("suggest-for", *MAIL)[0]
    (found,) = here.json("suggest-for", *MAIL, "--prometheus", prometheus)
    assert (alone["healed"], alone["suggested_s"]) == ([], 30.0)
    assert [one["step_s"] for one in found["histories"]] == [5.0, 60.0, 30.0, 60.0]
    (one,) = found["healed"]
    assert one["at_least_s"] <= PAUSE_S <= one["at_most_s"]
    assert 20 * 3600 - 60 < time.time() - one["began_at"] < 20 * 3600 + LATE_S
    assert PAUSE_S < found["suggested_s"] <= PAUSE_S + 90


def test_a_prometheus_that_does_not_answer_is_named(here: Line) -> None:
    """Exit code 1, as wherever a system can't be asked."""
    played(here)
    assert "prometheus" in here.run("suggest-for", *MAIL, "--prometheus", "http://127.0.0.1:9", code=1).output


def test_a_symptom_of_prometheus_needs_no_other_option(here: Line, prometheus: str) -> None:
    """The configuration's own server and queries tell the hour, the day and the week."""
    symptom = {
        "depth": 'max(rabbitmq_detailed_queue_messages{queue="${labels.queue}"})',
        "done": 'sum(rabbitmq_detailed_channel_messages_acked_total{queue="${labels.queue}"})',
        "for": "10m",
    }
    here.configured(runbook("mail-delivery", symptom={"prometheus": symptom}), prometheus={"url": prometheus})
    (found,) = here.json("suggest-for", *MAIL)
    assert len(found["histories"]) == 4
    assert found["healed"][0]["at_least_s"] <= PAUSE_S <= found["healed"][0]["at_most_s"]
    assert PAUSE_S < found["suggested_s"] <= PAUSE_S + 90
