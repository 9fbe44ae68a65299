"""Plays a town on a running broker, with Unstick beside it, and reports for each application whether it was treated correctly."""

from __future__ import annotations

import calendar
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from functions.domain.model.observations import QueueStalls, Stall, StallKind
from testbed.broker import HOST, PLUGINS, Broker, broker, free_ports
from testbed.doubles.rundeck import Job, Rundeck
from testbed.unstick_process import IN_AUTO, Unstick, configuration, job_id, runbook
from testbed.workers.crew import Publisher
from testbed.workers.relay import Relay
from tests.system.town.alerts import DirectAlerts
from tests.system.town.healthy import HEALTHY
from tests.system.town.libraries import LIBRARIES
from tests.system.town.protocols import PROTOCOLS, SPOKEN, listener
from tests.system.town.scene import Pattern, Place, Scene, Truth
from tests.system.town.stuck import STUCK

ALL = HEALTHY + STUCK + PROTOCOLS + LIBRARIES
USER, PASSWORD = "unstick-of-the-town", "only looks"
LIMIT_S = {Truth.STUCK: 15.0, Truth.ONE: 15.0, Truth.LIKELY: 45.0, Truth.TELL: 60.0}
"""On top of `for`, from when it got stuck: its last work is in a sample up to 10 s later, and the sample that ends `for` is shown
up to 5 s later. By the moment at which all applications hung, their restarts came after 64 to 74 s."""
PAUSE_S = 1.0
SAMPLE_S = 5.0
"""A broker's counters come so often, and what happened in between may have been at its end."""
SETTLES_S = 1.5
"""Until what was sent has arrived, and what was held is back in its queue."""
VERIFY = {"first": "20s", "every": "15s", "patience": "2m", "within": "10m"}
"""As shipped."""
QUIET = ("No action needed", "No action yet: Restarting")
"""Beginnings of headlines that tell nobody that something is wrong with a queue."""
UNREAD = "state is unknown"
"""In the headline of a card that says what could not be read: on a busy machine an answer may take too long."""
QUESTION = "/approve/#"
"""What a card has only where it asks for something."""
VHOSTS = ("/", "prod")


@contextmanager
def single_node(
    folder: Path, patterns: Sequence[Pattern], *, version: str = HOST, lines: Sequence[str] = (), **how: Any
) -> Iterator[Town]:
    """These applications on a broker of their own, which speaks what they do."""
    (port,) = free_ports(1)
    spoken, listens = (SPOKEN, (listener(port),)) if any(one in PROTOCOLS for one in patterns) else ((), ())
    running = broker(folder / "broker", version=version, plugins=(*PLUGINS, *spoken), lines=(*listens, *lines))
    with running as node, town([node], patterns, folder / "unstick", mqtt_port=port, **how) as played:
        yield played


@contextmanager
def town(
    nodes: Sequence[Broker],
    patterns: Sequence[Pattern],
    folder: Path,
    *,
    for_s: float = 60.0,
    mqtt_port: int = 0,
    observed_s: float = 0.0,
    stuck_after_s: float = 30.0,
    verify: Mapping[str, str] = VERIFY,
) -> Iterator[Town]:
    """These applications on a broker, with Unstick and the alerts; all is open when it is yielded. Before, Unstick has observed
    those that work for `observed_s`: then another process acts, with another configuration and the same store."""
    for vhost in VHOSTS[1:]:
        nodes[0].add_vhost(vhost)
    nodes[0].add_user(USER, PASSWORD, tags="monitoring", vhosts=VHOSTS)
    urls = {vhost: [node.amqp_url(vhost) for node in nodes] for vhost in VHOSTS}
    with ExitStack() as stack:
        place = Place(
            nodes,
            {vhost: stack.enter_context(Publisher(urls[vhost])) for vhost in VHOSTS},
            stack.enter_context(Publisher(urls["/"], "amq.topic")),
            stack.enter_context(Relay(nodes[0].amqp_port)),
            nodes[0].api("GET", "overview")["rabbitmq_version"],
            mqtt_port,
            observed_s=observed_s,
            stuck_after_s=stuck_after_s,
        )
        scenes = [Scene(one, place) for one in patterns]
        jobs = [Job(id=job_id(one.name), name=f"restart-{one.name}", action=one.restart) for one in scenes]
        rundeck = stack.enter_context(Rundeck(*jobs))
        file = configuration(rundeck.url, nodes[0].url, (), user=USER, **_guarded(patterns))
        books = [_runbook(one, for_s, verify) for one in patterns]
        observing = [book | {"mode": "observe"} for book in books] if observed_s else books
        unstick = Unstick(folder, file | {"runbooks": observing}, rabbitmq_password=PASSWORD).start()
        stack.callback(unstick.stop)
        threads = [threading.Thread(target=one.run, daemon=True, name=one.name) for one in scenes]
        stack.callback(_close, place, threads)
        for thread in threads:
            thread.start()
        remembered = {pattern.name: pattern.remembers for pattern in patterns}
        alerts = partial(DirectAlerts, list(nodes), unstick, remembered, VHOSTS)
        if observed_s:
            with alerts():
                time.sleep(observed_s)
            unstick.stop()
            unstick.configure(file | {"runbooks": books})
            unstick.start()
        place.acts.set()
        alerts = stack.enter_context(alerts())
        yield Town(scenes, unstick, alerts, for_s, time.time(), place, threads)


