"""The runbooks of unstick.yaml: which alerts, what to restart, when a queue is stuck or healthy. Durations end in `_s`.

docs/configuration.md and the JSON Schema show the texts below the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from functions.domain.model.codes import Mode
from functions.runtime.fields import adapter, duration, key, written

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Matcher(Struct, frozen=True):
    """One matcher in Alertmanager's syntax; `=~` and `!~` are anchored RE2, a missing label is the empty string."""

    label: str
    op: str
    value: str


class Restart(Struct, frozen=True, rename=key):
    """What is restarted."""

    job: str
    """Id of the job."""
    options: Mapping[str, Annotated[str, written("template")]] = field(default_factory=dict)
    """The job's options; the alert's label replaces `${labels.NAME}`. Job and options together are the target."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """By option: what its whole value must match. Required for an option that takes a label."""
    start_within_s: Annotated[float, duration(5, 600)] = 30.0
    """The job refuses to start later than this after the decision."""
    max_run_s: Annotated[float, duration(1)] = 1800.0
    """A run that takes longer is reported as stuck."""


class EvidenceJob(Struct, frozen=True, rename=key):
    """A read-only job that collects evidence before the restart destroys it."""

    job: str
    """Id of the job. It must not be a job that restarts something."""
    options: Mapping[str, Annotated[str, written("evidence-template")]] = field(default_factory=dict)
    """The job's options; the alert's label replaces `${labels.NAME}`. `${holder.host}` as the whole value is the host that holds
    a message; the job runs without this option if that is not known."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """By option: what its whole value must match. Required for an option that takes a label or the holder's host."""
    within_s: Annotated[float, duration(1, 300)] = 20.0
    """The restart waits for the end of the run, but never longer than this."""


class Symptom(Struct, frozen=True):
    """When a queue is stuck: over `max_messages`, and for all of `for_s` no work done or no consumer."""

    kind: str
    """The name of the symptom, which knows what its keys mean."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The symptom's own keys: templates."""
    max_messages: int = 0
    for_s: float = 60.0
    allow: Mapping[str, str] = field(default_factory=dict)
    """By label: what its whole value must match."""


class Recovered(Struct, frozen=True):
    """What is healthy again."""

    max_messages: int = 0
    """At most this many messages,"""
    min_consumers: Annotated[int, Meta(ge=0, le=10_000)] = 1
    """and at least this many consumers."""


class Verify(Struct, frozen=True, rename=key):
    """When to check after the restart ended."""

    first_s: Annotated[float, duration(1)] = 20.0
    """The first check."""
    every_s: Annotated[float, duration(1)] = 15.0
    """From check to check. Recovered needs two of them."""
    patience_s: Annotated[float, duration(1)] = 120.0
    """Without any movement for this long, the restart has not helped."""
    within_s: Annotated[float, duration(1)] = 600.0
    """The end of checking."""


class Limits(Struct, frozen=True, rename=key):
    """What holds a restart."""

    cooldown_s: Annotated[float, duration(0)] = 600.0
    """Between two incidents of a target."""
    attempts: Annotated[int, Meta(ge=1, le=5)] = 2
    """Restarts of one incident; then it is escalated."""
    restarts: Annotated[tuple[tuple[float, int], ...], written("windows")] = ((3600.0, 3), (86400.0, 7))
    """Restarts of a target, manual ones included, that fill a window of time."""
    failing: Annotated[int, Meta(ge=1, le=100)] = 2
    """This many failed executions in a row hold the next."""
    stale_s: Annotated[float, duration(1)] = 86400.0
    """An alert that began longer ago restarts nothing."""


class Escalation(Struct, frozen=True, rename=key):
    """What happens until somebody takes an escalation."""

    again_s: Annotated[float, duration(0, 86400)] = 900.0
    """Without anybody, it is posted again after this time, three times at most; 0: never."""


class Freeze(Struct, frozen=True):
    """A weekly window in the configured time zone. If `end` is before `start`, it runs over midnight."""

    days: frozenset[int]
    """The days on which the window begins; 0 is Monday."""
    start_minute: int
    end_minute: int
    text: str
    """The window as the file writes it, for people."""


class Runbook(Struct, frozen=True):
    """Which alerts, what to restart, and how to tell whether it helped."""

    name: Annotated[str, written("name")]
    """Unique; people, logs and the archive know the runbook by it."""
    match: Annotated[tuple[Matcher, ...], Meta(min_length=1)]
    """All of them must match the alert's labels."""
    restart: Restart
    """What is restarted."""
    symptom: Annotated[Symptom, adapter("runbook/symptoms")]
    """What Unstick must see before it restarts anything."""
    evidence: EvidenceJob | None = None
    """A read-only job that runs once an incident, before its first restart."""
    mode: Mode = Mode.OBSERVE
    """`observe` says what it would have done, `approve` asks a person, `auto` restarts."""
    recovered: Recovered = field(default_factory=Recovered)
    """What is healthy again."""
    verify: Verify = field(default_factory=Verify)
    """When to check after the restart, and for how long."""
    limits: Limits = field(default_factory=Limits)
    """What holds a restart."""
    freeze: tuple[Freeze, ...] = ()
    """Times without restarts, in `time_zone`. `days`: `daily`, `mon-fri`, `'sat,sun'`. `to` before `from` is on the next day."""
    notify: tuple[str, ...] = ()
    """Channels of this runbook; else the top-level `notify`."""
    escalate: tuple[str, ...] = ()
    """More channels, for every message that begins with ACT NOW."""
    approvers: tuple[Annotated[str, written("approver")], ...] = ()
    """Who may approve, decline, restart once more and pause: Slack's ids of users, user groups or channels, or addresses as
    `identity_header` has them. Without any: whoever reads the message."""
    escalate_further: tuple[str, ...] = ()
    """More channels, for an escalation that nobody has taken in `escalation.again`."""
    escalation: Escalation = field(default_factory=Escalation)
    """What happens until somebody takes an escalation."""
    mention: tuple[Annotated[str, written("optional-text")], ...] = ()
    """Who is mentioned in every message that begins with ACT NOW, as the chat writes it: `<users/all>`, `<!here>`."""
    root_cause: Annotated[str, written("link")] = ""
    """Link to the ticket of the bug itself, so that nobody forgets it."""
    manual_minutes: Annotated[float, Meta(ge=0)] = 0.0
    """How long the restart takes a person by hand, for the report."""


class Rules(Struct, frozen=True):
    """The part of the configuration that the domain needs."""

    runbooks: Mapping[str, Runbook]
    notify: tuple[str, ...] = ()
    """Channels for alerts without a runbook, and for runbooks that name none."""
    storm_targets: int = 3
    storm_within_s: float = 600.0
    public_url: str = ""
    docs_url: str = ""
    language: str = "en"
    time_zone: str = "UTC"
    incident_option: str = "unstick_incident"
    mask: tuple[str, ...] = ()
    """Patterns of RE2 for secrets in evidence, besides the built-in ones."""
    token_expires_at: float | None = None
    """When the runner stops accepting Unstick's token, if that is known."""

    @property
    def zone(self) -> ZoneInfo:
        """`time_zone` with its rules."""
        from zoneinfo import ZoneInfo  # 2 ms, and only for freeze windows and people

        return ZoneInfo(self.time_zone)
