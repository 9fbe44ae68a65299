"""Both schedulers keep one contract; then what each does with its own troubles."""

import base64
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import RefreshError, TransportError
from msgspec.structs import replace
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from functions.adapters.schedulers import cloud_tasks, local
from functions.adapters.sqlite import open_file
from functions.runtime.errors import Denied, Unavailable
from testbed.doubles.cloud_tasks import CloudTasks
from testbed.patience import MORE_TIME_S, PATIENCE_S, wait_until

ROOT = Path(__file__).parents[3]
ACCOUNT = "unstick-tasks@p.iam.gserviceaccount.com"
ELSEWHERE = cloud_tasks.CloudTasks("projects/p/locations/l/queues/q", "https://v.invalid/", ACCOUNT)


@dataclass
class Target:
    """What `verify` is in production: takes payloads, and can be told to fail or to take its time."""

    came: list[tuple[float, str]] = field(default_factory=list)
    fail: int = 0
    takes_s: dict[str, float] = field(default_factory=dict)
    holds: Callable[[str], bool] = lambda _payload: False
    """Which deliveries end only when `over` is set."""
    over: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def deliver(self, payload: str) -> None:
        with self.changed:
            self.came.append((time.time(), payload))
            fails, self.fail = self.fail > 0, max(0, self.fail - 1)
            self.changed.notify_all()
        time.sleep(self.takes_s.get(payload, 0))
        if self.holds(payload):
            self.over.wait(2 * PATIENCE_S)
        if fails:
            raise ValueError("not now")

    @property
    def payloads(self) -> list[str]:
        return [payload for _, payload in self.came]

    def wait(self, count: int, within_s: float = PATIENCE_S) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.came) >= count, within_s), f"only {self.payloads} came"
        return self.payloads


@dataclass
class Lab:
    """A scheduler, and the target that it delivers to."""

    scheduler: Any
    target: Target
    cut_off: Callable[[], None]

    def wake(self, at: float, payload: str, timeout_s: float = PATIENCE_S) -> None:
        self.scheduler.wake(at, payload, timeout_s=timeout_s)


@dataclass
class Running:
    """The local scheduler's runner on a thread."""

    settings: local.LocalScheduler
    target: Target
    stop: threading.Event = field(default_factory=threading.Event)
    sweeps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        arguments = (self.target.deliver, self.sweep, self.stop)
        self.thread = threading.Thread(target=self.settings.run, args=arguments, daemon=True)
        self.thread.start()

    def sweep(self) -> None:
        self.sweeps.append(time.time())

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def settings(tmp_path) -> local.LocalScheduler:
    return local.LocalScheduler(str(tmp_path / "unstick.db"))


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def run(settings, target) -> Iterator[Callable[[], Running]]:
    running: list[Running] = []

    def start(to: Target = target) -> Running:
        running.append(Running(settings, to))
        return running[-1]

    yield start
    for each in running:
        each.end()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "unstick-wake-up"])


@pytest.fixture(scope="module")
def verify_server() -> Iterator[HTTPServer]:
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def double(monkeypatch) -> Iterator[CloudTasks]:
    with CloudTasks() as service:
        monkeypatch.setenv(cloud_tasks.ENDPOINT, service.endpoint)
        yield service


@pytest.fixture
def local_lab(settings, target, run) -> Iterator[Lab]:
    held: list[sqlite3.Connection] = []

    def lock() -> None:
        held.append(sqlite3.connect(settings.path, isolation_level=None, timeout=PATIENCE_S))
        held[0].execute("BEGIN IMMEDIATE")

    run()
    yield Lab(settings, target, lock)
    for connection in held:
        connection.close()


@pytest.fixture
def cloud_lab(double, verify_server, target) -> Lab:
    def verify(request: Request) -> Response:
        assert request.method == "POST"
        try:
            target.deliver(request.get_json()["wake"])
        except ValueError:
            return Response("", 500)
        return Response("", 200)

    verify_server.clear()
    verify_server.expect_request("/verify").respond_with_handler(verify)
    settings = cloud_tasks.CloudTasks(double.queue, verify_server.url_for("/verify"), ACCOUNT)

    def refuse() -> None:
        double.refuse = 503

    return Lab(settings, target, refuse)


