"""The runbooks of unstick.yaml: which alerts, what to restart, when a queue is stuck or healthy. Durations end in `_s`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from functions.domain.model.codes import Mode

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Matcher(Struct, frozen=True):
    """One matcher in Alertmanager's syntax; `=~` and `!~` are anchored RE2, a missing label is the empty string."""

    label: str
    op: str
    value: str


class Restart(Struct, frozen=True):
    job: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Templates: the alert's label replaces `${labels.NAME}`."""
    allow: Mapping[str, str] = field(default_factory=dict)
    """Option or label name -> RE2 pattern that the whole rendered value must match."""
    start_within_s: float = 30.0
    max_run_s: float = 1800.0


class Symptom(Struct, frozen=True):
    """When a queue is stuck: over `max_messages`, and for all of `for_s` nothing acknowledged or no consumer."""

    kind: str = "rabbitmq"
    vhost: str = "/"
    queue: str = ""
    max_messages: int = 0
    for_s: float = 60.0


class Recovered(Struct, frozen=True):
    max_messages: int = 0
    min_consumers: int = 1


class Verify(Struct, frozen=True):
    """When to check after the restart ended, in seconds."""

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
    """A weekly window in the configured time zone. If `end` is before `start`, it runs over midnight."""

    days: frozenset[int]
    """The days on which the window begins; 0 is Monday."""
    start_minute: int
    end_minute: int
    text: str
    """The window as the file writes it, for people."""


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
    """The part of the configuration that the domain needs."""

    runbooks: Mapping[str, Runbook]
    notify: tuple[str, ...] = ()
    """Channels for alerts without a runbook, and for runbooks that name none."""
    storm_targets: int = 3
    storm_within_s: float = 600.0
    public_url: str = ""
    language: str = "en"
    time_zone: str = "UTC"
    incident_option: str = "unstick_incident"
    token_expires_at: float | None = None
    """When the runner stops accepting Unstick's token, if that is known."""

    @property
    def zone(self) -> ZoneInfo:
        """`time_zone` with its rules."""
        from zoneinfo import ZoneInfo  # 2 ms, and only for freeze windows and people

        return ZoneInfo(self.time_zone)
