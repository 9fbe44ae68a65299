"""What moves a document, and what a step orders."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Execution, Storm
from functions.runtime.text import Phrase


class AlertsReceived(Struct, frozen=True):
    """Alerts of one target (or one alert without a target) arrived."""

    cases: tuple[MatchedAlert, ...]
    incident: str
    """The id that a new incident gets."""
    crowd: bool = False
    """One of many in the same notification: what it has to say is bundled."""
    handed_over_at: float | None = None
    """When the webhook, which had no time for it, gave it to the scheduler."""
    left_out: int = 0
    """How many more came, which would not have fitted into one task of the scheduler."""


class TimerFired(Struct, frozen=True):
    """A wake-up, from whomever and however late."""


class Approved(Struct, frozen=True):
    nonce: str
    by: str


class Resumed(Struct, frozen=True):
    """A person says that an escalated target may be restarted again."""

    by: str
    reason: str = ""


class StartResult(Struct, frozen=True):
    """What came of starting the job: an execution; `refusal` (the runner said no); `unsent` (nothing was sent: `paused`, or
    another reason where the time for it was over); or none of them (no answer: it may run or not)."""

    tag: str
    execution: Execution | None = None
    refusal: Phrase = ""
    remedy: Phrase = ""
    busy: bool = False
    unsent: Reason | None = None
    unread: bool = False
    """It was not sent since the kill switch could not be read."""
    mismatch: bool = False
    """It runs with other options than those that were sent."""


class MessagesDelivered(Struct, frozen=True):
    """Messages that were posted, the threads that they opened (`channel/incident` -> handle), and the incidents that are
    in the archive now."""

    ids: frozenset[str]
    threads: Mapping[str, str] = field(default_factory=dict)
    archived: frozenset[str] = frozenset()


class Bundled(Struct, frozen=True):
    """Messages of many documents that go out as one. `names`: channel -> what they speak of; `ids`: the messages."""

    reason: Reason
    ids: frozenset[str]
    names: Mapping[str, tuple[str, ...]]


class Unsigned(Struct, frozen=True):
    """Alerts came back from the scheduler, and none of the keys has signed them."""


Event = AlertsReceived | TimerFired | Approved | Resumed | StartResult | MessagesDelivered | Bundled | Unsigned


class Wake(Struct, frozen=True):
    """Before the save: have `verify` invoked at this time."""

    at: float


class Claim(Struct, frozen=True):
    """Before the save: the storm document as it must be saved for this step to stand."""

    storm: Storm


class Start(Struct, frozen=True):
    """After the save: start the job, if the kill switch is still off and the fence not reached."""

    tag: str
    runner_not_after: float
    within_s: float


class Abort(Struct, frozen=True):
    """After the save: stop an execution that runs with other options than it was given."""

    execution: str


Act = Wake | Claim | Start | Abort


class Reply(Struct, frozen=True):
    """What Grafana is told of one target."""

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
