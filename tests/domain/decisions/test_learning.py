"""How long an application stalls is learned from what ends by itself, and from nothing else; and what is learned moves the
deadline. Queues take their course as in the simulation."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from functions.domain.decisions.step import step
from functions.domain.health.stalls import add_stall, look_again
from functions.domain.model.codes import Mode, Phase, Reason
from functions.domain.model.events import Declined, MessagesDelivered, Start, TimerFired
from functions.domain.model.incidents import Document
from functions.domain.model.observations import (
    Channel,
    Execution,
    QueueSnapshot,
    QueueStalls,
    Stall,
    StallKind,
    Standstill,
    Unknown,
)
from functions.domain.model.runbooks import Freeze, Rules
from tests.simulation.broker import Broker, Queue
from tests.simulation.queues import Worker
from tests.support.worlds.scenes import AHEAD_S, MAIL, NOW, alerted, case, history_of, rules, runbook, seen, snapshot

SUSPECTED_S = 40.0
HELD, UNSERVED, GONE = StallKind.HELD, StallKind.UNSERVED, StallKind.GONE


@dataclass
class Play:
    """One queue and its document, from NOW on. A rule suspects the queue once nothing has moved for SUSPECTED_S."""

    queue: Queue
    rules: Rules = field(default_factory=lambda: rules(runbook(mode=Mode.OBSERVE)))
    document: Document = field(default_factory=lambda: Document("mail-key"))
    runs: list[Execution] = field(default_factory=list)
    broker: Broker = field(default_factory=Broker)
    at: float = NOW
    started: list[float] = field(default_factory=list)
    alerts: int = 0
    reboots: float = math.inf
    """When the broker is restarted. For twelve seconds nothing can be read."""

    def until(self, seconds: float) -> Play:
        """Go on until so long after NOW: the rule each quarter of a minute, wake-ups when they are due."""
        while self.at < NOW + seconds and not self.started:
            self.at += 15.0
            woken_at = self.at - 15.0
            while self.document.due is not None and self.document.due <= self.at and not self.started:
                woken_at = max(self.document.due, woken_at + 1.0)
                self.take(TimerFired(), woken_at)
            if self.reboots <= self.at - NOW < self.reboots + 15.0:
                self.queue.restart_broker(NOW + self.reboots)
                self.queue.turn(NOW + self.reboots + 20.0, (worker("new"),))
            still = self.queue.depth(self.at) > 0 and self.queue.stuck(self.at, SUSPECTED_S)
            if still and self.document.incident is None:
                self.alerts += 1
                fired = case(book=next(iter(self.rules.runbooks.values())), fingerprint=f"fp-{self.alerts}", starts_at=self.at)
                self.take(alerted(fired, incident=f"inc-{self.alerts}"), self.at)
        return self

    def take(self, event, at: float) -> None:
        runs = tuple(run for run in self.runs if (run.runner_started_at or 0.0) <= at + AHEAD_S)
        away = self.reboots <= at - NOW < self.reboots + 12.0
        mail = Unknown("it starts") if away else self.queue.read(at, self.broker)
        what = seen(now=at, mail=mail, history=history_of(*runs, now=at))
        result = step(self.document, event, what, at, self.rules)
        self.started += [at - NOW for act in result.acts if isinstance(act, Start)]
        told = frozenset(message.id for message in result.document.to_tell)
        kept = frozenset(record.incident.id for record in result.document.to_archive)
        self.document = step(result.document, MessagesDelivered(told, archived=kept), what, at, self.rules).document

    @property
    def phase(self) -> Phase | None:
        return self.document.incident.phase if self.document.incident else None

    @property
    def learned(self) -> list[tuple[StallKind, int]]:
        """Kind and length of each stall, to ten seconds, the longest first."""
        stalls = self.document.stalls.get(MAIL.key, QueueStalls(0.0)).stalls
        return [(stall.kind, round(stall.lasted_s, -1)) for stall in sorted(stalls, key=lambda one: -one.lasted_s)]


def worker(name: str = "a", *, holds: int = 0, window: int | None = 1) -> Worker:
    return Worker(name, rate=0.0 if holds else 3.0, holds=holds, window=window, host="10.0.3.1", user="app")


def working(*workers: Worker, publish: float = 1.0) -> Queue:
    """Consumers that keep up, for long."""
    return Queue(NOW - 5000.0, workers or (worker(),), publish=publish)


def jobs(*lengths: float, window: int = 1, pause: float = 60.0, publish: float = 0.2) -> Queue:
    """One consumer that works on one message for so long each time."""
    queue, at = working(worker(window=window), publish=publish), NOW + 100.0
    for length in lengths:
        queue.hold(at, 1)
        queue.hold(at + length, 0)
        at += length + pause
    return queue


def then(queue: Queue, at: float, *workers: Worker) -> Queue:
    queue.turn(NOW + at, workers)
    return queue


def hung() -> Queue:
    """From 100 s on its consumer hangs."""
    queue = working()
    queue.hold(NOW + 100.0, 1)
    return queue


def test_stalls_that_end_by_themselves_are_known_to_ten_seconds():
    assert Play(jobs(150.0, 180.0, 90.0)).until(1200).learned == [(HELD, 180), (HELD, 150), (HELD, 90)]
    assert Play(jobs(30.0, 30.0)).until(600).learned == [], "shorter than `for`"


def test_a_stall_of_hours_is_followed_to_its_end():
    """Though its incident in mode observe is long over."""
    assert Play(jobs(20000.0)).until(21000).learned == [(HELD, 20000)]


def test_consumers_that_come_back_teach_only_that_they_were_gone():
    deployed = then(then(working(), 100.0), 190.0, worker("b"))
    assert Play(deployed).until(900).learned == [(GONE, 90)]


def test_consumers_that_stay_and_take_nothing_for_a_while_teach_unserved():
    idle = dataclasses.replace(worker(), rate=0.0)
    paused = then(then(working(), 100.0, idle), 250.0, worker())
    assert Play(paused).until(900).learned == [(UNSERVED, 150)]


def replaced() -> Play:
    """Somebody mends the hang by hand, out of Unstick's sight: another process takes the message."""
    return Play(then(hung(), 300.0, worker("new")))


