"""What was seen of the outside at one moment.

Times are Unix seconds in UTC on our clock, unless a name says `runner`: then they are on the clock of the system that runs
the restart.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.model.codes import VERSION
from functions.runtime.text import Phrase


class Execution(Struct, frozen=True):
    """One run of a job as the runner's history has it. Times are on the runner's clock."""

    id: str
    url: str
    status: str
    runner_started_at: float | None = None
    runner_ended_at: float | None = None
    tag: str = ""
    """INCIDENT.ATTEMPT where Unstick started it, else empty."""
    runner_not_after: float | None = None
    user: str = ""
    scheduled: bool = False
    """Waits for a later start; it blocks the job though it does not run."""
    retry_of_restart: bool = False
    """The runner's own retry of an execution that was seen to begin in time, so the attempt was a restart in any case."""

    @property
    def ended(self) -> bool:
        return self.runner_ended_at is not None

    @property
    def succeeded(self) -> bool:
        return self.ended and self.status == "succeeded"

    @property
    def refused(self) -> bool:
        """The job's own guard turned it away because it was accepted too late: no restart."""
        return self.late and self.ended and not self.succeeded

    @property
    def late(self) -> bool:
        """It was accepted after the time that it was given."""
        return self.runner_not_after is not None and (self.runner_started_at or 0.0) > self.runner_not_after


class Unknown(Struct, frozen=True):
    """Something that could not be seen. `late`: the time given was used up, so a later look may well see it."""

    why: Phrase
    late: bool = False
    remedy: Phrase = ""


class ExecutionHistory(Struct, frozen=True):
    """The runner's history as far as it concerns one target."""

    runner_now: float
    executions: tuple[Execution, ...] = ()
    """With the target's own options: running, scheduled and ended ones, newest start first."""
    others: tuple[Execution, ...] = ()
    """Unfinished ones of the same job with other options."""
    followed: Execution | None = None
    """The execution that the incident goes by, at the end of its chain of retries."""
    tail: tuple[str, ...] | None = None
    """Its last log lines, where they were asked for."""
    read_at: float | None = None
    """When it was `runner_now`, by our clock."""


class QueueSnapshot(Struct, frozen=True):
    """One look at a queue. Depths are live; whatever comes from the queue's page is None where it can't be had."""

    at: float
    depth: int
    ready: int
    unacked: int
    consumers: int | None = None
    consumer_ids: tuple[str, ...] | None = None
    acks: int | None = None
    """The broker's counter of acknowledgements of this queue, since it began to count."""
    ack_samples: tuple[tuple[float, int], ...] = ()
    """(broker's time, counter), oldest first."""
    depth_samples: tuple[tuple[float, int], ...] = ()
    """(broker's time, depth), oldest first."""
    head_at: float | None = None
    """When the oldest ready message was published, where publishers say so."""


class Pause(Struct, frozen=True):
    """The kill switch, when it is on."""

    reason: str = ""
    by: str = ""
    at: float = 0.0
    on: bool = True
    version: int = VERSION


class Slot(Struct, frozen=True):
    target: str
    at: float


class Storm(Struct, frozen=True):
    """The document `storm`: whose first restarts happened lately."""

    slots: tuple[Slot, ...] = ()
    version: int = VERSION


class Observation(Struct, frozen=True):
    """What RabbitMQ, Rundeck and the kill switch show at one moment."""

    ledger: ExecutionHistory | Unknown
    queues: Mapping[str, QueueSnapshot | Unknown]
    """By `QueueRef.key`."""
    pause: Pause | Unknown | None
    storm: Storm | Unknown
