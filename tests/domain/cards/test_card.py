"""Cards: the headline alone says whether anybody must get up, in both languages, whatever a stranger writes."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from msgspec.structs import replace

from functions.domain.cards.card import HEADLINES, KINDS, compose
from functions.domain.cards.content import CardInput
from functions.domain.health.recovery import SAME_AGAIN
from functions.domain.model.cards import Card
from functions.domain.model.codes import ASKED, Mode, Phase, Reason, Verdict
from functions.domain.model.incidents import AfterRestart, AlertRef, Evidence, Incident, PastAttempt, Place
from functions.domain.model.observations import Holder
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import REASONS
from functions.runtime.text import Text, in_language
from tests.support.worlds.example_stories import (
    APPROVE,
    ENDED,
    EVIDENCE,
    EXAMPLES,
    HUNG,
    INCIDENT,
    NOW,
    RUNBOOK,
    RUNNING,
    START_PAGE,
    TARGET,
    held,
    hostile,
    rules,
)
from tests.support.worlds.scenes import change

LANGUAGES = ("en", "ja")
URGENCY = {
    "act": ("ACT NOW", "至急対応"),
    "watch": ("No action yet", "まだ対応不要"),
    "plan": ("In working hours", "業務時間内に対応"),
    "fine": ("No action needed", "対応不要"),
}


def all_text(card: Card) -> str:
    return "\n".join((card.headline, *card.text, *(f"{label}: {text}" for label, text in card.facts), *card.evidence))


def composed(name: str, **changes: object) -> Card:
    """The card of the gallery, with its incident changed, where `docs_url` is set."""
    card_input = EXAMPLES[name]
    assert card_input.incident is not None
    return compose(replace(card_input, incident=change(card_input.incident, **changes)), replace(rules(), docs_url=DOCS))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_card_begins_with_its_urgency_gives_one_advice_and_names_its_incident(name: str, language: str):
    """Urgency shows without any colour; at most one sentence says what to do, and it comes first; people say the id to others."""
    card = compose(EXAMPLES[name], rules(language))
    if EXAMPLES[name].incident or EXAMPLES[name].escalation:
        assert "mail-delivery" not in dict(card.facts).values(), "target and runbook are in the headline"
        assert dict(card.facts)["Incident" if language == "en" else "インシデント"] == card.incident == "7f3a9c21"
    own = {"paused": ("PAUSED: ", "一時停止中："), "acknowledged": ("Taken: ", "対応中："), "declined": ("Declined: ", "却下：")}
    own["held-observe-only"] = ("NO RESTART: ", "再起動なし：")
    words = own.get(name, URGENCY[card.urgency])
    assert card.headline.startswith(words[LANGUAGES.index(language)])
    assert len(card.headline) <= 140
    told = [place for place, text in enumerate(card.text) if text.startswith(("What to do: ", "対応："))]
    assert told in ([], [0])


DOCS = "https://git.example.com/docs"
LOST = EXAMPLES["recovered"].incident.queues[0]
GONE = replace(EXAMPLES["escalated"].incident.queues[0], consumers=0)
AGAIN = replace(EXAMPLES["escalated"].incident.queues[0], after=AfterRestart(615, same_again=True, verdict=Verdict.STUCK))
OBSERVES = replace(RUNBOOK, mode=Mode.OBSERVE)


STORIES = [
    ("started", {"runbook": None, "restarts": 0}, "No action yet: Restarting mail-delivery (attempt 1 of 1)", ""),
    ("held-awaiting-approval", {"runbook": OBSERVES}, "In working hours: mail-delivery is stuck: approve a restart?", ""),
    ("held-restart-refused", {"again": True},
        "ACT NOW: mail-delivery was not restarted: Rundeck refused the restart", "> What to do: Restart by hand now, then"),
    ("held-restart-refused", {"about": RUNNING, "reason": Reason.LEDGER_UNKNOWN},
        "ACT NOW: mail-delivery: Rundeck does not show what was restarted", "What to do: Check Rundeck"),
    ("held-restart-refused", {"reason": Reason.START_UNCLEAR, "again": True},
        "ACT NOW: mail-delivery: Rundeck gave no clear answer to the start", "Open the job"),
    ("held-restart-refused", {"reason": Reason.SYMPTOM_UNKNOWN, "again": True, "remedy": ""},
        "No action yet: mail-delivery has not been restarted yet: the queue's state is unknown",
        "Unstick tries again by itself, and calls a person"),
    ("held-restart-refused", {"reason": Reason.MONITORING_FAILURE}, "No action yet: mail-delivery: monitoring has no data",
        "What to do: If it lasts"),
    ("held-restart-refused", {"reason": None},
        "ACT NOW: mail-delivery was not restarted: the token's role lacks a permission", "Load infra/rundeck"),
    ("held-cooldown", {"again": False}, "No action yet: mail-delivery has not been restarted yet: it was restarted recently",
        "> What to do: Nothing yet."),
    ("held-cooldown", {"again": False, "approve_url": APPROVE},
        "ACT NOW: mail-delivery was not restarted: it was restarted recently", "> What to do: Nothing yet."),
    ("held-symptom-gone", {"queues": (replace(LOST, may_be_gone=True, after=replace(LOST.after, well_at=NOW)),)},
        "In working hours: mail-delivery is healthy; nothing was restarted", "> RabbitMQ may have dropped"),
    ("held-likely", {"reason": Reason.OBSERVE_ONLY, "approve_url": ""},
        "NO RESTART: mail-delivery may hang; Unstick only observes and would have asked", ""),
    ("recovered", {"queues": (LOST, replace(LOST, may_be_gone=True))},
        "In working hours: mail-delivery recovered in 6 min 52 s", "> RabbitMQ may have dropped | Healthy in two checks"),
    ("recovered", {"triggers": (replace(INCIDENT.triggers[0], starts_at=NOW + 60),)},
        "No action needed: mail-delivery recovered in 0 s", "Healthy in two checks after the restart."),
    ("escalated", {"restarts": 1}, "ACT NOW: mail-delivery is still stuck after a restart", ""),
    ("escalated", {"restarts": 0}, "ACT NOW: mail-delivery needs a person", "> What to do: Check the queue and the app"),
    ("escalated", {"queues": (GONE,)}, "ACT NOW: mail-delivery is still stuck after 2 restarts",
        "> What to do: No consumer is connected"),
    ("escalated", {"queues": (AGAIN,), "detail": SAME_AGAIN},
        "ACT NOW: mail-delivery is still stuck after 2 restarts",
        "> What to do: Check the message that is held | Details: it hangs on the same message again, so another restart would"),
    ("escalated", {"queues": (replace(LOST, may_be_gone=True),)}, "ACT NOW: mail-delivery is still stuck after 2 restarts",
        "> What to do: | RabbitMQ may have dropped or dead-lettered"),
    ("escalated", {"reason": Reason.FAILING}, "ACT NOW: mail-delivery needs a person: the restart job keeps failing",
        "Details: it is still stuck"),
    ("escalated-again", {"reason": Reason.FAILING},
        "ACT NOW: Nobody has taken mail-delivery yet", "> What to do: Read the job's log"),
    ("escalated-again", {"reason": Reason.AWAITING_APPROVAL}, "ACT NOW: Nobody has taken mail-delivery yet",
        "> What to do: Check the queue | leaves it alone"),
    ("not-approved", {"restarts": 1}, "ACT NOW: mail-delivery was not restarted: nobody answered for a day",
        "leaves it alone"),
    ("resumed", {"target": None}, "No action needed: Unstick is no longer paused", ""),
    ("bundle", {"bundled": ("a",)},
        "ACT NOW: 1 target or alert was not restarted: too many targets are stuck at once", "What to do: Check what"),
    ("bundle", {"reason": Reason.TEST_ALERT, "bundled": ("a", "b")},
        "No action needed: 2 targets or alerts were not restarted: a test notification", ""),
    ("bundle", {"reason": Reason.PAUSED, "is_calm": True, "bundled": ("a", "b")},
        "In working hours: 2 targets or alerts were not restarted: Unstick is paused", ""),
    ("bundle", {"reason": None, "detail": "why", "bundled": ("a", "b")},
        "ACT NOW: 2 targets or alerts were not restarted: why", "Details: why"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "headline", "said"), STORIES)
def test_what_people_read_at_three_in_the_morning(name: str, changes: dict[str, object], headline: str, said: str):
    """The gallery's cards, or where something differs: the headline, and what the text says; after `>` it comes first."""
    card_input, of_card = EXAMPLES[name], {key: changes[key] for key in changes.keys() & set(CardInput.__struct_fields__)}
    of_incident = {key: value for key, value in changes.items() if key not in of_card}
    if card_input.incident is not None:
        card_input = replace(card_input, incident=change(card_input.incident, **of_incident))
    card = compose(replace(card_input, **of_card), rules())
    assert card.headline == headline
    text = " ".join((">", *card.text))
    assert [words for words in said.split(" | ") if words not in text] == []


