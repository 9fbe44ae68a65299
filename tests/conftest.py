"""What every test stands on: nothing kept from the test before, no settings of this machine, no address but loopback."""

import functools
import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from testbed.broker import free_ports
from testbed.patience import PATIENCE_S

hypothesis.settings.register_profile("unstick", deadline=None, print_blob=True, max_examples=30)  # a busy machine is no failure
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("unstick"), max_examples=300)  # `make test-long`
hypothesis.settings.load_profile("unstick")

LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", ""}
MACHINE_SETTINGS = (
    *("UNSTICK_", "GOOGLE_CLOUD_", "STORAGE_EMULATOR_HOST", "K_SERVICE", "LOG_EXECUTION_ID", "NO_COLOR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
)


def _is_here(host: str) -> bool:
    """Whether a host or address is this machine's loopback, or a name that no resolver may know (RFC 6761)."""
    if host.lower() in LOOPBACK_NAMES or host.lower().endswith((".invalid", ".localhost")):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Ends a test that connects, binds or sends to another machine's address, or looks up another machine's name."""
    if event in ("socket.connect", "socket.bind", "socket.sendto"):
        sock, address = arguments
        if getattr(sock, "family", None) not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
            return
        host = address[0]
    elif event == "socket.getaddrinfo":
        host = arguments[0] or ""
    else:
        return
    host = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    if not _is_here(host):
        pytest.fail(f"{event} to {host}: tests may use loopback addresses only", pytrace=True)


sys.addaudithook(_stay_here)


APART = (
    *("tests/system/test_command.py", "tests/system/test_wor", "tests/system/test_waiting", "tests/simulation/"),
    "tests/system/town/test_town.py",
)
"""Tests of these take long each and share nothing, so that any worker may take one. Else a worker takes a whole file."""

WAITS = (
    *("tests/system/town/test_town.py::test_what_happens_to_nodes", "tests/system/prometheus/test_prometheus_real.py"),
    *("tests/system/town/", "tests/system/libraries/"),
    *("tests/system/prometheus/", "tests/system/test_rabbitmq_real.py"),
    *("tests/system/test_", "tests/adapters/schedulers"),
    "tests/system/project/test_first_hour.py",
)
"""What spends most of its time waiting for servers and clocks, the longest first."""

FIRST = (
    *(*WAITS, "tests/system/infra/", "tests/system/browser/", "tests/simulation/"),
    *("tests/adapters/chats/test_chats.py", "tests/config/test_loader.py"),
)
"""What takes long, in the order in which it begins: begun late, it would be what everybody waits for at the end."""

BY_DAY = "not (long or manual)"
"""As in pyproject.toml."""

NIGHT = (
    "tests/entrypoints/test_openapi_generated.py",
    *("tests/system/prometheus/test_prometheus_real.py", "tests/system/prometheus/test_situations.py"),
    "tests/system/libraries/test_evidence_celery.py",
    *("tests/system/town/test_town.py", "tests/system/infra/test_deployment.py"),
)
"""All of their tests are long, marked or not. By day they are not even imported: each worker would spend seconds on that."""

WAITING = 4
"""Workers beyond one for each core, and how many of them all may have of WAITS at a time: the others keep the cores busy."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out NIGHT by day."""
    return True if config.option.markexpr == BY_DAY and collection_path.as_posix().endswith(NIGHT) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark NIGHT as long: a test that was left out by day and not marked would never run."""
    if item.path.as_posix().endswith(NIGHT):
        item.add_marker("long")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is collected stays to the end, so that the garbage collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A single file is done before workers have started, so it gets none."""
    (first, *more) = config.args
    single = not more and Path(first.partition("::")[0]).is_file()
    return 0 if single else (os.cpu_count() or 1) + WAITING


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out a file at a time, or a test of APART, and no more of WAITS at a time than WAITING."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if nodeid.startswith(APART) else nodeid.partition("::")[0]

        def _assign_work_unit(self, node: Any) -> None:
            others = [work for other, work in self.assigned_work.items() if other is not node]
            busy = next((scope for scope in self.workqueue if not scope.startswith(WAITS)), None)
            if busy and sum(map(_has_to_wait, others)) >= WAITING:
                self.workqueue.move_to_end(busy, last=False)
            super()._assign_work_unit(node)

    return Scheduler(config, log)


def _has_to_wait(work: dict[str, dict[str, bool]]) -> bool:
    """Whether a worker has some of WAITS before it. `work`: scope -> test -> whether it is done."""
    return any(scope.startswith(WAITS) and not all(tests.values()) for scope, tests in work.items())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With workers, what takes long comes first. Else the order is random."""
    if hasattr(config, "workerinput"):
        places = {item: next((at for at, file in enumerate(FIRST) if item.nodeid.startswith(file)), len(FIRST)) for item in items}
        items.sort(key=places.__getitem__)


@pytest.fixture(autouse=True)
def _no_machine_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's environment must not change what a test shows."""
    for name in [name for name in os.environ if name.startswith(MACHINE_SETTINGS)]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # monkeypatch: it has to be undone after this
    """Forget what cached builders made: the next test has its own configuration, secrets and connections."""
    yield
    if secret_store := sys.modules.get("functions.runtime.secrets"):
        secret_store.KEPT.clear()
    web = sys.modules.get("functions.runtime.http_client")
    if web and web.adapter.cache_info().currsize:
        web.adapter().close()
    for builder in _builders(len(sys.modules)):
        builder.cache_clear()


@functools.lru_cache(maxsize=1)
def _builders(_modules: int) -> set[Any]:
    """The cached functions of functions/. `_modules`: how many are imported, so that not every test looks through all of them."""
    ours = [module for name, module in list(sys.modules.items()) if name.startswith("functions.")]
    return {value for module in ours for value in vars(module).values() if isinstance(value, type(functools.cache(len)))}


@pytest.fixture
def patient_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each call of the code a minute, whatever is left: for tests with real servers that are not about time."""
    from functions.adapters.symptoms.rabbitmq import client
    from functions.application.ports import Budget
    from functions.entrypoints.people import slack

    monkeypatch.setattr(Budget, "left_s", property(lambda _self: PATIENCE_S))
    monkeypatch.setattr(Budget, "at_most", lambda _self, _seconds: PATIENCE_S)
    monkeypatch.setattr(client, "WHOAMI_S", PATIENCE_S)
    monkeypatch.setattr(slack, "WAKE_S", PATIENCE_S)
    monkeypatch.setattr(slack, "ANSWER_S", PATIENCE_S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Unstick on one machine, with a stuck queue and a scheduler that delivers when the test says so."""
    from tests.support.worlds.one_machine import Place, stuck

    with stuck(tmp_path, monkeypatch, capsys, Place) as stuck_place:
        yield stuck_place


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections, and that nobody else can listen on meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns a port of 127.0.0.1 which nothing listened on a moment ago."""
    return lambda: free_ports(1)[0]
