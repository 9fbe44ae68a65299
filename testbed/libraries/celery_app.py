"""A Celery application in one of its forms.

    python testbed/libraries/celery_app.py --url amqp://... --queue mail.work --form retry

It writes `consuming` once it is there, `hangs` where it begins to, and `done NAME` of each task that it is through with. Tasks
have one argument, their name: one that begins with `hang` never ends, in the forms that hang.
"""

import time
from typing import Any

import celery
from celery.signals import worker_ready
from forms import Form, hang, parse, say

SECONDS = 150.0
"""Of a long job."""
LONG = {"-c": "1"}
ONE = {"-c": "1", "worker_prefetch_multiplier": 1}
LATE = {"task_acks_late": True}

FORMS = {
    "countdown": Form("its task is for in an hour", {}),
    "retry": Form("its task fails, and is for in two minutes then", {}),
    "rate-limit": Form("its tasks may start 30 times an hour", {}),
    "long-early": Form("jobs of 150 s, acknowledged before", LONG),
    "long-late": Form("jobs of 150 s, acknowledged after, one at a time", ONE | LATE),
    "all-early": Form("all of its processes hang, acknowledged before", {}),
    "all-late": Form("all of its processes hang, acknowledged after", LATE),
    "one-late": Form("its only process hangs, one at a time, acknowledged after", ONE | LATE),
    "threads-early": Form("all of its threads hang, acknowledged before", {"--pool": "threads"}),
    "threads-late": Form("all of its threads hang, acknowledged after", LATE | {"--pool": "threads"}),
    "solo": Form("its only process hangs, and answers nobody", ONE | LATE | {"--pool": "solo"}),
}


def build(url: str, queue: str, form: str, *, hangs: bool) -> celery.Celery:
    """The application with its one task. `hangs`: whether a task that is named so never ends."""
    app = celery.Celery(queue, broker=url)
    app.conf.update(task_default_queue=queue, **{key: value for key, value in FORMS[form].settings.items() if key[0] != "-"})
    limit = "30/h" if form == "rate-limit" else None

    @app.task(name="work", bind=True, rate_limit=limit, max_retries=None)
    def work(task: Any, name: str) -> None:
        if form == "retry" and not task.request.retries:
            raise task.retry(countdown=120)
        if hangs and name.startswith("hang"):
            hang(name)
        time.sleep(SECONDS if form.startswith("long") else 0.1)
        say(f"done {name}")

    return app


def main() -> None:
    given = parse(FORMS)
    app = build(given.url, given.queue, given.form, hangs=not given.healthy)
    worker_ready.connect(lambda **_: say("consuming"), weak=False)
    options = {"-c": "2", "--pool": "prefork"} | {
        key: value for key, value in FORMS[given.form].settings.items() if key[0] == "-"
    }
    words = [word for pair in options.items() for word in pair]
    app.worker_main(["worker", "-Q", given.queue, "-n", f"{given.node}@%h", "--loglevel", "warning", *words])


if __name__ == "__main__":
    main()
