"""Reads this process's configuration, or its prebuilt form from the archive for the cloud, and connects the application to the
adapters that it names.

Reading YAML and compiling every pattern takes as long as the rest of a cold start, so the archive contains the checked
configuration. It lies beside unstick.yaml, holds that file's SHA-256, and is ignored beside any other file. What
docs/security.md says about write access to unstick.yaml applies to it too."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from functions.application.ports import Buttons, Chat, Runner, Scheduler, Store, SymptomAdapter
from functions.config.settings import Config, to_config
from functions.domain.model.codes import VERSION
from functions.domain.model.incidents import Archive
from functions.domain.model.runbooks import Rules
from functions.runtime import logs
from functions.runtime.errors import UnstickError
from functions.runtime.parallel import Calls, run_parallel


@lru_cache(maxsize=1)
def current_adapters() -> Adapters:
    """The adapters of this process's configuration, created on first use, after a server has forked its workers."""
    return Adapters(current_config())


class Adapters(Struct, frozen=True, dict=True, eq=False):
    """The systems that unstick.yaml names, as the application's `Ports`."""

    config: Config

    @property
    def rules(self) -> Rules:
        return self.config.rules

    @property
    def store(self) -> Store:
        return self.config.store.adapter

    @property
    def scheduler(self) -> Scheduler:
        return self.config.scheduler.adapter

    @property
    def runner(self) -> Runner:
        return self.config.runner.adapter

    @property
    def symptoms(self) -> Mapping[str, SymptomAdapter]:
        return self.config.symptoms

    @cached_property
    def chats(self) -> Mapping[str, Chat]:
        return {name: channel.adapter for name, channel in self.config.channels.items()}

    @cached_property
    def buttons(self) -> Buttons | None:
        """Those in Slack's messages; None if no channel has a `signing_secret`."""
        from functions.adapters.chats._slack_answers import find_buttons

        return find_buttons(self.chats.values())

    def wake(self, at: float, content: Mapping[str, Any], *, timeout_s: float) -> None:
        from functions.application import signing  # imports itsdangerous, which a forged press needs not pay for

        payload = signing.sign(self.config.signing_keys, {"v": VERSION, **content})
        self.scheduler.wake(at, payload, timeout_s=timeout_s)

    def sign_approval(self, key: str, nonce: str, expires_at: float) -> str:
        from functions.application import signing

        return signing.sign_approval(self.config.signing_keys, key, nonce, expires_at)

    def sign_reading(self, incident: str, expires_at: float) -> str:
        from functions.application import signing

        return signing.sign_reading(self.config.signing_keys, incident, expires_at)

    def annotate(self, record: Archive, *, timeout_s: float) -> None:
        if self.config.grafana.annotations is not None:
            from functions.adapters.grafana.annotations import mark

            for problem in mark(self.config.grafana.annotations, record, self.rules, timeout_s=timeout_s):
                self.log("WARNING", problem)

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def run_parallel(self, calls: Calls, timeout_s: float) -> list[Any]:
        return run_parallel(calls, timeout_s=timeout_s)

    def is_paused_by_environment(self) -> bool:
        return os.environ.get("UNSTICK_PAUSED", "") not in ("", "0", "false")

    def log(self, severity: str, message: str, **fields: object) -> None:
        logs.event(severity, message, **fields)


DEFAULT_PATH = "unstick.yaml"


@lru_cache(maxsize=1)
def current_config() -> Config:
    """The configuration of this process, read once: the file of UNSTICK_CONFIG, or its prebuilt form. Raises ConfigError."""
    path = Path(os.environ.get("UNSTICK_CONFIG") or DEFAULT_PATH)
    prebuilt = load_prebuilt(path)
    if prebuilt is not None:
        return prebuilt
    from functions.config.loader import load_config  # half of a start's time: YAML, RE2, all formats

    return load_config(path)


def prebuilt_path(path: Path) -> Path:
    """The path of the prebuilt configuration: unstick.checked.json beside unstick.yaml."""
    return path.with_suffix(".checked.json")


def encode_prebuilt(config: Config, file: bytes) -> bytes:
    """Encode as JSON: equal configurations give equal bytes. Contains references to secrets, as the file does, and no secret."""
    return msgspec.json.format(msgspec.json.encode({"sha256": _sha256(file), "config": config})) + b"\n"


def load_prebuilt(path: Path) -> Config | None:
    """Load the prebuilt configuration of the file at `path`; None if there is none, or it doesn't fit the file."""
    try:
        checked = msgspec.json.decode(prebuilt_path(path).read_bytes(), type=dict)
        return to_config(checked["config"]) if checked["sha256"] == _sha256(path.read_bytes()) else None
    except (OSError, ValueError, RecursionError, KeyError, UnstickError):
        return None


def _sha256(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()
