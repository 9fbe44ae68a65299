"""infra/rundeck/park.yaml and return.yaml: their scripts, run against brokers, with the options filled in as Rundeck does it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from functions.domain.model.alerts import MOVES
from testbed.broker import HOST, VERSIONS, WITH_SHOVELS, Broker, cluster, consumer
from testbed.patience import wait_until
from tests.support.needs import need_broker
from tests.system.ladder.jobs import FOLDER, grant, run_job, script_of

QUEUES = {"classic": None, "quorum": {"x-queue-type": "quorum"}}


def test_both_jobs_have_one_script() -> None:
    """They differ in their first lines only, where each says its way and what it stops."""
    park, back = (script_of(job) for job in ("park", "return"))
    own = r"(?s)SOURCE, TARGET = .*?(?=\nSHOVEL)|^ *#[^\n]*\n"
    assert re.sub(own, "", park.partition("import ")[2]) == re.sub(own, "", back.partition("import ")[2])


def test_unstick_sends_what_park_declares() -> None:
    """Names are written in two places, and Rundeck refuses an option that its job does not declare."""
    declared = [one["name"] for one in yaml.safe_load((FOLDER / "park.yaml").read_text())[0]["options"]]
    assert set(MOVES) <= set(declared)


class Run:
    """Runs the script of a job on one queue. The application is a process, stopped and started by commands of the test."""

    def __init__(self, made: Broker, folder: Path, queue: str) -> None:
        self.made, self.folder, self.queue = made, folder, queue

    def job(self, name: str, messages: str, *, stop: Sequence[str] = ("true",), **more: Any) -> CompletedProcess[str]:
        options, start = {"vhost": "/", "queue": self.queue, "messages": messages}, ["touch", str(self.folder / "started")]
        return run_job(name, self.made, self.folder, options, stop=stop, start=start, **more)

    @property
    def started(self) -> bool:
        return (self.folder / "started").exists()

    def messages(self, queue: str = "") -> list[str]:
        """All of them in their order, which stay there."""
        found = []
        with self.made.channel() as channel:
            while True:
                method, _, body = channel.basic_get(queue or self.queue)
                if method is None:
                    return found
                found.append(body.decode().removeprefix("message "))

    def shovels(self) -> list[Any]:
        return [one for one in self.made.api("GET", "parameters/shovel") if one["name"] == f"unstick-{self.queue}"]


@pytest.fixture(params=["classic", pytest.param("quorum", marks=pytest.mark.long)])
def run(request: pytest.FixtureRequest, rabbitmq_server: Broker, tmp_path: Path) -> Run:
    """With the account that park.yaml names."""
    grant(rabbitmq_server)
    queue = f"mail.{request.node.name}".replace("[", "-").replace("]", "")
    rabbitmq_server.publish(queue, 6, arguments=QUEUES[request.param])
    return Run(rabbitmq_server, tmp_path, queue)


def test_what_hangs_is_moved_aside_and_brought_back(run: Run) -> None:
    """Nothing is lost, exactly this many are moved, all others keep their order, and the way back ends at the queue's end."""
    with consumer(run.made, run.queue, "stuck-unacked") as held:
        page = f"queues/%2F/{run.queue}"
        wait_until(lambda: run.made.api("GET", page).get("messages_unacknowledged") == 1)
        done = run.job("park", "1", stop=["kill", str(held.pid)])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    counted = f"{run.queue} had 6 and has 5, {run.queue}.parked had 0 and has 1\n"
    assert done.stdout == f"{counted}moved 1 from {run.queue} to {run.queue}.parked\n"
    assert (run.started, run.shovels()) == (True, [])
    assert (run.messages(f"{run.queue}.parked"), run.messages()) == (["0"], ["1", "2", "3", "4", "5"])
    kind = run.made.api("GET", f"queues/%2F/{run.queue}.parked")["type"]
    assert kind == run.made.api("GET", f"queues/%2F/{run.queue}")["type"]
    done = run.job("return", "")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert (run.messages(f"{run.queue}.parked"), run.messages()) == ([], ["1", "2", "3", "4", "5", "0"])


def test_several_are_moved_in_their_order(run: Run) -> None:
    """As many as were held, from the head on, also where the broker shows the shovel late."""
    assert run.job("park", "3", shown_late=True).returncode == 0
    assert (run.messages(f"{run.queue}.parked"), run.messages()) == (["0", "1", "2"], ["3", "4", "5"])


def test_nothing_is_moved_while_a_consumer_is_there(run: Run) -> None:
    """It would hold the messages that hang, and the shovel would take others. The application is started all the same."""
    with consumer(run.made, run.queue, "stuck-unacked"):
        done = run.job("park", "1", limit_s=2)
    assert done.returncode != 0
    assert re.search("waited 2 s in vain|still has a consumer", done.stderr)
    assert (run.started, run.shovels()) == (True, [])
    assert run.messages() == ["0", "1", "2", "3", "4", "5"]


def test_more_than_there_are_moves_nothing(run: Run) -> None:
    """A shovel that is asked for more waits as a consumer for ever."""
    done = run.job("park", "7")
    assert "has 6 messages, so 7 can't be moved" in done.stderr
    assert (run.started, run.shovels(), run.messages()) == (True, [], ["0", "1", "2", "3", "4", "5"])


def test_a_message_that_is_missing_afterwards_is_told(run: Run) -> None:
    """What was there is moved or still there, and the job fails where it is not: here somebody takes one meanwhile."""
    with ThreadPoolExecutor() as pool, run.made.channel() as channel:
        (run.folder / "hold").touch()
        running = pool.submit(run.job, "park", "1", limit_s=10)
        wait_until((run.folder / "begun").exists)
        channel.basic_get(run.queue, auto_ack=True)
        (run.folder / "hold").unlink()
        done = running.result()
    assert done.returncode != 0
    assert f"{run.queue} has the other 5; compare the queues, some are missing" in done.stderr
    assert run.started


@pytest.mark.long
@pytest.mark.parametrize("version", [HOST, *VERSIONS])
@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_killed_broker_loses_no_message(version: str, kind: str, after_s: float, tmp_path: Path) -> None:
    """Killed with the shovel on its way: nothing is lost, no shovel stays, the application is started, and more is reported."""
    need_broker(version)
    with cluster(tmp_path, 1, version=version, plugins=WITH_SHOVELS) as crashing:
        (node,) = crashing.nodes
        grant(node)
        node.publish("mail", 6, arguments=QUEUES[kind])
        run = Run(node, tmp_path, "mail")
        with ThreadPoolExecutor() as pool:
            running = pool.submit(run.job, "park", "2")
            wait_until((tmp_path / "begun").exists)
            time.sleep(after_s)
            crashing.kill(node)
            crashing.start(node)
            done = running.result()
        wait_until(lambda: node.api("GET", "queues/%2F/mail").get("state") == "running")
        parked, left = run.messages("mail.parked"), run.messages()
        assert set(parked) | set(left) == set("012345"), (parked, left, done.stderr)
        assert (run.started, run.shovels()) == (True, [])
        assert (done.returncode, "there may be duplicates" in done.stderr) == (1, True), (parked, left, done.stderr)
        assert left == sorted(left)
