"""The configuration as it was read and checked when the archive for the cloud was built (infra/package.py).

A function that starts cold takes it instead of reading YAML and compiling every pattern, which takes as long as all the rest of
its start. It stands beside unstick.yaml and holds its SHA-256; beside any other file it counts for nothing. What is said of write
access to unstick.yaml in docs/security.md goes for it as well.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.decoding import convert, decoder
from functions.config.settings import Config, Named
from functions.runtime import registry
from functions.runtime.errors import UnstickError


class Checked(Struct, frozen=True):
    """`sha256`: of the file that `config` was read from, in hex. Settings of adapters are plain JSON here."""

    sha256: str
    config: Config


def encode_prebuilt(config: Config, file: bytes) -> bytes:
    """As JSON, the same bytes for the same configuration. It holds references to secrets, as the file does, and no secret."""
    return msgspec.json.format(msgspec.json.encode(Checked(_sha256(file), config))) + b"\n"


def prebuilt_path(path: Path) -> Path:
    """Where the archive for the cloud has what was made of the file: unstick.checked.json beside unstick.yaml."""
    return path.with_suffix(".checked.json")


def load_prebuilt(path: Path) -> Config | None:
    """What stands beside the file at `path`; None where that is nothing, or nothing that fits."""
    try:
        checked: Checked = decoder(Checked).decode(prebuilt_path(path).read_bytes())
        return _with_settings(checked.config) if checked.sha256 == _sha256(path.read_bytes()) else None
    except (OSError, ValueError, RecursionError, KeyError, UnstickError):
        return None


def _sha256(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()


def _with_settings(config: Config) -> Config:
    """The settings of each adapter as its own Settings. This imports the adapters."""

    def named(kind: str, one: Named) -> Named:
        return Named(one.name, _settings(kind, one.name, one.settings))

    return replace(
        config,
        runner=named("runners", config.runner),
        symptoms={name: _settings("symptoms", name, settings) for name, settings in config.symptoms.items()},
        store=named("stores", config.store),
        scheduler=named("schedulers", config.scheduler),
        channels={name: named("chats", channel) for name, channel in config.channels.items()},
    )


def _settings(kind: str, name: str, settings: Any) -> Any:
    return convert(settings, registry.load_adapter(kind, name).Settings)
