"""The jobs of infra/rundeck, run as Rundeck would run them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from testbed.patience import PATIENCE_S, wait_until

FOLDER = Path(__file__).parents[2] / "infra" / "rundeck"


def definition(name: str) -> dict[str, Any]:
    """A file's only job."""
    (job,) = yaml.safe_load((FOLDER / name).read_text())
    parsed: dict[str, Any] = job
    return parsed


def run(name: str, *before: str, **options: str) -> subprocess.CompletedProcess[str]:
    """The script of its last step. Options that aren't given are empty. `before`: words before the interpreter."""
    job = definition(name)
    script = job["sequence"]["commands"][-1]["script"]
    for option in job["options"]:
        script = script.replace(f"@option.{option['name']}@", options.get(option["name"], ""))
    command = [*before, *script.partition("\n")[0][2:].split()]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=PATIENCE_S, env=env, check=False)


def until_shown(text: str, name: str, **options: str) -> subprocess.CompletedProcess[str]:
    """Run it until the process has come as far as to hang."""
    return wait_until(lambda: run(name, **options), lambda result: text in result.stdout)
