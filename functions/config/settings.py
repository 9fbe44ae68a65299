"""The types of the configuration: the file as written, the checked form that Unstick uses, and the adapters by name."""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct, field

from functions.application.ports import Chat, Runner, Scheduler, Store, SymptomAdapter
from functions.domain.decisions import matching
from functions.domain.model.alerts import Alert, MatchedAlert, QueueRef
from functions.domain.model.runbooks import Rules, Runbook, Symptom
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import adapter, convert, duration, key, written

A = TypeVar("A")
LOCAL = "local"
"""The store whose file the scheduler may share, and beside which a signing key is kept. Never on Google Cloud."""


class Named(Struct, Generic[A], frozen=True):
    """An adapter that the configuration names; in `File` still as its keys."""

    name: str
    adapter: A


class Hmac(Struct, frozen=True, rename=key):
    """Signed by Grafana's contact point. The file fixes whether a timestamp is signed too; the request can't choose."""

    secrets: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """List two during a rotation."""
    header: Annotated[str, written("header")] = "X-Grafana-Alerting-Signature"
    """The signature's header."""
    timestamp_header: str | None = "X-Grafana-Alerting-Timestamp"
    """The signed time's header. `null`: no time is signed, and replays aren't rejected."""


class Basic(Struct, frozen=True):
    user: str
    """The contact point's user."""
    passwords: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """List two during a rotation."""


class Bearer(Struct, frozen=True):
    tokens: Annotated[tuple[SecretRef, ...], Meta(min_length=1)]
    """List two during a rotation."""
    scheme: str = "Bearer"
    """The word before the token, such as `ApiKey`."""


class Auth(Struct, frozen=True):
    """The accepted methods of authentication. One that matches is enough."""

    hmac: Hmac | None = None
    """Grafana's signature."""
    basic: Basic | None = None
    """User and password, for Grafana and Alertmanager."""
    bearer: Bearer | None = None
    """A token, for Grafana and Alertmanager."""


class Annotations(Struct, frozen=True):
    url: Annotated[str, written("base-url")]
    """Grafana's address."""
    token: SecretRef
    """Of a service account that can create annotations."""


class Grafana(Struct, frozen=True):
    auth: Auth
    """How senders authenticate: by at least one of these."""
    annotations: Annotations | None = None
    """Writes restarts and outcomes on dashboards."""


class Storm(Struct, frozen=True, rename=key):
    targets: Annotated[int, Meta(ge=1, le=1000)] = 3
    """Targets restarted within `within`; the next one is held."""
    within_s: Annotated[float, duration(1)] = 600.0
    """How long a restart counts."""


class Report(Struct, frozen=True):
    channels: Annotated[tuple[Annotated[str, written("name")], ...], Meta(min_length=1)]
    """Who gets it."""
    every: Literal["day", "week", "month"] = "week"
    """Its period."""


class File(Struct, frozen=True, rename=key):
    """The top of the file, without the runner and the symptoms, whose keys are their adapters' names."""

    grafana: Grafana
    """Authentication of notifications."""
    store: Annotated[Named[Any], adapter("stores")]
    """Keeps documents and the archive."""
    channels: Annotated[Mapping[str, Annotated[Named[Any], adapter("chats")]], Meta(min_length=1)]
    """Chats by name."""
    scheduler: Annotated[Named[Any] | None, adapter("schedulers")] = None
    """Delivers wake-ups. Default: the local store's file."""
    signing_keys: Annotated[tuple[SecretRef, ...], Meta(min_length=1)] = ()
    """Keys for wake-ups and approval links: the first signs, all verify. Default: one that Unstick makes beside a local store
    (`unstick.db.key`)."""
    runbooks: tuple[Runbook, ...] = ()
    """Which alert restarts what."""
    public_url: Annotated[str, written("base-url")] = ""
    """The webhook's address in a browser, for links."""
    docs_url: Annotated[str, written("base-url")] = ""
    """Address of this release's `docs` folder, for links to reason codes."""
    identity_header: Annotated[str, written("header")] = ""
    """Header in which a proxy names the person, such as `X-Goog-Authenticated-User-Email`. It counts only beside
    one of `machine_tokens`."""
    storm: Storm = field(default_factory=Storm)
    """Holds restarts when many targets need one at once."""
    machine_tokens: tuple[SecretRef, ...] = ()
    """Bearer tokens for `/incidents`, `verify`, `report`, `/metrics` and the proxy that names people, newest first. On Cloud Run
    for people alone."""
    notify: tuple[str, ...] = ()
    """Default channels. Default: those of the runbooks."""
    language: Annotated[str, written("language")] = "en"
    """Of messages."""
    time_zone: Annotated[str, written("time-zone")] = ""
    """Of freeze windows and messages. Default: `Asia/Tokyo` with `language: ja`, else `UTC`."""
    mask: tuple[Annotated[str, written("pattern-anywhere")], ...] = ()
    """What else to mask in the output of jobs."""
    report: Report | None = None
    """The regular report."""


