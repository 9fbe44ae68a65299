"""What pages add to cards: the card of an incident as it stands, the list's order, the timeline, the curve."""

import re
from typing import Any

import pytest
from msgspec.structs import replace

from functions.domain.cards import card, facts, incident
from functions.domain.cards.incident import Curve, Record, draw_curve, find_starts, sort_rows, tell, to_card_input, to_row
from functions.domain.model.cards import Card
from functions.domain.model.codes import Ending, Phase, Reason, Verdict
from functions.domain.model.incidents import (
    STUCK,
    AfterRestart,
    Escalation,
    Evidence,
    EvidenceRun,
    HistoryEntry,
    Outcome,
    PastAttempt,
)
from functions.domain.model.observations import Execution, QueueSnapshot
from tests.support.worlds.example_stories import EVIDENCE, EXAMPLES, HUNG, LONG, NASTY, NOW, TARGET, hostile, rules
from tests.support.worlds.scenes import change

HOUR_S = 3600.0
STORIES = {name: card_input for name, card_input in EXAMPLES.items() if card_input.incident is not None}
TAKEN = Escalation("i", "mail-delivery", NOW, taken_by="h.tanaka", taken_at=NOW + 60)


def known(name: str, ending: Ending | None = None, reason: Reason | None = None, **changes: Any) -> Record:
    """The incident of a card of the gallery, open or ended."""
    incident = change(EXAMPLES[name].incident, **{"id": "i", "nonce": "never-shown", **changes})
    return Record(TARGET, incident, Outcome(incident.id, ending, reason, NOW, incident.triggers) if ending else None)


def compose(shown: Record, later_s: float = 60.0, language: str = "en") -> Card:
    in_language = rules(language)
    return card.compose(to_card_input(shown, in_language, NOW + later_s), in_language)


@pytest.mark.parametrize(
    ("shown", "later_s", "headline"),
    [
        (known("started", phase=Phase.DEFERRED, execution=None), 0,
            "No action yet: mail-delivery: there was no time to decide; the next step decides"),
        (known("started", phase=Phase.COLLECTING, execution=None), 0, "No action yet: mail-delivery: collects evidence first"),
        (known("started", phase=Phase.RUNNING), 0, "No action yet: Restarting mail-delivery (attempt 1 of 2)"),
        (known("held-awaiting-approval", phase=Phase.ASKED), 0, "ACT NOW: mail-delivery is stuck: approve a restart?"),
        (known("held-observe-only", Ending.HELD, Reason.OBSERVE_ONLY), 0,
            "Ended: mail-delivery is stuck; Unstick only observes and would have restarted it"),
        (known("recovered", Ending.RECOVERED), 1e6, "No action needed: mail-delivery recovered in 6 min 52 s"),
        (known("escalated", Ending.ESCALATED), 60, "Ended: mail-delivery is still stuck after 2 restarts"),
        (replace(known("escalated", Ending.ESCALATED), escalation=replace(TAKEN, taken_by="")), 20 * HOUR_S,
            "ACT NOW: mail-delivery is still stuck after 2 restarts"),
        (replace(known("escalated", Ending.ESCALATED), escalation=TAKEN), 60, "Taken: h.tanaka is working on mail-delivery"),
        (known("held-awaiting-approval", Ending.HELD, Reason.AWAITING_APPROVAL), 60,
            "Ended: mail-delivery was not restarted: nobody answered for a day"),
        (known("held-overrule", Ending.HELD, Reason.PAUSED), HOUR_S + 1,
            "Ended: mail-delivery was not restarted: Unstick is paused"),
        (known("declined", Ending.HELD, Reason.DECLINED), 60, "Ended: h.tanaka decided not to restart mail-delivery"),
    ],
)  # fmt: skip
def test_the_card_says_how_it_stands_or_how_it_ended(shown: Record, later_s: float, headline: str):
    """What is no longer urgent doesn't call anybody; what people still have to deal with does."""
    composed = compose(shown, later_s)
    assert composed.headline == headline
    assert ("Check first whether it still applies." in " ".join(composed.text)) is headline.startswith("Ended")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("ending", [None, *Ending])
def test_each_story_has_a_page(name: str, ending: Ending | None, language: str):
    """Whatever it is and however it ended."""
    assert compose(known(name, ending, STORIES[name].reason), language=language).headline


