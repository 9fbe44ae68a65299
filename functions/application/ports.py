"""The protocols that adapters implement, and the application's view of all of them.

An adapter is one module or package in runners/, symptoms/, stores/, schedulers/ or chats/: a frozen Struct, whose fields are
its keys in unstick.yaml, with the methods of the protocol below. The line `ADAPTER: type[PROTOCOL] = CLASS` at its end lets
mypy compare the two.

Every method that calls an outside system takes `timeout_s`, the time for all of it. It raises `Unavailable` (no usable answer:
the call may or may not have taken effect) or `Denied` (a clear refusal), and nothing else on purpose. No error contains a
secret or a URL with a secret. Importing an adapter costs nothing: the methods import the clients that they need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import force_setattr

from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.cards import Card
from functions.domain.model.incidents import Archive
from functions.domain.model.observations import Execution, ExecutionHistory, NodeOutput, QueueSnapshot, Statement
from functions.domain.model.runbooks import EvidenceJob, Restart, Rules, Symptom
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import Calls
from functions.runtime.text import Phrase, Text

QueueOutcome = QueueSnapshot | Statement | Unavailable | Denied
EvidenceRun = tuple[Execution | None, tuple[NodeOutput, ...] | None]  # the run, and its output by node


class Finding(Struct, frozen=True):
    what: str
    ok: bool | None  # none: unknown
    detail: Phrase = ""
    remedy: Phrase = ""  # dropped from what is right

    def __post_init__(self) -> None:
        if self.ok:
            force_setattr(self, "remedy", "")


class Mismatch(Denied):
    """The job runs with other options than were sent: it may restart another target."""

    def __init__(self, system: str, execution: Execution, *, remedy: Phrase = "") -> None:
        super().__init__(system, Text("execution {id} runs with options that were not sent", id=execution.id), remedy=remedy)
        self.execution = execution


class Runner(Protocol):
    """Restarts a target (runners/)."""

    name: ClassVar[str]
    """Its name in texts, as in "Open the job in NAME"."""
    needs_machine: ClassVar[bool]
    """Whether it starts processes where Unstick runs, which a platform such as Cloud Run ends."""

    @property
    def url(self) -> str:
        """The base URL, which is part of each target."""

    @property
    def token_expires_at(self) -> float | None:
        """When the token expires (Unix seconds); None if unknown."""

    def look(self, target: Target, *, since_s: float, follow: str | None, tail: bool, timeout_s: float) -> ExecutionHistory:
        """Read the target's history of the last `since_s` seconds: the runs of its job with its options, whoever started
        them, whatever the option `target.holder` says. `follow`: the id of an execution to follow to the end of its chain of
        retries; `tail`: also read its last log lines once it has ended."""

    def run(self, target: Target, *, tag: str, runner_not_after: float, timeout_s: float) -> Execution:
        """Start the job once. `Denied` with the code BUSY: the job is already running; PASSIVE: the runner starts nothing for
        anybody now; `Mismatch`: it runs with other options. The job gets the target's options, with or without the one that
        `target.holder` names."""

    def abort(self, execution: str, *, timeout_s: float) -> Execution:
        """Abort it, and return it as it was seen then. `Denied`: it runs on."""

    def start_page(self, target: Target) -> str:
        """The page where people start the job by hand, as far as it is known without a call."""

    def start_evidence(self, job: str, options: Mapping[str, str], *, tag: str, timeout_s: float) -> Execution:
        """Start an evidence job once. It changes nothing, so it gets no `not_after`."""

    def read_evidence(self, execution: str, *, partial: bool, timeout_s: float) -> EvidenceRun:
        """Read the run, and its output once it has ended, or so far if `partial`."""

    def check(
        self, restart: Restart, evidence: EvidenceJob | None, consumers: frozenset[str], *, auto: bool, timeout_s: float
    ) -> list[Finding]:
        """Check that both jobs can be run as the runbook wants them. `auto`: without anybody who looks at it. `consumers`: the
        hosts of the queue's consumers, as `restart.holder` sends one; empty if they aren't known."""


class Query(Struct, frozen=True):
    """What to read of one queue."""

    queue: QueueRef
    for_s: float  # for how long it has to stand still
    first: tuple[str, ...] = ()  # the ids of channels to read before others, where not all can be: an incident proved them
    reach_s: float = 0.0  # samples over at least this many seconds, if that is longer


class SymptomKeys(Protocol):
    """A symptom's keys in a runbook: a frozen Struct."""

    NEEDED_BY_AUTO: ClassVar[Mapping[str, str]]
    """The keys that `mode: auto` needs written out, without labels: what to write, and why."""

    def to_symptom(self) -> Symptom:
        """Convert to the domain's Symptom."""

    def find_mistakes(self) -> Iterable[tuple[str, str, str]]:
        """(key, what is wrong with it, how to fix it) of each mistake that the types can't express."""


