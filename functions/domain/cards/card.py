"""Composes the card of an incident, in the configured language and time zone.

The headline alone says whether anybody must get up. This file cleans and cuts every text; each channel escapes it.
`compose` accepts any input: a card that can't be composed would hold up an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from functions.domain.cards import facts, queue_facts
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.facts import tidy
from functions.domain.model.codes import Reason, Verdict
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import duration, say

LATE_S = 3000.0
"""Messages this late (50 minutes) say so: the situation may have changed."""

EVIDENCE_LINES = 15
EVIDENCE_LINE = 240
HEADLINE = 140
"""Slack's header accepts 150 characters, and a phone's notification shows about 100."""


def compose(story: CardInput, rules: Rules) -> Card:
    """Compose the card. It is pure and raises for no content."""
    urgency, headline, text, shown = KINDS.get(story.kind, _other)(story, rules)
    language = rules.language
    late = say(language, "late", late=duration(language, story.late_s)) if story.late_s > LATE_S else ""
    incident = story.incident.id if story.incident else story.detail if story.kind == "resolved" else ""
    return Card(
        kind=story.kind,
        urgency=urgency,
        headline=tidy(rules, facts.headline(rules, urgency, headline), HEADLINE),
        facts=shown,
        text=tuple(filter(None, (late, *text))),
        evidence=_evidence(story, rules) if story.kind == "escalated" else (),
        curve=queue_facts.curve(story),
        links=facts.links(story, rules),
        mention=story.mention if urgency == "act" else (),
        incident=tidy(rules, incident, 80),
        at=story.at,
    )


Made = tuple[str, str, list[str], tuple[tuple[str, str], ...]]
"""Urgency, headline without the words of urgency, text, facts."""


def _started(story: CardInput, rules: Rules) -> Made:
    incident = story.incident
    language, subject = rules.language, facts.subject(story, rules)
    if incident and incident.adopted:
        headline = say(language, "head_adopted", subject=subject)
        text = _why(story, rules, Reason.ALREADY_RUNNING, todo=False)
    else:
        attempt = max(1, incident.restarts if incident else 1)
        attempts = max(attempt, story.runbook.limits.attempts if story.runbook else 1)
        headline = say(language, "head_started", subject=subject, attempt=attempt, attempts=attempts)
        text = [say(language, "started")]
    again = incident is not None and incident.tries
    shown = facts.gathered(story, rules, queue_facts.queues, facts.since, facts.tried if again else facts.restart, facts.about)
    return "watch", headline, text, shown


def _held(story: CardInput, rules: Rules) -> Made:
    language, reason = rules.language, story.reason
    subject = facts.subject(story, rules)
    short = REASONS[reason].words(language).short if reason else facts.exactly(rules, story.detail, 80)
    urgency = REASONS[reason].urgency if reason else "act"
    if story.again and reason is not Reason.LEDGER_UNKNOWN:  # that one is only posted when waiting did not help
        urgency = "watch"
    if story.approve_url and urgency != "fine":
        urgency = "act"
    key = {Reason.OBSERVE_ONLY: "head_observed", Reason.SYMPTOM_GONE: "head_well", Reason.AWAITING_APPROVAL: "head_asked"}.get(
        reason or Reason.DUPLICATE, {"watch": "head_waiting", "fine": "head_plain"}.get(urgency, "head_held")
    )
    restarted = story.incident is not None and story.incident.restarts > 0
    if reason is Reason.MONITORING_FAILURE or (reason is Reason.LEDGER_UNKNOWN and restarted):
        key = "head_plain"
    elif story.approve_url and key == "head_held":
        key = "head_overrule"
    by_itself = urgency == "watch" and story.again and reason is not None and REASONS[reason].urgency == "act"
    text = _why(story, rules, reason, todo=urgency != "fine" and not by_itself)
    if by_itself:
        text.append(say(language, "again"))
    if reason is Reason.OBSERVE_ONLY and story.target:
        text.append(say(language, "would_have", target=tidy(rules, story.target.name, 200)))
    if story.approve_url:
        text += _approvable(story, rules)
    return (
        urgency,
        say(language, key, subject=subject, why=short),
        text,
        facts.gathered(story, rules, queue_facts.queues, facts.since, facts.restart, facts.about),
    )


def _approvable(story: CardInput, rules: Rules) -> list[str]:
    text = [] if story.reason is Reason.AWAITING_APPROVAL else [say(rules.language, "overrule")]
    if story.incident and story.incident.expires_at is not None:
        text.append(say(rules.language, "approve_until", until=facts.clock(rules, story.incident.expires_at)))
    return text


def _why(story: CardInput, rules: Rules, reason: Reason | None, *, todo: bool = True) -> list[str]:
    """The reason in a sentence, what to do, the refusing system's remedy, and the exact detail."""
    language = rules.language
    text = []
    if reason is not None:
        words = REASONS[reason].words(language)
        text.append(words.why)
        if todo:
            text.append(say(language, "todo", todo=words.todo))
    if story.remedy:
        text.append(facts.exactly(rules, story.remedy))
    if story.detail:
        text.append(say(language, "detail", detail=facts.exactly(rules, story.detail)))
    return text


