"""What the card of a hold says: why nothing was restarted, what to do, what is asked of people, and what came of that."""

from collections.abc import Mapping

from functions.domain.cards import facts
from functions.domain.cards.content import CardInput, Content, details, tidy, to_do
from functions.domain.model.codes import Reason
from functions.domain.texts.reasons import REASONS
from functions.runtime.text import Phrase, Text

HANDS_OFF = Text("Unstick leaves it alone until it is healthy or resumed, for 24 h at most.")


def say_held(card_input: CardInput) -> Content:
    """The card of a hold or a question."""
    reason = card_input.reason
    urgency = REASONS[reason].urgency if reason else "act"
    if card_input.again and reason not in facts.UNHELPED and not card_input.remedy:
        urgency = "watch"
    if card_input.approve_url and urgency != "fine" and reason is not Reason.LIKELY_STUCK:
        urgency = "act"
    waits = urgency == "watch" and card_input.again
    text = advise(card_input, None if urgency == "fine" or waits else reason)
    if waits:
        text.append(Text("Unstick tries again by itself, and calls a person if that does not help."))
    if card_input.approve_url and card_input.shown.approval.expires_at is not None:
        text.append(Text("You can answer once, until {until}."))
    return Content(urgency, _held_headline(card_input, urgency), text, words=first_words(reason, urgency))


def first_words(reason: Reason | None, urgency: str) -> Phrase:
    """The first words where Unstick only observes: how urgent it is, the team's own alert says."""
    return Text("NO RESTART") if reason is Reason.OBSERVE_ONLY and urgency == "plan" else ""


def _held_headline(card_input: CardInput, urgency: str) -> Text:
    reason = card_input.reason
    why = REASONS[reason].short if reason else card_input.detail
    judged = [state for state in card_input.queues if state.proof is not None]
    if reason is Reason.OBSERVE_ONLY and judged and all(state.is_likely for state in judged):
        return Text("{subject} may hang; Unstick only observes and would have asked")
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
    headline = Text("{subject} was not restarted: nobody approved it in time")
    text: list[Phrase] = [to_do(Text("Check the queue, and restart the application by hand if it is still stuck."))]
    if card_input.reason is Reason.LIKELY_STUCK:
        text.append(Text("Nobody answered. Unstick restarts it once there is proof, and asks again after a day."))
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
