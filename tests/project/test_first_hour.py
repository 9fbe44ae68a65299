"""docs/first-hour.md: its blocks are run in their order, as a newcomer types them, with other ports."""

from __future__ import annotations

import os
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
from tools.docs.pages import LEFT_OUT, ROOT, blocks

PAGE = ROOT / "docs" / "first-hour.md"
RUN_S = 150.0
OWN = {"unstick.local.yaml", "unstick.db.key"}  # what the page writes
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
        sudo = make.with_name("sudo")  # nothing of this machine is changed: what it was asked to do, and what came by stdin
        log = '{ echo "$@"; [ "$1 $2" != "rabbitmqctl add_user" ] || cat; } >>sudo.log'
        sudo.write_text(f'#!/bin/sh\n{log}\n[ "$1" != tee ] || cat >/dev/null\n')
        for one in (make, sudo):
            one.chmod(0o755)
        path = f"{make.parent}{os.pathsep}{os.environ['PATH']}"
        (self.port,) = free_ports(1)
        self.env = {"PATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        self.env |= {"PORT": str(self.port), "XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}

    def typed(self, block: str) -> list[str]:
        text = block.replace(":8080/", f":{self.port}/")
        text = text.replace("-m demo.stand_ins --restart", "-m demo.stand_ins --rundeck-port 0 --restart")
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
    _, stand_ins, serve, send, look, *_ = [body for info, body in blocks(PAGE) if info == "sh"]
    with ExitStack() as terminals:
        rundeck = terminals.enter_context(newcomer.terminal(stand_ins, until="Next, in another terminal"))
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


def test_an_application_of_ones_own_is_restarted(tmp_path: Path) -> None:
    """Steps 6 and 7: an own RabbitMQ with a user whose password nobody types, and the changes that the page's table names."""
    newcomer = Newcomer(tmp_path)
    *_, stand_in, user, serve, rules, alerts, _reload, send = [body for info, body in blocks(PAGE) if info == "sh"]
    stand_in = stand_in.replace("sudo systemctl restart orders", f"touch {tmp_path}/restarted")
    with ExitStack() as terminals:
        rabbit = terminals.enter_context(RabbitDouble())
        StuckQueue(rabbit, "orders.created")
        terminals.enter_context(newcomer.terminal(stand_in, until="step 6"))
        newcomer.run(user)
        asked = (tmp_path / "sudo.log").read_text(encoding="utf-8").splitlines()
        assert [line.split()[1] for line in (asked[0], *asked[2:])] == ["add_user", "set_user_tags", "set_permissions"]
        rabbit.users["unstick"] = User(asked[1])
        file = tmp_path / "unstick.local.yaml"
        changed = file.read_text(encoding="utf-8")
        own = {
            "http://127.0.0.1:15672": rabbit.url,
            "mode: observe": "mode: auto",
            "{rabbitmq: {}}": "{rabbitmq: {keeps: never}}",
        }
        for shipped, value in own.items():
            assert shipped in changed
            changed = changed.replace(shipped, value)
        file.write_text(changed, encoding="utf-8")
        check, make = serve.rstrip().rpartition("\n")[::2]
        assert "0 failed" in newcomer.run(check)
        terminal = check.rpartition("\n")[0]
        terminals.enter_context(newcomer.terminal(f"{terminal}\n{make}", until="listening on"))
        wait_until(lambda: is_taken(newcomer.port))
        newcomer.run(rules)
        newcomer.run(alerts)
        assert "build/stand-ins/alertmanager-token" in (tmp_path / "sudo.log").read_text(encoding="utf-8")
        newcomer.run(send)
        wait_until((tmp_path / "restarted").exists)


def test_ones_own_secrets_outlive_a_restart_of_the_stand_in(tmp_path: Path) -> None:
    """Alertmanager's token and RabbitMQ's password were handed out, so the next start, or the example's, makes no others."""
    newcomer = Newcomer(tmp_path)
    _, example, *_ = [body for info, body in blocks(PAGE) if info == "sh"]
    env, secrets = tmp_path / "build" / "stand-ins" / "env", []
    for block in (f"{example.rstrip()} --restart true", example, f"{example.rstrip()} --restart true"):
        with newcomer.terminal(block, until="Next, in another terminal"):
            lines = env.read_text(encoding="utf-8").splitlines()
            secrets.append([line for line in lines if "ALERTMANAGER_TOKEN" in line or "RABBITMQ_PASSWORD" in line])
    token = env.with_name("alertmanager-token")
    assert (len(secrets[0]), secrets[0]) == (2, secrets[2])
    assert token.read_text(encoding="utf-8") in secrets[0][0] + secrets[0][1]
    assert token.stat().st_mode & 0o077 == 0


def test_a_taken_port_of_the_stand_in_is_named_with_its_option(tmp_path: Path) -> None:
    """Rundeck's alone is fixed, and only for an application of one's own, since its configuration names it."""
    newcomer = Newcomer(tmp_path)
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        block = f".venv/bin/python -m demo.stand_ins --restart true --rundeck-port {port}"
        command = ["bash", "-c", block]
        done = subprocess.run(command, cwd=tmp_path, env=newcomer.env, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 2
    assert done.stderr == f"port {port} is taken: add --rundeck-port 0 for a free one\n"


def test_a_pasted_block_is_not_read_as_the_password() -> None:
    """`rabbitmqctl add_user` asks for one: what follows it is the same command, so that the shell has read it by then."""
    for page in (ROOT / "infra" / "rabbitmq" / "README.md", PAGE):
        asking = [body for _, body in blocks(page) if "add_user" in body]
        assert asking
        for body in asking:
            lines = body.rstrip().splitlines()
            first = next(number for number, line in enumerate(lines) if "add_user" in line)
            assert all(line.endswith("&&") for line in lines[first:-1]), body


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
