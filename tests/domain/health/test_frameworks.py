"""The strength of a verdict for what client libraries look like to a broker: 280 figures of real ones.

tests/recordings/rabbitmq/frameworks.jsonl has them: Celery, kombu, dramatiq, pika, aio-pika, FastStream, Spring, Go, Node, PHP
and Ruby on RabbitMQ 3.10, 4.0 and 4.3, at the moment when all counters of a channel that held something had been flat for 60 s.
`strength` is what the verdict table of docs/rabbitmq.md says of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.health.looks import Judgement, judge
from functions.domain.health.rows import Terms, Trust
from functions.domain.model.codes import Health
from functions.domain.model.observations import Channel, QueueHistory, QueueSnapshot, Samples
from functions.domain.model.runbooks import Symptom

RECORDED = Path(__file__).parents[2] / "recordings" / "rabbitmq" / "frameworks.jsonl"
FORMS = [json.loads(line) for line in RECORDED.read_text().splitlines()]
SYMPTOM, NOW, DAY_S = Symptom("rabbitmq"), 1_800_000_000.0, 86400.0
STRENGTHS = {Health.ILL: "proved", Health.LIKELY: "likely"}
LEFT = {
    *("celery-limited", "c54-limited"),  # a rate limit with a backlog
    "spring-retry",  # a retry that sleeps in the process
    "go-mixed-75",  # one long job among short ones
    *("celery-eta-limit-a", "celery-eta-20-a", "celery-q-eta-10-a"),  # a window that is full of countdowns
    "pika-lock-acked",  # a lock that was acknowledged once
    *("node-breaker", "spring-paused"),  # a circuit breaker
}
"""Healthy forms that look exactly like a hang while they last."""


def flat(value: int, since_s: int = 120) -> Samples:
    return tuple((NOW - age, value if age <= since_s else 0) for age in range(120, -1, -5))


def window_of(form: dict[str, Any]) -> int | None:
    """As the adapter reads it: the smaller limited one counts, and without the key of the channel's own nothing is known."""
    own = 0 if 0 in form["prefetch"] else sum(form["prefetch"])
    limited = [limit for limit in (own, form["global"] or 0) if limit]
    return min(limited) if limited else 0 if form["global"] is not None else None


def snapshot(form: dict[str, Any], flat_s: int = 120) -> QueueSnapshot:
    """The queue, of which nothing has moved for so long."""
    held, ready, acks = form.get("held", 0), form["ready"], form["acks"]
    deliveries = form.get("taken", form.get("deliveries", held + acks))
    history = QueueHistory(flat(ready), flat(held, flat_s), flat(deliveries, flat_s) if deliveries else ())
    seen = QueueSnapshot(NOW, held + ready, ready, held, consumers=0, acks=acks or None, deliveries=deliveries or None)
    seen = replace(seen, ack_samples=flat(acks) if acks else (), depth_samples=flat(held + ready, flat_s), history=history)
    if form["kind"] != "held":
        return replace(seen, nodes_up_s=DAY_S, polled=form["kind"] == "get")
    work = flat(held + 2 * acks, flat_s)
    channel = Channel("c (1)", "10.0.3.7", "worker", held, held, work, window=window_of(form), user="app")
    return replace(seen, consumers=1, active=1, channels=(channel,), users=("app",))


def strength_of(judged: Judgement) -> str:
    return STRENGTHS.get(judged.health, "no")


@pytest.mark.parametrize("form", FORMS, ids=[f"{form['form']}-{form['version']}" for form in FORMS])
def test_a_verdict_is_as_strong_as_the_table_says(form):
    """Held is not hung: it is proved only where the application could take no more, or takes none though others wait."""
    assert strength_of(judge(SYMPTOM, snapshot(form), Trust())) == form["strength"]
    if form["kind"] != "unattended":
        assert judge(SYMPTOM, snapshot(form, 55), Trust()).health not in (Health.ILL, Health.LIKELY), "not for all of `for`"


def test_only_what_no_rule_can_tell_from_a_hang_is_proved_of_healthy_applications():
    """I13: only a longer `for` tells them apart."""
    proved = [form for form in FORMS if form["truth"] == "healthy" and form["strength"] == "proved"]
    assert {form["form"] for form in proved} == LEFT
    assert all(judge(replace(SYMPTOM, for_s=3600.0), snapshot(form), Trust()).health is Health.UNSURE for form in proved)


@pytest.mark.parametrize("form", [form for form in FORMS if form["truth"] == "stuck" and form["strength"] == "likely"],
    ids=lambda form: f"{form['form']}-{form['version']}")  # fmt: skip
def test_what_is_only_likely_says_why(form):
    """With `keeps: never` it is proved. Of what was taken by basic.get no channel shows anything, so it stays likely."""
    judged, never = judge(SYMPTOM, snapshot(form), Trust()), judge(replace(SYMPTOM, keeps_nothing=True), snapshot(form), Trust())
    assert str(judged.against)
    assert never.health is (Health.ILL if form["kind"] == "held" else Health.LIKELY)


def test_what_waits_has_time_to_show_before_people_are_asked():
    """`for` and 20 s; with `keeps: never` it is proved after `for`."""
    kept, never = next(form for form in FORMS if form["form"] == "celery-q-eta-7-a"), replace(SYMPTOM, keeps_nothing=True)
    for seconds, health in ((60, Health.UNSURE), (75, Health.UNSURE), (80, Health.LIKELY)):
        assert judge(SYMPTOM, snapshot(kept, seconds), Trust()).health is health
    assert judge(never, snapshot(kept, 60), Trust()).health is Health.ILL
    assert judge(replace(never, for_s=60.5), snapshot(kept, 60), Trust()).health is Health.UNSURE


def test_another_user_s_channel_proves_nothing():
    """Who may consume the queue must not decide what is restarted."""
    full = snapshot(next(form for form in FORMS if form["form"] == "pika-select-all"))
    for users, one_host, health in (
        ((), False, Health.ILL),
        ((), True, Health.LIKELY),
        (("app",), True, Health.ILL),
        (("mail",), False, Health.LIKELY),
    ):
        judged = judge(replace(SYMPTOM, users=users), full, Trust(), Terms(one_host=one_host))
        assert judged.health is health, (users, one_host)
    stranger = replace((full.channels or ())[0], id="s (1)", user="reporting", host="10.0.9.9")
    both = replace(full, channels=(stranger, *(full.channels or ())), unacked=20)
    judged = judge(replace(SYMPTOM, users=("app",)), both, Trust())
    assert (judged.health, [one.host for one in judged.held_by]) == (Health.ILL, ["10.0.3.7"])
    alone = judge(replace(SYMPTOM, users=("app",)), replace(full, channels=(stranger,)), Trust())
    assert (alone.health, "reporting" in str(alone.against)) == (Health.LIKELY, True)
