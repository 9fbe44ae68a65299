"""The facts of a card: its queues and their curve, who holds messages, times, attempts, alert and links."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf

from functions.domain.cards.content import CardInput, Fact, clock, tidy
from functions.domain.health.recovery import find_same_again
from functions.domain.model.cards import CardKind
from functions.domain.model.codes import ASKED, Proof, Reason
from functions.domain.model.incidents import AlertRef, Escalation, Outcome, Place, QueueState
from functions.domain.model.observations import Execution, Holder, Samples
from functions.domain.model.runbooks import Rules
from functions.domain.texts import words
from functions.domain.texts.words import REASONS, consumers, duration, messages, safe_url, worded
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

QUEUES_SHOWN = 5
QUEUE_NAME = 190  # maximum length of a queue's name, which may include its place
HOLDERS_SHOWN = 3
PLACE = 200
FRESH_S = 15.0  # seconds. Older figures are shown with their age: they may be from before a restart.


def find_same(place: Place, card_input: CardInput) -> tuple[list[Outcome], int]:
    """The target's last incidents that hung at the same place, of how many: whose place is known, or that were restarted."""
    own = incident_id(card_input)
    hung = [outcome for outcome in card_input.outcomes if outcome.incident != own and (outcome.places or outcome.restarts)]
    return [outcome for outcome in hung if place.spot in {each.spot for each in outcome.places}], len(hung)


def places(card_input: CardInput) -> Iterator[Fact]:
    """Where it hangs, each place with its host if there are several, and how many of the target's last incidents hung there."""
    shown = () if card_input.reason in UNPROVED else card_input.places
    hangs = card_input.kind not in (CardKind.RECOVERED, CardKind.RESOLVED)
    for number, place in enumerate(shown):
        same, count = find_same(place, card_input)
        as_in = Text("as in the last incident", "as in {same} of the last {count} incidents", count=count, same=len(same))
        where = named(tidy(place.host) if len(shown) > 1 else "", tidy(place.text, PLACE))
        yield "" if number else Text("Hangs at") if hangs else Text("Hung at"), join((where, as_in if same else ""))


def fewest_consumers(card_input: CardInput) -> int | None:
    """The lowest number of consumers of the incident's queues at the last check; None if none is known. A queue from which the
    application takes by basic.get has none."""
    counts = (state.consumers for state in card_input.queues if not state.looks.polled)
    return min((count for count in counts if count is not None), default=None)


def list_queues(card_input: CardInput) -> list[Fact]:
    """Each queue's consumers and its depth before the restart, and after it once that was checked."""
    state = card_input.queues
    facts: list[Fact] = [(Text("Queue"), _queue(queue, card_input)) for queue in state[:QUEUES_SHOWN]]
    if len(state) > QUEUES_SHOWN:
        facts.append(("", Text("and {count} more queue", "and {count} more queues", count=len(state) - QUEUES_SHOWN)))
    if not state and card_input.trigger and card_input.trigger.queue:
        facts.append((Text("Queue"), tidy(card_input.trigger.queue.split(":", 2)[-1])))
    return facts


PROOFS: Mapping[Proof, Text] = {
    Proof.FULL: Text("a consumer holds as many messages as it may, and does nothing with them"),
    Proof.WORK_WAITS: Text("a consumer holds messages and does nothing with them, and others wait"),
    Proof.UNSERVED: Text("messages wait, and the connected consumers are given none"),
    Proof.GONE: Text("messages wait, and the consumer is gone"),
    Proof.PERHAPS: Text("messages stand still"),
    Proof.STATED: Text("the runbook's condition `stuck` holds"),
}


def proofs(card_input: CardInput) -> list[Fact]:
    """What the restart or the question rests on, how strong it is, and what speaks against it."""
    if card_input.reason in UNPROVED:
        return []
    judged = card_input.queues
    facts: list[Fact] = []
    for proof, likely in dict.fromkeys((queue.proof, queue.is_likely) for queue in judged):
        if proof is not None:
            facts.append((Text("Likely") if likely else Text("Proved"), PROOFS[proof]))
    facts += [(Text("Seen before"), stalls) for stalls in dict.fromkeys(queue.stalls for queue in judged) if stalls]
    facts += [(Text("Against it"), against) for against in dict.fromkeys(queue.against for queue in judged) if against]
    return facts


UNPROVED = {Reason.SYMPTOM_GONE, Reason.SYMPTOM_UNKNOWN, Reason.NEVER_CONSUMED, Reason.GOING_ROUND, Reason.NOT_FIRING}


def _queue(state: QueueState, card_input: CardInput) -> Phrase:
    connected = state.consumers if state.consumers is not None else state.before.consumers if state.before else None
    figures = join((_depth(state), consumers(connected) if connected is not None else ""), COMMA)
    if figures and state.curve and (age_s := card_input.at - state.curve[-1][0]) > FRESH_S:
        figures = Text("{figures} ({age} ago)", figures=figures, age=duration(age_s))
    return named(tidy(state.queue.name, QUEUE_NAME), figures)


