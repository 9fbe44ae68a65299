"""Stand-ins for Rundeck and RabbitMQ, and a configuration for them: python -m demo.stand_ins (docs/first-hour.md).

A queue is stuck. Rundeck's job lets it recover, and half a minute later it is stuck again, until this is stopped. With
`--restart` the job runs a command instead, for an application and a queue of one's own.
"""

import argparse
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from errno import EADDRINUSE
from pathlib import Path
from secrets import token_urlsafe

import yaml

from testbed.doubles.rabbitmq import RabbitDouble, User
from testbed.doubles.rundeck import CommandAction, Job, Rundeck
from testbed.unstick_process import SHORT, configuration, runbook

SERVICE, QUEUE, MESSAGES = "mail-delivery", "mail.delivery", 362
STUCK_AGAIN_S = 30.0
FOLDER = Path("build/stand-ins")
OWN, EXAMPLE = Path("unstick.local.yaml"), Path(__file__).parents[1] / "examples" / "one-queue.yaml"


class StuckQueue:
    """The queue of an application with a bug, as RabbitMQ shows it."""

    def __init__(self, rabbit: RabbitDouble, name: str = QUEUE) -> None:
        self.queue = rabbit.queue(name, acks=9_000)  # a queue that never had one acknowledged may be a lock
        self.restarts = 0
        self.stick()

    def stick(self) -> None:
        self.queue.history.clear()
        self.queue.set(ready=MESSAGES - 20, unacked=20, head_at=int(time.time()) - 1560)
        self.queue.history[0] = (time.time() - 3600, self.queue.ready, self.queue.unacked, self.queue.acks)

    def restart(self, options: Mapping[str, str]) -> bool:
        """What Rundeck's job does."""
        if options["service"] != SERVICE:
            return False
        self.restarts += 1
        consumer = f"127.0.0.1:{50_001 + self.restarts} -> 127.0.0.1:5672"
        self.queue.set(ready=0, unacked=0, head_at=None, acks=self.queue.acks + MESSAGES, consumers=(consumer,))
        print(f"Rundeck: restarted {SERVICE}; {QUEUE} is empty, and stuck again in {STUCK_AGAIN_S:.0f} s", flush=True)
        timer = threading.Timer(STUCK_AGAIN_S, self.stick)
        timer.daemon = True
        timer.start()
        return True


def write_configuration(folder: Path, rundeck: Rundeck, rabbit: RabbitDouble, password: str) -> Path:
    """unstick.yaml for the stand-ins, and a file for the shell with what it refers to; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    database = {"local": {"path": str((folder / "unstick.db").resolve())}}
    limits = {"cooldown": "1m", "restarts": {"1h": 30}}
    mail = runbook(SERVICE, verify=SHORT, limits=limits, restart=_restart())
    content = configuration(rundeck.url, rabbit.url, [mail], store=database, scheduler=database)
    (folder / "unstick.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    values = {"GRAFANA_HMAC_SECRET": token_urlsafe(24), "RABBITMQ_PASSWORD": password}
    values |= {"UNSTICK_SIGNING_KEY": token_urlsafe(24), "UNSTICK_MACHINE_TOKEN": token_urlsafe(24)}
    return _write_env(folder, folder / "unstick.yaml", RUNDECK_TOKEN=rundeck.token, **values)


def write_own_configuration(folder: Path, rundeck: Rundeck) -> Path:
    """The least configuration with this Rundeck, for a queue of one's own, unless there is one; and the file for the shell."""
    folder.mkdir(parents=True, exist_ok=True)
    if not OWN.exists():
        OWN.write_text(EXAMPLE.read_text(encoding="utf-8").replace("http://127.0.0.1:4440", rundeck.url), encoding="utf-8")
    elif rundeck.url not in OWN.read_text(encoding="utf-8"):
        print(f"{OWN} names another Rundeck: write {rundeck.url} into it")
    values = {
        "ALERTMANAGER_TOKEN": _keep(folder / "alertmanager-token"),
        "RABBITMQ_PASSWORD": _keep(folder / "rabbitmq-password"),
    }
    return _write_env(folder, OWN, RUNDECK_TOKEN=rundeck.token, **values)


def _keep(path: Path) -> str:
    """The secret in this file; made once, since Alertmanager and RabbitMQ are told it."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(token_urlsafe(24), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _write_env(folder: Path, configuration: Path, **values: str) -> Path:
    values = {"UNSTICK_CONFIG": str(configuration.resolve()), **values}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    (folder / "env").write_text("".join(lines), encoding="utf-8")
    return folder / "env"


def _restart() -> dict[str, object]:
    options, allow = {"service": "${labels.service}"}, {"service": "[a-z0-9][a-z0-9-]{0,39}"}
    return {"job": Job().id, "options": options, "allow": allow}


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m demo.stand_ins", description="Serve stand-ins for Rundeck and RabbitMQ.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the configuration goes (default: %(default)s)")
    parser.add_argument("--rundeck-port", type=int, help="0: any free one (default: any free one; with --restart 4440)")
    parser.add_argument("--restart", metavar="COMMAND", help="what Rundeck's job runs (no shell): it restarts your application")
    given = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    rabbit = RabbitDouble()
    action = CommandAction(given.restart) if given.restart else StuckQueue(rabbit).restart
    port = given.rundeck_port if given.rundeck_port is not None else 4440 if given.restart else 0  # unstick.local.yaml names it
    try:
        rundeck = Rundeck(Job(name="restart" if given.restart else "restart-mail-delivery", action=action), port=port)
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        print(f"port {port} is taken: add --rundeck-port 0 for a free one", file=sys.stderr)
        return 2
    password = token_urlsafe(12)
    rabbit.users["unstick"] = User(password)
    with rabbit, rundeck:
        if given.restart:
            path, seen = write_own_configuration(given.folder, rundeck), f"its job runs: {given.restart}"
        else:
            path, seen = (
                write_configuration(given.folder, rundeck, rabbit, password),
                f"RabbitMQ's on {rabbit.url}; {QUEUE} is stuck",
            )
        print(f"Rundeck's stand-in is on {rundeck.url}, {seen}. Ctrl-C stops it.")
        own = f"your queue goes into {OWN} (docs/first-hour.md, step 6)"
        print(f"Next, in another terminal: {own if given.restart else f'. {path} && make run'}", flush=True)
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
