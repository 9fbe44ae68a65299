"""The facts of a card, except its queues: times, attempts, alert and links."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from functions.domain.cards.content import CardInput, Fact, clock, tidy
from functions.domain.health.recovery import find_same_again, find_survivor
from functions.domain.model.codes import ASKED, Reason, Verdict
from functions.domain.model.incidents import AlertRef, Escalation, PastAttempt, Run
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules
from functions.domain.texts import words
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import duration, worded
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

BUNDLED_SHOWN = 10
BUNDLED_LINKS = 5

UNHELPED = (Reason.LEDGER_UNKNOWN, Reason.RUNNER_CLOCK, Reason.ZOMBIE_EXECUTION, Reason.START_UNCLEAR)
"""Reasons for which waiting doesn't help, though Unstick checks again."""

LINKS: Mapping[str, Text] = {
    "panel": Text("Panel"),
    "dashboard": Text("Dashboard"),
    "alert": Text("Alert rule"),
    "runbook": Text("Runbook page"),
    "silence": Text("Silence"),
}

MOVING = "rabbitmq.md#moving-one-message-by-hand"
PAGES = {"en": "operations.md", "ja": "operations.ja.md"}  # the page of the reason codes; English by default
PAGE_ID = re.compile(r"[A-Za-z0-9-]{1,80}")  # an id that has a page

Part = Callable[[CardInput], Iterable[Fact]]


def subject(card_input: CardInput) -> Phrase:
    """The subject of the headline: the target's values, otherwise runbook, alert or queue."""
    trigger, target = first_trigger(card_input), card_input.target
    names = (
        " ".join(str(value) for _, value in sorted(target.options.items())) if target else "",
        card_input.runbook.name if card_input.runbook else "",
        trigger.name if trigger else "",
        target.job if target else "",
    )
    tidied = (tidy(name, 60) for name in names)
    return next(filter(None, tidied), "") or Text("an unnamed target")


def short_name(card_input: CardInput) -> Phrase:
    """The name in a bundled message: the target, otherwise the alert with its summary, which tells alerts of one rule apart."""
    if card_input.target:
        return tidy(card_input.target.name)
    trigger = first_trigger(card_input)
    return named(tidy(trigger.name), tidy(trigger.summary)) if trigger else subject(card_input)


def first_trigger(card_input: CardInput) -> AlertRef | None:
    """The alert that the card is about."""
    return card_input.trigger or next(iter(card_input.shown.triggers), None)


def fired_s(card_input: CardInput) -> float | None:
    """Seconds from the first alert to the card."""
    incident, trigger = card_input.incident, card_input.trigger
    began_at = incident.first_alert_at if incident else trigger.starts_at if trigger else None
    return max(0.0, card_input.at - began_at) if began_at is not None else None


def took(card_input: CardInput) -> Iterator[Fact]:
    """The time since the alert, and since the end of the restart (on our clock)."""
    alert, execution = duration(fired_s(card_input) or 0.0), card_input.shown.execution
    said = Text("{alert} from the alert", alert=alert)
    if execution is not None and execution.runner_ended_at is not None:
        restart = duration(card_input.at - (execution.runner_ended_at - card_input.shown.runner_ahead_s))
        said = Text("{alert} from the alert, {restart} from the end of the restart", alert=alert, restart=restart)
    yield Text("Took"), said


def since(card_input: CardInput) -> Iterator[Fact]:
    """How long the alert has been firing."""
    if (alert_s := fired_s(card_input)) is not None:
        yield Text("Firing for"), duration(alert_s)


def attempt(card_input: CardInput) -> Iterator[Fact]:
    """The number of this restart, and the maximum."""
    if restarts := card_input.shown.restarts:
        attempts = max(card_input.attempts, restarts)
        yield Text("Attempt"), Text("{attempt} of {attempts}", attempt=restarts, attempts=attempts)


def taken(card_input: CardInput) -> Iterator[Fact]:
    """When the incident was escalated, and who has taken it."""
    escalation = card_input.escalation
    if escalation is None:
        return
    yield Text("Escalated"), Text("{age} ago", age=duration(card_input.at - escalation.at))
    if escalation.taken_by:
        yield Text("Acknowledged by"), tidy(escalation.taken_by)


def declined(card_input: CardInput) -> Iterator[Fact]:
    """Who declined the restart, and why."""
    if by := card_input.shown.approval.declined_by:
        yield Text("Declined by"), tidy(by)
        yield Text("Their reason"), tidy(str(card_input.detail), 200)


def _current_execution(run: Run, execution: Execution) -> Phrase:
    if not run.adopted:
        return join((_execution(execution), _only_host(run.holder_host)), COMMA)
    user = tidy(execution.user, 60)
    by = Text("started by {user}", user=user) if user else Text("started by somebody else")
    return join((_execution(execution), by), COMMA)


