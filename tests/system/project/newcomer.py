"""Somebody with a fresh clone, who types what the pages say."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.broker import free_ports
from testbed.patience import PATIENCE_S, wait_until
from tools.docs.pages import LEFT_OUT, ROOT

RUN_S = 150.0
OWN = {"unstick.local.yaml", "unstick.db.key"}  # what docs/first-hour.md writes
MAKE = f'#!/bin/sh\nexec {shutil.which("make")} -o setup "$@"\n'
"""The environment is there."""
SUDO = """#!/bin/sh
{ echo "$@"; [ "$1 $2" != "rabbitmqctl add_user" ] || cat; } >>sudo.log
[ "$1" != tee ] || cat >/dev/null
"""
"""Nothing of this machine is changed: what it was asked to do, and what came by stdin."""


class Newcomer:
    """In a folder with everything in the repository. The webhook's port is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name not in LEFT_OUT | OWN and not entry.name.endswith(".db"):
                (folder / entry.name).symlink_to(entry)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        programs = folder / "bin"
        programs.mkdir()
        for name, text in {"make": MAKE, "sudo": SUDO}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (self.port,) = free_ports(1)
        path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {"PATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        self.env |= {"PORT": str(self.port), "XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}

    def typed(self, block: str) -> list[str]:
        text = block.replace(":8080/", f":{self.port}/")
        text = text.replace("-m demo.stand_ins --restart", "-m demo.stand_ins --rundeck-port 0 --restart")
        return ["bash", "-euo", "pipefail", "-c", text]

    def run(self, block: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.typed(block), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert done.returncode == status, f"{block}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def terminal(self, block: str, *, until: str) -> Iterator[Path]:
        """A terminal in which the block goes on running; from the moment on when it prints this."""
        log = self.folder / f"terminal-{time.monotonic_ns()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.typed(block), cwd=self.folder, env=self.env, stdout=out, stderr=out, start_new_session=True
            )
        try:
            wait_for(log, until)
            yield log
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_S)


def wait_for(log: Path, text: str) -> None:
    wait_until(lambda: log.read_text(errors="replace"), lambda shown: text in shown)  # its end may be half of a letter
