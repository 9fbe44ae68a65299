"""The runbooks of unstick.yaml: which alerts, what to restart, when a queue is stuck or healthy. Durations are in seconds (`_s`).

docs/configuration.md and the JSON Schema contain the docstrings of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from functions.domain.model.codes import Mode
from functions.runtime.structs import adapter, duration, key, written

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


OWN_OPTIONS = INCIDENT_OPTION, NOT_AFTER_OPTION = "unstick_incident", "unstick_not_after"
"""The options that every job gets besides its own: INCIDENT.ATTEMPT, and the Unix time after which it must refuse to start."""


class Matcher(Struct, frozen=True):
    """One matcher in Alertmanager's syntax; `=~` and `!~` are anchored RE2, a missing label is the empty string."""

    label: str
    op: str
    value: str


class HolderOption(Struct, frozen=True):
    """The job's option that limits a restart to one host."""

    option: str
    """The option. Its default in the job stands for all hosts."""
    allow: Annotated[str, written("pattern")]
    """The pattern for the whole host."""


class Restart(Struct, frozen=True, rename=key):
    """What is restarted."""

    job: str
    """ID of Rundeck's job, or a command's name."""
    options: Mapping[str, Annotated[str, written("template")]] = field(default_factory=dict)
    """Its options. Job and options are the target."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """By option: the pattern for its value. Required for options with labels."""
    start_within_s: Annotated[float, duration(5, 600)] = 30.0
    """The job rejects starts later than this."""
    max_run_s: Annotated[float, duration(1)] = 1800.0
    """A longer run is reported as hung."""
    holder: HolderOption | None = None
    """Restarts only the host that is proved to hold the messages."""


class EvidenceJob(Struct, frozen=True, rename=key):
    """A read-only job that collects evidence before the restart destroys it."""

    job: str
    """The job's ID."""
    options: Mapping[str, Annotated[str, written("evidence-template")]] = field(default_factory=dict)
    """Its options. `${holder.host}` as the whole value is the host that holds a message, if known."""
    allow: Mapping[str, Annotated[str, written("pattern")]] = field(default_factory=dict)
    """As in `restart`."""
    within_s: Annotated[float, duration(1, 300)] = 20.0
    """How long the restart waits, at most."""
    opinion: bool = False
    """Whether its last line may be an opinion: `unstick ATTEMPT healthy REASON`, or `stuck`."""


class Symptom(Struct, frozen=True):
    """When a queue is stuck (functions/domain/health/proofs.py)."""

    kind: str
    """The name of the symptom, which interprets the keys."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The symptom's own keys: templates."""
    max_messages: int = 0
    for_s: float = 60.0
    allow: Mapping[str, str] = field(default_factory=dict)
    """Label -> the pattern for its whole value."""
    oldest_s: float | None = None
    """The maximum age of the oldest message; None: its age doesn't count."""
    keeps_nothing: bool = False
    """No consumer keeps a message on purpose."""
    users: tuple[str, ...] = ()
    """The application's users of the system; empty: not known."""
    for_at_most_s: float = 540.0
    """The most that `for` becomes by what is learned of the queue."""

    @property
    def learns(self) -> bool:
        return self.for_at_most_s > self.for_s

    def bound_s(self, learned_s: float) -> float:
        """How long a queue may stand still that was seen to for so long: `for` at least, `for_at_most` at most."""
        return max(self.for_s, min(learned_s, self.for_at_most_s))


class Recovered(Struct, frozen=True):
    """What is healthy again."""

    max_messages: int = 0
    """The most messages."""
    min_consumers: Annotated[int, Meta(ge=0, le=10_000)] = 1
    """The fewest consumers."""


class Verify(Struct, frozen=True, rename=key):
    """When to check after the restart ended."""

    first_s: Annotated[float, duration(1)] = 20.0
    """The first check."""
    every_s: Annotated[float, duration(1)] = 15.0
    """From check to check. Recovery takes two."""
    patience_s: Annotated[float, duration(1)] = 120.0
    """It has failed if nothing moves for so long."""
    within_s: Annotated[float, duration(1)] = 600.0
    """When to stop checking."""