class Config(File, frozen=True, kw_only=True, dict=True):
    """The checked configuration: the file's values, with its runner and symptoms. Secrets are references."""

    store: Named[Store]
    scheduler: Named[Scheduler]
    channels: Mapping[str, Named[Chat]]
    runner: Named[Runner]
    symptoms: Mapping[str, SymptomAdapter]
    """By the symptom's name."""

    @cached_property
    def rules(self) -> Rules:
        return Rules(
            runbooks={runbook.name: runbook for runbook in self.runbooks},
            notify=self.notify,
            storm_targets=self.storm.targets,
            storm_within_s=self.storm.within_s,
            public_url=self.public_url,
            docs_url=self.docs_url,
            language=self.language,
            time_zone=self.time_zone or ("Asia/Tokyo" if self.language == "ja" else "UTC"),
            runner=self.runner.adapter.name,
            mask=self.mask,
            token_expires_at=self.runner.adapter.token_expires_at,
        )

    def match_alerts(self, alerts: Iterable[Alert]) -> list[MatchedAlert]:
        def name_queue(symptom: Symptom, labels: Mapping[str, str]) -> QueueRef:
            return self.symptoms[symptom.kind].name_queue(symptom, labels)

        return matching.match_alerts(self.rules, self.runner.adapter.url, alerts, name_queue)


def to_config(data: Any) -> Config:
    """Convert the JSON form; imports the adapters. Raises msgspec.ValidationError, or KeyError for an unknown adapter."""
    file = convert(data, File)

    special = ("store", "scheduler", "signing_keys", "channels")
    rest = {name: getattr(file, name) for name in File.__struct_fields__ if name not in special}
    scheduler = file.scheduler or Named(LOCAL, file.store.adapter)
    return Config(
        **rest,
        signing_keys=file.signing_keys or (SecretRef(f"file://{file.store.adapter['path']}.key", made=True),),
        runner=_to_adapter(convert(data["runner"], Named), load_adapter("runners", data["runner"]["name"])),
        symptoms={name: convert(its, load_adapter("symptoms", name)) for name, its in data["symptoms"].items()},
        store=_to_adapter(file.store, load_adapter("stores", file.store.name)),
        scheduler=_to_adapter(scheduler, load_adapter("schedulers", scheduler.name)),
        channels={name: _to_adapter(channel, load_adapter("chats", channel.name)) for name, channel in file.channels.items()},
    )


def _to_adapter(named: Named[Any], adapter: type[A]) -> Named[A]:
    return Named(named.name, convert(named.adapter, adapter))


# --- adapters


@lru_cache
def adapter_names(kind: str) -> tuple[str, ...]:
    """The adapters of one kind, in alphabetical order, without importing any. A file that begins with `_` is not one."""
    folder = Path(__file__).parents[1] / "adapters" / kind
    entries = os.listdir(folder)  # noqa: PTH208 - takes half of pathlib's time, and runs five times a start
    return tuple(sorted(entry.removesuffix(".py") for entry in entries if not entry.startswith((".", "_"))))


def load_adapter(kind: str, name: str) -> Any:
    """The class that functions/adapters/KIND/NAME names as ADAPTER. Raises KeyError for any other name."""
    if name not in adapter_names(kind):
        raise KeyError(f"{kind}/{name}")
    return import_module(f"functions.adapters.{kind}.{name}").ADAPTER