@pytest.fixture(params=["local", "cloud_tasks"])
def scheduler(request) -> Lab:
    lab: Lab = request.getfixturevalue("local_lab" if request.param == "local" else "cloud_lab")
    return lab


def rows(settings: local.LocalScheduler) -> list[tuple[Any, ...]]:
    with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
        return file.execute("SELECT payload, at, failures, owner, leased_until FROM wake_ups ORDER BY id").fetchall()


# --- the contract --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [0.6, 0.0, -5.0, -1_000_000.0], ids=["ahead", "now", "past", "long past"])
def test_delivered_at_or_after_its_time(scheduler, ahead_s):
    """A wake-up comes at its time or a little later, never before; a past time means now.

    A little is 0.3 s, and a second more where the clocks of those who are called may differ, also where another process put it in
    (nothing in this one says so). A busy machine may need several tries.
    """
    precision_s = 0.3 if isinstance(scheduler.scheduler, local.LocalScheduler) else 2.0

    def late_s() -> float:
        asked, before = time.time(), len(scheduler.target.came)
        at = asked + ahead_s
        scheduler.wake(at, f"{asked}")
        scheduler.target.wait(before + 1)
        came_at, payload = scheduler.target.came[before]
        assert payload == f"{asked}"
        assert came_at >= at
        return came_at - max(at, asked)

    wait_until(late_s, lambda late: late < precision_s)


def test_payloads_come_as_they_were(scheduler):
    """Signed texts of any length come back to the letter."""
    payloads = [".eJx-_0." + "Ab3-_" * 20_000, "配送 'x' \"y\" \\ \n", "a"]
    for payload in payloads:
        scheduler.wake(time.time(), payload)
    assert sorted(scheduler.target.wait(3)) == sorted(payloads)


def test_a_later_one_does_not_hold_up_an_earlier_one(scheduler):
    """Deliveries follow the order of their times, not of the calls."""
    now = time.time()
    for payload, ahead_s in (("later", 3600), ("sooner", 0.3)):
        scheduler.wake(now + ahead_s, payload)
    assert scheduler.target.wait(1) == ["sooner"]


def test_what_fails_comes_again(scheduler):
    """A failed delivery is retried until it succeeds, and then no more."""
    scheduler.target.fail = 1
    scheduler.wake(time.time(), "a")
    assert scheduler.target.wait(2) == ["a", "a"]
    time.sleep(0.3)
    assert scheduler.target.payloads == ["a", "a"]


def test_cut_off_is_unavailable(scheduler):
    """A wake-up that was not taken for sure is an error, in the time given, so that nothing is saved without one.

    To `check` it is a finding with a remedy, not an exception.
    """
    scheduler.wake(time.time() + 3600, "before")
    scheduler.cut_off()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        scheduler.wake(time.time(), "a", timeout_s=0.3)
    assert time.monotonic() - began < PATIENCE_S / 2
    finding = scheduler.scheduler.check(timeout_s=0.3)[0]
    assert (finding.ok, bool(finding.remedy)) == (False, True)


def test_no_time_left_is_late(scheduler):
    """A budget that is used up is said as such."""
    with pytest.raises(Unavailable) as caught:
        scheduler.wake(time.time(), "a", timeout_s=0)
    assert caught.value.late


def test_check_passes_and_leaves_nothing(scheduler):
    """`check` finds nothing wrong with a healthy scheduler and puts nothing in."""
    findings = scheduler.scheduler.check(timeout_s=PATIENCE_S)
    assert findings
    assert {finding.ok for finding in findings} == {True}
    time.sleep(0.3)
    assert scheduler.target.came == []


# --- the local one's own troubles ----------------------------------------------------------------------------------


def test_equal_pending_ones_are_merged(settings):
    """Ten notifications for one target make one wake-up; one that is earlier, or more than a second later, stays its own."""
    for _ in range(10):
        settings.wake(1000.0, "a", timeout_s=PATIENCE_S)
    settings.wake(999.5, "a", timeout_s=PATIENCE_S)
    assert [row[1] for row in rows(settings)] == [1000.0]
    settings.wake(1000.1, "a", timeout_s=PATIENCE_S)
    settings.wake(998.0, "a", timeout_s=PATIENCE_S)
    settings.wake(1000.0, "b", timeout_s=PATIENCE_S)
    assert [row[:2] for row in rows(settings)] == [("a", 1000.0), ("a", 1000.1), ("a", 998.0), ("b", 1000.0)]


