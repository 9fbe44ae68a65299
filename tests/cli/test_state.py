"""`status`, `pause`, `resume` and `report`: the store as people see and change it."""

import getpass
import json
import re
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import to_queue
from functions.application.documents import decode, encode
from functions.domain.model.alerts import NO_RUNBOOK_KEY, Target, TurnedAway
from functions.domain.model.codes import VERSION, Ending, Phase, Reason
from functions.domain.model.incidents import Archive, Document, Escalation, Incident, Outcome, QueueState
from functions.domain.model.observations import Pause
from functions.runtime.text import Text
from testbed.unstick_process import job_id, runbook
from tests.cli.conftest import Line
from tests.support.worlds.scenes import change
from unstick.output import local_time

NOW = time.time()
TARGET = Target("t-1", "http://127.0.0.1:1", job_id("mail-delivery"), {"service": "mail-delivery"})
INCIDENT = Incident(
    "20261125-010203-abcdef01",
    Phase.VERIFYING,
    NOW - 60,
    "mail-delivery",
    (QueueState(to_queue("/", "mail.delivery"), "mail-delivery", NOW),),
    (),
    due=NOW + 3600,
    restarts=1,
    reason=Reason.COOLDOWN,
)
OUTCOME = Outcome(INCIDENT.id, Ending.RECOVERED, None, NOW - 600, (), restarts=1)


@pytest.fixture
def here(here: Line) -> Line:
    """The store is there, as after the function's first alert."""
    here.saved(Document("closed"))
    return here


def opened(**changes: object) -> Document:
    return replace(Document("t-1", TARGET, INCIDENT, due=time.time() + 600), **changes)


def escalated(key: str, service: str) -> Document:
    target = replace(TARGET, key=key, options={"service": service})
    ended = replace(OUTCOME, ending=Ending.ESCALATED, channels=("console",))
    return Document(
        key, target, outcomes=(ended,), escalation=Escalation(ended.incident, "mail-delivery", NOW - 300, queues=INCIDENT.queues)
    )


def archived(here: Line, at: float, name: str) -> None:
    record = Archive(TARGET, replace(INCIDENT, id=name), replace(OUTCOME, incident=name, at=at))
    day = time.strftime("%Y-%m-%d", time.gmtime(at))
    here.ports.store.archive(f"incidents/{day}/{name}.json", encode(record), timeout_s=5)


def switch(here: Line) -> Pause:
    stored = here.ports.store.load("pause", timeout_s=5)
    assert stored is not None
    return decode(Pause, stored.body, "pause")


def test_what_is_under_way_with_its_phase_and_when_it_is_due(here: Line) -> None:
    """Normal, and so is nothing: code 0. One that nobody stepped is wrong: the scheduler or verify does not work."""
    status = here.json("status")
    assert (status["paused"], status["open"], status["recent"]) == (None, [], [])
    here.saved(opened())
    (one,) = here.json("status")["open"]
    assert (one["target"], one["phase"], one["reason"], one["restarts"]) == ("service=mail-delivery", "verifying", "cooldown", 1)
    shown = here.run("status", code=0).stdout
    assert ("service=mail-delivery" in shown, "due in " in shown) == (True, True)
    here.saved(replace(opened(due=NOW - 600), key="t-2"))
    assert "OVERDUE" in here.run("status", code=1).stdout


def test_what_is_only_observed_is_listed(here: Line) -> None:
    record = Archive(TARGET, INCIDENT, replace(OUTCOME, ending=Ending.HELD, reason=Reason.OBSERVE_ONLY, restarts=0, at=NOW))
    here.ports.store.archive(time.strftime("incidents/%Y-%m-%d/observed.json", time.gmtime(NOW)), encode(record), timeout_s=5)
    assert "would have been restarted" in " ".join(here.run("status", code=0).stdout.split())


def test_recent_incidents_newest_first(here: Line) -> None:
    """From the archive, as many and as far back as asked for; times are in the configured zone, as in the chat, named once."""
    here.configured(time_zone="Asia/Tokyo")
    for age_days, name in ((1, "first"), (2, "second"), (20, "long-ago")):
        archived(here, NOW - age_days * 86400, name)
    assert [one["incident"] for one in here.json("status")["recent"]] == ["first", "second"]
    assert [one["incident"] for one in here.json("status", "--days", "30", "--last", "1")["recent"]] == ["first"]
    shown = here.run("status", code=0).stdout
    assert shown.count("Asia/Tokyo") == 1
    assert datetime.fromtimestamp(NOW - 86400, ZoneInfo("Asia/Tokyo")).strftime("%Y-%m-%d %H:%M:%S") in shown


