"""Applications with real client libraries (docs/libraries.md): which hold messages on purpose, which stall again and again for
longer than `for`, each in its way, and which hang."""

import random
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from testbed.libraries import Application, message_of
from testbed.workers.crew import Habit
from tests.system.town.healthy import comes_and_goes, in_bursts
from tests.system.town.healthy import works as crew_works
from tests.system.town.scene import Pattern, Play, Scene, Truth

HOUR_S = 3600.0
AWAY_S = 90.0
HABIT = Habit(work_s=0.2)


def application(scene: Scene, library: str, form: str, *, healthy: bool = False) -> partial[Application]:
    return partial(Application, library, form, scene.url, scene.queue, healthy=healthy)


def works(
    library: str, form: str, *, before: int = 0, messages: int = 0, body: str = "", later_s: float = 0.0, flow: float = 0.0
) -> Play:
    """It is healthy: does `before`, then gets `messages`, and `flow` a second."""

    def play(scene: Scene) -> None:
        scene.enter(application(scene, library, form))
        make = partial(message_of, library, queue=scene.queue)
        scene.publish(before, make=make)
        delayed = f"{scene.queue}.DQ" if library == "dramatiq" and later_s else ""
        scene.publish(messages, delayed, body, make=partial(make, later_s=later_s))
        scene.flow(flow, make=make)

    return play


