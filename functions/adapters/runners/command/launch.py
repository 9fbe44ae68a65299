"""Starts a run's supervisor apart from Unstick's processes, and without the secrets in their environment."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from functions.adapters.runners.command import supervisor
from functions.adapters.runners.command.settings import SYSTEM
from functions.domain.texts.masking import mask
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.redaction import redact
from functions.runtime.text import Text, named

UNIT = "unstick-run@{run}.service"
SAID = 300  # characters of systemctl's error


def launch(folder: Path, run: int, *, systemd: bool, timeout_s: float) -> None:
    """Start the supervisor, in a session of its own or by systemd. Raises OSError, or what `start_unit` raises."""
    if systemd:
        start_unit(run, timeout_s, "--no-block")
        return
    command = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), str(run)]
    process = subprocess.Popen(command, **_apart(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), start_new_session=True)
    threading.Thread(target=process.wait, daemon=True, name="supervisor").start()  # so that it leaves no zombie


def start_unit(run: int, timeout_s: float, *options: str) -> None:
    """Have systemd start the unit of this run. Raises Denied if systemd refuses, Unavailable if it doesn't answer."""
    command = ["systemctl", "start", "--no-ask-password", *options, UNIT.format(run=run)]
    try:
        done = subprocess.run(command, **_apart(capture_output=True), timeout=max(timeout_s, 0.1), check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(SYSTEM, Text("systemd gave no answer"), late=True) from None
    if done.returncode:
        said = mask(redact(done.stderr.decode(errors="replace"))).strip()[:SAID]
        remedy = Text("Install the account, unstick-run@.service and the polkit rule (docs/command.md).")
        raise Denied(SYSTEM, named(Text("systemd refused"), said), remedy=remedy)


def _apart(**output: Any) -> dict[str, Any]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "LANG": "C.UTF-8"}
    return {"stdin": subprocess.DEVNULL, "cwd": "/", "env": environment, **output}
