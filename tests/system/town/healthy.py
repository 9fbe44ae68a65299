"""Applications that work, however it looks: none of them may ever be restarted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from testbed.workers.crew import Habit
from tests.system.town.scene import Pattern, Scene, Truth

QUORUM = {"x-queue-type": "quorum"}


def works(habit: Habit | None = None, workers: int = 1, *, flow: float = 0.0, backlog: int = 0) -> Callable[[Scene], None]:
    """Let `workers` with this habit work; `backlog` messages wait from the start, and `flow` arrive each second."""

    def play(scene: Scene) -> None:
        if backlog:
            scene.publish(backlog)
        if habit:
            scene.hire(habit, workers)
        if flow:
            scene.flow(flow)

    return play


def reject(_method: Any) -> str:
    return "reject"


def bursts(scene: Scene) -> None:
    scene.hire(Habit(prefetch=20, work_s=0.05))
    while True:
        scene.publish(200)
        scene.sleep(30)


def lull(scene: Scene) -> None:
    """As at night: nothing comes for long, and what comes then is worked on for a while."""
    scene.hire(Habit(work_s=20.0))
    while True:
        scene.sleep(75)
        scene.publish(2)


def retries(scene: Scene) -> None:
    """Each message fails at first and is put back."""
    scene.hire(Habit(work_s=0.2, verdict=lambda method: "ack" if method.redelivered else "requeue"))
    scene.flow(1)


def dead_letters_come(scene: Scene) -> None:
    """Its worker rejects some, which lie in a queue that nobody consumes."""
    scene.declare(f"{scene.name}.dead", {})
    scene.hire(Habit(work_s=0.1, verdict=lambda _method: "reject" if random.random() < 0.2 else "ack"))
    scene.flow(2)


def delay(scene: Scene) -> None:
    """A queue that holds messages for 20 s and hands them on to one that is worked on."""
    target = f"{scene.name}.target"
    scene.declare(target, {})
    scene.hire(Habit(work_s=0.1), queues=(target,))
    scene.flow(1)


def priorities(scene: Scene) -> None:
    """Unimportant messages wait for ever behind important ones."""
    scene.publish(20, priority=0)
    scene.hire(Habit(work_s=0.2))
    while True:
        scene.publish(5, priority=5)
        scene.sleep(1.0)


def preferred(scene: Scene) -> None:
    """A spare consumer of low priority never gets anything."""
    scene.hire(Habit(prefetch=10, work_s=0.1, arguments={"x-priority": 10}))
    scene.hire(Habit(prefetch=10, work_s=0.1, arguments={"x-priority": 1}))
    scene.flow(3)


def deployments(scene: Scene) -> None:
    """Away for 25 s, once a minute and a half."""
    scene.flow(2)
    while True:
        workers = scene.hire(Habit(work_s=0.2), 2)
        scene.sleep(65)
        scene.leave(workers)
        scene.sleep(25)


def rolling(scene: Scene) -> None:
    """Three workers are replaced one after the other."""
    scene.flow(4)
    workers = scene.hire(Habit(work_s=0.3), 3)
    while True:
        scene.sleep(8)
        scene.leave(workers[:1])
        workers = workers[1:] + scene.hire(Habit(work_s=0.3))


def crashes(scene: Scene) -> None:
    """A worker that dies now and then and comes back at once."""
    scene.flow(2)
    while True:
        workers = scene.hire(Habit(work_s=0.2))
        scene.sleep(20)
        scene.leave(workers)


def on_schedule(scene: Scene) -> None:
    """A job that runs every 40 s, takes all and leaves."""
    scene.flow(0.5)
    while True:
        workers = scene.hire(Habit(prefetch=20))
        scene.sleep(5)
        scene.leave(workers)
        scene.sleep(35)


def deleted(scene: Scene) -> None:
    """The queue is deleted with what is in it, and declared anew."""
    scene.flow(1)
    while True:
        workers = scene.hire(Habit(work_s=3.0))
        scene.sleep(50)
        scene.leave(workers)
        scene.delete()
        scene.sleep(5)
        scene.declare(scene.queue, scene.pattern.arguments)


def several_queues(scene: Scene) -> None:
    other = f"{scene.name}.other"
    scene.declare(other, {})
    scene.hire(Habit(prefetch=2, work_s=0.2), queues=(scene.queue, other))
    scene.flow(1)
    scene.flow(1, other)


def one_of_forty_slow(scene: Scene) -> None:
    """Long and short jobs side by side."""
    scene.hire(Habit(work_s=lambda: 40.0 if random.random() < 0.05 else 0.5), 10)
    scene.flow(4)


def comes_late(scene: Scene) -> None:
    """Messages lie there for 40 s before the first worker ever comes."""
    scene.publish(30)
    scene.sleep(40)
    scene.hire(Habit(work_s=1.0))


def restarted_by_people(scene: Scene) -> None:
    """It hangs for 40 s, then somebody restarts it."""
    scene.flow(1)
    while True:
        workers = scene.hire(Habit(work_s=0.2))
        scene.sleep(30)
        scene.leave(workers)
        workers = scene.hire(Habit(hangs=True))
        scene.sleep(40)
        scene.leave(workers)


def warms_up(scene: Scene) -> None:
    """After each start it works on nothing for 30 s, and then quickly."""
    scene.flow(2)
    while True:
        began = time.monotonic()
        workers = scene.hire(Habit(prefetch=10, work_s=lambda began=began: max(0.05, 30 - (time.monotonic() - began))))
        scene.sleep(100)
        scene.leave(workers)


def _healthy(name: str, says: str, play: object, arguments: dict[str, object] | None = None) -> Pattern:
    return Pattern(name, Truth.HEALTHY, says, play, arguments or {})  # type: ignore[arg-type]


def _dead_lettered(name: str) -> dict[str, object]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"}


def _delayed(name: str) -> dict[str, object]:
    return {"x-message-ttl": 20_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.target"}


LOSSY = frozenset({"rejects", "rejects-behind", "expires", "deleted", "automatic", "stream"})
"""They throw messages away on purpose, or nobody can count what is left of them."""

_EACH: tuple[Pattern, ...] = (
    _healthy("steady", "five a second, two workers", works(Habit(work_s=0.1), 2, flow=5)),
    _healthy("steady-quorum", "the same on a quorum queue", works(Habit(work_s=0.1), 2, flow=5), QUORUM),
    _healthy("slow", "one in 25 s, a backlog of 100", works(Habit(work_s=25.0), backlog=100)),
    _healthy("slow-quorum", "the same on a quorum queue", works(Habit(work_s=25.0), backlog=100), QUORUM),
    _healthy("slower", "two workers, 45 s each", works(Habit(work_s=45.0), 2, backlog=100)),
    _healthy("growing", "twice as many come as go", works(Habit(work_s=0.5), flow=4)),
    _healthy("bursts", "200 at once every 30 s", bursts),
    _healthy("lull", "nothing for 75 s, then two jobs of 20 s", lull),
    _healthy("batches", "all acknowledged every 45 s", works(Habit(prefetch=0, batch_s=45.0), flow=2)),
    _healthy("batches-full", "the same with a prefetch of 40, full after 13 s", works(Habit(prefetch=40, batch_s=45.0), flow=3)),
    _healthy("prefetch-50", "two workers with 50 in hand each", works(Habit(prefetch=50, work_s=0.5), 2, flow=3, backlog=300)),
    _healthy("prefetch-200", "two workers with 200 in hand each", works(Habit(prefetch=200, work_s=0.3), 2, flow=5, backlog=300)),
    _healthy("prefetch-slow", "50 in hand, one in 20 s", works(Habit(prefetch=50, work_s=20.0), backlog=200)),
    _healthy("automatic", "automatic acknowledgement", works(Habit(auto_ack=True), flow=3)),
    _healthy("rejects", "rejects one in two seconds", works(Habit(work_s=0.3, verdict=reject), flow=0.5)),
    _healthy("rejects-behind", "rejects one in five seconds, a backlog of 200",
        works(Habit(work_s=5.0, verdict=reject), backlog=200)),
    _healthy("retries", "each message fails once", retries),
    _healthy("dead-letters", "nobody ever consumes its 3 messages", works(backlog=3)),
    _healthy("some-rejected", "a fifth goes to a dead-letter queue", dead_letters_come, _dead_lettered("some-rejected")),
    _healthy("delay", "holds messages for 20 s, without a consumer", delay, _delayed("delay")),
    _healthy("expires", "messages expire after 30 s, without a consumer", works(flow=1), {"x-message-ttl": 30_000}),
    _healthy("priority", "unimportant messages wait behind important ones", priorities, {"x-max-priority": 5}),
    _healthy("preferred", "a spare consumer of low priority", preferred),
    _healthy("single-active", "single active consumer", works(Habit(work_s=0.2), 3, flow=3), {"x-single-active-consumer": True}),
    _healthy("single-slow", "single active consumer, 20 s each", works(Habit(work_s=20.0), 2, backlog=50),
        {"x-single-active-consumer": True}),
    _healthy("deployments", "away for 25 s, again and again", deployments),
    _healthy("rolling", "one worker after the other is replaced", rolling),
    _healthy("crashes", "dies every 20 s and comes back", crashes),
    _healthy("on-schedule", "comes every 40 s for 5 s", on_schedule),
    _healthy("deleted", "the queue is deleted and declared anew", deleted),
    _healthy("exclusive", "an exclusive consumer", works(Habit(work_s=1.0, exclusive=True), flow=0.8)),
    _healthy("getters", "asks with basic.get", works(Habit(gets=True, work_s=0.5), flow=1)),
    _healthy("slow-getters", "asks with basic.get, 15 s each", works(Habit(gets=True, work_s=15.0), backlog=50)),
    _healthy("several-queues", "one channel, two queues", several_queues),
    _healthy("mixed-jobs", "ten workers, long and short jobs", one_of_forty_slow),
    _healthy("comes-late", "the first consumer comes after 40 s", comes_late),
    _healthy("by-people", "hangs for 40 s until people restart it", restarted_by_people),
    _healthy("warms-up", "works on nothing for its first 30 s", warms_up),
    _healthy("stream", "an idle stream", works(backlog=5), {"x-queue-type": "stream"}),
)  # fmt: skip

HEALTHY = tuple(
    replace(pattern, counted=pattern.name not in LOSSY, vhost="prod" if number % 2 else "/")
    for number, pattern in enumerate(_EACH)
)
"""Half of them in a vhost of their own."""
