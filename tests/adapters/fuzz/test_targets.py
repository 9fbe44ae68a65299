"""The targets of `make fuzz`, without its fuzzer: they take real input and any other, and can find something."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.adapters.grafana.payload import parse
from functions.runtime.errors import BadRequest
from tests.adapters.fuzz.conftest import LENIENT
from tests.adapters.fuzz.targets import TARGETS, seeds

pytestmark = [*LENIENT, pytest.mark.long]


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_takes_its_seeds(name: str):
    """And there are some, so that a fuzzer begins with what is real."""
    found = list(seeds(name))
    assert found
    for seed in found:
        TARGETS[name](seed)


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
