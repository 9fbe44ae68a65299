"""The document of a target: its open incident, its last outcomes and what is still to be sent.

Times are Unix seconds in UTC on our clock unless a name or its docstring says `runner`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from functions.domain.model.alerts import QueueRef, Target
from functions.domain.model.codes import VERSION, Ending, Phase, Reason, Verdict
from functions.domain.model.messages import Message
from functions.domain.model.observations import Execution, QueueSnapshot
from functions.runtime.text import Phrase


class AlertRef(Struct, frozen=True):
    """What a document keeps of an alert."""

    fingerprint: str
    source: str
    starts_at: float
    queue: str
    name: str = ""
    summary: str = ""
    severity: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    """By what they lead to: panel, dashboard, silence, alert, runbook."""
    resolved_at: float | None = None


class QueueState(Struct, frozen=True):
    """One queue of an incident and what was seen of it."""

    queue: QueueRef
    runbook: str
    joined_at: float
    before: QueueSnapshot | None = None
    """The last look before the restart."""
    ill_since: float | None = None
    """First of the live looks, where the broker's own samples can't tell."""
    ill_depth: int = 0
    """At the last of them."""
    ill_head_at: float | None = None
    depth: int | None = None
    acks: int | None = None
    moved_at: float | None = None
    """When movement was last seen after the restart's end, on the runner's clock."""
    well_at: float | None = None
    """When it first looked recovered, without interruption since, on the runner's clock."""
    consumers: int | None = None
    head_at: float | None = None
    verdict: Verdict | None = None
    curve: tuple[tuple[float, int], ...] = ()
    looked_at: float | None = None
    """When it was seen last after the restart's end, on the runner's clock."""


class PastAttempt(Struct, frozen=True):
    """One restart of an incident that is over, however it went."""

    tag: str
    execution: Execution | None
    how: str


class Incident(Struct, frozen=True):
    id: str
    phase: Phase
    began_at: float
    runbook: str
    queues: tuple[QueueState, ...]
    triggers: tuple[AlertRef, ...]
    due: float = 0.0
    """When the next step of the incident itself is due; the document's `due` may be earlier, to tell something."""
    waits_from: float = 0.0
    """From when on its time to wait is counted, where a cooldown or a person's yes came before that."""
    attempt: int = 0
    """The number of the attempt that is under way or was the last."""
    restarts: int = 0
    """How many executions were restarts (refused late starts are none)."""
    tries: tuple[PastAttempt, ...] = ()
    reason: Reason | None = None
    """Why it waits, asks or was held last."""
    detail: Phrase = ""
    runner_not_after: float | None = None
    execution: Execution | None = None
    adopted: bool = False
    """The execution under way was started by somebody else."""
    runner_ahead_s: float = 0.0
    """The runner's clock less ours, at the last look."""
    looked_at: float | None = None
    """When the last look that counted was made."""
    tail: tuple[str, ...] | None = None
    approved_by: str = ""
    overruled: bool = False
    """A person said yes, and no restart has come of it yet."""
    nonce: str = ""
    """What the approval link must name; empty when nothing is asked."""
    expires_at: float | None = None
    told: tuple[str, ...] = ()
    """Channels that heard of this incident."""
    draining_told: str = ""
    """Which message said last that it drains slowly."""


class Outcome(Struct, frozen=True):
    incident: str
    ending: Ending
    reason: Reason | None
    at: float
    triggers: tuple[AlertRef, ...]
    runner_ended_at: float | None = None
    """When its last restart ended."""
    channels: tuple[str, ...] = ()
    restarts: int = 0
    queues: tuple[QueueRef, ...] = ()


class Archive(Struct, frozen=True):
    """An ended incident, as it goes into the archive."""

    target: Target | None
    incident: Incident
    outcome: Outcome
    version: int = VERSION


class Hold(Struct, frozen=True):
    """What was told last of an alert that was turned away."""

    reason: Reason
    at: float


class Document(Struct, frozen=True):
    """All that is kept of a target (or, for what has no target, of an alert)."""

    key: str
    target: Target | None = None
    incident: Incident | None = None
    outcomes: tuple[Outcome, ...] = ()
    to_tell: tuple[Message, ...] = ()
    to_archive: tuple[Archive, ...] = ()
    """Ended incidents that are not in the archive yet. Writing them there only after the save is what keeps a holder that
    stalled from replacing the true outcome with its own."""
    due: float | None = None
    holds: Mapping[str, Hold] = field(default_factory=dict)
    escalated_at: float | None = None
    threads: Mapping[str, str] = field(default_factory=dict)
    """`channel/incident` -> what the channel needs to reply in the incident's thread."""
    bundled: Mapping[str, float] = field(default_factory=dict)
    """Only in bundle documents: message id -> when it was taken over."""
    version: int = VERSION

    @property
    def open(self) -> bool:
        return self.incident is not None or bool(self.to_tell) or bool(self.to_archive)
