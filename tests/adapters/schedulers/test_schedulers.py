"""Both schedulers keep one contract; then what each does with its own troubles."""

import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import RefreshError, TransportError
from werkzeug import Request, Response

from functions.adapters.schedulers import cloud_tasks, local
from functions.adapters.sqlite import open_file
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.google_cloud import Service
from testbed.doubles.cloud_tasks import CloudTasks
from testbed.patience import PATIENCE_S, wait_until

ACCOUNT = "unstick-tasks@p.iam.gserviceaccount.com"
ELSEWHERE = cloud_tasks.CloudTasks("projects/p/locations/l/queues/q", "https://v.invalid/", ACCOUNT)


@dataclass
class Target:
    """What `verify` is in production: takes payloads, and can be told to fail or to hold."""

    came: list[tuple[float, str]] = field(default_factory=list)
    fail: int = 0
    holds: Callable[[str], bool] = lambda _payload: False
    """Which deliveries end only when `over` is set."""
    over: threading.Event = field(default_factory=threading.Event)

    def deliver(self, payload: str) -> None:
        self.came.append((time.time(), payload))
        if self.holds(payload):
            self.over.wait(2 * PATIENCE_S)
        if self.fail > 0:
            self.fail -= 1
            raise ValueError("not now")

    @property
    def payloads(self) -> list[str]:
        return [payload for _, payload in self.came]

    def wait(self, count: int) -> list[str]:
        return wait_until(lambda: self.payloads, lambda came: len(came) >= count)


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
def cloud_lab(double, httpserver, target) -> Lab:
    def verify(request: Request) -> Response:
        assert request.method == "POST"
        try:
            target.deliver(request.get_json()["wake"])
        except ValueError:
            return Response("", 500)
        return Response("", 200)

    httpserver.expect_request("/verify").respond_with_handler(verify)
    settings = cloud_tasks.CloudTasks(double.queue, httpserver.url_for("/verify"), ACCOUNT)

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


@pytest.mark.parametrize("payload", [".eJx-_0." + "Ab3-_" * 20_000, "配送 'x' \"y\" \\ \n"], ids=["long", "odd"])
def test_what_fails_comes_again(scheduler, payload):
    """To the letter, until it succeeds, and then no more. No log has the payload, which would open `verify`."""
    scheduler.target.fail = 1
    with redirect_stdout(StringIO()) as log:
        scheduler.wake(time.time(), payload)
        assert scheduler.target.wait(2) == [payload] * 2
        time.sleep(0.3)
    assert len(scheduler.target.came) == 2
    assert ("not now" in log.getvalue()) == isinstance(scheduler.scheduler, local.LocalScheduler)
    assert payload[:8] not in log.getvalue()


def test_what_was_not_taken_for_sure_is_unavailable(scheduler):
    """In the time given, so that nothing is saved without a wake-up. To `check` it is a finding with a remedy."""
    scheduler.wake(time.time() + 3600, "before")
    with pytest.raises(Unavailable) as caught:
        scheduler.wake(time.time(), "a", timeout_s=0)
    assert caught.value.late
    scheduler.cut_off()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        scheduler.wake(time.time(), "a", timeout_s=0.3)
    assert time.monotonic() - began < PATIENCE_S / 2
    finding = scheduler.scheduler.check(timeout_s=0.3)[0]
    assert (finding.ok, bool(finding.remedy)) == (False, True)


def test_check_passes_and_leaves_nothing(scheduler):
    """`check` finds nothing wrong with a healthy scheduler and puts nothing in."""
    findings = scheduler.scheduler.check(timeout_s=PATIENCE_S)
    assert findings
    assert {finding.ok for finding in findings} == {True}
    time.sleep(0.3)
    assert scheduler.target.came == []


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
    target.holds = lambda _payload: True
    run()
    for _ in range(2):
        settings.wake(1.0, "a", timeout_s=PATIENCE_S)
        target.wait(1)
    time.sleep(0.3)
    assert len(target.came) == 1
    target.over.set()
    target.wait(2)


