"""Unstick as its users run it: functions-framework in a process of its own, with an unstick.yaml in a folder of the test.

unstick = Unstick(folder, configuration(rundeck.url, broker.url, [runbook("mail")], user=ADMIN))
with unstick:
    status, answer = unstick.notify(alert("mail", "mail.delivery"))
    unstick.until(lambda: unstick.outcomes("mail"))
    print(unstick.output())                    # its log, and the console channel's cards
"""

import hashlib
import hmac
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import yaml

from functions.bootstrap import encode_prebuilt, prebuilt_path
from functions.config.loader import load_config
from testbed.broker import ADMIN, free_ports
from testbed.patience import PATIENCE_S, wait_until
from testbed.process import Server

ROOT = Path(__file__).parents[1]
HMAC_SECRET = "between-grafana-and-us"
RUNNER_TOKEN = "runner-token-of-the-stand-in"
MACHINE_TOKEN = "a-token-of-this-machine-for-tests-32"
SIGNING_KEY = "a-signing-key-of-tests-with-32-characters"
STOP_TIMEOUT_S = 5.0
Found = TypeVar("Found")

SHORT = {"first": "1s", "every": "2s", "patience": "10s", "within": "40s"}
"""`verify` where a restart does not help: what takes minutes in production takes seconds."""

HELPED = SHORT | {"patience": "60s", "within": "2m"}
"""`verify` where it helps: that ends the wait, and a busy machine that shows it late causes no second restart."""

ENDED_WITHIN_S = 150.0
"""More than `within`, after which an incident ends in any case."""


# --- configuration -----------------------------------------------------------------------------------------------------


IN_AUTO = {"vhost": "/", "queue": "${labels.queue}", "users": [ADMIN[0], "mail"]}
"""What `mode: auto` needs beside `for`: the users of real brokers' workers, and of the stand-in's."""


def job_id(service: str) -> str:
    """A job of its own for each service, so that one restart keeps no other waiting."""
    digits = hashlib.sha256(service.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}"


def runbook(service: str, **changes: Any) -> dict[str, Any]:
    """A runbook for the alerts of one service whose workers keep no message; `changes` replace whole keys."""
    made = {
        "name": service,
        "match": ['alertname="RabbitMQQueueStuck"', f'service="{service}"'],
        "mode": "auto",
        "restart": {
            "job": job_id(service),
            "options": {"service": "${labels.service}"},
            "allow": {"service": "[a-z0-9][a-z0-9-]{0,39}"},
        },
        "symptom": {"rabbitmq": IN_AUTO | {"for": "6s", "keeps": "never"}},
        "verify": HELPED,
        "notify": ["console"],
        "escalate": ["console"],
    }
    return made | changes


def configuration(
    rundeck_url: str, rabbitmq_url: str, runbooks: Sequence[dict[str, Any]], *, user: str = "unstick", **changes: Any
) -> dict[str, Any]:
    """A whole unstick.yaml for one machine; `changes` replace whole keys."""
    made = {
        "grafana": {
            "auth": {"hmac": {"secrets": ["env://GRAFANA_HMAC_SECRET"], "timestamp_header": "X-Grafana-Alerting-Timestamp"}}
        },
        "rundeck": {"url": rundeck_url, "token": "env://RUNDECK_TOKEN", "token_expires": "2999-01-01T00:00:00Z"},
        "rabbitmq": {"url": rabbitmq_url, "user": user, "password": "env://RABBITMQ_PASSWORD"},
        "store": {"local": {"path": "unstick.db"}},
        "scheduler": {"local": {"path": "unstick.db"}},
        "signing_keys": ["env://UNSTICK_SIGNING_KEY"],
        "machine_tokens": ["env://UNSTICK_MACHINE_TOKEN"],
        "storm": {"targets": 20},
        "channels": {"console": {"type": "console"}},
        "notify": ["console"],
        "time_zone": "UTC",
        "runbooks": list(runbooks),
    }
    return made | changes


def check_ahead(path: Path) -> None:
    """Put what is made of the file beside it, as the archive of infra/package.py has it."""
    prebuilt_path(path).write_bytes(encode_prebuilt(load_config(path), path.read_bytes()))


