"""See one worker of three hang, and only that one be restarted, on this machine, in under a minute.

python -m demo                  it recovers: exit status 0
python -m demo --still-broken   the restart does not help: it is escalated, exit status 1
python -m demo --stand-in       without RabbitMQ
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from demo import stage
from demo.mail_server import Handover, MailServer
from demo.queues import PASSWORD, QUEUE, RATE, USER, WORKERS, Queues, Worker, open_queues
from demo.screen import Screen
from functions.adapters.symptoms.rabbitmq import RabbitMQ, client, to_queue
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.runbooks import Symptom
from functions.runtime.text import in_language
from testbed.doubles.rundeck import Rundeck
from testbed.looks import look_once
from testbed.patience import PATIENCE_S
from testbed.recorded_grafana import RECORDINGS, known
from testbed.unstick_process import ENDED_WITHIN_S, Unstick, rfc3339

RECORDING = "02-hmac-timestamp-firing"
POLL_S = 0.1
WARM_UP = 8
"""Mails that each worker delivers before one hangs."""


class NotAsPlanned(Exception):
    """The demo ends here; the text says why."""


def main() -> int:
    """Play the story and put everything away; the exit status is 0 only if the queue recovered."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="See one worker of three hang, and be restarted.")
    parser.add_argument("--stand-in", action="store_true", help="take a stand-in for RabbitMQ even where the real one is there")
    parser.add_argument("--still-broken", action="store_true", help="the mail hangs whoever gets it: see it escalated")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    screen, began = Screen(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unstick-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ["UNSTICK_DEMO_FOLDER"] = name  # all that it starts carries this mark
        try:
            status = _played(screen, folder, given)
        except NotAsPlanned as problem:
            screen.text(f"\nIt did not recover: {problem}")
            status = 1
        except Stopped as stopped:
            screen.text("\nStopped, and nothing is left running.")
            return 128 + stopped.number
        except (RuntimeError, OSError) as problem:
            screen.text(f"\nThe demo could not go on: {problem}")
            return 1
        finally:
            _nothing_interrupts()
            stage.sweep(folder)
    screen.text(f"\nAll of it took {time.monotonic() - began:.0f} s, and nothing is left running.")
    return status


class Stopped(BaseException):
    """By a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    _nothing_interrupts()
    raise Stopped(number)


def _nothing_interrupts() -> None:
    """From here on things are put away, and a second Ctrl-C must not leave half of them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _played(screen: Screen, folder: Path, given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        try:
            return _play(screen, stack, folder, given)
        finally:
            _nothing_interrupts()


# --- the story ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Play:
    """What has a part in it."""

    screen: Screen
    broker: Queues
    server: MailServer
    application: stage.Application
    rundeck: Rundeck
    unstick: Unstick
    helps: bool

    def show(self) -> None:
        """The running counts, on a terminal."""
        self.screen.now(self.count())

    def count(self) -> str:
        """What each worker has delivered, and which one hangs."""
        now, hung = time.monotonic(), self.server.unanswered[-1:]
        hangs = {one.worker: f", hangs for {now - one.at:.0f} s" for one in hung if not self.server.find(one.mail)}
        return " · ".join(f"{one.name}: {self.server.count(one.name)}{hangs.get(one.name, '')}" for one in WORKERS)

    def until(self, look: Callable[[], Any], otherwise: str, within_s: float = PATIENCE_S) -> Any:
        """What `look` returns as soon as it is true; the counts run meanwhile."""
        ends = time.monotonic() + within_s
        while not (found := look()):
            if time.monotonic() > ends:
                raise NotAsPlanned(f"{otherwise} within {within_s:g} s.")
            self.show()
            time.sleep(POLL_S)
        return found


def _play(screen: Screen, stack: ExitStack, folder: Path, given: argparse.Namespace) -> int:
    screen.title("Unstick: one of three workers hangs with a mail, it alone is restarted, and the others never stop")
    play = _prepare(screen, stack, folder, given)
    with screen.step("mails come in") as line:
        play.broker.flow(stack)
        few = "the workers delivered too little"
        play.until(lambda: all(play.server.count(one.name) >= WARM_UP for one in WORKERS), few)
        line.text = f"{RATE:g} mails a second come into {QUEUE}, and three workers deliver them"
    began_at = time.time()
    with screen.step("one worker hangs") as line:
        hung, why = _until_stuck(play)
        others = sum(play.server.count(one.name, hung.at) for one in _others(hung))
        bug = f"the bug: {hung.worker} waits for a reply without a time-out, while the two others deliver {others} mails"
        line.text = f"{bug}. RabbitMQ: {why}"
    with screen.step("Grafana tells Unstick") as line:
        answer = _told(play.unstick, _recorded(began_at))
        line.text = f"Grafana's webhook, signed: 200, {answer['action']}: evidence comes before the restart"
    restarts = _restarted(play, hung)
    ending = _ending(play)
    pause_s = max(play.server.longest_pause_s(one.name, hung.at, time.monotonic()) for one in _others(hung))
    _show_cards(screen, play.unstick)
    if ending["ending"] != "recovered":
        raise NotAsPlanned(f"the incident was {ending['ending']}, as the last card says.")
    delivered = sum(play.server.count(one.name, hung.at, restarts[0].at) for one in _others(hung))
    stuck = f"Recovered: {hung.worker} was stuck for {restarts[0].at - hung.at:.0f} s."
    screen.text(
        f"\n{stuck} The two others delivered {delivered} mails meanwhile, and never paused for more than {pause_s:.1f} s."
    )
    return 0


def _prepare(screen: Screen, stack: ExitStack, folder: Path, given: argparse.Namespace) -> Play:
    """Start everything but the mails."""
    helps = not given.still_broken
    with screen.step("RabbitMQ starts") as line:
        broker = open_queues(stack, folder, stand_in=given.stand_in)
        line.text = broker.description
    server = MailServer(mends=helps)
    stack.callback(server.close)
    application = stage.Application(broker, server)
    stack.callback(application.close)
    with screen.step("Rundeck's stand-in, Unstick and three workers start") as line:
        rundeck = stage.start_rundeck(stack, application)
        unstick = stage.start_unstick(stack, folder, broker, rundeck, helps=helps)
        application.start(*WORKERS)
        line.text = f"Unstick is up under functions-framework on {unstick.url[:-1]}, Rundeck is a stand-in"
    return Play(screen, broker, server, application, rundeck, unstick, helps)


def _until_stuck(play: Play) -> tuple[Handover, str]:
    """Wait until RabbitMQ's own figures prove it: the mail without a reply, and the proof."""
    play.server.ignore(WORKERS[1].name)
    play.until(lambda: play.server.unanswered, "no worker hangs")
    settings = RabbitMQ(play.broker.url, USER, known(PASSWORD))
    symptom, queue = Symptom("rabbitmq", for_s=stage.FOR_S), to_queue("/", QUEUE)
    watched = QueueState(queue, "", 0.0)

    def prove() -> str:
        nonlocal watched
        seen = look_once(client.look_all, settings, queue, for_s=stage.FOR_S)
        judged, watched = judge_health(symptom, seen, watched, time.time())
        return in_language("en", judged.why) if judged.health is Health.ILL else ""

    why = play.until(prove, "the queue did not look stuck")
    return play.server.unanswered[0], why


def _others(hung: Handover) -> list[Worker]:
    return [one for one in WORKERS if one.name != hung.worker]


def _recorded(began_at: float) -> bytes:
    """What a real Grafana once sent, with the time and the words of today's trouble in it."""
    content = json.loads(RECORDINGS[RECORDING].body)
    for alert in content["alerts"]:
        alert["startsAt"] = rfc3339(began_at)
        alert["annotations"]["summary"] = f"1 message stands still in {QUEUE}"
        alert["annotations"]["description"] = f"A consumer of queue {QUEUE} of vhost / holds a message and does nothing."
    return json.dumps(content).encode()


def _told(unstick: Unstick, body: bytes) -> dict[str, Any]:
    status, answer = unstick.send(body)
    incidents = answer.get("incidents") or [{}]
    if status != 200 or incidents[0].get("action") not in ("deferred", "restarted"):
        raise NotAsPlanned(f"Unstick answered {status}: {json.dumps(answer, ensure_ascii=False)}")
    first: dict[str, Any] = incidents[0]
    return first


def _restarted(play: Play, hung: Handover) -> list[stage.Restart]:
    """Show what Rundeck's jobs do, and what becomes of the mail."""
    screen = play.screen
    with screen.step("Rundeck runs the evidence job") as line:
        line.text = play.until(lambda: _evidence(play.rundeck), "Rundeck's evidence job did not end")
    with screen.step("Rundeck runs the job") as line:
        restarts: list[stage.Restart] = play.until(lambda: play.application.restarts, "Rundeck's job restarted nothing")
        line.text = "Rundeck's job has restarted " + ", ".join(map(str, restarts))
    if play.helps:
        with screen.step("the mail is delivered") as line:
            mail: Handover = play.until(lambda: play.server.find(hung.mail), "the mail that was held was not delivered")
            line.text = f"the mail that it held is delivered by {mail.worker}, {mail.at - hung.at:.0f} s late"
    return restarts


def _evidence(runner: Rundeck) -> str:
    """The place where it hangs, or why there is none; empty while the evidence run goes on."""
    logs = [run.log for run in runner.state.runs.values() if run.job == stage.EVIDENCE_JOB and run.log]
    lines = [line.text.removeprefix(">> ").strip() for line in logs[0]] if logs else []
    place = next((line.partition(" at ")[2] for line in lines if line.startswith("unstick ")), "")
    return f"it shows where the worker hangs: {place}" if place else f"there is no evidence: {lines[-1]}" if lines else ""


def _ending(play: Play) -> dict[str, Any]:
    """Wait until the incident has its outcome and the chat has heard of it."""
    unstick = play.unstick
    with play.screen.step("Unstick looks at RabbitMQ until it is sure") as line:
        outcome: dict[str, Any] = play.until(lambda: unstick.outcomes(stage.SERVICE), "Unstick has no outcome", ENDED_WITHIN_S)[
            -1
        ]
        play.until(lambda: not unstick.open_documents(), "the chat was not told")
        line.text = f"Unstick is sure, and the incident has {outcome['ending']}"
        if outcome["ending"] != "recovered":
            line.text = f"Unstick is sure that it does not help, and the incident is {outcome['ending']}"
    return outcome


def _show_cards(screen: Screen, unstick: Unstick) -> None:
    screen.title("What people read in the chat (the console channel)")
    for card in unstick.cards():
        screen.text(card + "\n")


if __name__ == "__main__":
    sys.exit(main())