def test_a_message_that_hangs_again_leads_to_its_queue_and_to_how_it_is_moved():
    """In RabbitMQ's own pages."""
    page = "https://rabbitmq.example.com/#/queues/%2F/mail"
    for queue, labels in ((LOST, {"Queue in RabbitMQ"}), (AGAIN, {"Queue in RabbitMQ", "Moving one message by hand"})):
        card = composed("escalated", queues=(replace(queue, queue=replace(queue.queue, page=page)),))
        assert dict(card.links).keys() & {"Queue in RabbitMQ", "Moving one message by hand"} == labels


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", Reason)
def test_every_hold_says_why_and_what_to_do(reason: Reason, language: str):
    """The reason in plain words or a sentence, what to do, what the system said and its remedy."""
    card = compose(
        held(reason, "the exact detail", "the remedy", approve_url=APPROVE if reason in ASKED else ""), rules(language)
    )
    explained = REASONS[reason]
    assert reason in HEADLINES or in_language(language, explained.short, runner="Rundeck") in card.headline
    assert "the remedy" in card.text
    assert any("the exact detail" in text for text in card.text)
    todo = in_language(language, Text("What to do: {todo}", todo=explained.todo), runner="Rundeck")
    assert card.urgency == "fine" or todo in card.text


WORKER, AGAIN_AT = (
    EVIDENCE.places[0].text,
    replace(EXAMPLES["escalated-again"], outcomes=(replace(HUNG[0], incident="7f3a9c21"),)),
)
TWO = Evidence(places=(*EVIDENCE.places, Place("w-8", "stock.py, reserve, line 7")))
ON_TWO = replace(EXAMPLES["started"], incident=replace(INCIDENT, evidence=TWO))