def test_one_that_is_under_way_takes_no_other_in(settings, target, run):
    """What is being delivered has looked already: a wake-up that is put in meanwhile comes for itself, afterwards."""
    target.takes_s["a"] = 0.4
    run()
    at = time.time()
    settings.wake(at, "a", timeout_s=PATIENCE_S)
    target.wait(1)
    settings.wake(at, "a", timeout_s=PATIENCE_S)
    target.wait(2)
    assert target.came[1][0] - target.came[0][0] >= 0.4


def test_slow_targets_hold_up_nobody(settings, target, run):
    """With seven targets that take their time, each woken twice, an eighth is woken meanwhile."""
    target.holds = lambda payload: payload.startswith("slow")
    for number in range(7):
        for at in (1.0, 10.0):
            settings.wake(at, f"slow-{number}", timeout_s=PATIENCE_S)
    run()
    target.wait(7)
    settings.wake(time.time(), "quick", timeout_s=PATIENCE_S)
    assert target.wait(8)[7] == "quick"
    target.over.set()
    assert len(target.wait(15)) == 15


def test_at_most_eight_at_once(settings, target, run):
    """A pile of wake-ups does not become a pile of threads."""
    target.holds = lambda _payload: True
    for number in range(12):
        settings.wake(1.0, f"{number}", timeout_s=PATIENCE_S)
    run()
    target.wait(8)
    assert sum(thread.name == "unstick-wake-up" for thread in threading.enumerate()) <= 9  # and the sweep
    time.sleep(0.3)
    assert len(target.came) == 8
    target.over.set()
    assert sorted(target.wait(12)) == sorted(f"{number}" for number in range(12))


def test_lists_of_alerts_hold_up_no_incident(settings, target, run):
    """However many lists were there first: incidents are woken before them, and beside them."""
    target.holds = lambda payload: "~" in payload
    for number in range(12):
        settings.wake(1.0, f"1795852536~{number}", timeout_s=PATIENCE_S)
    settings.wake(2.0, "first", timeout_s=PATIENCE_S)
    run()
    target.wait(5)
    settings.wake(3.0, "beside", timeout_s=PATIENCE_S)
    came = target.wait(6)
    assert (came[0], came[5]) == ("first", "beside")
    target.over.set()
    assert len(target.wait(14)) == 14


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (50, 60), (5000, 60)])
def test_backoff(settings, run, failures, wait_s):
    """After a failure it waits a second, then twice as long each time, up to a minute, without end."""
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
        file.execute("UPDATE wake_ups SET failures = ?", (failures,))

    class Once(Target):
        def deliver(self, payload: str) -> None:
            self.over.wait(PATIENCE_S)
            running.stop.set()  # it does not come again while the test looks, however slowly that does
            super().deliver(payload)

    target, began = Once(fail=1), time.time()
    running = run(target)
    target.over.set()
    wait_until(lambda: rows(settings)[0][2] == failures + 1)
    ((_, at, _, owner, _),) = rows(settings)
    assert owner is None
    assert began + wait_s <= at <= time.time() + wait_s


def test_failures_are_logged_without_the_payload(settings, run):
    """What goes wrong is in the log, and a payload, which would open `verify`, is not."""
    settings.wake(1.0, "signed-payload", timeout_s=PATIENCE_S)
    with redirect_stdout(StringIO()) as log:
        run(Target(fail=1))
        wait_until(lambda: "A wake-up failed and will be tried again" in log.getvalue())
    assert "not now" in log.getvalue()
    assert "signed-payload" not in log.getvalue()


def test_two_runners_share_the_work(settings, run):
    """Of two runners on one file, one delivers each wake-up, and one sweeps."""
    first, second = Target(takes_s={f"{n}": 0.02 for n in range(40)}), Target(takes_s={f"{n}": 0.02 for n in range(40)})
    for number in range(40):
        settings.wake(time.time() + 0.3, f"{number}", timeout_s=PATIENCE_S)
    one, other = run(first), run(second)
    wait_until(lambda: not rows(settings))
    assert sorted(first.payloads + second.payloads) == sorted(f"{number}" for number in range(40))
    assert len(wait_until(lambda: one.sweeps + other.sweeps)) == 1


