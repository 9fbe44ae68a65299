"""Exact sentences in Japanese: how they are translated, that no stranger's text harms, and that cards and pages show them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.support.sentences import ROOT

from functions.application.observe import or_unknown
from functions.domain.cards import drill_card
from functions.domain.cards.card import compose
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.drill_card import Leg
from functions.domain.costs import card as cost_card
from functions.domain.costs.model import Cost, Gap, MissingData
from functions.domain.decisions.guards import decide
from functions.domain.model.codes import Phase, Reason
from functions.domain.model.messages import Card
from functions.domain.texts.details import MOST, Template, in_language, template
from functions.domain.texts.details_decisions import DECISIONS
from functions.domain.texts.details_rooms import ROOMS
from functions.runtime.errors import Denied, Unavailable
from tests.domain.decisions.test_guards import HOLDS
from tests.support.example_stories import EXAMPLES, LONG, NOW, RUNBOOK, TARGET, held, rules
from tests.support.stuck_mail import SECRETS, StuckMail, stuck_mail

ALL = {**DECISIONS, **ROOMS}
OWN = sorted({part.strip() for text in ALL for part in template(text, "").literals if re.search("[a-z],? [a-z]", part)})
"""What no Japanese card may hold: the words of each sentence, without its values."""


def left_in(text: str) -> list[str]:
    """The catalogue's English that is left in what a Japanese reader sees."""
    return [part for part in OWN if part in text]


def all_text(card: Card) -> str:
    return "\n".join((card.headline, *card.text, *(f"{label}: {text}" for label, text in card.facts)))


# --- translating -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        ("restarts within 1 h: 3, the limit is 3", "1時間以内に3回再起動しました（上限3回）"),
        ("execution 1851 of the same job waits for its start", "同じジョブの実行 1851：開始待ち"),
        ("mail.outgoing: depth 3", "mail.outgoing: 3件"),
        ("mail.a: depth 3; mail: b: it moves: depth 9 before, 4 now", "mail.a: 3件；mail: b: 処理が進んでいます（9 → 4件）"),
        (
            "mail.a: depth 41; without the broker's statistics it takes looks over 60 s to tell",
            "mail.a: 41件。RabbitMQ の統計がないため、判断するには60秒間の確認が必要です",
        ),
        ("Rundeck: answered 502", "Rundeck: 応答 502"),
        ("answered 403: the caller lacks storage.objects.get access", "応答 403：the caller lacks storage.objects.get access"),
        (
            "the kill switch can't be read: Cloud Storage: answered 403: no storage.objects.get; ask an owner",
            "停止スイッチを読み取れません：Cloud Storage: 応答 403：no storage.objects.get; ask an owner",
        ),
        (
            "service=mail: Rundeck: rundeck.example.com did not answer within 6.0 s",
            "service=mail: Rundeck: rundeck.example.com が6.0秒以内に応答しませんでした",
        ),
        (
            "mail.a: rabbitmq: no live totals of 'mail.a' in vhost '/' (state: not told)",
            "mail.a: rabbitmq: 現在の件数が得られません：'mail.a'（vhost '/'）、状態：不明",
        ),
        (
            'option to (from label a) (from label b) does not match its `allow` pattern: "it is still stuck"',
            'オプション to（ラベル a、b）：値が `allow` のパターンに一致しません："it is still stuck"',
        ),
        ('queue: the alert has no label "queue"', 'キュー：アラートにラベル "queue" がありません'),
        ("UNSTICK_PAUSED=1 is set (the environment)", "UNSTICK_PAUSED=1 が設定されています（環境変数）"),
        ("secrets: /run/rundeck-token does not exist", "secrets: /run/rundeck-token がありません"),
        (
            "not tried, since it might restart: Rundeck's mode is active: no. 7 s; b is required",
            "再起動の恐れがあるため試していません（満たしていない条件：Rundeck のモードが active である）：7秒；b が必須です",
        ),
    ],
)
def test_sentences_are_translated_with_names_causes_and_strangers_words(english: str, japanese: str):
    """Names in front, causes inside and several sentences in a row are taken apart; what a stranger wrote stays as it is."""
    assert in_language("ja", english) == japanese
    assert in_language("en", english) == in_language("xx", english) == english


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broker upgrade until 05:00 (h.tanaka)",
        "Mon-Fri 09:00-18:00",
        "DatasourceNoData",
        "the vhost does not exist",
        "mail: ",
    ],
)
def test_what_is_no_sentence_of_ours_stays(text: str):
    """Reasons of a pause, freeze windows and alert names are people's own words."""
    assert in_language("ja", text) == text


