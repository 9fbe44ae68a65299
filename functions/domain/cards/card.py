"""What happened to an incident -> the card that people read, in the configured language and time zone.

The headline alone says whether anybody must get up. Every text is cleaned and cut when it is rendered; escaping is each channel's
business. `compose` takes any story: a card that can't be made would hold up an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.domain.cards import facts, queue_facts
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import CUT, Fact, clock, render, tidy
from functions.domain.model.codes import Reason, Verdict
from functions.domain.model.messages import Card
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import duration
from functions.runtime.text import Phrase, Text

EVIDENCE_LINES = 15
EVIDENCE_LINE = 240


class Content(Struct, frozen=True):
    """What a card says. The headline comes without its first words."""

    urgency: str
    headline: Phrase
    text: list[Phrase]
    facts: list[Fact]


def compose(story: CardInput, rules: Rules) -> Card:
    """Compose the card. It is pure and raises for no content."""
    content = KINDS.get(story.kind, _other)(story, rules)
    late: list[Phrase] = [Text("This message is {late} late. Check the current state.", late=duration(story.late_s))]
    incident = story.incident.id if story.incident else story.detail if story.kind == "resolved" else ""
    card = render(
        rules,
        story.kind,
        content.urgency,
        content.headline,
        text=[*(late if story.late_s else []), *content.text],
        facts=content.facts,
        links=facts.links(story),
        at=story.at,
    )
    return replace(
        card,
        evidence=_evidence(story) if story.kind == "escalated" else (),
        curve=queue_facts.curve(story),
        mention=story.mention if content.urgency == "act" else (),
        incident=tidy(incident, 80),
    )


def _started(story: CardInput, rules: Rules) -> Content:
    incident, subject = story.incident, facts.subject(story)
    text: list[Phrase]
    if incident and incident.adopted:
        headline = Text("{subject} is already being restarted; Unstick checks the result", subject=subject)
        text = why(story, Reason.ALREADY_RUNNING, todo=False)
    else:
        attempt = max(1, incident.restarts if incident else 1)
        attempts = max(attempt, story.runbook.limits.attempts if story.runbook else 1)
        headline = Text(
            "restarting {subject} (attempt {attempt} of {attempts})", subject=subject, attempt=attempt, attempts=attempts
        )
        text = [Text("Nothing is being processed. Unstick is restarting the application and will report the result here.")]
    again = incident is not None and incident.tries
    shown = facts.gathered(story, rules, queue_facts.queues, facts.since, facts.tried if again else facts.restart)
    return Content("watch", headline, text, shown)


def _held(story: CardInput, rules: Rules) -> Content:
    reason = story.reason
    urgency = REASONS[reason].urgency if reason else "act"
    if story.again and reason is not Reason.LEDGER_UNKNOWN:  # that one is sent only when waiting did not help
        urgency = "watch"
    if story.approve_url and urgency != "fine":
        urgency = "act"
    by_itself = urgency == "watch" and story.again and reason is not None and REASONS[reason].urgency == "act"
    text = why(story, reason, todo=urgency != "fine" and not by_itself)
    if by_itself:
        text.append(Text("Unstick tries again by itself, and calls a person if that does not help."))
    if reason is Reason.OBSERVE_ONLY and story.target:
        text.append(Text("It would have run the job with: {target}.", target=tidy(story.target.name, 200)))
    if story.approve_url:
        text += _approvable(story, rules)
    shown = facts.gathered(story, rules, queue_facts.queues, facts.since, facts.restart)
    return Content(urgency, _held_headline(story, urgency), text, shown)


def _held_headline(story: CardInput, urgency: str) -> Phrase:
    reason, subject = story.reason, facts.subject(story)
    short: Phrase = REASONS[reason].short if reason else story.detail
    if reason is Reason.OBSERVE_ONLY:
        return Text("Unstick would have restarted {subject}, but the runbook only observes", subject=subject)
    if reason is Reason.SYMPTOM_GONE:
        return Text("{subject} is healthy; nothing was restarted", subject=subject)
    if reason is Reason.AWAITING_APPROVAL:
        return Text("{subject} is waiting for your approval", subject=subject)
    restarted = story.incident is not None and story.incident.restarts > 0
    if urgency == "fine" or reason is Reason.MONITORING_FAILURE or (reason is Reason.LEDGER_UNKNOWN and restarted):
        return Text("{subject}: {why}", subject=subject, why=short)
    if urgency == "watch":
        return Text("{subject} has not been restarted yet: {why}", subject=subject, why=short)
    if story.approve_url:
        return Text("{subject} was not restarted, but you can approve it: {why}", subject=subject, why=short)
    return Text("{subject} was not restarted: {why}", subject=subject, why=short)


def _approvable(story: CardInput, rules: Rules) -> list[Phrase]:
    expires_at = story.incident.expires_at if story.incident else None
    text: list[Phrase] = []
    if story.reason is not Reason.AWAITING_APPROVAL:
        text.append(Text("You can still restart it with the approval link."))
    if expires_at is not None:
        text.append(Text("The approval link works once, until {until}.", until=clock(rules, expires_at)))
    return text


def why(story: CardInput, reason: Reason | None, *, todo: bool = True) -> list[Phrase]:
    """The reason in a sentence, what to do, the refusing system's remedy, and the exact detail."""
    text: list[Phrase] = []
    if reason is not None:
        text.append(REASONS[reason].why)
        if todo:
            text.append(to_do(REASONS[reason].todo))
    if story.remedy:
        text.append(story.remedy)
    if story.detail:
        text.append(details(story.detail))
    return text


