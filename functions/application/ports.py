"""What an adapter must offer. An adapter is one module or package in runners/, symptoms/, stores/, schedulers/ or chats/. It has
a frozen `Settings` Struct, whose fields are its keys in unstick.yaml, and the functions below.

Every function that calls an outside system takes `timeout_s`, the time for all of it. It raises `Unavailable` (no usable
answer: the call may or may not have taken effect) or `Denied` (a clear refusal), and nothing else on purpose. No error contains a
secret or a URL with a secret. Importing an adapter costs nothing: the functions import the clients that they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.messages import Card
from functions.domain.model.observations import Execution, ExecutionHistory, QueueSnapshot
from functions.domain.model.runbooks import Rules, Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.text import Phrase


class Finding(Struct, frozen=True):
    """One line of `check`."""

    what: str
    ok: bool | None
    """None: unknown."""
    detail: Phrase = ""
    remedy: Phrase = ""


def finding_of_error(what: str, error: Unavailable | Denied, remedy: Phrase = "") -> Finding:
    """What `check` says of a system that refused, with its own remedy, or that did not answer, with this one."""
    return Finding(what, ok=False, detail=error.detail, remedy=error.remedy if isinstance(error, Denied) else remedy)


class Runner(Protocol):
    """Restarts a target (runners/)."""

    def look(
        self, settings: Any, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float
    ) -> ExecutionHistory:
        """Read the target's history of the last `since_s` seconds. `follow`: the id of an execution to follow to the end of
        its chain of retries; `tail`: read its last log lines too once it has ended."""

    def run(self, settings: Any, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """Start the job once. `Denied` with code `busy`: the job is already running; `mismatch`: it runs with other options
        (`detail` is then the execution's id)."""

    def abort(self, settings: Any, execution: str, *, timeout_s: float) -> None: ...

    def start_page(self, settings: Any, target: Target) -> str:
        """Where people start the job by hand, as far as that is known without a call."""

    def start_evidence(self, settings: Any, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        """Start an evidence job once, with no fence: it changes nothing."""

    def read_evidence(
        self, settings: Any, job: str, *, tag: str, execution: str | None, timeout_s: float
    ) -> tuple[Execution | None, str | None]:
        """The run (found by its tag where `execution` is None), and its output as it is once it has ended."""

    def check_evidence(
        self, settings: Any, job: str, options: tuple[str, ...], *, within_s: float, timeout_s: float
    ) -> list[Finding]: ...

    def check(
        self, settings: Any, job: str, options: tuple[str, ...], *, auto: bool, max_run_s: float, timeout_s: float
    ) -> list[Finding]: ...


class SymptomKeys(Protocol):
    """The keys of a symptom in a runbook: a frozen Struct."""

    def to_symptom(self) -> Symptom:
        """Convert to the domain's Symptom."""

    def find_mistakes(self) -> Iterable[tuple[str, str, str]]:
        """(key, what is wrong with it, how to fix it) of each mistake that the types can't catch."""


class SymptomAdapter(Protocol):
    """Shows whether something is stuck or healthy (symptoms/)."""

    Keys: ClassVar[type[SymptomKeys]]

    def name_queue(self, symptom: Symptom, labels: Mapping[str, str]) -> QueueRef:
        """What to watch for an alert with these labels. Calls nothing. Raises NotRendered."""

    def look_all(
        self, queues: Sequence[tuple[QueueRef, float]], *, timeout_s: float
    ) -> list[QueueSnapshot | Unavailable | Denied]:
        """Read each queue, with samples over at least so many seconds, or the error that prevents it."""

    def check(self, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        """Check what looking needs, for an alert with these labels, which may lack some that the symptom's keys name."""


class Stored(Struct, frozen=True):
    body: bytes
    generation: str
    """Opaque; every save changes it."""


class Listed(Struct, frozen=True):
    key: str
    due: float | None


class Store(Protocol):
    """Documents by compare-and-set, and the archive (stores/). Keys match `[a-z0-9-]{1,80}`."""

    def load(self, settings: Any, key: str, *, timeout_s: float) -> Stored | None: ...

    def save(self, settings: Any, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        """Save if the generation is still the loaded one (None: if the document does not exist yet) and return the new one,
        otherwise raise `Conflict`. `due` can be listed without reading the body; None for a closed document."""

    def list_documents(self, settings: Any, *, timeout_s: float) -> list[Listed]:
        """All documents."""

    def archive(self, settings: Any, path: str, body: bytes, *, timeout_s: float) -> None:
        """Write incidents/DATE/ID.json or evidence/ID.txt; writing the same path again replaces it."""

    def read_archived(self, settings: Any, path: str, *, timeout_s: float) -> bytes | None:
        """What was archived under this path; None if nothing was."""

    def read_archive(self, settings: Any, *, since: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
        """Yield (path, body) of the archived incidents from DATE `since` (YYYY-MM-DD) on, oldest first."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]:
        """Check that the store is writable and that compare-and-set really compares. Leave nothing behind."""


class Scheduler(Protocol):
    """Delivers wake-ups at least once, at or after their time (schedulers/)."""

    def wake(self, settings: Any, at: float, payload: str, *, timeout_s: float) -> None:
        """Deliver `payload` to `verify` at `at` (Unix seconds; a past time means now)."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]: ...


class LocalScheduler(Scheduler, Protocol):
    """A scheduler that delivers in this process."""

    def run(self, settings: Any, deliver: Callable[[str], None], sweep: Callable[[], None], stop: Event) -> None:
        """Deliver due payloads until `stop` is set, and sweep every minute. If `deliver` raises, the payload is delivered again
        later, with backoff; so is a payload whose process was killed."""


class Chat(Protocol):
    """Posts to people (chats/)."""

    def post(self, settings: Any, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        """Post, and return the handle with which a later post of the incident joins the thread (None: no thread)."""

    def check(self, settings: Any, *, timeout_s: float) -> list[Finding]:
        """Check the chat as far as possible without posting."""


class Ports(Protocol):
    """Everything outside Unstick, and the clocks. bootstrap.py has the real adapters; the simulation has models of them."""

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
    @property
    def symptoms(self) -> Mapping[str, SymptomAdapter]: ...
    def run(self, target: Target, tag: str, runner_not_after: float, timeout_s: float) -> Execution: ...
    def abort(self, execution: str, timeout_s: float) -> None: ...
    def start_page(self, target: Target) -> str: ...
    def start_evidence(self, job: str, options: Mapping[str, str], tag: str, timeout_s: float) -> Execution: ...
    def read_evidence(
        self, job: str, tag: str, execution: str | None, timeout_s: float
    ) -> tuple[Execution | None, str | None]: ...
    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None: ...
    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str: ...
    def is_paused_by_environment(self) -> bool: ...
    def log(self, severity: str, message: str, **fields: object) -> None: ...


class Budget(Struct, frozen=True):
    """The monotonic time by which everything must be done."""

    ports: Ports
    ends: float

    @property
    def left_s(self) -> float:
        return self.ends - self.ports.monotonic()

    def at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self.left_s))
