"""What holds for every test, whoever writes it."""

import socket

import pytest

from functions.runtime import http_client


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1"])
def test_a_test_that_connects_to_another_machine_fails(address):
    """A forgotten double is found at once, rather than on the day when the real system answers."""
    with pytest.raises(pytest.fail.Exception, match="loopback"):
        socket.create_connection((address, 80), 1)


def test_only_loopback_is_asked_for(free_port):
    """Neither a look-up nor an open door leaves this machine; a double listens on 127.0.0.1 and is found there."""
    with pytest.raises(pytest.fail.Exception, match="loopback"):
        socket.getaddrinfo("example.com", 80)
    with socket.socket() as listener, pytest.raises(pytest.fail.Exception, match="loopback"):
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - that it fails is what is tested
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 1), socket.create_connection(("localhost", port), 1):
            pass


@pytest.mark.parametrize("turn", [1, 2])
def test_nothing_is_kept_from_one_test_to_the_next(turn):
    """Cached builders are empty at the start of each test, in whatever order they run."""
    assert http_client.adapter.cache_info().currsize == 0, turn
    http_client.adapter()
