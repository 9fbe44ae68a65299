"""Restarting only the host whose consumer hangs: the job gets its option, and nothing else depends on that."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from functions.domain.decisions.matching import find_only_host
from functions.domain.health.looks import Judgement
from functions.domain.model.codes import Health, Proof
from functions.domain.model.events import Start, StartResult
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Channel, Holder, QueueSnapshot
from functions.domain.model.runbooks import HolderOption, Restart, Rules, Symptom
from tests.support.worlds.scenes import (
    NEW,
    NOW,
    RUNNER_NOW,
    TARGET,
    alerted,
    execution,
    history_of,
    holding,
    moved,
    rules,
    runbook,
    seen,
    snapshot,
    woken,
)

QUEUE = {"vhost": "/", "queue": "mail"}
HOLDER = HolderOption("host", r"10\.0\.3\.[0-9]{1,3}")
ONE, OTHER, FOREIGN = Holder("10.0.3.7", "worker-1"), Holder("10.0.3.8", "worker-2"), Holder("192.168.0.1", "worker-3")


def limited(holder: HolderOption | None = HOLDER) -> Rules:
    """With the application's users, since a restart that is limited to a host needs them."""
    return rules(runbook(restart=Restart("job-1", holder=holder), symptom=Symptom("rabbitmq", QUEUE, users=("app",))))


def own(mail: QueueSnapshot) -> QueueSnapshot:
    """Held by channels of the application's user."""
    return replace(mail, channels=tuple(replace(one, user="app") for one in mail.channels or ()))


def ordered(*holders: Holder, holder: HolderOption | None = HOLDER) -> tuple[Document, Start]:
    """The order to start for one queue whose messages these hold; without any, messages wait that nobody takes."""
    mail = own(holding(*holders)) if holders else snapshot()
    result = moved(Document("key"), alerted(), seen(mail=mail), with_rules=limited(holder))
    (start,) = (act for act in result.acts if isinstance(act, Start))
    return result.document, start


def stuck(*hosts: str, health: Health = Health.ILL) -> Judgement:
    return Judgement(health, "why", Proof.FULL, tuple(Channel(f"{host} ({n})", host) for n, host in enumerate(hosts)))


@pytest.mark.parametrize(
    ("judged", "host"),
    [
        ([stuck("10.0.3.7")], "10.0.3.7"),
        ([stuck("10.0.3.7", "10.0.3.7")], "10.0.3.7"),
        ([stuck("10.0.3.7"), stuck("10.0.3.7")], "10.0.3.7"),
        ([stuck("10.0.3.7"), Judgement(Health.WELL, "")], "10.0.3.7"),
        ([stuck("10.0.3.7"), stuck("10.0.3.8", health=Health.UNSURE)], "10.0.3.7"),
        ([stuck("10.0.3.7", "10.0.3.8")], ""),
        ([stuck("10.0.3.7"), stuck("10.0.3.8")], ""),
        ([stuck("10.0.3.7"), Judgement(Health.ILL, "", Proof.GONE)], ""),
        ([Judgement(Health.ILL, "", Proof.FULL)], ""),
        ([stuck("")], ""),
        ([stuck("10.0.3.1234")], ""),
        ([stuck("10.0.3.7\n")], ""),
        ([stuck("x" * 1025)], ""),
        ([], ""),
    ],
)
def test_only_what_a_single_host_explains_is_limited_to_it(judged, host):
    """A queue that nobody consumes, or a second host, needs the whole application."""
    assert find_only_host(replace(HOLDER, allow=r"10\.0\.3\.[0-9]{1,3}|x+|"), judged) == host
    assert find_only_host(None, judged) == ""


@pytest.mark.parametrize(
    ("holders", "holder", "options", "host"),
    [
        ([ONE], HOLDER, {"host": "10.0.3.7"}, "10.0.3.7"),
        ([ONE], None, {}, ""),
        ([ONE, OTHER], HOLDER, {}, ""),
        ([FOREIGN], HOLDER, {}, ""),
        (None, HOLDER, {}, ""),
    ],
)
def test_the_start_has_the_host_beside_the_target_s_options(holders, holder, options, host):
    """The target stays what it was; only that its runs may have the option is noted with it."""
    document, start = ordered(*holders or (), holder=holder)
    assert start == Start("inc-1.1", RUNNER_NOW + 30.0, 30.0, options)
    assert document.incident is not None
    assert document.incident.run.holder_host == host
    assert document.target == replace(TARGET, holder="host" if holder else "")


def test_the_card_and_the_archive_say_which_host_was_restarted():
    """People read it when it starts, when it recovered, and for each attempt when it did not help."""
    document, _ = ordered(ONE)
    running = execution(9, started=1.0, ended=None, tag="inc-1.1")
    started = moved(document, StartResult("inc-1.1", running), seen(mail=own(holding(ONE))), with_rules=limited())
    (card,) = (message.card for message in started.document.to_tell if message.channel == "ops")
    assert "restarting the application on 10.0.3.7 and nowhere else" in card.text[0]
    assert dict(card.facts)["Restart"].endswith("only on 10.0.3.7")
    ended = replace(running, status="succeeded", runner_ended_at=RUNNER_NOW + 5.0)
    result = started
    for after_s in (25.0, 45.0, 65.0):
        what = seen(
            now=NOW + after_s,
            mail=snapshot(0, at=NOW + after_s, ids=NEW),
            history=replace(history_of(ended, now=NOW + after_s), followed=ended),
        )
        result = woken(replace(result.document, to_tell=()), NOW + after_s, what, with_rules=limited())
        if result.document.incident is None:
            break
    (record,) = result.document.to_archive
    assert record.incident.run.holder_host == "10.0.3.7"
    assert dict(result.document.to_tell[0].card.facts)["Restart"].endswith("only on 10.0.3.7")


def test_the_second_attempt_goes_to_all_hosts_if_the_first_failed():
    """An address that is no node's hostname matches no node: the same again would fail again, and the application stay stuck."""
    document, start = ordered(ONE)
    assert start.options == {"host": "10.0.3.7"}
    running = execution(9, started=1.0, ended=None, tag="inc-1.1")
    document = moved(document, StartResult("inc-1.1", running), seen(mail=own(holding(ONE))), with_rules=limited()).document
    failed = replace(running, status="failed", runner_ended_at=RUNNER_NOW + 2.0)
    starts: list[Start] = []
    for after_s in range(20, 400, 20):
        history = replace(history_of(failed, now=NOW + after_s), followed=failed)
        what = seen(now=NOW + after_s, mail=own(holding(ONE, at=NOW + after_s)), history=history)
        result = woken(replace(document, to_tell=()), NOW + after_s, what, with_rules=limited())
        document, starts = result.document, [act for act in result.acts if isinstance(act, Start)]
        if starts or document.incident is None:
            break
    assert [one.options for one in starts] == [{}]
    assert document.incident is not None
    assert document.incident.run.holder_host == ""