def test_at_most_eight_at_once_and_each_target_once(settings, target, run):
    """A pile of wake-ups does not become a pile of threads, and a slow target that is woken twice occupies one place."""
    target.holds = lambda _payload: True
    for number in range(7):
        for at in (1.0, 10.0):
            settings.wake(at, f"{number}", timeout_s=PATIENCE_S)
    run()
    target.wait(7)
    for number in range(7, 12):
        settings.wake(11.0, f"{number}", timeout_s=PATIENCE_S)
    assert len(set(target.wait(8))) == 8
    assert sum(thread.name == "unstick-wake-up" for thread in threading.enumerate()) <= 9  # and the sweep
    time.sleep(0.3)
    assert len(target.came) == 8
    target.over.set()
    assert len(target.wait(19)) == 19


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 1), (2, 4), (6, 60), (5000, 60)])
def test_backoff(settings, target, run, failures, wait_s):
    """After a failure it waits a second, then twice as long each time, up to a minute, without end."""
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    with open_file("test", settings.path, timeout_s=PATIENCE_S) as file:
        file.execute("UPDATE wake_ups SET failures = ?", (failures,))
    target.fail, target.holds, began = 1, lambda _payload: True, time.time()
    running = run()
    target.wait(1)
    running.stop.set()  # it does not come again while the test looks, however slowly that does
    target.over.set()
    wait_until(lambda: rows(settings)[0][2] == failures + 1)
    ((_, at, _, owner, _),) = rows(settings)
    assert owner is None
    assert began + wait_s <= at <= time.time() + wait_s


def test_two_runners_share_the_work(settings, run):
    """Of two runners on one file, one delivers each wake-up, and one sweeps."""
    first, second = Target(), Target()
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


def test_a_file_that_cannot_be_used_is_tried_again(tmp_path, target):
    """A runner that starts before its folder is there says so and begins when it is."""
    settings = local.LocalScheduler(str(tmp_path / "later" / "unstick.db"))
    with redirect_stdout(StringIO()) as log:
        running = Running(settings, target)
        wait_until(lambda: "can't be used" in log.getvalue())
    Path(settings.path).parent.mkdir()
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    target.wait(1)
    running.end()


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


def test_leases_are_renewed_while_work_goes_on(settings, target, run):
    """So that a delivery that takes longer than a lease is not delivered a second time."""
    target.holds = lambda _payload: True
    settings.wake(1.0, "a", timeout_s=PATIENCE_S)
    run()
    target.wait(1)
    ((*_, leased_until),) = rows(settings)
    wait_until(lambda: rows(settings)[0][-1] > leased_until)
    target.over.set()


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


