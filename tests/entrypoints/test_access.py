"""Who may call `verify` and `report` where no platform stands in front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.config.current import current_config
from functions.entrypoints.access import warn_if_unguarded
from tests.support.worlds.one_machine import Place, stuck

pytestmark = pytest.mark.usefixtures("patient_code")

ELSEWHERE = {"environ_overrides": {"REMOTE_ADDR": "10.0.0.7"}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    monkeypatch.delenv("K_SERVICE", raising=False)
    with stuck(tmp_path, monkeypatch, capsys) as made:
        yield made


@pytest.mark.parametrize("entry", ["verify", "report"])
def test_a_caller_from_another_machine_is_refused(place, entry):
    """Neither a sweep nor a report; from this machine both work."""
    answer = place.entry(entry).post("/", **ELSEWHERE)
    assert (answer.status_code, "open_to_network" in answer.json["error"]) == (403, True)
    assert place.entry(entry).post("/").status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"), ("Origin", "https://evil.example.com"),
        ("Host", "evil.example.com"), ("Host", "evil.example.com:8080"),
    ],
)  # fmt: skip
def test_a_proxy_or_a_browser_on_this_machine_lets_nobody_else_in(place, name, value):
    """Their callers come from loopback, but not for themselves. A page may have a name of its own for loopback."""
    for entry in ("verify", "report"):
        assert place.entry(entry).post("/", headers={name: value}).status_code == 403
    assert place.entry("verify").post("/", headers={"Host": "127.0.0.1:8080"}).status_code == 200


@pytest.mark.parametrize("way", ["key", "platform"])
def test_a_platform_or_a_key_lets_them_in(place, monkeypatch, way):
    """Cloud Run has checked the caller's permission; on a network of one's own a key says that this is wanted."""
    if way == "platform":
        current_config()  # which would refuse a local store there
        monkeypatch.setenv("K_SERVICE", "unstick-verify")
    else:
        place.configured(open_to_network=True)
    assert place.entry("verify").post("/", **ELSEWHERE).status_code == 200


def test_the_webhook_takes_everybody(place):
    """It authenticates by itself."""
    assert place.entry("webhook").post("/", **ELSEWHERE).status_code == 401


@pytest.mark.parametrize(("entry", "open_to_network", "said"), [
    ("verify", False, "callers on this machine only"),
    ("report", True, "anybody who can reach this port"),
    ("webhook", True, ""),
])  # fmt: skip
def test_the_start_says_who_is_let_in(place, entry, open_to_network, said):
    """A warning for the operator, since nothing in front checks who calls."""
    place.configured(open_to_network=open_to_network)
    place.capsys.readouterr()
    warn_if_unguarded(entry)
    shown = place.capsys.readouterr()
    assert said in shown.out + shown.err
    assert bool(shown.out + shown.err) == bool(said)