def _execution(execution: Execution) -> Phrase:
    parts: list[Phrase] = [Text("execution {id}", id=tidy(execution.id, 40)), worded(execution.status)]
    if execution.runner_ended_at is not None and execution.runner_started_at is not None:
        parts.append(duration(execution.runner_ended_at - execution.runner_started_at))
    return join(parts, COMMA)


def evidence(card_input: CardInput) -> Iterator[Fact]:
    """The run that collected evidence, or why there is none."""
    collected = card_input.shown.evidence
    if collected is None:
        return
    run = collected.execution
    if collected.missing:
        partly = collected.lines and run is not None and not run.ended
        why = Text("incomplete: {why}") if partly else Text("none: {why}")
        yield Text("Evidence"), why.fill(why=collected.missing)
    elif run is not None:
        yield Text("Evidence"), join((_execution(run), collected.without))


def shown_lines(card_input: CardInput) -> tuple[Phrase, tuple[str, ...]]:
    """The title of the card's lines, and the lines: the end of the restart's log if a person is needed, else the evidence."""
    if card_input.incident is None or card_input.kind not in (CardKind.STARTED, CardKind.HELD, CardKind.ESCALATED):
        return "", ()
    if card_input.shown.run.tail and card_input.kind == CardKind.ESCALATED:
        return words.LOG_END, card_input.shown.run.tail
    if card_input.kind != CardKind.ESCALATED and (
        card_input.shown.tries or (card_input.kind == CardKind.HELD and card_input.shown.restarts)
    ):
        return "", ()  # an earlier card showed it: evidence is collected before the first restart
    return words.EVIDENCE, card_input.shown.evidence.lines if card_input.shown.evidence else ()


def restarts(card_input: CardInput) -> Iterator[Fact]:
    """Every attempt of this incident, or of the one that was escalated, one line each, the current one last; and who approved."""
    incident, escalation, approval = card_input.shown, card_input.escalation, card_input.shown.approval
    tries = escalation.tries if escalation and not card_input.incident else incident.tries
    lines, last = [_tried(past) for past in tries[-6:]], incident.execution
    if last is not None and all(past.execution is None or past.execution.id != last.id for past in tries):
        lines.append(_current_execution(incident.run, last))
    if not tries and last is not None:
        yield Text("Restart"), lines[0]
    for place, line in enumerate(lines if tries else (), 1):
        yield Text("Tried") if place == 1 else "", Text("{place}. {line}", place=place, line=line)
    if approval.approved_by:
        yield Text("Approved by"), named(tidy(approval.approved_by), tidy(approval.approved_why, 200))


def _tried(past: PastAttempt) -> Phrase:
    execution = tidy(past.tag, 60) if past.execution is None else _execution(past.execution)
    how = worded(past.how) if past.execution is None or worded(past.how) != worded(past.execution.status) else ""
    return named(join((execution, _only_host(past.holder_host)), COMMA), how)


def _only_host(host: str) -> Phrase:
    return Text("only on {host}", host=tidy(host, 60)) if host else ""


def about(card_input: CardInput, rules: Rules) -> Iterator[Fact]:
    """Alert, target, runbook, incident and time, at the end of every card."""
    if trigger := first_trigger(card_input):
        yield words.ALERT, _alert(trigger, card_input)
    if card_input.target:
        yield words.TARGET, tidy(card_input.target.name, 200)
    if card_input.runbook:
        yield Text("Runbook"), tidy(card_input.runbook.name)
    if card_input.reason:
        yield Text("Reason code"), card_input.reason.value
    yield words.INCIDENT, incident_id(card_input)
    yield Text("Time"), clock(rules, card_input.at)


def _alert(trigger: AlertRef, card_input: CardInput) -> Phrase:
    sender = Text("from {sender}", sender=trigger.sender) if trigger.sender else ""
    about_it = join((tidy(trigger.severity, 20), sender), COMMA)
    alert = named(in_brackets(tidy(trigger.name), about_it), tidy(trigger.summary, 300))
    count = len(card_input.shown.triggers) - 1
    return Text("{alert} and {count} more", alert=alert, count=count) if count > 0 else alert


def incident_id(card_input: CardInput) -> str:
    """The id of the incident that the card is about; empty without one."""
    if thread := card_input.escalation or card_input.incident:
        return tidy(thread.incident if isinstance(thread, Escalation) else thread.id, 80)
    return tidy(card_input.detail, 80) if card_input.kind == CardKind.RESOLVED else ""


