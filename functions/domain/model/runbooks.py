"""What unstick.yaml says of an application: which alerts, what to restart, when it is ill or well. Durations end in `_s`."""

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
