"""Core: what a check from inside found wrong -> the card that people read, in English and Japanese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from functions.domain.cards import facts
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.runtime.text import Phrase

PHRASES: Mapping[str, tuple[str, str]] = {
    "head": (
        "the check failed at {system}. Restarts may not work",
        "点検に失敗しました（{system}）。再起動できない恐れがあります",
    ),
    "why": (
        "Unstick asked every system from where it runs. Nothing was restarted.",
        "Unstick の実行環境からすべてのシステムを確認しました。何も再起動していません。",
    ),
    "todo": ("To do: {remedy}", "対応：{remedy}"),
}
MOST = 8
"""Lines on one card; the log has all of them."""


def card(failed: Sequence[tuple[str, Phrase, Phrase, Phrase]], rules: Rules, at: float) -> Card:
    """`failed`: system, what, detail and remedy of each."""
    language = 1 if rules.language == "ja" else 0
    systems = facts.listed(rules, dict.fromkeys(facts.tidy(rules, system) for system, *_ in failed))
    headline = facts.headline(rules, "act", PHRASES["head"][language].format(system=systems))
    shown = tuple(
        (facts.tidy(rules, system), facts.named(rules, facts.exactly(rules, what), facts.exactly(rules, detail)))
        for system, what, detail, _ in failed[:MOST]
    )
    remedies = dict.fromkeys(facts.exactly(rules, remedy) for _, _, _, remedy in failed[:MOST] if remedy)
    todo = [PHRASES["todo"][language].format(remedy=remedy) for remedy in remedies]
    return Card("check", "act", headline, shown, (PHRASES["why"][language], *todo), at=at)