def test_when_each_runbook_last_matched_and_what_matched_none(here: Line) -> None:
    """A renamed rule shows in the first, a suspicion that lacks a label in the second: the newest, and how many more."""
    here.configured(runbook("mail-delivery", mode="observe"), runbook("invoices", mode="observe"))
    now = time.time()
    here.saved(Document("t-1", matched={"mail-delivery": now - 7200.0}))
    here.saved(Document("t-2", matched={"mail-delivery": now - 90000.0}))
    early = {"ancient": now - 8 * 86400.0, "old": now - 90000.0, "RabbitMQQueueMaybeStuck invoice_jobs": now}
    detail = Text("the runbooks look at {labels}", labels="x")
    here.saved(Document(NO_RUNBOOK_KEY, turned_away=TurnedAway(early, detail=detail)))
    shown = " ".join(here.run("status", code=0).stdout.split())
    assert "mail-delivery 2 h 0 min ago invoices never" in shown
    assert re.search("RabbitMQQueueMaybeStuck invoice_jobs matched no runbook, [0-9 a-z]* ago; nor did 1 more", shown)
    assert "the runbooks look at x" in shown
    as_json = here.json("status")
    assert as_json["last_matched"] == {"mail-delivery": now - 7200.0, "invoices": None}
    assert [one["alert"] for one in as_json["unmatched"]] == ["RabbitMQQueueMaybeStuck invoice_jobs", "old"]


def test_what_can_not_be_read_is_named_not_fatal(here: Line) -> None:
    """After a rollback the others are shown, and the newer ones with what to do about them; so are broken records."""
    here.saved(opened())
    newer = json.loads(encode(opened())) | {"key": "t-2", "version": VERSION + 1, "incident": 7}
    here.write("t-2", json.dumps(newer).encode())
    here.write("t-3", b"{broken")
    archived(here, NOW - 60, "whole")
    here.ports.store.archive(time.strftime("incidents/%Y-%m-%d/broken.json", time.gmtime(NOW)), b"{", timeout_s=5)
    status = here.json("status", code=1)
    assert len(status["open"]) == 1
    assert ([one["incident"] for one in status["recent"]], len(status["archive_unreadable"])) == (["whole"], 1)
    said = {one["document"]: one for one in status["unreadable"]}
    assert "newer release" in said["t-2"]["detail"]
    assert "Deploy the newer release" in said["t-2"]["remedy"]
    assert "can't be read" in said["t-3"]["detail"]
    assert "newer release" in here.run("status", code=1).stdout


def test_a_store_that_is_not_there_is_not_made(here: Line, tmp_path: Path) -> None:
    """A relative path from another folder must not make an empty file and call it well."""
    missing = tmp_path / "elsewhere" / "unstick.db"
    here.configured(store={"local": {"path": str(missing)}})
    assert f"{missing} does not exist" in here.run("status", code=1).stderr
    assert "does not exist" in here.run("pause", "--reason", "x", code=1).stderr
    assert not missing.exists()


def test_pause_and_resume(here: Line) -> None:
    """The switch is in the store with reason and name, is announced, shows in the status, and can be taken back."""
    paused = here.run("pause", "--reason", "broker upgrade", "--by", "h.tanaka", code=0)
    assert "sent to console" in paused.stdout
    assert "restarts nothing" in paused.stderr
    assert here.json("status", code=1)["paused"]["reason"] == "broker upgrade"
    assert "It was already paused: broker upgrade (h.tanaka)" in here.run("pause", "--reason", "second", code=0).stdout
    resumed = here.run("resume", "--by", "h.tanaka", code=0)
    assert "second (" in resumed.stdout
    assert "no longer paused" in resumed.stderr
    assert switch(here).on is False
    again = here.run("resume", code=0)
    assert ("not paused" in again.stdout, again.stderr) == (True, ""), "nobody is told"


def test_as_json_the_card_is_elsewhere(here: Line) -> None:
    """The console's goes to stderr. Without `notify` at the top, the switch is posted to the runbooks' channels."""
    here.configured(notify=[])
    paused = here.json("pause", "--reason", "x", "--by", "me")
    assert paused == {"paused": True, "reason": "x", "by": "me", "until": None, "was_paused": False, "told": {"console": ""}}
    resumed = here.json("resume", "--by", "you")
    assert (resumed["was_paused"], resumed["told"]) == (True, {"console": ""})


