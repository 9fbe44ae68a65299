"""What is measured. Rounds are interleaved: in each, everybody does the same work, one after the other or in turns, so that a machine
that is busy for a while is so for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import fmean, median

from bench import wire
from bench.contenders import BARE, HASHING, REQUESTING, RULEBOOK, UNGUARDED, UNSTICK, WEBHOOK, Contender, Form, Running, start
from bench.measures import (
    ALERT,
    ANSWER,
    ANSWER_MANY,
    COLD_ALERT,
    COLD_ALERT_CPU,
    COLD_FORGED,
    COLD_FORGED_CPU,
    FETCHED_FORGED,
    FORGED,
    FORGED_CPU,
    FORGED_LARGE,
    MACHINE_ALERT,
    MACHINE_FORGED,
    PARALLEL_RESTARTS,
    PARALLEL_S,
    PSS_AFTER,
    PSS_REST,
    RATE_LARGE,
    RATE_SMALL,
    RSS_AFTER,
    RSS_REST,
    left_out,
)
from bench.samples import Samples
from bench.stage import MANY, SMALL_BYTES, Stage, many, one

DONE = (200, 202)
"""What a notification that was taken is answered."""

WARM_AFTER_S = 0.5
"""After its first answer a server may still do what it does at its start, as Unstick's scheduler does on one machine."""

WARM_STARTS = 3
"""Small forged requests are measured after each of them: the same server is up to a quarter slower after one start than after another."""

ENDED_S = 0.5
"""All have ended by then, and take no time from who is measured next."""

COLD_TURNS = 5
TURNS, TURN_REQUESTS = 20, 40
WARM_ALERTS, SLOW_ALERTS = 8, 1
RATE_S, SENDERS = 1.0, 2
PARALLEL, NOTIFICATIONS, TARGETS = 300, 1000, 50
START_S, ARRIVES_S = 60.0, 30.0

QUICK = (BARE, HASHING, REQUESTING, UNGUARDED, UNSTICK, WEBHOOK)


@contextmanager
def running(contender: Contender, stage: Stage, form: Form = Form.MACHINE) -> Iterator[Running]:
    """Started, and ended whatever happens."""
    stage.clear()
    made = start(contender, stage, form)
    try:
        yield made
    finally:
        made.tree.stop()


def cold(contenders: Sequence[Contender], stage: Stage, samples: Samples, *, turns: int = COLD_TURNS) -> None:
    """Cold starts, each kind in turns. The quickest counts: other guests of the machine only ever add time, up to half of it.

    Who has a form for the cloud starts cold in that one, and on one machine besides.
    """
    tries = Samples()
    for turn in range(turns):
        order = contenders[:: 1 if turn % 2 else -1]
        cloud = [contender for contender in order if contender.cloud]
        for contender in order:
            with running(contender, stage, contender.deployed) as server:
                _first_forged(server, tries, COLD_FORGED, COLD_FORGED_CPU)
        for form, measure in ((Form.MACHINE, MACHINE_FORGED), (Form.FETCHED, FETCHED_FORGED)):
            for contender in cloud:
                with running(contender, stage, form) as server:
                    _first_forged(server, tries, measure)
        for contender in order:
            if contender.restarts:
                with running(contender, stage, contender.deployed) as server:
                    _first_alert(server, stage, tries, COLD_ALERT, COLD_ALERT_CPU)
        for contender in cloud:
            with running(contender, stage) as server:
                _first_alert(server, stage, tries, MACHINE_ALERT)
    for (measure, name), values in tries.found.items():
        samples.add(measure, name, min(values))


def warm(contenders: Sequence[Contender], stage: Stage, samples: Samples) -> None:
    """What each answers once it has started. All run meanwhile and take turns at the small requests: their times differ less from
    each other than the same server's do from one minute to the next.
    """
    tries = Samples()
    for number in range(WARM_STARTS):
        with ExitStack() as stack:
            servers = [stack.enter_context(running(contender, stage)) for contender in contenders]
            for server in servers:
                _forged_once(server)
            time.sleep(WARM_AFTER_S)
            _forged(servers, tries)
            if number == 0:
                _others(servers, stage, samples)
        time.sleep(ENDED_S)
    for (measure, name), values in tries.found.items():
        if not left_out(measure, name):
            samples.add(measure, name, median(values) if measure == FORGED else fmean(values))


def _others(servers: Sequence[Running], stage: Stage, samples: Samples) -> None:
    for server in servers:
        stage.clear()
        _under_load(server, samples)
        if server.contender.restarts:
            _alerts(server, stage, samples)


def _forged_once(server: Running) -> wire.Exchange:
    contender = server.contender
    return wire.first(server.port, contender.message(one("forged"), forged=True), within_s=START_S).expected(contender.refusal)


def _first_forged(server: Running, samples: Samples, took: str, cpu: str = "") -> None:
    first = _forged_once(server)
    used_s = server.tree.cpu_s()
    samples.add(took, server.contender.name, first.answered_at - server.tree.began_at)
    if cpu:
        samples.add(cpu, server.contender.name, used_s)