@pytest.mark.parametrize(
    ("card_input", "facts"),
    [
        (EXAMPLES["started-evidence"], [("Hangs at", f"{WORKER}; as in 6 of the last 7 incidents")]),
        (replace(EXAMPLES["recovered-one"], outcomes=HUNG[:1]), [("Hung at", f"{WORKER}; as in the last incident")]),
        (replace(EXAMPLES["started-evidence"], outcomes=HUNG[3:4]), [("Hangs at", WORKER)]),
        (ON_TWO, [("Hangs at", f"10.0.3.7: {WORKER}"), ("", "w-8: stock.py, reserve, line 7")]),
        (AGAIN_AT, [("Hangs at", WORKER)]),
        (replace(ON_TWO, kind="held", reason=Reason.SYMPTOM_GONE), []),
    ],
    ids=["running", "recovered", "no place before", "two hosts", "reminder", "healthy"],
)
def test_the_place_where_it_hangs_comes_first(card_input: CardInput, facts: list[tuple[str, str]]):
    """With its host if there are several, and how many of the last incidents hung there."""
    shown = list(compose(card_input, rules()).facts)
    assert (shown[: len(facts)], shown[len(facts)][0] in ("Hangs at", "")) == (facts, False)


def test_the_first_of_many_are_shown_and_the_others_counted():
    """Queues, holders, alerts, attempts and targets."""
    (queue,), (trigger,) = EXAMPLES["escalated"].incident.queues, EXAMPLES["escalated"].incident.triggers
    holders = tuple(Holder("10.0.3.7", f"worker-{n}", n, NOW - 60) for n in range(4))
    held_by = (replace(queue, holders=holders), replace(queue, holders=holders))
    idle = replace(queue, holders=())
    tries = tuple(PastAttempt(f"i.{n}", None, "stuck") for n in range(8))
    card = composed("escalated", queues=(*held_by, *[idle] * 9), triggers=(trigger,) * 4, tries=tries)
    assert [label for label, _ in card.facts][:6] == ["Queue"] * 5 + [""]
    assert card.facts[5][1] == "and 6 more queues"
    assert dict(card.facts)["Held by"] == (
        "mail.outgoing: worker-0 (10.0.3.7), 0 messages, for at least 1 min; mail.outgoing: worker-1 (10.0.3.7), 1 message, "
        "for at least 1 min; mail.outgoing: worker-2 (10.0.3.7), 2 messages, for at least 1 min; and 5 more"
    )
    tried = [text for _, text in card.facts if text[:2] in {f"{n}." for n in range(1, 9)}]
    assert (tried[0], tried[6], len(tried)) == ("1. i.2: still stuck", "7. execution 1851, succeeded, 32 s", 7)
    wrong = replace(ENDED, id="1847", status="failed: exit 1")
    ends = dict(composed("escalated", tries=(PastAttempt("i.1", wrong, "failed: failed: exit 1"),)).facts)["Restart"]
    assert ends == "1. execution 1847, failed (exit 1), 32 s"  # said once
    few = composed("escalated", queues=(replace(idle, holders=holders[:3]), *[idle] * 4))
    assert "more" not in all_text(few) + all_text(composed("escalated"))
    assert dict(few.facts)["Held by"].count("messages, for") == 2
    names = tuple(f"service={n}" for n in range(33))
    for count, more in ((33, "and 23 more"), (10, "")):
        affected = dict(compose(replace(EXAMPLES["bundle"], bundled=names[:count]), rules()).facts)["Affected"]
        assert affected.split(", ")[10:] == [more] * bool(more)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"before": None, "curve": ((NOW - 15, 7),), "consumers": None}, "7 messages"),
        ({"before": None, "curve": ((NOW - 16, 7),), "consumers": None}, "7 messages (16 s ago)"),
        ({"before": None, "curve": (), "consumers": None, "after": AfterRestart()}, ""),
        ({"curve": (), "consumers": None}, "490 → 615 messages, 1 consumer"),
        ({"curve": (), "consumers": 3, "after": AfterRestart()}, "490 messages, 3 consumers"),
        ({"curve": ((NOW - 158, 8), (NOW - 157, 9))}, "9 messages, 1 consumer (2 min 37 s ago)"),
        ({"curve": ((NOW - 158, 8), (NOW - 156, 1))}, "490 → 1 message, 1 consumer (2 min 36 s ago)"),
    ],
)
def test_a_queue_s_figures_are_those_of_the_last_look_with_their_age(changes: dict[str, object], said: str):
    """And those before the restart only where it was looked at since."""
    (queue,) = EXAMPLES["escalated"].incident.queues
    card = composed("escalated", queues=(replace(queue, **changes),), triggers=())
    assert dict(card.facts)["Queue"] == "mail.outgoing" + (said and f": {said}")


