"""The document of a target: its open incident, its last outcomes, and the messages to post with their cards.
Times are Unix seconds in UTC on our clock unless a name or its docstring says `runner`.

A new field needs a default, since stored documents lack it."""

from collections.abc import Callable, Mapping
from typing import NewType

from msgspec import Struct, field

from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef, Target, TurnedAway
from functions.domain.model.cards import Message
from functions.domain.model.codes import VERSION, Ending, Phase, Proof, Reason, Verdict
from functions.domain.model.observations import Channel, Execution, Holder, QueueSnapshot, QueueStalls, Standstill, Subject
from functions.domain.model.runbooks import Runbook
from functions.runtime.text import Phrase

QUEUES_KEPT = 20  # queues of an incident. Every step reads all of them.
ALERTS_KEPT = 50  # alerts of an incident. Fingerprint and start identify an alert, so each is kept.
SAME_START_S = 60.0  # Grafana's replicas give the same alert slightly different start times


class AlertRef(Struct, frozen=True):
    fingerprint: str
    source: str
    starts_at: float
    queue: str
    name: str = ""
    summary: str = ""
    links: Mapping[str, str] = field(default_factory=dict)  # destination (panel, dashboard, silence, alert, runbook) -> URL
    resolved_at: float | None = None
    suspicion: bool = False

    @property
    def key(self) -> str:
        """As `Alert.key`."""
        return f"{self.source}|{self.fingerprint}"

    def is_of(self, alert: Alert) -> bool:
        """Whether it is this alert, in the same firing period."""
        return self.key == alert.key and abs(self.starts_at - alert.starts_at) <= SAME_START_S


class Looks(Struct, frozen=True, omit_defaults=True):
    """What an incident remembers of earlier readings of a queue, to notice discontinuities that one reading can't show."""

    unsure_at: float | None = None  # the first check in a row, since the last restart, that found it stuck or was unsure
    nodes: str = ""  # a digest of the names of the running nodes
    unread_at: float | None = None  # the first check in a row that could not read all of it
    steady_at: float | None = None  # older samples are unreliable: a node was away, came or left, or a counter fell
    deliveries: int | None = None
    consumed: bool = False  # whether a consumer (of `users`) was ever seen, or the alert's history has one
    acked: bool = False  # whether a message was ever acknowledged, by its counter or the alert's history
    unconsumed: bool = False  # the alert's history says that nobody consumed it in the last day
    polled: bool = False  # whether its messages are taken by basic.get, without any consumer
    left_at: float | None = None  # since when it has been without the consumers (of `users`) that an earlier check saw
    redeliveries: int | None = None
    left: int | None = None  # how many more returns its messages survived then, where there is a limit
    oldest_from: float | None = None  # since when its oldest message has been the same


class AfterRestart(Struct, frozen=True, omit_defaults=True):
    """The checks of a queue after the last restart ended; of what nothing was restarted for, when it was well. Times are on the
    runner's clock."""

    depth: int | None = None
    acks: int | None = None
    moved_at: float | None = None  # when it last moved
    well_at: float | None = None  # since when it has been healthy without interruption
    verdict: Verdict | None = None
    looked_at: float | None = None  # when it was last checked
    held_again: int = 0  # how many consumers have held a message for all of `for` since,
    same_again: bool = False  # and whether one of these messages had been delivered before
    survivor: str = ""  # a channel that held messages before the restart and still does: the broker still has its connection
    proven: bool = False  # whether it has been healthy for long enough


class QueueState(Struct, frozen=True):
    """One queue of an incident."""

    queue: QueueRef
    runbook: str
    joined_at: float
    before: QueueSnapshot | None = None  # the last snapshot before the restart
    proof: Proof | None = None  # the verdict behind the restart or the question,
    subject: Subject | None = None  # what stood still,
    stalls: Phrase = ""  # and what was learned of that by then
    against: Phrase = ""  # what speaks against it: why the verdict is likely and not proved
    looks: Looks = Looks()
    after: AfterRestart = AfterRestart()
    consumers: int | None = None  # as many as the last check showed; after a restart, those that connected since
    head_at: float | None = None
    curve: tuple[tuple[float, int], ...] = ()  # samples of its depth
    holders: tuple[Holder, ...] = ()  # who held its messages at the last check
    may_be_gone: bool = False  # messages came back so often that RabbitMQ may have dropped or dead-lettered some

    @property
    def is_likely(self) -> bool:
        return bool(self.against)

    @property
    def held_by(self) -> tuple[Channel, ...]:
        return self.subject.who if self.subject else ()


