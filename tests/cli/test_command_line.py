"""What all commands have in common: exit codes, errors as sentences, and tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.domain.model.incidents import Document
from testbed.unstick_process import configuration, runbook
from tests.cli.conftest import FIRING, Line
from unstick import output
from unstick.main import command_line

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["no-such-command"], ["simulate"], ["pause"], ["status", "--days", "0"]])
def test_a_wrong_command_is_code_2(arguments: list[str]) -> None:
    """What click refuses has the exit code of a usage error."""
    assert CliRunner().invoke(command_line, arguments).exit_code == 2


@pytest.mark.parametrize("name", ["check", "status"])
def test_a_configuration_that_can_not_be_used_is_code_2(name: str, tmp_path: Path) -> None:
    """No file: its name, and how to name another. Mistakes: all of them, each with its place; a secret that was written in a
    reference's place does not reach the terminal."""
    missing = CliRunner().invoke(command_line, [name, "--config", str(tmp_path / "none.yaml")])
    assert (missing.exit_code, "none.yaml: the file can't be read" in missing.stderr) == (2, True)
    assert "UNSTICK_CONFIG" in missing.stderr
    books, wrong = [runbook("mail", mode="sometimes")], {"language": "fr", "signing_keys": ["hunter2-in-the-clear"]}
    settings = configuration("http://127.0.0.1:1", "http://127.0.0.1:1", books, **wrong)
    (tmp_path / "unstick.yaml").write_text(json.dumps(settings))
    result = CliRunner().invoke(command_line, [name, "--config", str(tmp_path / "unstick.yaml")])
    assert result.exit_code == 2
    assert [place for place in ("runbooks[0].mode", "language", "signing_keys") if place not in result.stderr] == []
    assert "hunter2" not in result.output


def test_without_its_packages_it_says_how_to_get_them() -> None:
    """In a fresh clone the system's own Python has none of them: one sentence with the remedy, no traceback."""
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-m", "unstick", "check"]  # -S: without the packages of the environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"The package \w+ is not installed here\. Run `make setup`, then `\.venv/bin/unstick \.\.\.`\.\n", done.stderr
    )


def test_what_the_environment_lacks_or_forbids_is_code_1(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is right, and something outside of it is not: a secret is missing, or UNSTICK_PAUSED=1 is a pause as any other."""
    here.saved(Document("closed"))
    monkeypatch.setenv("UNSTICK_PAUSED", "1")
    assert "PAUSED: UNSTICK_PAUSED=1 is set" in here.run("status", code=1).stdout
    monkeypatch.delenv("GRAFANA_HMAC_SECRET")
    assert "GRAFANA_HMAC_SECRET is not set" in here.run("send", FIRING, "http://127.0.0.1:1/", code=1).stderr


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (None, ["what    when", "メール  now, and for as long as it takes", "b[x]    :smile:"]),
        ("24", ["what    when", "メール  now, and for as", "        long as it takes", "b[x]    :smile:"]),
    ],
    ids=["a pipe", "narrow"],
)
def test_a_table_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str | None, lines: list[str]
) -> None:
    """East Asian characters take two columns; nothing of a cell is markup; in a pipe nothing is wrapped or coloured."""
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    output.print_table(("what", "when"), [("メール", "now, and for as long as it takes"), ("b[x]", ":smile:")])
    assert capsys.readouterr().out.splitlines() == lines


MISTAKES = [
    (["incident", "../../pause"], 1, "there is no incident"),
    (["pause", "--reason", "  "], 2, "reason"),
    (["pause", "--reason", "x", "--for", "tomorrow"], 2, "--for"),
    (["check", "--label", "queue"], 2, "is not NAME=VALUE"),
    (["simulate", "none.json"], 2, "none.json: there is no such file"),
    (["simulate", "."], 2, "has no *.json"),
    (["simulate", "--listen", "127.0.0.1:PORT", "r.json"], 2, "Address already in use"),
    (["simulate", "--listen", "8090", "r.json"], 2, "is not HOST:PORT"),
    (["simulate", "--listen", "127.0.0.1:0", "nowhere/r.json"], 2, "can't be written"),
    (["simulate", "--listen", "127.0.0.1:0", "-"], 2, "takes one FILE"),
    (["send", FIRING, "ftp://x/"], 2, "not an http or https URL"),
    (["send", FIRING, "http://127.0.0.1:1/"], 1, "connection refused"),
    (["send", FIRING, "http://127.0.0.1:1/", "--as", "bearer"], 1, "has no bearer"),
    (["send", "none.json", "http://127.0.0.1:1/"], 2, "no such file"),
    (["send", "--example", "service=mail-delivery", "http://127.0.0.1:1/"], 2, "Add: queue=..."),
]


@pytest.mark.parametrize(("arguments", "code", "said"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_a_mistake_ends_with_a_sentence(here: Line, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str):
    """Code 2 where the command itself is wrong; nothing is started, saved or told."""
    monkeypatch.chdir(here.folder)
    here.write("t", b"{}")
    taken = here.rabbit.url.rpartition(":")[2]
    assert said in here.run(*(word.replace("PORT", taken) for word in arguments), code=code).stderr
    assert here.rundeck.posts() == []
    assert [one.key for one in here.ports.store.list_documents(timeout_s=5)] == ["t"]
