"""The rotation of Rundeck's token: tried before it is stored, stored before the old one goes, and never shown."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers, tokens
from functions.adapters.runners.rundeck.settings import Settings
from functions.application.ports import Finding
from functions.runtime import secrets
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.secrets import SecretRef
from tests.support.doubles.rundeck import Job, Rundeck
from tests.support.doubles.rundeck.state import Token
from tests.support.doubles.secret_manager import secret_manager
from tests.support.patience import PATIENCE_S

OLD, ADMIN = "old-token", "admin-token"
JOB = Job().id
ENDS = "2026-12-01T10:00:00Z"


@pytest.fixture
def double() -> Iterator[Rundeck]:
    with Rundeck(clock=datetime(2026, 11, 26, tzinfo=UTC).timestamp) as served:
        served.tokens = {OLD: "runner", ADMIN: "admin"}
        served.state.tokens["old-id"] = Token("old-id", OLD, "unstick", ("unstick",), datetime.fromisoformat(ENDS).timestamp())
        yield served


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "token"
    place.write_text(f"{OLD}\n")
    place.chmod(0o640)
    return place


@pytest.fixture
def settings(double: Rundeck, place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RUNDECK_ADMIN_TOKEN", ADMIN)
    monkeypatch.setenv("RUNDECK_TOKEN", OLD)
    return Settings(double.url, SecretRef(f"file://{place}"), token_expires=ENDS)


def rotate(settings: Settings, *, duration: str = "30d", show: bool = False) -> tokens.Rotation:
    admin = SecretRef("env://RUNDECK_ADMIN_TOKEN")
    return tokens.rotate(
        settings, (JOB,), admin, user="unstick", role="unstick", duration=duration, show=show, timeout_s=PATIENCE_S
    )


def test_rotation_replaces_the_file_and_revokes_the_old_token(double: Rundeck, settings: Settings, place: Path) -> None:
    """Afterwards the reference has a token that works, with the file's mode; the old one works no more."""
    done = rotate(settings)
    new = place.read_text().strip()
    assert new in double.tokens
    assert OLD not in double.tokens
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert (done.new.expires, done.revoked and done.revoked.id) == ("2026-12-26T00:00:00Z", "old-id")
    assert new not in repr(done)
    assert [request.path for request in double.requests if new in f"{request.path}{request.query}"] == []


