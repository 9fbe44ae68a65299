"""The events that move a document, what is decided, and the acts that a step orders."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial

from msgspec import Struct, field

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Execution, Storm
from functions.runtime.text import Phrase


class AlertsReceived(Struct, frozen=True):
    cases: tuple[MatchedAlert, ...]  # of one target, or one alert without a target
    incident: str  # the id that a new incident gets
    crowd: bool = False  # one of many targets in the same notification: its message is bundled


class TimerFired(Struct, frozen=True):
    due: float | None = None  # the `due` that it was created for. None: from the sweep.


class Approved(Struct, frozen=True):
    nonce: str
    by: str
    why: str = ""


class Declined(Struct, frozen=True):
    nonce: str
    by: str
    why: str = ""
    on_purpose: bool = False  # what is only likely to hang works on purpose, and Unstick may learn from it


class Acknowledged(Struct, frozen=True):
    by: str
    incident: str = ""  # the escalated one; empty: the target's last


class WasHealthy(Struct, frozen=True):
    """A person says of a recovered incident that the restart met a healthy application. The log has who."""

    nonce: str


class Resumed(Struct, frozen=True):
    by: str
    reason: str = ""


class StartResult(Struct, frozen=True):
    """The result of starting the job: an execution, `refusal`, `unsent` or `unclear`."""

    tag: str
    execution: Execution | None = None
    refusal: Phrase = ""  # by the runner
    remedy: Phrase = ""
    busy: bool = False
    passive: bool = False  # the runner starts nothing at all now, for nobody: it is worth another try
    unsent: Reason | None = None  # Unstick sent nothing, for this reason
    unread: bool = False  # nothing was sent because the kill switch could not be read, or the storm slot is uncertain
    unclear: Phrase = ""  # no clear answer, but this: the job may run or not
    mismatch: bool = False  # it ran with other options than were sent; `execution` is from after the abort


class EvidenceStarted(Struct, frozen=True):
    """The result of starting the evidence job: an execution, `refusal` (it was not started), or neither (no answer)."""

    tag: str
    execution: Execution | None = None
    refusal: Phrase = ""


class MessagesDelivered(Struct, frozen=True):
    ids: frozenset[str]  # of the messages that were posted
    threads: Mapping[str, str] = field(default_factory=dict)  # those that they opened: `channel/incident` -> handle
    archived: frozenset[str] = frozenset()  # the incidents that were archived


class Waiting(Struct, frozen=True):
    channel: str
    name: str  # its target or alert
    calls: bool = True  # whether it is urgent


class Bundled(Struct, frozen=True):
    """Messages from several documents that are sent as one, by id."""

    reason: Reason
    ids: frozenset[str]
    waiting: Mapping[str, Waiting]


Answer = Approved | Declined | Acknowledged | WasHealthy | Resumed
Result = StartResult | EvidenceStarted | MessagesDelivered
Event = AlertsReceived | TimerFired | Answer | Result | Bundled


class Kind(StrEnum):
    RESTART = "restart"
    HOLD = "hold"
    ASK = "ask"
    ADOPT = "adopt"  # continue from an execution that exists already, running or ended


class Decision(Struct, frozen=True):
    kind: Kind
    reason: Reason | None = None
    detail: Phrase = ""
    again_in_s: float | None = None  # the hold ends by itself: decide again after this many seconds. None: it doesn't.
    remedy: Phrase = ""
    execution: Execution | None = None  # the execution to adopt, or the one that causes the hold
    tell: bool = True


hold = partial(Decision, Kind.HOLD)


class Wake(Struct, frozen=True):
    at: float  # before the save: create a wake-up for this time


class Claim(Struct, frozen=True):
    """With the save: take a storm slot. If that fails, nothing is started."""

    at: float
    storm: Storm  # as it was observed


class Keep(Struct, frozen=True):
    """With the save: archive the evidence of an incident. If that fails, the step goes on without it."""

    incident: str
    output: str


class Start(Struct, frozen=True):
    """After the save: start the job, if the kill switch is still off and `not_after` has not passed."""

    tag: str
    runner_not_after: float
    within_s: float
    options: Mapping[str, str] = field(default_factory=dict)  # in addition to the target's own options


class Collect(Struct, frozen=True):
    """After the save: start the evidence job, if the kill switch is off."""

    tag: str
    job: str
    options: Mapping[str, str]
    within_s: float


Act = Wake | Claim | Keep | Start | Collect


class Reply(Struct, frozen=True):
    incident: str
    runbook: str
    target: str
    action: Action
    reason: Reason | None = None
    execution: Execution | None = None


class Step(Struct, frozen=True):
    document: Document
    acts: tuple[Act, ...] = ()
    reply: Reply | None = None
