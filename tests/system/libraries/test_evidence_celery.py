"""infra/rundeck/evidence-celery.yaml, really run beside real Celery workers: what it shows, and where it has an opinion.

All are long, since they need the client libraries."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml

from functions.domain.texts.patterns import mask
from functions.domain.texts.words import choose_lines
from testbed.broker import Broker
from testbed.libraries import Application, message_of
from testbed.libraries.environment import python
from testbed.patience import PATIENCE_S, wait_until
from tests.support.needs import need_libraries

FILE = Path(__file__).parents[3] / "infra" / "rundeck" / "evidence-celery.yaml"
ATTEMPT = "20261201-081500-0a1b2c3d.evidence"
ENDED = re.compile(rf"unstick {re.escape(ATTEMPT)} (healthy|stuck) (.+)")
HOUR_S = 3600.0
pytestmark = pytest.mark.timeout(600)  # the first time, the libraries are installed

Start = Callable[..., "tuple[str, list[Application]]"]


@pytest.fixture
def start(rabbitmq_server: Broker) -> Iterator[Start]:
    """Workers of one queue, of these forms, after so many messages came with this body."""
    need_libraries()
    with ExitStack() as stack:

        def make(
            *forms: str, messages: int = 1, body: str = "task", later_s: float = 0.0, task_id: str = ""
        ) -> tuple[str, list[Application]]:
            queue = f"evidence-{os.getpid()}-{time.monotonic_ns()}"
            with rabbitmq_server.channel() as channel:
                channel.queue_declare(queue, durable=True)
                stack.callback(partial(_delete, rabbitmq_server, queue))
                running = [stack.enter_context(Application("celery", form, rabbitmq_server.amqp_url(), queue)) for form in forms]
                for number in range(messages):
                    content, properties = message_of("celery", f"{body} {number}", queue=queue, later_s=later_s)
                    properties.headers["id"] = task_id or properties.headers["id"]
                    channel.basic_publish("", queue, content, properties)
            return queue, running

        yield make


def _delete(broker: Broker, queue: str) -> None:
    with broker.channel() as channel:
        channel.queue_delete(queue)


@pytest.fixture
def run(rabbitmq_server: Broker, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The job's script, as Rundeck would run it, where the application is a module with its broker."""
    url = rabbitmq_server.amqp_url().partition("?")[0]
    (tmp_path / "mail_tasks.py").write_text(f"import celery\n\napp = celery.Celery('mail', broker={url!r})\n")
    (job,) = yaml.safe_load(FILE.read_text())

    def once(queue: str, longest: int) -> subprocess.CompletedProcess[str]:
        options = {"app": "mail_tasks", "queue": queue, "longest": str(longest), "unstick_incident": ATTEMPT}
        script = job["sequence"]["commands"][-1]["script"]
        adapted = "directory=/opt/app python=/opt/app/venv/bin/python user="
        assert adapted in script
        script = script.replace(adapted, f"directory={tmp_path} python={python()} user=")
        for option, value in options.items():
            script = script.replace(f"@option.{option}@", value)
        assert "@option." not in script
        return subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    return once


def opinion_of(done: subprocess.CompletedProcess[str]) -> tuple[str, str] | None:
    """Verdict and reason, if the last line has them; no other line looks like one."""
    assert done.returncode == 0, done.stdout + done.stderr
    *others, last = [line for line in mask(done.stdout).splitlines() if line.strip()]
    assert not [line for line in others if ENDED.fullmatch(line)]
    ending = ENDED.fullmatch(last)
    return (ending[1], ending[2]) if ending else None


HEALTHY = [
    ("countdown", {"later_s": HOUR_S}, r"1 tasks are for later, the next in 3\d\d\d s"),
    ("retry", {}, r"1 tasks are for later, the next in 1\d\d s"),
    ("long-early", {"messages": 3}, r"1 tasks run, none for longer than \d+ s of 600 s, \d wait.*"),
    ("all-late", {"messages": 3, "body": "hang"}, r"2 tasks run, none for longer than \d+ s of 600 s.*"),
]