def mounted(folder: Path, secret: str) -> dict[str, str]:
    """Put Grafana's secret where Cloud Run mounts sm://`secret`, and return the environment that says so."""
    file = folder / secret / "latest"
    file.parent.mkdir(parents=True)
    file.write_text(HMAC_SECRET)
    return {"UNSTICK_SECRETS_DIR": str(folder)}


# --- notifications -----------------------------------------------------------------------------------------------------


def alert(
    service: str, queue: str, *, firing: bool = True, starts_at: float | None = None, vhost: str = "/", **labels: str
) -> dict[str, Any]:
    """One alert as Grafana sends it; its fingerprint is that of its labels."""
    known = {
        "alertname": "RabbitMQQueueStuck", "service": service, "queue": queue, "vhost": vhost, "severity": "critical",
    } | labels  # fmt: skip
    now = time.time()
    return {
        "status": "firing" if firing else "resolved",
        "labels": known,
        "annotations": {"summary": f"Queue {queue} is not draining"},
        "startsAt": rfc3339(now if starts_at is None else starts_at),
        "endsAt": "0001-01-01T00:00:00Z" if firing else rfc3339(now),
        "generatorURL": "https://grafana.example.com/alerting/grafana/stuck/view?orgId=1",
        "fingerprint": hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16],
        "silenceURL": "https://grafana.example.com/alerting/silence/new",
    }


def notification(*alerts: dict[str, Any]) -> bytes:
    """The body of one notification of Grafana."""
    status = "firing" if any(one["status"] == "firing" for one in alerts) else "resolved"
    return json.dumps(
        {
            "receiver": "unstick", "status": status, "alerts": alerts, "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "https://grafana.example.com/", "version": "1", "groupKey": "{}:{}",
            "truncatedAlerts": 0, "orgId": 1, "title": "", "state": "alerting", "message": "",
        }
    ).encode()  # fmt: skip


def signed(body: bytes, *, secret: str = HMAC_SECRET, at: float | None = None) -> dict[str, str]:
    """Grafana's headers for this body: HMAC-SHA-256 over time, colon and body."""
    stamp = str(int(time.time() if at is None else at))
    signature = hmac.new(secret.encode(), f"{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "Grafana",
        "X-Grafana-Alerting-Timestamp": stamp,
        "X-Grafana-Alerting-Signature": signature,
    }


