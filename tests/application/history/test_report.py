"""The report from the store's archive and Rundeck's history to the chat, with the real adapters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from msgspec.structs import replace

from functions.adapters.chats import slack
from functions.application import reconcile
from functions.application.history import report
from functions.application.serialization import encode
from functions.bootstrap import Adapters
from functions.config.settings import Named, Report
from functions.domain.costs.model import MissingData
from functions.domain.model.codes import Ending
from functions.domain.model.events import TimerFired
from functions.domain.model.incidents import Archive, Document, Outcome
from functions.domain.model.unmatched import KEY, Unmatched, UnmatchedAlert
from functions.entrypoints import report_request
from functions.runtime.secrets import SecretRef
from functions.runtime.text import Text, in_language
from testbed.patience import wait_until
from tests.support.worlds.stuck_mail import StuckMail, stuck_mail

pytestmark = pytest.mark.usefixtures("patient_code")


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[StuckMail]:
    with stuck_mail(tmp_path, mode="auto") as stuck:
        yield stuck


def post(ports: Adapters) -> report.Reported:
    """Post it as the entry point does."""
    return report.post_report(ports, ports.config.report_channels, ports.config.report_days, time.time())


def archive(mail: StuckMail, record: Archive) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(record.outcome.at))
    mail.ports.store.archive(f"incidents/{day}/{record.incident.id}.json", encode(record), timeout_s=5)


def ended(mail: StuckMail, *, days_ago: float = 0.0, name: str = "") -> Archive:
    """The incident that is open in the store, as if it had ended so long ago."""
    document, incident = mail.document(), mail.incident()
    at = time.time() - days_ago * 86400
    execution = incident.execution
    if execution and days_ago:
        execution = replace(
            execution,
            id=f"9{execution.id}",
            tag=f"{name}.1",
            runner_started_at=at - 60,
            runner_ended_at=at - 30,
            status="succeeded",
        )
    incident = replace(incident, id=name or incident.id, execution=execution, began_at=at - 300)
    return Archive(document.target, incident, Outcome(incident.id, Ending.RECOVERED, None, at, incident.triggers, restarts=1))


def client(mail: StuckMail) -> Any:
    app = Flask("report-test")
    app.add_url_rule("/", "report", lambda: report_request.respond(request, mail.ports), methods=["GET", "POST", "PUT"])
    return app.test_client()


def all_ended(mail: StuckMail) -> bool:
    with mail.rundeck.state.lock:
        mail.rundeck.state.settle()
        return all(run.ended for run in mail.rundeck.state.runs.values())


def restarted(mail: StuckMail) -> None:
    """One restart by Unstick, archived; two by hand."""
    assert mail.alert().execution is not None
    archive(mail, ended(mail))
    for _ in range(2):
        wait_until(lambda: all_ended(mail))
        mail.rundeck.run_by_hand({"service": "mail-delivery"})
    mail.rundeck.run_by_hand({"service": "invoices"})


def test_it_counts_archive_and_history_and_posts(mail: StuckMail, capsys: pytest.CaptureFixture[str]) -> None:
    """Unstick's restart and those by hand are counted, those of another target are not; the card goes to `notify`."""
    restarted(mail)
    capsys.readouterr()
    reported = post(mail.ports)
    (spent,) = reported.cost.runbooks
    assert (spent.week.by_unstick, spent.week.by_hand, spent.week.recovered, spent.week.saved_minutes) == (1, 2, 1, 8.0)
    assert (reported.told, reported.failed) == (("console",), ())
    assert "Restarts in 7 days: 1 by Unstick, 2 by hand" in capsys.readouterr().out


def test_a_real_incident_gets_into_the_report(tmp_path: Path) -> None:
    """What flow archives is what the report reads: an incident that ends by itself is counted."""
    with stuck_mail(tmp_path, mode="approve") as mail:
        mail.alert()
        mail.change(expires_at=1.0, due=1.0)
        reconcile.advance(
            mail.ports, mail.document().key, TimerFired(), reconcile.Budget(mail.ports, mail.ports.monotonic() + 20)
        )
        (spent,) = report.compose(mail.ports, time.time(), 7)[0].runbooks
        assert (spent.week.held, spent.week.by_unstick) == (1, 0)


def test_people_who_restart_what_is_only_observed_are_counted(tmp_path: Path) -> None:
    """Mode observe archives nothing; the target's document still leads to its history."""
    with stuck_mail(tmp_path, mode="observe") as mail:
        mail.alert()
        mail.rundeck.run_by_hand({"service": "mail-delivery"})
        costs = report.compose(mail.ports, time.time(), 7)[0]
        assert [(one.runbook, one.month.by_hand) for one in costs.runbooks] == [("mail-delivery", 1)]
        assert MissingData.ARCHIVE_EMPTY in {gap.lack for gap in costs.gaps}


