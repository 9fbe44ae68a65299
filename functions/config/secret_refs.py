"""Where the configuration names secrets, and a word at the start of a process about those that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.runtime import logs
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

if TYPE_CHECKING:
    from functions.config.settings import Config


def secrets(settings: Config) -> Iterator[tuple[str, SecretRef]]:
    """(place in the file, reference) of every secret of the configuration."""
    settings_of: dict[str, Any] = {"grafana.auth": settings.auth, "grafana.annotations": settings.annotations}
    settings_of |= {settings.runner.name: settings.runner.settings, **settings.symptoms}
    settings_of |= {f"store.{settings.store.name}": settings.store.settings}
    settings_of |= {f"scheduler.{settings.scheduler.name}": settings.scheduler.settings, "signing_keys": settings.signing_keys}
    settings_of |= {f"channels.{name}": channel.settings for name, channel in settings.channels.items()}
    for place, part in settings_of.items():
        yield from _secrets_in(place, part)


def _secrets_in(place: str, part: Any) -> Iterator[tuple[str, SecretRef]]:
    if isinstance(part, SecretRef):
        yield place, part
    elif isinstance(part, Struct):
        for name in part.__struct_fields__:
            yield from _secrets_in(f"{place}.{name}", getattr(part, name))
    elif isinstance(part, tuple):
        for number, one in enumerate(part):
            yield from _secrets_in(f"{place}[{number}]", one)
    elif isinstance(part, Mapping):
        for name, one in part.items():
            yield from _secrets_in(f"{place}.{name}", one)


def warn_of_unreadable(settings: Config) -> None:
    """A line of the log for each that can't be read. Without it the first refused alert would tell.

    It is no reason not to start: the value may come later. sm:// is left out, since a start must not wait for a network.
    """
    for place, secret in secrets(settings):
        if secret.reference.startswith("sm://"):
            continue
        try:
            secret.read()
        except (Denied, Unavailable) as error:
            logs.event("WARNING", f"a secret can't be read: {place}: {error.detail}", remedy=getattr(error, "remedy", None))
