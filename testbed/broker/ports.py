"""Ports of loopback for servers that tests start."""

import errno
import random
import socket
import sys
from contextlib import suppress

FIRST_PORT, LAST_PORT = 15_000, 32_000
UNSEEDED = random.SystemRandom()
"""Tests that run side by side are seeded alike, and would try the same ports."""

GIVEN: set[int] = set()
"""The ports that this process has given away."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, and that no other call gives away, whatever process it is of.

    They lie below those that systems give to outgoing connections (Linux: 32,768 and up): a server that takes seconds to start
    would find one of these taken by a connection of another test.
    """
    found: list[int] = []
    while len(found) < count:
        port = UNSEEDED.randrange(FIRST_PORT, LAST_PORT)
        with suppress(OSError):
            _keep(port)
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def is_taken(port: int) -> bool:
    """Whether somebody of this machine listens there; nothing is sent."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _keep(port: int) -> None:
    """Take a name that no other process can have while this one lives. Raises OSError where the port was given away before."""
    if port in GIVEN:
        raise OSError(errno.EADDRINUSE, "given away before")
    if sys.platform == "linux":  # elsewhere such a name would be a file that stays behind
        with socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0unstick-tests-port-{port}")
            name.detach()
    GIVEN.add(port)
