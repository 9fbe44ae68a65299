"""Turns the parts of a drill into a card, in English or Japanese."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from functions.domain.cards import facts
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import say as say_card
from functions.runtime.text import Phrase

PHRASES: Mapping[str, tuple[str, str]] = {
    "head": ("the drill went through the whole line", "訓練アラートが全経路を通過しました"),
    "head_failed": (
        "the drill failed at: {leg}. A real alert may be lost",
        "訓練が失敗しました（{leg}）。本番のアラートも届かない恐れがあります",
    ),
    "why": (
        "Test alerts were sent as Grafana sends them. Nothing was restarted.",
        "Grafana と同じ方法でテストアラートを送りました。何も再起動していません。",
    ),
    "webhook": ("Webhook", "Webhook"),
    "store": ("Saved", "保存"),
    "scheduler": ("Wake-up delivered", "スケジューラーの配送"),
    "chat": ("Told in the chat", "チャットへの通知"),
    "refusal": ("Job refuses a late start", "遅れた開始をジョブが拒否"),
    "seconds": ("{seconds} s", "{seconds}秒"),
    "failed": ("FAILED: {detail}", "失敗：{detail}"),
    "todo": ("To do: {remedy}", "対応：{remedy}"),
}


class Leg(Struct, frozen=True):
    """One part of the drill: webhook, store, scheduler, chat, or refusal."""

    name: str
    ok: bool
    seconds: float = 0.0
    detail: Phrase = ""
    remedy: Phrase = ""


def say(language: str, key: str, **values: object) -> str:
    """The phrase in this language, filled in."""
    en, ja = PHRASES[key]
    return (ja if language == "ja" else en).format(**values)


def card(legs: tuple[Leg, ...], rules: Rules, at: float) -> Card:
    """Show the times of all parts. A failed part makes the card `act`."""
    language = rules.language
    failed = next((leg for leg in legs if not leg.ok), None)
    headline = say(language, "head_failed", leg=say(language, failed.name)) if failed else say(language, "head")
    urgency = "act" if failed else "fine"
    text = [say(language, "why")]
    if failed and failed.remedy:
        text.append(say(language, "todo", remedy=facts.exactly(rules, failed.remedy)))
    shown = tuple((say(language, leg.name), _told(leg, rules)) for leg in legs)
    return Card("drill", urgency, facts.headline(rules, urgency, headline), shown, tuple(text), at=at)


def _told(leg: Leg, rules: Rules) -> str:
    seconds = say(rules.language, "seconds", seconds=f"{leg.seconds:.1f}")
    failed = say(rules.language, "failed", detail=facts.exactly(rules, leg.detail))
    return seconds if leg.ok else say_card(rules.language, "in_brackets", text=failed, more=seconds)
