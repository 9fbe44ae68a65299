"""See a stuck queue restarted, on this machine, in under a minute.

python -m demo                  it recovers: exit status 0
python -m demo --still-broken   the restart does not help: it is escalated, exit status 1
python -m demo --stand-in       without RabbitMQ
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from demo import stage
from demo.screen import Screen
from functions.adapters.symptoms.rabbitmq import client, to_queue
from functions.domain.health.looks import judge_health
from functions.domain.model.codes import Health
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom
from tests.support.doubles.rundeck import Rundeck
from tests.support.patience import PATIENCE_S
from tests.support.recorded_grafana import RECORDINGS, known
from tests.support.unstick_process import ENDED_WITHIN_S, Unstick, rfc3339

RECORDING = "02-hmac-timestamp-firing"
POLL_S = 0.1


class NotAsPlanned(Exception):
    """The demo ends here; the text says why."""


def main() -> int:
    """Play the story and put everything away; the exit status is 0 only if the queue recovered."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="See a stuck queue restarted, on this machine.")
    parser.add_argument("--stand-in", action="store_true", help="take a stand-in for RabbitMQ even where the real one is there")
    parser.add_argument("--still-broken", action="store_true", help="the new process has the bug too: see it escalated")
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


def _play(screen: Screen, stack: ExitStack, folder: Path, given: argparse.Namespace) -> int:
    screen.title("Unstick: a queue gets stuck, its application is restarted, and the queue is seen to recover")
    with screen.step("RabbitMQ starts") as line:
        queues = stage.queues(stack, folder, stand_in=given.stand_in)
        line.text = queues.description
    application = stage.Application(queues, cured=not given.still_broken)
    stack.callback(application.close)
    with screen.step("Rundeck's stand-in and Unstick start") as line:
        runner = stage.rundeck(stack, application)
        unstick = stage.unstick(stack, folder, queues, runner, application)
        line.text = f"Unstick is up under functions-framework on {unstick.url[:-1]}, Rundeck is a stand-in"
    with screen.step("mails come in") as line:
        queues.publish()
        pid = application.start(stuck=True)
        line.text = f"{stage.MESSAGES:,} mails are in {stage.QUEUE}, and {stage.SERVICE} has started as process {pid}"
    began_at = time.time()
    look = _looks_at(queues)
    with screen.step("it takes a mail") as line:
        seen = _until_stuck(screen, look)
        line.text = f"the bug: it waits for a reply without a time-out. It holds {seen.unacked} mail, {seen.ready:,} wait"
    body = _recorded(began_at)
    with screen.step("Grafana tells Unstick") as line:
        answer = _told(unstick, body)
        why = "it looks again before it restarts" if answer["action"] == "held" else "evidence comes before the restart"
        line.text = f"Grafana's webhook, signed: 200, {answer['action']}: {why}"
    with screen.step("Rundeck runs the evidence job") as line:
        line.text = _until(lambda: _evidence(runner), "Rundeck's evidence job did not end")
    with screen.step("Rundeck runs the job") as line:
        before, after = _until(lambda: application.restarts, "Rundeck's job did not restart the process")[0]
        line.text = f"Rundeck's job has restarted {stage.SERVICE}: process {before} is gone, {after} is there"
    if not given.still_broken:
        with screen.step("the queue drains") as line:
            _until_empty(screen, look)
            line.text = f"the queue is empty: {stage.MESSAGES:,} mails delivered"
    ending = _ending(screen, unstick)
    _show_cards(screen, unstick)
    if ending["ending"] != "recovered":
        raise NotAsPlanned(f"the incident was {ending['ending']} after {ending['restarts']} restarts, as the last card says.")
    took_s = ending["at"] - began_at
    screen.text(f"\nRecovered: the queue was stuck for {took_s:.0f} s. Without Unstick it would be stuck until somebody gets up.")
    return 0


