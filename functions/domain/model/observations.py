"""The state of the symptom, the runner and the kill switch at one moment; and how long queues stood still and went on by
themselves: how long an application stalls is its own, and nobody can configure it.
Times are Unix seconds in UTC on our clock. Names with `runner` are on the clock of the system that runs the job."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.model.alerts import QueueRef
from functions.domain.model.codes import VERSION
from functions.runtime.text import Phrase, Text, in_brackets

MARGIN = 1.5  # of 72 recorded stalls, 3 were longer than that much of the second-longest before, each the third (2026-12-01)


class StallKind(StrEnum):
    """What stood still. Each kind moves the deadline of its own rows alone."""

    HELD = "held"
    UNSERVED = "unserved"
    GONE = "gone"


class Stall(Struct, frozen=True, omit_defaults=True):
    """A time for which a row of the verdict table held, for `for` or longer, and which ended by itself."""

    kind: StallKind
    ended_at: float
    lasted_s: float
    confirmed: bool = False  # a person said that it was on purpose

    @property
    def began_at(self) -> float:
        return self.ended_at - self.lasted_s


class Standstill(Struct, frozen=True, omit_defaults=True):
    """One that has not ended, or ended a moment ago: it is followed, whatever becomes of the incident."""

    queue: QueueRef
    runbook: str
    kind: StallKind
    began_at: float
    due: float  # when to look at it again
    seen_at: float  # when it was last seen to stand still
    channel: str = ""  # the channel that holds messages; empty: the queue alone shows it
    connected_at: float | None = None
    work: int = 0  # the counter that stands still: the channel's deliveries and acknowledgements, or the queue's acknowledgements
    done: int = 0  # how many messages were finished by then, by the channel or of the queue
    consumers: str = ""  # a digest of the queue's consumers
    redeliveries: int | None = None
    left: int | None = None  # messages that had left the queue by then, whether acknowledged or not; None if that isn't counted
    ended_at: float | None = None
    confirmed: bool = False
    tags: tuple[str, ...] = ()  # of the channel's consumers
    spoiled: bool = False  # it teaches nothing, nor does what follows it without movement between


class QueueStalls(Struct, frozen=True, omit_defaults=True):
    """What was learned of one queue."""

    since: float  # when it was first looked at
    stalls: tuple[Stall, ...] = ()  # the longest of each kind
    doubted: tuple[StallKind, ...] = ()
    """A person said of a restart for such a standstill that the application was healthy: until one ends by itself, people are
    asked."""
    users: tuple[str, ...] = ()  # those of the runbook's `users` that were seen to consume it

    def of_kind(self, kind: StallKind) -> list[Stall]:
        """Its stalls of this kind, the longest first."""
        return sorted((stall for stall in self.stalls if stall.kind is kind), key=lambda stall: -stall.lasted_s)

    def asks_s(self, kind: StallKind) -> float:
        """From when on people are asked, by what was seen; 0 if nothing was. By the second-longest, since one may be a hang that
        somebody mended out of Unstick's sight; by the longest that a person confirmed."""
        stalls = enumerate(self.of_kind(kind), 1)
        return MARGIN * max((stall.lasted_s for place, stall in stalls if place == 2 or stall.confirmed), default=0.0)

    def restarts_s(self, kind: StallKind) -> float:
        """From when on it is proved to hang: the more its lengths vary, the later. Of 100 applications with lognormal lengths
        (sigma 0.4, 200 stalls after three were seen) 8 are restarted wrongly, by the second-longest alone 72 (2026-12-03)."""
        lengths = [stall.lasted_s for stall in self.of_kind(kind)]
        if not lengths:
            return 0.0
        half = len(lengths) // 2
        median_s = (lengths[half] + lengths[-half - 1]) / 2
        return max(self.asks_s(kind), lengths[0] * (MARGIN + 2 * (lengths[0] / median_s - 1)))


MAX_SKEW_S = 30.0  # with clocks further apart, `not_after` lets late starts through, or none at all
EVIDENCE = "evidence"  # INCIDENT.evidence-RANDOM tags an evidence run, INCIDENT.ATTEMPT a restart