def _runbook(pattern: Pattern, for_s: float, verify: Mapping[str, str]) -> dict[str, Any]:
    symptom = IN_AUTO | {"vhost": pattern.vhost, "for": f"{for_s:g}s"} | pattern.symptom
    book = runbook(pattern.name, symptom={"rabbitmq": symptom}, verify=verify)
    book["restart"]["holder"] = {"option": "host", "allow": r"127\.0\.[1-9][0-9]{0,2}\.[0-9]{1,3}"}
    return book


def _guarded(patterns: Sequence[Pattern]) -> dict[str, Any]:
    """The storm guard stops what goes beyond those that must be restarted, and a person can be asked."""
    stuck = sum(pattern.truth in (Truth.STUCK, Truth.ONE, Truth.LIKELY) for pattern in patterns)
    return {
        "storm": {"targets": max(3, stuck + 1)},
        "public_url": "https://unstick.example.com",
        "channels": {"console": {"type": "console", "approval_links": True}},
    }


def _close(place: Place, threads: list[threading.Thread]) -> None:
    place.over.set()
    for thread in threads:
        thread.join(30)


@dataclass
class Town:
    """All of it, while it is played."""

    scenes: list[Scene]
    unstick: Unstick
    alerts: DirectAlerts
    for_s: float
    opened_at: float
    place: Place
    threads: list[threading.Thread]

    def lines(self) -> list[Line]:
        """What can be said of each so far; once it is closed, of its messages too."""
        cards, learned = read_cards(self.unstick.cards()), self.learned()
        return [
            judge(one, cards.get(one.name, []), learned.get(one.queue, ()), self.for_s, self.opened_at) for one in self.scenes
        ]

    def learned(self) -> dict[str, tuple[Stall, ...]]:
        """The stalls that Unstick keeps, by the queue's name."""
        kept = [pair for one in self.unstick.documents().values() for pair in one.get("stalls", {}).items()]
        return {key.rpartition(":")[2]: msgspec.convert(stalls, QueueStalls).stalls for key, stalls in kept}

    def close(self) -> None:
        """End all applications, and count their messages by content."""
        self.alerts.__exit__()
        for publisher in self.place.publishers.values():
            publisher.rates.clear()
        time.sleep(SETTLES_S)
        _close(self.place, self.threads)
        time.sleep(SETTLES_S)
        for scene in self.scenes:
            if scene.pattern.counted and len(self.place.nodes) == 1:
                scene.count()


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
    restarts: int
    asked: int
    unread: int
    lost: int
    """Messages, by their content."""
    stalls: tuple[Stall, ...]

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:6.1f} s"
        mark = "ok   " if self.right else "WRONG"
        lost = f", {self.lost} messages lost" if self.lost else ""
        stalls = sorted(self.stalls, key=lambda one: one.ended_at)
        seen = "".join(f" {one.kind} {one.lasted_s:.0f}" for one in stalls)
        return (
            f"{mark} {self.pattern.name:24} {self.pattern.truth:15} {self.verdict + lost:44} {seconds:>9}  {self.headline}{seen}"
        )


def summary(lines: Sequence[Line]) -> list[str]:
    """Who was restarted, and who was asked about, of the healthy and of the stuck ones, each by name."""
    healthy = [line for line in lines if line.pattern.truth is Truth.HEALTHY]
    stuck = [line for line in lines if line.pattern.truth in (Truth.STUCK, Truth.ONE, Truth.LIKELY)]
    rows = {
        "healthy, restarted": [f"{line.pattern.name} ({line.restarts} times)" for line in healthy if line.restarts],
        "healthy, asked about": [f"{line.pattern.name} ({line.asked} times)" for line in healthy if line.asked],
        "healthy, told that they can't be read": [line.pattern.name for line in healthy if line.unread],
        "stuck, restarted": [f"{line.pattern.name} {line.seconds:.1f} s" for line in stuck if line.restarts and line.seconds],
        "stuck, asked about": [line.pattern.name for line in stuck if line.asked and not line.restarts],
        "stuck, neither": [line.pattern.name for line in stuck if not line.restarts and not line.asked],
        "messages lost": [f"{line.pattern.name} {line.lost}" for line in lines if line.lost],
    }
    return [f"{what}: {len(named)}{': ' if named else ''}{', '.join(named)}" for what, named in rows.items()]


