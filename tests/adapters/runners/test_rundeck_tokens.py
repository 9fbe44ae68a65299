"""The rotation of Rundeck's token: tried before it is stored, stored before the old one goes, and never shown."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from functions.adapters.runners.rundeck import tokens
from functions.adapters.runners.rundeck.settings import Settings
from functions.runtime import secrets
from functions.runtime.errors import Denied, Unavailable
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