How = NewType("How", str)
"""How an attempt ended. No enum: if the job failed, documents store the runner's own word too."""
STUCK, UNCLEAR, REFUSED_LATE = How("stuck"), How("unclear"), How("refused_late")


def failed(execution: Execution) -> How:
    """The stored end of an attempt whose job failed, with the runner's word."""
    return How(f"failed: {execution.status}")


class PastAttempt(Struct, frozen=True):
    tag: str
    execution: Execution | None
    how: How
    holder_host: str = ""  # the only host that it restarted; empty: all

    @property
    def key(self) -> tuple[str, str]:
        """Rundeck's own retry has the same tag."""
        return self.tag, self.execution.id if self.execution else ""


class HistoryEntry(Struct, frozen=True):
    at: float  # from then on the incident had this phase and reason
    phase: Phase
    reason: Reason | None = None
    detail: Phrase = ""
    attempt: int = 0


class Opinion(Struct, frozen=True):
    """What an evidence job says of the application on one host. It counts as long as the channels of that host do nothing."""

    host: str
    healthy: bool
    reason: str
    who: tuple[Channel, ...] = ()  # the channels of that host which held messages then


class EvidenceRun(Struct, frozen=True):
    tag: str  # random, and shown nowhere before the run: an opinion has to name it
    host: str = ""  # the only host that it looks at
    execution: Execution | None = None
    missing: Phrase = ""  # why it brought nothing


class Place(Struct, frozen=True):
    """Where the application hangs on one node, as an evidence job read it. It is shown and counted, and decides nothing."""

    host: str  # as an opinion's
    text: str  # FILE, FUNCTION, line N[, called by FILE, FUNCTION][, in LIBRARY CALL][, waits for X]

    @property
    def spot(self) -> str:
        """File and function, by which places are the same: a release moves lines, and DNS moves addresses."""
        return " ".join(self.text.split(", ")[:2])


class Evidence(Struct, frozen=True):
    options: Mapping[str, str] = field(default_factory=dict)  # rendered from the labels of the alert that opened the incident
    asked_at: float | None = None  # when its runs were ordered, which happens once
    until: float = 0.0  # the restart waits until then at most
    runs: tuple[EvidenceRun, ...] = ()  # one for each host that holds messages, four at most; or a single one without a host
    lines: tuple[str, ...] = ()  # the lines that cards show. The whole output is in the archive, as evidence/ID.txt.
    missing: Phrase = ""  # why there is no evidence
    places: tuple[Place, ...] = ()  # where the application hangs

    @property
    def execution(self) -> Execution | None:
        """The first run's."""
        return next((run.execution for run in self.runs if run.execution), None)


class Asked(Struct, frozen=True):
    """What a card asked, or called people for. An answer covers that, and nothing else."""

    at: float
    runner_at: float = 0.0  # the same, on the runner's clock: looks may be made by machines whose clocks differ
    subjects: tuple[Subject, ...] = ()
    queues: tuple[str, ...] = ()  # the keys of all queues that the card named, stuck or not
    guards: tuple[str, ...] = ()  # the guards whose objections it named
    remind_at: float | None = None  # None: no more reminders
    reminded: int = 0  # reminders sent


class Approval(Struct, frozen=True):
    nonce: str = ""  # the nonce that the approval link must name; empty if Unstick does not ask
    expires_at: float | None = None
    approved_by: str = ""
    approved_why: str = ""
    declined_by: str = ""
    asked: Asked | None = None
    replaced: tuple[str, ...] = ()  # the nonces of earlier cards of this incident, which ask no more
    approved: Asked | None = None  # what a person approved, as long as that has not led to a restart