class Limits(Struct, frozen=True, rename=key):
    """What holds a restart."""

    cooldown_s: Annotated[float, duration(0)] = 600.0
    """Time between two incidents of a target."""
    attempts: Annotated[int, Meta(ge=1, le=5)] = 2
    """Restarts per incident; then it escalates."""
    restarts: Annotated[tuple[tuple[float, int], ...], written("windows")] = ((3600.0, 3), (86400.0, 7))
    """Restarts of a target, manual ones included."""
    failing: Annotated[int, Meta(ge=1, le=100)] = 2
    """Failed runs in a row that hold the next."""
    stale_s: Annotated[float, duration(1)] = 86400.0
    """Older alerts restart nothing."""


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
    """Unique."""
    match: Annotated[tuple[Matcher, ...], Meta(min_length=1)]
    """All must match the alert's labels."""
    restart: Restart
    """What is restarted."""
    symptom: Annotated[Symptom, adapter("runbook/symptoms")]
    """The condition for a restart."""
    evidence: EvidenceJob | None = None
    """A read-only job before the first restart."""
    mode: Mode = Mode.OBSERVE
    """`observe` only reports, `approve` asks a person, `auto` restarts."""
    recovered: Recovered = field(default_factory=Recovered)
    """When a queue counts as healthy again."""
    verify: Verify = field(default_factory=Verify)
    """When to check after the restart."""
    limits: Limits = field(default_factory=Limits)
    """What holds a restart."""
    freeze: tuple[Freeze, ...] = ()
    """Times without restarts, in `time_zone`. `days`: `daily`, `mon-fri`, `'sat,sun'`. A `to` before `from`: the next day."""
    notify: tuple[str, ...] = ()
    """Its channels. Default: the top-level `notify`."""
    escalate: tuple[str, ...] = ()
    """More channels for ACT NOW."""
    approvers: tuple[Annotated[str, written("approver")], ...] = ()
    """Who can approve and decline: Slack IDs of users, or addresses as in `identity_header`. Default: all readers."""
    mention: tuple[Annotated[str, written("optional-text")], ...] = ()
    """Mentions for ACT NOW, in the chat's form: `<users/all>`, `<!here>`."""
    root_cause: Annotated[str, written("link")] = ""
    """Link to the bug's ticket."""


class Rules(Struct, frozen=True):
    """The part of the configuration that the domain needs."""

    runbooks: Mapping[str, Runbook]
    notify: tuple[str, ...] = ()
    """Channels for alerts without a runbook, and for runbooks that name none."""
    storm_targets: int = 3
    storm_within_s: float = 600.0  # how long ago other targets were restarted, at most, to count as restarts at once
    public_url: str = ""
    docs_url: str = ""
    language: str = "en"
    time_zone: str = "UTC"
    runner: str = "the runner"
    """The runner's name in texts, where it replaces `{runner}`."""
    mask: tuple[str, ...] = ()
    """Patterns of RE2 for secrets in the output of jobs, besides the built-in ones."""
    token_expires_at: float | None = None
    """When Unstick's token for the runner expires, if known."""

    @property
    def default_channels(self) -> tuple[str, ...]:
        """The channels for what belongs to no runbook: the top-level `notify`, or else the channels of all runbooks."""
        return self.notify or tuple(dict.fromkeys(name for runbook in self.runbooks.values() for name in runbook.notify))

    @property
    def can_ask(self) -> bool:
        """Whether people can answer: a link needs an address."""
        return bool(self.public_url)

    def link_to_answer(self, nonce: str) -> str:
        """The link for people's answer, which is signed when it is posted; empty if it leads nowhere."""
        return f"{self.public_url}/approve/#{nonce}" if self.public_url and nonce else ""

    @property
    def zone(self) -> ZoneInfo:
        from zoneinfo import ZoneInfo  # takes 2 ms; needed only for freeze windows and messages

        return ZoneInfo(self.time_zone)