class Execution(Struct, frozen=True):
    """One run of a job in the runner's history. Times are on the runner's clock."""

    id: str
    url: str
    status: str
    runner_started_at: float | None = None
    runner_ended_at: float | None = None
    tag: str = ""  # INCIDENT.ATTEMPT if Unstick started it, otherwise empty
    runner_not_after: float | None = None
    user: str = ""
    aborted_by: str = ""  # the user who aborted it
    scheduled: bool = False  # it waits for a later start, and blocks the job until then
    abandoned: bool = False  # it has ended, and how is unknown
    retry_of_restart: bool = False  # the runner's own retry of an execution that began in time: the attempt was a restart
    host: str = ""  # the only host that it was limited to, by the target's holder option; empty: all
    over: bool = False  # the runner shows that its command ended on each node, or ended with the run

    @property
    def is_evidence(self) -> bool:
        """Whether Unstick started it to collect evidence. Such a run never counts as a restart."""
        return f".{EVIDENCE}" in self.tag

    @property
    def ended(self) -> bool:
        return self.runner_ended_at is not None

    @property
    def succeeded(self) -> bool:
        return self.ended and self.status == "succeeded"

    @property
    def failed(self) -> bool:
        return self.ended and not self.succeeded and not self.refused

    @property
    def may_still_run(self) -> bool:
        """Whether its command may: over SSH a lost connection, an abort or a time-out ends the run alone (measured on 6.1)."""
        began, ended = self.runner_started_at or 0.0, self.runner_ended_at or 0.0
        return self.failed and not self.over and began < ended

    @property
    def refused(self) -> bool:
        """Whether the job's own guard refused it because it came too late. Then it was no restart."""
        return self.late and self.ended and not self.succeeded

    @property
    def late(self) -> bool:
        return self.runner_not_after is not None and (self.runner_started_at or 0.0) > self.runner_not_after


class Unknown(Struct, frozen=True):
    """Something that could not be read. `late`: it timed out, so a later observation may succeed."""

    why: Phrase
    late: bool = False
    remedy: Phrase = ""


NOT_CHECKED = Unknown(Text("it was not checked"))


class ExecutionHistory(Struct, frozen=True):
    runner_now: float
    executions: tuple[Execution, ...] = ()  # with the target's own options: running, scheduled and ended, newest start first
    others: tuple[Execution, ...] = ()  # unfinished executions of the same job with other options
    followed: Execution | None = None  # the execution that the incident follows, at the end of its chain of retries
    tail: tuple[str, ...] | None = None  # its last log lines, if they were requested
    read_at: float | None = None  # the time of `runner_now` on our clock
    start_page: str = ""  # where people start the job by hand, with the target's options filled in

    def ahead_s(self, now: float) -> float:
        """How far the runner's clock is ahead of ours."""
        return self.runner_now - (now if self.read_at is None else self.read_at)

    def running_s(self, execution: Execution) -> float:
        return max(0.0, self.runner_now - (execution.runner_started_at or self.runner_now))


class Holder(Struct, frozen=True):
    host: str  # the address of a consumer's connection that holds messages
    name: str = ""  # its own name: that of its connection, otherwise its product
    messages: int | None = None  # how many of this queue's messages it holds; None if its channel also holds messages of others
    since: float | None = None  # since when at least its channel has neither received nor acknowledged anything, on our clock


Samples = tuple[tuple[float, int], ...]
"""(time on the clock of who took it, value), oldest first. A figure that could not be read has none, which is never 0."""


class Channel(Struct, frozen=True, omit_defaults=True):
    id: str  # its name, which never changes
    host: str = ""
    name: str = ""  # its connection's own name
    held: int = 0  # how many messages it has received and not acknowledged
    counted: int = 0  # deliveries less acknowledgements, by its counters. More than `held` if it rejects messages.
    work: Samples = ()  # its deliveries and acknowledgements together
    redeliveries: Samples = ()
    returned: int | None = None  # how many redeliveries by now; None where that is not known
    shared: bool = False  # it also consumes other queues, so the queue of its messages is unknown
    user: str = ""  # the RabbitMQ user of its connection
    window: int | None = None  # how many messages it may hold, of all its consumers together; 0: any number, None: not known
    connected_at: float | None = None  # when its connection began, on the broker's clock: with `id` this identifies it for good
    acks: Samples = ()
    tags: tuple[str, ...] = ()  # the tags of its consumers of this queue, sorted. A reopened channel keeps its name, not these

    @property
    def finished(self) -> int:
        """How many messages it has acknowledged or rejected: what was delivered, less what it holds."""
        return ((self.work[-1][1] if self.work else 0) + self.counted) // 2 - self.sure

    def is_unmoved(self, later: "Channel") -> bool:
        """Whether this is the same channel, and it has finished nothing until that later reading."""
        connections = {self.connected_at, later.connected_at} - {None}
        return (self.id, self.finished) == (later.id, later.finished) and len(connections) < 2

    @property
    def sure(self) -> int:
        """How many messages it holds by its counters, too. These are up to 5 s behind `held`."""
        return min(self.held, self.counted)

    @property
    def is_holding(self) -> bool:
        return self.sure > 0 and bool(self.work and self.work[-1][1])

    @property
    def is_full(self) -> bool:
        return bool(self.window) and self.sure >= (self.window or 0)