@dataclass(frozen=True)
class Card:
    """What people were shown."""

    at: float
    headline: str
    asks: bool

    @property
    def wakes(self) -> bool:
        """Whether it tells of something wrong, and asks for nothing."""
        return not self.asks and not self.unread and not any(quiet in self.headline for quiet in QUIET)

    @property
    def unread(self) -> bool:
        return UNREAD in self.headline


SUBJECT = r": (?:Restarting |Nobody has taken |Nothing stands still at |The alert of )?([^\s;:]+)"
"""The application in a headline, behind its first words."""


def read_cards(texts: Sequence[str]) -> dict[str, list[Card]]:
    """By service, in their order."""
    cards: dict[str, list[Card]] = {}
    for text in texts:
        service = re.search(SUBJECT, text)
        at = re.search(r"^ +Time +(\S+ \S+) UTC", text, re.MULTILINE)
        if service and at:
            seconds = calendar.timegm(time.strptime(at[1], "%Y-%m-%d %H:%M:%S"))
            cards.setdefault(service[1], []).append(Card(seconds + 1.0, text.partition("\n")[0].strip(), QUESTION in text))
    return cards


def judge(scene: Scene, cards: Sequence[Card], stalls: tuple[Stall, ...], for_s: float, opened_at: float) -> Line:
    """Whether it was treated rightly, by its truth, and none of its messages is lost. What was told of it while Unstick observed
    doesn't count."""
    began_at = None if scene.began_at is None else max(scene.began_at, opened_at)
    cards = [card for card in cards if card.at >= opened_at]
    before = QueueStalls(0.0, tuple(one for one in stalls if one.began_at < (began_at or 0.0)))
    for_s = max(for_s, *(before.restarts_s(kind) for kind in StallKind))
    seconds = None
    if scene.broken:
        right, verdict = False, f"the play broke: {scene.broken}"
    elif scene.pattern.truth is Truth.HEALTHY:
        right, verdict = _treat_healthy(scene, cards)
    elif began_at is None:
        right, verdict = False, "restarted before it got stuck" if scene.restarted else "has not got stuck yet"
    else:
        right, verdict, seconds = _treat_stuck(scene, cards, began_at, for_s)
    asked, unread = sum(card.asks for card in cards), sum(card.unread for card in cards)
    right = right and (not scene.lost or scene.pattern.loses)
    headline = cards[-1].headline if cards else ""
    return Line(scene.pattern, right, verdict, seconds, headline, len(scene.restarted), asked, unread, len(scene.lost), stalls)


def _treat_healthy(scene: Scene, cards: Sequence[Card]) -> tuple[bool, str]:
    """A question is allowed, and a card of what can't be read: both are counted. One that says that it is stuck is not."""
    if scene.restarted:
        return False, f"restarted {len(scene.restarted)} times"
    if woken := [card for card in cards if card.wakes]:
        return False, f"told of {len(woken)} times: {woken[0].headline}"[:80]
    questions = sum(card.asks for card in cards)
    return True, f"asked about {questions} times" if questions else "left alone"


def _treat_stuck(scene: Scene, cards: Sequence[Card], began_at: float, for_s: float) -> tuple[bool, str, float | None]:
    """Whether it was restarted once, asked about, or told, as its truth says, and in time."""
    truth = scene.pattern.truth
    told = next((one for one in cards if one.at >= began_at and (one.asks or one.wakes)), None)
    at, host = scene.restarted[0] if scene.restarted else (None, "")
    if told and (at is None or (truth is Truth.LIKELY and told.asks and told.at < at)):
        seconds = told.at - began_at
        wanted = truth is Truth.TELL or (truth is Truth.LIKELY and told.asks)
        return wanted and seconds <= for_s + LIMIT_S[truth], "asked about" if told.asks else "told, not restarted", seconds
    if at is None:
        return False, "neither restarted nor asked about", None
    seconds, early = at - began_at, at - (scene.began_at or began_at) < for_s - SAMPLE_S
    right = truth is not Truth.TELL and len(scene.restarted) == 1 and not early and seconds <= for_s + LIMIT_S[truth]
    verdict = f"restarted {len(scene.restarted)} times{', too early' if early else ''}{' only where it is held' if host else ''}"
    if scene.pattern.learned and any(card.wakes and card.at > at for card in cards):
        right, verdict = False, f"{verdict}, and told that this did not help"
    if truth is Truth.ONE:
        pause_s = scene.longest_pause_s(began_at, min(time.time(), began_at + for_s + 30))
        right = right and bool(host) and pause_s <= PAUSE_S
        verdict += f", pause {pause_s:.1f} s"
    return right, verdict, seconds
