"""What holds for every test, whoever writes it."""

import socket

import pytest


def test_a_test_that_leaves_this_machine_fails():
    """A forgotten double is found at once, rather than on the day when the real system answers."""
    for address in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(pytest.fail.Exception, match="loopback"):
            socket.create_connection((address, 80), 1)
    with pytest.raises(pytest.fail.Exception, match="loopback"):
        socket.getaddrinfo("example.com", 80)
    with socket.socket() as listener, pytest.raises(pytest.fail.Exception, match="loopback"):
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - that it fails is what is tested