def _looks_at(queues: stage.Queues) -> Callable[[], QueueSnapshot]:
    settings = client.Settings(queues.url, stage.USER, known(stage.PASSWORD))
    return lambda: client.look(settings, to_queue("/", stage.QUEUE), for_s=stage.FOR_S, timeout_s=PATIENCE_S)


def _until_stuck(screen: Screen, look: Callable[[], QueueSnapshot]) -> QueueSnapshot:
    """Wait until RabbitMQ's own figures show what the runbook calls ill."""
    began, symptom = time.monotonic(), Symptom("rabbitmq", for_s=stage.FOR_S)
    watched = QueueState(to_queue("/", stage.QUEUE), "", 0.0)
    while time.monotonic() - began < PATIENCE_S:
        seen = look()
        judged, watched = judge_health(symptom, seen, watched, time.time())
        if seen.unacked and judged.health is Health.ILL:
            return seen
        since_s = time.monotonic() - began
        screen.now(f"it holds {seen.unacked} mail and acknowledges nothing, {seen.ready:,} wait, for {since_s:.0f} s")
        time.sleep(POLL_S)
    raise NotAsPlanned(f"the queue did not look stuck within {PATIENCE_S:g} s.")


def _until_empty(screen: Screen, look: Callable[[], QueueSnapshot]) -> None:
    def empty() -> bool:
        depth = look().depth
        screen.now(f"the queue drains: {depth:,} mails left")
        return depth == 0

    _until(empty, "the queue did not become empty")


def _recorded(began_at: float) -> bytes:
    """What a real Grafana once sent, with the time of today's trouble in it."""
    content = json.loads(RECORDINGS[RECORDING].body)
    for alert in content["alerts"]:
        alert["startsAt"] = rfc3339(began_at)
    return json.dumps(content).encode()


def _told(unstick: Unstick, body: bytes) -> dict[str, Any]:
    status, answer = unstick.send(body)
    incidents = answer.get("incidents") or [{}]
    looks_again = (
        incidents[0].get("reason") == "symptom_unknown"
    )  # one look may prove too little; the next ones come by themselves
    if status != 200 or (incidents[0].get("action") not in ("deferred", "restarted") and not looks_again):
        raise NotAsPlanned(f"Unstick answered {status}: {json.dumps(answer, ensure_ascii=False)}")
    first: dict[str, Any] = incidents[0]
    return first


def _evidence(runner: Rundeck) -> str:
    """The innermost frame, or why there is none; empty while the evidence run goes on."""
    logs = [run.log for run in runner.state.runs.values() if run.job == stage.EVIDENCE_JOB and run.log]
    lines = [line.removeprefix(">> ").strip() for _, _, line in logs[0]] if logs else []
    frame = next((line for line in lines if "(stuck_consumer.py:" in line), "")
    return f"py-spy shows the line that hangs: {frame}" if frame else f"there is no evidence: {lines[-1]}" if lines else ""


def _ending(screen: Screen, unstick: Unstick) -> dict[str, Any]:
    """Show each phase as it is left, until the incident has its outcome and the chat has heard of it."""
    with screen.step("Unstick looks at RabbitMQ until it is sure") as line:
        outcome: dict[str, Any] = _until(lambda: unstick.outcomes(stage.SERVICE), "Unstick has no outcome", ENDED_WITHIN_S)[-1]
        _until(lambda: not unstick.open_documents(), "the chat was not told")
        line.text = f"Unstick is sure, and the incident has {outcome['ending']}"
        if outcome["ending"] != "recovered":
            line.text = f"Unstick has tried {outcome['restarts']} restarts, and the incident is {outcome['ending']}"
    return outcome


def _show_cards(screen: Screen, unstick: Unstick) -> None:
    screen.title("What people read in the chat (the console channel)")
    for card in unstick.cards():
        screen.text(card + "\n")


def _until(look: Callable[[], Any], otherwise: str, within_s: float = PATIENCE_S) -> Any:
    ends = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > ends:
            raise NotAsPlanned(f"{otherwise} within {within_s:g} s.")
        time.sleep(POLL_S)
    return found


if __name__ == "__main__":
    sys.exit(main())