def to_do(todo: Phrase) -> Text:
    """What people should do."""
    return Text("What to do: {todo}", todo=todo)


def details(detail: Phrase) -> Text:
    """The exact detail, which may be somebody else's words."""
    return Text("Details: {detail}", detail=detail)


def _draining(story: CardInput, rules: Rules) -> Content:
    shown = facts.gathered(story, rules, queue_facts.queues, facts.took, facts.attempt, facts.restart)
    text: list[Phrase] = [
        Text("The restart helped: messages are being processed. Unstick keeps watching until the queue has recovered.")
    ]
    return Content("watch", _moving(story), text, shown)


def _moving(story: CardInput) -> Text:
    return Text(
        "{subject} is processing again, {count} message left",
        "{subject} is processing again, {count} messages left",
        subject=facts.subject(story),
        count=queue_facts.left(story),
    )


def _recovered(story: CardInput, rules: Rules) -> Content:
    subject, alert_s = facts.subject(story), facts.from_alert_s(story)
    text: list[Phrase] = []
    if story.moving:
        headline = _moving(story)
        text = [Text("The queue is not empty yet, but messages are being processed. Unstick stops watching now.")]
    elif alert_s is not None:
        headline = Text("{subject} recovered in {took}", subject=subject, took=duration(alert_s))
    else:
        headline = Text("{subject} recovered", subject=subject)
    if not story.moving and story.incident and story.incident.restarts:
        text = [Text("Healthy in two checks after the restart.")]
    shown = facts.gathered(story, rules, queue_facts.queues, facts.took, facts.attempt, facts.restart)
    return Content("fine", headline, [*text, *_cause(story)], shown)


def _escalated(story: CardInput, rules: Rules) -> Content:
    subject, reason = facts.subject(story), story.reason
    restarts = story.incident.restarts if story.incident else 0
    if reason is not None:
        headline = Text("{subject} needs a person: {why}", subject=subject, why=REASONS[reason].short)
        text = why(story, reason)
    else:
        headline = Text(
            "{subject} is still stuck after a restart",
            "{subject} is still stuck after {count} restarts",
            subject=subject,
            count=restarts,
        )
        if restarts == 0:
            headline = Text("{subject} needs a person", subject=subject)
        text = [to_do(_advice(story))]
        if not _stuck(story):  # that it is stuck stands in the headline
            text += why(story, None)
    shown = facts.gathered(story, rules, queue_facts.queues, queue_facts.head, facts.since, facts.tried)
    return Content("act", headline, [*text, HANDS_OFF, *_cause(story)], shown)


HANDS_OFF = Text("Unstick won't restart it again until it is healthy, a person resumes it, or 24 hours have passed.")


def _stuck(story: CardInput) -> bool:
    return story.incident is not None and any(watched.verdict is Verdict.STUCK for watched in story.incident.queues)


def _advice(story: CardInput) -> Text:
    """What fits what was seen of the consumers."""
    counts = [watched.consumers for watched in story.incident.queues if watched.consumers is not None] if story.incident else []
    if not counts:
        return Text("check the queue and the application's log, and restart it by hand if it hangs.")
    if min(counts) == 0:
        return Text(
            "no consumer came back: the application did not start or did not connect. Read its log, then start it by hand."
        )
    return Text(
        "consumers are connected but acknowledge nothing: they probably hang on the same message or dependency again. "
        "Check the message at the head of the queue and the application's log; move that message away or roll back."
    )


