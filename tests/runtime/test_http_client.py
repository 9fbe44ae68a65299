"""The door to other systems' HTTP: whatever comes back, and however much, the caller's time and memory are bounded."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Unpack

import pytest
from pytest_httpserver import HTTPServer

from functions.runtime import http_client
from functions.runtime.errors import Unavailable
from testbed.doubles.anything import DRIP, Anything
from testbed.doubles.certificates import Authority
from testbed.doubles.server import Handler, Serving
from testbed.patience import PATIENCE_S

SHORT_S = 0.3
HEAD, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"x" * 300
DRIPPED = {
    "status line": DRIP + b"HTTP/1.1 200 " + LONG,
    "headers": HEAD + DRIP + b"X-Slow: " + LONG,
    "answers before the answer": DRIP + b"HTTP/1.1 100 Continue\r\n\r\n" * 12,
    "size of a chunk": CHUNKED + DRIP + b"0" * 300,
    "body": HEAD + b"Content-Length: 300\r\n\r\n" + DRIP + LONG,
    "body without a length": HEAD + b"\r\n" + DRIP + LONG,
    "trailers": CHUNKED + b"0\r\n" + DRIP + b"X-Slow: " + LONG,
}


def ask(server: Anything, timeout_s: float = PATIENCE_S) -> http_client.Answer:
    return http_client.request("Rundeck", "GET", f"{server.url}/path?token=secret", timeout_s=timeout_s, max_bytes=1000)


@pytest.mark.parametrize("head", ["200 OK", "302 Found\r\nLocation: /login", "500 No"])
def test_no_answer_is_read_beyond_its_limit(head: str) -> None:
    """The body of a redirect, which nobody follows, is an answer like any other."""
    with Anything() as server:
        server.answers = [f"HTTP/1.1 {head}\r\n\r\n".encode() + b"x" * 1001]
        with pytest.raises(Unavailable, match="more than 1,000 bytes"):
            ask(server)
        server.answers = [f"HTTP/1.1 {head}\r\n\r\n".encode() + b"x" * 1000]
        assert len(ask(server).body) == 1000


def ask_late(url: str, **content: Unpack[http_client.Content]) -> None:
    """Whatever comes slowly is left at the deadline; a late answer is temporary, so a retry may help."""
    began = time.monotonic()
    with pytest.raises(Unavailable, match=f"did not answer within {SHORT_S:.1f} s") as caught:
        http_client.request("Rundeck", "POST", url, timeout_s=SHORT_S, **content)
    assert caught.value.late
    assert time.monotonic() - began < SHORT_S + PATIENCE_S / 4


@pytest.mark.parametrize("part", DRIPPED)
@pytest.mark.parametrize("is_tls", [False, True])
def test_nothing_that_drips_outlives_the_deadline(part: str, is_tls: bool, tmp_path: Path) -> None:
    """A byte now and then is an answer in time for each read, and for none of them a complete one."""
    ours = Authority(tmp_path)
    with Anything(tls=ours.server("127.0.0.1") if is_tls else None) as server:
        server.answers = [DRIPPED[part]]
        ask_late(server.url.replace("http:", "https:") if is_tls else server.url, ca=str(ours.ca))


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_server_that_does_not_read_is_left_at_the_deadline(is_tls: bool, tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    with Anything(reads=False, tls=ours.server("127.0.0.1") if is_tls else None) as server:
        ask_late(server.url.replace("http:", "https:") if is_tls else server.url, ca=str(ours.ca), body=b"x" * 2**26)


def test_a_handshake_or_a_proxy_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with Anything(reads=False) as server, Anything() as proxy:
        server.answers, proxy.answers = [DRIP + b"\x16\x03\x03\x01\x00" + b"\x02" * 300], [DRIPPED["headers"]]
        ask_late(server.url.replace("http:", "https:"))
        monkeypatch.setenv("https_proxy", proxy.url)
        ask_late("https://system.invalid/")


def test_all_addresses_of_a_name_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # and from then on it takes no connection
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        ask_late("http://many.invalid/")


@pytest.mark.parametrize(
    "head",
    ["Content-Length: 9", "Transfer-Encoding: chunked", "Content-Encoding: gzip\r\nContent-Length: 9", "Content-Encoding: gzip"],
)
def test_a_body_that_is_cut_off_or_can_not_be_unpacked_is_no_answer(head: str) -> None:
    """Half of a list of executions must not pass for the whole."""
    with Anything() as server:
        server.answers = [f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n[1, 2".encode()]
        with pytest.raises(Unavailable):
            ask(server)


def test_one_connection_serves_many_requests() -> None:
    """A connection anew for each of a start's calls would double their legs; a body of any kind leaves it usable."""
    connections = set()

    class Each(Handler):
        def answer(self) -> None:
            connections.add(self.client_address)
            empty = {"/empty": 204, "/moved": 302}.get(self.path)
            if self.path == "/chunked":
                self.reply(200, b"5\r\nhello\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked", "Content-Length": None})
            else:
                self.reply(empty or 200, b"" if empty else b"hello")

    with Serving(Each) as server:
        for path in ("plain", "chunked", "moved", "empty", "plain"):
            answer = http_client.request("Rundeck", "GET", f"{server.url}/{path}", timeout_s=PATIENCE_S)
            assert answer.body in (b"hello", b"")
    assert len(connections) == 1


def test_no_login_or_cookie_of_the_machine_is_sent_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, httpserver: HTTPServer
) -> None:
    """No .netrc replaces our login, and no cookie goes from one answer to the next request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else")
    monkeypatch.setenv("NETRC", str(netrc))
    httpserver.expect_request("/").respond_with_data(headers={"Set-Cookie": "JSESSIONID=of-the-first-answer; Path=/"})
    for headers in ({"Authorization": "Bearer ours"}, {}):
        assert http_client.request("Rundeck", "GET", httpserver.url_for("/"), timeout_s=PATIENCE_S, headers=headers).status == 200
    seen = [asked.headers for asked, _ in httpserver.log]
    assert [one.get("Authorization") for one in seen] == ["Bearer ours", None]
    assert [one.get("Cookie") for one in seen] == [None, None]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/?key=hunter2", "127.0.0.1: connection refused"),
        ("http://nowhere.invalid/?key=hunter2", "nowhere.invalid: no such host"),
        ("http://[::1/?key=hunter2", "the URL or a secret is invalid"),
        ("http://a b/?key=hunter2", "the URL or a secret is invalid"),
        ("http://{silent}/?key=hunter2", "connection failed .RemoteDisconnected"),
    ],
)
def test_an_error_says_what_went_wrong_and_never_the_address(url: str, says: str) -> None:
    """The path and the query of a chat's URL are its secret."""
    with Anything() as silent, pytest.raises(Unavailable, match=says) as caught:
        http_client.request("chat", "GET", url.format(silent=f"127.0.0.1:{silent.port}"), timeout_s=PATIENCE_S)
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_no_header_can_carry_is_an_error_like_any_other() -> None:
    """Not a 500: whoever pasted a dash of a word processor into a token reads that."""
    with pytest.raises(Unavailable, match="characters that HTTP can't carry") as caught:
        http_client.request("Rundeck", "GET", "http://127.0.0.1:1/", timeout_s=PATIENCE_S, headers={"X-Token": "hunter–2"})
    assert "hunter" not in str(caught.value)
