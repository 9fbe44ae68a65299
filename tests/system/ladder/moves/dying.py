"""move.py, with a signal to itself at one step, or its connection cut: dying.py STEP SIGNAL|CUT, and then its own arguments.

STEP: stopping, stopped, taken, published-N, acknowledged-N, moved or starting, where N is the first or second message.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from tests.system.ladder.moves.place import FOLDER

sys.path.insert(0, str(FOLDER))
import move  # type: ignore[import-not-found]

STEP, SIGNAL = sys.argv[1:3]
STEPS = (
    "stopping", "stopped", "taken", "published-1", "acknowledged-1", "published-2", "acknowledged-2", "moved", "starting",
)  # fmt: skip
seen: dict[str, int] = {}
connections: list[Any] = []


def reach(step: str) -> None:
    seen[step] = seen.get(step, 0) + 1
    if STEP in (step, f"{step}-{seen[step]}"):
        if SIGNAL == "CUT":
            connections[-1]._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        else:
            os.kill(os.getpid(), getattr(signal, SIGNAL))


def around(name: str, *, before: str = "", after: str = "") -> None:
    former: Callable[..., Any] = getattr(move.Move, name)

    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        if before:
            reach(before)
        result = former(self, *arguments, **named)
        if after:
            reach(after)
        return result

    setattr(move.Move, name, wrapped)


def watch_commands(self: Any, name: str, former: Callable[..., Any] = move.Move.run) -> Any:
    reach("stopping" if name == "stop" else "starting")
    return former(self, name)


def watch_channels(self: Any, former: Callable[..., Any] = move.Move.connect) -> None:
    """A confirm and an acknowledgement are calls of pika's channels."""
    former(self)
    connections.append(self.connection)
    publish, acknowledge = self.out.basic_publish, self.channel.basic_ack

    def publish_and_reach(exchange: str, key: str, *rest: Any, **named: Any) -> None:
        publish(exchange, key, *rest, **named)
        if key == self.target:
            reach("published")

    def acknowledge_and_reach(*arguments: Any) -> None:
        acknowledge(*arguments)
        reach("acknowledged")

    self.out.basic_publish, self.channel.basic_ack = publish_and_reach, acknowledge_and_reach


move.Move.run, move.Move.connect = watch_commands, watch_channels
around("stop", after="stopped")
around("choose", after="taken")
around("move", after="moved")
if __name__ == "__main__":
    sys.exit(move.main(sys.argv[3:]))