def page_of_incident(incident: str, rules: Rules) -> str:
    """The address of its page, without the signature with which it is posted; empty if there is none."""
    return f"{rules.public_url}/incidents/{incident}" if rules.public_url and PAGE_ID.fullmatch(incident) else ""


def names(card_input: CardInput) -> Iterator[Fact]:
    """The targets or alerts of a bundled message."""
    distinct = list(dict.fromkeys(card_input.bundled))
    listed: list[Phrase] = [tidy(name, 80) for name in distinct[:BUNDLED_SHOWN]]
    if len(distinct) > BUNDLED_SHOWN:
        listed.append(Text("and {count} more", count=len(distinct) - BUNDLED_SHOWN))
    yield Text("Affected"), join(listed, COMMA)


def links(card_input: CardInput, rules: Rules) -> Iterator[tuple[Phrase, str]]:
    """(label, URL), most urgent first. Anything but a plain web address is left out."""
    trigger = first_trigger(card_input)
    of_alert = trigger.links if trigger else {}
    execution, collected = card_input.about or card_input.shown.execution, card_input.shown.evidence
    reason, page = card_input.reason, PAGES.get(rules.language, PAGES["en"])
    bundled = islice(card_input.bundled_links.items(), BUNDLED_LINKS)
    wanted: list[tuple[Phrase, str]] = [
        (words.LINK_APPROVE if card_input.reason in ASKED else Text("Approve a restart anyway"), card_input.approve_url),
        (words.LINK_ACKNOWLEDGE, card_input.acknowledge_url),
        (words.WAS_HEALTHY, card_input.healthy_url),
        (words.LINK_BY_HAND, page_to_restart(card_input) if asks_to_restart(card_input) else ""),
        *((named(words.LINK_BY_HAND, tidy(name, 40)), url) for name, url in bundled),
        *_links_to_queue(card_input, rules),
        (words.LINK_EXECUTION, execution.url if execution else ""),
        (words.LINK_DETAILS, page_of_incident(incident_id(card_input), rules)),
        (words.LINK_REASON, f"{rules.docs_url}/{page}#{reason.value}" if reason and rules.docs_url else ""),
        (words.LINK_EVIDENCE, collected.execution.url if collected and collected.execution else ""),
        *((label, of_alert.get(name, "")) for name, label in LINKS.items()),
        (words.LINK_CAUSE, card_input.runbook.root_cause if card_input.runbook else ""),
    ]
    return ((label, safe) for label, url in wanted if (safe := safe_url(url)))


def _links_to_queue(card_input: CardInput, rules: Rules) -> Iterator[tuple[Phrase, str]]:
    """Where people look at a queue that the restart did not help, and how they move away a message on which it hangs again."""
    hang = (state for state in card_input.queues if state.after.verdict is Verdict.STUCK)
    same = find_same_again(card_input.queues)
    state = same or next(hang, None)
    if state is not None and card_input.kind in (CardKind.ESCALATED, CardKind.ESCALATED_AGAIN):
        yield words.LINK_QUEUE, state.queue.page
        yield words.LINK_MOVE, f"{rules.docs_url}/{MOVING}" if same and rules.docs_url else ""


def asks_to_restart(card_input: CardInput) -> bool:
    """Whether the card asks for a possible restart by hand."""
    kind, reason = card_input.kind, card_input.reason
    if kind in (CardKind.NOT_APPROVED, CardKind.DECLINED):
        return True
    if kind == CardKind.ESCALATED_AGAIN:
        return reason in (None, Reason.AWAITING_APPROVAL) or REASONS[reason].by_hand
    if kind not in (CardKind.HELD, CardKind.ESCALATED):
        return False
    if reason is None:  # it is still stuck
        queues = card_input.queues
        return not (find_survivor(queues) or find_same_again(queues))  # a restart wouldn't help
    if reason is Reason.LEDGER_UNKNOWN and kind == CardKind.HELD and may_run(card_input):
        return False
    return REASONS[reason].by_hand and not (card_input.again and reason not in (*UNHELPED, Reason.COOLDOWN))


def may_run(card_input: CardInput) -> bool:
    """Whether the restart that the incident follows was still running at the last look."""
    return card_input.shown.execution is not None and not card_input.shown.execution.ended and card_input.shown.restarts > 0


def page_to_restart(card_input: CardInput) -> str:
    """The page where people start the job for this target by hand."""
    about = card_input.incident or card_input.escalation
    return about.start_page if about else ""


def gathered(card_input: CardInput, rules: Rules, *parts: Part) -> list[Fact]:
    """The facts of these kinds, in this order, then those at the end of every card."""
    facts = (*(fact for part in parts for fact in part(card_input)), *about(card_input, rules))
    return [(label, value) for label, value in facts if value]