class SymptomAdapter(Protocol):
    """Reads the figures that show whether something is stuck or healthy (symptoms/)."""

    Keys: ClassVar[type[SymptomKeys]]

    def name_queue(self, symptom: Symptom, labels: Mapping[str, str]) -> QueueRef:
        """The queue to watch for an alert with these labels. Calls nothing. Raises NotRendered."""

    def look_all(self, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
        """Read each queue, or return the error that prevents it."""

    def check(self, symptom: Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
        """Check what `look_all` needs, for an alert with these labels, which may lack some that the symptom's keys name."""


class Stored(Struct, frozen=True):
    body: bytes
    generation: str  # opaque. Every save changes it


class Listed(Struct, frozen=True):
    key: str
    due: float | None


class Store(Protocol):
    """Documents by compare-and-set, and the archive (stores/). Keys match `[a-z0-9-]{1,80}`."""

    def load(self, key: str, *, timeout_s: float) -> Stored | None: ...

    def save(self, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        """Save if the generation is still the loaded one (None: no document yet), else raise `Conflict`. `due` None: closed."""

    def list_documents(self, *, timeout_s: float) -> list[Listed]:
        """List all documents."""

    def archive(self, path: str, body: bytes, *, timeout_s: float) -> None:
        """Write incidents/DATE/ID.json or evidence/ID.txt; writing the same path again replaces it."""

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        """Read what was archived under this path; None if nothing was."""

    def list_archive(self, *, since: str, timeout_s: float) -> list[str]:
        """The paths of the archived incidents from DATE `since` (YYYY-MM-DD) on, oldest first."""

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Check that the store is writable and that compare-and-set really compares. Leaves nothing behind."""


class Scheduler(Protocol):
    """Delivers wake-ups at least once, at or after their time (schedulers/)."""

    def wake(self, at: float, payload: str, *, timeout_s: float) -> None:
        """Deliver `payload` to `verify` at `at` (Unix seconds; a past time means now)."""

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Check whether wake-ups are delivered."""


@runtime_checkable
class MonitoredScheduler(Scheduler, Protocol):
    """A scheduler whose machine has no monitoring but ours: it answers /healthz and /metrics."""

    def find_wrong(self, ports: "Ports") -> tuple[str, ...]:
        """The parts of Unstick that are ill, in words for strangers."""

    def show_figures(self, ports: "Ports", *, healthy: bool) -> str:
        """The figures in Prometheus' text form."""


class Chat(Protocol):
    """Posts to people (chats/)."""

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> str | None:
        """Post, and return the handle with which a later post of the incident joins the thread (None: no thread)."""

    def check(self, *, timeout_s: float) -> list[Finding]:
        """Check the chat as far as possible without posting. What it raises is shown, too."""


class Press(Struct, frozen=True):
    """A press of a button in a chat. `text` and `blocks`: the message when it was pressed."""

    action: str
    token: str
    user: str
    name: str = ""
    response_url: str = ""
    text: str = ""
    blocks: tuple[dict[str, Any], ...] = ()


class Buttons(Protocol):
    """The buttons in a chat's messages (chats/)."""

    def read_press(self, headers: Mapping[str, str], read_body: Callable[[int], bytes], now: float) -> Press | None:
        """Read a request; None if it isn't about a button of ours. Raises BadRequest, with 401 before anything is parsed unless
        the chat signed it. `read_body`: reads at most so many bytes."""

    def show_answer(self, press: Press, note: str, *, timeout_s: float) -> None:
        """Add the note to the message, in place of its buttons."""

    def show_refusal(self, press: Press, sentence: str, *, timeout_s: float) -> None:
        """Tell only the person who pressed."""


class Ports(Protocol):
    """Everything outside Unstick, and the clocks. bootstrap.py has the real adapters; the simulation has models."""

    @property
    def rules(self) -> Rules: ...
    def __hash__(self) -> int: ...
    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def run_parallel(self, calls: Calls, timeout_s: float) -> list[Any]: ...
    @property
    def store(self) -> Store: ...
    @property
    def runner(self) -> Runner: ...
    @property
    def symptoms(self) -> Mapping[str, SymptomAdapter]: ...
    @property
    def chats(self) -> Mapping[str, Chat]:
        """By channel name."""

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        """Sign the content, and have the scheduler deliver it to `verify` at `at`."""

    def annotate(self, record: Archive, *, timeout_s: float) -> None:
        """Annotate an archived incident in Grafana, if configured. Failures are logged."""

    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str: ...
    def sign_reading(self, incident: str, expires_at: float) -> str: ...
    def is_paused_by_environment(self) -> bool: ...
    def log(self, severity: str, message: str, **fields: object) -> None: ...


class Budget(Struct, frozen=True):
    """The deadline (monotonic time) of a request."""

    ports: Ports
    ends: float

    @property
    def left_s(self) -> float:
        return self.ends - self.ports.monotonic()

    def at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self.left_s))
