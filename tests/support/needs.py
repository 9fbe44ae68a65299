"""What a test needs to run. On a CI machine it fails where that can't be had; elsewhere it is skipped, and says so."""

import os
import sys
from typing import NoReturn

import pytest

from testbed import broker as brokers
from testbed.debian import ensure

EACH_VERSION = [brokers.HOST, *(pytest.param(version, marks=pytest.mark.long) for version in brokers.VERSIONS)]
"""The host's in `make test`, the others in `make test-long`."""


def need(*packages: str) -> None:
    """These Debian packages, installed where that needs no question. RabbitMQ may come from elsewhere."""
    missing = [name for name in packages if name != "rabbitmq-server" or not brokers.available()]
    if not ensure(*missing):
        absent(f"{', '.join(missing)} can't be had here: install it, or run the tests as root on Debian")


def need_broker(version: str) -> None:
    """RabbitMQ of this version, made where it is missing and that is possible."""
    need("rabbitmq-server")
    if reason := brokers.reason_against(version):
        absent(reason)


def need_libraries() -> None:
    """The environment of testbed/libraries, made where it is missing and that is possible."""
    from testbed.libraries import reason_against

    if reason := reason_against():
        absent(reason)


def absent(sentence: str) -> NoReturn:
    """Skip the test, or with CI=true fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    print(f"\nSKIPPED, AND NOTHING STANDS IN FOR IT: {sentence}", file=sys.__stderr__, flush=True)
    pytest.skip(sentence)