def _cause(story: CardInput) -> list[Phrase]:
    """The line that reminds people of the bug."""
    if story.runbook is None:
        return []
    if cause := tidy(story.runbook.root_cause, 300):
        return [Text("The bug behind it is still open: {cause}", cause=cause)]
    return [Text("The runbook has no root_cause: the bug will come back until somebody owns it.")]


def _evidence(story: CardInput) -> tuple[str, ...]:
    tail = story.incident.tail if story.incident else None
    return tuple(clean(line, EVIDENCE_LINE, CUT) for line in (tail or ())[-EVIDENCE_LINES:])


def _resolved(story: CardInput, rules: Rules) -> Content:
    headline = Text("the alert of {subject} is resolved", subject=facts.subject(story))
    return Content(
        "fine", headline, [Text("Grafana reports the alert as resolved.")], facts.gathered(story, rules, queue_facts.queues)
    )


def _not_approved(story: CardInput, rules: Rules) -> Content:
    subject = facts.subject(story)
    again = story.incident is not None and story.incident.restarts > 0
    headline = Text("{subject} was not restarted: nobody approved it in time", subject=subject)
    if again:
        headline = Text("{subject} was not restarted again: nobody approved it in time", subject=subject)
    reason = None if story.reason is Reason.AWAITING_APPROVAL else story.reason  # its sentence asks for what is too late now
    text: list[Phrase] = [
        Text("The approval link has expired. Check the queue and restart the application by hand if it is still stuck."),
        *why(story, reason, todo=False),
        *([HANDS_OFF, *_cause(story)] if again else []),
    ]
    shown = facts.gathered(story, rules, queue_facts.queues, facts.since, facts.tried if again else facts.restart)
    return Content("act", headline, text, shown)


def _test(story: CardInput, rules: Rules) -> Content:
    text: list[Phrase] = [Text("The path from Grafana through Unstick to this chat works.")]
    return Content("fine", Text("the test notification arrived"), text, facts.gathered(story, rules))


def _bundle(story: CardInput, rules: Rules) -> Content:
    count, explained = len(story.bundled), REASONS[story.reason] if story.reason else None
    headline = Text(
        "{count} target or alert was not restarted: {why}",
        "{count} targets or alerts were not restarted: {why}",
        count=count,
        why=explained.short if explained else story.detail,
    )
    if story.reason is Reason.TEST_ALERT:
        headline = Text("{count} test notification arrived", "{count} test notifications arrived", count=count)
    shown = facts.gathered(story, rules, facts.names)
    return Content(explained.urgency if explained else "act", headline, why(story, story.reason), shown)


def _paused(story: CardInput, rules: Rules) -> Content:
    text = [Text("Alerts are still received and reported, but nothing is restarted until Unstick is resumed."), *why(story, None)]
    return Content("watch", Text("Unstick is paused and restarts nothing"), text, facts.gathered(story, rules))


def _resumed(story: CardInput, rules: Rules) -> Content:
    headline = Text("Unstick is no longer paused")
    if story.target or story.runbook or story.trigger:
        headline = Text("{subject} can be restarted again", subject=facts.subject(story))
    text = [Text("The next alert is handled as usual."), *why(story, None)]
    return Content("fine", headline, text, facts.gathered(story, rules))


def _unsigned(story: CardInput, rules: Rules) -> Content:
    todo = Text(
        "check what is firing in Grafana. Add the former key back as the last of `signing_keys`; "
        "alerts of the last day are then processed."
    )
    text: list[Phrase] = [
        Text("They waited in the scheduler. Their signature fits none of the current `signing_keys`, so they restart nothing."),
        to_do(todo),
    ]
    return Content(
        "act", Text("accepted alerts can't be processed: their signing key is missing"), text, facts.gathered(story, rules)
    )


def _other(story: CardInput, rules: Rules) -> Content:
    headline = Text("news about {subject}", subject=facts.subject(story))
    return Content("watch", headline, why(story, story.reason), facts.gathered(story, rules, queue_facts.queues))


KINDS: Mapping[str, Callable[[CardInput, Rules], Content]] = {
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
