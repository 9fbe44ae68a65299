"""Hosts of their own for workers on one machine: 127.0.1.2 and so on, as which the broker sees their connections."""

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self

CHUNK = 65_536


class Relay:
    """Passes connections on to a port of 127.0.0.1, from the address that each listening port stands for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listening: dict[str, socket.socket] = {}
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="relay")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._wake.send(b"x")
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._wake.close()
        self._selector.close()

    def port_as(self, host: str) -> int:
        """The port of 127.0.0.1 to connect to instead, so that the connection comes from this address of loopback."""
        if host not in self._listening:
            listening = socket.create_server(("127.0.0.1", 0), backlog=100)
            self._listening[host] = listening
            self._selector.register(listening, selectors.EVENT_READ, host)
            self._wake.send(b"x")
        return int(self._listening[host].getsockname()[1])

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(1.0):
                if key.fileobj is self._woken:
                    self._woken.recv(CHUNK)
                elif isinstance(key.data, str):
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
                else:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self, listening: socket.socket, host: str) -> None:
        inside, _ = listening.accept()
        try:
            outside = socket.create_connection(("127.0.0.1", self.port), source_address=(host, 0))
        except OSError:
            inside.close()
            return
        self._selector.register(inside, selectors.EVENT_READ, outside)
        self._selector.register(outside, selectors.EVENT_READ, inside)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            content = source.recv(CHUNK)
            if content:
                target.sendall(content)
                return
        for one in (source, target):
            with suppress(KeyError, ValueError):
                self._selector.unregister(one)
            one.close()
