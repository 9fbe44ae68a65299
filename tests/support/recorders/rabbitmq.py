"""Makes tests/recordings/rabbitmq: what a real broker answers in the situations that must be told apart.

    python -m tests.support.recorders.rabbitmq [CASE...]      (five minutes)

Each file has the queue, what the case is, and looks: the time, the live totals, and what is read of the queue's page, as the
broker gave them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pika

from functions.adapters.symptoms.rabbitmq import client, to_queue
from tests.support.broker import Broker, broker, consumer

FOLDER = Path(__file__).parents[2] / "recordings" / "rabbitmq"
OBSERVED_S = 75
JOB_S = 150
LOOK_EVERY_S = 6
PAGE = (
    *("name", "node", "consumers", "consumer_details", "head_message_timestamp", "messages", "messages_ready"),
    *("messages_unacknowledged", "messages_ready_details", "messages_unacknowledged_details"),
)


class Case:
    """One queue in one situation, on a thread of its own."""

    def __init__(self, made: Broker, name: str, says: str, ill: bool | None, play: Callable[[Case], None]) -> None:
        self.made, self.queue, self.says, self.ill, self.play = made, to_queue("/", name), says, ill, play
        self.for_s = 60.0
        self.looks: list[dict[str, Any]] = []
        self.stop = threading.Event()

    def run(self) -> None:
        self.made.publish(self.queue.name, 0)
        try:
            self.play(self)
        finally:
            self.stop.set()
        head = json.dumps({"case": self.queue.name, "says": self.says, "ill": self.ill, "vhost": "/"})
        looks = ",\n".join(json.dumps(look, separators=(",", ":")) for look in self.looks)
        (FOLDER / f"{self.queue.name}.json").write_text(f'{head[:-1]}, "looks": [\n{looks}\n]}}\n')

    def look(self, note: str) -> None:
        totals = self.made.api("GET", next(iter(client.list_queues([self.queue]))).removeprefix("/api/"))
        at = time.time()
        page = self.made.api("GET", client.page_path(self.queue, self.for_s).removeprefix("/api/"))
        self.looks.append({"note": note, "at": at, "totals": totals, "page": _read_part(page)})

    def look_for(self, seconds: float, note: str) -> None:
        """Look again and again."""
        for number in range(int(seconds / LOOK_EVERY_S)):
            self.look(f"{note}, look {number + 1}")
            time.sleep(LOOK_EVERY_S)

    def consumer(self, mode: str, *, per_second: float = 1.0) -> AbstractContextManager[Any]:
        return consumer(self.made, self.queue.name, mode, per_second=per_second)

    def publish(self, count: int) -> None:
        self.made.publish(self.queue.name, count)

    def keep_publishing(self, per_second: float) -> None:
        def work() -> None:
            with self.made.channel() as channel:
                while not self.stop.wait(1 / per_second):
                    channel.basic_publish("", self.queue.name, b"more", pika.BasicProperties(timestamp=int(time.time())))

        threading.Thread(target=work, daemon=True).start()


def _read_part(page: dict[str, Any]) -> dict[str, Any]:
    """What the adapter reads of the page, as the broker gave it. The rest is ten times as much."""
    traffic = page.get("message_stats", {})
    return {name: value for name, value in page.items() if name in PAGE} | ({"message_stats": traffic} if traffic else {})


def _stuck(mode: str) -> Callable[[Case], None]:
    def play(case: Case) -> None:
        with case.consumer(mode):
            case.publish(5)
            time.sleep(OBSERVED_S)
            case.look(f"{OBSERVED_S} s after five messages came")

    return play


def no_consumer(case: Case) -> None:
    case.publish(5)
    time.sleep(OBSERVED_S)
    case.look(f"{OBSERVED_S} s after five messages came")


def idle(case: Case) -> None:
    with case.consumer("healthy"):
        case.publish(3)
        time.sleep(OBSERVED_S)
        case.look(f"{OBSERVED_S} s after three messages came and went")


def never_used(case: Case) -> None:
    with case.consumer("healthy"):
        time.sleep(OBSERVED_S)
        case.look("never a message")


def busy(case: Case) -> None:
    case.publish(200)
    case.keep_publishing(20)
    with case.consumer("slow", per_second=20):
        time.sleep(OBSERVED_S)
        case.look("20 messages a second in and out, about 200 waiting")


def busy_no_ack(case: Case) -> None:
    case.keep_publishing(20)
    with case.consumer("no-ack"):
        time.sleep(OBSERVED_S)
        case.look("20 messages a second in and out without acknowledgements")


def slow_drain(case: Case) -> None:
    case.publish(300)
    with case.consumer("slow", per_second=1):
        time.sleep(OBSERVED_S)
        case.look("one message a second out, none in")


def very_slow_drain(case: Case) -> None:
    case.publish(300)
    with case.consumer("slow", per_second=1 / 20):
        time.sleep(OBSERVED_S)
        case.look("one message every 20 s out, none in")


def deploying(case: Case) -> None:
    case.publish(100)
    case.keep_publishing(10)
    with case.consumer("slow", per_second=10):
        time.sleep(OBSERVED_S - 10)
    time.sleep(1)
    case.look("1 s after the consumer left")
    time.sleep(8)
    case.look("9 s after the consumer left")
    time.sleep(1)
    with case.consumer("slow", per_second=10):
        time.sleep(1)
        case.look("1 s after a consumer is back")
        time.sleep(5)
        case.look("6 s after a consumer is back")
        time.sleep(6)
        case.look("12 s after a consumer is back")


def slow_consumer(case: Case) -> None:
    case.publish(30)
    with case.consumer("slow", per_second=1 / 25):
        time.sleep(OBSERVED_S)
        case.look_for(60, "one message every 25 s")


def bursts(case: Case) -> None:
    with case.consumer("slow", per_second=25):
        for number in range(5):
            case.publish(200)
            if number < 3:
                time.sleep(30)
            else:
                case.look_for(30, "a burst of 200 messages every 30 s")


def deployment(case: Case) -> None:
    case.publish(10)
    case.keep_publishing(2)
    with case.consumer("slow", per_second=2):
        time.sleep(OBSERVED_S)
    case.look_for(40, "the application is away for 40 s")
    with case.consumer("healthy"):
        case.look_for(24, "it is back")


def long_job(case: Case) -> None:
    case.for_s = JOB_S + 60.0
    case.publish(3)
    with case.consumer("slow", per_second=1 / JOB_S):
        time.sleep(JOB_S * 1.5)
        case.look_for(JOB_S / 2 + 24, f"one job of {JOB_S} s after the other, prefetch 1")


def just_published(case: Case) -> None:
    with case.consumer("slow", per_second=0.2):
        case.publish(1)
        time.sleep(OBSERVED_S)
        case.publish(50)
        case.look("at once after 50 messages came to an idle queue, one goes every 5 s")
        time.sleep(6)
        case.look("6 s later")


def restarted(case: Case) -> None:
    case.publish(30)
    with case.consumer("stuck-unacked"):
        time.sleep(OBSERVED_S)
        case.look("stuck, before the restart")
    time.sleep(1)
    case.look("1 s after the old consumer was killed")
    with case.consumer("slow", per_second=2):
        for wait_s, age_s in ((1, 1), (4, 5), (6, 11)):
            time.sleep(wait_s)
            case.look(f"{age_s} s after the new consumer came, which takes two messages a second")
        time.sleep(9)
        case.look("20 s after the new consumer came")


def restarted_in_vain(case: Case) -> None:
    case.publish(30)
    with case.consumer("stuck-unacked"):
        time.sleep(OBSERVED_S)
        case.look("stuck, before the restart")
    with case.consumer("stuck-unacked"):
        for wait_s, age_s in ((1, 1), (11, 12)):
            time.sleep(wait_s)
            case.look(f"{age_s} s after the new consumer came, which sticks too")


def cases(made: Broker) -> list[Case]:
    return [
        Case(made, "stuck-unacked", "a consumer holds one message and acknowledges nothing", True, _stuck("stuck-unacked")),
        Case(made, "stuck-ready", "a consumer is registered and takes nothing", None, _stuck("stuck-ready")),
        Case(made, "absent", "an application is connected and consumes nothing", False, _stuck("absent")),
        Case(made, "no-consumer", "messages and nobody there", False, no_consumer),
        Case(made, "idle", "empty, with a consumer", False, idle),
        Case(made, "never-used", "never a message, with a consumer", False, never_used),
        Case(made, "busy", "never empty, and messages flow", False, busy),
        Case(made, "busy-no-ack", "messages flow in automatic acknowledgement mode", False, busy_no_ack),
        Case(made, "slow-drain", "it drains slowly", False, slow_drain),
        Case(made, "very-slow-drain", "it drains very slowly", False, very_slow_drain),
        Case(made, "deploying", "the consumer is away for 10 s", False, deploying),
        Case(made, "slow-consumer", "one message every 25 s", False, slow_consumer),
        Case(made, "bursts", "messages come in bursts and are worked off", False, bursts),
        Case(made, "deployment", "the consumer is away for 40 s", False, deployment),
        Case(made, "long-job", f"a job takes {JOB_S} s, with prefetch 1", None, long_job),
        Case(made, "just-published", "messages have just come to an idle queue", False, just_published),
        Case(made, "restarted", "stuck, then a new consumer that works", None, restarted),
        Case(made, "restarted-in-vain", "stuck, then a new consumer that sticks too", None, restarted_in_vain),
    ]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as made:
        wanted = [case for case in cases(made) if case.queue.name in sys.argv[1:] or not sys.argv[1:]]
        threads = [threading.Thread(target=case.run) for case in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
