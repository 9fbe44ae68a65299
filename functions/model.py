"""The words of Unstick as types: plain, frozen, without behaviour beyond what follows from their own fields.

Times are Unix seconds in UTC on our clock unless a name says `runner` (then they are on the clock of the system that
runs the restart). Durations end in `_s`. The words are explained in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

VERSION = 1
"""Of documents, archive records and wake-ups. A release reads its own and the former's, and leaves newer ones alone."""


class Reason(StrEnum):
    """Why a restart was held. The values are the reason codes that logs, metrics, answers and docs use."""

    PAUSED = "paused"
    NOT_FIRING = "not_firing"
    NO_RUNBOOK = "no_runbook"
    TEST_ALERT = "test_alert"
    MONITORING_FAILURE = "monitoring_failure"
    STALE_ALERT = "stale_alert"
    FROZEN = "frozen"
    SYMPTOM_GONE = "symptom_gone"
    SYMPTOM_UNKNOWN = "symptom_unknown"
    LEDGER_UNKNOWN = "ledger_unknown"
    ALREADY_RUNNING = "already_running"
    JOB_BUSY = "job_busy"
    ZOMBIE_EXECUTION = "zombie_execution"
    RESTART_REFUSED = "restart_refused"
    DUPLICATE = "duplicate"
    ESCALATED = "escalated"
    COOLDOWN = "cooldown"
    TOO_MANY_RESTARTS = "too_many_restarts"
    FAILING = "failing"
    TOO_MANY_TARGETS = "too_many_targets"
    INVALID_OPTION = "invalid_option"
    OBSERVE_ONLY = "observe_only"
    AWAITING_APPROVAL = "awaiting_approval"


class Mode(StrEnum):
    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


class Phase(StrEnum):
    DEFERRED = "deferred"
    ASKED = "asked"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    VERIFYING = "verifying"


class Action(StrEnum):
    """What the answer to Grafana says of an incident."""

    RESTARTED = "restarted"
    ADOPTED = "adopted"
    HELD = "held"
    DEFERRED = "deferred"
    ASKED = "asked"


class Verdict(StrEnum):
    RECOVERED = "recovered"
    DRAINING = "draining"
    STUCK = "stuck"
    UNKNOWN = "unknown"


class Ending(StrEnum):
    """How an incident ended."""

    RECOVERED = "recovered"
    ESCALATED = "escalated"
    HELD = "held"


# --- what comes in -------------------------------------------------------------------------------------------------


class Alert(Struct, frozen=True):
    """One entry of a notification's `alerts`, of Grafana or Alertmanager."""

    fingerprint: str
    source: str
    """Who sent it: external URL and organisation, since fingerprints are unique only inside one."""
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    """None while it fires (Grafana sends year 1)."""
    generator_url: str = ""
    silence_url: str = ""
    dashboard_url: str = ""
    panel_url: str = ""
    test: bool = False
    """Sent by the Test button of a contact point."""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


class Notification(Struct, frozen=True):
    """One request of Grafana or Alertmanager, parsed. `truncated` alerts were left out by the sender."""

    alerts: tuple[Alert, ...]
    truncated: int = 0
    group_key: str = ""
    receiver: str = ""


# --- runbooks ------------------------------------------------------------------------------------------------------


class Matcher(Struct, frozen=True):
    """One matcher in Alertmanager's syntax; `=~` and `!~` are anchored RE2, a missing label is the empty string."""

    label: str
    op: str
    value: str


class Restart(Struct, frozen=True):
    job: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Templates: `${labels.NAME}` is replaced by the alert's label."""
    allow: Mapping[str, str] = field(default_factory=dict)
    """Option or label name -> RE2 pattern that the whole rendered value must match."""
    start_within_s: float = 30.0
    max_run_s: float = 1800.0


class Symptom(Struct, frozen=True):
    """What is ill: over `max_messages`, and for all of `for_s` nothing acknowledged or no consumer."""

    kind: str = "rabbitmq"
    vhost: str = "/"
    queue: str = ""
    max_messages: int = 0
    for_s: float = 60.0


