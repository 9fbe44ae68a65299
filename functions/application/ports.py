"""What a room must offer. A room is one module in runners/, symptoms/, stores/, schedulers/ or chats/; it has a frozen
`Settings` Struct (its keys in unstick.yaml, read by config.py from the annotations) and the functions below.

Every function that talks to the outside takes `timeout_s`, the time for all of it, and raises `Unavailable` (no usable
answer, it may or may not have happened) or `Denied` (a clear no) and nothing else on purpose. No secret and no URL with a
secret stands in an error's text. Importing a room costs nothing: clients are imported inside the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any, Protocol

from msgspec import Struct

from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory, QueueSnapshot
from functions.domain.model.runbooks import Rules
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Phrase


class Finding(Struct, frozen=True):
    """One line of `check`."""

    what: str
    ok: bool | None
    """None: could not be found out."""
    detail: Phrase = ""
    remedy: Phrase = ""


class Runner(Protocol):
    """How something is restarted (runners/)."""

    def look(
        self,
        settings: Any,
        target: Target,
        *,
        own_options: tuple[str, ...],
        since_s: float,
        follow: str | None,
        tail: bool,
        timeout_s: float,
    ) -> ExecutionHistory:
        """The target's history over the last `since_s` seconds. `follow`: an execution id to read by itself, to the end of
        its chain of retries; `tail`: with its last log lines once it has ended."""

    def run(self, settings: Any, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """Start the job once. `Denied` with code `busy`: the job runs already; `mismatch`: it runs, but with other options
        (`detail` is then the execution's id)."""

    def abort(self, settings: Any, execution: str, *, timeout_s: float) -> None: ...

    def check(self, settings: Any, job: str, options: tuple[str, ...], *, auto: bool, timeout_s: float) -> list[Finding]: ...


class SymptomAdapter(Protocol):
    """How something is seen to be ill or well (symptoms/)."""

    def look(self, settings: Any, queue: QueueRef, *, for_s: float, timeout_s: float) -> QueueSnapshot: ...

    def look_all(
        self, settings: Any, queues: Sequence[tuple[QueueRef, float]], *, timeout_s: float
    ) -> list[QueueSnapshot | Unavailable | Denied]:
        """Each queue of one vhost, with samples over at least so many seconds, or why it can't be seen."""

    def check(self, settings: Any, queue: QueueRef, *, timeout_s: float) -> list[Finding]: ...


class Stored(Struct, frozen=True):
    body: bytes
    generation: str
    """Changes with every save; opaque."""


class Listed(Struct, frozen=True):
    key: str
    due: float | None


class Store(Protocol):
    """Documents by compare-and-set, and the archive (stores/). Keys match `[a-z0-9-]{1,80}`."""

    def load(self, settings: Any, key: str, *, timeout_s: float) -> Stored | None: ...

    def save(self, settings: Any, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        """Save if the generation is still the one that was loaded (None: if there is none yet) and return the new one.
        `Conflict` if not. `due` can be listed without reading the body; None for a closed document."""

    def list_documents(self, settings: Any, *, timeout_s: float) -> list[Listed]:
        """All documents."""

    def archive(self, settings: Any, path: str, body: bytes, *, timeout_s: float) -> None:
        """Write incidents/DATE/ID.json; the same path again replaces it."""

    def read_archive(self, settings: Any, *, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """(path, body) of the archive from DATE `since` (YYYY-MM-DD) on, oldest first."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]:
        """Writable, and compare-and-set really compares. Leaves nothing behind."""


class Scheduler(Protocol):
    """Wake-ups, delivered at least once, at or after their time (schedulers/)."""

    def wake(self, settings: Any, at: float, payload: str, *, timeout_s: float) -> None:
        """Have `payload` delivered to `verify` at `at` (Unix seconds; a past time means now)."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]: ...


class LocalScheduler(Scheduler, Protocol):
    """A scheduler that delivers by itself, in this process."""

    def run(self, settings: Any, deliver: Callable[[str], None], sweep: Callable[[], None], stop: Event) -> None:
        """Deliver what falls due until `stop` is set, and sweep every minute. A payload whose `deliver` raises comes again
        later, with backoff; one that was under way when a process was killed comes again too."""


class Chat(Protocol):
    """Where people are told (chats/)."""

    def post(self, settings: Any, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        """Post, and return what a later post of the same incident needs to go into the same thread (None: nothing)."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]:
        """Reachable, as far as can be found out without posting."""


class Ports(Protocol):
    """Everything that is not Unstick, and the clocks. outside.py has the real one; the simulation has a model of it."""

    @property
    def rules(self) -> Rules: ...
    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def run_parallel(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]: ...
    def load(self, key: str, timeout_s: float) -> Stored | None: ...
    def save(self, key: str, body: bytes, generation: str | None, due: float | None, timeout_s: float) -> str: ...
    def list_documents(self, timeout_s: float) -> list[Listed]: ...
    def archive(self, path: str, body: bytes, timeout_s: float) -> None: ...
    def wake(self, at: float, content: Mapping[str, Any], timeout_s: float) -> None: ...
    def read_history(
        self, target: Target, since_s: float, follow: str | None, timeout_s: float, *, tail: bool
    ) -> ExecutionHistory: ...
    def read_queues(
        self, queues: Sequence[tuple[QueueRef, float]], timeout_s: float
    ) -> list[QueueSnapshot | Unavailable | Denied]: ...
    def run(self, target: Target, tag: str, runner_not_after: float, timeout_s: float) -> Execution: ...
    def abort(self, execution: str, timeout_s: float) -> None: ...
    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None: ...
    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str: ...
    def is_paused_by_environment(self) -> bool: ...
    def log(self, severity: str, message: str, **fields: object) -> None: ...


class Budget(Struct, frozen=True):
    """Until when, by the monotonic clock, everything must be done."""

    ports: Ports
    ends: float

    @property
    def left_s(self) -> float:
        return self.ends - self.ports.monotonic()

    def at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self.left_s))