def test_the_sweep_comes_each_minute_and_after_a_jump_of_the_clock(settings, run):
    """Due at the first start, then a minute after the last one, whoever did that; a turn in the far future is none."""
    one = run()
    wait_until(lambda: one.sweeps)
    for next_at, due in ((time.time() + 55, False), (time.time() - 1, True), (time.time() + 5000, True)):
        before = len(one.sweeps)
        with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
            file.execute("UPDATE sweeps SET next_at = ?", (next_at,))
        if due:
            wait_until(lambda before=before: len(one.sweeps) == before + 1)
        else:
            time.sleep(0.3)
            assert len(one.sweeps) == before


def test_stop_is_obeyed_at_once(settings, run):
    """`run` has returned before a delivery that is under way has ended."""
    run().end()
    holding = Target(holds=lambda _payload: True)
    busy = run(holding)
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    holding.wait(1)
    try:
        busy.end()
    finally:
        holding.over.set()


def test_a_file_that_cannot_be_used_is_tried_again(tmp_path, target):
    """A runner that starts before its folder is there says so and begins when it is."""
    settings = local.LocalScheduler(str(tmp_path / "later" / "unstick.db"))
    with redirect_stdout(StringIO()) as log:
        running = Running(settings, target)
        wait_until(lambda: "there is no folder" in log.getvalue())
    Path(settings.path).parent.mkdir()
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    target.wait(1)
    running.end()


DELIVER_FOR_EVER = """
import sys, threading, time
from functions.adapters.schedulers import local

def deliver(payload):
    print(payload, flush=True)
    time.sleep(600)

local.LocalScheduler(sys.argv[1]).run(deliver, lambda: None, threading.Event())
"""