def rfc3339(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def post(url: str, body: bytes, headers: dict[str, str], *, timeout_s: float = PATIENCE_S) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer, whatever the status."""
    try:
        with urlopen(Request(url, body, headers, method="POST"), timeout=timeout_s) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as refused:
        with refused:
            said = refused.read()
        return refused.code, json.loads(said) if said else {}


# --- the process -------------------------------------------------------------------------------------------------------


class Unstick:
    """functions-framework with --target webhook on a free port. It may be started again after `stop` or `kill`."""

    def __init__(
        self, folder: Path, configuration: dict[str, Any], *, rabbitmq_password: str = "secret", **environment: str
    ) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log, self.database = folder / "unstick.log", folder / "unstick.db"
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(configuration)
        self.environment = (
            {name: value for name, value in os.environ.items() if not name.startswith(("UNSTICK_", "FUNCTION_", "GOOGLE_"))}
            | {
                "UNSTICK_CONFIG": str(folder / "unstick.yaml"),
                "GRAFANA_HMAC_SECRET": HMAC_SECRET,
                "RUNDECK_TOKEN": RUNNER_TOKEN,
                "RABBITMQ_PASSWORD": rabbitmq_password,
                "UNSTICK_SIGNING_KEY": SIGNING_KEY,
                "UNSTICK_MACHINE_TOKEN": MACHINE_TOKEN,
                "XDG_RUNTIME_DIR": str(folder),  # else gunicorn makes a socket in the home folder
                "PYTHONUTF8": "1",
                "PYTHONUNBUFFERED": "1",
            }
            | environment
        )
        self.started: Server | None = None

    # --- its life

    def configure(self, configuration: dict[str, Any]) -> None:
        """As it is from its next start on."""
        (self.folder / "unstick.yaml").write_text(yaml.safe_dump(configuration, allow_unicode=True, sort_keys=False))

    def start(self, *, wait: bool = True) -> Self:
        command = [
            sys.executable, "-m", "functions_framework", "--target", "webhook", "--source", str(ROOT / "main.py"), "--host",
            "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        with self.log.open("ab") as out:
            self.started = Server(command, cwd=self.folder, env=self.environment, stdout=out, stderr=out)
        if wait:
            try:
                self._wait_until_it_serves()
            except BaseException:
                self.kill()
                raise
        return self

    def stop(self) -> None:
        """End it as an operator would, and whatever is left of its process group after that."""
        if self.started is None:
            return
        self.started.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.started.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Kill -9 of all its processes at once."""
        if self.started is None:
            return
        self.started.end()
        self.started = None

    def workers(self) -> list[int]:
        """The processes that serve: gunicorn's parent only minds them."""
        if self.started is None:
            return []
        children = Path(f"/proc/{self.started.pid}/task/{self.started.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        print(f"--- Unstick's output in {self.folder}:\n{self.output()[-20000:]}")  # pytest shows it where a test failed

    def _wait_until_it_serves(self) -> None:
        ends = time.monotonic() + PATIENCE_S
        while self.started is not None and self.started.poll() is None:
            with suppress(OSError):
                if post(self.url, b"", {}, timeout_s=PATIENCE_S)[0] == 401:
                    return
            if time.monotonic() > ends:
                break
            time.sleep(0.05)
        raise RuntimeError(f"Unstick did not start:\n{self.output()[-3000:]}")

    # --- what it is told

    def notify(self, *alerts: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send one signed notification with these alerts."""
        return self.send(notification(*alerts))

    def send(self, body: bytes) -> tuple[int, dict[str, Any]]:
        return post(self.url, body, signed(body))

    def approve(self, card: str, who: str) -> None:
        """Press the button behind a card's link. Raises urllib's HTTPError."""
        form = urlencode({"token": re.findall(r"/approve/#(\S+)", card)[0], "act": "approve", "who": who}).encode()
        with urlopen(Request(f"{self.url}approve/open", form, method="POST"), timeout=PATIENCE_S) as page:
            page.read()

    # --- what it says and keeps

    def output(self) -> str:
        """Its log and the console's cards so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def cards(self, word: str = "") -> list[str]:
        """The cards that the console has shown and that hold the word, in their order."""
        parts = re.split(r"^─{20,}$", self.output(), flags=re.MULTILINE)[1:]
        texts = ["\n".join(line for line in part.splitlines() if not line.startswith("{")).strip() for part in parts]
        return [text for text in texts if word in text]

    def events(self) -> list[dict[str, Any]]:
        """Its log, a line an entry."""
        found = []
        for line in self.output().splitlines():
            if line.startswith("{"):
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def documents(self) -> dict[str, dict[str, Any]]:
        """The documents of the store, by key."""
        return {key: json.loads(body) for key, body in self._rows("SELECT key, body FROM documents")}

    def open_documents(self) -> dict[str, dict[str, Any]]:
        """Those that still have an incident, something to tell or something to archive."""
        parts = ("incident", "to_tell", "to_archive")
        return {key: one for key, one in self.documents().items() if any(one.get(part) for part in parts)}

    def archive(self) -> list[dict[str, Any]]:
        """All ended incidents, oldest first."""
        query = "SELECT path, body FROM archive WHERE path GLOB 'incidents/*' ORDER BY path"
        return [json.loads(body) for _, body in self._rows(query)]

    def outcomes(self, book: str, service: str = "") -> list[dict[str, Any]]:
        """How the incidents of this runbook ended, oldest first; of its targets only that of `service`, where it is given."""
        records = [one for one in self.archive() if one["incident"]["runbook"] == book]
        records = [one for one in records if service in ("", one["target"]["options"]["service"])]
        return [one["outcome"] for one in sorted(records, key=lambda one: one["outcome"]["at"])]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(f"file:{quote(str(self.database))}?mode=ro", uri=True, timeout=PATIENCE_S)) as file:
            try:
                return file.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def until(self, look: Callable[[], Found], *, within_s: float = PATIENCE_S, what: str = "") -> Found:
        """What `look` returns as soon as it is true; fails with the process's output when that takes too long."""
        return wait_until(look, within_s=within_s, what=lambda: f"{what}\n{self.output()[-8000:]}")
