"""Where a process has its configuration from."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from functions.config.prebuilt import load_prebuilt
from functions.config.settings import Config

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
    from functions.config.loader import load_config  # half of what a start takes: YAML, RE2, all kinds of values

    return load_config(path)