class Subject(Struct, frozen=True, omit_defaults=True):
    """What a verdict is about, and all that follows from it: one standstill of a queue, and who stands still."""

    queue: str  # the queue's key
    kind: StallKind
    who: tuple[Channel, ...] = ()  # the channels that prove it, of their samples only the newest; empty: the queue's consumers
    acks: int | None = None  # the queue's counter, where no channel shows that nothing was done
    proved: bool = True

    def on_host(self, host: str) -> "Subject | None":
        """The part of it that a restart of this host alone is about."""
        who = tuple(channel for channel in self.who if channel.host == host)
        return replace(self, who=who) if who else None

    def is_same(self, other: "Subject") -> bool:
        """Whether both are the same standstill: one channel at least has done nothing in between. What is gone stays the same
        until somebody is back."""
        if not self.is_about(other):
            return False
        if self.who:
            return any(channel.is_unmoved(later) for channel in self.who for later in other.who)
        return self.kind is StallKind.GONE or self.acks == other.acks

    def is_about(self, other: "Subject") -> bool:
        """Whether both are of the same queue and kind, and have a channel in common or have none."""
        if (self.queue, self.kind, bool(self.who)) != (other.queue, other.kind, bool(other.who)):
            return False
        return not self.who or not {channel.id for channel in self.who}.isdisjoint(channel.id for channel in other.who)

    def covers(self, other: "Subject") -> bool:
        """Whether whoever was asked about this one was asked about all of that one, and it was no weaker then."""
        known = {channel.id for channel in self.who}
        return self.is_about(other) and self.proved >= other.proved and known.issuperset(channel.id for channel in other.who)


class Returns(Struct, frozen=True, omit_defaults=True):
    """How often a held message may return to its queue. A consumer that goes, for whatever reason, returns all that it holds."""

    limit: int | None  # the queue's delivery limit: the return after that many drops the message; None: it can't be read
    used: int = 0  # how often a message that is held now has returned already, at most
    dead_letters: bool = False  # what is over the limit goes to a dead-letter exchange instead

    @property
    def left(self) -> int:
        """How many more returns they survive, at least."""
        return max((self.limit or 0) - self.used, 0)


class QueueHistory(Struct, frozen=True, omit_defaults=True):
    ready: Samples = ()
    unacked: Samples = ()
    deliveries: Samples = ()  # with and without acknowledgement, pushed or polled
    redeliveries: Samples = ()
    publishes: Samples = ()  # without what came by dead-lettering, and on RabbitMQ 4.x by AMQP 1.0 and MQTT
    pushed: Samples = ()  # the part of the deliveries that went to consumers: without basic.get


class NodeOutput(Struct, frozen=True):
    """What a job wrote on one node."""

    node: str  # as the runner names it; empty if it doesn't tell nodes apart
    text: str


class EvidenceReading(Struct, frozen=True):
    execution: Execution | None = None  # None: not in the history, or not yet
    output: tuple[NodeOutput, ...] | None = None  # once it has ended, with secrets masked; None if it could not be read
    problem: Phrase = ""  # why it could not be read
    awaited: bool = False  # the incident still waits for it; while it waits for one, nothing else is observed


