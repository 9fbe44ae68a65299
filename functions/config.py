"""The configuration as types, and where a process has it from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from functions.errors import ConfigError
from functions.grafana_auth import Auth
from functions.model import Rules
from functions.secret_store import SecretRef

DEFAULT_PATH = "unstick.yaml"


class Named(Struct, frozen=True):
    """A room that the configuration names, and its Settings."""

    name: str
    settings: Any


class Annotations(Struct, frozen=True):
    """Where each restart and outcome becomes an annotation; `token` is of a service account that may create them."""

    url: str
    token: SecretRef


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


@lru_cache(maxsize=1)
def current() -> Config:
    """The configuration of this process: of the file that UNSTICK_CONFIG names, read once, or made of it before."""
    path = Path(os.environ.get("UNSTICK_CONFIG") or DEFAULT_PATH)
    if checked_beside(path).exists():
        from functions.config_checked import found

        return found(path) or load(path)
    return load(path)


def checked_beside(path: Path) -> Path:
    """Where the archive for the cloud has what was made of the file: unstick.checked.json beside unstick.yaml."""
    return path.with_suffix(".checked.json")


def load(path: str | Path, *, on_cloud_run: bool | None = None) -> Config:
    """Read a file. `on_cloud_run`: where it is for; None: where this process runs. Raises ConfigError with all that is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "Create it (docs/configuration.md has an example), or name another by UNSTICK_CONFIG."
        raise ConfigError((f"{path}: there is no such file. {remedy}",)) from None
    except UnicodeDecodeError:
        raise ConfigError((f"{path}: the file is not UTF-8. Save it as UTF-8.",)) from None
    except OSError as error:
        problem = f"{path}: the file can't be read ({type(error).__name__}). Mend its permissions or the path."
        raise ConfigError((problem,)) from None
    here = "K_SERVICE" in os.environ
    return read(text, name=Path(path).name, on_cloud_run=here if on_cloud_run is None else on_cloud_run)


def read(text: str, *, name: str = DEFAULT_PATH, on_cloud_run: bool = False) -> Config:
    """Read the text of a file. `name` is said in mistakes. Raises ConfigError with all that is wrong."""
    from functions import config_file  # half of what a start takes: YAML, RE2, all kinds of values

    return config_file.read(text, name=name, on_cloud_run=on_cloud_run)