def hangs(
    library: str, form: str, *, count: int = 1, before: int = 3, flow: float = 0.0, fills_s: float = 0.0, stall_s: float = 0.0
) -> Play:
    """It is healthy for a while, then come `count` messages on which it hangs. `fills_s`: until its window is full. `stall_s`: it
    stalls so long with `count` messages each, as long as Unstick observes and once more.
    """

    def play(scene: Scene) -> None:
        scene.other_after = application(scene, library, form, healthy=True)
        make = partial(message_of, library, queue=scene.queue)
        running = scene.enter(application(scene, library, form))
        scene.publish(count * (1 + int(scene.place.observed_s // stall_s)) if stall_s else before, make=make)
        scene.flow(flow, make=make)
        scene.sleep(0.0 if stall_s else scene.place.stuck_after_s)
        scene.publish(count, body="hang", make=make)
        scene.publish(20 if stall_s else 0, make=make)
        scene.until_held([running])
        scene.stuck(time.time() + fills_s)

    return play


def does_not_come_back(scene: Scene) -> None:
    """After its deployments, one fails."""
    scene.flow(1)
    while True:
        workers = scene.hire(HABIT)
        scene.sleep(60)
        scene.leave(workers)
        if scene.place.acts.is_set():
            return scene.stuck()
        scene.sleep(AWAY_S)


def one_in_a_hundred() -> float:
    return 130.0 if random.random() < 0.01 else 0.5


def _is(name: str, truth: Truth, says: str, play: Play, arguments: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern(name, truth, says, play, arguments or {}, vhost="prod", **more)


def _dramatiq(name: str, truth: Truth, says: str, play: Play, **more: Any) -> Pattern:
    """With the queue as dramatiq declares it."""
    return _is(name, truth, says, play, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.work.XQ"}, **more)


WORKING: tuple[Pattern, ...] = (
    _is("celery-countdown", Truth.HEALTHY, "a task for in an hour",
        works("celery", "countdown", before=3, messages=1, later_s=HOUR_S)),
    _is("celery-retry", Truth.HEALTHY, "retry(countdown=120)", works("celery", "retry", messages=1)),
    _dramatiq("drama-delay", Truth.HEALTHY, "delay of an hour", works("dramatiq", "delay", messages=1, later_s=HOUR_S),
        counted=False),
    _dramatiq("drama-backoff", Truth.HEALTHY, "fails, back in two minutes", works("dramatiq", "backoff", messages=1),
        counted=False),
    _is("aio-batch", Truth.HEALTHY, "collects 500 or five minutes", works("aio-pika", "batch", messages=40)),
    _is("kombu-busy", Truth.HEALTHY, "five a second", works("kombu", "busy", flow=5)),
    _is("pika-lock", Truth.HEALTHY, "leader election", works("pika", "lock", messages=1)),
    _is("pika-quiet-hours", Truth.HEALTHY, "keeps a mail until tomorrow",
        works("pika", "quiet-hours", before=3, messages=1, body="tomorrow")),
)  # fmt: skip
"""None is restarted. Who keeps a message for long may be asked about: docs/libraries.md says what settles it."""

JOBS = 10 * [Habit(work_s=one_in_a_hundred)]
STALLING: tuple[Pattern, ...] = (
    _is("celery-jobs-early", Truth.HEALTHY, "jobs of 150 s, the defaults", works("celery", "long-early", messages=40),
        loses=True),
    _is("celery-jobs-late", Truth.HEALTHY, "jobs of 150 s, one at a time", works("celery", "long-late", messages=40)),
    _is("celery-limited", Truth.HEALTHY, "rate_limit 30/h, a backlog", works("celery", "rate-limit", messages=60)),
    _dramatiq("drama-jobs", Truth.HEALTHY, "four jobs of 95 s at a time", works("dramatiq", "long", messages=200), counted=False),
    _is("kombu-retries", Truth.HEALTHY, "retries, and sleeps for 140 s", works("kombu", "retries", messages=100)),
    _is("aio-flush", Truth.HEALTHY, "a flush every two minutes, full after 20 s", works("aio-pika", "flush", flow=2)),
    _is("pika-database", Truth.HEALTHY, "a lock of 100 s after each minute", works("pika", "database-lock", flow=1)),
    _is("pika-poller", Truth.HEALTHY, "asks every two minutes", works("pika", "poller", flow=0.1)),
    _is("pika-idle", Truth.HEALTHY, "idle, a message in 100 s", works("pika", "busy", flow=0.01)),
    _is("job-alone", Truth.HEALTHY, "a job of 110 s every three minutes", in_bursts(Habit(work_s=110.0), 1, 180)),
    _is("jobs-beside", Truth.HEALTHY, "ten workers, one in a hundred jobs takes 130 s", crew_works(*JOBS, flow=2)),
    _is("deployed-slowly", Truth.HEALTHY, "away for 90 s", comes_and_goes(HABIT, 2, there_s=60, away_s=AWAY_S, flow=1)),
    _is("celery-then-hangs", Truth.STUCK, "jobs of 150 s, then one hangs", hangs("celery", "long-late", stall_s=150.0),
        learned=True),
    _is("kombu-then-hangs", Truth.STUCK, "sleeps for 140 s, then hangs", hangs("kombu", "retries", count=4, stall_s=140.0),
        learned=True),
    _dramatiq("drama-then-hang", Truth.STUCK, "four of 95 s, then four hang", hangs("dramatiq", "long", count=4, stall_s=95.0),
        learned=True, counted=False),
    _is("not-back", Truth.STUCK, "away for 90 s, then for good", does_not_come_back, learned=True),
)  # fmt: skip
"""Unless Unstick has observed them, what is healthy of this is restarted: nobody can know better."""

HANGING: tuple[Pattern, ...] = (
    _is("celery-all-early", Truth.STUCK, "both processes hang, the defaults",
        hangs("celery", "all-early", count=2, flow=1, fills_s=8), loses=True),
    _is("celery-all-late", Truth.STUCK, "both processes hang, acks_late",
        hangs("celery", "all-late", count=2, flow=1, fills_s=6)),
    _is("celery-one-quiet", Truth.STUCK, "-c 1, multiplier 1, the only message hangs",
        hangs("celery", "one-late")),
    _is("celery-two-quiet", Truth.LIKELY, "-c 2, both hang, nothing else comes", hangs("celery", "all-late", count=2)),
    _is("kombu-hung", Truth.STUCK, "hangs with ten in hand", hangs("kombu", "hung", flow=1, fills_s=9)),
    _is("aio-blocked", Truth.STUCK, "a call blocks the event loop", hangs("aio-pika", "blocked", flow=1, fills_s=9)),
    _is("faststream-all", Truth.STUCK, "all ten hang", hangs("faststream", "all", count=10, flow=1)),
    _dramatiq("drama-all", Truth.STUCK, "all four threads hang", hangs("dramatiq", "all", count=12)),
)  # fmt: skip

LIBRARIES = WORKING + STALLING + HANGING