class QueueSnapshot(Struct, frozen=True):
    """One reading of a queue. None: could not be read."""

    at: float
    depth: int  # ready and unacknowledged
    ready: int | None = None  # the part of the depth that nobody has taken yet
    unacked: int | None = None  # the part of the depth that consumers hold
    consumers: int | None = None
    consumer_ids: tuple[str, ...] | None = None
    acks: int | None = None  # a counter of the work done on this queue, such as its acknowledgements
    ack_samples: tuple[tuple[float, int], ...] = ()  # (the system's own time, counter), oldest first
    depth_samples: tuple[tuple[float, int], ...] = ()  # (the system's own time, depth), oldest first
    head_at: float | None = None  # when the oldest waiting message was published, if publishers set it
    holders: tuple[Holder, ...] = ()  # who is proved to hold unacknowledged messages; without channels, the only consumer
    blind: Unknown | None = None  # why missing work can't be proved; then the queue is not stuck. `late`: this passes by itself.
    deliveries: int | None = None  # how many were delivered or taken; None if they aren't counted, or there was none
    redeliveries: int | None = None
    published: int | None = None
    history: QueueHistory = QueueHistory()
    channels: tuple[Channel, ...] | None = None  # of its consumers that acknowledge messages; None if they can't be seen
    unseen: Unknown | None = None  # why the channels can't be seen although they should: one may hang unnoticed
    consumed: bool = False  # it has or had a consumer, whatever its counters say
    active: int | None = None  # how many consumers would be given a message now; None if unknown
    users: tuple[str, ...] = ()  # the RabbitMQ users of its consumers, each once
    owners: tuple[str, ...] | None = None  # the user of each consumer that is there, sorted; None if not all are known
    polled: bool = False  # messages were taken by basic.get, and none was delivered to a consumer
    uncounted: bool = False  # no counter covers some consumer's work, as for AMQP 1.0 and MQTT on RabbitMQ 4.x
    nodes: tuple[str, ...] = ()  # the running nodes of the cluster; empty if they can't be seen
    node_down: bool = False  # a node of the cluster is down; only earlier checks show since when
    nodes_up_s: float | None = None  # the minimum time for which all of these nodes have been running
    returns: Returns | None = None  # how often held messages may return; None where there is no limit


class Statement(Struct, frozen=True):
    """What a symptom says of a queue by the runbook's own conditions, such as PromQL. If both or neither hold, it is unknown."""

    at: float
    range_s: float  # how far back a condition looks: after a restart it says something about the time since only then
    stuck_s: float | None = None  # for how long the condition for "stuck" has held without a gap; None: it doesn't hold
    recovered: bool = False  # whether the condition for "recovered" holds
    free_s: float | None = None  # since the condition for "stuck" last held; None: it holds, or held at no moment that was asked
    figures: QueueSnapshot | None = None  # its depth, for people: nothing is judged by it


Reading = QueueSnapshot | Statement | Unknown


def figures_of(seen: Reading) -> QueueSnapshot | None:
    """The figures of a reading, as far as it has any."""
    return seen.figures if isinstance(seen, Statement) else seen if isinstance(seen, QueueSnapshot) else None


class Pause(Struct, frozen=True):
    """The kill switch."""

    reason: Phrase = ""
    by: str = ""
    at: float = 0.0
    on: bool = True
    version: int = VERSION
    until: float | None = None  # when it turns off by itself

    def holds_at(self, now: float) -> bool:
        return self.on and (self.until is None or now < self.until)

    @property
    def why(self) -> Phrase:
        return in_brackets(self.reason, self.by)


class Slot(Struct, frozen=True):
    target: str
    at: float


class Storm(Struct, frozen=True):
    """The targets that recently had their first restart; the document `storm`."""

    slots: tuple[Slot, ...] = ()
    version: int = VERSION
    generation: str | None = None  # as it was loaded; None: there is no document yet


class Observation(Struct, frozen=True):
    history: ExecutionHistory | Unknown
    queues: Mapping[str, Reading]  # by `QueueRef.key`
    pause: Pause | Unknown | None
    storm: Storm | Unknown
    start_page: str = ""  # where people start the job by hand, as far as it is known without the history: without the options
    nonce: str = ""  # random, new for each observation: for an approval link, if one is sent
    evidence: tuple[EvidenceReading, ...] | None = None  # of each run; None: this observation didn't read evidence

    def reading_of(self, queue: QueueRef) -> Reading:
        return self.queues.get(queue.key, NOT_CHECKED)
