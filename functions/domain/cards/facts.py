"""The facts of a card but its queues: times, attempts, alert and links, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import Fact, clock, tidy
from functions.domain.model.incidents import AlertRef, PastAttempt
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules
from functions.domain.texts import words
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import duration, worded
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

BUNDLED_SHOWN = 20
LINKS: Mapping[str, Text] = {
    "panel": Text("Panel"),
    "dashboard": Text("Dashboard"),
    "alert": Text("Alert rule"),
    "runbook": Text("Runbook page"),
    "silence": Text("Silence"),
}


def subject(story: CardInput) -> Phrase:
    """The subject of the headline: the target's values, otherwise runbook, alert or queue."""
    options = sorted(story.target.options.items()) if story.target else []
    trigger = first_trigger(story)
    names = (
        " ".join(str(value) for _, value in options),
        story.runbook.name if story.runbook else "",
        trigger.name if trigger else "",
        story.target.job if story.target else "",
    )
    tidied = (tidy(name, 60) for name in names)
    return next(filter(None, tidied), "") or Text("an unnamed target")


def short_name(story: CardInput) -> Phrase:
    """The name in a bundled message: the target, otherwise the alert with the summary, which tells alerts of one rule apart."""
    trigger = first_trigger(story)
    if story.target is not None or trigger is None:
        return tidy(story.target.name) if story.target else subject(story)
    return named(tidy(trigger.name), tidy(trigger.summary))


def first_trigger(story: CardInput) -> AlertRef | None:
    """The alert that the card is about."""
    if story.trigger is not None:
        return story.trigger
    return story.incident.triggers[0] if story.incident and story.incident.triggers else None


def from_alert_s(story: CardInput) -> float | None:
    """Seconds from the alert to the card."""
    incident = story.incident
    if incident is None:
        return None
    return max(0.0, story.at - min((trigger.starts_at for trigger in incident.triggers), default=incident.began_at))


def took(story: CardInput) -> Iterator[Fact]:
    """How long it took from the alert, and from the end of the restart (on our clock)."""
    alert_s = from_alert_s(story)
    if alert_s is None or story.incident is None:
        return
    execution = story.incident.execution
    if execution is None or execution.runner_ended_at is None:
        yield Text("Took"), Text("{alert} from the alert", alert=duration(alert_s))
    else:
        restart = duration(story.at - (execution.runner_ended_at - story.incident.runner_ahead_s))
        yield (
            Text("Took"),
            Text("{alert} from the alert, {restart} from the end of the restart", alert=duration(alert_s), restart=restart),
        )


def since(story: CardInput) -> Iterator[Fact]:
    """How long the alert has been firing."""
    alert_s = from_alert_s(story)
    if alert_s is None and story.trigger is not None:
        alert_s = max(0.0, story.at - story.trigger.starts_at)
    if alert_s is not None:
        yield Text("Firing for"), duration(alert_s)


def attempt(story: CardInput) -> Iterator[Fact]:
    """The number of this restart, and of how many."""
    if story.incident is not None and story.incident.restarts > 0:
        restarts = story.incident.restarts
        attempts = max(story.runbook.limits.attempts if story.runbook else restarts, restarts)
        yield Text("Attempt"), Text("{attempt} of {attempts}", attempt=restarts, attempts=attempts)


def restart(story: CardInput) -> Iterator[Fact]:
    """The execution that the incident follows, and who pressed the button."""
    incident = story.incident
    if incident is not None and incident.execution is not None:
        parts = [_execution(incident.execution)]
        if incident.adopted:
            user = tidy(incident.execution.user, 60)
            parts.append(Text("started by {user}", user=user) if user else Text("started by somebody else"))
        yield Text("Restart"), join(parts, COMMA)
    if incident is not None and incident.approved_by:
        yield Text("Approved by"), tidy(incident.approved_by)


def _execution(execution: Execution) -> Phrase:
    parts: list[Phrase] = [Text("execution {id}", id=tidy(execution.id, 40)), worded(execution.status)]
    if execution.runner_ended_at is not None and execution.runner_started_at is not None:
        parts.append(duration(execution.runner_ended_at - execution.runner_started_at))
    return join(parts, COMMA)


def tried(story: CardInput) -> Iterator[Fact]:
    """Every attempt of this incident, one line each, the last restart included."""
    incident = story.incident
    if incident is None:
        return
    lines = [_past_attempt(one) for one in incident.tries[-6:]]
    last = incident.execution
    if last is not None and all(one.execution is None or one.execution.id != last.id for one in incident.tries):
        lines.append(_execution(last))
    for place, line in enumerate(lines, 1):
        yield Text("Tried") if place == 1 else "", Text("{place}. {line}", place=place, line=line)


def _past_attempt(past: PastAttempt) -> Phrase:
    return named(tidy(past.tag, 60) if past.execution is None else _execution(past.execution), worded(past.how))


def about(story: CardInput, rules: Rules) -> Iterator[Fact]:
    """Alert, target, runbook, incident and time, with which every card ends."""
    if trigger := first_trigger(story):
        yield words.ALERT, _alert(trigger, story)
    if story.target:
        yield words.TARGET, tidy(story.target.name, 200)
    if story.runbook:
        yield Text("Runbook"), tidy(story.runbook.name)
    if story.reason:
        yield Text("Reason code"), story.reason.value
    if story.incident:
        yield Text("Incident"), tidy(story.incident.id, 60)
    yield Text("Time"), clock(rules, story.at)


def _alert(trigger: AlertRef, story: CardInput) -> Phrase:
    alert = named(in_brackets(tidy(trigger.name), tidy(trigger.severity, 20)), tidy(trigger.summary, 300))
    count = len(story.incident.triggers) - 1 if story.incident else 0
    return Text("{alert} and {count} more", alert=alert, count=count) if count > 0 else alert


def names(story: CardInput) -> Iterator[Fact]:
    """The targets or alerts of a bundled message."""
    distinct = list(dict.fromkeys(story.bundled))
    shown: list[Phrase] = [tidy(name, 80) for name in distinct[:BUNDLED_SHOWN]]
    if len(distinct) > BUNDLED_SHOWN:
        shown.append(Text("and {count} more", count=len(distinct) - BUNDLED_SHOWN))
    if shown:
        yield Text("Concerned"), join(shown, COMMA)


def links(story: CardInput) -> Iterator[tuple[Phrase, str]]:
    """(label, URL), the most urgent first. What is not a plain web address is left out."""
    trigger = first_trigger(story)
    known = trigger.links if trigger else {}
    execution = story.incident.execution if story.incident else None
    wanted = [(words.LINK_APPROVE, story.approve_url), (words.LINK_EXECUTION, execution.url if execution else "")]
    wanted += [(label, known.get(name, "")) for name, label in LINKS.items()]
    wanted += [(words.LINK_CAUSE, story.runbook.root_cause if story.runbook else "")]
    return ((label, safe) for label, url in wanted if (safe := safe_url(url)))


def gathered(story: CardInput, rules: Rules, *parts: Callable[[CardInput], Iterator[Fact] | list[Fact]]) -> list[Fact]:
    """The facts of these kinds, in this order, and what every card ends with."""
    found = [fact for part in parts for fact in part(story)] + list(about(story, rules))
    return [(label, value) for label, value in found if value]