def closed() -> Play:
    """The connection is closed, by a network or by hand; the application connects again."""
    return Play(then(then(hung(), 300.0), 305.0, worker("again")))


def timed_out() -> Play:
    """`consumer_timeout` closes the channel; the same connection opens another."""
    queue = working(worker("a (1)"))
    queue.hold(NOW + 100.0, 1)
    return Play(then(queue, 300.0, worker("a (2)")))


def beside() -> Play:
    """One of two hangs while the other works, until its process is replaced."""
    queue = working(worker(), worker("busy"), publish=0.3)
    queue.turn(NOW + 100.0, (worker(holds=1), worker("busy")))
    queue.turn(NOW + 400.0, (worker("new"), worker("busy")))
    return Play(queue)


def lapsed() -> Play:
    """Its heartbeat lapses while it hangs, and nobody consumes until somebody mends it by hand."""
    return Play(then(then(hung(), 300.0), 500.0, worker("again")))


def renewed() -> Play:
    """Two are given nothing; one of them connects anew meanwhile."""
    a, b, c = (dataclasses.replace(worker(name), rate=0.0) for name in "abc")
    return Play(then(then(then(working(*map(worker, "ab")), 100.0, a, b), 400.0, b, c), 700.0, *map(worker, "bc")))


def restarted(*, planned: bool = False) -> Play:
    """A person's run of the job lies in it, though the consumer seems to go on."""
    play = Play(jobs(200.0))
    began = NOW + AHEAD_S + 250.0
    play.runs = [Execution("7", "http://rundeck/7", "succeeded", began, began + 20.0, scheduled=planned)]
    return play


def in_vain() -> Play:
    """A run that began before the first look brings nobody back. Consumers that come later take nothing for a while."""
    idle = dataclasses.replace(worker("new"), rate=0.0)
    play = restarted()
    play.queue = then(then(then(working(), 210.0), 950.0, idle), 1150.0, worker("new"))
    return play


def rebooted() -> Play:
    return Play(hung(), reboots=300.0)


class Missed(Queue):
    """The broker misses one collection in six."""

    def read(self, at: float, broker: Broker, *, ahead_s: float = 0.0) -> QueueSnapshot:
        read = super().read(at, broker, ahead_s=ahead_s)
        acks = tuple((when, 0 if number % 6 == 2 else count) for number, (when, count) in enumerate(read.ack_samples))
        return replace(read, ack_samples=acks)


