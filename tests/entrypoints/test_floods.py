"""Floods at the door of the function as it is served: gunicorn under functions-framework, with the threads of one core.

docs/security.md has the limits that are tried here and what answers each.
"""

import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from functions.entrypoints.http import BODY_S
from testbed.patience import PATIENCE_S
from testbed.unstick_process import Unstick, alert, notification, post, signed
from tests.entrypoints.conftest import THREADS, forged

MAX_BODY = 8 * 1024 * 1024
TIMEOUT_S = 90.0
"""Longer than any bound here."""

TRIES, LATE = 5, 503
SECONDS_OF_WORK = 5.0
GROWTH_MIB = 36
"""Twice the largest body in two of the threads: it is read in pieces and then put together."""


@pytest.fixture
def still_serves(door: Unstick) -> Iterator[None]:
    """After a flood the next request is answered at once, by the same process."""
    workers = door.workers()
    yield
    began = time.monotonic()
    assert post(door.url, b"{}", {}, timeout_s=TIMEOUT_S)[0] == 401
    assert time.monotonic() - began < PATIENCE_S / 2
    assert door.workers() == workers
    assert "internal error" not in door.output()


pytestmark = pytest.mark.usefixtures("still_serves")


def connected(door: Unstick) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=TIMEOUT_S)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def read_all(line: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionError):
        while chunk := line.recv(65536):
            answer += chunk
    return answer


def told(door: Unstick, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """The answer of the first try in which a busy machine did not send the body too late."""
    for _ in range(TRIES):
        status, said = post(door.url, body, dict(headers), timeout_s=TIMEOUT_S)
        if status != LATE:
            break
    return status, said


def ask(door: Unstick, head: str, *parts: bytes, ends: bool = False) -> int:
    """The status of the first such try."""
    return next((status for _ in range(TRIES) if (status := send(door, head, *parts, ends=ends)) != LATE), LATE)


def send(door: Unstick, head: str, *parts: bytes, ends: bool = False) -> int:
    """Send a request as it stands, part by part, as far as the server takes it; the status, 0 for none. `ends`: and no more
    will come.
    """
    with closing(connected(door)) as line:
        with suppress(OSError):
            for part in (head.encode("latin-1"), *parts):
                line.sendall(part)
            if ends:
                line.shutdown(socket.SHUT_WR)
        return status(read_all(line))


def rss_mib(door: Unstick) -> float:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in door.workers()]
    return sum(pages) * 4096 / 1024**2