def test_of_several_queues_the_deepest_curve_is_shown():
    """And all that is left is one sum."""
    (queue,) = EXAMPLES["escalated"].incident.queues
    small = replace(queue, curve=((NOW - 9, 3), (NOW, 2)), consumers=0)
    single = replace(small, curve=((NOW, 9999),), consumers=None)
    large = replace(queue, curve=((NOW - 9, 600), (NOW, 615)))
    for queues in ((small, single, large), (large, single, small)):
        card = composed("escalated", queues=queues)
        assert card.curve == large.curve
        assert "No consumer is connected" in card.text[0]
        assert composed("recovered-moving", queues=queues).headline.endswith("1,845 messages left")


LITERAL = ("アラート", "アラート（未検証）", "時刻", "停止箇所", "停止していた箇所", "判断を確定する設定")
"""Labels of what isn't ours; of the last it is a line of unstick.yaml."""


def test_japanese_is_set_as_japanese():
    """No half-width comma, colon or bracket of Unstick's own."""
    for name in EXAMPLES:
        card = compose(EXAMPLES[name], rules("ja"))
        own = [card.headline, *(text for label, text in card.facts if label not in LITERAL)]
        assert [text for text in own if re.search(r"[,:;] |\(", text)] == [], name


def test_links_lead_where_they_say():
    """Approval first, then the execution, then Grafana; the cause last."""
    card_input = replace(EXAMPLES["escalated"], approve_url="https://unstick.example.com/approve/", reason=Reason.FAILING)
    card_input = replace(card_input, incident=replace(card_input.incident, start_page=START_PAGE))
    labels = [label for label, _ in compose(card_input, replace(rules(), docs_url=DOCS)).links]
    assert labels == [
        "Approve a restart anyway", "Restart by hand", "Rundeck execution", "Details", "Graph",
        "Dashboard", "Alert", "Runbook page", "Silence", "Root cause",
    ]  # fmt: skip


