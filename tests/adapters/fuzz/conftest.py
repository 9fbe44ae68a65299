"""Leftovers of other clients must neither fail a test nor reach the next one."""

import gc
from collections.abc import Iterator

import pytest

LENIENT = [
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # apprise on Python 3.11
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets that Google's clients leave behind
]


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_to_collect() -> Iterator[None]:
    yield
    gc.collect()
