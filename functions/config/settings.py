"""The configuration as types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from functions.domain.model.runbooks import Rules
from functions.runtime.secrets import SecretRef


class Named(Struct, frozen=True):
    """A room that the configuration names, and its Settings."""

    name: str
    settings: Any


class Hmac(Struct, frozen=True):
    """Signed by Grafana's contact point. Whether a timestamp is signed too is fixed here, never taken from the request."""

    secrets: tuple[SecretRef, ...]
    header: str = "X-Grafana-Alerting-Signature"
    timestamp_header: str | None = "X-Grafana-Alerting-Timestamp"
    tolerance_s: float = 300.0
    """How far the timestamp may be off, both ways."""


class Basic(Struct, frozen=True):
    """User and password in the Authorization header."""

    user: str
    passwords: tuple[SecretRef, ...]


class Bearer(Struct, frozen=True):
    """A token in the Authorization header, after a scheme that may have any name."""

    tokens: tuple[SecretRef, ...]
    scheme: str = "Bearer"


class Auth(Struct, frozen=True):
    """The ways in. One that matches lets the request in."""

    hmac: Hmac | None = None
    basic: Basic | None = None
    bearer: Bearer | None = None


class Annotations(Struct, frozen=True):
    """Where each restart and outcome becomes an annotation; `token` is of a service account that may create them."""

    url: str
    token: SecretRef
    ca: str = ""


class Report(Struct, frozen=True):
    """What the bug costs, told in the chat."""

    channels: tuple[str, ...]
    every: Literal["day", "week", "month"] = "week"


class Config(Struct, frozen=True):
    """The whole configuration. What the core needs of it is in `rules`; secrets are references."""

    auth: Auth
    max_body: int
    """Bytes of a notification."""
    runner: Named
    symptoms: Mapping[str, Any]
    """Settings by the symptom's name."""
    store: Named
    scheduler: Named
    signing_keys: tuple[SecretRef, ...]
    """Newest first."""
    channels: Mapping[str, Named]
    """By the name that the file gives them; `Named.name` is the chat's."""
    budget_s: float
    report: Report | None
    annotations: Annotations | None
    rules: Rules
    open_to_network: bool = False
    """`verify` and `report` answer callers of other machines, though no platform in front checks who they are."""

    @property
    def runner_url(self) -> str:
        """The base URL that is part of each target, without a slash at its end."""
        url: str = self.runner.settings.url
        return url

    @property
    def own_options(self) -> tuple[str, ...]:
        """The job's options that Unstick sets by itself."""
        return own_options(self.runner.settings)


def own_options(settings: Any) -> tuple[str, ...]:
    """The names of a runner's options that are Unstick's own: its settings `incident_option` and `not_after_option`."""
    return tuple(getattr(settings, name) for name in ("incident_option", "not_after_option") if hasattr(settings, name))
