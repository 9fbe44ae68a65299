"""What the card of a hold says: why nothing was restarted, what to do, what is asked of people, and what came of that."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from functions.domain.cards import facts
from functions.domain.cards.content import CardInput, Content, details, tidy, to_do
from functions.domain.model.codes import ASKED, Reason
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
    by_itself = urgency == "watch" and card_input.again and reason is not None and REASONS[reason].urgency == "act"
    text = advise(card_input, None if urgency == "fine" or by_itself else reason)
    if reason is Reason.COOLDOWN and card_input.again:
        wait = Text("Nothing until {due}: then Unstick decides again. If it can't wait, restart it by hand.")
        text = [to_do(wait), *advise(card_input, None)]
    if by_itself:
        text.append(Text("Unstick tries again by itself, and calls a person if that does not help."))
    if reason is Reason.OBSERVE_ONLY and card_input.target:
        would = Text("It would have run the job with: {target}.")
        if _is_likely(card_input):
            would = Text("It would have asked a person whether to run the job with: {target}.")
        text.append(would.fill(target=tidy(card_input.target.name, 200)))
    if card_input.approve_url and card_input.shown.approval.expires_at is not None:
        anyway = Text("You can approve a restart anyway, once, until {until}.")
        text.append(Text("You can answer once, until {until}.") if reason in ASKED else anyway)
    if card_input.next_at is not None and reason is not Reason.LIKELY_STUCK and urgency != "fine":  # likely waits for a day
        text.append(Text("If nothing changes, the next message comes after {next}."))
    return Content(urgency, _held_headline(card_input, urgency), text, words=first_words(reason, urgency))


def first_words(reason: Reason | None, urgency: str) -> Phrase:
    """The first words where Unstick only observes: how urgent it is, the team's own alert says."""
    return Text("NO RESTART") if reason is Reason.OBSERVE_ONLY and urgency == "plan" else ""


def _held_headline(card_input: CardInput, urgency: str) -> Text:
    reason, restarts = card_input.reason, card_input.shown.restarts
    if reason in HEADLINES:
        return HEADLINES[reason](card_input)
    if reason is Reason.COOLDOWN and card_input.again:
        return Text("{subject} is stuck again soon after a restart; Unstick waits until {due}")
    if urgency == "fine" or reason is Reason.MONITORING_FAILURE or (reason in facts.UNHELPED and restarts):
        said = Text("{subject}: {why}")
    elif urgency == "watch":
        said = Text("{subject} has not been restarted yet: {why}")
    elif reason is Reason.START_UNCLEAR:
        said = Text("{subject} may not have been restarted: {why}")
    else:
        said = Text("{subject} was not restarted: {why}")
    return said.fill(why=REASONS[reason].short if reason else card_input.detail)


def _is_likely(card_input: CardInput) -> bool:
    judged = [state for state in card_input.queues if state.proof is not None]
    return bool(judged) and all(state.is_likely for state in judged)


def _doubt(card_input: CardInput) -> Text:
    if card_input.shown.restarts:
        return Text("{subject} holds messages again after the restart, and may be healthy")
    asks = bool(card_input.approve_url)
    return Text("{subject} may hang: restart it?") if asks else Text("{subject} may hang, and nobody can be asked")


def _observe(card_input: CardInput) -> Text:
    if _is_likely(card_input):
        return Text("{subject} may hang; Unstick only observes and would have asked")
    return Text("{subject} is stuck; Unstick only observes and would have restarted it")


def _ask(card_input: CardInput) -> Text:
    count = card_input.shown.restarts
    again = Text(
        "{subject} is still stuck after {count} restart: approve restart {attempt} of {attempts}?",
        "{subject} is still stuck after {count} restarts: approve restart {attempt} of {attempts}?",
    )
    again = again.fill(count=count, attempt=count + 1, attempts=max(count + 1, card_input.attempts))
    return again if count else Text("{subject} is stuck: approve a restart?")


HEADLINES: Mapping[Reason | None, Callable[[CardInput], Text]] = {
    Reason.OBSERVE_ONLY: _observe,
    Reason.LIKELY_STUCK: _doubt,
    Reason.SYMPTOM_GONE: lambda _: Text("{subject} is healthy; nothing was restarted"),
    Reason.AWAITING_APPROVAL: _ask,
    Reason.NO_RUNBOOK: lambda _: Text("No runbook matches the alert {subject}"),
}
"""Holds whose headline is a sentence of its own."""


def advise(card_input: CardInput, reason: Reason | None) -> list[Phrase]:
    """What to do about a reason, the remedy of the system that refused, and the exact detail."""
    text: list[Phrase] = [to_do(_todo(card_input, reason))] if reason is not None else []
    if card_input.remedy:
        text.append(card_input.remedy)
    if card_input.detail:
        text.append(details(card_input.detail))
    return text


def _todo(card_input: CardInput, reason: Reason) -> Text:
    """What to do. What may run or have run is opened before anybody restarts it again."""
    if reason is Reason.LIKELY_STUCK and not card_input.approve_url and not card_input.shown.restarts:
        return Text("See what speaks against it, and restart it by hand if it hangs. Set `public_url`, so that Unstick can ask.")
    return RUNS_ON if reason is Reason.LEDGER_UNKNOWN and facts.may_run(card_input) else REASONS[reason].todo


RUNS_ON = Text("Check {runner} and the token's rights. Open the execution before you restart anything by hand: it may still run.")


def say_not_approved(card_input: CardInput) -> Content:
    """The card of a question that nobody answered in time."""
    if card_input.reason is Reason.LIKELY_STUCK:
        calm = Text("Nobody answered. Unstick restarts it once there is proof, and asks again after a day.")
        see = Text("See what speaks against it, and restart it by hand if it hangs.")
        headline = Text("{subject} was not restarted: nobody said whether it hangs")
        return Content("plan", headline, [to_do(see), calm, *advise(card_input, None)])
    headline, rest = Text("{subject} was not restarted: nobody approved it in time"), list[Phrase]()
    if card_input.shown.restarts:
        headline = Text("{subject} was not restarted again: nobody approved it in time")
        rest = [HANDS_OFF, *say_cause(card_input)]
    by_hand = to_do(Text("Check the queue, and restart the application by hand if it is still stuck."))
    return Content("act", headline, [by_hand, Text("The approval link has expired."), *advise(card_input, None), *rest])


def say_declined(card_input: CardInput) -> Content:
    """The person's reason is shown as a fact, in their own words."""
    said = advise(replace(card_input, detail=""), card_input.reason)
    said.append(Text("Unstick doesn't ask again for this alert; the next one is handled as usual."))
    return Content("watch", Text("{by} decided not to restart {subject}"), said, words=Text("Declined"))


def say_cause(card_input: CardInput) -> list[Phrase]:
    """The bug behind it, at the end of cards about a restart."""
    if card_input.runbook is None:
        return []
    if cause := tidy(card_input.runbook.root_cause, 300):
        return [Text("The bug behind it is still open: {cause}", cause=cause)]
    return [Text("The runbook has no root_cause: the bug will come back until somebody owns it.")]
