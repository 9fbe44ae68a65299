"""The examples of docs/command.md: taken by the configuration, and run.

`systemctl`, `docker` and `kubectl` are stand-ins that record their arguments; `ssh` and the sshd that it logs in to are real."""

import getpass
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.adapters.runners.command import Command
from functions.config.loader import parse_config
from functions.config.settings import Config
from functions.domain.decisions.matching import to_target
from functions.domain.model.runbooks import Restart
from functions.runtime.errors import ConfigError
from testbed.broker import free_ports
from testbed.patience import wait_until
from tests.adapters.runners.command.place import Place, first_on_path, stand_in
from tests.support.needs import need

ROOT = Path(__file__).parents[4]
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/command.md").read_text(), re.DOTALL)]
RECORDS = "import json\n(here / 'said').write_text(json.dumps([Path(sys.argv[0]).name, *argv]))\nprint('done')"


def configured(folder: Path, *, on_cloud_run: bool = False) -> Config:
    """The shipped configuration for one machine, with the page's example in the place of Rundeck."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "infra/systemd/unstick.yaml").read_text())
    del whole["rundeck"]
    merged = whole | EXAMPLES[0]
    merged["command"] |= {"path": str(folder / "unstick.db"), "systemd": False}
    merged["command"]["jobs"] |= EXAMPLES[1]
    return parse_config(yaml.safe_dump(merged), on_cloud_run=on_cloud_run)


def test_the_examples_are_taken_as_they_stand(tmp_path):
    config = configured(tmp_path)
    assert (config.runner.name, config.runner_url) == ("command", "command://localhost")
    assert set(config.runner.adapter.jobs) == {  # type: ignore[attr-defined]
        *("restart-unit", "restart-container", "restart-deployment", "restart-there", "restart-mail")
    }


def test_google_cloud_keeps_no_processes_and_the_configuration_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, on_cloud_run=True)
    (problem,) = [problem for problem in refused.value.problems if ": command " in problem]
    assert "Cloud Run keeps none. Use another runner, or run Unstick on a machine of its own" in problem


@pytest.mark.parametrize(
    ("argument", "said"),
    [("${labels.service}", "has a ${ that is not ${option.NAME}"), ("", "is empty or holds control characters")],
)
def test_an_argument_that_nothing_fills_in_is_a_mistake_of_the_file(tmp_path, argument, said):
    example = {"path": "unstick.db", "jobs": {"a": {"run": ["echo", argument]}}}
    text = yaml.safe_dump(yaml.safe_load((ROOT / "infra/systemd/unstick.yaml").read_text()) | {"command": example})
    with pytest.raises(ConfigError, match=re.escape(f"command.jobs.a.run[1] {said}")):
        parse_config(text)


def run_to_its_end(command: Command, job: str, **options: str) -> tuple[str, tuple[str, ...]]:
    """Start it as a restart: how it ended, and its last lines."""
    place = Place(Path(command.path).parent)
    place.command = command
    ended, tail = place.until_ended(place.start(to_target(Restart(job), command.url, {"service": "mail-delivery", **options})))
    return ended.status, tail


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("restart-unit", "systemctl restart mail-delivery.service"),
        ("restart-container", "docker restart mail-delivery"),
        ("restart-deployment", "kubectl --kubeconfig /etc/unstick/kubeconfig rollout restart deployment/mail-delivery"),
    ],
)
def test_each_example_calls_its_program_with_these_arguments(tmp_path, monkeypatch, job, said):
    programs = tmp_path / "bin"
    stand_in(programs, said.partition(" ")[0], RECORDS)
    first_on_path(programs, monkeypatch.setenv)
    command = configured(tmp_path).runner.adapter
    assert isinstance(command, Command)
    assert run_to_its_end(command, job) == ("succeeded", ("done",))
    assert json.loads((programs / "said").read_text()) == said.split()


@contextmanager
def ssh_server(folder: Path, programs: Path) -> Iterator[Path]:
    """An sshd on loopback, for one key, in whose sessions these programs come first. Yields a client's ssh_config."""
    need("openssh-server")
    (port,) = free_ports(1)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # its own start does that where it is a service
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv PATH={programs}:/usr/bin:/bin\n"
    )
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "ssh_config").write_text(
        f"Host *\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n BatchMode yes\n"
        f" UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
    )
    sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    with (folder / "sshd.log").open("wb") as log, subprocess.Popen(sshd, stderr=log, stdin=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: "listening" in (folder / "sshd.log").read_text(), what=(folder / "sshd.log").read_text)
            yield folder / "ssh_config"
        finally:
            server.terminate()


def test_a_unit_is_restarted_on_another_host_by_a_real_ssh(tmp_path):
    """The program on the other side gets these arguments, through the shell there."""
    programs = tmp_path / "bin"
    stand_in(programs, "systemctl", RECORDS)
    command = configured(tmp_path).runner.adapter
    assert isinstance(command, Command)
    with ssh_server(tmp_path, programs) as ssh_config:
        there = command.jobs["restart-there"]
        run = tuple(str(ssh_config) if argument == "/etc/unstick/ssh_config" else argument for argument in there.run)
        reached = Command(command.path, {"restart-there": type(there)(run, there.timeout_s)})
        assert run_to_its_end(reached, "restart-there", host="127.0.0.1") == ("succeeded", ("done",))
    assert json.loads((programs / "said").read_text()) == ["systemctl", "restart", "mail-delivery.service"]