def test_what_burns_is_on_top_of_the_list():
    """What calls people, open or escalated; then what goes on; then ended, the newest of each first; each incident once."""
    stands = replace(known("escalated", Ending.ESCALATED, id="stands"), escalation=replace(TAKEN, incident="stands", taken_by=""))
    former = known("recovered", Ending.RECOVERED, id="former")
    former = replace(former, outcome=replace(former.outcome, at=NOW - 9))
    shown = (
        former,
        known("recovered", Ending.RECOVERED, id="recovered"),
        known("escalated", Ending.ESCALATED, id="over"),
        stands,
        known("started", id="running"),
        known("held-awaiting-approval", id="asks", phase=Phase.ASKED),
    )
    before = known("recovered", id="recovered")  # read before it ended
    rows = sort_rows(to_row(one, rules(), NOW + 60) for one in (before, *shown))
    assert [row.card.incident for row in rows[:2]] == ["asks", "stands"]
    assert [row.card.incident for row in rows[2:]] == ["running", "over", "recovered", "former"]
    assert [row.card.urgency for row in rows] == ["act", "act", "watch", "over", "fine", "fine"]
    assert [(row.restarts, row.failed) for row in rows] == [(0, 0), (2, 0), (1, 0), (2, 0), (1, 0), (1, 0)]


def test_the_timeline_has_everything_by_our_clock():
    """What the runner's clock says is converted."""
    (trigger,), (queue,) = EXAMPLES["escalated"].incident.triggers, EXAMPLES["escalated"].incident.queues
    before = QueueSnapshot(NOW - 157, 7, 5, 2, 1)
    after = AfterRestart(4, verdict=Verdict.STUCK, looked_at=NOW - 38)
    mine = Execution("51", "https://rundeck.example.com/51", "failed", NOW - 148, NOW - 118, tag="i.1")
    theirs = Execution("49", "javascript:alert(1)", "aborted", NOW - 98, NOW - 58, user="anna")
    other = Execution("47", "", "failed", NOW - 109, NOW - 108, tag="i.2")
    incident = change(
        EXAMPLES["escalated"].incident,
        triggers=(
            replace(trigger, resolved_at=NOW - 5, starts_at=NOW - 300, links={"dashboard": "https://grafana.example.com/d"}),
        ),
        queues=(replace(queue, before=before, after=after),),
        history=(HistoryEntry(NOW - 280, Phase.STARTING, Reason.COOLDOWN, "restarted 4 min ago", 3),),
        evidence=Evidence(
            asked_at=NOW - 270,
            runs=(EvidenceRun("t", execution=Execution("50", "", "succeeded", NOW - 268, NOW - 258)),),
            lines=("x",),
        ),
        tries=(PastAttempt("i.1", mine, STUCK), PastAttempt("i.2", other, STUCK), PastAttempt("i.3", None, STUCK)),
        execution=theirs,
        tail=("end",),
        approved_by="bert",
    )
    shown = [
        (entry.at - NOW, entry.kind, str(entry.text), entry.link.rpartition("/")[2], entry.lines)
        for entry in tell(incident, Outcome("i", Ending.ESCALATED, Reason.FAILING, NOW - 5, ()))
    ]
    assert shown == [
        (-300, "alert",
            "RabbitMQQueueMaybeStuck fires: 356 messages stand still in mail.outgoing", "d", ()),
        (-280, "decision", "restarts: attempt 3: it was restarted recently (restarted 4 min ago)", "", ()),
        (-260, "evidence", "execution 50: succeeded", "", ("x",)),
        (-157, "check", "mail.outgoing: 7 messages, 2 unacknowledged, 1 consumer", "", ()),
        (-150, "restart", "execution 51 started", "51", ()),
        (-120, "restart", "execution 51: failed after 30 s", "51", ()),
        (-111, "restart", "execution 47 started", "", ()),
        (-110, "restart", "execution 47: failed after 1 s", "", ()),
        (-100, "restart", "execution 49 started (started by anna)", "", ()),
        (-60, "restart", "execution 49: aborted after 40 s", "", ("end",)),
        (-40, "verdict", "mail.outgoing: still stuck (4 messages, 1 consumer)", "", ()),
        (-5, "alert", "RabbitMQQueueMaybeStuck is resolved", "", ()),
        (-5, "outcome", "a person is needed; the restart job keeps failing; approved by bert", "", ()),
    ]  # fmt: skip
    late = replace(mine, runner_started_at=None)
    late_only = change(incident, triggers=(), queues=(), history=(), evidence=None, tries=(), execution=late)
    assert [str(one.text) for one in tell(late_only)] == ["execution 51: failed after 0 s"]