@pytest.mark.long  # it waits for the lease; tests/system/test_workers.py kills all of Unstick by day
def test_after_kill_minus_9_it_comes_again(settings, target, run):
    """I2: a process dies in the middle of a delivery; another delivers again when its lease has ended, without a request."""
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    command = [sys.executable, "-c", DELIVER_FOR_EVER, settings.path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "a\n"
            alive = run()
            time.sleep(0.4)
            assert target.came == []  # it is on lease to a process that lives
            alive.end()
        finally:
            os.kill(process.pid, signal.SIGKILL)
        run()
        assert target.wait(1) == ["a"]
    wait_until(lambda: not rows(settings))


def test_a_lease_that_ran_out_ends_without_a_new_start(settings, target, run):
    """So does one from a clock set back."""
    run()
    settings.wake(time.time() + 3600, "a", timeout_s=PATIENCE_S)
    for leased_until in (time.time() + 1.0, time.time() + 5000):
        with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
            file.execute("UPDATE wake_ups SET at = 1, owner = 'another', leased_until = ?", (leased_until,))
        if leased_until < time.time() + 60:
            target.wait(1)
            assert target.came[0][0] >= leased_until
            wait_until(lambda: not rows(settings))
            settings.wake(time.time() + 3600, "a", timeout_s=PATIENCE_S)
    target.wait(2)


def test_leases_are_renewed_while_work_goes_on(settings, target, run, monkeypatch):
    """A delivery that takes longer than a lease is not delivered a second time. A busy machine needs longer ones to show it."""
    for lease_s in (0.6, 5.0, 15.0):
        monkeypatch.setattr(local, "_LEASE_S", lease_s)
        monkeypatch.setattr(local, "_RENEW_S", lease_s / 4)
        lone, payload = Target(), f"{lease_s}"
        lone.takes_s[payload] = 2.5 * lease_s
        settings.wake(1.0, payload, timeout_s=PATIENCE_S)
        both = run(lone), run(lone)
        lone.wait(1)
        wait_until(lambda: not rows(settings))
        for each in both:
            each.end()
        if lone.payloads == [payload]:
            break
    assert lone.payloads == [payload]


def test_a_wake_up_without_a_thread_waits_for_one(settings, target, run, monkeypatch):
    """The machine gives no more threads for a moment: it is let go, and comes again."""
    monkeypatch.setattr(local, "_backoff_s", lambda _failures: 0.2)
    start, refused = threading.Thread.start, []

    def scarce(self: threading.Thread) -> None:
        if self.name == "unstick-wake-up" and len(refused) < 10:
            refused.append(self)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    for payload in "abcdefgh":
        settings.wake(1.0, payload, timeout_s=PATIENCE_S)
    run()
    assert sorted(target.wait(8)) == list("abcdefgh")
    assert len(refused) == 10


def test_whoever_lost_its_lease_takes_no_other_wake_up_away(settings, target, run):
    """The machine slept through a lease and somebody else delivered; the number is that of another wake-up since."""
    target.holds = lambda _payload: True
    settings.wake(1.0, "slow", timeout_s=PATIENCE_S)
    run()
    target.wait(1)
    with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
        file.execute("UPDATE wake_ups SET at = ?, payload = 'new', owner = NULL, leased_until = 0", (time.time() + 3600,))
    target.over.set()
    wait_until(lambda: not any(thread.name == "unstick-wake-up" for thread in threading.enumerate()))
    assert [row[0] for row in rows(settings)] == ["new"]


# --- Cloud Tasks' own troubles -------------------------------------------------------------------------------------


def test_the_task_is_as_documented(cloud_lab, double):
    """Schedule time, deadline, method, body and OIDC token as Cloud Tasks' reference has them; no name, no second call."""
    at = time.time() + 0.25
    cloud_lab.wake(at, "payload")
    ((path, sent),) = double.calls
    task = sent["task"]
    request = task["httpRequest"]
    assert path == f"/v2/{double.queue}/tasks"
    assert "name" not in task
    assert task["dispatchDeadline"] == "600s"
    assert request["httpMethod"] in ("POST", 1)
    assert json.loads(base64.b64decode(request["body"])) == {"wake": "payload"}
    assert request["headers"] == {"Content-Type": "application/json"}
    assert request["oidcToken"] == {"serviceAccountEmail": ACCOUNT, "audience": cloud_lab.scheduler.url}
    assert double.idle()
    ((_, delivered, status),) = double.deliveries
    assert status == 200
    assert delivered.due == pytest.approx(at + 1.0, abs=0.001), "a second for clocks that are behind"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "projects/P/locations/L/queues/Q"), (401, "which account"), (403, "roles/cloudtasks.enqueuer"),
        (403, "roles/iam.serviceAccountUser"), (404, "scheduler.cloud_tasks.queue"),
    ],
)  # fmt: skip
def test_a_clear_no_is_denied_with_the_remedy(cloud_lab, double, status, remedy):
    """A wrong queue, a missing role and wrong settings are told apart, each with what to do."""
    double.refuse = status
    with pytest.raises(Denied) as caught:
        cloud_lab.wake(time.time(), "payload-of-the-test")
    assert caught.value.status == status
    assert remedy in str(caught.value.remedy)
    assert "payload-of-the-test" not in str(caught.value)
    assert "http" not in str(caught.value)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_server_in_trouble_is_unavailable_and_asked_once(cloud_lab, double, status):
    """Nothing is sent twice behind our back, and the time is the caller's."""
    double.refuse = status
    with pytest.raises(Unavailable):
        cloud_lab.wake(time.time(), "a")
    assert len(double.calls) == 1


def test_no_answer_in_time_is_late_and_a_lost_one_unavailable(cloud_lab, double):
    """A task whose answer does not come, or is lost, may have been taken: Unavailable, and the wake-up comes all the same."""
    double.hang = threading.Event()
    for timeout_s in MORE_TIME_S:
        with pytest.raises(Unavailable) as caught:
            cloud_lab.wake(time.time(), "a", timeout_s=timeout_s)
        assert caught.value.late
        if double.calls:
            break
    double.hang.set()
    assert set(cloud_lab.target.wait(1)) == {"a"}
    double.lose_answers = True
    with pytest.raises(Unavailable):
        cloud_lab.wake(time.time(), "lost")
    wait_until(lambda: "lost" in cloud_lab.target.payloads)


def test_the_endpoint_is_for_loopback_only(monkeypatch, double):
    """A variable of tests must not send payloads elsewhere."""
    monkeypatch.setenv(cloud_tasks.ENDPOINT, "https://tasks.invalid")
    with pytest.raises(Denied, match="not http on a loopback address"):
        cloud_tasks.CloudTasks(double.queue, "http://127.0.0.1:9/", ACCOUNT).wake(1.0, "a", timeout_s=PATIENCE_S)
    assert double.calls == []