def _depth(state: QueueState) -> Phrase:
    """The depth before and after the restart; without a restart the last one, which is in every curve."""
    before, after = state.before, state.after.depth
    last_at, last = state.curve[-1] if state.curve else (inf, after)
    if before is not None and None not in (after, last) and last_at > before.at:  # else an earlier restart left that depth
        return Text("{before} → {count} message", "{before} → {count} messages", before=before.depth, count=last or 0)
    depth = last if last is not None else before.depth if before is not None else None
    return messages(depth) if depth is not None else ""


def holders(card_input: CardInput) -> list[Fact]:
    """Who held the queue's unacknowledged messages at the last look, how many, and the minimum time until then."""
    lines: list[Phrase] = []
    for queue in card_input.queues:
        name = tidy(queue.queue.name) if len(card_input.queues) > 1 else ""
        looked_at = queue.curve[-1][0] if queue.curve else card_input.at
        lines += [named(name, held(holder, looked_at)) for holder in queue.holders]
    more = Text("and {count} more", count=len(lines) - HOLDERS_SHOWN) if len(lines) > HOLDERS_SHOWN else ""
    return [(Text("Held by"), join((*lines[:HOLDERS_SHOWN], more)))]


def held(holder: Holder, at: float) -> Phrase:
    """The holder, its number of messages, and the minimum time that it has held them."""
    who = in_brackets(tidy(holder.name, 60), tidy(holder.host, 60))
    count = messages(holder.messages) if holder.messages is not None else ""
    span = Text("for at least {span}", span=duration(at - holder.since)) if holder.since is not None else ""
    return join((who, count, span), COMMA)


def pick_curve(card_input: CardInput) -> tuple[tuple[float, int], ...]:
    """The curve of the deepest queue."""
    curves = [state.curve for state in card_input.queues if len(state.curve) > 1]
    return max(curves, key=lambda points: max(depth for _, depth in points), default=())


CURVE = Text("Depth")
BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24


def say_curve(depths: Samples) -> Phrase:
    """The curve in figures: first, last, highest, and its time span. Empty for fewer than two samples."""
    if len(depths) < 2:
        return ""
    first, last, peak = depths[0][1], depths[-1][1], max(depth for _, depth in depths)
    span = duration(depths[-1][0] - depths[0][0])
    return Text("{first} → {last} (peak {peak}) in {span}", first=first, last=last, peak=peak, span=span)