def test_a_chat_that_is_down_is_said_and_stops_nothing(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paused, and a target is free, whose message waits for the next wake-up. Code 1, and who was not told is named."""
    monkeypatch.setenv("CHAT_URL", "http://127.0.0.1:1/hook?key=k&token=t-e-l-l-t-a-l-e")
    chat = {"type": "google_chat", "url": "env://CHAT_URL"}
    here.configured(channels={"console": chat, "other": {"type": "console"}}, notify=["console", "other"])
    here.saved(escalated("t-1", "mail-delivery"))
    result = here.run("pause", "--reason", "x", code=1)
    assert switch(here).on is True
    assert "NOT SENT to console" in result.stderr
    assert "sent to other" in result.stdout
    assert "t-e-l-l-t-a-l-e" not in result.output
    assert "not sent yet to console" in here.run("resume", "--target", "t-1", code=1).stderr
    assert here.json("status", code=1)["open"][0]["to_tell"] == 1


@pytest.mark.parametrize("named", ["service=mail-delivery", "t-1", "mail-delivery"])
def test_an_escalated_target_is_freed_by_any_of_its_names(here: Line, named: str) -> None:
    """By key, name or option value; it is announced, and the next alert is decided as usual."""
    here.saved(escalated("t-1", "mail-delivery"))
    assert here.json("status", code=1)["escalated"][0]["target"] == "service=mail-delivery"
    result = here.run("resume", "--target", named, "--by", "h.tanaka", "--reason", "rolled back", code=0)
    assert "can be restarted again" in result.stdout
    assert "rolled back (h.tanaka)" in result.stderr
    assert here.json("status")["escalated"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume", "--target", "nobody"], "there is no target"),
        (["resume", "--target", "t-1"], "is not escalated"),
        (["ack", "mail-delivery"], "has no escalation to take"),
        (["approve", "mail-delivery"], "asks for no approval"),
    ],
)
def test_a_target_that_asks_for_nothing_of_the_kind(here: Line, arguments: list[str], said: str) -> None:
    """Code 2 with what to do."""
    here.saved(opened())
    assert said in here.run(*arguments, code=2).stderr


def test_a_name_of_two_targets_is_asked_back(here: Line) -> None:
    """Both keys are named; nothing is changed."""
    for key in ("t-1", "t-2"):
        here.saved(escalated(key, "mail-delivery"))
    shown = here.run("resume", "--target", "mail-delivery", code=2).stderr
    assert "t-1" in shown
    assert "t-2" in shown
    assert len(here.json("status", code=1)["escalated"]) == 2


def test_a_pause_for_a_time_ends_by_itself(here: Line) -> None:
    """Until then it works like any other pause; then it ends, and nobody has to resume."""
    here.run("pause", "--reason", "broker upgrade", "--for", "1h", "--by", "anna", code=0)
    kept = switch(here)
    assert kept.until == pytest.approx(time.time() + 3600, abs=60)
    ends = local_time(kept.until or 0.0, here.ports.rules)
    assert f"PAUSED until {ends} (in " in here.run("status", code=1).stdout
    here.write("pause", encode(replace(kept, until=time.time() - 1)))
    assert here.json("status", code=0)["paused"] is None


def handed_over(key: str, service: str) -> Document:
    """Escalated, and people are told again in a quarter of an hour."""
    waits = Escalation(INCIDENT.id, "mail-delivery", NOW - 300, due=NOW + 600, queues=INCIDENT.queues)
    return replace(escalated(key, service), escalation=waits, due=NOW + 600)


def test_an_escalation_is_taken_by_name_and_status_says_by_whom(here: Line) -> None:
    """Nobody is reminded of it any more; it stays escalated."""
    here.saved(handed_over("t-1", "mail-delivery"))
    shown = " ".join(here.run("status", code=1).stdout.split())
    assert re.search(r"service=mail-delivery t-1 \d+ min .*ago nobody → to take one: unstick ack NAME", shown)
    here.run("ack", "mail-delivery", "--by", "h.tanaka", code=0)
    (one,) = here.json("status", code=1)["escalated"]
    taken_by = f"h.tanaka (command line, user {getpass.getuser()})"
    assert (one["taken_by"], one["told_again"]) == (taken_by, 0)
    assert one["taken_at"] == pytest.approx(time.time(), abs=60)
    shown = " ".join(here.run("status", code=1).stdout.split())
    assert f"ago {taken_by} →" in shown
    assert "no open incidents" in shown
    assert f"{taken_by} has taken it" in here.run("ack", "mail-delivery", "--by", "anna", code=1).stderr


def asking(expires_at: float = NOW + 1800) -> Document:
    asked = change(INCIDENT, phase=Phase.ASKED, restarts=0, reason=Reason.AWAITING_APPROVAL, nonce="n0nce", expires_at=expires_at)
    return opened(incident=asked)


def test_a_person_on_the_machine_answers_without_buttons(here: Line) -> None:
    """By the target's name, and the chat hears who it was and why. `approvers` don't bind: whoever runs it could change the
    document itself, so what is recorded is the machine's user. A second answer finds nothing to answer."""
    here.configured({**runbook("mail-delivery"), "approvers": ["anna@example.com"]})
    here.saved(asking())
    shown = here.run("approve", "mail-delivery", "--decline", "--reason", "a deployment is under way", "--by", "anna", code=0)
    assert "DECLINED: service=mail-delivery: ended" in shown.stdout
    assert f"anna (command line, user {getpass.getuser()}) decided not to restart" in shown.stderr
    assert "a deployment is under way" in shown.stderr
    assert "asks for no approval" in here.run("approve", "mail-delivery", code=2).stderr


def test_an_approval_goes_on_to_the_restart(here: Line) -> None:
    """As the button does: it is decided again, and no longer waits for anybody, however old the link in the chat is."""
    here.saved(asking())
    assert here.json("approve", "mail-delivery", code=0)["phase"] != "asked"
    here.saved(replace(asking(expires_at=NOW - 1), key="t-2"))
    assert "APPROVED" in here.run("approve", "t-2", code=0).stdout


def test_the_report_is_posted_where_the_configuration_says(here: Line) -> None:
    """With --post as the weekly report does, and JSON stays JSON."""
    assert here.json("report", "--post")["told"] == ["console"]
