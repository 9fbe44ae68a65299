"""A CA of one's own and proxies: what a company's network has between Unstick and the systems that it asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.adapters.runners import rundeck
from functions.adapters.symptoms import rabbitmq
from functions.adapters.symptoms.rabbitmq import to_queue
from functions.domain.model.alerts import Target
from functions.runtime import http_client
from functions.runtime.errors import Unavailable
from functions.runtime.secrets import SecretRef
from testbed.doubles.certificates import Authority
from testbed.doubles.proxy import Proxy
from testbed.doubles.rabbitmq import PASSWORD, Queue, RabbitDouble
from testbed.doubles.rundeck import TOKEN, Rundeck
from testbed.looks import look_once
from testbed.patience import PATIENCE_S

QUEUE = to_queue("/", "mail")
Ask = Callable[[str, str], Any]


def ask_rundeck(url: str, ca: str) -> Any:
    """The executions of a job that never ran: ()."""
    settings = rundeck.Rundeck(url, SecretRef("env://RUNDECK_TOKEN"), ca=ca)
    target = Target("t", url, "11111111-1111-4111-8111-111111111111", {"service": "mail"})
    return settings.look(target, since_s=3600, follow=None, tail=False, timeout_s=PATIENCE_S).executions


def ask_rabbitmq(url: str, ca: str) -> Any:
    settings = rabbitmq.RabbitMQ(url, "unstick", SecretRef("env://RABBITMQ_PASSWORD"), ca=ca)
    return look_once(rabbitmq.client.look_all, settings, QUEUE).depth


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNDECK_TOKEN", TOKEN)
    monkeypatch.setenv("RABBITMQ_PASSWORD", PASSWORD)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For TLS and proxies counts what connections have as their time, and the stand-ins need the same processor."""
    monkeypatch.setattr(http_client, "CONNECT_TIMEOUT_S", PATIENCE_S)


@pytest.fixture(params=["rundeck", "rabbitmq"])
def system(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Ask]]:
    """A stand-in, and a question to it."""
    if request.param == "rundeck":
        with Rundeck() as runner:
            yield runner, ask_rundeck
    else:
        with RabbitDouble() as rabbit:
            rabbit.queues["/", "mail"] = Queue(ready=7)
            yield rabbit, ask_rabbitmq


def behind_tls(double: Any, context: ssl.SSLContext, name: str = "127.0.0.1") -> str:
    """Let the stand-in speak TLS. Returns its URL."""
    double._server.socket = context.wrap_socket(double._server.socket, server_side=True)
    return f"https://{name}:{double._server.server_address[1]}"


def test_a_private_ca_is_trusted_by_its_key_in_the_configuration(system: tuple[Any, Ask], tmp_path: Path) -> None:
    double, ask = system
    ours = Authority(tmp_path)
    url = behind_tls(double, ours.server("127.0.0.1"))
    assert ask(url, str(ours.ca)) in ((), 7)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_private_ca_is_trusted_by_the_environment(
    system: tuple[Any, Ask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    double, ask = system
    ours = Authority(tmp_path)
    monkeypatch.setenv(variable, str(ours.ca))
    assert ask(behind_tls(double, ours.server("127.0.0.1")), "") in ((), 7)


def test_the_error_says_why_the_certificate_is_not_trusted(system: tuple[Any, Ask], tmp_path: Path) -> None:
    """Also where another CA is trusted: `ca` replaces the usual ones."""
    double, ask = system
    ours, other = Authority(tmp_path), Authority(tmp_path, "Other Root")
    url = behind_tls(double, ours.server("127.0.0.1"))
    for ca in ("", str(other.ca)):
        with pytest.raises(Unavailable, match=r"the TLS certificate is not trusted \(.*issuer certificate\)"):
            ask(url, ca)


def test_a_certificate_of_another_name_is_not_trusted(system: tuple[Any, Ask], tmp_path: Path) -> None:
    double, ask = system
    ours = Authority(tmp_path)
    url = behind_tls(double, ours.server("rundeck.example.com"))
    with pytest.raises(Unavailable, match=r"is not trusted .*IP address mismatch"):
        ask(url, str(ours.ca))


def test_a_file_of_certificates_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match=r"trusted certificates does not exist: /nowhere/ca\.pem"):
        ask_rundeck("https://127.0.0.1:1", "/nowhere/ca.pem")


# --- proxies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "scheme"), [("HTTPS_PROXY", "https"), ("HTTP_PROXY", "http"), ("ALL_PROXY", "https")])
def test_a_proxy_of_the_environment_is_used(
    system: tuple[Any, Ask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    """HTTPS goes through it by CONNECT, and plain HTTP by forwarding."""
    double, ask = system
    ours = Authority(tmp_path)
    secure = behind_tls(double, ours.server("system.invalid"), "system.invalid") if scheme == "https" else ""
    with Proxy() as proxy:
        monkeypatch.setenv(variable.lower(), proxy.url)
        url = secure or f"http://system.invalid:{double._server.server_address[1]}"
        assert ask(url, str(ours.ca)) in ((), 7)
        assert proxy.asked
        assert all(line.startswith("CONNECT system.invalid:" if secure else "GET http://system.invalid:") for line in proxy.asked)


def test_this_machine_and_the_metadata_server_are_never_asked_through_a_proxy(
    system: tuple[Any, Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would ask its own machine; the metadata server hands out tokens."""
    double, ask = system
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for host in ("127.0.0.1", "localhost"):
            assert ask(f"http://{host}:{double._server.server_address[1]}", "") in ((), 7)
        assert http_client.choose_proxies(f"http://{http_client.METADATA}/", http_client.METADATA) == {}
        assert proxy.asked == []


def test_a_proxy_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"broker\.invalid: through the proxy: connection refused") as caught:
        http_client.request("RabbitMQ", "GET", "https://broker.invalid/", timeout_s=PATIENCE_S)
    assert "hunter2" not in str(caught.value)
