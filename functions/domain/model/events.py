"""The events that move a document, and the acts that a step orders."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Execution, Storm
from functions.runtime.text import Phrase


class Origin(Struct, frozen=True):
    """The request of the alerts, and until when a copy of it would be accepted. Without an id, copies aren't recognized."""

    id: str = ""
    until: float = 0.0


class AlertsReceived(Struct, frozen=True):
    """Alerts of one target arrived, or one alert without a target."""

    cases: tuple[MatchedAlert, ...]
    incident: str  # the id that a new incident gets
    crowd: bool = False  # one of many targets in the same notification: its message is bundled
    handed_over_at: float | None = None  # when the webhook ran out of time and handed the alerts to the scheduler
    left_out: int = 0  # further alerts that didn't fit into one task of the scheduler
    origin: Origin = Origin()
    hurries: bool = False
    """The only target of its notification, and more than a suspicion: worth a wake-up that may turn out to be unneeded."""


class TimerFired(Struct, frozen=True):
    """A wake-up, from any sender, however late."""

    due: float | None = None  # the `due` that it was created for. None: from the sweep, or from an earlier release.
    at_once: bool = False  # from the process that just deferred the decision: it decides again without waiting for `due`


class Approved(Struct, frozen=True):
    """A person approves the restart that the incident asks for."""

    nonce: str
    by: str
    why: str = ""


class Declined(Struct, frozen=True):
    """A person declines the restart that the incident asks for."""

    nonce: str
    by: str
    why: str = ""


class Acknowledged(Struct, frozen=True):
    """A person acknowledges an escalation. `incident`: the escalated one; empty: the target's last."""

    by: str
    incident: str = ""


class RestartWanted(Struct, frozen=True):
    """A person asks for another restart of an escalated target. `incident`: the escalated one; `id`: of the new one."""

    by: str
    incident: str
    id: str


class Resumed(Struct, frozen=True):
    """A person allows restarts of an escalated target again."""

    by: str
    reason: str = ""


class StartResult(Struct, frozen=True):
    """The result of starting the job: an execution; `refusal` (the runner refused); `unsent` (Unstick sent nothing, for this
    reason); or `unclear` (no clear answer: the job may run or not)."""

    tag: str
    execution: Execution | None = None
    refusal: Phrase = ""
    remedy: Phrase = ""
    busy: bool = False
    unsent: Reason | None = None
    unread: bool = False  # nothing was sent because the kill switch could not be read, or the storm slot is uncertain
    unclear: Phrase = ""  # what the runner said instead of an answer
    mismatch: bool = False
    """The job ran with other options than Unstick sent. `execution` is as it was seen after the abort, and `refusal` says why
    it could not be aborted."""


class EvidenceStarted(Struct, frozen=True):
    """The result of starting the evidence job: an execution, `refusal` (it was not started), or neither (no answer)."""

    tag: str
    execution: Execution | None = None
    refusal: Phrase = ""


class MessagesDelivered(Struct, frozen=True):
    """The messages that were posted, the threads that they opened (`channel/incident` -> handle), and the incidents that were
    archived."""

    ids: frozenset[str]
    threads: Mapping[str, str] = field(default_factory=dict)
    archived: frozenset[str] = frozenset()


class Waiting(Struct, frozen=True):
    """A message to be sent with others: its channel, its target or alert, and where people restart that by hand."""

    channel: str
    name: str
    link: str = ""
    calls: bool = True  # whether it is urgent


class Bundled(Struct, frozen=True):
    """Messages from several documents that are sent as one, by id."""

    reason: Reason
    ids: frozenset[str]
    waiting: Mapping[str, Waiting]


class Unsigned(Struct, frozen=True):
    """The scheduler delivered alerts that no key has signed."""


class TokenExpiring(Struct, frozen=True):
    """The runner's token expires within a week."""


Event = (
    AlertsReceived
    | TimerFired
    | Approved
    | Declined
    | Acknowledged
    | RestartWanted
    | Resumed
    | StartResult
    | EvidenceStarted
    | MessagesDelivered
    | Bundled
    | Unsigned
    | TokenExpiring
)


class Wake(Struct, frozen=True):
    """Before the save: create a wake-up for this time."""

    at: float


class Claim(Struct, frozen=True):
    """With the save: take the last of these storm slots. If that fails, nothing is started."""

    storm: Storm


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
    job: str = ""  # the remedy's job; empty: the target's


class Collect(Struct, frozen=True):
    """After the save: start the evidence job, if the kill switch is off."""

    tag: str
    job: str
    options: Mapping[str, str]
    within_s: float


Act = Wake | Claim | Keep | Start | Collect


class Reply(Struct, frozen=True):
    """The part of the answer to Grafana for one target."""

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