def test_new_version_in_secret_manager(double: Rundeck, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """sm:// gets a version of the secret, which is read back before the old token goes."""
    kept = {"projects/shop/secrets/rundeck": OLD}
    with secret_manager(kept) as url:
        monkeypatch.setenv(secrets.ENDPOINT, url)
        rotate(replace(settings, token=SecretRef("sm://shop/rundeck")))
    assert kept["projects/shop/secrets/rundeck"] in double.tokens
    assert OLD not in double.tokens


def test_token_that_does_not_work_changes_nothing(double: Rundeck, settings: Settings, place: Path) -> None:
    """A role without rights is found before anything is stored, and the new token is revoked again."""
    admin = SecretRef("env://RUNDECK_ADMIN_TOKEN")
    with pytest.raises(Denied, match="the new token does not work"):
        tokens.rotate(settings, (JOB,), admin, user="unstick", role="guest", duration="30d", show=False, timeout_s=PATIENCE_S)
    assert place.read_text().strip() == OLD
    assert set(double.tokens) == {OLD, ADMIN}


def test_secret_that_can_not_be_stored_changes_nothing(
    double: Rundeck, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secret Manager refuses: the new token is revoked again, the old one stays."""
    with secret_manager({}) as url:
        monkeypatch.setenv(secrets.ENDPOINT, url)
        with pytest.raises(Denied):
            rotate(replace(settings, token=SecretRef("sm://shop/rundeck")))
    assert set(double.tokens) == {OLD, ADMIN}


def test_token_that_may_have_been_stored_stays_valid(double: Rundeck, settings: Settings, tmp_path: Path) -> None:
    """No answer is not a no: were the new token revoked, a stored one would stop all restarts."""
    with pytest.raises(Unavailable):
        rotate(replace(settings, token=SecretRef(f"file://{tmp_path}")))
    assert len(double.tokens) == 3
    assert OLD in double.tokens


@pytest.mark.parametrize("reference", ["env://RUNDECK_TOKEN", "sm://shop/rundeck/3"])
def test_what_can_not_be_written_is_refused_before_a_token_is_made(double: Rundeck, settings: Settings, reference: str) -> None:
    """An environment variable, or one fixed version: no token is made that nobody would keep."""
    with pytest.raises(Denied) as refused:
        rotate(replace(settings, token=SecretRef(reference)))
    assert refused.value.remedy
    assert set(double.tokens) == {OLD, ADMIN}


def test_environment_variable_is_set_by_people(double: Rundeck, settings: Settings) -> None:
    """With `show` the token is handed over and the old one stays until it is revoked by its id."""
    done = rotate(replace(settings, token=SecretRef("env://RUNDECK_TOKEN")), show=True)
    assert done.token in double.tokens
    assert done.token not in repr(done)
    assert (done.revoked, [one.id for one in done.left]) == (None, ["old-id"])
    tokens.revoke_token(settings, SecretRef("env://RUNDECK_ADMIN_TOKEN"), "old-id", timeout_s=PATIENCE_S)
    assert OLD not in double.tokens


@pytest.mark.parametrize("written", ["", "2027-01-01T00:00:00Z"])
def test_old_token_that_is_not_known_is_left_alone(double: Rundeck, settings: Settings, written: str) -> None:
    """Another Unstick may use the same user: without its end, nobody knows which token is the old one."""
    done = rotate(replace(settings, token_expires=written))
    assert (done.revoked, [one.id for one in done.left]) == (None, ["old-id"])
    assert OLD in double.tokens


def test_too_long_a_duration_is_refused_with_the_remedy(settings: Settings) -> None:
    """Rundeck allows 30 days as it is shipped."""
    with pytest.raises(Denied) as refused:
        rotate(settings, duration="90d")
    assert "30d" in str(refused.value.remedy)


# --- what Rundeck may say -------------------------------------------------------------------------------------------------


class Said:
    """A Rundeck behind `ask`: the user's tokens, the new one, and what of it goes wrong."""

    def __init__(self, *known: dict[str, Any]) -> None:
        self.rows: Any = list(known)
        self.new: Any = {"id": "n1", "expiration": "later", "token": "n3w"}
        self.wrong: dict[str, Exception] = {}
        self.asked: list[tuple[str, str]] = []
        self.more: dict[str, Any] = {}

    def ask(self, to: answers.Connection, method: str, path: str, **more: Any) -> Answer:
        self.asked.append((method, path))
        self.more[f"{method} {path}"] = more | {"token": to.settings.token.read().decode()}
        if error := self.wrong.get(method):
            raise error
        return Answer("Rundeck", 200, {}, json.dumps(self.new if method == "POST" else self.rows).encode(), 1.0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said({"id": "a", "expiration": ENDS}, {"id": "b", "expiration": "other"})
    monkeypatch.setattr(answers, "ask", said.ask)
    return said


def unjobbed(settings: Settings, **changes: Any) -> tokens.Rotation:
    """A rotation that tries the new token on no job."""
    given = {"user": "un/stick", "role": "r", "duration": "30d", "show": False, "timeout_s": PATIENCE_S} | changes
    return tokens.rotate(settings, (), SecretRef("env://RUNDECK_ADMIN_TOKEN"), **given)


@pytest.mark.parametrize(
    ("row", "valid"),
    [
        ({}, True), ({"expired": False}, True), ({"expired": None}, True), ({"expired": "no"}, True), ({"expired": 1}, True),
        ({"expired": True}, False),
    ],
)  # fmt: skip
def test_tokens_that_have_ended_are_left_out(said: Said, settings: Settings, row: dict[str, Any], valid: bool) -> None:
    """Rundeck lists them for a while. What does not say so is taken for valid."""
    said.rows = [{"id": "a" * 81, "expiration": "e" * 41} | row, {"id": 5}]
    found = tokens.list_tokens(answers.connect(settings, PATIENCE_S), "un/stick")
    long = [tokens.KnownToken("a" * 80 + "...", "e" * 40 + "...")]
    assert list(found) == [*(long if valid else []), tokens.KnownToken("5", "")]
    assert said.asked == [("GET", "tokens/un%2Fstick")]
    said.rows = {"odd": 1}
    assert tokens.list_tokens(answers.connect(settings, PATIENCE_S), "u") == ()


def test_a_rotation_asks_in_this_order(said: Said, settings: Settings, place: Path) -> None:
    """With the admin's token: which there are, a new one, and at the end the old one is revoked."""
    done = unjobbed(settings)
    assert said.asked == [("GET", "tokens/un%2Fstick"), ("POST", "tokens/un%2Fstick"), ("DELETE", "token/a")]
    made = said.more["POST tokens/un%2Fstick"]
    assert made == {"json": {"roles": ["r"], "duration": "30d"}, "expected": 201, "token": ADMIN}
    assert said.more["DELETE token/a"] == {"expected": 204, "token": ADMIN}
    assert (done.new.id, done.revoked and done.revoked.id, [one.id for one in done.left]) == ("n1", "a", ["b"])
    assert (done.token, place.read_text()) == ("", "n3w\n")


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "a", "expiration": ENDS}, {"id": "b", "expiration": ENDS}],
        [{"id": "a", "expiration": "other"}, {"id": "b", "expiration": "other"}],
    ],
    ids=["two", "none"],
)
def test_only_a_token_that_is_known_for_certain_is_revoked(said: Said, settings: Settings, rows: Any) -> None:
    """Of two with the same end either may be another's."""
    said.rows = rows
    done = unjobbed(settings)
    assert (done.revoked, [one.id for one in done.left]) == (None, ["a", "b"])
    assert "DELETE" not in {method for method, _ in said.asked}


