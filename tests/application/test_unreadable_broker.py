"""A RabbitMQ that answers late, not in full or not at all: nothing is decided by chance, and people are told why."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from functions.application import observe
from tests.support.doubles.certificates import Authority
from tests.support.unstick_process import runbook
from tests.support.worlds.one_machine import Place, stuck

MINUTE = {"rabbitmq": {"vhost": "${labels.vhost}", "queue": "${labels.queue}", "for": "60s"}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    with stuck(tmp_path, monkeypatch, capsys) as made:
        made.configured(runbook("mail", symptom=MINUTE), runbook("post", symptom=MINUTE))
        yield made


@pytest.fixture
def tls_of_erlang() -> Iterator[int]:
    """A port that answers plain HTTP as the TLS of RabbitMQ 3.10 does (measured): by an alert."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    with line:
                        line.recv(1000)
                        line.sendall(b"\x15\x03\x01\x00\x02\x02\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def said(place: Place) -> str:
    """What people have read, on one line."""
    return " ".join(place.cards().split())


def suspected(place: Place, *services: str) -> None:
    place.alerted(*services, unstick="suspicion")


def all_delivered(place: Place) -> None:
    for payload in place.wake_ups():
        place.delivered(payload)


@pytest.mark.parametrize(
    ("slow", "why"),
    [
        ("page", "the queue's page can't be read: 127.0.0.1 did not answer within"),
        ("channels", "the consumers' channels can't be read: 127.0.0.1 did not answer within"),
        ("totals", "rabbitmq: "),
    ],
)
def test_a_slow_answer_decides_nothing_and_is_told_within_a_minute(
    place: Place, monkeypatch: pytest.MonkeyPatch, slow: str, why: str
) -> None:
    """Twelve seconds for one of the answers: neither is the stuck queue restarted by chance, nor the healthy one."""
    monkeypatch.setattr(observe, "LOOK_S", 3.0)
    place.rabbit.broken[slow] = 12.0
    healthy = place.rabbit.queue("post.delivery")
    healthy.history = [(time.time() - 3600 + n, 5, 1, n) for n in range(7200)]
    place.alerted("mail", "post")
    for _ in range(4):
        place.later(15.0)
        all_delivered(place)
    assert place.restarts() == 0
    assert f"mail.delivery: {why}" in said(place)


@pytest.mark.long
def test_a_page_of_twelve_seconds_in_real_time(place: Place) -> None:
    """With the time that a wake-up really gives."""
    place.rabbit.broken["page"] = 12.0
    place.alerted("mail")
    for _ in range(4):
        place.later(15.0)
        all_delivered(place)
    assert place.restarts() == 0
    assert "mail.delivery: the queue's page can't be read" in said(place)


@pytest.mark.parametrize("trouble", ["no ca", "another ca", "no such ca", "wrong host", "http", "https"])
def test_a_wrong_transport_is_told_at_once_with_its_remedy(
    place: Place, tmp_path: Path, tls_of_erlang: int, trouble: str
) -> None:
    """Waiting does not help, also for a suspicion."""
    ours, other = Authority(tmp_path), Authority(tmp_path, "Other Root")
    server, name = place.rabbit._server, "rabbit.example.com" if trouble == "wrong host" else "127.0.0.1"
    url = f"https://127.0.0.1:{server.server_address[1]}"
    if trouble == "http":
        url = f"http://127.0.0.1:{tls_of_erlang}"
    elif trouble != "https":
        server.socket = ours.server(name).wrap_socket(server.socket, server_side=True)
    ca = {"another ca": str(other.ca), "wrong host": str(ours.ca), "no such ca": "/nowhere/ca.pem"}.get(trouble, "")
    rabbitmq = {"url": url, "user": "unstick", "password": "env://RABBITMQ_PASSWORD", "ca": ca}
    place.configured(runbook("mail", symptom=MINUTE), rabbitmq=rabbitmq)
    suspected(place, "mail")
    all_delivered(place)
    cards = said(place)
    remedy = {
        "wrong host": "Use a name or address in `url` that the certificate has.",
        "http": "It speaks TLS: set `url` to https://.",
        "https": "It speaks plain HTTP: set `url` to http://, or to the port with TLS.",
    }.get(trouble, "Set `ca` (or SSL_CERT_FILE) to the certificates, as PEM, of the authority that signed the server's.")
    assert "the queue's state is unknown" in cards
    assert remedy.replace("`", "") in cards
    assert place.restarts() == 0


@pytest.mark.parametrize("readable", [True, False])
def test_an_alarm_of_the_broker_is_named(place: Place, *, readable: bool) -> None:
    """Publishers are blocked: whoever restarts the consumers should know. Also where the queue can't be judged."""
    body = b'{"status": "failed", "reason": "x", "alarms": [{"node": "rabbit@one", "resource": "memory"}]}'
    place.rabbit.broken["alarms"] = (503, "application/json", body)
    place.rabbit.statistics = readable
    place.alerted("mail")
    all_delivered(place)
    assert place.restarts() == readable
    assert "memory (rabbit@one): publishers are blocked" in said(place)


def test_why_the_queue_can_not_be_read_after_the_restart_is_told(place: Place) -> None:
    """With what to do about it."""
    place.alerted("mail")
    place.rabbit.users["unstick"].password = "another"
    place.later(3600.0)
    all_delivered(place)
    assert place.restarts() == 1
    cards = said(place)
    assert "the queue could not be read; mail.delivery: rabbitmq: the login failed" in cards
    assert "Check user and password" in cards
