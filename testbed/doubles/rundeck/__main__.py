"""`python -m testbed.doubles.rundeck`: the stand-in by itself."""

from __future__ import annotations

import argparse
import signal
import threading

from testbed.doubles.rundeck import TOKEN, Rundeck, command_action
from testbed.doubles.rundeck.state import OWN, Job, Option


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m testbed.doubles.rundeck", description="Serve a stand-in for Rundeck on loopback."
    )
    parser.add_argument("--port", type=int, default=4440, help="0: any free one (default 4440)")
    parser.add_argument("--token", default=TOKEN, help="the token that may run the job")
    parser.add_argument("--job", default=Job().id, help="the job's UUID (default %(default)s)")
    parser.add_argument("--name", default="restart-service")
    parser.add_argument("--project", default="demo")
    parser.add_argument("--option", action="append", metavar="NAME", help="a required option; may be repeated (default: service)")
    parser.add_argument("--command", default="", help="what a run does; ${option.NAME} is filled in")
    parser.add_argument("--duration", type=float, default=0.0, metavar="SECONDS", help="how long a run takes at least")
    given = parser.parse_args()
    options = (*(Option(name, required=True) for name in given.option or ["service"]), *OWN)
    action = command_action(given.command) if given.command else None
    job = Job(id=given.job, name=given.name, project=given.project, options=options, duration_s=given.duration, action=action)
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stopped.set())
    with Rundeck(job, port=given.port) as rundeck:
        rundeck.tokens = {given.token: "runner"}
        print(f"Rundeck stand-in on {rundeck.url}", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
