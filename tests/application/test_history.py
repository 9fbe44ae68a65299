"""Incidents are found for people whatever they are in, the archive's size costs nothing, and the report counts it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from msgspec.structs import replace

from functions.adapters.chats import slack
from functions.application import history
from functions.application.documents import archive_path, encode
from functions.application.history import find, read_newest
from functions.bootstrap import Adapters
from functions.config.settings import Named, Report
from functions.domain.model.codes import Ending, Phase
from functions.domain.model.incidents import Archive, Incident, Outcome
from functions.entrypoints import report_request
from functions.entrypoints.report_request import report_channels, report_days
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from tests.support.worlds.example_stories import INCIDENT, TARGET
from tests.support.worlds.memory import Memory
from tests.support.worlds.scenes import NOW
from tests.support.worlds.stuck_mail import StuckMail, stuck_mail

pytestmark = pytest.mark.usefixtures("patient_code")
DAY_S = 86400.0
READ_S = 20.0


@dataclass
class World(Memory):
    """An archive that is asked for its records by name. `read`: how many it was asked for."""

    read: int = 0

    def list_archive(self, *, since: str, timeout_s: float) -> list[str]:
        return sorted(path for path in self.archived if path >= f"incidents/{since}")

    def read_archived(self, path: str, *, timeout_s: float) -> bytes | None:
        self._call("read")
        self.read += 1
        return self.archived.get(path)

    def ended(self, name: str, days_ago: float = 0.0) -> str:
        outcome = Outcome(name, Ending.RECOVERED, None, NOW - days_ago * DAY_S, ())
        record = Archive(TARGET, replace(INCIDENT, id=name), outcome)
        self.archived[archive_path(record)] = encode(record)
        return archive_path(record)


@pytest.fixture
def world() -> Any:
    return World()


def test_an_archived_one_is_found_by_its_day_and_one_that_took_longer_by_its_name(world: Any):
    """Of a long archive only names are listed: one record is read, whichever it is."""
    day = time.strftime("%Y%m%d", time.gmtime(NOW - 20 * DAY_S))
    for n in range(50):
        world.ended(f"{day}-000000-other{n}", days_ago=n % 20)
    for name, days_ago in ((f"{day}-120000-soon", 20.0), (f"{day}-120000-late", 3.0)):
        world.ended(name, days_ago)
        world.read = 0
        found = find(world, name, READ_S)
        assert found is not None
        assert (found.incident.id, found.outcome.incident) == (name, name)
        assert world.read <= 5


def test_of_a_long_archive_only_the_newest_records_are_read(world: Any):
    """Newest first, of a year."""
    for n in range(60):
        world.ended(f"i-{n:02}", days_ago=30.0 * n)
    newest = read_newest(world, 10, READ_S)
    assert ([row.card.incident for row in newest.kept], newest.archived > newest.read) == ([f"i-{n:02}" for n in range(10)], True)
    assert world.read == 10
    every = read_newest(world, 100, READ_S)
    assert (len(every.kept), every.archived > every.read, every.broken) == (13, False, ())


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[StuckMail]:
    with stuck_mail(tmp_path, mode="auto") as stuck:
        yield stuck


def post(ports: Adapters) -> history.Reported:
    """Post it as the entry point does."""
    return history.post_report(ports, report_channels(ports.config), report_days(ports.config))


def archive(mail: StuckMail, *days_ago: float) -> None:
    """The incident that is open in the store, as if it had ended so long ago."""
    document, incident = mail.document(), mail.incident()
    for number, days in enumerate(days_ago):
        at, name = time.time() - days * DAY_S, f"{incident.id}-{number}"
        ended = replace(incident, id=name, began_at=at - 300, triggers=())
        record = Archive(document.target, ended, Outcome(name, Ending.RECOVERED, None, at, (), restarts=1))
        day = time.strftime("%Y-%m-%d", time.gmtime(at))
        mail.ports.store.archive(f"incidents/{day}/{name}.json", encode(record), timeout_s=5)


def client(mail: StuckMail) -> Any:
    app = Flask("report-test")
    app.add_url_rule("/", "report", lambda: report_request.respond(request, mail.ports), methods=["GET", "POST", "PUT"])
    return app.test_client()


def test_it_counts_the_archive_and_posts(mail: StuckMail, capsys: pytest.CaptureFixture[str]) -> None:
    """What the last two periods have, and nothing older; the card goes to `notify`."""
    mail.alert()
    archive(mail, 1, 8, 15)
    capsys.readouterr()
    answer = client(mail).post("/")
    assert (answer.status_code, answer.json["told"], answer.json["failed"]) == (200, ["console"], [])
    (runbook,) = answer.json["report"]["runbooks"]
    assert (runbook["runbook"], runbook["root_cause"]) == ("mail-delivery", "https://tracker.example.com/MAIL-123")
    assert [runbook[period]["incidents"] for period in ("now", "before")] == [1, 1]
    assert [runbook[period]["stuck_s"] for period in ("now", "before")] == pytest.approx([300, 300])
    assert "Stuck for 5 min in 7 days, 1 restart" in capsys.readouterr().out


def test_what_is_broken_is_left_out_and_said(mail: StuckMail) -> None:
    """A garbled record and one of a newer release are counted as unread; the rest is shown."""
    mail.alert()
    archive(mail, 0)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    mail.ports.store.archive(f"incidents/{day}/x.json", b"garbage", timeout_s=5)
    mail.ports.store.archive(f"incidents/{day}/y.json", b'{"version": 99}', timeout_s=5)
    reported = post(mail.ports)
    assert (reported.cost.now.incidents, reported.cost.broken) == (1, 2)
    assert "Only 1 of 3 archived incidents were read, so the figures are too low." in reported.card.text


def test_a_channel_that_is_down_is_named(mail: StuckMail) -> None:
    """The others are told; the answer is an error only where none was, so that the scheduler comes again."""
    down = Named("slack", slack.Slack(url=SecretRef("env://NOT_SET")))
    settings = replace(mail.ports.config, channels={**mail.ports.config.channels, "down": down})
    both = replace(settings, report=Report(("console", "down"), "week"))
    none = replace(settings, report=Report(("down",), "week"))
    reported = post(Adapters(both))
    assert (reported.as_json()["told"], reported.as_json()["failed"]) == (["console"], ["down"])
    mail.ports = Adapters(none)
    assert client(mail).post("/").status_code == 503


def library(days: int, a_day: int) -> World:
    """So many records of each of the last days, each of an incident that was stuck for a minute."""
    ports = World()
    for day in range(days):
        at = NOW - day * DAY_S
        one = Incident("inc-1", Phase.VERIFYING, at - 60, "mail", (), ())
        date = time.strftime("%Y-%m-%d", time.gmtime(at))
        body = encode(Archive(None, one, Outcome(one.id, Ending.RECOVERED, None, at, ())))
        ports.archived.update({f"incidents/{date}/{number:05}.json": body for number in range(a_day)})
    return ports


def test_a_large_archive_is_read_as_far_as_the_bound() -> None:
    """50,000 incidents in two months: the newest 10,000 are counted, and the card says that it was not all."""
    ports = library(days=50, a_day=1000)
    cost, card = history.compose_report(ports, 30)
    assert (cost.now.incidents, cost.read, cost.archived, ports.read) == (10_000, 10_000, 50_000, 10_000)
    assert card.text[0] == "Only 10,000 of 50,000 archived incidents were read, so the figures are too low."


def test_a_slow_store_ends_the_reading_in_time() -> None:
    """What was read until then is reported, the newest first."""
    ports = library(days=5, a_day=1000)

    def take_a_second(name: str) -> None:
        ports.clock += 1.0

    ports.before = take_a_second
    cost, card = history.compose_report(ports, 7)
    assert 0 < cost.read < 5000
    assert card.text[0].startswith(f"Only {cost.read:,} of 5,000 ")


@pytest.mark.parametrize("error", [Unavailable("store", "answered 503"), Denied("store", "answered 403")])
def test_a_record_that_the_store_refuses_is_an_error(error: Exception) -> None:
    """It is not one that is broken: nothing is posted, and the scheduler comes again."""
    ports = library(days=1, a_day=3)

    def refuse(name: str) -> None:
        if name == "read":
            raise error

    ports.before = refuse
    with pytest.raises(type(error)):
        history.compose_report(ports, 7)
