"""Applications that work, however it looks: none of them may ever be restarted."""

import random
from dataclasses import replace
from typing import Any

from testbed.workers.crew import Habit
from tests.system.town.scene import Pattern, Play, Scene, Truth

QUORUM = {"x-queue-type": "quorum"}
SINGLE = {"x-single-active-consumer": True}


def works(
    *habits: Habit, flow: float = 0.0, backlog: int = 0, late_s: float = 0.0, beside: str = "", takes_beside: bool = False
) -> Play:
    """A worker for each habit, from `late_s` on; `backlog` messages wait from the start, and `flow` arrive each second. `beside`:
    a second queue, from which the workers take if `takes_beside`.
    """

    def play(scene: Scene) -> None:
        other = f"{scene.name}.{beside}"
        if beside:
            scene.declare(other, {})
        scene.publish(backlog)
        scene.sleep(late_s)
        for habit in habits:
            scene.hire(habit, queues=(other,) if takes_beside else ())
        scene.flow(flow)

    return play


def in_bursts(habit: Habit, count: int, every_s: float) -> Play:
    """So many messages at once, again and again."""

    def play(scene: Scene) -> None:
        scene.hire(habit)
        while True:
            scene.sleep(every_s)
            scene.publish(count)

    return play


def comes_and_goes(habit: Habit, workers: int = 1, *, there_s: float, away_s: float, flow: float) -> Play:
    """These workers leave after `there_s`, for `away_s`, again and again."""

    def play(scene: Scene) -> None:
        scene.flow(flow)
        while True:
            hired = scene.hire(habit, workers)
            scene.sleep(there_s)
            scene.leave(hired)
            scene.sleep(away_s)

    return play


def priorities(scene: Scene) -> None:
    """Unimportant messages wait for ever behind important ones."""
    scene.publish(20, priority=0)
    scene.hire(Habit(work_s=0.2))
    while True:
        scene.publish(5, priority=5)
        scene.sleep(1.0)


def rolling(scene: Scene) -> None:
    """Three workers are replaced one after the other."""
    scene.flow(4)
    workers = scene.hire(Habit(work_s=0.3), 3)
    while True:
        scene.sleep(8)
        scene.leave(workers[:1])
        workers = workers[1:] + scene.hire(Habit(work_s=0.3))


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


def restarted_by_people(scene: Scene) -> None:
    """It hangs for 40 s, then somebody restarts it."""
    scene.flow(1)
    while True:
        for habit, seconds in ((Habit(work_s=0.2), 30), (Habit(hangs=True), 40)):
            workers = scene.hire(habit)
            scene.sleep(seconds)
            scene.leave(workers)


def reject(_method: Any) -> str:
    return "reject"


def fail_once(method: Any) -> str:
    return "ack" if method.redelivered else "requeue"


def reject_a_fifth(_method: Any) -> str:
    return "reject" if random.random() < 0.2 else "ack"


def _is(name: str, says: str, play: Play, /, **arguments: Any) -> Pattern:
    known = {key.replace("_", "-"): value for key, value in arguments.items()}
    return Pattern(name, Truth.HEALTHY, says, play, known)


LOSSY = frozenset({"rejects", "rejects-behind", "expires", "deleted", "automatic", "stream"})
"""They throw messages away on purpose, or nobody can count what is left of them."""

STEADY, SLOW = Habit(work_s=0.1), Habit(work_s=25.0)
_EACH: tuple[Pattern, ...] = (
    _is("steady", "five a second, two workers", works(STEADY, STEADY, flow=5)),
    _is("slow", "one in 25 s, a backlog of 100", works(SLOW, backlog=100)),
    _is("growing", "twice as many come as go", works(Habit(work_s=0.5), flow=4)),
    _is("bursts", "200 at once every 30 s", in_bursts(Habit(prefetch=20, work_s=0.05), 200, 30)),
    _is("batches", "all acknowledged every 45 s", works(Habit(prefetch=0, batch_s=45.0), flow=2)),
    _is("prefetch-50", "two workers with 50 in hand each", works(*2 * [Habit(prefetch=50, work_s=0.5)], flow=3, backlog=300)),
    _is("automatic", "automatic acknowledgement", works(Habit(auto_ack=True), flow=3)),
    _is("rejects", "rejects one in two seconds", works(Habit(work_s=0.3, verdict=reject), flow=0.5)),
    _is("rejects-behind", "rejects one in five seconds, a backlog of 200", works(Habit(work_s=5.0, verdict=reject), backlog=200)),
    _is("retries", "each message fails once", works(Habit(work_s=0.2, verdict=fail_once), flow=1)),
    _is("dead-letters", "nobody ever consumes its 3 messages", works(backlog=3)),
    _is("some-rejected", "a fifth goes to a dead-letter queue",
        works(Habit(work_s=0.1, verdict=reject_a_fifth), flow=2, beside="dead"),
        x_dead_letter_exchange="", x_dead_letter_routing_key="some-rejected.dead"),
    _is("delay", "holds messages for 20 s, without a consumer", works(STEADY, flow=1, beside="target", takes_beside=True),
        x_message_ttl=20_000, x_dead_letter_exchange="", x_dead_letter_routing_key="delay.target"),
    _is("expires", "messages expire after 30 s, without a consumer", works(flow=1), x_message_ttl=30_000),
    _is("priority", "unimportant messages wait behind important ones", priorities, x_max_priority=5),
    _is("preferred", "a spare consumer of low priority",
        works(*(Habit(prefetch=10, work_s=0.1, arguments={"x-priority": priority}) for priority in (10, 1)), flow=3)),
    _is("single-active", "single active consumer", works(*3 * [Habit(work_s=0.2)], flow=3), **SINGLE),
    _is("rolling", "one worker after the other is replaced", rolling),
    _is("crashes", "dies every 20 s and comes back", comes_and_goes(Habit(work_s=0.2), there_s=20, away_s=0, flow=2)),
    _is("on-schedule", "comes every 40 s for 5 s", comes_and_goes(Habit(prefetch=20), there_s=5, away_s=35, flow=0.5)),
    _is("deleted", "the queue is deleted and declared anew", deleted),
    _is("exclusive", "an exclusive consumer", works(Habit(work_s=1.0, exclusive=True), flow=0.8)),
    _is("getters", "asks with basic.get", works(Habit(gets=True, work_s=0.5), flow=1)),
    _is("slow-getters", "asks with basic.get, 15 s each", works(Habit(gets=True, work_s=15.0), backlog=50)),
    _is("comes-late", "the first consumer comes after 40 s", works(Habit(work_s=1.0), backlog=30, late_s=40)),
    _is("by-people", "hangs for 40 s until people restart it", restarted_by_people),
    _is("stream", "an idle stream", works(backlog=5), x_queue_type="stream"),
)  # fmt: skip

HEALTHY = tuple(
    replace(pattern, counted=pattern.name not in LOSSY, vhost="prod" if number % 2 else "/")
    for number, pattern in enumerate(_EACH)
)
"""Half of them in a vhost of their own."""
