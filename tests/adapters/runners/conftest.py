"""Rundeck's stand-in with settings that reach it, and a Rundeck that says whatever a test wants."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.adapters.runners.rundeck import Rundeck as Settings
from functions.adapters.runners.rundeck import answers
from functions.runtime.secrets import SecretRef
from testbed.doubles.rundeck import TOKEN, Rundeck
from tests.adapters.runners.systems import Said


@pytest.fixture
def double() -> Iterator[Rundeck]:
    with Rundeck() as served:
        yield served


@pytest.fixture
def settings(double: Rundeck, tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Settings(double.url, SecretRef(f"file://{tmp_path}/token"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr(answers, "ask", said.ask)
    return said
