"""Composes the card of an incident, or of a hold.
The headline alone says how urgent it is. Rendering cleans and cuts every text; each channel escapes it. `compose` accepts any
input: a card that can't be composed would block an incident. Its texts may name
{subject}, {attempt}, {attempts}, {by} and {until}, which are the same for a whole card, without having them."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from functions.domain.cards import facts
from functions.domain.cards.content import CUT, CardInput, Content, clock, details, render, rendered, tidy, to_do
from functions.domain.health.recovery import find_same_again, find_survivor, say_survivor
from functions.domain.model.cards import Card, CardKind
from functions.domain.model.codes import Reason
from functions.domain.model.runbooks import Rules
from functions.domain.texts.words import LINE, LINES, PHASES, REASONS, clean, duration, worded
from functions.runtime.text import COMMA, Phrase, Text, join, named

HANDS_OFF = Text("Unstick leaves it alone until it is healthy or resumed, for 24 h at most.")


def say_held(card_input: CardInput) -> Content:
    """The card of a hold or a question."""
    reason = card_input.reason
    urgency = REASONS[reason].urgency if reason else "act"
    if card_input.again and reason not in facts.UNHELPED and not card_input.remedy:
        urgency = "watch"
    if reason in (Reason.SYMPTOM_GONE, Reason.NOT_FIRING) and not is_seen_well(card_input):
        urgency = "watch"
    if card_input.approve_url and urgency != "fine" and reason is not Reason.LIKELY_STUCK:
        urgency = "act"
    waits = urgency == "watch" and card_input.again
    text = advise(card_input, None if urgency == "fine" or waits else reason)
    if waits and not card_input.calls_nobody:
        text.append(Text("Unstick tries again by itself, and calls a person if that does not help."))
    if card_input.approve_url:
        text = _say_question(card_input, text)
    return Content(urgency, _held_headline(card_input, urgency), text, words=first_words(reason, urgency))


def is_seen_well(card_input: CardInput) -> bool:
    """Whether the look found all queues well: that nothing stands still yet says less."""
    return all(state.after.well_at is not None for state in card_input.queues)


def _say_question(card_input: CardInput, text: list[Phrase]) -> list[Phrase]:
    """What a question says besides: what a restart may cost comes first."""
    approval, tries = card_input.shown.approval, card_input.shown.tries
    asked, failed = approval.asked, tries[-1].execution if tries else None
    if asked is not None and "delivery_limit" in asked.guards:
        text = [MAY_DROP, *text]
    if failed is not None and failed.failed:
        text = [*text, Text("The restart before this question failed: {how}.", how=worded(failed.status))]
    if asked is not None and asked.reminded:
        text = [*text, Text("Nobody has answered for {age}.", age=duration(card_input.at - asked.at))]
    return [*text, Text("The link works once, until {until}.")] if approval.expires_at is not None else text


def first_words(reason: Reason | None, urgency: str) -> Phrase:
    """The first words where Unstick only observes: how urgent it is, the team's own alert says."""
    return Text("NO RESTART") if reason is Reason.OBSERVE_ONLY and urgency == "plan" else ""


def _held_headline(card_input: CardInput, urgency: str) -> Text:
    reason = card_input.reason
    why = REASONS[reason].short if reason else card_input.detail
    judged = [state for state in card_input.queues if state.proof is not None]
    if reason is Reason.OBSERVE_ONLY and judged and all(state.is_likely for state in judged):
        return Text("{subject} may hang; Unstick only observes and would have asked")
    if reason is Reason.SYMPTOM_GONE and not is_seen_well(card_input):
        return Text("Nothing stands still at {subject} right now; nothing was restarted")
    if reason in HEADLINES:
        return HEADLINES[reason]
    if urgency == "fine" or reason is Reason.MONITORING_FAILURE or reason in facts.UNHELPED:
        return Text("{subject}: {why}", why=why)
    if urgency == "watch":
        return Text("{subject} has not been restarted yet: {why}", why=why)
    return Text("{subject} was not restarted: {why}", why=why)