def _draining(story: CardInput, rules: Rules) -> Made:
    count = facts.number(queue_facts.left(story))
    headline = say(rules.language, "head_draining", subject=facts.subject(story, rules), left=count)
    shown = facts.gathered(story, rules, queue_facts.queues, facts.took, facts.attempt, facts.restart, facts.about)
    return "watch", headline, [say(rules.language, "draining")], shown


def _recovered(story: CardInput, rules: Rules) -> Made:
    language, subject = rules.language, facts.subject(story, rules)
    seconds = facts.from_alert_s(story)
    if story.moving:
        count = facts.number(queue_facts.left(story))
        headline = say(language, "head_draining", subject=subject, left=count)
        text = [say(language, "recovered_moving", left=count)]
    else:
        took = duration(language, seconds or 0.0)
        headline = say(language, "head_recovered" if seconds is not None else "head_recovered_plain", subject=subject, took=took)
        text = [say(language, "recovered")] if story.incident and story.incident.restarts else []
    text += _cause(story, rules)
    shown = facts.gathered(story, rules, queue_facts.queues, facts.took, facts.attempt, facts.restart, facts.about)
    return "fine", headline, text, shown


def _escalated(story: CardInput, rules: Rules) -> Made:
    language, subject, reason = rules.language, facts.subject(story, rules), story.reason
    restarts = story.incident.restarts if story.incident else 0
    if reason is not None:
        headline = say(language, "head_escalated", subject=subject, why=REASONS[reason].words(language).short)
        text = _why(story, rules, reason)
    else:
        key = "head_escalated_plain" if restarts == 0 else "head_still_stuck_1" if restarts == 1 else "head_still_stuck"
        headline = say(language, key, subject=subject, restarts=restarts)
        text = [say(language, "todo", todo=say(language, _consumers(story)))]
        if not _stuck(story):  # the headline says that it is stuck
            text += _why(story, rules, None)
    text += [say(language, "hands_off"), *_cause(story, rules)]
    shown = facts.gathered(story, rules, queue_facts.queues, queue_facts.head, facts.since, facts.tried, facts.about)
    return "act", headline, text, shown


def _stuck(story: CardInput) -> bool:
    return story.incident is not None and any(watched.verdict is Verdict.STUCK for watched in story.incident.queues)


def _consumers(story: CardInput) -> str:
    """The advice that fits the consumers."""
    seen = [watched.consumers for watched in story.incident.queues if watched.consumers is not None] if story.incident else []
    if not seen:
        return "unseen_consumer"
    return "no_consumer" if min(seen) == 0 else "stuck_consumer"