class Recovered(Struct, frozen=True):
    max_messages: int = 0
    min_consumers: int = 1


class Verify(Struct, frozen=True):
    """When to look after the restart's end, in seconds."""

    first_s: float = 20.0
    every_s: float = 15.0
    patience_s: float = 120.0
    within_s: float = 600.0


class Limits(Struct, frozen=True):
    cooldown_s: float = 600.0
    attempts: int = 2
    restarts: tuple[tuple[float, int], ...] = ((3600.0, 3), (86400.0, 7))
    """(window in seconds, how many restarts fill it)."""
    failing: int = 2
    stale_s: float = 86400.0


class Freeze(Struct, frozen=True):
    """A weekly window in the configured time zone; `end` before `start` runs over midnight."""

    days: frozenset[int]
    """0 is Monday; the day on which the window begins."""
    start_minute: int
    end_minute: int
    text: str
    """As it stands in the file, for people."""


class Runbook(Struct, frozen=True):
    name: str
    match: tuple[Matcher, ...]
    restart: Restart
    symptom: Symptom
    mode: Mode = Mode.AUTO
    recovered: Recovered = field(default_factory=Recovered)
    verify: Verify = field(default_factory=Verify)
    limits: Limits = field(default_factory=Limits)
    freeze: tuple[Freeze, ...] = ()
    notify: tuple[str, ...] = ()
    escalate: tuple[str, ...] = ()
    mention: tuple[str, ...] = ()
    root_cause: str = ""
    manual_minutes: float = 0.0


class Rules(Struct, frozen=True):
    """What the core needs of the configuration."""

    runbooks: Mapping[str, Runbook]
    notify: tuple[str, ...] = ()
    """Channels of what belongs to no runbook, and of runbooks that name none."""
    storm_targets: int = 3
    storm_within_s: float = 600.0
    public_url: str = ""
    language: str = "en"
    time_zone: str = "UTC"
    incident_option: str = "unstick_incident"

    @property
    def zone(self) -> ZoneInfo:
        """`time_zone` with its rules."""
        from zoneinfo import ZoneInfo  # 2 ms, and only for freeze windows and people

        return ZoneInfo(self.time_zone)


# --- targets and what is seen of them ------------------------------------------------------------------------------


class Target(Struct, frozen=True):
    """What is restarted: the runner's URL, its job and the rendered options, without Unstick's own options."""

    key: str
    url: str
    job: str
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """For people: the option values, or the job where there are none."""
        return " ".join(f"{k}={v}" for k, v in sorted(self.options.items())) or self.job


class QueueRef(Struct, frozen=True):
    vhost: str
    name: str
    kind: str = "rabbitmq"

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.vhost}:{self.name}"


class Case(Struct, frozen=True):
    """One alert after matching: what it asks for, or why nothing can come of it (`reason` set, target None)."""

    alert: Alert
    runbook: Runbook | None = None
    target: Target | None = None
    queue: QueueRef | None = None
    reason: Reason | None = None
    detail: str = ""


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

    why: str
    late: bool = False
    remedy: str = ""


class Ledger(Struct, frozen=True):
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


class Sighting(Struct, frozen=True):
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

    ledger: Ledger | Unknown
    queues: Mapping[str, Sighting | Unknown]
    """By `QueueRef.key`."""
    pause: Pause | Unknown | None
    storm: Storm | Unknown


# --- the document --------------------------------------------------------------------------------------------------


class Trigger(Struct, frozen=True):
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


class Watched(Struct, frozen=True):
    """One queue of an incident and what was seen of it."""

    queue: QueueRef
    runbook: str
    joined_at: float
    before: Sighting | None = None
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


class Try(Struct, frozen=True):
    """One restart of an incident that is over, however it went."""

    tag: str
    execution: Execution | None
    how: str


