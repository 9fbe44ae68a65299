"""Applications that are stuck, each in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from testbed.workers.crew import Habit
from tests.system.town.healthy import QUORUM
from tests.system.town.scene import Pattern, Scene, Truth

WORKS = Habit(work_s=0.2)
HANGS = Habit(hangs=True)
"""With the first message that it gets."""
SINGLE = {"x-single-active-consumer": True}


def hangs(body: bytes) -> bool:
    return body.startswith(b"hang")


def held(
    habit: Habit = WORKS,
    workers: int = 1,
    *,
    flow: float = 0.0,
    then: Habit | None = None,
    before: int = 3,
    behind: int = 0,
    priority: int | None = None,
) -> Callable[[Scene], None]:
    """Healthy for a while, with `before` messages, then one comes on which it hangs, with `behind` after it. `then`: what the job
    starts, if it is not the same without the hanging.
    """

    def play(scene: Scene) -> None:
        scene.then(then or habit, workers)
        hired = scene.hire(replace(habit, hangs=hangs), workers)
        scene.publish(before)
        if flow:
            scene.flow(flow)
        scene.sleep(scene.place.stuck_after_s)
        scene.publish(1, body="hang", priority=priority)
        scene.publish(behind)
        scene.until_held(hired)

    return play


def filling(scene: Scene) -> None:
    """It hangs, and for a while goes on taking messages until its prefetch of 50 is full."""
    held(Habit(prefetch=50, work_s=0.1), flow=5)(scene)
    scene.stuck(time.time() + 50 / 5)  # until it is full, a consumer that prefetches can't be told from one that works on


def batch_forgotten(scene: Scene) -> None:
    """It takes twenty and never acknowledges them."""
    scene.then(Habit(prefetch=20, work_s=0.1))
    workers = scene.hire(Habit(prefetch=20, work_s=0.1))
    scene.publish(3)
    scene.sleep(scene.place.stuck_after_s)
    scene.leave(workers)
    scene.publish(30)
    scene.until_held(scene.hire(Habit(prefetch=20, hangs=True)))


def all_three(scene: Scene) -> None:
    scene.then(WORKS, 3)
    workers = scene.hire(Habit(work_s=0.2, hangs=hangs), 3)
    scene.flow(3)
    scene.sleep(scene.place.stuck_after_s)
    scene.publish(20, body="hang")
    while not all(one.held for one in workers):
        scene.sleep(0.1)
    scene.until_held(workers)


def unattended(scene: Scene) -> None:
    """The workers die and nothing brings them back."""
    scene.then(WORKS, 2)
    scene.hire(WORKS, 2)
    scene.flow(2)
    scene.sleep(scene.place.stuck_after_s)
    scene.leave()
    scene.stuck()


def unserved(scene: Scene) -> None:
    """A consumer is registered and takes nothing."""
    scene.then(WORKS)
    workers = scene.hire(WORKS)
    scene.flow(1)
    scene.sleep(scene.place.stuck_after_s)
    scene.leave(workers)
    scene.hire(Habit(used_up=True))
    scene.stuck()


def several_queues(scene: Scene) -> None:
    """One channel of two queues hangs with a message of the first; the prefetch holds for each queue."""
    other = f"{scene.name}.other"
    scene.declare(other, {})
    scene.then(WORKS, queues=(scene.queue, other))
    workers = scene.hire(Habit(work_s=0.1, hangs=hangs), queues=(scene.queue, other))
    scene.flow(1)
    scene.flow(1, other)
    scene.sleep(scene.place.stuck_after_s)
    scene.publish(1, body="hang")
    scene.until_held(workers)


def after_deployment(scene: Scene) -> None:
    """The new release hangs at its first message."""
    scene.then(WORKS)
    workers = scene.hire(WORKS)
    scene.flow(2)
    scene.sleep(scene.place.stuck_after_s)
    scene.leave(workers)
    scene.sleep(10)
    scene.until_held(scene.hire(HANGS))


def before_us(scene: Scene) -> None:
    """It hung long before anybody looked."""
    scene.then(WORKS)
    scene.publish(5)
    scene.until_held(scene.hire(HANGS))


class Once:
    """Hangs the first worker that gets such a message, and no other that gets it after that."""

    def __init__(self) -> None:
        self._free = threading.Semaphore()

    def __call__(self, body: bytes) -> bool:
        return hangs(body) and self._free.acquire(blocking=False)


def one_of(count: int, rate: float, work_s: float, prefetch: int = 1) -> object:
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
    scene.then(Habit(work_s=0.5, verdict=lambda _method: "requeue"))
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


def getter_hung(scene: Scene) -> None:
    """It has asked for a message with basic.get and hangs: no page says who holds it."""
    scene.then(Habit(gets=True))
    scene.sleep(scene.place.stuck_after_s)
    scene.publish(1)
    scene.until_held(scene.hire(Habit(gets=True, hangs=True)))


def _stuck(name: str, truth: Truth, says: str, play: object, arguments: dict[str, object] | None = None) -> Pattern:
    return Pattern(name, truth, says, play, arguments or {})  # type: ignore[arg-type]


_EACH: tuple[Pattern, ...] = (
    _stuck("held", Truth.STUCK, "hangs with one, two a second come", held(flow=2)),
    _stuck("held-quorum", Truth.STUCK, "the same on a quorum queue", held(flow=2), QUORUM),
    _stuck("held-only", Truth.STUCK, "hangs with the only one", held()),
    _stuck("held-first", Truth.LIKELY, "hangs with the first one ever", held(before=0)),
    _stuck("held-fast", Truth.STUCK, "hangs while 20 a second come", held(Habit(), flow=20, then=Habit(prefetch=50))),
    _stuck("held-prefetched", Truth.STUCK, "hangs with 50 in hand", held(Habit(prefetch=50, work_s=0.05), behind=60)),
    _stuck("held-filling", Truth.STUCK, "hangs, and its prefetch of 50 fills up for 10 s", filling),
    _stuck("held-batch", Truth.STUCK, "takes 20 and acknowledges none", batch_forgotten),
    _stuck("held-all", Truth.STUCK, "three workers, all hang", all_three),
    _stuck("held-priority", Truth.STUCK, "hangs with an important one", held(flow=1, priority=5), {"x-max-priority": 5}),
    _stuck("held-exclusive", Truth.STUCK, "an exclusive consumer hangs", held(Habit(work_s=0.2, exclusive=True), flow=1)),
    _stuck("held-of-two", Truth.STUCK, "one channel of two queues hangs", several_queues),
    _stuck("held-single", Truth.STUCK, "the single active consumer hangs", held(workers=2, flow=2), SINGLE),
    _stuck("held-deployed", Truth.STUCK, "the new release hangs at its first message", after_deployment),
    _stuck("held-sticky", Truth.STUCK, "one message hangs every worker", held(flow=1, then=replace(WORKS, hangs=hangs))),
    _stuck("held-before", Truth.LIKELY, "hung before anybody looked", before_us),
    _stuck("unattended", Truth.STUCK, "the workers died", unattended),
    _stuck("unattended-quorum", Truth.STUCK, "the same on a quorum queue", unattended, QUORUM),
    _stuck("unserved", Truth.LIKELY, "a consumer takes nothing", unserved),
    _stuck("one-of-three", Truth.ONE, "one of three hangs", one_of(3, 5, 0.1)),
    _stuck("one-of-three-quorum", Truth.ONE, "the same on a quorum queue", one_of(3, 5, 0.1), QUORUM),
    _stuck("one-of-two-prefetch", Truth.ONE, "one of two hangs with 10 in hand", one_of(2, 5, 0.05, 10)),
    _stuck("one-of-forty", Truth.ONE, "one of forty hangs", one_of(40, 8, 0.5)),
    _stuck("goes-round", Truth.TELL, "each message is put back", goes_round),
    _stuck("crash-loop", Truth.TELL, "the first message kills each worker", crash_loop),
    _stuck("getter-hung", Truth.LIKELY, "holds what it asked for with basic.get", getter_hung),
)

STUCK = tuple(replace(pattern, vhost="prod" if number % 2 else "/") for number, pattern in enumerate(_EACH))
"""Half of them in a vhost of their own."""
NUMBERS = [one.name for one in STUCK]
"""Each has a network of its own: 127.0.NUMBER.0."""
