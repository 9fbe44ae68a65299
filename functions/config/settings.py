"""The configuration as types: the file as it is written, and what Unstick has of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from functions.application.decoding import convert
from functions.domain.model.runbooks import Rules, Runbook
from functions.runtime import registry
from functions.runtime.fields import adapter, duration, key, written
from functions.runtime.secrets import SecretRef


class Named(Struct, frozen=True):
    """An adapter that the configuration names, and its Settings."""

    name: str
    settings: Any


class Hmac(Struct, frozen=True, rename=key):
    """Signed by Grafana's contact point. The file fixes whether a timestamp is signed too; the request can't choose."""

    secrets: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """Any one may have signed; two while one replaces the other."""
    header: Annotated[str, written("header")] = "X-Grafana-Alerting-Signature"
    """Carries the signature."""
    timestamp_header: str | None = "X-Grafana-Alerting-Timestamp"
    """Carries the time that is signed too. `null`: none is signed, and replays are not refused."""
    tolerance_s: Annotated[float, duration(1, 3600)] = 300.0
    """How far the timestamp may be off, both ways."""


class Basic(Struct, frozen=True):
    """User and password in the Authorization header."""

    user: str
    """As in the contact point."""
    passwords: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """Any one lets in; two while one replaces the other."""


class Bearer(Struct, frozen=True):
    """A token in the Authorization header, after a scheme that may have any name."""

    tokens: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """Any one lets in; two while one replaces the other."""
    scheme: str = "Bearer"
    """Comes before the token in the Authorization header, such as `ApiKey`."""


class Auth(Struct, frozen=True):
    """The ways in. One that matches lets the request in."""

    hmac: Hmac | None = None
    """Grafana's HMAC signature."""
    basic: Basic | None = None
    """User and password, for Grafana and Alertmanager."""
    bearer: Bearer | None = None
    """A token, for Grafana and Alertmanager."""


class Annotations(Struct, frozen=True):
    """Where each restart and outcome becomes an annotation."""

    url: Annotated[str, written("base-url")]
    """Grafana's address, as in a browser."""
    token: SecretRef
    """Of a service account that may create annotations."""
    ca: str = ""
    """File or folder of certificates (PEM) to trust instead of the usual ones, for a private CA."""


class Grafana(Struct, frozen=True):
    auth: Auth
    """How a sender proves who it is."""
    max_body: Annotated[int, written("size")] = 8 * 1024 * 1024
    """Largest notification; 1,000 alerts are 2.6 MB."""
    annotations: Annotations | None = None
    """Makes each restart and outcome an annotation, so that dashboards show it."""


class Storm(Struct, frozen=True, rename=key):
    targets: Annotated[int, Meta(ge=1, le=1000)] = 3
    """As many targets may have a first restart within the time; the next one is held."""
    within_s: Annotated[float, duration(1)] = 600.0
    """The time that `targets` is counted over."""


class Report(Struct, frozen=True):
    channels: Annotated[tuple[Annotated[str, written("name")], ...], Meta(min_length=1)]
    """Where it is posted."""
    every: Literal["day", "week", "month"] = "week"
    """What it covers."""