class Run(Struct, frozen=True):
    runner_not_after: float | None = None
    unclear: Phrase = ""  # the runner's answer to the start, if it was unclear
    adopted: bool = False  # somebody else started the execution
    tail: tuple[str, ...] | None = None  # the last lines of its log
    holder_host: str = ""  # the only host that it restarts, since its consumer alone is proved to hang; empty: all


class Incident(Struct, frozen=True):
    """An open incident."""

    id: str
    phase: Phase
    began_at: float
    runbook: str
    queues: tuple[QueueState, ...]
    triggers: tuple[AlertRef, ...]
    due: float = 0.0  # when the incident's next step is due; the document's `due` may be earlier, for a message
    found: Mapping[Reason, float] = field(default_factory=dict)  # the reasons that it waits for -> the first look that found each
    attempt: int = 0  # the number of the current or last attempt
    restarts: int = 0  # how many executions were restarts (refused late starts do not count)
    tries: tuple[PastAttempt, ...] = ()
    reason: Reason | None = None  # the reason why it waits, asks or was last held
    detail: Phrase = ""
    execution: Execution | None = None  # the execution of the current attempt
    run: Run = Run()
    runner_ahead_s: float = 0.0  # the runner's clock minus ours, at the last observation
    looked_at: float | None = None  # the last check that counted; while a restart runs, the last that saw it running
    evidence: Evidence | None = None  # None: the runbook had no evidence job when the incident began
    approval: Approval = Approval()
    told: tuple[str, ...] = ()  # the channels that got a message about this incident
    start_page: str = ""  # where people start the job by hand
    history: tuple[HistoryEntry, ...] = ()  # the decisions with their times, for people. No decision depends on it.

    @property
    def first_alert_at(self) -> float:
        return min((trigger.starts_at for trigger in self.triggers), default=self.began_at)

    @property
    def newest_alert_at(self) -> float:
        return max((trigger.starts_at for trigger in self.triggers), default=self.began_at)

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The restarts, without starts that the job refused."""
        tried = [attempt.execution for attempt in self.tries if attempt.how != REFUSED_LATE]
        return tuple({execution.id: execution for execution in (*tried, self.execution) if execution is not None}.values())

    def is_further(self, run: Execution) -> bool:
        """Whether this run counts beside those that were tried: the runner's own retry has the tag of a run that did."""
        return all(one.tag != run.tag or one.execution is None or one.how == REFUSED_LATE for one in self.tries)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it hangs, or hung; empty if that isn't known."""
        return self.evidence.places if self.evidence else ()

    @property
    def is_suspicion(self) -> bool:
        """Whether it is still only suspected: no other alert joined, nothing was started, nobody was notified."""
        suspected = bool(self.triggers) and all(trigger.suspicion for trigger in self.triggers)
        return suspected and not (self.attempt or self.restarts or self.told)


class Outcome(Struct, frozen=True):
    incident: str
    ending: Ending
    reason: Reason | None
    at: float
    triggers: tuple[AlertRef, ...]
    runner_ended_at: float | None = None  # when the last restart ended, on the runner's clock
    channels: tuple[str, ...] = ()
    restarts: int = 0
    queues: tuple[QueueRef, ...] = ()
    by: str = ""  # the person who ended it
    runbook: str = ""
    nonce: str = ""  # of the link with which somebody says that it was healthy
    subjects: tuple[Subject, ...] = ()  # what stood still
    places: tuple[Place, ...] = ()  # where it hung

    @property
    def settles(self) -> bool:
        """Whether its alerts are settled: if they still fire, they start nothing and no question is asked."""
        return self.ending is not Ending.HELD or self.reason is Reason.DECLINED


class Archive(Struct, frozen=True):
    target: Target | None
    incident: Incident
    outcome: Outcome
    version: int = VERSION


