"""Alerts as the worst rules would send them: for every queue as soon as it is not empty, again and again as long as it is not."""

import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote

from testbed.broker import Broker
from testbed.unstick_process import Unstick, alert

LIST = "queues/{}?disable_stats=true&enable_queue_totals=true"
SERVICE = re.compile(r"(?:mqtt-subscription-)?([^.]+?)(?:qos1|\..*)")
"""Whose queue it is: the part before the first dot, or of a queue of MQTT the subscriber's name."""
REPEAT_S = 20.0


@dataclass
class DirectAlerts:
    """On a thread of its own."""

    brokers: list[Broker]
    unstick: Unstick
    remembered: Mapping[str, Mapping[str, str]]
    """Service -> annotations of its alerts. Of no other services there are any."""
    vhosts: tuple[str, ...]
    mistakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        """Vhost and queue -> since when it is not empty."""
        self._sent: dict[tuple[str, str], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="alerts")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            while not self._over.wait(1.0):
                for queue, depth in self._depths().items():
                    named, now = SERVICE.fullmatch(queue[1]), time.time()
                    if not depth:
                        self._since.pop(queue, None)
                    elif named and named[1] in self.remembered and now - self._sent.get(queue, 0.0) >= REPEAT_S:
                        self._sent[queue] = now
                        pool.submit(self._send, named[1], *queue, self._since.setdefault(queue, now))

    def _depths(self) -> dict[tuple[str, str], int]:
        for broker in self.brokers:
            with suppress(OSError):
                lists = {vhost: broker.api("GET", LIST.format(quote(vhost, safe=""))) for vhost in self.vhosts}
                return {(vhost, one["name"]): one.get("messages", 0) for vhost, queues in lists.items() for one in queues}
        return {}

    def _send(self, service: str, vhost: str, queue: str, since: float) -> None:
        firing = alert(service, queue, starts_at=since, vhost=vhost, unstick="suspicion")
        firing["annotations"] |= self.remembered[service]
        try:
            status, answer = self.unstick.notify(firing)
        except OSError as error:
            self.mistakes.append(f"{queue}: {error!r}")
            return
        if status != 200:
            self.mistakes.append(f"{queue}: {status} {answer}")
