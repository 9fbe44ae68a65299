"""The facts of a card, except its queues: times, attempts, alert and links."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from functions.domain.cards.card_input import CardInput
from functions.domain.model.incidents import AlertRef, PastAttempt
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules
from functions.domain.texts import details
from functions.domain.texts.sanitize import clean, safe_url
from functions.domain.texts.words import duration, say
from functions.runtime.text import Phrase, in_language

NAME = 120
SENTENCE = 600
BUNDLED_SHOWN = 20
LINKS = ("panel", "dashboard", "alert", "runbook", "silence")

Fact = tuple[str, str]


def tidy(rules: Rules, text: object, limit: int = NAME) -> str:
    """One line of untrusted text within `limit`."""
    return clean(text, limit, say(rules.language, "shortened"))


def exactly(rules: Rules, phrase: Phrase, limit: int = SENTENCE) -> str:
    """One of Unstick's exact sentences in the configured language, whatever it holds of strangers, within `limit`."""
    return tidy(rules, details.in_language(rules.language, in_language(rules.language, phrase)), limit)


def clock(rules: Rules, at: float) -> str:
    """A time in the configured time zone, for people."""
    try:
        return datetime.fromtimestamp(at, rules.zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError, OSError):
        return "?"


def number(value: int) -> str:
    """A count with thousands separators."""
    return f"{value:,}"


def listed(rules: Rules, parts: Iterable[str]) -> str:
    """The parts that are not empty, with commas between."""
    return say(rules.language, "comma").join(filter(None, parts))


def named(rules: Rules, name: str, text: str) -> str:
    """Name and text with a colon between, or the name alone if there is no text."""
    return say(rules.language, "colon").join(filter(None, (name, text)))


def headline(rules: Rules, urgency: str, text: str) -> str:
    """The headline behind the words that say whether anybody must get up."""
    return named(rules, say(rules.language, urgency), text)


def subject(story: CardInput, rules: Rules) -> str:
    """The subject of the headline: the target's values, otherwise runbook, alert or queue."""
    options = sorted(story.target.options.items()) if story.target else []
    trigger = first_trigger(story)
    found = (
        " ".join(str(value) for _, value in options),
        story.runbook.name if story.runbook else "",
        trigger.name if trigger else "",
        story.target.job if story.target else "",
    )
    tidied = (tidy(rules, text, 60) for text in found)
    return next(filter(None, tidied), "") or say(rules.language, "unnamed")


def short_name(story: CardInput, rules: Rules) -> str:
    """The name in a bundled message: the target, otherwise the alert with the summary, which tells alerts of one rule apart."""
    trigger = first_trigger(story)
    if story.target is not None or trigger is None:
        return tidy(rules, story.target.name if story.target else subject(story, rules))
    return named(rules, tidy(rules, trigger.name), tidy(rules, trigger.summary))


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


def took(story: CardInput, rules: Rules) -> list[Fact]:
    """How long it took from the alert, and from the end of the restart (on our clock)."""
    alert_s = from_alert_s(story)
    if alert_s is None or story.incident is None:
        return []
    alert = duration(rules.language, alert_s)
    execution = story.incident.execution
    if execution is None or execution.runner_ended_at is None:
        return [(say(rules.language, "took"), say(rules.language, "took_alert", alert=alert))]
    restart = duration(rules.language, story.at - (execution.runner_ended_at - story.incident.runner_ahead_s))
    return [(say(rules.language, "took"), say(rules.language, "took_both", alert=alert, restart=restart))]


def since(story: CardInput, rules: Rules) -> list[Fact]:
    """How long the alert has been firing."""
    alert_s = from_alert_s(story)
    if alert_s is None and story.trigger is not None:
        alert_s = max(0.0, story.at - story.trigger.starts_at)
    return [(say(rules.language, "since"), duration(rules.language, alert_s))] if alert_s is not None else []


def attempt(story: CardInput, rules: Rules) -> list[Fact]:
    """The number of this restart, and of how many."""
    if story.incident is None or story.incident.restarts == 0:
        return []
    of = story.runbook.limits.attempts if story.runbook else story.incident.restarts
    text = say(rules.language, "attempt_of", attempt=story.incident.restarts, attempts=max(of, story.incident.restarts))
    return [(say(rules.language, "attempt"), text)]