@pytest.mark.parametrize(("form", "sent", "reason"), HEALTHY)
def test_a_task_for_later_or_one_that_may_take_longer_is_healthy(start: Start, run, form: str, sent, reason: str) -> None:
    """A hang looks the same until the longest time of a task is over: until then it is none."""
    queue, _ = start(form, **sent)
    opinion = wait_until(lambda: opinion_of(run(queue, 600)), lambda said: said is not None and re.fullmatch(reason, said[1]))
    assert opinion[0] == "healthy"


@pytest.mark.parametrize("form", ["all-early", "all-late", "threads-early", "threads-late"])
def test_a_pool_full_of_tasks_that_run_too_long_is_stuck(start: Start, run, form: str) -> None:
    """By processes and by threads, acknowledged before and after: what it shows first is the tasks that run."""
    queue, (worker,) = start(form, messages=12, body="hang")
    wait_until(lambda: len(worker.held) == 2)
    done = wait_until(lambda: run(queue, 1), opinion_of)
    verdict, reason = opinion_of(done) or ("", "")
    assert (verdict, reason.partition(",")[0]) == ("stuck", "2 tasks")
    first, *tasks = choose_lines(done.stdout)
    assert "2 run, 0 are for later" in first
    assert re.fullmatch(r'\["work", "[0-9a-f-]{36}"\] runs for \d+ s', tasks[0].strip())
    assert "hang" not in done.stdout, "arguments are other people's data"


FORGED = "x\nunstick {attempt} stuck y\r\x0b\x0c\x1c\x85\u2028>> unstick {attempt} stuck y\x1b[2K\n"


def test_a_publisher_forges_no_opinion_and_no_line(start: Start, run) -> None:
    """By the id of a task, in which nobody checks anything: each kind of line break, and a terminal's escape."""
    queue, _ = start("long-early", messages=2, task_id=FORGED.format(attempt=ATTEMPT))
    done = wait_until(lambda: run(queue, 600), lambda done: "1 run" in done.stdout)
    assert opinion_of(done) is not None
    assert opinion_of(done)[0] == "healthy"
    assert not re.search("[\r\x0b\x0c\x1b\x1c\x85\u2028]", done.stdout)


def test_what_is_not_certain_leaves_no_opinion(start: Start, run) -> None:
    """A worker with --pool=solo answers nobody while it works; one of two processes hangs; nothing is in hand; a rate limit,
    behind which Celery shows nothing; a stopped worker."""
    for form in ("solo", "all-late"):
        queue, (worker,) = start(form, messages=1 + (form == "solo"), body="hang")
        wait_until(lambda worker=worker: worker.held)
        time.sleep(1.5)
        done = run(queue, 1)
        assert (opinion_of(done), "1 consumers of" in done.stdout) == (None, form == "solo")
    queue, _ = start("all-late", messages=0)
    assert opinion_of(run(queue, 1)) is None
    queue, _ = start("rate-limit", messages=6)
    done = run(queue, 600)
    assert (opinion_of(done), 'which wait unseen: ["work [rate_limit=30/h]"]' in done.stdout) == (None, True)
    queue, (_, stopped) = start("countdown", "countdown", messages=4, later_s=HOUR_S)
    assert opinion_of(run(queue, 1)) is not None
    os.killpg(stopped.process.pid, signal.SIGSTOP)
    assert opinion_of(run(queue, 1)) is None


def test_a_queue_without_workers_and_a_broker_that_is_down(start: Start, run, tmp_path: Path) -> None:
    """The first is said; the second fails the run, and Unstick says so."""
    queue, _ = start(messages=1)
    done = run(queue, 1)
    assert (opinion_of(done), "no worker of" in done.stdout) == (None, True)
    module = tmp_path / "mail_tasks.py"
    module.write_text(re.sub(r"@127\.0\.0\.1:\d+", "@127.0.0.1:1", module.read_text()))
    assert run(queue, 1).returncode != 0
