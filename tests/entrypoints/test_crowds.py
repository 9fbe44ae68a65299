"""Crowds of strangers that occupy threads: at the function itself, and behind a real Caddy and nginx with the documented files.

They send well-formed headers, so that only the body can tell that they know no secret, as fast as an honest sender; or a GET
whose body never comes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from socket import create_connection

import pytest

from testbed.doubles.rabbitmq import RabbitDouble
from testbed.doubles.rundeck import Job, Rundeck
from testbed.front import Front
from testbed.unstick_process import MACHINE_TOKEN, Unstick, alert, configuration, job_id, notification, post, runbook, signed
from tests.support.needs import need

THREADS = 4
STRANGERS = 12
BYTES_A_STEP, STEP_S = 7_000, 0.1  # 70 kB/s
TIMEOUT_S = 60.0
LET_IN_S = 2.0
ASKED, MAY_BE_LATE = 5, 1
"""Of five alerts one may take longer: a busy machine may stop a process for seconds. Each must be let in."""


@pytest.fixture(scope="module")
def unstick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unstick]:
    """A served function with four threads."""
    with Rundeck(Job(id=job_id("mail"))) as rundeck, RabbitDouble() as rabbitmq:
        file = configuration(rundeck.url, rabbitmq.url, [runbook("mail")])
        with Unstick(tmp_path_factory.mktemp("crowds"), file, THREADS=str(THREADS)) as served:
            yield served


@pytest.fixture(scope="module", params=["directly", "caddy", "nginx"])
def port(request: pytest.FixtureRequest, unstick: Unstick, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where strangers and Grafana send to."""
    if request.param == "directly":
        yield unstick.port
        return
    need(request.param)
    with Front(request.param, Path(tmp_path_factory.mktemp(request.param)), unstick.port) as front:
        yield front.port


def head(first: str, *fields: str) -> bytes:
    return "\r\n".join([f"{first} HTTP/1.1", "Host: unstick.example.com", *fields, "", ""]).encode()


def forged() -> list[str]:
    return [f"{name}: {'0' * 64 if name.endswith('Signature') else value}" for name, value in signed(b"").items()]


def body_at_70_kb_a_second(port: int, over: threading.Event) -> None:
    """Announces 4 MB, and comes again as soon as it is hung up on."""
    with closing(create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)) as line:
        line.sendall(head("POST /", "Content-Length: 4000000", *forged()))
        while not over.wait(STEP_S):
            line.sendall(b"x" * BYTES_A_STEP)


def body_without_length(port: int, over: threading.Event) -> None:
    """The same in chunks."""
    with closing(create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)) as line:
        line.sendall(head("POST /", "Transfer-Encoding: chunked", *forged()))
        while not over.wait(STEP_S):
            line.sendall(b"%x\r\n" % BYTES_A_STEP + b"x" * BYTES_A_STEP + b"\r\n")


def get_without_its_body(path: str) -> Callable[[int, threading.Event], None]:
    """A GET with a body that never comes; the answer is read, and the connection kept."""

    def send(port: int, over: threading.Event) -> None:
        with closing(create_connection(("127.0.0.1", port), timeout=STEP_S)) as line:
            line.sendall(head(f"GET {path}", "Content-Length: 1000000"))
            while not over.is_set():
                with suppress(TimeoutError):
                    if not line.recv(65536):
                        return
                line.sendall(b"x")

    return send


def silent(port: int, over: threading.Event) -> None:
    """Connects, and says nothing."""
    with closing(create_connection(("127.0.0.1", port), timeout=STEP_S)) as line:
        while not over.is_set():
            with suppress(TimeoutError):
                if not line.recv(1):
                    return


def no_http(port: int, over: threading.Event) -> None:
    """Sends what is no HTTP, and stays."""
    with closing(create_connection(("127.0.0.1", port), timeout=STEP_S)) as line:
        line.sendall(b"\x00\r\n\r\n")
        while not over.wait(STEP_S):
            with suppress(TimeoutError):
                line.recv(65536)


CROWDS: dict[str, tuple[Callable[[int, threading.Event], None], int]] = {
    "bodies at 70 kB/s": (body_at_70_kb_a_second, STRANGERS),
    "bodies at 70 kB/s, in chunks": (body_without_length, STRANGERS),
    "GET /healthz": (get_without_its_body("/healthz"), STRANGERS),
    "GET /approve/": (get_without_its_body("/approve/"), STRANGERS),
    "GET /incidents": (get_without_its_body("/incidents"), STRANGERS),
    "GET /robots.txt": (get_without_its_body("/robots.txt"), STRANGERS),
    "silent": (silent, 50),
    "no HTTP": (no_http, STRANGERS),
}


def keep_coming(send: Callable[[int, threading.Event], None], port: int, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(OSError):
            send(port, over)
        over.wait(0.02)


@contextmanager
def crowded(send: Callable[[int, threading.Event], None], port: int, number: int) -> Iterator[None]:
    """So many strangers keep coming, for a second already."""
    over = threading.Event()
    strangers = [threading.Thread(target=keep_coming, args=(send, port, over)) for _ in range(number)]
    try:
        for stranger in strangers:
            stranger.start()
        time.sleep(1.0)
        yield
    finally:
        over.set()
        for stranger in strangers:
            stranger.join()


@pytest.mark.parametrize("crowd", CROWDS)
def test_an_honest_alert_gets_through_a_crowd(port, crowd):
    """31 kB from Grafana are answered within two seconds while strangers occupy what they can."""
    send, number = CROWDS[crowd]
    took = []
    body = notification(alert("nobody", "nobody.queue", note="x" * 30_000))
    with crowded(send, port, number):
        for _ in range(ASKED):
            began = time.monotonic()
            assert post(f"http://127.0.0.1:{port}/", body, signed(body), timeout_s=TIMEOUT_S)[0] == 200
            took.append(time.monotonic() - began)
    print(f"{crowd}: {sorted(round(one, 2) for one in took)}")
    assert sum(one > LET_IN_S for one in took) <= MAY_BE_LATE


def test_a_slow_honest_alert_gets_through_a_crowd_that_is_faster(port):
    """At 100 kB/s, which is no slower than a line of a megabit, it is not cut off because others send more."""
    body = notification(alert("nobody", "nobody.queue", note="x" * 30_000))
    with crowded(body_at_70_kb_a_second, port, STRANGERS), closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)) as line:
        line.putrequest("POST", "/")
        for name, value in {**signed(body), "Content-Length": str(len(body))}.items():
            line.putheader(name, value)
        line.endheaders(body[:5_000])
        for at in range(5_000, len(body), 5_000):
            time.sleep(0.05)
            line.send(body[at : at + 5_000])
        with line.getresponse() as answer:
            assert answer.status == 200


def test_nginx_with_its_defaults_opens_nothing_to_strangers(unstick, tmp_path):
    """It says `Host: 127.0.0.1` and nothing of whom it forwards: figures take this machine's token all the same."""
    need("nginx")
    with Front("nginx", tmp_path, unstick.port, plain=True) as front:
        for headers, status in (({}, 403), ({"Authorization": f"Bearer {MACHINE_TOKEN}"}, 200)):
            with closing(HTTPConnection("127.0.0.1", front.port, timeout=TIMEOUT_S)) as line:
                line.request("GET", "/metrics", headers=headers)
                with line.getresponse() as answer:
                    assert (answer.status, b"unstick_documents_open" in answer.read()) == (status, status == 200)
