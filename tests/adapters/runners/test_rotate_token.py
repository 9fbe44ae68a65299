"""infra/rundeck/rotate_token.py: tried before it is stored, stored before the old one goes, and shown only where it must be."""

import os
import runpy
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.doubles.rundeck import Job, Rundeck
from testbed.doubles.rundeck.state import Token
from testbed.unstick_process import ROOT, configuration, job_id, runbook

SCRIPT = str(ROOT / "infra" / "rundeck" / "rotate_token.py")
OLD, ADMIN = "old-token", "admin-token"
ENDS = "2026-12-01T10:00:00Z"
GCLOUD = """#!/bin/sh
echo "$*" >calls
cat >stored
"""


@dataclass
class Rotation:
    """The script beside a Rundeck in which the administrator once created the user's token."""

    folder: Path
    rundeck: Rundeck
    capfd: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.place = self.folder / "token"
        self.rundeck.tokens = {OLD: "runner", ADMIN: "admin"}
        tokens, other = self.rundeck.state.tokens, datetime(2026, 12, 9, tzinfo=UTC).timestamp()
        tokens["old-id"] = Token("old-id", OLD, "unstick", ("unstick",), datetime.fromisoformat(ENDS).timestamp())
        tokens["other-id"] = Token("other-id", "others", "somebody", ("view",), other)
        self.place.write_text(f"{OLD}\n")
        self.place.chmod(0o640)
        gcloud = self.folder / "gcloud"
        gcloud.write_text(GCLOUD)
        gcloud.chmod(0o755)
        self.monkeypatch.setenv("RUNDECK_ADMIN_TOKEN", ADMIN)
        self.monkeypatch.setenv("UNSTICK_NEW_RUNDECK_TOKEN", "")
        self.monkeypatch.setenv("PATH", f"{self.folder}{os.pathsep}{os.environ['PATH']}")
        self.monkeypatch.chdir(self.folder)

    def run(self, *arguments: str, reference: str = "") -> tuple[Any, str, str]:
        """Its exit code, and what it wrote to stdout and stderr."""
        settings = {"url": self.rundeck.url, "token": reference or f"file://{self.place}", "token_expires": ENDS}
        written = configuration(self.rundeck.url, "http://127.0.0.1:1", [runbook("mail-delivery")], rundeck=settings)
        (self.folder / "unstick.yaml").write_text(yaml.safe_dump(written))
        self.monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
        self.monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(SCRIPT, run_name="__main__")
        return ended.value.code or 0, *self.capfd.readouterr()


@pytest.fixture
def rotation(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotation]:
    with Rundeck(Job(id=job_id("mail-delivery")), clock=datetime(2026, 11, 26, tzinfo=UTC).timestamp) as rundeck:
        yield Rotation(tmp_path, rundeck, capfd, monkeypatch)


def test_rotation_replaces_the_file_and_revokes_the_old_token(rotation: Rotation) -> None:
    """The reference has a token that works, with the file's mode; the old one works no more; no token is shown."""
    code, out, err = rotation.run()
    assert code == 0, err
    new = rotation.place.read_text().strip()
    assert rotation.rundeck.tokens == {new: "runner", ADMIN: "admin"}
    assert stat.S_IMODE(rotation.place.stat().st_mode) == 0o640
    assert "token_expires: '2026-12-26T00:00:00Z'" in err
    assert not [secret for secret in (new, OLD, ADMIN) if secret in out + err]


def test_secret_manager_gets_a_new_version(rotation: Rotation) -> None:
    """By gcloud, with the token on stdin, where no list of processes shows it."""
    code, _, err = rotation.run(reference="sm://shop/rundeck")
    assert code == 0, err
    assert (rotation.folder / "calls").read_text() == "secrets versions add rundeck --project=shop --data-file=-\n"
    assert (rotation.folder / "stored").read_text() in rotation.rundeck.tokens
    assert OLD not in rotation.rundeck.tokens


def test_a_token_for_the_environment_is_printed_and_the_old_one_stays(rotation: Rotation) -> None:
    """Stdout has the token alone, so that it can be piped; the old one goes by its id, once the new one is in use."""
    _, out, err = rotation.run(reference="env://RUNDECK_TOKEN")
    assert rotation.rundeck.tokens[out.strip()] == "runner"
    assert "old-id" in err
    assert "other-id" not in err
    assert OLD in rotation.rundeck.tokens
    assert rotation.run("--revoke", "old-id")[0] == 0
    assert OLD not in rotation.rundeck.tokens


@pytest.mark.parametrize(
    ("arguments", "reference", "administrator", "code", "says"),
    [
        pytest.param(["--role", "guest"], "", ADMIN, 1, "the new token does not work", id="a role without rights"),
        pytest.param(["--duration", "90d"], "", ADMIN, 1, "Duration exceeds maximum allowed", id="longer than Rundeck allows"),
        pytest.param([], "file:///nowhere/token", ADMIN, 1, "The old token still works", id="a file that is not there"),
        pytest.param([], "sm://shop/rundeck/3", ADMIN, 2, "names one version", id="one fixed version"),
        pytest.param(["--config", "none.yaml"], "", ADMIN, 2, "the file can't be read", id="no configuration"),
        pytest.param([], "", "of-nobody", 1, "does not accept the token in RUNDECK_ADMIN_TOKEN", id="an unknown administrator"),
        pytest.param([], "", "", 2, "RUNDECK_ADMIN_TOKEN is not set", id="no administrator"),
        pytest.param([], "", OLD, 1, "Unauthorized: generate API token", id="no administrator's"),
        pytest.param(
            ["--revoke", "gone-id"], "", ADMIN, 1, "There is no token gone-id: it was revoked, or has expired.", id="revoked"
        ),
    ],
)
def test_what_goes_wrong_changes_nothing(
    rotation: Rotation, arguments: list[str], reference: str, administrator: str, code: int, says: str
) -> None:
    """The reason is said, and no new token is left over. What is said to Unstick about its own token and job is not said here."""
    rotation.monkeypatch.setenv("RUNDECK_ADMIN_TOKEN", administrator)
    ended, _, err = rotation.run(*arguments, reference=reference)
    assert (ended, says in err) == (code, True), err
    assert "rundeck.token points" not in err
    assert "--revoke" not in arguments or "job" not in err
    assert set(rotation.rundeck.tokens) == {OLD, ADMIN}
    assert rotation.place.read_text().strip() == OLD