class Escalation(Struct, frozen=True):
    """An ended incident that people have to handle, until its queues are well again."""

    incident: str
    runbook: str
    at: float
    due: float | None = None  # the time of the next look
    nonce: str = ""  # the nonce of the link with which somebody takes it; empty if there is no address for it
    asked: Asked = Asked(0.0)
    taken_by: str = ""
    taken_at: float | None = None
    queues: tuple[QueueState, ...] = ()  # what has to be well again
    start_page: str = ""  # where people start the job by hand
    channels: tuple[str, ...] = ()  # the channels that were told of it


class Told(Struct, frozen=True):
    """What people were asked, told, or said about a standstill."""

    subject: Subject
    reason: Reason
    at: float
    incident: str
    over: bool = False  # the queue was well since: another standstill is another matter


class Document(Struct, frozen=True):
    key: str  # of a target, or of an alert without one
    target: Target | None = None
    incident: Incident | None = None
    outcomes: tuple[Outcome, ...] = ()
    to_tell: tuple[Message, ...] = ()
    to_archive: tuple[Archive, ...] = ()
    """They are archived only after the save, so that a stalled process can't replace the true outcome with its own."""
    due: float | None = None
    holds: Mapping[str, float] = field(default_factory=dict)  # alert and reason -> when people were told
    escalation: Escalation | None = None
    threads: Mapping[str, str] = field(default_factory=dict)  # `channel/incident` -> the channel's handle of its thread
    bundled: Mapping[str, float] = field(default_factory=dict)  # in bundle documents only: message id -> when it was moved here
    told: tuple[Told, ...] = ()  # of the last day
    opinions: tuple[Opinion, ...] = ()  # the newest of each host
    terms: Mapping[str, Runbook] = field(default_factory=dict)
    """The runbooks of what is open, as they were: it goes on by them when the configuration has them no longer."""
    passed_at: float | None = None  # when the last suspicion cleared, which is logged
    matched: Mapping[str, float] = field(default_factory=dict)  # runbook -> when it last matched an alert, to the hour
    turned_away: TurnedAway = TurnedAway()  # in the documents of alerts without a target only
    standstills: tuple[Standstill, ...] = ()  # followed to their end, whatever becomes of the incident
    stalls: Mapping[str, QueueStalls] = field(default_factory=dict)  # by the queue's key: how long it stood still and went on
    version: int = VERSION

    @property
    def open(self) -> bool:
        waits = self.escalation is not None and not self.escalation.taken_by
        return self.incident is not None or waits or bool(self.to_tell or self.to_archive)

    def find_doubtable(self, nonce: str) -> Outcome | None:
        """The outcome of which somebody may say with this nonce that it was healthy."""
        return next((outcome for outcome in self.outcomes if nonce and outcome.nonce == nonce), None)

    def find_outcome(self, incident: str) -> Outcome | None:
        return next((outcome for outcome in reversed(self.outcomes) if outcome.incident == incident), None)

    def is_escalation_due(self, now: float) -> bool:
        """Whether to look at what people were called for."""
        return self.escalation is not None and now >= (self.escalation.due or 0.0)

    def list_told(self, subject: Subject) -> list[Told]:
        """What was said of this standstill, the oldest first."""
        return [told for told in self.told if not told.over and told.subject.is_same(subject)]


def find_settled(document: Document) -> Callable[[MatchedAlert], Outcome | None]:
    """What finds the newest outcome that settled an alert. Any report of the same firing period is the same alert."""
    kept: dict[str, list[tuple[float, Outcome]]] = {}
    for outcome in reversed(document.outcomes):
        for trigger in outcome.triggers if outcome.settles else ():
            kept.setdefault(trigger.key, []).append((trigger.starts_at, outcome))

    def find(case: MatchedAlert) -> Outcome | None:
        firings = kept.get(case.alert.key, ())
        return next((outcome for starts_at, outcome in firings if abs(starts_at - case.alert.starts_at) <= SAME_START_S), None)

    return find


def new_alerts(document: Document, cases: tuple[MatchedAlert, ...]) -> tuple[MatchedAlert, ...]:
    """The firing alerts that no outcome of the document contains."""
    outcome_of = find_settled(document)
    return tuple(case for case in cases if case.alert.firing and outcome_of(case) is None)
