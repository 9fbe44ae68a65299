"""Prometheus and Alertmanager with the files of infra/prometheus, in which only addresses and queues are other ones.

with alerting(folder, broker, unstick.url, basic_auth=(USER, PASSWORD)) as prometheus_url:
    ...                                     # Unstick hears of stuck queues
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from testbed.broker import Broker, free_ports
from testbed.patience import wait_until
from testbed.process import Server

SHIPPED = Path(__file__).parents[1] / "infra" / "prometheus"
PACKAGES = ("prometheus", "prometheus-alertmanager")
"""Debian's."""


@contextmanager
def alerting(folder: Path, broker: Broker, unstick_url: str, *, basic_auth: tuple[str, str], queues: str = ".+") -> Iterator[str]:
    """Both programs, from when they are ready until the block ends. Yields the base URL of Prometheus."""
    file = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    file |= {"scrape_configs": file["scrape_configs"][:1], "rule_files": ["rules.yml"]}
    file["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{broker.metrics_port}"]
    rules = rules_for(queues)
    with programs(folder, file, rules, unstick_url, basic_auth=basic_auth) as url:
        yield url


def rules_for(queues: str) -> str:
    """The shipped rules for the queues of this pattern."""
    shipped = (SHIPPED / "rules.yml").read_text(encoding="utf-8")
    named = '{queue=~"mail[.]delivery"}'
    assert shipped.count(named) == 1
    return shipped.replace(named, f'{{queue=~"{queues}"}}')


def ready_expressions() -> list[dict[str, str]]:
    """Those of pieces.md."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (SHIPPED / "pieces.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in map(yaml.safe_load, blocks) if "stuck" in block]


@contextmanager
def programs(
    folder: Path, file: Any, rules: str, unstick_url: str, *, basic_auth: tuple[str, str], port: int | None = None
) -> Iterator[str]:
    """The same with another configuration of Prometheus, whose addresses of Alertmanager are replaced, and other rules."""
    alertmanager = f"127.0.0.1:{free_ports(1)[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    _write_alertmanager(folder, unstick_url, basic_auth)
    alerting_to = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    command = [
        "prometheus-alertmanager", "--config.file=alertmanager.yml", f"--web.listen-address={alertmanager}",
        "--storage.path=alertmanager", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with (
        program(command, folder, f"http://{alertmanager}/-/ready"),
        prometheus(folder, file | {"alerting": alerting_to}, port) as url,
    ):
        yield url


@contextmanager
def prometheus(folder: Path, file: Any, port: int | None = None) -> Iterator[str]:
    """Prometheus alone, with its base URL. Its data are in the folder `data` of this one."""
    address = f"127.0.0.1:{port or free_ports(1)[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(file), encoding="utf-8")
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with program([*command, "--log.level=warn"], folder, f"http://{address}/-/ready"):
        yield f"http://{address}"


def _write_alertmanager(folder: Path, unstick_url: str, basic_auth: tuple[str, str]) -> None:
    file = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
    people, unstick = file["receivers"]
    del people["email_configs"]  # a receiver without any integration: nobody is told
    username, password = basic_auth
    unstick["webhook_configs"][0] |= {
        "url": unstick_url,
        "http_config": {"basic_auth": {"username": username, "password": password}},
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(file), encoding="utf-8")


@contextmanager
def program(command: list[str], folder: Path, ready: str) -> Iterator[None]:
    """A server from when `ready` answers until the block ends."""
    log = folder / f"{command[0]}.log"
    with log.open("wb") as out:
        started = Server(command, cwd=folder, stdout=out, stderr=out)
    try:
        wait_until(lambda: _answers(ready), what=lambda: log.read_text(errors="replace")[-3000:])
        yield
    finally:
        started.end()


def _answers(url: str) -> bool:
    address = url.removeprefix("tcp://")
    if address != url:
        host, _, port = address.partition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=2):
            return True
        return False
    with suppress(OSError), urlopen(url, timeout=2) as answer:
        return answer.status == 200
    return False