def _first_alert(server: Running, stage: Stage, samples: Samples, took: str, cpu: str = "") -> None:
    contender = server.contender
    wire.first(server.port, contender.message(one(stage.service())), within_s=START_S).expected(*DONE)
    used_s = server.tree.cpu_s()
    samples.add(took, contender.name, stage.arrived_at(server.tree.began_at, within_s=ARRIVES_S) - server.tree.began_at)
    if cpu:
        samples.add(cpu, contender.name, used_s)


def _forged(servers: Sequence[Running], tries: Samples) -> None:
    for turn in range(TURNS):
        for server in servers[:: -1 if turn % 2 else 1]:
            name, sent = server.contender.name, server.contender.message(one("x", SMALL_BYTES), forged=True)
            before_s = server.tree.cpu_s()
            for _ in range(TURN_REQUESTS):
                tries.add(FORGED, name, _took_s(server, sent, server.contender.refusal))
            tries.add(FORGED_CPU, name, (server.tree.cpu_s() - before_s) / TURN_REQUESTS)


def _under_load(server: Running, samples: Samples) -> None:
    contender = server.contender
    small, large = (contender.message(body, forged=True) for body in (one("x", SMALL_BYTES), many(["x"] * MANY)))
    status = contender.refusal
    if not left_out(RATE_SMALL, contender.name):
        samples.add(RATE_SMALL, contender.name, wire.rate(server.port, small, status=status, for_s=RATE_S, connections=SENDERS))
    if not left_out(FORGED_LARGE, contender.name):
        samples.add(FORGED_LARGE, contender.name, median(_took_s(server, large, status) for _ in range(8)))
        samples.add(RATE_LARGE, contender.name, wire.rate(server.port, large, status=status, for_s=RATE_S, connections=SENDERS))


def _took_s(server: Running, sent: bytes, *statuses: int) -> float:
    return wire.exchange(server.port, sent).expected(*statuses).took_s


def _alerts(server: Running, stage: Stage, samples: Samples) -> None:
    contender, count = server.contender, SLOW_ALERTS if server.contender is RULEBOOK else WARM_ALERTS
    _to_rundeck(server, stage)
    samples.add(ALERT, contender.name, median(_to_rundeck(server, stage) for _ in range(count)))
    answers = [_took_s(server, contender.message(one(stage.service())), *DONE) for _ in range(count)]
    samples.add(ANSWER, contender.name, median(answers))
    if left_out(ANSWER_MANY, contender.name):
        return
    large = [contender.message(many([stage.service()] * MANY)) for _ in range(3)]
    samples.add(ANSWER_MANY, contender.name, median(_took_s(server, sent, *DONE) for sent in large))


def _to_rundeck(server: Running, stage: Stage) -> float:
    sent = wire.exchange(server.port, server.contender.message(one(stage.service()))).expected(*DONE)
    return max(0.0, stage.arrived_at(sent.sent_at, within_s=ARRIVES_S) - sent.sent_at)


# --- under load ----------------------------------------------------------------------------------------------------------


def parallel(contender: Contender, stage: Stage, samples: Samples) -> None:
    """300 senders with the same notification at the same moment, as when many Grafana replicas send theirs."""
    with running(contender, stage) as server:
        wire.first(server.port, contender.message(one(stage.service())), within_s=START_S).expected(*DONE)
        stage.arrived_at(0.0, within_s=ARRIVES_S)
        stage.clear()
        began_at = time.time()
        answers = wire.at_once(server.port, [contender.message(one(stage.service()))] * PARALLEL)
        samples.add(PARALLEL_S, contender.name, max(answer.expected(*DONE).answered_at for answer in answers) - began_at)
        _settled(stage)
        samples.add(PARALLEL_RESTARTS, contender.name, len(stage.rundeck.posts()))


def _settled(stage: Stage) -> None:
    """Wait until no more runs arrive: adnanh/webhook answers before its command has run."""
    seen = -1
    while seen != (seen := len(stage.rundeck.posts())):
        time.sleep(0.5)


def memory(contender: Contender, stage: Stage, samples: Samples) -> None:
    """At rest after the first answer, and after 1,000 notifications of 50 targets."""
    with running(contender, stage) as server:
        _forged_once(server)
        time.sleep(0.5)
        _weigh(server, samples, PSS_REST, RSS_REST)
        if left_out(PSS_AFTER, contender.name):
            return
        services = [stage.service() for _ in range(TARGETS)]
        for number in range(NOTIFICATIONS):
            if contender is not UNSTICK:
                stage.clear()  # they restart each time, and Rundeck's answers would grow without end
            wire.exchange(server.port, contender.message(one(services[number % TARGETS]))).expected(*DONE)
        _settled(stage)
        _weigh(server, samples, PSS_AFTER, RSS_AFTER)


def _weigh(server: Running, samples: Samples, pss: str, rss: str) -> None:
    found_pss, found_rss = server.tree.memory()
    samples.add(pss, server.contender.name, found_pss)
    samples.add(rss, server.contender.name, found_rss)
