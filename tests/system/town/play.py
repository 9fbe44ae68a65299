"""Plays a town on a running broker, with Unstick beside it, and reports for each application whether it was treated correctly."""

from __future__ import annotations

import calendar
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from functions.domain.model import runbooks
from testbed.broker import Broker
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import Unstick, configuration, job_id, runbook
from testbed.workers.crew import Publisher
from testbed.workers.relay import Relay
from tests.system.town.alerts import DirectAlerts
from tests.system.town.scene import Pattern, Place, Scene, Truth

USER, PASSWORD = "unstick-of-the-town", "only looks"
LIMIT_S = {Truth.STUCK: 15.0, Truth.ONE: 15.0, Truth.TELL: 60.0}
"""On top of `for`, from when it got stuck: its last work is in a sample up to 10 s later, and the sample that ends `for` is shown
up to 5 s later. By the moment at which all applications hung, their restarts came after 64 to 74 s."""
TOLD_WITHIN_S = 60.0
PAUSE_S = 1.0
SAMPLE_S = 5.0
"""A broker's counters come so often, and what happened in between may have been at its end."""
VERIFY = {"first": "20s", "every": "15s", "patience": "2m", "within": "10m"}
"""As shipped."""
QUIET = ("No action needed", "No action yet: Restarting")
"""Beginnings of headlines that tell nobody that something is wrong with a queue."""


@dataclass(frozen=True)
class Line:
    """How one application was treated."""

    pattern: Pattern
    right: bool
    verdict: str
    seconds: float | None
    """From when it got stuck to its restart."""
    headline: str
    """Of the last card about it."""
    restarts: int = 0

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:6.1f} s"
        mark = "ok   " if self.right else "WRONG"
        return f"{mark} {self.pattern.name:20} {self.pattern.truth:15} {self.verdict:44} {seconds:>9}  {self.headline}"


@dataclass
class Town:
    """All of it, while it is played."""

    scenes: list[Scene]
    unstick: Unstick
    alerts: DirectAlerts
    for_s: float
    opened_at: float

    def lines(self) -> list[Line]:
        """What can be said of each so far."""
        cards = read_cards(self.unstick.cards())
        judged = [judge(one, cards.get(one.name, []), self.for_s, self.opened_at) for one in self.scenes]
        return [replace(line, restarts=len(scene.restarted)) for line, scene in zip(judged, self.scenes, strict=True)]


@dataclass(frozen=True)
class Card:
    """What people were shown."""

    at: float
    headline: str


def read_cards(texts: Sequence[str]) -> dict[str, list[Card]]:
    """By service, in their order."""
    found: dict[str, list[Card]] = {}
    for text in texts:
        service = re.search(r"^ +Target +service=(\S+)", text, re.MULTILINE)
        at = re.search(r"^ +Time +(\S+ \S+) UTC", text, re.MULTILINE)
        if service and at:
            seconds = calendar.timegm(time.strptime(at[1], "%Y-%m-%d %H:%M:%S"))
            found.setdefault(service[1], []).append(Card(seconds + 1.0, text.partition("\n")[0].strip()))
    return found


@contextmanager
def town(
    nodes: Sequence[Broker], patterns: Sequence[Pattern], folder: Path, *, for_s: float = 60.0, mqtt_port: int = 0
) -> Iterator[Town]:
    """These applications on a broker, with Unstick and the alerts; all is open when it is yielded."""
    nodes[0].add_user(USER, PASSWORD, tags="monitoring", vhosts=["/"])
    urls = [node.amqp_url() for node in nodes]
    with ExitStack() as stack:
        place = Place(
            urls,
            stack.enter_context(Publisher(urls)),
            stack.enter_context(Publisher(urls, "amq.topic")),
            stack.enter_context(Relay(nodes[0].amqp_port)),
            nodes[0].amqp_port,
            nodes[0].api("GET", "overview")["rabbitmq_version"],
            mqtt_port,
        )
        scenes = [Scene(one, place) for one in patterns]
        rundeck = stack.enter_context(Rundeck(*map(_job, scenes)))
        file = configuration(rundeck.url, nodes[0].url, [_runbook(one.name, for_s) for one in scenes], user=USER)
        file["storm"] = {"targets": 1000, "within": "10m"}
        unstick = Unstick(folder, file, rabbitmq_password=PASSWORD).start()
        stack.callback(unstick.stop)
        threads = [threading.Thread(target=one.run, daemon=True, name=one.name) for one in scenes]
        stack.callback(_close, place, threads)
        for thread in threads:
            thread.start()
        alerts = stack.enter_context(DirectAlerts(list(nodes), unstick))
        yield Town(scenes, unstick, alerts, for_s, time.time())