def test_suspicions_that_came_to_nothing_are_counted(mail: StuckMail) -> None:
    """Each target's document has their number, whether the target is known otherwise or not."""
    restarted(mail)
    stored = mail.ports.store.load(mail.document().key, timeout_s=5)
    assert stored is not None
    today = datetime.fromtimestamp(time.time(), mail.ports.rules.zone).strftime("%Y-%m-%d")
    counted = replace(mail.document(), passed={today: 38})
    mail.ports.store.save(counted.key, encode(counted), generation=stored.generation, due=counted.due, timeout_s=5)
    (spent,) = post(mail.ports).cost.runbooks
    assert spent.week.passed == 38


def test_weeks_are_counted_from_the_first_incident_of_the_present_run(mail: StuckMail) -> None:
    """Incidents before the month are no figures of it, but tell how long the bug has been there."""
    restarted(mail)
    for days in (400, 300, 100, 72, 55, 35, 29):
        archive(mail, ended(mail, days_ago=days, name=f"old{days}"))
    (spent,) = report.compose(mail.ports, time.time(), 7)[0].runbooks
    assert (spent.month.by_unstick, spent.weeks_open) == (2, 14)


def test_what_is_broken_is_left_out_and_said(mail: StuckMail) -> None:
    """A garbled record and one of a newer release are counted as unread; the rest is shown."""
    restarted(mail)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    mail.ports.store.archive(f"incidents/{day}/x.json", b"garbage", timeout_s=5)
    mail.ports.store.archive(f"incidents/{day}/y.json", b'{"version": 99}', timeout_s=5)
    costs = report.compose(mail.ports, time.time(), 7)[0]
    assert [gap.count for gap in costs.gaps if gap.lack is MissingData.ARCHIVE_BROKEN] == [2]
    assert costs.runbooks[0].week.by_unstick == 1


def test_without_rundeck_the_archive_still_counts(mail: StuckMail) -> None:
    """The history can't be read: said in the language of the report, and the figures of the archive are there."""
    restarted(mail)
    mail.rundeck.state.hides_rows = True
    costs = report.compose(mail.ports, time.time(), 7)[0]
    assert costs.runbooks[0].week.by_unstick == 1
    about = next(gap.about for gap in costs.gaps if gap.lack is MissingData.HISTORY_UNREAD)
    assert str(about).startswith("service=mail-delivery: Rundeck")
    assert in_language("ja", about).startswith("service=mail-delivery：Rundeck：見えない実行があります")


def test_a_channel_that_is_down_is_named(mail: StuckMail) -> None:
    """The others are told; the answer is an error only where none was, so that the scheduler comes again."""
    down = Named("slack", slack.Slack(url=SecretRef("env://NOT_SET")))
    settings = replace(mail.ports.config, channels={**mail.ports.config.channels, "down": down})
    both = replace(settings, report=Report(("console", "down"), "week"))
    none = replace(settings, report=Report(("down",), "week"))
    reported = post(Adapters(both))
    assert (reported.told, reported.failed) == (("console",), ("down",))
    mail.ports = Adapters(none)
    assert client(mail).post("/").status_code == 503


def test_a_store_that_is_down_is_an_error_to_the_scheduler(mail: StuckMail, tmp_path: Path) -> None:
    """503, so that it comes again."""
    broken = replace(mail.ports.config.store.adapter, path=str(tmp_path))
    config = mail.ports.config
    mail.ports = Adapters(replace(config, store=replace(config.store, adapter=broken)))
    assert client(mail).post("/").status_code == 503


def test_a_target_that_needs_no_label_is_asked_for_without_any_alert(mail: StuckMail) -> None:
    """Its options are in the configuration, so its history can be read at once."""
    config = mail.ports.config
    book = config.rules.runbooks["mail-delivery"]
    fixed = replace(book, restart=replace(book.restart, options={"service": "mail-delivery"}, allow={}))
    mail.ports = Adapters(replace(config, runbooks=(fixed,)))
    mail.rundeck.run_by_hand({"service": "mail-delivery"})
    costs = report.compose(mail.ports, time.time(), 7)[0]
    assert [(one.runbook, one.month.by_hand) for one in costs.runbooks] == [("mail-delivery", 1)]
    assert MissingData.HISTORY_UNASKED not in {gap.lack for gap in costs.gaps}


def test_suspicions_without_a_runbook_are_reported(mail: StuckMail) -> None:
    """With what the closest runbook asks for, in the card and in the figures."""
    early = UnmatchedAlert("RabbitMQQueueMaybeStuck", "invoice_jobs", Text("no {label}", label="service"), 0.0, time.time())
    document = Document(KEY, unmatched=Unmatched({"one": early}))
    mail.ports.store.save(KEY, encode(document), generation=None, due=None, timeout_s=5)
    reported = post(mail.ports)
    assert ("Matched no runbook", "RabbitMQQueueMaybeStuck invoice_jobs: no service") in reported.card.facts
    assert [one["detail"] for one in report.as_json(reported.cost)["unmatched"]] == ["no service"]
