"""The examples of docs/command.md: taken by the configuration, and run.

`systemctl`, `docker` and `kubectl` are stand-ins that record their arguments."""

import json
import re
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
from tests.adapters.runners.command.place import Place, first_on_path, stand_in

ROOT = Path(__file__).parents[4]
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/command.md").read_text(), re.DOTALL)]
RECORDS = "import json\n(here / 'said').write_text(json.dumps([Path(sys.argv[0]).name, *argv]))\nprint('done')"


def configured(folder: Path, *, on_cloud_run: bool = False) -> Config:
    """The shipped configuration for one machine, with the page's example in the place of Rundeck."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "infra/systemd/unstick.yaml").read_text())
    del whole["rundeck"]
    merged = whole | EXAMPLES[0]
    merged["command"] |= {"path": str(folder / "unstick.db"), "systemd": False}
    merged["command"]["jobs"] |= {**EXAMPLES[1], "empty": {"run": ["echo", "to=${option.host}"], "defaults": {"host": ""}}}
    return parse_config(yaml.safe_dump(merged), on_cloud_run=on_cloud_run)


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


def test_an_option_may_be_empty_by_its_default(tmp_path):
    assert run_to_its_end(configured(tmp_path).runner.adapter, "empty") == ("succeeded", ("to=",))


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
