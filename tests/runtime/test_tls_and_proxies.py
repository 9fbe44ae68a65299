"""A CA of one's own and proxies: what a company's network has between Unstick and the systems that it asks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from functions.runtime import exchange, http_client
from functions.runtime.errors import Unavailable
from testbed.doubles.certificates import Authority
from testbed.doubles.proxy import Proxy
from testbed.patience import PATIENCE_S


def ask(url: str, ca: str = "") -> int:
    return http_client.request("Rundeck", "GET", url, timeout_s=PATIENCE_S, ca=ca).status


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For TLS and proxies counts what connections have as their time, and the stand-ins need the same processor."""
    monkeypatch.setattr(exchange, "CONNECT_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def served(ours: Authority) -> Iterator[Callable[[str, str], str]]:
    """Serves with our CA's certificate for this name; returns the URL with this host."""
    with ExitStack() as stack:

        def serve(name: str, host: str = "127.0.0.1") -> str:
            server = stack.enter_context(HTTPServer(host="127.0.0.1", ssl_context=ours.server(name)))
            server.expect_request("/").respond_with_data("")
            return f"https://{host}:{server.port}/"

        yield serve


@pytest.mark.parametrize("variable", ["", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_private_ca_is_trusted_by_its_key_or_the_environment(
    served: Callable[[str], str], ours: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """`ca` in the configuration, or the variables that other programs take."""
    if variable:
        monkeypatch.setenv(variable, str(ours.ca))
    assert ask(served("127.0.0.1"), "" if variable else str(ours.ca)) == 200


def test_the_error_says_why_the_certificate_is_not_trusted(served: Callable[[str], str], ours: Authority, tmp_path: Path) -> None:
    """Also where another CA is trusted, for `ca` replaces the usual ones, or where the certificate is of another name."""
    url = served("127.0.0.1")
    for ca in ("", str(Authority(tmp_path, "Other Root").ca)):
        with pytest.raises(Unavailable, match=r"the TLS certificate is not trusted \(.*issuer certificate\)"):
            ask(url, ca)
    with pytest.raises(Unavailable, match=r"is not trusted .*IP address mismatch"):
        ask(served("rundeck.example.com"), str(ours.ca))


def test_a_file_of_certificates_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match=r"trusted certificates does not exist: /nowhere/ca\.pem"):
        ask("https://127.0.0.1:1", "/nowhere/ca.pem")


@pytest.mark.parametrize(("variable", "scheme"), [("HTTPS_PROXY", "https"), ("HTTP_PROXY", "http"), ("ALL_PROXY", "https")])
def test_a_proxy_of_the_environment_is_used(
    served: Callable[..., str],
    ours: Authority,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    scheme: str,
) -> None:
    """HTTPS goes through it by CONNECT, and plain HTTP by forwarding."""
    httpserver.expect_request("/").respond_with_data("")
    secure = scheme == "https"
    url = served("system.invalid", "system.invalid") if secure else f"http://system.invalid:{httpserver.port}/"
    with Proxy() as proxy:
        monkeypatch.setenv(variable.lower(), proxy.url)
        assert ask(url, str(ours.ca)) == 200
        (line,) = proxy.asked
        assert line.startswith("CONNECT system.invalid:" if secure else "GET http://system.invalid:")


def test_this_machine_and_the_metadata_server_are_never_asked_through_a_proxy(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would ask its own machine; the metadata server hands out tokens."""
    httpserver.expect_request("/").respond_with_data("")
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for host in ("127.0.0.1", "localhost"):
            assert ask(f"http://{host}:{httpserver.port}/") == 200
        assert http_client.choose_proxies(f"http://{http_client.METADATA}/", http_client.METADATA) == {}
        assert proxy.asked == []


def test_a_proxy_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"broker\.invalid: through the proxy: connection refused") as caught:
        ask("https://broker.invalid/")
    assert "hunter2" not in str(caught.value)
