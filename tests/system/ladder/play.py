"""Plays one scenario: an application hangs, Unstick restarts it and asks, a person presses, `park` runs, something may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import AMQPError

from functions.domain.model.alerts import MOVES, RETURNS, SUSPICION
from testbed.broker import Broker, Cluster
from testbed.doubles.rundeck import OWN, Job, Option, Rundeck
from testbed.patience import PATIENCE_S, wait_until
from testbed.unstick_process import Unstick, alert, configuration, job_id, runbook
from tests.system.ladder.moves.place import configure, step_of

USER, PASSWORD = "unstick-of-the-ladder", "only looks"
PARK = job_id("park")
VHOST = "ladder"
"""Of its own: what its account may do would change under other tests on the same broker."""
FOR_S = 10.0
VERIFY = {"first": "1s", "every": "2s", "patience": "25s", "within": "2m"}
BEFORE, RESTARTING, ASKED, PARKING, VERIFYING = STEPS = ("before", "restarting", "asked", "parking", "verifying")
VICTIMS = ("broker", "rundeck", "unstick")
DOWN_S = 4.0
PARKING_S = 1.5
"""After STOP: the program has seen that nobody consumes, and moves."""
MESSAGES = 60
STICKY = 5
"""The number of the message that hangs the worker."""
TIMES = ("restart", "question", "parked", "flows", "ended")
FIRST_S, AGAIN_S = 3.0, 15.0
"""When the alert fires after it hung, and after which it is sent again."""
SUSPECTS = dict([SUSPICION])
ENDED_WITHIN_S = 240.0


@dataclass(frozen=True)
class Scenario:
    """What the application does, what dies when, and what is right then."""

    name: str
    habit: str = "sticky"
    prefetch: int = 1
    workers: int = 1
    most: int = 10
    survives: bool = False
    """The application does not stop."""
    kills: str = ""
    at: str = ""
    ending: str = "recovered"
    parks: int = 1
    moved: int = 1
    says: str = ""
    """Is in the last card."""


def _killed(victim: str, step: str) -> Scenario:
    """A run whose Rundeck dies stays `running`, and nothing runs it any more."""
    says = {("rundeck", RESTARTING): "nothing runs it any more", ("rundeck", PARKING): "nothing runs it any more"}
    said, parks = says.get((victim, step), ""), int((victim, step) != ("rundeck", RESTARTING))
    ending = "escalated" if said else "recovered"
    if (victim, step) == ("broker", VERIFYING):
        ending = ""  # its disk may not have had yet that the message was taken: it is back, and hangs the worker
    return Scenario(f"kill {victim} {step}", kills=victim, at=step, ending=ending, parks=parks, moved=parks, says=said)


QUIET = (
    Scenario("sticky", says="So that message probably hangs the worker"),
    Scenario("sticky, 3 workers", workers=3, says="So that message probably hangs the worker"),
    Scenario("sticky, prefetch 15", prefetch=15, most=60, moved=15, says="So one of those probably hangs the worker"),
    Scenario(
        "more than most",
        prefetch=50,
        ending="escalated",
        parks=0,
        moved=0,
        says="50 messages are held, and park moves at most 10",
    ),
    Scenario("dependency", "dependency", ending="escalated", says="the next one hangs as well"),
    Scenario("healed", "once", parks=0, moved=0),
    Scenario("does not stop", survives=True, ending="escalated", moved=0, says="still has a consumer"),
)
KILLS = tuple(_killed(victim, step) for victim in VICTIMS for step in STEPS)
SCENARIOS = {one.name: one for one in (*QUIET, *KILLS)}


@dataclass
class Row:
    """What came of it. Times are seconds after the worker hung."""

    version: str
    kind: str
    scenario: str
    wrong: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    parks: int = 0
    moved: int = 0
    lost: int = 0
    twice: int = 0
    """Messages that were worked on twice, or lay in two places."""

    def __str__(self) -> str:
        times = "".join(f"{self.times[step]:9.1f}" if step in self.times else "        -" for step in TIMES)
        counts = f"{self.restarts:9} {self.parks:6} {self.moved:6} {self.lost:5} {self.twice:6}"
        return f"{self.version:5} {self.kind:8} {self.scenario:24}{times}{counts}  {'; '.join(self.wrong) or 'ok'}"


HEADER = f"{'':5} {'queue':8} {'scenario':24}{''.join(f'{step:>9}' for step in TIMES)} restarts  parks  moved  lost  twice"


class Application:
    """Worker processes behind two scripts, which a restart and park.yaml run."""

    def __init__(self, scenario: Scenario, broker: Broker, folder: Path, queue: str) -> None:
        self.folder, self.pids = folder, folder / "pids"
        self.stop_command, self.start_command = (["sh", str(folder / name)] for name in ("stop", "start"))
        arguments = f"'{broker.amqp_url(VHOST)}' {queue} {scenario.prefetch} {folder} {scenario.habit}"
        command = f"setsid {sys.executable} {Path(__file__).with_name('worker.py')} {arguments}"
        start = f"{command} </dev/null >>{folder}/log 2>&1 & echo $! >>{self.pids}\n" * scenario.workers
        stop = f"xargs -r kill -9 <{self.pids}; rm {self.pids}; touch {folder}/stopped; true\n"
        Path(self.start_command[1]).write_text(f"[ -e {self.pids} ] && exit\n{start}")
        Path(self.stop_command[1]).write_text(stop)

    def start(self) -> None:
        subprocess.run(self.start_command, check=True)

    def kill(self) -> None:
        """All that ever ran, whatever a script forgot."""
        for pid in self.pids.read_text().split() if self.pids.exists() else ():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self.pids.unlink(missing_ok=True)

    def events(self, what: str) -> list[tuple[float, str]]:
        lines = (self.folder / "work").read_text().splitlines() if (self.folder / "work").exists() else []
        rows = [line.split(" ", 2) for line in lines]
        return [(float(at), message) for at, kind, message in rows if kind == what]


class Publisher:
    """Puts messages into the queue, each until the broker has confirmed it: at first many, then one a second."""

    def __init__(self, broker: Broker, queue: str, arguments: Mapping[str, Any] | None) -> None:
        self.broker, self.queue, self.arguments = broker, queue, arguments
        self.sent: list[str] = []
        self.over, self.full = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.full.wait(PATIENCE_S)

    def stop(self) -> None:
        self.over.set()
        self.thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self.over.is_set():
            with suppress(AMQPError, OSError), self.broker.channel(VHOST) as channel:
                channel.queue_declare(self.queue, durable=True, arguments=dict(self.arguments or {}))
                channel.confirm_delivery()
                while not self.over.is_set():
                    number = len(self.sent)
                    body = f"sticky {number:04}" if number == STICKY else f"{number:04}"
                    channel.basic_publish("", self.queue, body.encode(), pika.BasicProperties(delivery_mode=2))
                    self.sent.append(body)
                    if number >= MESSAGES:
                        self.full.set()
                        channel.connection.process_data_events(time_limit=1)
            self.over.wait(0.5)


class Play:
    """One scenario on one queue, with a Rundeck and an Unstick of its own."""

    def __init__(self, scenario: Scenario, kind: str, nodes: Cluster, folder: Path) -> None:
        self.scenario, self.nodes, self.folder = scenario, nodes, folder
        (self.broker,) = nodes.nodes
        self.service = f"{kind}-{scenario.name}".replace(" ", "-").replace(",", "")
        self.queue = f"{self.service}.work"
        folder.mkdir(parents=True)
        arguments = {"x-queue-type": "quorum"} if kind == "quorum" else None
        self.publisher = Publisher(self.broker, self.queue, arguments)
        self.application = Application(scenario, self.broker, folder, self.queue)
        self.row = Row(self.broker.version if self.broker.version != "host" else "3.10", kind, scenario.name)
        self.pressed: set[str] = set()
        self.killed = threading.Event()
        self.moving = threading.Lock()
        """Held while a job's script runs: it outlives its Rundeck."""
        self.jobs = (
            Job(id=job_id(self.service), name="restart", action=self._restart),
            Job(
                id=PARK,
                name="park",
                options=(Option("service", required=True), *map(Option, (*MOVES, RETURNS)), *OWN),
                action=self._park,
            ),
        )
        self.rundeck = Rundeck(*self.jobs).start()
        self.unstick = Unstick(folder / "unstick", self._configuration(), rabbitmq_password=PASSWORD).start()

    def _configuration(self) -> dict[str, Any]:
        symptom = {"rabbitmq": {"vhost": VHOST, "queue": self.queue, "max_messages": 0, "for": f"{FOR_S:g}s", "keeps": "never"}}
        remedy = {"name": "park", "job": PARK, "when": "same_message", "most": self.scenario.most}
        book = runbook(self.service, symptom=symptom, verify=VERIFY, remedies=[remedy])
        channels = {"console": {"type": "console", "approval_links": True}}
        more: dict[str, Any] = {"public_url": "http://127.0.0.1", "channels": channels}
        return configuration(self.rundeck.url, self.broker.url, [book], user=USER, **more)

    # --- what Rundeck's jobs do

    def _restart(self, _options: Mapping[str, str]) -> None:
        subprocess.run(self.application.stop_command, check=True)
        self._reach(RESTARTING)
        self.application.start()

    def _park(self, options: Mapping[str, str]) -> str:
        """The job's own script, as a Rundeck fills it in."""
        stop, done = ["true"] if self.scenario.survives else self.application.stop_command, threading.Event()
        stopped = self.folder / "stopped"
        stopped.unlink(missing_ok=True)

        def watch() -> None:
            while not done.wait(0.02):
                if stopped.exists():
                    time.sleep(PARKING_S)
                    self._reach(PARKING)
                    break

        threading.Thread(target=watch, daemon=True).start()
        try:
            return self._run_job("park", options, stop=stop, start=self.application.start_command)
        finally:
            done.set()

    def _run_job(self, job: str, options: Mapping[str, str], **commands: list[str]) -> str:
        file = configure(self.broker, self.folder, wait_s=10 if self.scenario.survives else 60, **commands)
        script = step_of(job, file, options)
        with self.moving:
            run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=5 * PATIENCE_S)
        if run.returncode:
            raise RuntimeError(f"{run.stdout}{run.stderr}".strip())
        return run.stdout.strip()

    # --- what dies

    def _reach(self, step: str) -> None:
        """Kill what dies at this step, once, and bring it back."""
        if self.scenario.at != step or self.killed.is_set():
            return
        self.killed.set()
        {"broker": self._kill_broker, "rundeck": self._kill_rundeck, "unstick": self._kill_unstick}[self.scenario.kills]()

    def _kill_broker(self) -> None:
        self.nodes.kill(self.broker)
        self.nodes.start(self.broker)

    def _kill_unstick(self) -> None:
        self.unstick.kill()
        time.sleep(DOWN_S)
        self.unstick.start()

    def _kill_rundeck(self) -> None:
        """As was seen of a real one: a job's script lives on, and its run stays `running` until a person aborts it."""
        former = self.rundeck
        port = int(former.url.rpartition(":")[2])
        former.state.crash()
        former.stop()
        time.sleep(DOWN_S)
        self.rundeck = Rundeck(*self.jobs, port=port)
        self.rundeck.state = former.state
        self.rundeck.start()
        threading.Thread(target=self._abort, daemon=True).start()

    def _abort(self) -> None:
        time.sleep(3 * DOWN_S)
        with self.rundeck.state.lock:
            for run in self.rundeck.state.unfinished(None):
                if run.zombie:
                    self.rundeck.state.abort(run.id, "admin", force=False)

    # --- the story

    def play(self) -> Row:
        """All of it, and what is wrong with it."""
        try:
            self.application.start()
            hung_at = wait_until(lambda: self.application.events("hangs"))[0][0]
            time.sleep(FIRST_S)
            self._until_ended(hung_at)
            self._note_times(hung_at)
            self._count()
            self._mend()
        except Exception as error:  # noqa: BLE001 - a line of the table says it, and the other scenarios go on
            self.row.wrong.append(f"{type(error).__name__}: {str(error)[:300]}")
        finally:
            self.application.kill()
            self.publisher.stop()
            self.unstick.stop()
            self.rundeck.stop()
        return self.row

    def _until_ended(self, hung_at: float) -> None:
        sent_at, ends = 0.0, time.time() + ENDED_WITHIN_S
        while not (outcomes := [one for one in self.unstick.outcomes(self.service) if one["ending"] != "held"]):
            if time.time() > ends:
                raise AssertionError(f"no outcome: {self.unstick.output()[-1500:]}")
            if time.time() - sent_at > AGAIN_S:
                sent_at = time.time()
                with suppress(OSError):
                    self.unstick.notify(alert(self.service, self.queue, starts_at=hung_at, **SUSPECTS))
                self._reach(BEFORE)
            self._press(hung_at)
            if any(run.job == PARK and run.ended for run in self.rundeck.state.carried_out):
                self._reach(VERIFYING)
            time.sleep(0.2)
        self.row.times["ended"] = outcomes[-1]["at"] - hung_at
        self._expect("ending", outcomes[-1]["ending"], self.scenario.ending or outcomes[-1]["ending"])
        wait_until(lambda: not self.unstick.open_documents())
        card = " ".join(self.unstick.cards()[-1].split())
        if self.scenario.says not in card:
            self.row.wrong.append(f"the last card does not say {self.scenario.says!r}: {card}")

    def _press(self, hung_at: float) -> None:
        """What a person does with each question, once."""
        asking = [card for card in self.unstick.cards("/approve/#") if "the job park stops" in " ".join(card.split())]
        cards = [card for card in asking if card not in self.pressed]
        if not cards:
            return
        self.row.times.setdefault("question", time.time() - hung_at)
        self._reach(ASKED)
        with suppress(OSError):
            self.unstick.approve(cards[-1], "a person")
            self.pressed.update(cards)

    def _note_times(self, hung_at: float) -> None:
        runs = self.rundeck.state.carried_out
        restarts, parks = ([run for run in runs if (run.job == PARK) is park] for park in (False, True))
        self.row.restarts, self.row.parks = len(restarts), len(parks)
        self._expect("restarts", len(restarts), 1)
        self._expect("runs of park", len(parks), self.scenario.parks)
        for former, later in pairwise(runs):
            if former.ended is None or later.started < former.ended:
                self.row.wrong.append("two runs at once")
        if restarts:
            self.row.times["restart"] = restarts[0].started - hung_at
        back_at = runs[-1].ended or runs[-1].started
        if parks and parks[0].ended:
            self.row.times["parked"] = parks[0].ended - hung_at
        flows = [at for at, _ in self.application.events("did") if at > back_at - 1]
        if flows:
            self.row.times["flows"] = flows[0] - hung_at

    def _expect(self, what: str, seen: object, right: object) -> None:
        if seen != right:
            self.row.wrong.append(f"{what}: {seen}, not {right}")

    def _count(self) -> None:
        """Nothing consumes any more: what was published is done, in the queue, or parked. What stayed was done in its order."""
        with self.moving:
            self.application.kill()
        self.publisher.stop()
        parked = self._messages(f"{self.queue}.parked")
        self.row.moved, lying = len(parked), [*self._messages(self.queue), *parked]
        self._expect("moved", self.row.moved, self.scenario.moved)
        done = [body for _, body in self.application.events("did")]
        sent, places = set(self.publisher.sent), Counter([*lying, *done])
        self.row.lost = len(sent - set(places))
        self._expect("lost", self.row.lost, 0)
        self.row.twice = sum(count > 1 for count in places.values())
        numbers = [int(body[-4:]) for body in dict.fromkeys(done)]
        side_by_side = self.scenario.workers - 1
        late = [later for former, later in pairwise(numbers) if later < former - side_by_side]
        self._expect("out of order", late, [])

    def _messages(self, queue: str) -> list[str]:
        """All of them, which stay there, but for copies with a mark: a broker that died may leave some."""
        bodies: list[str] = []
        with suppress(pika.exceptions.ChannelClosedByBroker), self.broker.channel(VHOST) as channel:  # there is none
            while (got := channel.basic_get(queue))[0] is not None:
                if not ((got[1].headers or {}).get("x-unstick") or {}).get("copy"):
                    bodies.append(got[2].decode())
        return bodies

    def _mend(self) -> None:
        """People repair the bug and bring the messages back: in the end each is done."""
        (self.folder / "mended").touch()
        self.application.start()
        if self._messages(f"{self.queue}.parked"):
            time.sleep(1)
            self._run_job("return", {"unstick_vhost": VHOST, "unstick_queue": self.queue})
        wait_until(lambda: set(self.publisher.sent) <= {body for _, body in self.application.events("did")})
