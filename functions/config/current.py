"""Loads this process's configuration: unstick.yaml, or its prebuilt form from the archive for the cloud.

Reading YAML and compiling every pattern takes as long as the rest of a cold start, so the archive contains the checked
configuration. It lies beside unstick.yaml, holds that file's SHA-256, and is ignored beside any other file. What
docs/security.md says about write access to unstick.yaml applies to it too."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import msgspec

from functions.config.settings import Config, to_config
from functions.runtime.errors import UnstickError

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
