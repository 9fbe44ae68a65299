"""The facts of a card's queues: messages before and after, consumers, the oldest message, the curve."""

from __future__ import annotations

from math import inf

from functions.domain.cards.card_input import CardInput
from functions.domain.cards.facts import Fact, listed, named, number, tidy
from functions.domain.model.incidents import QueueState
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import duration, say

QUEUES_SHOWN = 5
FRESH_S = 120.0
"""Figures older than this show their age."""


def left(story: CardInput) -> int:
    """Messages left in all queues of the incident, at the last check."""
    return sum(watched.depth or 0 for watched in story.incident.queues) if story.incident else 0


def queues(story: CardInput, rules: Rules) -> list[Fact]:
    """Each queue with its depth before and, once checked since the restart, after it; and its consumers."""
    watched = story.incident.queues if story.incident else ()
    shown = [(say(rules.language, "queue"), _queue(one, rules, story.at)) for one in watched[:QUEUES_SHOWN]]
    if len(watched) > QUEUES_SHOWN:
        shown.append(("", say(rules.language, "and_more", count=len(watched) - QUEUES_SHOWN)))
    if not watched and story.trigger and story.trigger.queue:
        shown.append((say(rules.language, "queue"), tidy(rules, story.trigger.queue.split(":", 2)[-1])))
    return shown


def _queue(watched: QueueState, rules: Rules, at: float) -> str:
    language = rules.language
    name, vhost = tidy(rules, watched.queue.name), tidy(rules, watched.queue.vhost, 60)
    title = say(language, "vhost", queue=name, vhost=vhost) if vhost not in ("", "/") else name
    consumers = watched.consumers if watched.consumers is not None else watched.before.consumers if watched.before else None
    figures = (_depth(watched, rules), counted(rules, "consumers", consumers) if consumers is not None else "")
    shown = listed(rules, figures)
    age_s = at - watched.curve[-1][0] if watched.curve else 0.0
    if shown and age_s > FRESH_S:
        shown = say(language, "seen_ago", seen=shown, age=duration(language, age_s))
    return named(rules, title, shown)


def _depth(watched: QueueState, rules: Rules) -> str:
    """The depth before and after the restart; until then the last one, which the curve always has."""
    before, after = watched.before, watched.depth
    last_at, last = watched.curve[-1] if watched.curve else (inf, after)
    if before is not None and after is not None and last_at > before.at:  # otherwise an earlier restart left that many
        return say(rules.language, "before_after", before=number(before.depth), after=number(after))
    shown = last if last is not None else before.depth if before is not None else None
    return counted(rules, "messages", shown) if shown is not None else ""


def counted(rules: Rules, key: str, count: int) -> str:
    """`messages` or `consumers` with their count, singular for one."""
    return say(rules.language, f"{key}_1" if count == 1 else key, count=number(count))


def head(story: CardInput, rules: Rules) -> list[Fact]:
    """The age of the oldest message, if publishers set its time."""
    heads = [watched.head_at for watched in story.incident.queues if watched.head_at is not None] if story.incident else []
    if not heads:
        return []
    return [(say(rules.language, "head"), say(rules.language, "old", age=duration(rules.language, story.at - min(heads))))]


def curve(story: CardInput) -> tuple[tuple[float, int], ...]:
    """The curve of the deepest queue."""
    curves = [watched.curve for watched in story.incident.queues if len(watched.curve) > 1] if story.incident else []
    return max(curves, key=lambda points: max(depth for _, depth in points), default=())