def came_back() -> Play:
    """A node that sends no statistics takes what it counted out of the sum, and it comes back while the consumer still hangs."""
    queue = working(dataclasses.replace(worker("b"), node="b"))
    queue.turn(NOW - 1000.0, (worker(),))
    queue.turn(NOW + 100.0, (dataclasses.replace(worker(), rate=0.0),))
    play = Play(queue, broker=Broker(monitoring=False))
    play.broker.silent.add("b")
    play.until(300)
    play.broker.silent.clear()
    return play


def purged() -> Play:
    """What waits is purged while the consumer, which takes nothing, stays; then it works again."""
    idle = dataclasses.replace(worker(), rate=0.0)
    queue = Missed(NOW - 5000.0, (worker(),), publish=1.0)
    queue.turn(NOW + 100.0, (idle,))
    queue.turn(NOW + 300.0, (idle,))
    queue.pieces[-1:] = [dataclasses.replace(queue.pieces[-1], depth=0.0)]
    queue.turn(NOW + 320.0, (worker(),))
    return Play(queue)


PLANNED = functools.partial(restarted, planned=True)  # and the answer that shows the run is older than its start


@pytest.mark.parametrize(
    "course", [replaced, closed, timed_out, beside, lapsed, renewed, restarted, PLANNED, in_vain, rebooted, came_back, purged]
)
def test_what_did_not_end_by_itself_teaches_nothing(course):
    assert course().until(1500).learned == []


def test_what_ended_while_nothing_could_be_read_is_no_longer_than_it_was_seen():
    play = Play(jobs(300.0)).until(200)
    for at, play.broker.page_slow in ((750.0, True), (1300.0, True), (1850.0, False), (1920.0, False)):
        play.take(TimerFired(), NOW + at)
    assert play.learned == [(HELD, 110)]


def test_a_purge_that_lies_before_the_first_look_after_the_end_teaches_nothing():
    play = purged().until(200)
    for at in (750.0, 820.0):
        play.take(TimerFired(), NOW + at)
    assert play.learned == []


def test_a_job_is_restarted_by_default_and_not_once_two_were_seen():
    auto = rules(runbook(mode=Mode.AUTO))
    eager = Play(jobs(150.0), auto).until(400)
    assert len(eager.started) == 1
    learned = Play(jobs(150.0, 150.0, 150.0)).until(900).document
    patient = Play(jobs(150.0, 160.0, 140.0), auto, replace(learned, incident=None)).until(900)
    assert patient.started == []
    stuck = Play(hung(), auto, replace(learned, incident=None)).until(900)
    assert 325.0 <= stuck.started[0] <= 340.0, "one and a half times the longest, after 100 s"
    once = replace(Play(jobs(152.0)).until(900).document, incident=None)
    asked = Play(hung(), rules(runbook(mode=Mode.AUTO), public_url="https://unstick.example.com"), once).until(300)
    assert (asked.phase, asked.started) == (Phase.ASKED, []), "from `for` on, and restarted after 228 s"
    assert 328.0 <= asked.until(600).started[0] <= 390.0


def test_what_could_not_be_noted_before_counts_for_the_restart_that_is_decided_now():
    """The history could not be read until this very step."""
    first = Play(jobs(150.0, 150.0)).until(490)
    first.at = NOW + 500.0
    first.take(alerted(case(book=runbook(mode=Mode.OBSERVE), starts_at=first.at), incident="inc-8"), first.at)
    learned = first.document
    assert len(learned.stalls[MAIL.key].stalls) == 1
    assert [one.ended_at is not None for one in learned.standstills] == [True]
    play = Play(jobs(150.0, 150.0, 150.0), rules(runbook(mode=Mode.AUTO)), replace(learned, incident=None))
    play.at = NOW + 595.0
    play.take(alerted(case(book=runbook(mode=Mode.AUTO), starts_at=play.at), incident="inc-9"), play.at)
    assert play.started == []


def test_after_a_needless_restart_people_are_asked_until_one_such_stall_was_seen():
    doubted = Document("mail-key", stalls={MAIL.key: QueueStalls(NOW, (), (HELD,))})
    auto = rules(runbook(mode=Mode.AUTO), public_url="https://unstick.example.com")
    asks = Play(jobs(150.0, 150.0), auto, doubted).until(190)
    assert (asks.started, asks.phase) == ([], Phase.ASKED)
    assert asks.until(420).document.stalls[MAIL.key].doubted == ()