HEADLINES: Mapping[Reason | None, Text] = {
    Reason.OBSERVE_ONLY: Text("{subject} is stuck; Unstick only observes and would have restarted it"),
    Reason.LIKELY_STUCK: Text("{subject} may hang: restart it?"),
    Reason.SYMPTOM_GONE: Text("{subject} is healthy; nothing was restarted"),
    Reason.NOT_FIRING: Text("The alert of {subject} is resolved; nothing was restarted"),
    Reason.AWAITING_APPROVAL: Text("{subject} is stuck: approve a restart?"),
    Reason.NO_RUNBOOK: Text("No runbook matches the alert {subject}"),
}
"""Holds whose headline is a sentence of its own."""


def advise(card_input: CardInput, reason: Reason | None) -> list[Phrase]:
    """What to do about a reason, the remedy of the system that refused, and the exact detail."""
    text: list[Phrase] = [to_do(REASONS[reason].todo)] if reason is not None else []
    if card_input.remedy:
        text.append(card_input.remedy)
    if card_input.detail:
        text.append(details(card_input.detail))
    return text


def say_not_approved(card_input: CardInput) -> Content:
    """The card of a question that nobody answered in time."""
    headline = Text("{subject} was not restarted: nobody answered for a day")
    text: list[Phrase] = [to_do(Text("Check the queue, and restart the application by hand if it is still stuck."))]
    if card_input.reason is Reason.LIKELY_STUCK:
        text.append(Text("Unstick restarts it once there is proof, and asks again when the alert comes again."))
    elif card_input.shown.restarts:
        text.append(HANDS_OFF)
    urgency = "plan" if card_input.reason is Reason.LIKELY_STUCK else "act"
    return Content(urgency, headline, [*text, *advise(card_input, None), *say_cause(card_input)])


def say_declined(card_input: CardInput) -> Content:
    """The person's reason is the detail, in their own words."""
    said = [
        *advise(card_input, card_input.reason),
        Text("Unstick doesn't ask again for this alert; the next one is handled as usual."),
    ]
    return Content("watch", Text("{by} decided not to restart {subject}"), said, words=Text("Declined"))


def say_cause(card_input: CardInput) -> list[Phrase]:
    """The bug behind it, at the end of cards about a restart."""
    if card_input.runbook is None:
        return []
    if cause := tidy(card_input.runbook.root_cause, 300):
        return [Text("The bug behind it is still open: {cause}", cause=cause)]
    return [Text("The runbook has no root_cause: the bug will come back until somebody owns it.")]


def compose(card_input: CardInput, rules: Rules) -> Card:
    """Compose the card. Pure; raises for no content."""
    said, parts = KINDS[card_input.kind]
    content = _set_urgency(said if isinstance(said, Content) else said(card_input), card_input)
    content = replace(content, facts=facts.gather(card_input, rules, *parts), links=facts.links(card_input, rules))
    card = render(rules, card_input.kind, content, card_input.at, _name_values(card_input, rules))
    title, lines = facts.shown_lines(card_input)
    return replace(
        card,
        evidence=tuple(clean(line, LINE, CUT) for line in lines[-LINES:]),
        evidence_title=rendered(rules, title) if lines else "",
        curve=facts.pick_curve(card_input),
        incident=facts.incident_id(card_input),
    )


def _set_urgency(content: Content, card_input: CardInput) -> Content:
    """As urgent as it really is: some call nobody, some are over, and what may be gone is never nothing."""
    if content.urgency == "act" and card_input.calls_nobody:
        content = replace(content, urgency="plan")
    if card_input.kind in ENDS and any(state.may_be_gone for state in card_input.queues):
        well = content.urgency == "fine"
        text = (MAY_BE_GONE, *content.text) if well else (*content.text, MAY_BE_GONE)
        content = replace(content, urgency="plan" if well else content.urgency, text=text)
    if card_input.is_over and content.urgency != "fine":
        content = replace(content, urgency="over", words="", text=(OLD, *content.text))
    return content