ERRORS = [
    Unavailable("Rundeck", "answered 503"),
    Denied("Rundeck", "does not accept the token", remedy="set multipleExecutions to false"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_what_a_room_raises_is_translated_as_it_reaches_a_card(error: Unavailable | Denied):
    """looking.py keeps an error as `system: detail`, with its remedy."""
    unknown = or_unknown(error)
    made = all_text(compose(held(Reason.LEDGER_UNKNOWN, f"mail: {unknown.why}", unknown.remedy), rules("ja")))
    assert f"詳細：mail: Rundeck: {in_language('ja', error.detail)}" in made
    assert left_in(made) == []


# --- strangers -------------------------------------------------------------------------------------------------------------


def hostile() -> list[str]:
    """100 kB that fit each template again and again, nearly, nested, and joined as far as it goes."""
    filled = [re.sub(r"{[^}]*}", "7", english) for english in ALL]
    literals = [re.sub(r"{[^}]*}", "", english) for english in ALL]
    pieces = ["a; ", "a: ", "; ", ": ", "7 messages; ", "x", " (from label ", *literals, *filled]
    pieces += [f"{one}: " for one in filled] + [f"{one}; " for one in filled] + ["".join(literals), ": ".join(filled)]
    return [LONG, *(one * (100_000 // len(one)) for one in pieces)]


def mixed(seed: int) -> str:
    """Pieces of sentences in which causes, names and several sentences are looked for again and again."""
    pieces = [
        ": the alert has no label ",
        " holds control characters: ",
        " is a stream, whose depth says nothing",
        "; ",
        ": ",
        "x",
    ]
    pieces += ["the kill switch can't be read: ", "there is no queue ", "7 s; ", "option ", " (from label ", ") (from label "]
    return "".join(random.Random(seed).choices(pieces, k=80))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that a template was laid over."""
    seen: list[str] = []
    values = Template.values

    def noted(one: Template, text: str) -> dict[str, str] | None:
        seen.append(text)
        return values(one, text)

    monkeypatch.setattr(Template, "values", noted)
    return seen


def test_no_text_of_a_stranger_takes_long(fits: list[str]):
    """Of 100 kB no more than MOST characters are looked at, and by 20,000 templates at the very most, each from left to right."""
    for text in [*hostile(), *(mixed(seed) for seed in range(300))]:
        fits.clear()
        began = time.perf_counter()
        said = in_language("ja", text)
        assert time.perf_counter() - began < 1.0, text[:100]
        assert len(fits) < 20_000, text[:100]
        assert max(map(len, fits), default=0) <= MOST
        assert said == text or len(said) < 3 * MOST


def test_a_sentence_with_a_stranger_s_100_kb_is_translated_and_says_that_it_was_cut():
    """The sentence is ours, however long the value that it holds."""
    made = compose(held(Reason.PAUSED, f"the kill switch can't be read: {'x' * 100_000}"), rules("ja"))
    assert any(text.startswith("詳細：停止スイッチを読み取れません：xxx") and text.endswith("…（省略）") for text in made.text)
    assert in_language("ja", f"the kill switch can't be read: {'x' * MOST}").endswith("x…")


@pytest.mark.parametrize("value", ["{0}", "{why}", "{", "%s", "\\1", "\x00\n", "停止; x: y"])
def test_braces_and_signs_of_a_stranger_are_text(value: str):
    """No value is taken for a template."""
    assert in_language("ja", f"the kill switch can't be read: {value}") == f"停止スイッチを読み取れません：{value}"


# --- what people see -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_in_japanese_holds_english_of_ours(name: str):
    """The gallery's stories hold sentences that the program makes."""
    story = EXAMPLES[name]
    assert left_in(all_text(compose(story, rules("ja")))) == []
    people_wrote = story.kind in ("paused", "resumed", "resolved")
    assert people_wrote or all(in_language("ja", text) != text for text in (story.detail, story.remedy) if text)


@pytest.mark.parametrize(("scene", "reason", "said"), HOLDS)
def test_no_hold_in_japanese_holds_english_of_ours(scene, reason: Reason, said: str):
    """Each guard's own sentence, as it decides on a scene."""
    decision = decide(scene)
    for phase in (Phase.WAITING, Phase.ASKED):
        made = compose(held(reason, decision.detail, decision.remedy, phase), rules("ja"))
        assert left_in(all_text(made)) == []


def test_other_cards_are_translated_too():
    """A hold without a reason code, a drill that failed, and a report's gap."""
    incident = held(Reason.COOLDOWN).incident
    plain = CardInput("held", NOW, RUNBOOK, TARGET, replace(incident, reason=None), detail="it was not looked at")
    leg = Leg("refusal", ok=False, detail="execution 9 ended as failed, not refused", remedy="set multipleExecutions to false")
    drilled = drill_card.card((leg,), rules("ja"), NOW)
    gap = Gap(MissingData.HISTORY_UNREAD, about="service=mail: Rundeck: answered 502")
    report = cost_card.card(Cost(NOW, (), (gap,)), rules("ja"))
    shown = [all_text(card) for card in (compose(plain, rules("ja")), drilled, report)]
    assert [left_in(text) for text in shown] == [[], [], []]
    assert left_in(all_text(compose(plain, rules("en")))) == ["it was not looked at"]
    assert "確認していません" in shown[0]
    assert "実行 9 は拒否されずに終了しました（失敗）" in shown[1]
    assert "対応：multipleExecutions を false にしてください。" in shown[1]
    assert "service=mail: Rundeck: 応答 502" in shown[2]


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckMail]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    with stuck_mail(tmp_path, language="ja") as made:
        yield made


def test_the_approval_page_in_japanese(mail: StuckMail, monkeypatch: pytest.MonkeyPatch):
    """Why it was held, why a queue can't be read, the kill switch, and what came of the button."""
    mail.alert()
    mail.change(reason=Reason.TOO_MANY_RESTARTS, detail="restarts within 1 h: 3, the limit is 3")
    path = mail.path()
    mail.rabbit.broken["totals"] = mail.rabbit.broken["page"] = (500, "text/plain", b"down")
    monkeypatch.setenv("UNSTICK_PAUSED", "1")
    asking = unescape(mail.client().get(path).text)
    assert "1時間以内に3回再起動しました（上限3回）" in asking
    assert "rabbitmq: 応答 500" in asking
    assert "UNSTICK_PAUSED=1 が設定されています（環境変数）" in asking
    monkeypatch.delenv("UNSTICK_PAUSED")
    mail.rundeck.fault("GET", "/executions", "500", times=9)
    pressed = unescape(mail.client().post(path).text)
    assert "詳細：Rundeck: 応答 500" in pressed
    assert left_in(asking + pressed) == []


def test_documents_keep_the_english(mail: StuckMail):
    """What is stored and logged is the same in both languages."""
    mail.rundeck.fault("GET", "/executions", "500", times=9)
    mail.alert()
    assert mail.incident().detail == "Rundeck: answered 500"


# --- the start -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "loaded"),
    [("en", "[]"), ("ja", "['functions.domain.texts.details_decisions', 'functions.domain.texts.details_rooms']")],
)
def test_the_catalogue_is_loaded_with_the_first_japanese_sentence(language: str, loaded: str):
    """A start in the cold pays for no sentence, and English for none ever."""
    code = (
        "import sys, functions.domain.cards.card; from functions.domain.texts.details import in_language; "
        f"in_language({language!r}, 'it is still stuck'); print(sorted(m for m in sys.modules if 'details_' in m))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == loaded
