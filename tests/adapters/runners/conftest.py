"""Rundeck's stand-in, and settings that reach it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import TOKEN, Rundeck


@pytest.fixture
def double() -> Iterator[Rundeck]:
    with Rundeck() as served:
        yield served


@pytest.fixture
def settings(double: Rundeck, tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Settings(double.url, SecretRef(f"file://{tmp_path}/token"))
