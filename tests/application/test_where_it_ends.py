"""What docs/guarantees.md says under "Where it ends", tried: a history that was wiped, and two deployments on one target."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from functions.adapters.schedulers.cloud_tasks import ENDPOINT
from testbed.doubles.cloud_storage import cloud_storage
from testbed.doubles.cloud_tasks import CloudTasks
from testbed.patience import wait_until
from testbed.unstick_process import ENDED_WITHIN_S, job_id
from tests.support.worlds.one_machine import Place

pytestmark = pytest.mark.usefixtures("patient_code")


def wiped(place: Place) -> None:
    """Somebody deletes all executions of Rundeck."""
    with place.rundeck.state.lock:
        place.rundeck.state.runs.clear()


def all_delivered(place: Place) -> None:
    for payload in place.wake_ups():
        place.delivered(payload)


# --- a wiped Rundeck history -------------------------------------------------------------------------------------------


def test_a_history_wiped_after_the_outcome_restarts_nothing_for_the_same_alert(place):
    """The document remembers what the alert came to."""
    began_at = time.time() - 60.0
    place.alerted(starts_at=began_at)
    place.until_told(lambda: all_delivered(place))
    posts = len(place.rundeck.posts())
    wiped(place)
    place.rabbit.queue("mail.delivery").set(ready=5, unacked=1)
    place.alerted(starts_at=began_at - place.moved_s)
    assert len(place.rundeck.posts()) == posts == 1


def test_a_history_wiped_while_the_restart_is_verified_changes_nothing(place):
    """Its end is known, and the queue is what is looked at."""
    place.alerted()
    place.later(5.0)
    all_delivered(place)
    wiped(place)
    place.until_told(lambda: all_delivered(place))
    assert len(place.rundeck.posts()) == 1
    assert "recovered" in place.cards()


# --- two deployments on one target -------------------------------------------------------------------------------------


def deployed(place: Place, name: str) -> None:
    """Turn to the deployment with this name: the same configuration, a store of its own."""
    folder = place.folder / name
    folder.mkdir(exist_ok=True)
    local = {"local": {"path": str(folder / "unstick.db")}}
    place.configured(store=local, scheduler=local)


def test_a_second_deployment_goes_on_from_the_first_ones_restart(place):
    """Grafana notifies both: the later one finds the run in Rundeck's history and verifies it."""
    place.rundeck.state.jobs[job_id("mail")].duration_s = 1.5
    place.alerted()
    deployed(place, "second")
    place.alerted()
    assert len(place.rundeck.posts()) == 1
    assert "is already being restarted" in place.cards()


# --- from one machine to Google Cloud ----------------------------------------------------------------------------------


def moved_to_google_cloud(place: Place, tasks: CloudTasks) -> Callable[[], None]:
    """Turn to a deployment there, which has nothing of the machine's file; and what delivers its wake-ups."""
    queue = {"queue": tasks.queue, "url": "http://127.0.0.1:9/", "service_account": "tasks@p.iam.gserviceaccount.com"}
    place.configured(store={"cloud_storage": {"bucket": "bucket-one"}}, scheduler={"cloud_tasks": queue})

    delivered: set[str] = set()

    def deliver() -> None:
        now = datetime.now(UTC).isoformat()
        for task in [sent["task"] for _, sent in tasks.calls if sent["task"]["scheduleTime"] <= now]:
            body = task["httpRequest"]["body"]
            if body not in delivered:
                delivered.add(body)
                assert place.delivered(json.loads(base64.b64decode(body))["wake"])[0] == 200

    return deliver


@pytest.mark.long
def test_an_incident_that_is_open_on_the_machine_ends_there_and_is_restarted_once(place, monkeypatch):
    """Grafana is turned to Google Cloud while the restart runs: that deployment adopts it from Rundeck's history, the machine
    goes on to its end, and both say that the queue recovered.
    """
    place.rundeck.state.jobs[job_id("mail")].duration_s = 1.5
    place.alerted()
    with cloud_storage("bucket-one") as url, CloudTasks() as tasks:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv(ENDPOINT, tasks.endpoint)
        deliver = moved_to_google_cloud(place, tasks)
        place.alerted()
        assert "is already being restarted" in place.cards()
        wait_until(lambda: deliver() or place.cards().count("mail recovered") == 1, within_s=ENDED_WITHIN_S)
        place.configured()
        place.until_told(lambda: all_delivered(place))
    assert len(place.rundeck.posts()) == 1
    assert place.cards().count("mail recovered") == 2