@pytest.mark.parametrize("name", ["held-awaiting-approval", "escalated"])
def test_hostile_texts_break_no_page(name: str):
    """They are cut and cleaned as on cards; no link but a plain web address is left."""
    card_input = hostile(EXAMPLES[name])
    incident = card_input.incident
    assert incident is not None
    few = {"triggers": incident.triggers[:3], "queues": incident.queues[:2], "tries": incident.tries[:2]}
    shown = Record(card_input.target, replace(incident, **few))
    composed, entries = compose(shown), tell(shown.incident)
    urls = (*(url for _, url in composed.links), *(entry.link for entry in entries))
    assert all(url.startswith("https://") for url in urls if url)
    assert NASTY not in str((composed, entries))


def test_the_curve_marks_each_restart():
    """All points are inside the picture; fewer than two samples are no curve."""
    incident = known("escalated").incident
    depths = incident.queues[0].curve
    drawn = draw_curve(Curve(depths, find_starts(incident)), (560, 120))
    (points,) = re.findall('class="area"[^>]* points="([^"]+)"', drawn)
    xs, ys = zip(*(map(float, point.split(",")) for point in points.split()), strict=True)
    assert (min(xs), max(xs), min(ys) >= 0, max(ys)) == (0, 560, True, 120)
    assert drawn.count('class="mark"') == 2
    assert str(facts.say_curve(depths)) == "224 → 615 (peak 615) in 8 min 9 s"
    assert {draw_curve(Curve(few)) or facts.to_bars(few) or facts.say_curve(few) for few in ((), depths[:1])} == {""}


def ticket_of(told: Record, text: str = "", **changes: Any) -> str:
    """Its ticket, with this place in its evidence."""
    places = (replace(EVIDENCE.places[0], text=text),) if text else EVIDENCE.places
    evidence = replace(EVIDENCE, places=places, **changes)
    return incident.write_ticket(replace(told, incident=replace(told.incident, evidence=evidence)), rules(), NOW)


def test_the_ticket_is_for_the_developers():
    """What hangs where, what was measured, how often and since when, what certainly helps, and the stack."""
    proved = "Proved: a consumer holds as many messages as it may, and does nothing with them"
    assert ticket_of(replace(known("recovered-one", Ending.RECOVERED), outcomes=HUNG)).splitlines() == [
        "# `service=mail-delivery` hangs at `mail_worker.py deliver, waits for 10.0.3.9:25`",
        f"- On `10.0.3.7`: `{EVIDENCE.places[0].text}`",
        f"- Measured: `Queue: mail.outgoing: 1 → 0 messages, 3 consumers; {proved}; Firing for: 1 min 36 s`",
        "- 7 of 8 incidents hung there, the first on 2026-11-17; this one is `i`",
        "- To do: give this call a time limit, `smtplib.SMTP(timeout=...)`",
        *("```", *(line.strip() for line in EVIDENCE.lines), "```"),
    ]
    assert incident.write_ticket(known("started"), rules(), NOW) == "", "no place is known"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("in psycopg.Connection.execute, waits for [2001:db8::1]:5432", ["connect(options='-c statement_timeout=...')"]),
        ("in java.net.Socket$SocketInputStream.read, waits for 10.0.3.9:1", ["setSoTimeout(...)"]),
        ("in requests.get, waits for 10.0.3.9:80, again and again", []),
        ("in threading.Lock.acquire, waits for a lock", []),
        ("waits for CPU, moving", []),
    ],
)
def test_the_ticket_advises_what_is_certain(text: str, limit: list[str]):
    """Where the library's parameter is known, and one call waited; never how to leave a loop or a deadlock."""
    ticket = ticket_of(known("recovered-one"), f"a.py, b, line 1, {text}")
    assert re.findall("give this call a time limit, `(.*)`$", ticket, re.MULTILINE) == limit


def test_a_ticket_has_fifteen_lines_at_most_and_no_markup_of_strangers():
    """Whatever a job, a queue or a connection is called: what others wrote is code."""
    card_input = hostile(EXAMPLES["recovered-one"])
    few = replace(card_input.incident, triggers=(), queues=card_input.incident.queues[:2])
    ticket = ticket_of(Record(card_input.target, few), f"a.py, b, line 1, in smtplib.SMTP, waits for {LONG}", lines=(LONG,) * 12)
    assert (len(ticket.splitlines()), NASTY in ticket) == (15, False)
    assert "<" not in re.sub("`[^`]*`", "", re.sub("(?s)\n```.*```", "", ticket))