BY_HAND = ["restart_refused", "observe_only", "ledger_unknown", "too_many_targets", "declined", "failing", "frozen"]
BY_HAND += ["start_unclear", "aborted", "likely_stuck"]
RESTART_IT = (Reason.TOO_MANY_TARGETS, Reason.LIKELY_STUCK, Reason.AWAITING_APPROVAL)


@pytest.mark.parametrize("reason", Reason)
def test_a_card_that_asks_for_a_restart_by_hand_leads_to_it_first(reason: Reason):
    """Its first button opens the job."""
    incident = replace(EXAMPLES["held-observe-only"].incident, start_page=START_PAGE)
    card = compose(CardInput("held", NOW, RUNBOOK, TARGET, incident, reason), rules())
    asks = any("by hand" in text and "Handle this alert" not in text for text in card.text) or reason in RESTART_IT
    assert (card.links[0] == ("Restart by hand", START_PAGE)) is asks
    assert asks or reason.value not in BY_HAND
    assert START_PAGE not in [url for _, url in card.links[1:]]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_hostile_text_is_cleaned_and_shortened(name: str, language: str):
    """100 kB of marks in every place give a small card without an invisible character, quickly, with the cuts marked."""
    began = time.process_time()
    card = compose(hostile(EXAMPLES[name]), rules(language))
    took_s = time.process_time() - began
    text = all_text(card)
    assert {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Co", "Cn"} <= {"Cc"}
    assert set(re.findall(r"[\x00-\x1f\x7f-\x9f]", text)) <= {"\n"}
    assert "…" in text
    assert len(text) < 30_000
    assert all(url.startswith("https://unstick.example.com") for _, url in card.links)
    assert took_s < 2.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "card_input",
    [
        CardInput("", NOW),
        CardInput("", float("nan"), incident=Incident("", Phase.WAITING, 0.0, "", (), ())),
        CardInput("", 1e300, RUNBOOK, target=replace(TARGET, options={})),
        CardInput("", -1e18, trigger=AlertRef("", "", float("inf"), "", links={"panel": ""}), reason=Reason.PAUSED, moving=True),
        CardInput("", NOW, incident=change(INCIDENT, queues=(), triggers=(), execution=None, tail=())),
    ],
    ids=["nothing", "empty incident", "no options", "odd times", "no queues"],
)
def test_compose_takes_any_story(kind: str, card_input: CardInput):
    """A card that can't be made would hold up the incident."""
    for language in (*LANGUAGES, "xx"):
        card = compose(replace(card_input, kind=kind), Rules({}, language=language))
        assert card.headline


@pytest.mark.parametrize("language", LANGUAGES)
def test_cards_name_the_runner_as_people_know_it(language: str):
    """Whoever runs no Rundeck never reads of it."""
    stories = [*EXAMPLES.values(), *(held(reason) for reason in Reason)]
    texts = [all_text(compose(card_input, replace(rules(language), runner="Jobmaster"))) for card_input in stories]
    assert not [text for text in texts if "Rundeck" in text or "{runner}" in text]
    assert sum("Jobmaster" in text for text in texts) == sum(
        "Rundeck" in all_text(compose(one, rules(language))) for one in stories
    )