class File(Struct, frozen=True, rename=key):
    """The top of the file, without the runner and the symptoms, whose keys are their adapters' names."""

    grafana: Grafana
    """Who may send notifications, and how large they may be."""
    store: Annotated[Named, adapter("stores")]
    """Where documents and the archive are kept."""
    scheduler: Annotated[Named, adapter("schedulers")]
    """What delivers wake-ups."""
    signing_keys: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """Sign wake-ups and approval links. The newest first: it signs, all of them verify."""
    channels: Annotated[Mapping[str, Annotated[Named, adapter("chats")]], Meta(min_length=1)]
    """Chats, by a name that the rest of the file uses."""
    runbooks: tuple[Runbook, ...] = ()
    """Which alert restarts what. Without one, Unstick holds every alert with `no_runbook` and says so."""
    public_url: Annotated[str, written("base-url")] = ""
    """The address of this function in a browser, for approval links; never taken from a request."""
    docs_url: Annotated[str, written("base-url")] = ""
    """Where people read the `docs` folder of this release in a browser: messages link to what their reason code means."""
    identity_header: Annotated[str, written("header")] = ""
    """Set by a proxy that signs people in, such as `X-Goog-Authenticated-User-Email`: who approved or declined. Set it only if
    nobody can reach this function past that proxy. Without it, people type their names."""
    storm: Storm = field(default_factory=Storm)
    """Holds restarts when too many targets need one at once: then a shared cause is likelier."""
    budget_s: Annotated[float, duration(1, 25)] = 8.0  # Grafana gives up after 30 s
    """How long the webhook may work before it leaves the rest to wake-ups."""
    open_to_network: bool = False
    """Whether `verify` and `report` answer other machines. Cloud Run checks its callers itself, so it matters elsewhere only."""
    notify: tuple[str, ...] = ()
    """Channels of what belongs to no runbook, and of runbooks that name none."""
    language: Annotated[str, written("language")] = "en"
    """Of everything that people read."""
    time_zone: Annotated[str, written("time-zone")] = ""
    """Of freeze windows and of the times that people read. Default: `Asia/Tokyo` with `language: ja`, else `UTC`."""
    mask: tuple[Annotated[str, written("pattern-anywhere")], ...] = ()
    """What is masked in evidence: whatever one of these matches, besides passwords, tokens and keys, which Unstick recognizes."""
    report: Report | None = None
    """The regular report of what the bug costs."""


class Config(File, frozen=True, kw_only=True, dict=True):
    """The whole configuration: the file, with its runner and symptoms. Secrets are references."""

    runner: Named
    symptoms: Mapping[str, Any]
    """Settings by the symptom's name."""

    @cached_property
    def rules(self) -> Rules:
        """What the core needs of it."""
        return Rules(
            runbooks={runbook.name: runbook for runbook in self.runbooks},
            notify=self.notify,
            storm_targets=self.storm.targets,
            storm_within_s=self.storm.within_s,
            public_url=self.public_url,
            docs_url=self.docs_url,
            language=self.language,
            time_zone=self.time_zone or ("Asia/Tokyo" if self.language == "ja" else "UTC"),
            incident_option=getattr(self.runner.settings, "incident_option", ""),
            mask=self.mask,
            token_expires_at=getattr(self.runner.settings, "token_expires_at", None),
        )

    @property
    def runner_url(self) -> str:
        """The base URL that is part of each target, without a slash at its end."""
        url: str = self.runner.settings.url
        return url

    @property
    def report_channels(self) -> tuple[str, ...]:
        """Where the report, the drill and the check from inside are posted: as `report` says, else `notify`."""
        return self.report.channels if self.report else self.notify

    @property
    def secrets(self) -> Iterator[tuple[str, SecretRef]]:
        """(place in the file, reference) of every secret."""
        sections = {
            self.runner.name: self.runner,
            **self.symptoms,
            **{name: getattr(self, name) for name in File.__struct_fields__},
        }
        for name, section in sections.items():
            yield from _secrets_in(name, section)


def _secrets_in(place: str, part: Any) -> Iterator[tuple[str, SecretRef]]:
    parts: dict[str, Any] = {}
    if isinstance(part, SecretRef):
        yield place, part
    elif isinstance(part, Named):
        parts = {place: part.settings}
    elif isinstance(part, Struct):
        parts = {f"{place}.{name}": getattr(part, name) for name in part.__struct_fields__}
    elif isinstance(part, Mapping):
        parts = {f"{place}.{name}": one for name, one in part.items()}
    elif isinstance(part, tuple):
        parts = {f"{place}[{n}]": one for n, one in enumerate(part)}
    for inner, one in parts.items():
        yield from _secrets_in(inner, one)


def to_config(data: Any) -> Config:
    """The configuration of JSON as its types have it. This imports the adapters that it names.

    Raises msgspec.ValidationError, or KeyError for an adapter that there is not.
    """
    config = convert(data, Config)

    def settings(kind: str, name: str, its: Any) -> Any:
        return convert(its, registry.load_adapter(kind, name).Settings)

    def named(kind: str, one: Named) -> Named:
        return Named(one.name, settings(kind, one.name, one.settings))

    return replace(
        config,
        runner=named("runners", config.runner),
        symptoms={name: settings("symptoms", name, its) for name, its in config.symptoms.items()},
        store=named("stores", config.store),
        scheduler=named("schedulers", config.scheduler),
        channels={name: named("chats", channel) for name, channel in config.channels.items()},
    )