def test_sixteen_short_stalls_do_not_push_out_the_nightly_one():
    nightly = Stall(GONE, NOW - 80000.0, 7200.0)
    before = Document("mail-key", stalls={MAIL.key: QueueStalls(NOW - 90000.0, (nightly,))})
    queue = working()
    for number in range(20):
        then(then(queue, 100.0 + 200.0 * number), 180.0 + 200.0 * number, worker(f"n{number}"))
    play = Play(queue, document=before).until(4200)
    assert play.learned == [(GONE, 7200), *[(GONE, 80)] * 15]


def test_one_stall_after_the_other_counts_twice_and_two_at_once_do_not():
    """When a stall began and ended is known to ten seconds: of two jobs without a pause, the second seems to begin too early."""
    learned = QueueStalls(NOW)
    for began_s, lasted_s in ((0.0, 150.0), (144.0, 155.0), (200.0, 90.0)):
        learned = add_stall(learned, Stall(HELD, NOW + began_s + lasted_s, lasted_s))
    assert [stall.lasted_s for stall in learned.of_kind(HELD)] == [155.0, 150.0]


def test_what_a_person_confirms_counts_at_once_and_waits_until_it_ends():
    """It works on purpose: nobody is asked about it again while it lasts, and its full length counts."""
    asks = rules(runbook(mode=Mode.APPROVE), public_url="https://unstick.example.com")
    play = Play(jobs(400.0, 400.0, window=9, publish=0.0), asks).until(220)
    assert (play.phase, play.document.incident.reason) == (Phase.ASKED, Reason.LIKELY_STUCK)
    play.take(Declined(play.document.incident.approval.nonce, "ann", on_purpose=True), play.at)
    play.until(800)
    assert [stall.confirmed for stall in play.document.stalls[MAIL.key].stalls] == [True]
    assert play.until(1000).phase is not Phase.ASKED


def test_who_only_declines_a_restart_teaches_nothing():
    """Nothing was said of the application, and what is proved to hang can't be on purpose."""
    whole_week = Freeze(frozenset(range(7)), 0, 86400, "always")
    book = runbook(mode=Mode.AUTO, freeze=(whole_week,))
    play = Play(jobs(400.0), rules(book, public_url="https://unstick.example.com")).until(200)
    assert play.document.incident.reason is Reason.FROZEN
    play.take(Declined(play.document.incident.approval.nonce, "ann", on_purpose=True), play.at)
    assert [stall.confirmed for stall in play.until(780).document.stalls[MAIL.key].stalls] == [False]


def test_figures_of_different_ages_are_no_purge():
    """At one message a second: what was published was 9 s old when it began, and what was acknowledged is 5 s old now."""
    ended = Standstill(MAIL, "mail", GONE, NOW - 90.0, NOW, NOW, left=-9, ended_at=NOW)
    counter = tuple((NOW + 60.0 - age, 995 - age) for age in range(60, -1, -5))
    flows = replace(snapshot(0, at=NOW + 60.0), published=1000, acks=995, ack_samples=counter)
    flows = replace(flows, history=replace(flows.history, publishes=counter))
    assert look_again(ended, flows) == ended
    assert look_again(replace(ended, left=-30), flows) is None, "a purge"


@pytest.mark.parametrize(
    ("held", "counted", "work", "ends"),
    [(3, 3, (3, 3, 3), False), (4, 3, (3, 3, 3), False), (3, 4, (3, 3, 4), False), (3, 3, (3, 3, 5), True)],
    ids=["as before", "held is newer", "its counters are newer", "one is done, and another came"],
)
def test_a_delivery_is_no_end(held, counted, work, ends):
    """What a channel holds and its counters are of different ages: one more delivered looked like one that was done."""
    before = Channel("c", held=3, counted=3, work=samples(3, 3, 3))
    began = Standstill(MAIL, "mail", HELD, NOW - 90.0, NOW, NOW, channel="c", work=3, done=0)
    assert look_again(began, replace(snapshot(9, at=NOW + 60.0), channels=(before,))).ended_at is None
    after = replace(snapshot(9, at=NOW + 60.0), channels=(Channel("c", held=held, counted=counted, work=samples(*work)),))
    caught_up = replace(after.channels[0], held=counted, work=samples(*work, *[work[-1]] * 3))
    later = replace(after, channels=(caught_up,))
    assert look_again(began, after).ended_at is None, "it may be a delivery"
    assert (look_again(began, later).ended_at is not None) == ends


def samples(*values: int) -> tuple[tuple[float, int], ...]:
    """The newest is of now."""
    return tuple((NOW + 60.0 - 5.0 * age, value) for age, value in zip(range(len(values))[::-1], values, strict=True))