def _name_values(card_input: CardInput, rules: Rules) -> dict[str, str]:
    approval, escalation = card_input.shown.approval, card_input.escalation
    attempt = max(1, card_input.shown.restarts)
    return {
        "subject": rendered(rules, facts.subject(card_input)),
        "attempt": str(attempt),
        "attempts": str(max(attempt, card_input.attempts)),
        "by": tidy(escalation.taken_by if escalation else approval.declined_by, 120),
        "until": clock(rules, approval.expires_at or 0.0),
    }


def _started(card_input: CardInput) -> Content:
    incident = card_input.shown
    if incident.execution is None:  # on its page only
        working = Text("Nothing yet: Unstick is working on it, and calls people if it needs them.")
        return Content("watch", named(facts.subject(card_input), PHASES[incident.phase]), [working])
    if incident.run.adopted:
        headline = Text("{subject} is already being restarted; Unstick checks the result")
        return Content("watch", headline, advise(card_input, None))
    text = Text("Unstick is restarting the application and will report the result here.")
    return Content("watch", Text("Restarting {subject} (attempt {attempt} of {attempts})"), [text])


def _recovered(card_input: CardInput) -> Content:
    if card_input.moving:
        left = sum(state.after.depth or 0 for state in card_input.queues)
        text = Text("{subject} is processing again, {count} message left", "{subject} is processing again, {count} messages left")
        still = Text("The queue is not empty yet, but messages are being processed. Unstick stops watching now.")
        return Content("fine", text.fill(count=left), [still, *say_cause(card_input)])
    took = Text("{subject} recovered in {took}", took=duration(facts.fired_s(card_input) or 0.0))
    looks = [Text("Healthy in two checks after the restart.")] if card_input.shown.restarts else []
    return Content("fine", took, [*looks, *say_cause(card_input)])


def _works_again(card_input: CardInput) -> Content:
    headline = Text("{subject} works again") if card_input.escalation else Text("{subject} works again; nothing was restarted")
    if card_input.again:
        names = join((tidy(state.queue.name) for state in card_input.queues), COMMA)
        headline = Text("{queues} of {subject} has recovered; its other queues have not yet", queues=names)
    return Content("watch" if card_input.again else "fine", headline, [Text("Healthy in two checks."), *say_cause(card_input)])


def _escalated(card_input: CardInput) -> Content:
    reason, count = card_input.reason, card_input.shown.restarts
    if reason is not None:
        headline, text = Text("{subject} needs a person: {why}", why=REASONS[reason].short), advise(card_input, reason)
    else:
        stuck = Text("{subject} is still stuck after a restart", "{subject} is still stuck after {count} restarts", count=count)
        headline = stuck if count else Text("{subject} needs a person")
        text = [to_do(_advise(card_input)), *advise(card_input, None)]
    return Content("act", headline, [*text, HANDS_OFF, *say_cause(card_input)])


def _escalated_again(card_input: CardInput) -> Content:
    reason = card_input.reason if card_input.reason is not Reason.AWAITING_APPROVAL else None  # nobody can approve it any more
    advice = REASONS[reason].todo if reason is not None else _advise(card_input)
    return Content("act", Text("Nobody has taken {subject} yet"), [to_do(advice), HANDS_OFF])


def _advise(card_input: CardInput) -> Phrase:
    """The advice that fits the state of the consumers, if anything was restarted."""
    if survivor := find_survivor(card_input.queues):
        return say_survivor(survivor)
    if find_same_again(card_input.queues):
        return Text("Check the message that is held and the application's log; move that message away or roll back.")
    consumers = facts.fewest_consumers(card_input)
    if consumers is None or not card_input.shown.restarts:
        return Text("Check the queue and the application's log, and restart it by hand if it hangs.")
    if consumers == 0:
        return Text(
            "No consumer is connected: the application did not start, did not connect, or crashed. "
            "Read its log, then start it by hand."
        )
    return Text(
        "If the log names a dependency, restart once it is back; else roll back, or move the first message away. "
        "Consumers acknowledge nothing."
    )