@pytest.mark.parametrize(
    ("place", "said", "remedy"),
    [
        ("none.json", "no usable credentials", "gcloud auth application-default login"),
        (".", "no usable credentials", "GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
def test_without_credentials_the_error_says_how_to_get_some(monkeypatch, tmp_path, place, said, remedy):
    """A machine that was never logged in, and a file that can't be read: neither passes by itself."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / place))
    with pytest.raises(Denied, match=said) as caught:
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize("account", [ACCOUNT, ""])
def test_it_asks_what_googles_own_client_asks(double, account):
    """The same paths, and bodies that say the same: a task with all that Unstick sets, the question of `check`. Without an
    account no token, which would take the right to act as it: the queue gives one.

    The task is due a second later, for clocks that are behind. The double stands for Cloud Tasks as far as Google's own reading
    of its answers goes. Importing Google's client takes a second.
    """
    from google.cloud import tasks_v2
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    settings = cloud_tasks.CloudTasks(double.queue, "https://v.invalid/verify", account)
    settings.wake(1_795_561_678.25, "payload", timeout_s=PATIENCE_S)
    settings.check(timeout_s=PATIENCE_S)
    ours, double.calls = double.calls, []

    place = urlsplit(double.endpoint)
    transport = CloudTasksRestTransport(host=place.netloc, url_scheme=place.scheme, credentials=AnonymousCredentials())
    schedule_time = Timestamp()
    schedule_time.FromMicroseconds(1_795_561_679_250_000)
    task = tasks_v2.Task(
        schedule_time=schedule_time,
        dispatch_deadline=Duration(seconds=600),
        http_request=tasks_v2.HttpRequest(
            url=settings.url,
            http_method=tasks_v2.HttpMethod.POST,
            headers={"Content-Type": "application/json"},
            body=b'{"wake": "payload"}',
            oidc_token=tasks_v2.OidcToken(service_account_email=account, audience=settings.url) if account else None,
        ),
    )
    with tasks_v2.CloudTasksClient(transport=transport) as client:
        assert client.create_task(parent=double.queue, task=task).name.startswith(f"{double.queue}/tasks/")
        queue = client.get_queue(name=double.queue)
    assert (queue.state, queue.retry_config.max_attempts) == (tasks_v2.Queue.State.RUNNING, -1)
    theirs = double.calls
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    assert [sent for _, sent in ours[1:]] == [sent for _, sent in theirs[1:]]
    (task_of_ours, task_of_theirs) = (tasks_v2.Task.from_json(json.dumps(calls[0][1]["task"])) for calls in (ours, theirs))
    assert task_of_ours == task_of_theirs


@pytest.fixture
def account(monkeypatch) -> Credentials:
    """What google.auth.default finds: an account whose tokens are numbered."""

    class Account(Credentials):
        fetched = 0

        def refresh(self, request: Any) -> None:
            self.fetched += 1
            self.token, self.expiry = f"token-{self.fetched}", None

    found = Account()
    monkeypatch.setattr(google.auth, "default", lambda **_: (found, "p"))
    return found


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_token_that_is_no_longer_taken_is_renewed_once(httpserver, account, refused):
    """As Google's clients do it."""
    came = []

    def answer(request: Request) -> Response:
        came.append(request.headers.get("Authorization"))
        return Response("{}", 200 if len(came) > refused else 401)

    httpserver.expect_request("/tasks", method="POST").respond_with_handler(answer)
    service = Service("Cloud Tasks", httpserver.url_for("").rstrip("/"), "NO_STAND_IN", {})
    refusal = nullcontext() if refused < 2 else pytest.raises(Denied, match="answered 401")
    with refusal:
        service.ask("POST", "/tasks", timeout_s=PATIENCE_S)
    assert came == [f"Bearer token-{number + 1}" for number in range(min(refused + 1, 2))]


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
    ("knobs", "ok", "words"),
    [
        ({}, True, "the queue runs"),
        ({"queue_refuse": 403}, None, "roles/cloudtasks.viewer"),
        ({"queue_refuse": 503}, False, "503"),
        ({"queue_body": {"state": "PAUSED"}}, False, "queues resume"),
        ({"queue_body": {"state": "RUNNING", "retryConfig": {"maxAttempts": 5}}}, False, "gives up after 5 attempts"),
        ({"refuse": 404}, False, "There is no such queue"),
    ],
)
def test_check_of_cloud_tasks(cloud_lab, double, knobs, ok, words):
    """`check` tells a paused queue and one that gives up apart, and what it can't see from what is wrong."""
    for name, value in knobs.items():
        setattr(double, name, value)
    (finding,) = cloud_lab.scheduler.check(timeout_s=PATIENCE_S)
    assert (finding.ok, bool(finding.remedy)) == (ok, not ok)
    assert words in f"{finding.detail} {finding.remedy}"


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>sign in</html>"), (200, b"[]"), (204, b""), (302, b""), (200, b'{"name": ""}')]
)
def test_an_answer_that_is_no_task_is_unavailable(monkeypatch, httpserver, status, body):
    """What a proxy answers in Cloud Tasks' place must not pass for a wake-up that was taken."""
    httpserver.expect_request(re.compile(".*")).respond_with_data(body, status=status, headers={"Location": "/elsewhere"})
    monkeypatch.setenv(cloud_tasks.ENDPOINT, httpserver.url_for("").rstrip("/"))
    with pytest.raises(Unavailable, match="Cloud Tasks"):
        ELSEWHERE.wake(1.0, "a", timeout_s=PATIENCE_S)
    assert len(httpserver.log) == 1
