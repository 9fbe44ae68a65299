"""A stand-in for Rundeck: a real HTTP server on loopback that behaves as was recorded of Rundeck 6.2 (API 59).

    with Rundeck(Job(action=restart)) as rundeck:
        Settings(url=rundeck.url, token=...)       # rundeck.token
        rundeck.fault("POST", "/run", "drop")      # takes the run, then the connection is gone
        rundeck.state.passive = True               # knobs: see State
        rundeck.state.carried_out                  # what really was restarted

tests/adapters/runners/test_rundeck_double.py holds it against the recordings.
"""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from testbed.doubles.rundeck.calls import Seen
from testbed.doubles.rundeck.http_server import Server
from testbed.doubles.rundeck.state import INCIDENT, NOT_AFTER, OWN, Job, Line, Option, Run, State

__all__ = ["INCIDENT", "NOT_AFTER", "OWN", "TOKEN", "Job", "Line", "Option", "Run", "Rundeck", "Seen"]

TOKEN = "runner-token-of-the-stand-in"

Fault = Literal["slow", "late", "drop", "refuse", "500", "500_after", "html", "redirect", "garbage", "no_date"]
"""slow: waits, then does it. late: does it, then waits. drop: does it, then hangs up. refuse: hangs up before.
500: does nothing. 500_after: does it. html, redirect: a sign-in page or the way to one, nothing done.
garbage: does it, half an answer. no_date: no Date header."""


class Rundeck:
    """The server. Knobs are in `state`; `tokens` maps a token to admin, runner, no-events, viewer or none."""

    def __init__(self, *jobs: Job, host: str = "127.0.0.1", port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.state = State(jobs or (Job(),), clock)
        self.token = TOKEN
        self.tokens = {TOKEN: "runner"}
        self.user = "unstick"
        self.definitions: dict[str, list[Any]] = {}
        """Job id -> a definition to show instead of one made from the Job."""
        self.requests: list[Seen] = []
        self.mistakes: list[str] = []
        self.over = threading.Event()
        self._faults: list[list[Any]] = []
        self._server = Server((host, port), self)
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True, name="rundeck-stand-in")

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self._server.sockets):
            try:
                connection.shutdown(2)
            except OSError:
                continue

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        assert not self.mistakes, self.mistakes

    def fault(self, method: str, fragment: str, kind: Fault, *, times: int = 1, seconds: float = 0.0) -> None:
        """Let the next `times` requests with this method (`*`: any) and this text in path and query go wrong."""
        with self.state.lock:
            self._faults.append([method, fragment, kind, times, seconds])

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        with self.state.lock:
            self._faults.clear()

    def arrived(self, seen: Seen) -> tuple[str, float]:
        with self.state.lock:
            self.requests.append(seen)
            for fault in self._faults:
                method, fragment, kind, times, seconds = fault
                if times > 0 and method in ("*", seen.method) and fragment in f"{seen.path}?{seen.query}":
                    fault[3] -= 1
                    return kind, seconds
        return "", 0.0

    def posts(self) -> list[Seen]:
        """The requests to run a job, in the order of arrival."""
        with self.state.lock:
            return [seen for seen in self.requests if seen.method == "POST" and seen.path.endswith(("/run", "/executions"))]

    def run_by_hand(self, options: Mapping[str, str], job: str | None = None, user: str = "alice") -> Run:
        """Somebody runs the job in the web page."""
        return self.state.start(job or next(iter(self.state.jobs)), options, user)


class CommandAction:
    """An action that runs a command, with the options as RD_OPTION_NAME in its environment and ${option.NAME} filled in."""

    def __init__(self, command: str) -> None:
        self.words = shlex.split(command)

    def __call__(self, options: Mapping[str, str]) -> bool | str:
        filled = list(self.words)
        for name, value in options.items():
            filled = [word.replace(f"${{option.{name}}}", value) for word in filled]
        surroundings = os.environ | {f"RD_OPTION_{name.upper()}": value for name, value in options.items()}
        done = subprocess.run(
            filled, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode == 0 and (done.stdout.decode(errors="replace") or True)