@pytest.mark.parametrize(
    ("place", "said", "remedy"),
    [
        ("none.json", "no usable credentials", "gcloud auth application-default login"),
        (".", "the credentials file can't be read", "GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
def test_without_credentials_the_error_says_how_to_get_some(monkeypatch, tmp_path, place, said, remedy):
    """A machine that was never logged in, and a file that can't be read: neither passes by itself."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / place))
    with pytest.raises(Denied, match=said) as caught:
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)
    assert remedy in str(caught.value.remedy)


@pytest.fixture
def googles_own(double) -> Iterator[Any]:
    """Google's client library over REST, which asks the double. Importing it takes a second."""
    from google.cloud import tasks_v2
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport

    place = urlsplit(double.endpoint)
    transport = CloudTasksRestTransport(host=place.netloc, url_scheme=place.scheme, credentials=AnonymousCredentials())
    with tasks_v2.CloudTasksClient(transport=transport) as client:
        yield client


def test_it_asks_what_googles_own_client_asks(double, googles_own):
    """The same paths, and bodies that say the same: a task with all that Unstick sets, both questions of `check`.

    The double stands for Cloud Tasks as far as Google's own reading of its answers goes.
    """
    from google.cloud import tasks_v2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    settings = cloud_tasks.CloudTasks(double.queue, "https://v.invalid/verify", ACCOUNT)
    settings.wake(1_795_561_678.25, "payload", timeout_s=PATIENCE_S)
    settings.check(timeout_s=PATIENCE_S)
    ours, double.calls = double.calls, []

    schedule_time = Timestamp()
    schedule_time.FromMicroseconds(1_795_561_679_250_000)
    task = googles_own.create_task(
        parent=double.queue,
        task=tasks_v2.Task(
            schedule_time=schedule_time,
            dispatch_deadline=Duration(seconds=600),
            http_request=tasks_v2.HttpRequest(
                url=settings.url,
                http_method=tasks_v2.HttpMethod.POST,
                headers={"Content-Type": "application/json"},
                body=b'{"wake": "payload"}',
                oidc_token=tasks_v2.OidcToken(service_account_email=ACCOUNT, audience=settings.url),
            ),
        ),
    )
    asked = {"resource": double.queue, "permissions": ["cloudtasks.tasks.create"]}
    assert list(googles_own.test_iam_permissions(request=asked).permissions) == asked["permissions"]
    queue = googles_own.get_queue(name=double.queue)
    assert task.name.startswith(f"{double.queue}/tasks/")
    assert (queue.state, queue.retry_config.max_attempts) == (tasks_v2.Queue.State.RUNNING, -1)
    assert [path for path, _ in ours] == [path for path, _ in double.calls]
    (_, sent), (_, permissions), (_, nothing) = ours
    assert tasks_v2.Task.from_json(json.dumps(sent["task"])) == tasks_v2.Task.from_json(json.dumps(double.calls[0][1]["task"]))
    assert permissions == double.calls[1][1]
    assert nothing == double.calls[2][1] == {}


class Account(Credentials):
    """An account whose tokens are numbered."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0

    def refresh(self, request: Any) -> None:
        self.fetched += 1
        self.token, self.expiry = f"token-{self.fetched}", None


@pytest.fixture
def account(monkeypatch) -> Account:
    """What google.auth.default finds."""
    default_account = Account()

    def default(*, scopes: list[str]) -> tuple[Account, str]:
        assert scopes == ["https://www.googleapis.com/auth/cloud-platform"]
        return default_account, "p"

    monkeypatch.setattr(google.auth, "default", default)
    return default_account


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_token_that_is_no_longer_taken_is_renewed_once(monkeypatch, httpserver, account, refused):
    """As Google's clients do it; where the new one is not taken either, the error says what to look at."""
    came = []

    def answer(request: Request) -> Response:
        came.append((request.headers.get("Authorization"), request.get_json()["task"]["httpRequest"]["url"]))
        taken = len(came) > refused
        body = {"name": "tasks/1"} if taken else {"error": {"message": "Request had invalid authentication credentials."}}
        return Response(json.dumps(body), 200 if taken else 401, content_type="application/json")

    httpserver.expect_request("/v2/projects/p/locations/l/queues/q/tasks", method="POST").respond_with_handler(answer)
    monkeypatch.setattr(cloud_tasks, "_SERVICE", replace(cloud_tasks._SERVICE, address=httpserver.url_for("").rstrip("/")))
    said = ""
    try:
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)
    except Denied as denied:
        said = f"{denied.status}: {denied.detail}. {denied.remedy}"
    assert came == [(f"Bearer token-{number + 1}", ELSEWHERE.url) for number in range(min(refused + 1, 2))]
    expected = "401: answered 401: Request had invalid authentication credentials.. The access token was not taken."
    assert said.startswith(expected) if refused == 2 else said == ""


def test_a_token_that_does_not_come_is_late_in_time(monkeypatch, account):
    """google-auth asks for a token several times, each with its own time; what we gave is for all of them."""
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def refresh(request: Any) -> None:
            for _ in range(5):
                with suppress(TransportError):
                    request(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", method="GET", timeout=PATIENCE_S)

        monkeypatch.setattr(account, "refresh", refresh)
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            ELSEWHERE.wake(1.0, "a", timeout_s=0.5)
    assert caught.value.late
    assert time.monotonic() - began < PATIENCE_S, "each of the five would wait for a minute"


def test_a_token_that_can_not_be_fetched_now_is_unavailable(monkeypatch, account):
    """A metadata server that is away for a while is no reason to log in anew."""

    def refresh(request: Any) -> None:
        raise RefreshError("no token") from TransportError("503")

    monkeypatch.setattr(account, "refresh", refresh)
    with pytest.raises(Unavailable, match="could not get an access token"):
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)


@pytest.mark.parametrize(
    ("knobs", "oks", "words"),
    [
        ({}, [True, True], "the queue runs"),
        ({"permissions": ()}, [False, True], "roles/cloudtasks.enqueuer"),
        ({"queue_refuse": 403}, [True, None], "roles/cloudtasks.viewer"),
        ({"queue_refuse": 503}, [True, None], "503"),
        ({"queue_body": {"state": "PAUSED"}}, [True, False], "queues resume"),
        ({"queue_body": {"state": "RUNNING", "retryConfig": {"maxAttempts": 5}}}, [True, False], "gives up after 5 attempts"),
        ({"refuse": 404}, [False], "There is no such queue"),
        ({"refuse": 503}, [False], "cloudtasks.googleapis.com"),
    ],
)
def test_check_of_cloud_tasks(cloud_lab, double, knobs, oks, words):
    """`check` tells a missing role, a paused queue and one that gives up apart, and what it can't see from what is wrong."""
    for name, value in knobs.items():
        setattr(double, name, value)
    findings = cloud_lab.scheduler.check(timeout_s=PATIENCE_S)
    assert [finding.ok for finding in findings] == oks
    assert any(words in f"{finding.detail} {finding.remedy}" for finding in findings)
    assert all(finding.remedy for finding in findings if finding.ok is False)


def test_an_account_that_creates_no_wake_ups_is_not_asked_whether_it_may(cloud_lab, double):
    """Of `report`, whose answer says nothing about `webhook` and `verify`."""
    double.permissions = ()
    findings = cloud_lab.scheduler.check(creates=False, timeout_s=PATIENCE_S)
    assert [(finding.ok, finding.detail) for finding in findings] == [(True, "the queue runs")]


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>sign in</html>"), (200, b"{}"), (200, b"[]"), (200, b""), (204, b""), (302, b""), (200, b'{"name": ""}')],
)
def test_an_answer_that_is_no_task_is_unavailable(monkeypatch, httpserver, status, body):
    """What a proxy answers in Cloud Tasks' place must not pass for a wake-up that was taken."""
    httpserver.expect_request(re.compile(".*")).respond_with_data(body, status=status, headers={"Location": "/elsewhere"})
    monkeypatch.setenv(cloud_tasks.ENDPOINT, httpserver.url_for("").rstrip("/"))
    with pytest.raises(Unavailable, match="Cloud Tasks"):
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)
    assert len(httpserver.log) == 1