def _bundle(card_input: CardInput) -> Content:
    count, reason = len(card_input.bundled), card_input.reason
    urgency, short = (REASONS[reason].urgency, REASONS[reason].short) if reason else ("act", card_input.detail)
    headline = Text("{count} target or alert was not restarted: {why}", "{count} targets or alerts were not restarted: {why}")
    said = headline.fill(count=count, why=short)
    return Content(urgency, said, advise(card_input, reason), words=first_words(reason, urgency))


def _paused(card_input: CardInput) -> Content:
    todo = Text("Nothing now. If a queue gets stuck meanwhile, restart it by hand, or end the pause with `unstick resume`.")
    text = [to_do(todo), Text("Alerts are still received and reported."), *advise(card_input, None)]
    return Content("watch", Text("Unstick restarts nothing"), text, words=Text("PAUSED"))


def _resumed(card_input: CardInput) -> Content:
    is_one = bool(card_input.target or card_input.runbook or card_input.trigger)
    headline = Text("Unstick may restart {subject} again") if is_one else Text("Unstick is no longer paused")
    return Content("fine", headline, [Text("The next alert is handled as usual."), *advise(card_input, None)])


OLD = Text("This was the advice when it ended. Check first whether it still applies.")
MAY_BE_GONE = Text(
    "RabbitMQ may have dropped or dead-lettered messages that came back too often (delivery limit): "
    "find out which, and have them sent again."
)
TAKEN = Content(
    "watch", Text("{by} is working on {subject}"), (Text("Unstick sends no more reminders."), HANDS_OFF), words=Text("Taken")
)
MAY_DROP = Text(
    "A restart may make RabbitMQ drop messages: what is held has been returned as often as the delivery limit allows."
)
TESTED = Content(
    "fine", Text("The test notification arrived"), (Text("The path from Grafana through Unstick to this chat works."),)
)
ENDS = {CardKind.HELD, CardKind.RECOVERED, CardKind.ESCALATED, CardKind.RESOLVED, CardKind.NOT_APPROVED, CardKind.DECLINED}

KINDS: Mapping[CardKind, tuple[Content | Callable[[CardInput], Content], tuple[facts.Part, ...]]] = {
    CardKind.STARTED: (_started, (facts.list_queues, facts.proofs, facts.holders, facts.since, facts.restarts, facts.evidence)),
    CardKind.HELD: (say_held, (facts.list_queues, facts.proofs, facts.holders, facts.restarts, facts.since, facts.evidence)),
    CardKind.RECOVERED: (_recovered, (facts.list_queues, facts.restarts, facts.evidence)),
    CardKind.ESCALATED: (
        _escalated,
        (facts.list_queues, facts.proofs, facts.restarts, facts.holders, facts.since, facts.evidence),
    ),
    CardKind.ESCALATED_AGAIN: (_escalated_again, (facts.list_queues, facts.holders, facts.since)),
    CardKind.ACKNOWLEDGED: (TAKEN, (facts.since,)),
    CardKind.RESOLVED: (_works_again, (facts.list_queues,)),
    CardKind.NOT_APPROVED: (say_not_approved, (facts.list_queues, facts.proofs, facts.holders, facts.since, facts.restarts)),
    CardKind.DECLINED: (say_declined, (facts.list_queues, facts.since, facts.restarts)),
    CardKind.TEST: (TESTED, ()),
    CardKind.BUNDLE: (_bundle, (facts.names,)),
    CardKind.PAUSED: (_paused, ()),
    CardKind.RESUMED: (_resumed, ()),
}
"""Kind -> what the card says, and the facts that it shows before those of every card."""
