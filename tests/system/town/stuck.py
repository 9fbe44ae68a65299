"""Applications that are stuck, each in its way."""

import threading
import time
from contextlib import closing
from dataclasses import replace

import pika

from testbed.workers.crew import Habit
from tests.system.town.healthy import QUORUM, SINGLE
from tests.system.town.scene import Pattern, Play, Scene, Truth

WORKS = Habit(work_s=0.2)
HANGS = Habit(hangs=True)
"""With the first message that it gets."""


def hangs(body: bytes) -> bool:
    return body.startswith(b"hang")


def held(
    habit: Habit = WORKS,
    workers: int = 1,
    *,
    flow: float = 0.0,
    then: Habit | None = None,
    before: int = 3,
    hanging: int = 1,
    behind: int = 0,
    fills_s: float = 0.0,
    priority: int | None = None,
) -> Play:
    """Healthy for a while, with `before` messages, then come `hanging` on which as many workers hang, with `behind` after them.
    `then`: what the job starts, if it is not the same without the hanging. `fills_s`: how long it goes on taking messages.
    """

    def play(scene: Scene) -> None:
        scene.then(then or habit, workers)
        hired = scene.hire(replace(habit, hangs=hangs), workers)
        scene.publish(before)
        scene.flow(flow)
        scene.sleep(scene.place.stuck_after_s)
        scene.publish(hanging, body="hang", priority=priority)
        scene.publish(behind)
        scene.until_held(hired, min(hanging, workers))
        if fills_s:  # until it is full, a consumer that prefetches can't be told from one that works on
            scene.stuck(time.time() + fills_s)

    return play


def replaced(
    habit: Habit, by: Habit | None, workers: int = 1, *, flow: float = 0.0, away_s: float = 0.0, behind: int = 0
) -> Play:
    """Healthy for a while; then its workers die, and after `away_s` one comes that takes nothing or hangs, or none."""

    def play(scene: Scene) -> None:
        scene.then(habit, workers)
        hired = scene.hire(habit, workers)
        scene.publish(3)
        scene.flow(flow)
        scene.sleep(scene.place.stuck_after_s)
        scene.leave(hired)
        scene.publish(behind)
        scene.sleep(away_s)
        come = scene.hire(by) if by else []
        scene.until_held(come, int(bool(by and by.hangs)))

    return play


def hangs_at_once(habit: Habit, works: Habit, *, late: bool = False) -> Play:
    """It hangs with the first message that it gets."""

    def play(scene: Scene) -> None:
        scene.then(works)
        scene.sleep(late * scene.place.stuck_after_s)
        scene.publish(5)
        scene.until_held(scene.hire(habit))

    return play


def in_each_channel(count: int) -> Play:
    """One connection of so many channels; after its workers have left, each channel takes a message and does nothing."""

    def play(scene: Scene) -> None:
        scene.then(WORKS)
        workers = scene.hire(WORKS)
        scene.publish(3)
        scene.sleep(scene.place.stuck_after_s)
        scene.leave(workers)
        with closing(pika.BlockingConnection(pika.URLParameters(scene.url))) as connection:
            for _ in range(count):
                channel = connection.channel()
                channel.basic_qos(prefetch_count=1)
                channel.basic_consume(scene.queue, lambda *_: None)
            scene.publish(count + 10)
            scene.stuck()
            while not scene.place.over.is_set():
                connection.process_data_events(time_limit=1)

    return play


class Once:
    """Hangs the first worker that gets such a message, and no other that gets it after that."""

    def __init__(self) -> None:
        self._free = threading.Semaphore()

    def __call__(self, body: bytes) -> bool:
        return hangs(body) and self._free.acquire(blocking=False)


def one_of(count: int, rate: float, work_s: float, prefetch: int = 1) -> Play:
    """One of this many hangs; the others have time for all that comes."""

    def play(scene: Scene) -> None:
        number = NUMBERS.index(scene.name) + 1
        hosts = [f"127.0.{number}.{worker}" for worker in range(2, count + 2)]
        scene.then(Habit(prefetch=prefetch, work_s=work_s))
        workers = scene.hire(Habit(prefetch=prefetch, work_s=work_s, hangs=Once()), count, hosts=hosts)
        scene.flow(rate)
        scene.sleep(scene.place.stuck_after_s)
        scene.publish(1, body="hang")
        scene.until_held(workers)

    return play