def _cause(story: CardInput, rules: Rules) -> list[str]:
    """The line that reminds people of the bug."""
    if story.runbook is None:
        return []
    cause = tidy(rules, story.runbook.root_cause, 300)
    return [say(rules.language, "cause_open", cause=cause) if cause else say(rules.language, "cause_missing")]


def _evidence(story: CardInput, rules: Rules) -> tuple[str, ...]:
    tail = story.incident.tail if story.incident else None
    mark = say(rules.language, "shortened")
    return tuple(clean(line, EVIDENCE_LINE, mark) for line in (tail or ())[-EVIDENCE_LINES:])


def _resolved(story: CardInput, rules: Rules) -> Made:
    headline = say(rules.language, "head_resolved", subject=facts.subject(story, rules))
    shown = facts.gathered(story, rules, queue_facts.queues, facts.about)
    return "fine", headline, [say(rules.language, "resolved")], shown


def _not_approved(story: CardInput, rules: Rules) -> Made:
    again = story.incident is not None and story.incident.restarts > 0
    headline = say(
        rules.language, "head_not_approved_again" if again else "head_not_approved", subject=facts.subject(story, rules)
    )
    reason = (
        None if story.reason is Reason.AWAITING_APPROVAL else story.reason
    )  # its sentence asks for an approval, which is too late now
    text = [say(rules.language, "not_approved"), *_why(story, rules, reason, todo=False)]
    if again:
        text += [say(rules.language, "hands_off"), *_cause(story, rules)]
    shown = facts.gathered(story, rules, queue_facts.queues, facts.since, facts.tried if again else facts.restart, facts.about)
    return "act", headline, text, shown


def _test(story: CardInput, rules: Rules) -> Made:
    shown = facts.gathered(story, rules, facts.about)
    return "fine", say(rules.language, "head_test"), [say(rules.language, "test")], shown


def _bundle(story: CardInput, rules: Rules) -> Made:
    explained = REASONS[story.reason] if story.reason else None
    why = explained.words(rules.language).short if explained else facts.exactly(rules, story.detail, 80)
    key = "head_bundle_test" if story.reason is Reason.TEST_ALERT else "head_bundle"
    count = len(story.bundled)
    headline = say(rules.language, f"{key}_1" if count == 1 else key, count=facts.number(count), why=why)
    shown = facts.gathered(story, rules, facts.names, facts.about)
    return explained.urgency if explained else "act", headline, _why(story, rules, story.reason), shown


def _paused(story: CardInput, rules: Rules) -> Made:
    text = [say(rules.language, "paused"), *_why(story, rules, None)]
    return "watch", say(rules.language, "head_paused"), text, facts.gathered(story, rules, facts.about)


def _resumed(story: CardInput, rules: Rules) -> Made:
    key = "head_resumed" if story.target or story.runbook or story.trigger else "head_resumed_all"
    headline = say(rules.language, key, subject=facts.subject(story, rules))
    text = [say(rules.language, "resumed"), *_why(story, rules, None)]
    return "fine", headline, text, facts.gathered(story, rules, facts.about)


def _unsigned(story: CardInput, rules: Rules) -> Made:
    language = rules.language
    text = [say(language, "unsigned"), say(language, "todo", todo=say(language, "todo_unsigned"))]
    return "act", say(language, "head_unsigned"), text, facts.gathered(story, rules, facts.about)


def _other(story: CardInput, rules: Rules) -> Made:
    headline = say(rules.language, "head_other", subject=facts.subject(story, rules))
    shown = facts.gathered(story, rules, queue_facts.queues, facts.about)
    return "watch", headline, _why(story, rules, story.reason), shown


KINDS: Mapping[str, Callable[[CardInput, Rules], Made]] = {
    "started": _started,
    "held": _held,
    "draining": _draining,
    "recovered": _recovered,
    "escalated": _escalated,
    "resolved": _resolved,
    "not_approved": _not_approved,
    "test": _test,
    "bundle": _bundle,
    "paused": _paused,
    "resumed": _resumed,
    "unsigned": _unsigned,
}
