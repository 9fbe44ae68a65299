"""Applications with real client libraries (docs/libraries.md): which hold messages on purpose, and which hang."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from testbed.libraries import Application, message_of
from tests.system.town.scene import Pattern, Play, Scene, Truth

HOUR_S = 3600.0


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


def hangs(library: str, form: str, *, count: int = 1, before: int = 3, flow: float = 0.0, fills_s: float = 0.0) -> Play:
    """It is healthy for a while, then come `count` messages on which it hangs. `fills_s`: until its window is full."""

    def play(scene: Scene) -> None:
        scene.other_after = application(scene, library, form, healthy=True)
        make = partial(message_of, library, queue=scene.queue)
        running = scene.enter(application(scene, library, form))
        scene.publish(before, make=make)
        scene.flow(flow, make=make)
        scene.sleep(scene.place.stuck_after_s)
        scene.publish(count, body="hang", make=make)
        scene.until_held([running])
        scene.stuck(time.time() + fills_s)

    return play


def _is(name: str, truth: Truth, says: str, play: Play, arguments: Mapping[str, Any] | None = None, **more: Any) -> Pattern:
    return Pattern(name, truth, says, play, arguments or {}, vhost="prod", **more)


def _dramatiq(name: str, truth: Truth, says: str, play: Play, **more: Any) -> Pattern:
    """With the queue as dramatiq declares it."""
    return _is(name, truth, says, play, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.work.XQ"}, **more)


WORKING: tuple[Pattern, ...] = (
    _is("celery-countdown", Truth.HEALTHY, "a task for in an hour",
        works("celery", "countdown", before=3, messages=1, later_s=HOUR_S)),
    _is("celery-retry", Truth.HEALTHY, "retry(countdown=120)", works("celery", "retry", messages=1)),
    _is("celery-limited", Truth.HEALTHY, "rate_limit 30/h, 12 wait, for: 4m",
        works("celery", "rate-limit", messages=12), symptom={"for": "4m"}),
    _is("celery-long-early", Truth.HEALTHY, "jobs of 50 s, the defaults", works("celery", "long-early", messages=40), loses=True),
    _is("celery-long-late", Truth.HEALTHY, "jobs of 50 s, one at a time", works("celery", "long-late", messages=40)),
    _dramatiq("drama-delay", Truth.HEALTHY, "delay of an hour", works("dramatiq", "delay", messages=1, later_s=HOUR_S),
        counted=False),
    _dramatiq("drama-backoff", Truth.HEALTHY, "fails, back in two minutes", works("dramatiq", "backoff", messages=1),
        counted=False),
    _is("aio-batch", Truth.HEALTHY, "collects 500 or five minutes", works("aio-pika", "batch", messages=40)),
    _is("kombu-lock", Truth.HEALTHY, "holds its only message", works("kombu", "lock", messages=1)),
    _is("kombu-busy", Truth.HEALTHY, "five a second", works("kombu", "busy", flow=5)),
    _is("pika-lock", Truth.HEALTHY, "leader election", works("pika", "lock", messages=1)),
    _is("pika-quiet-hours", Truth.HEALTHY, "keeps a mail until tomorrow",
        works("pika", "quiet-hours", before=3, messages=1, body="tomorrow")),
    _is("pika-busy", Truth.HEALTHY, "five a second", works("pika", "busy", flow=5)),
)  # fmt: skip
"""None is restarted. Who keeps a message for long may be asked about: docs/libraries.md says what settles it."""

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

LIBRARIES = WORKING + HANGING
