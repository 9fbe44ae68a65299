"""docs/first-hour.md: its blocks are run in their order, as a newcomer types them, with other ports."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from demo.stand_ins import StuckQueue
from testbed.broker import free_ports
from testbed.broker.ports import is_taken
from testbed.doubles.rabbitmq import RabbitDouble, User
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import BUDGET
from tools.docs.pages import LEFT_OUT, ROOT, blocks

PAGE = ROOT / "docs" / "first-hour.md"
RUN_S = 150.0
OWN = {"unstick.local.yaml", "my-alert.json"}  # what the page writes
pytestmark = pytest.mark.timeout(600)  # a dozen programs, one after the other


class Newcomer:
    """Somebody with a fresh clone, in a folder with everything in the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name not in LEFT_OUT | OWN and not entry.name.endswith(".db"):
                (folder / entry.name).symlink_to(entry)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        make = folder / "bin" / "make"
        make.parent.mkdir()
        make.write_text(f'#!/bin/sh\nexec {shutil.which("make")} -o setup "$@"\n')  # the environment is there
        make.chmod(0o755)
        path = f"{make.parent}{os.pathsep}{os.environ['PATH']}"
        self.port, self.recorder = free_ports(2)
        self.env = {"PATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        self.env |= {"PORT": str(self.port), "XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}

    def typed(self, block: str) -> list[str]:
        text = block.replace(":8080/", f":{self.port}/")
        text = text.replace("-m demo.stand_ins", "-m demo.stand_ins --rundeck-port 0 --rabbitmq-port 0")
        text = text.replace("127.0.0.1:8090", f"127.0.0.1:{self.recorder}")
        return ["bash", "-euo", "pipefail", "-c", text]

    def run(self, block: str) -> str:
        done = subprocess.run(
            self.typed(block), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

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


def post(url: str, body: bytes) -> bool:
    """Whether somebody took it."""
    with suppress(OSError), urlopen(Request(url, body)):
        return True
    return False


def test_every_block_of_the_page_works(tmp_path: Path) -> None:
    """From the stand-ins to a decision about one's own alert; nothing has to be guessed."""
    newcomer = Newcomer(tmp_path)
    _, stand_ins, serve, send, look, simulate, *_ = [body for info, body in blocks(PAGE) if info == "sh"]
    with ExitStack() as terminals:
        rundeck = terminals.enter_context(newcomer.terminal(stand_ins, until="Next, in another terminal"))
        with (tmp_path / "build" / "stand-ins" / "unstick.yaml").open("a", encoding="utf-8") as file:
            file.write(f"budget: {BUDGET}\n")
        serving = newcomer.terminal(serve, until=f"listening on http://127.0.0.1:{newcomer.port}/")
        unstick = terminals.enter_context(serving)
        wait_until(lambda: is_taken(newcomer.port))
        shown = newcomer.run(send)
        assert "0 failed" in shown
        # Where a stand-in stands still for seconds, the look is made again by itself.
        assert "restarted, incident" in shown or "decided again by itself" in shown
        wait_for(rundeck, "restarted mail-delivery")
        wait_for(unstick, "recovered")  # in the seconds that the page has a person wait
        assert "recovered" in newcomer.run(look.replace("sleep 8\n", ""))
        with newcomer.terminal(simulate, until=f"http://127.0.0.1:{newcomer.recorder}/") as shown_there:
            body = (ROOT / "examples" / "alert.json").read_bytes()
            wait_until(lambda: post(f"http://127.0.0.1:{newcomer.recorder}/", body))
            wait_for(shown_there, "service=mail-delivery")


def test_an_application_of_ones_own_is_restarted(tmp_path: Path) -> None:
    """Step 7: the notification that step 6 recorded, an own RabbitMQ and an own configuration."""
    newcomer = Newcomer(tmp_path)
    *_, stand_in, configure, serve, send = [body for info, body in blocks(PAGE) if info == "sh"]
    (tmp_path / "my-alert.json").write_bytes((ROOT / "examples" / "alert.json").read_bytes())
    stand_in = stand_in.replace("sudo systemctl restart orders", f"touch {tmp_path}/restarted")
    with ExitStack() as terminals:
        rabbit = terminals.enter_context(RabbitDouble())
        StuckQueue(rabbit)
        rabbit.users["unstick"] = User("its password")
        log = terminals.enter_context(newcomer.terminal(stand_in, until="step 7"))
        newcomer.run(configure)
        rundeck = log.read_text().split(",")[0].removeprefix("Rundeck's stand-in is on ")
        file = tmp_path / "unstick.local.yaml"
        changed = re.sub(r"(?m)^    freeze:.*\n", "", file.read_text(encoding="utf-8"))
        own = {"http://127.0.0.1:15672": rabbit.url, "http://127.0.0.1:4440": rundeck, "budget: 8s": f"budget: {BUDGET}"}
        for shipped, value in {**own, "for: 60s": "for: 6s"}.items():
            assert shipped in changed
            changed = changed.replace(shipped, value)
        file.write_text(changed, encoding="utf-8")
        terminal = configure.replace("cp unstick.yaml unstick.local.yaml\n", "")
        check, make = serve.replace("orders.outgoing", "mail.delivery").replace("orders", "mail-delivery").splitlines()
        assert "0 failed" in newcomer.run(f"{terminal}\n{check}")
        terminals.enter_context(newcomer.terminal(f"{terminal}\n{make}", until="listening on"))
        wait_until(lambda: is_taken(newcomer.port))
        newcomer.run(f". .venv/bin/activate\n{send}")
        wait_until((tmp_path / "restarted").exists)


def test_a_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path) -> None:
    """`make run` on a port of somebody else: what is taken and what to do, no traceback."""
    newcomer = Newcomer(tmp_path)
    _, stand_ins, serve, *_ = [body for info, body in blocks(PAGE) if info == "sh"]
    with newcomer.terminal(stand_ins, until="Next, in another terminal"), socket.create_server(("127.0.0.1", newcomer.port)):
        done = subprocess.run(
            newcomer.typed(serve), cwd=tmp_path, env=newcomer.env, capture_output=True, text=True, timeout=RUN_S, check=False
        )
    assert done.returncode != 0
    assert f"can't listen on 127.0.0.1:{newcomer.port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
