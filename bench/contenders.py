"""Who is measured: Unstick, functions with less in them, and what people would use instead."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import yaml

from bench import wire
from bench.stage import BUILD, CLOUD, JOB, PROJECT, ROOT, Stage, environment, in_secret_manager, in_the_cloud, signature
from bench.tree import Tree, started
from testbed.broker import free_ports
from testbed.debian import ensure
from testbed.unstick_process import HMAC_SECRET, RUNNER_TOKEN, check_ahead, mounted

PLAIN = ROOT / "bench" / "plain"
RULEBOOK_PACKAGES = ("ansible-rulebook==1.3.2", "ansible-core==2.19.14")
START_S = 60.0
WRONG = "0" * 64


class Form(Enum):
    """How a contender is started."""

    MACHINE = auto()
    CLOUD = auto()
    """As infra/ deploys it: the archive, the cloud's rooms, secrets in Secret Manager, Grafana's mounted as a file."""
    FETCHED = auto()
    """The same with nothing mounted."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server under test. `command` gets its folder, with all that it needs in it, and its port."""

    name: str
    command: Callable[[Stage, Path, int], list[str]]
    path: str = "/"
    stamped: bool = True
    """Whether the time is signed, too."""
    restarts: bool = True
    """Whether it calls Rundeck."""
    refusal: int = 401
    """What it answers to a wrong signature; 200 if it looks at none."""
    cloud: bool = False
    """Whether it can have documents and wake-ups in the cloud, as functions have that start cold."""

    @property
    def deployed(self) -> Form:
        """The form in which it starts cold where it can choose."""
        return Form.CLOUD if self.cloud else Form.MACHINE

    def message(self, body: bytes, *, forged: bool = False) -> bytes:
        """A whole request with this body, signed as this contender wants it; or with a wrong signature of the right form."""
        stamp = str(int(time.time())) if self.stamped else ""
        headers: Mapping[str, str] = {
            "Content-Type": "application/json",
            "X-Grafana-Alerting-Signature": WRONG if forged else signature(body, stamp=stamp),
        }
        return wire.message(self.path, {**headers, "X-Grafana-Alerting-Timestamp": stamp} if stamp else headers, body)


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that was started."""

    contender: Contender
    tree: Tree
    port: int


def start(contender: Contender, stage: Stage, form: Form = Form.MACHINE, *, one_cpu: bool = False, **changes: str) -> Running:
    """Start it in a new folder; it need not serve yet."""
    port = free_ports(1)[0]
    folder = BUILD / "run" / f"{contender.name.replace(' ', '-')}-{port}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = contender.command(stage, folder, port)
    made = environment(stage, folder)
    if form is Form.MACHINE:
        write_configuration(folder / "unstick.yaml", stage.file())
    else:
        write_configuration(folder / "unstick.yaml", in_secret_manager(stage.file(**CLOUD)), checked=True)
        made |= in_the_cloud(stage.storage_url, stage.tasks_url, stage.secrets_url)
        made |= mounted(folder / "secrets", f"{PROJECT}/GRAFANA_HMAC_SECRET") if form is Form.CLOUD else {}
    return Running(contender, started(command, folder, made | changes, one_cpu=one_cpu), port)


# --- functions ----------------------------------------------------------------------------------------------------------


def write_configuration(path: Path, content: dict[str, Any], *, checked: bool = False) -> None:
    """The file; with what was made of it beside it, as the archive for the cloud has it (infra/package.py)."""
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    if checked:
        check_ahead(path)


def _function(source: Path) -> Callable[[Stage, Path, int], list[str]]:
    served = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", "webhook", "--host", "127.0.0.1"]
    return lambda _stage, _folder, port: [*served, "--port", str(port)]


UNSTICK = Contender("Unstick", _function(ROOT / "main.py"), cloud=True)
BARE = Contender("bare function", _function(PLAIN / "bare.py"), restarts=False, refusal=200)
HASHING = Contender("function that reads and hashes", _function(PLAIN / "hashing.py"), stamped=False, restarts=False)
REQUESTING = Contender("function that imports requests", _function(PLAIN / "requesting.py"), restarts=False, refusal=200)
UNGUARDED = Contender("same calls without guards", _function(PLAIN / "unguarded.py"), cloud=True)


# --- what people would use instead ----------------------------------------------------------------------------------------


def _webhook(stage: Stage, folder: Path, port: int) -> list[str]:
    script = folder / "restart.sh"
    call = (
        f"exec curl -fsS -m 10 -X POST -H 'X-Rundeck-Auth-Token: {RUNNER_TOKEN}' -H 'Content-Type: application/json'"
        f' -d "{{\\"options\\":{{\\"service\\":\\"$1\\"}}}}" {stage.rundeck.url}/api/41/job/{JOB}/run'
    )
    script.write_text(f"#!/bin/sh\n{call}\n")
    script.chmod(0o755)
    signed = {"source": "header", "name": "X-Grafana-Alerting-Signature"}
    hook = {
        "id": "restart",
        "execute-command": str(script),
        "command-working-directory": str(folder),
        "pass-arguments-to-command": [{"source": "payload", "name": "alerts.0.labels.service"}],
        "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": HMAC_SECRET, "parameter": signed}},
        "trigger-rule-mismatch-http-response-code": 401,
    }
    (folder / "hooks.json").write_text(json.dumps([hook]))
    return ["webhook", "-hooks", str(folder / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)]


def _rulebook(stage: Stage, folder: Path, port: int) -> list[str]:
    (folder / "inventory").write_text(
        f"localhost ansible_connection=local ansible_python_interpreter={_rulebook_bin('python')}\n"
    )
    source = {
        "host": "127.0.0.1",
        "port": port,
        "hmac_secret": HMAC_SECRET,
        "hmac_algo": "sha256",
        "hmac_header": "X-Grafana-Alerting-Signature",
        "hmac_format": "hex",
    }
    call = {
        "url": f"{stage.rundeck.url}/api/41/job/{JOB}/run",
        "method": "POST",
        "headers": {"X-Rundeck-Auth-Token": RUNNER_TOKEN},
        "body_format": "json",
        "body": {"options": {"service": "{{ event.payload.alerts[0].labels.service }}"}},
    }
    rule = {
        "name": "restart",
        "condition": 'event.payload.status == "firing"',
        "action": {"run_module": {"name": "ansible.builtin.uri", "module_args": call}},
    }
    rules = [
        {
            "name": "stuck queues",
            "hosts": "localhost",
            "gather_facts": False,
            "sources": [{"eda.builtin.webhook": source}],
            "rules": [rule],
        }
    ]
    (folder / "rulebook.yml").write_text(yaml.safe_dump(rules, sort_keys=False))
    shell = f'PATH="{_rulebook_bin("")}:$PATH" exec ansible-rulebook --rulebook rulebook.yml -i inventory'
    return ["sh", "-c", shell]


WEBHOOK = Contender("adnanh/webhook", _webhook, path="/hooks/restart", stamped=False, refusal=500)
RULEBOOK = Contender("ansible-rulebook", _rulebook, path="/endpoint", stamped=False)


def _rulebook_bin(name: str) -> Path:
    return BUILD / "ansible-rulebook" / "bin" / name


def missing(contender: Contender) -> str:
    """Why it can't be measured on this machine; empty where it can. ansible-rulebook is installed here on first use."""
    if contender is WEBHOOK and not (shutil.which("webhook") and shutil.which("curl")) and not ensure("webhook", "curl"):
        return "it can't be had here (apt-get install webhook curl)"
    if contender is RULEBOOK:
        if not shutil.which("java"):
            return "not on this machine: it needs Java 17 or newer"
        return _install_rulebook()
    return ""


def _install_rulebook() -> str:
    if _rulebook_bin("ansible-rulebook").exists():
        return ""
    print("installing ansible-rulebook into build/bench, once", file=sys.stderr)
    try:
        venv.create(_rulebook_bin("").parent, with_pip=True)
        subprocess.run(
            [_rulebook_bin("python"), "-m", "pip", "install", "--quiet", *RULEBOOK_PACKAGES],
            check=True,
            timeout=240,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"could not be installed: {type(error).__name__}"
    return ""
