"""The targets of `make fuzz`, without its fuzzer: they take real input and any other, and can find something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.adapters.grafana.payload import parse
from functions.runtime.errors import BadRequest
from tests.adapters.fuzz import targets
from tests.adapters.fuzz.conftest import LENIENT
from tests.adapters.fuzz.targets import ROOT, TARGETS, seeds
from tests.support.patience import PATIENCE_S

pytestmark = [*LENIENT, pytest.mark.long]


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_takes_its_seeds(name: str):
    """And there are some, so that a fuzzer begins with what is real."""
    found = list(seeds(name))
    assert found
    for seed in found:
        TARGETS[name](seed)


def test_seeds_are_what_the_reader_takes():
    """Most notifications are taken, and some answers of Rundeck's have executions: a fuzzer gets beyond the first field."""
    taken = [seed for seed in seeds("notification") if parsed(seed)]
    assert len(taken) > 40
    rows = [seed for seed in seeds("rundeck") if b'"executions": [{' in seed]
    assert len(rows) > 10


def parsed(seed: bytes) -> bool:
    try:
        return bool(parse(seed))
    except BadRequest:
        return False


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_takes_any_bytes_and_seeds_that_were_changed(name: str):
    """What comes from outside ends in what the functions promise."""
    whole = st.sampled_from([seed[:2000] for seed in seeds(name)])
    places = st.integers(0, 1999)
    changed = st.builds(
        lambda seed, place, put: seed[:place] + put + seed[place + len(put) :], whole, places, st.binary(max_size=8)
    )
    cut = st.builds(lambda seed, place: seed[:place], whole, places)

    @settings(database=None)
    @given(st.binary(max_size=300) | changed | cut)
    def any_bytes(content: bytes) -> None:
        TARGETS[name](content)

    any_bytes()


def test_a_target_can_find_something(monkeypatch: pytest.MonkeyPatch):
    """A door that lets everybody in is found."""
    let_in: Callable[..., None] = lambda *_: None  # noqa: E731 - a name for what it does
    monkeypatch.setattr(targets, "authenticate", let_in)
    with pytest.raises(AssertionError, match="let in"):
        TARGETS["door"](b"")


def test_without_its_fuzzer_it_says_what_to_install():
    """Where atheris can't be had, `python -m tests.adapters.fuzz` is a sentence and 2, no traceback."""
    hidden = (
        "import runpy, sys; sys.modules['atheris'] = None; sys.argv = ['fuzz']; "
        "runpy.run_module('tests.adapters.fuzz', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert done.returncode == 2
    assert "requirements-fuzz.txt" in done.stderr
    assert "Traceback" not in done.stderr
