"""I20: runs that end before their commands, tried with all of Unstick on one machine: nothing is started beside a command."""

from collections.abc import Callable

import pytest

from testbed.doubles.rundeck import INCIDENT, Job, Rundeck
from testbed.unstick_process import job_id
from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")

MAX_RUN_S, COMMAND_S = 1800.0, 900.0


@pytest.fixture
def job(place: Place) -> Job:
    """The restart of mail, whose command takes a quarter of an hour, over SSH and without a terminal. It doesn't help."""
    job = place.rundeck.state.jobs[job_id("mail")]
    job.action, job.duration_s, job.nodes = None, COMMAND_S, "tags: consumers"
    return job


def wait(place: Place, seconds: float) -> None:
    """Let time pass, a look a minute."""
    for _ in range(int(seconds / 60.0)):
        place.later(60.0)
        place.swept()


def cut(rundeck: Rundeck) -> None:
    rundeck.state.cut(1)


def restart_server(rundeck: Rundeck) -> None:
    rundeck.state.restart_server()


def retry_late(rundeck: Rundeck) -> None:
    """Rundeck's own time-out and retry. The guard refuses the retry."""
    (job,) = (job for job in rundeck.state.jobs.values() if job.duration_s)
    job.timeout_s, job.retries = 45.0, 1
    rundeck.state.runs[1].ends_at, rundeck.state.runs[1].result = rundeck.state.runs[1].started + 45.0, "timedout"


ENDS = {"failed": cut, "other (incomplete)": restart_server, "failed-with-retry": retry_late}


@pytest.mark.parametrize("status", ENDS)
def test_nothing_is_started_beside_a_command_that_may_still_run(place: Place, job: Job, status: str) -> None:
    """Until `max_run` from the run's start, by nobody: the card says what may still run, where, and how to look."""
    place.alerted()
    place.later(40.0)
    ENDS[status](place.rundeck)
    wait(place, MAX_RUN_S - 120.0)
    said = " ".join(place.cards().split())
    assert place.rundeck.state.runs[1].ended is not None
    assert place.restarts() == 1
    for part in (f"execution 1 ended as {status}", "its command may still run on the job's nodes", "ps -ef"):
        assert part in said
    job.duration_s = 0.0
    wait(place, 300.0)
    assert (place.restarts(), place.rundeck.state.beside) == (2, [])


@pytest.mark.parametrize("end", [cut, lambda rundeck: rundeck.state.finish(1, "failed")], ids=["terminal", "exit status"])
def test_a_command_that_is_over_is_not_waited_for(place: Place, job: Job, end: Callable[[Rundeck], None]) -> None:
    """It ended with its connection, on a terminal; or the executor wrote its exit status."""
    if end is cut:
        place.rundeck.state.attributes["mail-1"] = {"node-executor": "sshj-ssh", "always-set-pty": "true"}
    else:
        job.duration_s, job.results = 0.0, ["failed"]
    place.alerted()
    if end is cut:
        end(place.rundeck)
    job.duration_s = 0.0
    wait(place, 300.0)
    assert (place.restarts(), place.rundeck.state.beside) == (2, [])
    assert "may still run" not in place.cards()


def test_the_next_incident_waits_as_well(place: Place, job: Job) -> None:
    """What people started counts like a run of Unstick's own, for an alert that begins later, too."""
    theirs = place.rundeck.run_by_hand({"service": "mail"}, job_id("mail"))
    theirs.started -= 520.0
    theirs.command_ends -= 520.0
    place.rundeck.state.cut(theirs.id)
    theirs.ended = theirs.started + 120.0
    place.alerted(starts_at=place.now() - 90.0)
    wait(place, 900.0)
    assert place.restarts() == 1
    wait(place, 900.0)
    assert [bool(run.options.get(INCIDENT)) for run in place.rundeck.state.carried_out] == [False, True]
    assert place.rundeck.state.beside == []
