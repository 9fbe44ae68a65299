"""A RabbitMQ that answers late, not in full or not at all: nothing is decided by chance, and people are told why."""

import time

import pytest

from functions.application import observe
from testbed.unstick_process import IN_AUTO, runbook
from tests.support.worlds.one_machine import Place

MINUTE = {"rabbitmq": IN_AUTO | {"for": "60s"}}


@pytest.fixture
def place(place: Place) -> Place:
    place.configured(runbook("mail", symptom=MINUTE), runbook("post", symptom=MINUTE))
    return place


def said(place: Place) -> str:
    """What people have read, on one line."""
    return " ".join(place.cards().split())


def all_delivered(place: Place) -> None:
    for payload in place.wake_ups():
        place.delivered(payload)


def test_a_slow_answer_decides_nothing_and_is_told_within_a_minute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve seconds for the queue's page: neither the stuck queue nor the healthy one is restarted by chance."""
    monkeypatch.setattr(observe, "LOOK_S", 3.0)
    place.rabbit.broken["page"] = 12.0
    healthy = place.rabbit.queue("post.delivery")
    healthy.history = [(time.time() - 3600 + n, 5, 1, n) for n in range(7200)]
    place.alerted("mail", "post")
    for _ in range(4):
        place.later(15.0)
        all_delivered(place)
    assert place.restarts() == 0
    assert "mail.delivery: the queue's page can't be read: 127.0.0.1 did not answer within" in said(place)


def test_why_the_queue_can_not_be_read_after_the_restart_is_told(place: Place) -> None:
    """With what to do about it."""
    place.alerted("mail")
    place.rabbit.users["unstick"].password = "another"
    place.later(3600.0)
    all_delivered(place)
    assert place.restarts() == 1
    cards = said(place)
    assert "the queue could not be read; mail.delivery: rabbitmq: the login failed" in cards
    assert "Check user and password" in cards
