"""Where a process has its configuration from: unstick.yaml, or what was made of it when the archive for the cloud was built.

A function that starts cold takes the latter instead of reading YAML and compiling every pattern, which takes as long as all the
rest of its start. It stands beside unstick.yaml and holds its SHA-256; beside any other file it counts for nothing. What is said
of write access to unstick.yaml in docs/security.md goes for it as well.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import msgspec

from functions.config.settings import Config, to_config
from functions.runtime.errors import ConfigError, UnstickError

DEFAULT_PATH = "unstick.yaml"


@lru_cache(maxsize=1)
def current_config() -> Config:
    """The configuration of this process: of the file that UNSTICK_CONFIG names, read once, or made of it before.

    Raises ConfigError with all that is wrong.
    """
    path = Path(os.environ.get("UNSTICK_CONFIG") or DEFAULT_PATH)
    prebuilt = load_prebuilt(path)
    if prebuilt is not None:
        return prebuilt
    try:
        from functions.config.loader import load_config  # half of what a start takes: YAML, RE2, all kinds of values
    except ModuleNotFoundError as error:
        remedy = "Install requirements-tool.txt; requirements.txt is for the archive of infra/package.py, which is read without"
        raise ConfigError((f"{path}: reading it takes {error.name}, which is not installed. {remedy}.",)) from None

    return load_config(path)


def prebuilt_path(path: Path) -> Path:
    """Where the archive for the cloud has what was made of the file: unstick.checked.json beside unstick.yaml."""
    return path.with_suffix(".checked.json")


def encode_prebuilt(config: Config, file: bytes) -> bytes:
    """As JSON, the same bytes for the same configuration. It holds references to secrets, as the file does, and no secret."""
    return msgspec.json.format(msgspec.json.encode({"sha256": _sha256(file), "config": config})) + b"\n"


def load_prebuilt(path: Path) -> Config | None:
    """What stands beside the file at `path`; None where that is nothing, or nothing that fits."""
    try:
        checked = msgspec.json.decode(prebuilt_path(path).read_bytes(), type=dict)
        return to_config(checked["config"]) if checked["sha256"] == _sha256(path.read_bytes()) else None
    except (OSError, ValueError, RecursionError, KeyError, UnstickError):
        return None


def _sha256(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()
