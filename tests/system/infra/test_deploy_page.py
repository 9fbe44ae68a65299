"""docs/deploy.md as somebody follows it: its blocks for one machine and for Docker are run, against stand-ins for the machine."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools.docs.pages import ROOT, blocks

PAGE, SYSTEMD = ROOT / "docs" / "deploy.md", ROOT / "infra" / "systemd"
CALLED = """#!/bin/sh
printf '%s' "${0##*/}" >>"$CALLS"
for word; do printf '\\t%s' "$word" >>"$CALLS"; done
echo >>"$CALLS"
"""
VENV = f'mkdir -p "$3/bin" && ln -sf "$(command -v systemctl)" "$3/bin/pip" && ln -sf "{sys.executable}" "$3/bin/python"\n'


def block(beginning: str) -> str:
    (text,) = [body for info, body in blocks(PAGE) if info == "sh" and beginning in body]
    return text


class Machine:
    """A folder in place of /, and programs that only write down what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        for name in ("programs", "etc/systemd/system", "usr/local/bin", "opt"):
            (folder / name).mkdir(parents=True)
        for name in ("systemctl", "docker", "systemd-run", "curl"):
            self.program(name, CALLED)
        self.program("python3", CALLED + VENV)

    def program(self, name: str, text: str) -> None:
        (self.folder / "programs" / name).write_text(text, encoding="utf-8")
        (self.folder / "programs" / name).chmod(stat.S_IRWXU)

    def run(self, script: str, *arguments: str, cwd: Path = ROOT, **variables: str) -> list[list[str]]:
        """Run it with this machine's folders in place of the real ones, and return what it called."""
        self.calls.write_text("", encoding="utf-8")
        moved = re.sub(r"(?<![\w.])/(opt/|etc/|usr/local/)", rf"{self.folder}/\1", script)
        path = f"{self.folder}/programs:{os.environ['PATH']}"
        env = {"PATH": path, "CALLS": str(self.calls), "HOME": str(self.folder), "LANG": "C.UTF-8"} | variables
        subprocess.run(["bash", "-euc", moved, "bash", *arguments], cwd=cwd, env=env, check=True, timeout=60)
        return [line.split("\t") for line in self.calls.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_machine_gets_what_the_units_name(machine: Machine) -> None:
    """After the first block there are units, program, command and both files; the secrets are their owner's alone, and this
    machine's token is its own, long and random. The same block again is an upgrade: configuration and secrets stay, a file of the
    program that the new release has no more is gone.
    """
    install = block("mkdir -p /opt/unstick")
    machine.run(install)
    opt, etc = machine.folder / "opt/unstick", machine.folder / "etc"
    assert (opt / ".venv/bin/pip").exists()
    for source in ("main.py", "functions/entrypoints/webhook.py"):
        path = opt / source
        compiled_at = max(one.stat().st_mtime_ns for one in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
        assert compiled_at >= path.stat().st_mtime_ns, f"each start and each command would compile {source}"
    assert {path.name for path in (etc / "systemd/system").iterdir()} >= {
        "unstick.service", "unstick@.service", "unstick-report.timer",
    }  # fmt: skip
    assert (machine.folder / "usr/local/bin/unstick").stat().st_mode & 0o777 == 0o755
    env, config = etc / "unstick/unstick.env", etc / "unstick/unstick.yaml"
    assert env.stat().st_mode & 0o777 == 0o600
    assert config.read_bytes() == (SYSTEMD / "unstick.yaml").read_bytes()
    (token,) = re.findall(r"^UNSTICK_MACHINE_TOKEN=([0-9a-f]{64})$", env.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(token)) > 1
    config.write_text("mine", encoding="utf-8")
    gone = opt / "functions/adapters/chats/gone.py"
    gone.touch()
    machine.run(install)
    assert config.read_text(encoding="utf-8") == "mine"
    assert f"UNSTICK_MACHINE_TOKEN={token}\n" in env.read_text(encoding="utf-8")
    assert not gone.exists()


@pytest.mark.parametrize("sudo", ["", "h.tanaka"])
def test_the_command_runs_as_the_service_does(machine: Machine, sudo: str) -> None:
    """Account, folder, configuration and secrets are the unit's; arguments arrive as given, and a pause has a person's name."""
    script = (SYSTEMD / "unstick").read_text(encoding="utf-8")
    ((name, *words),) = machine.run(script, "pause", "--reason", "two  words", SUDO_USER=sudo)
    unit = (SYSTEMD / "unstick@.service").read_text(encoding="utf-8").replace("/opt/", f"{machine.folder}/opt/")
    unit = unit.replace("=/etc/", f"={machine.folder}/etc/")
    settings = unit.splitlines()
    assert name == "systemd-run"
    assert {"--wait", "--collect", "--quiet", "--pipe", "--pty"} <= set(words)
    properties = [word.removeprefix("--property=") for word in words if word.startswith("--property=")]
    assert [one for one in properties if one not in settings] == []
    assert {"User", "DynamicUser", "StateDirectory", "EnvironmentFile"} <= {one.partition("=")[0] for one in properties}
    (environment,) = [line.removeprefix("Environment=").split() for line in settings if line.startswith("Environment=")]
    given = [word.removeprefix("--setenv=") for word in words if word.startswith("--setenv=")]
    assert given[:-1] == environment
    assert given[-1] == f"LOGNAME={sudo}" if sudo else given[-1] != "LOGNAME="
    (command,) = [line.removeprefix("ExecStart=").split() for line in settings if line.startswith("ExecStart=")]
    assert words[-len(command) - 2 :] == [*command[:-1], "pause", "--reason", "two  words"]


def test_the_address_that_hears_of_failures_is_in_no_arguments(machine: Machine) -> None:
    """Everybody on the machine can read a process's arguments, and the address holds the chat's secret."""
    machine.program("curl", CALLED + 'cat >"$CALLS.stdin"\n')
    unit = (SYSTEMD / "unstick-failed@.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    words = [quoted.encode().decode("unicode_escape") or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", line)]
    said = [word.replace("$$", "$").replace("%%", "%").replace("%i", "unstick.service").replace("%H", "here") for word in words]
    script = said[2].replace("/usr/bin/curl", "curl")
    url = "https://chat.example.com/hook?key=abc"
    ((name, *arguments),) = machine.run('sh -c "$1" "$2"', script, said[3], ALERT_URL=url)
    assert (name, [one for one in arguments if "abc" in one]) == ("curl", [])
    assert json.loads(arguments[-1])["text"].startswith("ACT NOW: unstick.service failed on here.")
    assert (machine.folder / "calls.stdin").read_text(encoding="utf-8") == f'url = "{url}"\n'
    assert "$" not in line.replace("$$", ""), "systemd would put the value into the arguments"