def to_bars(samples: Samples) -> str:
    """The curve as bars of text; empty for fewer than two samples. The lowest bar is zero; a bar for several samples
    shows the highest."""
    depths = [max(0, depth) for _, depth in samples]
    if len(depths) < 2:
        return ""
    width, highest = min(BARS_SHOWN, len(depths)), max(depths) or 1
    heights = (max(depths[place * len(depths) // width : (place + 1) * len(depths) // width]) for place in range(width))
    return "".join(BARS[max(1, round(height * 7 / highest)) if height else 0] for height in heights)


BUNDLED_SHOWN = 10

UNHELPED = (Reason.LEDGER_UNKNOWN, Reason.RUNNER_CLOCK, Reason.ZOMBIE_EXECUTION, Reason.START_UNCLEAR)
"""Reasons for which waiting doesn't help, though Unstick checks again."""

BY_HAND = {CardKind.HELD, CardKind.ESCALATED, CardKind.ESCALATED_AGAIN, CardKind.NOT_APPROVED, CardKind.DECLINED}

LINKS: Mapping[str, Text] = {
    "panel": Text("Graph"),
    "dashboard": Text("Dashboard"),
    "alert": Text("Alert"),
    "runbook": Text("Runbook page"),
    "silence": Text("Silence"),
}

MOVING = "rabbitmq.md#moving-one-message-by-hand"
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


def since(card_input: CardInput) -> Iterator[Fact]:
    """How long the alert has been firing, if it still does."""
    triggers = card_input.shown.triggers
    is_over = bool(triggers) and all(trigger.resolved_at is not None for trigger in triggers)
    if not is_over and (alert_s := fired_s(card_input)) is not None:
        yield Text("Firing for"), duration(alert_s)


def say_starter(execution: Execution) -> Phrase:
    """Who started it; empty if Unstick did, or nobody is known."""
    return Text("started by {user}", user=tidy(execution.user, 60)) if execution.user and not execution.tag else ""


def _say_run(execution: Execution | None, tag: str, host: str, how: Phrase = "") -> Phrase:
    """One attempt: its run, who started it if not Unstick, and how the attempt ended if that says more than the run's status.
    `host`: the only one that was restarted, if it was one."""
    parts: list[Phrase] = [tidy(tag, 60)]
    if execution is not None:
        status = worded(execution.status)
        parts = [Text("execution {id}", id=tidy(execution.id, 40)), status]
        if execution.runner_ended_at is not None and execution.runner_started_at is not None:
            parts.append(duration(execution.runner_ended_at - execution.runner_started_at))
        parts.append(say_starter(execution))
        how = how if how != status else ""
    parts.append(Text("only on {host}", host=tidy(host, 60)) if host else "")
    return named(join(parts, COMMA), how)


def evidence(card_input: CardInput) -> Iterator[Fact]:
    """Why the evidence is incomplete. What was collected is on the card, and its run behind a link."""
    if (collected := card_input.shown.evidence) and collected.missing:
        yield Text("Evidence"), Text("incomplete: {why}", why=collected.missing)


def shown_lines(card_input: CardInput) -> tuple[Phrase, tuple[str, ...]]:
    """The title of the card's lines, and the lines: the end of the restart's log if a person is needed, else the evidence."""
    incident = card_input.shown
    needs_person = card_input.kind == CardKind.ESCALATED or (card_input.kind == CardKind.HELD and incident.tries)
    if needs_person and incident.run.tail:
        return words.LOG_END, incident.run.tail
    shows = card_input.kind in (CardKind.STARTED, CardKind.HELD, CardKind.ESCALATED)
    return words.EVIDENCE, incident.evidence.lines if incident.evidence and shows else ()


def restarts(card_input: CardInput) -> Iterator[Fact]:
    """Every attempt of this incident, one line each, the current one last; and who approved."""
    incident, approval, tries = card_input.shown, card_input.shown.approval, card_input.shown.tries
    lines = [_say_run(past.execution, past.tag, past.holder_host, worded(past.how)) for past in tries[-6:]]
    last = incident.execution
    if last is not None and all(past.execution is None or past.execution.id != last.id for past in tries):
        lines.append(_say_run(last, "", incident.run.holder_host))
    for place, line in enumerate(lines, 1):
        yield Text("Restart") if place == 1 else "", Text("{place}. {line}", place=place, line=line)
    if approval.approved_by:
        yield Text("Approved by"), named(tidy(approval.approved_by), tidy(approval.approved_why, 200))


def about(card_input: CardInput, rules: Rules) -> Iterator[Fact]:
    """Alert, incident and time, at the end of every card."""
    if trigger := first_trigger(card_input):
        yield words.ALERT, named(tidy(trigger.name), tidy(trigger.summary, 300))
    yield Text("Incident"), incident_id(card_input)
    yield Text("Time"), clock(rules, card_input.at)


def incident_id(card_input: CardInput) -> str:
    """The id of the incident that the card is about; empty without one."""
    if thread := card_input.escalation or card_input.incident:
        return tidy(thread.incident if isinstance(thread, Escalation) else thread.id, 80)
    return ""


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
    restarted = card_input.incident or card_input.escalation
    execution, collected = card_input.about or card_input.shown.execution, card_input.shown.evidence
    queues = card_input.queues
    same = find_same_again(queues)
    queue = same or next(iter(queues), None)
    wanted: list[tuple[Phrase, str]] = [
        (Text("Approve the restart") if card_input.reason in ASKED else Text("Approve a restart anyway"), card_input.approve_url),
        (Text("Acknowledge"), card_input.acknowledge_url),
        (words.WAS_HEALTHY, card_input.healthy_url),
        (words.LINK_BY_HAND, restarted.start_page if restarted and asks_to_restart(card_input) else ""),
        (Text("Queue in RabbitMQ"), queue.queue.page if queue else ""),
        (Text("Moving one message by hand"), f"{rules.docs_url}/{MOVING}" if same and rules.docs_url else ""),
        (Text("{runner} execution"), execution.url if execution else ""),
        (Text("Details"), page_of_incident(incident_id(card_input), rules)),
        (Text("Evidence in {runner}"), collected.execution.url if collected and collected.execution else ""),
        *((label, of_alert.get(name, "")) for name, label in LINKS.items()),
        (words.LINK_CAUSE, card_input.runbook.root_cause if card_input.runbook else ""),
    ]
    return ((label, safe) for label, url in wanted if (safe := safe_url(url)))


def asks_to_restart(card_input: CardInput) -> bool:
    """Whether the card asks for a possible restart by hand."""
    reason = card_input.reason
    may_help = reason is None or (REASONS[reason].by_hand and (reason in UNHELPED or not card_input.again))
    return card_input.kind in BY_HAND and may_help


def gather(card_input: CardInput, rules: Rules, *parts: Part) -> list[Fact]:
    """Where it hangs, the facts of these kinds, in this order, then those at the end of every card."""
    facts = (*places(card_input), *(fact for part in parts for fact in part(card_input)), *about(card_input, rules))
    return [(label, value) for label, value in facts if value]
