"""`rotate-token`: what it prints, what it writes into the configuration, and that no token is shown unasked."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.line import Line
from tests.support.doubles.rundeck import TOKEN
from tests.support.doubles.rundeck.state import Token
from unstick.commands.rotate_token import write_expiry

ADMIN = "admin-token"


@pytest.fixture
def ends(here: Line, monkeypatch: pytest.MonkeyPatch) -> str:
    """The end of the token that is used, which is kept in a file and named by the configuration."""
    monkeypatch.setenv("RUNDECK_ADMIN_TOKEN", ADMIN)
    at = float(int(time.time()) + 3 * 86400)
    ends = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    here.rundeck.tokens[ADMIN] = "admin"
    here.rundeck.state.tokens["old-id"] = Token("old-id", TOKEN, "unstick", ("unstick",), at)
    (here.folder / "token").write_text(TOKEN)
    reference = f"file://{here.folder}/token"
    here.configured(rundeck={"url": here.rundeck.url, "token": reference, "token_expires": ends})
    return ends


def test_rotation_is_one_command(here: Line, ends: str) -> None:
    """The new token is in its file and works, the old one is revoked, the configuration has the new end; no token is shown."""
    result = here.run("rotate-token", code=0)
    new = (here.folder / "token").read_text().strip()
    assert here.rundeck.tokens == {new: "runner", ADMIN: "admin"}
    assert ends not in here.config.read_text()
    assert here.ports.config.runner.settings.token_expires_at > time.time() + 29 * 86400
    assert not [secret for secret in (new, TOKEN, ADMIN) if secret in result.output]
    assert "Deploy the configuration" in result.output


def test_token_is_shown_where_asked_and_revoked_by_its_id(here: Line, ends: str) -> None:
    """For an environment variable: stdout has the token alone, so that it can be piped."""
    result = here.run("rotate-token", "--show", code=0)
    assert here.rundeck.tokens[result.stdout.strip()] == "runner"
    assert "old-id" in result.stderr
    assert TOKEN in here.rundeck.tokens, ends
    here.run("rotate-token", "--revoke", "old-id", code=0)
    assert TOKEN not in here.rundeck.tokens


def test_token_instead_of_a_reference_is_refused_unrepeated(here: Line, ends: str) -> None:
    """Whoever writes the token on the command line learns where it belongs."""
    result = here.run("rotate-token", "--admin", ADMIN, code=2)
    assert "Never write a token there" in result.output
    assert ADMIN not in result.output.replace("RUNDECK_ADMIN_TOKEN", "")
    assert TOKEN in here.rundeck.tokens, ends


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("rundeck: {url: u, token: t, token_expires: '2026-12-01T10:00:00Z'}\n", True),
        ("rundeck:\n  token_expires: 2026-12-01T10:00:00+01:00 # by hand\n", True),
        ("rundeck:\n  token: t\n", False),
    ],
)
def test_only_the_end_is_changed(tmp_path: Path, text: str, written: bool) -> None:
    """Comments and all the rest stay as they were."""
    path = tmp_path / "unstick.yaml"
    path.write_text(text)
    assert write_expiry(path, "2026-12-31T10:00:00Z") is written
    changed = path.read_text()
    assert ("2026-12-31T10:00:00Z" in changed) is written
    assert changed.split("token_expires")[0] == text.split("token_expires", maxsplit=1)[0]
    assert ("# by hand" in changed) is ("# by hand" in text)