class Incident(Struct, frozen=True):
    id: str
    phase: Phase
    began_at: float
    runbook: str
    queues: tuple[Watched, ...]
    triggers: tuple[Trigger, ...]
    due: float = 0.0
    """When the next step of the incident itself is due; the document's `due` may be earlier, to tell something."""
    waits_from: float = 0.0
    """From when on its time to wait is counted, where a cooldown or a person's yes came before that."""
    attempt: int = 0
    """The number of the attempt that is under way or was the last."""
    restarts: int = 0
    """How many executions were restarts (refused late starts are none)."""
    tries: tuple[Try, ...] = ()
    reason: Reason | None = None
    """Why it waits, asks or was held last."""
    detail: str = ""
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


class Card(Struct, frozen=True):
    """What people read, without any platform's markup. Every text is plain and may be untrusted."""

    kind: str
    urgency: str
    """`act` (somebody must get up), `watch` (something is happening), `plan` (it can wait for working hours) or `fine`."""
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    """Log lines, shown as they are."""
    curve: tuple[tuple[float, int], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    mention: tuple[str, ...] = ()
    incident: str = ""
    """Messages of one incident belong into one thread."""
    at: float = 0.0


class Message(Struct, frozen=True):
    """Something to tell on one channel. It stays in the document until it was posted."""

    id: str
    channel: str
    card: Card
    bundle: str = ""
    """A reason code: goes out with others of its kind as one message."""
    name: str = ""
    """What that message calls it."""


class Outcome(Struct, frozen=True):
    incident: str
    ending: Ending
    reason: Reason | None
    at: float
    triggers: tuple[Trigger, ...]
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


# --- events and acts -----------------------------------------------------------------------------------------------


class Alerted(Struct, frozen=True):
    """Alerts of one target (or one alert without a target) arrived."""

    cases: tuple[Case, ...]
    incident: str
    """The id that a new incident gets."""
    crowd: bool = False
    """One of many in the same notification: what it has to say is bundled."""
    handed_over_at: float | None = None
    """When the webhook, which had no time for it, gave it to the scheduler."""


class Woken(Struct, frozen=True):
    """A wake-up, from whomever and however late."""


class Approved(Struct, frozen=True):
    nonce: str
    by: str


class Resumed(Struct, frozen=True):
    """A person says that an escalated target may be restarted again."""

    by: str
    reason: str = ""


class Ran(Struct, frozen=True):
    """What came of starting the job: an execution; `refusal` (the runner said no); `unsent` (nothing was sent: `paused`, or
    another reason where the time for it was over); or none of them (no answer: it may run or not)."""

    tag: str
    execution: Execution | None = None
    refusal: str = ""
    remedy: str = ""
    busy: bool = False
    unsent: Reason | None = None
    unread: bool = False
    """It was not sent since the kill switch could not be read."""
    mismatch: bool = False
    """It runs with other options than those that were sent."""


class Told(Struct, frozen=True):
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


Event = Alerted | Woken | Approved | Resumed | Ran | Told | Bundled | Unsigned


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


# --- what people are told, before it is put into words --------------------------------------------------------------


class Story(Struct, frozen=True):
    """All that a card is made of. `kind`: started, held, draining, recovered, escalated, resolved, not_approved, test,
    bundle, paused, resumed or unsigned."""

    kind: str
    at: float
    runbook: Runbook | None = None
    target: Target | None = None
    incident: Incident | None = None
    reason: Reason | None = None
    detail: str = ""
    remedy: str = ""
    trigger: Trigger | None = None
    approve_url: str = ""
    bundled: tuple[str, ...] = ()
    """Names of the targets or alerts that one message speaks of."""
    late_s: float = 0.0
    moving: bool = False
    """Recovered at the end of the time because it moves again, with messages left."""
    mention: tuple[str, ...] = ()
    again: bool = False
    """Held by what passes by itself: it is decided again without anybody."""


class Finding(Struct, frozen=True):
    """One line of `check`."""

    what: str
    ok: bool | None
    """None: could not be found out."""
    detail: str = ""
    remedy: str = ""