def goes_round(scene: Scene) -> None:
    """Each message is put back, again and again."""
    scene.hire(Habit(work_s=0.5, verdict=lambda _method: "requeue"))
    scene.sleep(scene.place.stuck_after_s)
    scene.publish(3)
    scene.stuck()


def crash_loop(scene: Scene) -> None:
    """The first message kills every worker, and each is replaced at once."""
    scene.publish(5)
    scene.stuck()
    while True:
        workers = scene.hire(Habit(work_s=1.0, verdict=lambda _method: "crash"))
        while workers[0].alive:
            scene.sleep(0.2)
        scene.leave(workers)
        scene.sleep(1.0)


BATCH = Habit(prefetch=20, work_s=0.1)
_EACH: tuple[Pattern, ...] = (
    Pattern("held", Truth.STUCK, "hangs with one, two a second come", held(flow=2)),
    Pattern("held-quorum", Truth.STUCK, "the same on a quorum queue", held(flow=2), QUORUM),
    Pattern("held-only", Truth.STUCK, "hangs with the only one", held()),
    Pattern("held-first", Truth.LIKELY, "hangs with the first one ever", held(before=0)),
    Pattern("held-fast", Truth.STUCK, "hangs while 20 a second come", held(Habit(), flow=20, then=Habit(prefetch=50))),
    Pattern("held-prefetched", Truth.STUCK, "hangs with 50 in hand", held(Habit(prefetch=50, work_s=0.05), behind=60)),
    Pattern("held-filling", Truth.STUCK, "hangs, and its prefetch of 50 fills up for 10 s",
        held(Habit(prefetch=50, work_s=0.1), flow=5, fills_s=50 / 5)),
    Pattern("held-batch", Truth.STUCK, "takes 20 and acknowledges none", replaced(BATCH, replace(BATCH, hangs=True), behind=30)),
    Pattern("held-all", Truth.STUCK, "three workers, all hang", held(workers=3, flow=3, hanging=20)),
    Pattern("held-priority", Truth.STUCK, "hangs with an important one", held(flow=1, priority=5), {"x-max-priority": 5}),
    Pattern("held-exclusive", Truth.STUCK, "an exclusive consumer hangs", held(Habit(work_s=0.2, exclusive=True), flow=1)),
    Pattern("held-single", Truth.STUCK, "the single active consumer hangs", held(workers=2, flow=2), SINGLE),
    Pattern("held-deployed", Truth.STUCK, "the new release hangs at its first message",
        replaced(WORKS, HANGS, flow=2, away_s=10)),
    Pattern("held-sticky", Truth.STUCK, "one message hangs every worker", held(flow=1, then=replace(WORKS, hangs=hangs))),
    Pattern("held-survives", Truth.STUCK, "its restart ends no connection", held(flow=1), survives=True),
    Pattern("held-in-channels", Truth.STUCK, "in each of sixty channels, and its restart ends none", in_each_channel(60)),
    Pattern("held-before", Truth.LIKELY, "hung before anybody looked", hangs_at_once(HANGS, WORKS)),
    Pattern("unattended", Truth.STUCK, "the workers died", replaced(WORKS, None, 2, flow=2)),
    Pattern("unattended-quorum", Truth.STUCK, "the same on a quorum queue", replaced(WORKS, None, 2, flow=2), QUORUM),
    Pattern("unserved", Truth.LIKELY, "a consumer takes nothing", replaced(WORKS, Habit(used_up=True), flow=1)),
    Pattern("one-of-three", Truth.ONE, "one of three hangs", one_of(3, 5, 0.1)),
    Pattern("one-of-two-prefetch", Truth.ONE, "one of two hangs with 10 in hand", one_of(2, 5, 0.05, 10)),
    Pattern("one-of-forty", Truth.ONE, "one of forty hangs", one_of(40, 8, 0.5)),
    Pattern("goes-round", Truth.TELL, "each message is put back", goes_round),
    Pattern("crash-loop", Truth.TELL, "the first message kills each worker", crash_loop),
    Pattern("getter-hung", Truth.LIKELY, "holds what it asked for with basic.get",
        hangs_at_once(replace(HANGS, gets=True), Habit(gets=True), late=True)),
)  # fmt: skip

STUCK = tuple(replace(pattern, vhost="prod" if number % 2 else "/") for number, pattern in enumerate(_EACH))
"""Half of them in a vhost of their own."""
NUMBERS = [one.name for one in STUCK]
"""Each has a network of its own: 127.0.NUMBER.0."""