def restart(story: CardInput, rules: Rules) -> list[Fact]:
    """The execution that the incident follows, and who pressed the button."""
    incident = story.incident
    found: list[Fact] = []
    if incident is not None and incident.execution is not None:
        text = _execution(incident.execution, rules)
        if incident.adopted:
            user = tidy(rules, incident.execution.user, 60)
            by = say(rules.language, "by_other", user=user) if user else say(rules.language, "by_somebody")
            text = listed(rules, (text, by))
        found.append((say(rules.language, "restart"), text))
    if incident is not None and incident.approved_by:
        found.append((say(rules.language, "approved"), tidy(rules, incident.approved_by)))
    return found


def _execution(execution: Execution, rules: Rules) -> str:
    parts = [say(rules.language, "execution", id=tidy(rules, execution.id, 40)), worded(execution.status, rules)]
    if execution.runner_ended_at is not None and execution.runner_started_at is not None:
        parts.append(duration(rules.language, execution.runner_ended_at - execution.runner_started_at))
    return listed(rules, parts)


def worded(status: str, rules: Rules) -> str:
    """How an execution or an attempt ended, in words."""
    known = ("running", "succeeded", "failed", "aborted", "stuck", "refused_late")
    first, _, rest = status.partition(": ")
    words = say(rules.language, first) if first in known else tidy(rules, first, 60)
    return say(rules.language, "in_brackets", text=words, more=worded(rest, rules)) if rest and rest != first else words


def tried(story: CardInput, rules: Rules) -> list[Fact]:
    """Every attempt of this incident, one line each, the last restart included."""
    incident = story.incident
    if incident is None:
        return []
    lines = [_try(one, rules) for one in incident.tries[-6:]]
    last = incident.execution
    if last is not None and all(one.execution is None or one.execution.id != last.id for one in incident.tries):
        lines.append(_execution(last, rules))
    return [(say(rules.language, "tried") if place == 1 else "", f"{place}. {line}") for place, line in enumerate(lines, 1)]


def _try(one: PastAttempt, rules: Rules) -> str:
    what = tidy(rules, one.tag, 60) if one.execution is None else _execution(one.execution, rules)
    return named(rules, what, worded(one.how, rules))


def about(story: CardInput, rules: Rules) -> list[Fact]:
    """Alert, target, runbook, incident and time, with which every card ends."""
    language = rules.language
    found: list[Fact] = []
    if trigger := first_trigger(story):
        found.append((say(language, "alert"), _alert(trigger, story, rules)))
    if story.target:
        found.append((say(language, "target"), tidy(rules, story.target.name, 200)))
    if story.runbook:
        found.append((say(language, "runbook"), tidy(rules, story.runbook.name)))
    if story.reason:
        found.append((say(language, "reason"), story.reason.value))
    if story.incident:
        found.append((say(language, "incident"), tidy(rules, story.incident.id, 60)))
    found.append((say(language, "when"), clock(rules, story.at)))
    return [(label, text) for label, text in found if text]


def _alert(trigger: AlertRef, story: CardInput, rules: Rules) -> str:
    name, severity = tidy(rules, trigger.name), tidy(rules, trigger.severity, 20)
    name = say(rules.language, "in_brackets", text=name, more=severity) if severity else name
    text = named(rules, name, tidy(rules, trigger.summary, 300))
    count = len(story.incident.triggers) - 1 if story.incident else 0
    return say(rules.language, "with_more", text=text, count=count) if count > 0 else text


def names(story: CardInput, rules: Rules) -> list[Fact]:
    """The targets or alerts of a bundled message."""
    distinct = list(dict.fromkeys(story.bundled))
    shown = [tidy(rules, name, 80) for name in distinct[:BUNDLED_SHOWN]]
    if len(distinct) > BUNDLED_SHOWN:
        shown.append(say(rules.language, "and_more", count=len(distinct) - BUNDLED_SHOWN))
    return [(say(rules.language, "names"), listed(rules, shown))] if shown else []


def links(story: CardInput, rules: Rules) -> tuple[Fact, ...]:
    """(label, URL), the most urgent first. Anything but a plain web address is left out."""
    trigger = first_trigger(story)
    known = trigger.links if trigger else {}
    execution = story.incident.execution if story.incident else None
    cause = story.runbook.root_cause if story.runbook else ""
    wanted = [("approve", story.approve_url), ("execution", execution.url if execution else "")]
    wanted += [(name, known.get(name, "")) for name in LINKS] + [("cause", cause)]
    safe = ((name, safe_url(url)) for name, url in wanted)
    return tuple((say(rules.language, f"link_{name}"), url) for name, url in safe if url)


def gathered(story: CardInput, rules: Rules, *parts: Callable[[CardInput, Rules], list[Fact]]) -> tuple[Fact, ...]:
    """The facts of these kinds, in this order."""
    return tuple(fact for part in parts for fact in part(story, rules))