def test_a_token_that_is_handed_over_is_stored_nowhere(said: Said, settings: Settings, place: Path) -> None:
    """Nothing is revoked either, since the old one is still in use."""
    done = unjobbed(settings, show=True)
    assert (done.token, done.revoked, [one.id for one in done.left]) == ("n3w", None, ["a", "b"])
    assert place.read_text() == f"{OLD}\n"
    assert len(said.asked) == 2


@pytest.mark.parametrize("error", [Denied("Rundeck", "no"), Unavailable("Rundeck", "late")])
def test_a_new_token_that_can_not_be_revoked_hides_no_reason(
    said: Said, settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Why it is not used says more; it expires by itself."""
    said.wrong["DELETE"] = error
    monkeypatch.setattr(tokens.secret_writer, "write", lambda *_: (_ for _ in ()).throw(Denied("secrets", "may not write")))
    with pytest.raises(Denied, match="may not write"):
        unjobbed(settings)
    assert said.asked[-1] == ("DELETE", "token/n1")


@pytest.mark.parametrize("new", ["n3w", "z", ""])
def test_a_secret_that_did_not_change_revokes_nothing(
    said: Said, settings: Settings, monkeypatch: pytest.MonkeyPatch, new: str
) -> None:
    """Something else wrote it meanwhile: both tokens stay valid."""
    said.new["token"] = new
    monkeypatch.setattr(tokens.secret_writer, "write", lambda *_: None)
    with pytest.raises(Denied, match="still has another value") as denied:
        unjobbed(settings)
    assert (denied.value.code, "both tokens are still valid" in str(denied.value.remedy)) == ("stored", True)
    assert len(said.asked) == 2


@pytest.mark.parametrize(
    ("what", "ok", "refused"),
    [("ANSWERS", False, True), ("HISTORY", False, True), ("HISTORY", None, False), ("GUARD", False, False)],
)
def test_the_new_token_is_tried_for_what_restarts_need(
    said: Said, settings: Settings, monkeypatch: pytest.MonkeyPatch, what: str, ok: bool | None, refused: bool
) -> None:
    """What is wrong with the job itself is none of its business. It stands in the environment for as long as that takes."""
    tried: list[str] = []

    def check(with_it: Settings, job: str, options: Any, **more: Any) -> list[Finding]:
        assert (options, more["auto"], more["max_run_s"]) == ((), False, float("inf"))
        tried.append(f"{job} {with_it.token.read().decode()}")
        return [Finding(getattr(tokens.checks, what), ok, "no detail", "do this")]

    monkeypatch.setattr(tokens.checks, "check", check)
    given = {"user": "u", "role": "r", "duration": "30d", "show": True, "timeout_s": PATIENCE_S}
    if refused:
        with pytest.raises(Denied, match=r"the new token does not work: .*: no\. no detail") as denied:
            tokens.rotate(settings, ("j1", "j2"), SecretRef("env://RUNDECK_ADMIN_TOKEN"), **given)
        assert (denied.value.code, denied.value.remedy) == ("tried", "do this")
        assert said.asked[-1] == ("DELETE", "token/n1")
    else:
        assert tokens.rotate(settings, ("j1", "j2"), SecretRef("env://RUNDECK_ADMIN_TOKEN"), **given).token == "n3w"
        assert tried == ["j1 n3w", "j2 n3w"]
    assert tokens.NEW not in os.environ