def _close(place: Place, threads: list[threading.Thread]) -> None:
    place.over.set()
    for thread in threads:
        thread.join(30)


def _job(scene: Scene) -> Job:
    return Job(id=job_id(scene.name), name=f"restart-{scene.name}", action=scene.restart)


def _runbook(service: str, for_s: float) -> dict[str, Any]:
    symptom = {"rabbitmq": {"vhost": "${labels.vhost}", "queue": "${labels.queue}", "max_messages": 0, "for": f"{for_s:g}s"}}
    made = runbook(service, symptom=symptom, verify=VERIFY)
    if "holder" in runbooks.Restart.__struct_fields__:
        made["restart"]["holder"] = {"option": "host", "allow": r"127\.0\.[1-9][0-9]{0,2}\.[0-9]{1,3}"}
    return made


def judge(scene: Scene, cards: Sequence[Card], for_s: float, opened_at: float) -> Line:
    """Whether it was treated rightly, by its truth."""
    if scene.broken:
        return Line(scene.pattern, False, f"the play broke: {scene.broken}", None, "")
    began_at = None if scene.began_at is None else max(scene.began_at, opened_at)
    headline = cards[-1].headline if cards else ""
    if scene.pattern.truth is Truth.HEALTHY:
        times = len(scene.restarted)
        return Line(scene.pattern, not times, f"restarted {times} times" if times else "left alone", None, headline)
    if began_at is None:
        early = "restarted before it got stuck" if scene.restarted else "has not got stuck yet"
        return Line(scene.pattern, False, early, None, headline)
    told = next((one for one in cards if one.at >= began_at and not any(quiet in one.headline for quiet in QUIET)), None)
    treat = _treat_told if scene.pattern.truth is Truth.TELL else _treat_stuck
    right, verdict, seconds = treat(scene, told, began_at, for_s)
    if scene.pattern.truth is Truth.ONE:
        pause_s = scene.longest_pause_s(began_at, min(time.time(), began_at + for_s + 30))
        right = right and pause_s <= PAUSE_S and all(host for _, host in scene.restarted)
        verdict = f"{verdict}, pause {pause_s:.1f} s"
    return Line(scene.pattern, right, verdict, seconds, headline)


def _treat_stuck(scene: Scene, told: Card | None, began_at: float, for_s: float) -> tuple[bool, str, float | None]:
    if scene.restarted:
        seconds = scene.restarted[0][0] - began_at
        times = "restarted" if len(scene.restarted) == 1 else f"restarted {len(scene.restarted)} times"
        early = scene.restarted[0][0] - (scene.began_at or began_at) < for_s - SAMPLE_S
        times += ", too early" if early else ""
        times += " only where it is held" if all(host for _, host in scene.restarted) else ""
        in_time = seconds <= for_s + LIMIT_S[scene.pattern.truth] + scene.pattern.late_s and not early
        return in_time and len(scene.restarted) == 1, times, seconds
    if told:
        return told.at - began_at <= TOLD_WITHIN_S, "told", told.at - began_at
    return False, "neither restarted nor told", None


def _treat_told(scene: Scene, told: Card | None, began_at: float, for_s: float) -> tuple[bool, str, float | None]:
    if scene.restarted:
        return False, f"restarted {len(scene.restarted)} times", scene.restarted[0][0] - began_at
    if told:
        return told.at - began_at <= for_s + LIMIT_S[Truth.TELL], "told", told.at - began_at
    return False, "not told", None
