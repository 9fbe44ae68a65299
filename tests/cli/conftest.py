"""One fixture: the command line and what stands around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.line import Line, line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with line(tmp_path, monkeypatch) as ready:
        yield ready


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output as in a pipe, whatever terminal pytest runs on: unwrapped."""
    monkeypatch.delenv("COLUMNS", raising=False)