def worked_s(door: Unstick) -> float:
    """For how long its workers had the processor."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in door.workers()]
    return sum(int(of[11]) + int(of[12]) for of in fields) / os.sysconf("SC_CLK_TCK")


def head(*headers: str, target: str = "/") -> str:
    return "\r\n".join([f"POST {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""])


@pytest.mark.parametrize(
    ("target", "field", "piece", "answer"),
    [
        ("/", "Content-Length: 1000000", b"x", 503),
        ("/", "Transfer-Encoding: chunked", b"1\r\nx\r\n", 503),
        ("/approve/open", "Content-Length: 1000", b"x", 503),
        ("/robots.txt", "Content-Length: 1000000", b"x", 404),
    ],
    ids=["a length", "chunks", "a form", "a page that is none"],
)
def test_slow_senders_do_not_keep_others_out(door, target, field, piece, answer):
    """One sender for each thread that there is, a byte every half second: hung up on in ten seconds, then others are served."""
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(connected(door))) for _ in range(THREADS)]
        for line in lines:
            line.sendall(head(field, *forged(), target=target).encode())
        began, over = time.monotonic(), threading.Event()

        def drip() -> None:
            while not over.wait(0.5):
                for line in lines:
                    with suppress(OSError):
                        line.sendall(piece)

        with ThreadPoolExecutor(2) as pool:
            pool.submit(drip)
            answered = pool.submit(post, door.url, b"{}", {}, timeout_s=TIMEOUT_S)
            said = answered.exception() or answered.result()[0]
            waited = time.monotonic() - began
            over.set()
        assert said == 401
        assert waited < BODY_S + PATIENCE_S / 2
        assert {status(line.recv(4096)) for line in lines} == {answer}


def test_whoever_does_not_close_keeps_nobody_out(door):
    """Answered and asked to close, they stay; the loop that accepts connections waits for none of them."""
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(connected(door))) for _ in range(20)]
        for line in lines:
            line.sendall(head("Content-Length: 2").encode() + b"{}")
        began = time.monotonic()
        assert {status(line.recv(4096)) for line in lines} == {401}
        assert post(door.url, b"{}", {}, timeout_s=TIMEOUT_S)[0] == 401
        assert time.monotonic() - began < BODY_S


def test_a_body_that_is_announced_as_too_large_is_not_read(door):
    """413 before a byte of it has come."""
    lengths = (MAX_BODY + 1, 10**12)
    for length in lengths * THREADS:  # each thread grows a little with its first request
        assert ask(door, head(f"Content-Length: {length}", *forged()), ends=True) == 413
    before = rss_mib(door)
    for length in lengths * THREADS:
        assert ask(door, head(f"Content-Length: {length}", *forged()), ends=True) == 413
    assert ask(door, head(f"Content-Length: {length}", *forged())) == 413, "also if it could still come"
    assert rss_mib(door) - before < MAX_BODY / 1024**2 / 2


def test_an_endless_chunked_body_is_cut_at_the_limit(door):
    """Without a length: read up to the limit and one byte, never more, and the next one finds the memory free again."""
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    seen = []
    for _ in range(5):
        assert ask(door, head("Transfer-Encoding: chunked", *forged()), *[piece] * (MAX_BODY // 65536 + 16)) in (413, 0)
        seen.append(rss_mib(door))
    assert max(seen[2:]) - min(seen[:2]) < GROWTH_MIB


def test_a_body_that_ends_early_is_refused(door):
    """A sender that hangs up in the middle has sent nothing."""
    assert ask(door, head("Content-Length: 10", *forged()), b"abc", ends=True) == 400
    assert ask(door, head("Transfer-Encoding: chunked", *forged()), b"5\r\nabc", ends=True) == 400


def test_compressed_bodies_are_never_unpacked(door):
    """A bomb of 1 GiB in 1 MB: 415, signed or not, and memory stays as it is."""
    bomb = gzip.compress(b"\0" * 2**24, 9) * 64
    before = rss_mib(door)
    for refused, headers in ((401, {}), (415, signed(bomb))):
        lines = {**headers, "Content-Encoding": "gzip", "Content-Length": str(len(bomb))}
        sent = head(*(f"{name}: {value}" for name, value in lines.items()))
        assert ask(door, sent) == refused, "before a byte of it has come"
        assert ask(door, sent, bomb) == refused
    assert rss_mib(door) - before < GROWTH_MIB


def test_a_notification_of_sixty_thousand_alerts_costs_seconds(door):
    """Grafana's secret is all that it takes. Refused in short."""
    each = ',{"status":"resolved","labels":{"alertname":"%d"},"startsAt":"2026-11-28T10:00:00Z","fingerprint":"%d"}'
    body = ('{"alerts":[' + "".join(each % (number, number) for number in range(60_000))[1:] + "]}").encode()
    before = worked_s(door)
    status, said = post(door.url, body, signed(body), timeout_s=TIMEOUT_S)
    assert worked_s(door) - before < SECONDS_OF_WORK
    assert (status, "Max Alerts" in said["error"]) == (413, True)


def test_no_header_moves_the_path(door):
    """Gunicorn takes SCRIPT_NAME and PATH_INFO from a proxy on this machine; a rule in front for /approve would be passed."""
    for field in ("SCRIPT_NAME: /other", "SCRIPT_NAME: /x", "PATH_INFO: /approve/open"):
        assert ask(door, head(field, "Content-Length: 2", target="/x/approve/open"), b"{}") == 401


def test_a_flood_of_forged_requests_grows_neither_memory_nor_log_nor_threads(door):
    """A thousand forged notifications over 16 connections at once: 401, a line a second in the log, memory flat."""
    body = notification(alert("mail", "mail.delivery"))
    wrong = signed(body) | {"X-Grafana-Alerting-Signature": "0" * 64}
    assert told(door, body, wrong)[0] == 401
    began = time.monotonic()
    before, lines = rss_mib(door), len(door.output().splitlines())
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: told(door, body, wrong)[0], range(1000)))
    grown = len(door.output().splitlines()) - lines
    took = time.monotonic() - began
    assert set(answers) == {401}
    assert rss_mib(door) - before < 4
    assert grown <= took + 2
    threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in door.workers()]
    assert max(threads) <= THREADS + 3  # main, the local scheduler, and one to spare


def test_a_refused_sender_may_go_on_with_the_same_connection(door):
    """Such as Grafana, whose next notification may be right."""
    with closing(HTTPConnection("127.0.0.1", door.port, timeout=TIMEOUT_S)) as line:
        line.connect()
        used = line.sock
        for _ in range(3):
            line.request("POST", "/", b"{}")
            with line.getresponse() as answer:
                assert (answer.status, bool(answer.read())) == (401, True)
        assert line.sock is used
