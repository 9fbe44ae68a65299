"""Composes the card of an incident.
The headline alone says how urgent it is. Rendering cleans and cuts every text; each channel escapes it. `compose` accepts any
input: a card that can't be composed would block an incident."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from functions.domain.cards import facts, queue_facts
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import CUT, Content, clock, render, rendered, tidy
from functions.domain.health.recovery import find_same_again, find_survivor, say_survivor
from functions.domain.model.codes import ASKED, Reason, Verdict
from functions.domain.model.messages import Card, CardKind
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import clean
from functions.domain.texts.words import LINE, LINES, PHASES, duration
from functions.runtime.text import Phrase, Text, named

DAY_S = 86400.0


def compose(card_input: CardInput, rules: Rules) -> Card:
    """Compose the card. Pure; raises for no content."""
    write, parts = KINDS[card_input.kind]
    content = write(card_input, rules)
    if content.urgency == "act" and card_input.calls_nobody:
        content = replace(content, urgency="plan")
    if card_input.kind in ENDS and (card_input.may_be_gone or any(watched.may_be_gone for watched in card_input.queues)):
        well = content.urgency == "fine"
        text = (MAY_BE_GONE, *content.text) if well else (*content.text, MAY_BE_GONE)
        content = replace(content, urgency="plan" if well else content.urgency, text=text)
    if card_input.is_over and content.urgency != "fine":
        content = replace(content, urgency="over", words="", text=(OLD, *content.text))
    if card_input.late_s:
        late = Text("This message is {late} late. Look first.", late=duration(card_input.late_s))
        content = replace(content, text=(late, *content.text))
    gathered, links = facts.gathered(card_input, rules, *parts), facts.links(card_input, rules)
    card = render(rules, card_input.kind, replace(content, facts=gathered, links=links), card_input.at)
    title, lines = facts.shown_lines(card_input)
    return replace(
        card,
        evidence=tuple(clean(line, LINE, CUT) for line in lines[-LINES:]),
        evidence_title=rendered(rules, title) if lines else "",
        curve=queue_facts.curve(card_input) if card_input.has_ages else (),
        incident=facts.incident_id(card_input),
    )


OLD = Text("This is what was to be done when it ended. Check first whether it still is.")
WORKING = Text("Nothing yet: Unstick is working on it, and calls people if it needs them.")


def _started(card_input: CardInput, _: Rules) -> Content:
    subject, attempt = facts.subject(card_input), max(1, card_input.shown.restarts)
    counted = {"subject": subject, "attempt": attempt, "attempts": max(attempt, card_input.attempts)}
    execution = card_input.shown.execution
    headline: Phrase = named(subject, PHASES[card_input.shown.phase].fill(attempt=attempt))
    text: list[Phrase] = [WORKING]
    if execution is None:  # on its page only
        return Content("watch", headline, text)
    if card_input.shown.run.adopted:
        headline = Text("{subject} is already being restarted; Unstick checks the result", subject=subject)
        text = why(card_input, Reason.ALREADY_RUNNING, todo=False)
    elif execution.ended:
        headline = Text("{subject} was restarted (attempt {attempt} of {attempts})", **counted)
        text = [Text("The job has ended. Unstick checks the queue and will report the result here.")]
    else:
        headline = Text("Restarting {subject} (attempt {attempt} of {attempts})", **counted)
        text = [_why_restarted(card_input)]
    return Content("watch", headline, text)


def _why_restarted(card_input: CardInput) -> Text:
    if host := card_input.shown.run.holder_host:
        return Text(
            "A consumer on {host} hangs with messages. Unstick is restarting the application there and nowhere else, "
            "and will report the result here.",
            host=tidy(host, 60),
        )
    if _is_likely(card_input):
        return Text("A person says that it hangs. Unstick is restarting the application and will report the result here.")
    if any(watched.held_by for watched in card_input.queues):
        return Text("A consumer hangs with messages. Unstick is restarting the application and will report the result here.")
    return Text("Nothing is being processed. Unstick is restarting the application and will report the result here.")


def _held(card_input: CardInput, rules: Rules) -> Content:
    reason = card_input.reason
    urgency = REASONS[reason].urgency if reason else "act"
    if card_input.again and reason not in facts.UNHELPED:
        urgency = "watch"
    if card_input.approve_url and urgency != "fine" and reason is not Reason.LIKELY_STUCK:
        urgency = "act"
    by_itself = urgency == "watch" and card_input.again and reason is not None and REASONS[reason].urgency == "act"
    text = why(card_input, reason, todo=urgency != "fine" and (not by_itself or bool(card_input.remedy)))
    if reason is Reason.COOLDOWN and card_input.again:
        wait = Text("Nothing until {time}: then Unstick decides again. If it can't wait, restart it by hand.")
        text = [to_do(wait.fill(time=clock(rules, card_input.shown.due))), *why(card_input, reason, todo=False)]
    if by_itself:
        text.append(Text("Unstick tries again by itself, and calls a person if that does not help."))
    if reason is Reason.OBSERVE_ONLY and card_input.target:
        would = Text("It would have run the job with: {target}.")
        if _is_likely(card_input):
            would = Text("It would have asked a person whether to run the job with: {target}.")
        text.append(would.fill(target=tidy(card_input.target.name, 200)))
    if card_input.approve_url and (until := card_input.shown.approval.expires_at) is not None:
        once = Text("You can approve once, until {until}.")
        anyway = Text("You can approve a restart anyway, once, until {until}.")
        text.append((once if reason in ASKED else anyway).fill(until=clock(rules, until)))
    text += _say_next(card_input, rules) if urgency != "fine" else []
    return Content(urgency, _held_headline(card_input, urgency, rules), text, words=_hold_words(reason, urgency))


def _say_next(card_input: CardInput, rules: Rules) -> list[Text]:
    """Say when the same hold may be posted again; in an updated card, also that it still holds. A likely verdict, which waits for
    a day, says nothing."""
    if card_input.next_at is None or card_input.reason is Reason.LIKELY_STUCK:
        return []
    still = [Text("Still so at {time}.", time=clock(rules, card_input.at))] if card_input.told_at is not None else []
    return [*still, Text("If nothing changes, the next message comes after {time}.", time=clock(rules, card_input.next_at))]


def _hold_words(reason: Reason | None, urgency: str) -> Phrase:
    """The first words where Unstick only observes: how urgent it is, the team's own alert says."""
    return Text("NO RESTART") if reason is Reason.OBSERVE_ONLY and urgency == "plan" else ""


def _held_headline(card_input: CardInput, urgency: str, rules: Rules) -> Phrase:
    reason, subject, restarts = card_input.reason, facts.subject(card_input), card_input.shown.restarts
    short: Phrase = REASONS[reason].short if reason else card_input.detail
    if reason in HELD_HEADLINES:
        return HELD_HEADLINES[reason](card_input, subject)
    if reason is Reason.COOLDOWN and card_input.again:
        waits = Text("{subject} is stuck again soon after a restart; Unstick waits until {time}")
        return waits.fill(subject=subject, time=clock(rules, card_input.shown.due, "%H:%M:%S"))
    if urgency == "fine" or reason is Reason.MONITORING_FAILURE or (reason is Reason.LEDGER_UNKNOWN and restarts):
        return Text("{subject}: {why}", subject=subject, why=short)
    if urgency == "watch":
        return Text("{subject} has not been restarted yet: {why}", subject=subject, why=short)
    if reason is Reason.START_UNCLEAR:
        return Text("{subject} may not have been restarted: {why}", subject=subject, why=short)
    return Text("{subject} was not restarted: {why}", subject=subject, why=short)


def _is_likely(card_input: CardInput) -> bool:
    """Whether what it rests on is likely only."""
    judged = [watched for watched in card_input.queues if watched.proof is not None]
    return bool(judged) and all(watched.is_likely for watched in judged)


def _likely_headline(card_input: CardInput, subject: Phrase) -> Text:
    if card_input.shown.restarts:
        return Text("{subject} holds messages again after the restart, and may be healthy", subject=subject)
    if card_input.approve_url:
        return Text("{subject} may hang: restart it?", subject=subject)
    return Text("{subject} may hang, and nobody can be asked", subject=subject)


def _observed_headline(card_input: CardInput, subject: Phrase) -> Text:
    if _is_likely(card_input):
        return Text("{subject} may hang; Unstick only observes and would have asked", subject=subject)
    return Text("{subject} is stuck; Unstick only observes and would have restarted it", subject=subject)


def _asked_headline(card_input: CardInput, subject: Phrase) -> Text:
    count = card_input.shown.restarts
    if not count:
        return Text("{subject} is stuck: approve a restart?", subject=subject)
    text = Text(
        "{subject} is still stuck after {count} restart: approve restart {attempt} of {attempts}?",
        "{subject} is still stuck after {count} restarts: approve restart {attempt} of {attempts}?",
    )
    return text.fill(subject=subject, count=count, attempt=count + 1, attempts=max(count + 1, card_input.attempts))


HELD_HEADLINES: Mapping[Reason | None, Callable[[CardInput, Phrase], Text]] = {
    Reason.OBSERVE_ONLY: _observed_headline,
    Reason.LIKELY_STUCK: _likely_headline,
    Reason.SYMPTOM_GONE: lambda _, subject: Text("{subject} is healthy; nothing was restarted", subject=subject),
    Reason.AWAITING_APPROVAL: _asked_headline,
    Reason.NO_RUNBOOK: lambda _, subject: Text("No runbook matches the alert {subject}", subject=subject),
}
"""Reasons whose headline is a sentence of its own."""


def why(card_input: CardInput, reason: Reason | None, *, todo: bool = True) -> list[Phrase]:
    """What to do, why in a sentence, the remedy of the system that refused, and the exact detail."""
    text: list[Phrase] = []
    if reason is not None:
        if todo:
            text.append(to_do(_todo(card_input, reason)))
        text.append(_because(card_input, reason))
    if card_input.remedy:
        text.append(card_input.remedy)
    if card_input.detail:
        text.append(details(card_input.detail))
    return text


def _because(card_input: CardInput, reason: Reason) -> Text:
    """Why nothing was restarted."""
    opinion = card_input.shown.evidence.opinion if card_input.shown.evidence else None
    if reason is Reason.SYMPTOM_GONE and opinion is not None and opinion.healthy:
        return Text("It looks stuck, but the evidence job asked the application itself, and it is healthy.")
    return REASONS[reason].why


def _todo(card_input: CardInput, reason: Reason) -> Text:
    """What to do. What may run or have run is opened before anybody restarts it once more."""
    if reason is Reason.LIKELY_STUCK and not card_input.approve_url and not card_input.shown.restarts:
        return Text("See what speaks against it, and restart it by hand if it hangs. Set `public_url`, so that Unstick can ask.")
    if reason is Reason.RESTART_REFUSED and card_input.about is not None:
        return LOOK_FIRST
    return RUNS_ON if reason is Reason.LEDGER_UNKNOWN and facts.may_run(card_input) else REASONS[reason].todo


RUNS_ON = Text("Check {runner} and the token's rights. Open the execution before you restart anything by hand: it may still run.")
LOOK_FIRST = Text("Open the execution and see what it restarted before you restart anything by hand; then fix the job's options.")


def to_do(todo: Phrase) -> Text:
    """The sentence that says what to do."""
    return Text("What to do: {todo}", todo=todo)


def details(detail: Phrase) -> Text:
    """The exact detail, possibly quoted from elsewhere."""
    return Text("Details: {detail}", detail=detail)


def _draining(card_input: CardInput, _: Rules) -> Content:
    helped = Text("The restart helped: messages are being processed. Unstick keeps watching until the queue has recovered.")
    return Content("watch", _moving(card_input), [helped])


def _moving(card_input: CardInput) -> Text:
    text = Text("{subject} is processing again, {count} message left", "{subject} is processing again, {count} messages left")
    left = sum(watched.after.depth or 0 for watched in card_input.queues)
    return text.fill(subject=facts.subject(card_input), count=left)


def _recovered(card_input: CardInput, _: Rules) -> Content:
    subject, alert_s = facts.subject(card_input), facts.from_alert_s(card_input)
    headline, text = Text("{subject} recovered", subject=subject), list[Phrase]()
    if card_input.moving:
        headline = _moving(card_input)
        text.append(Text("The queue is not empty yet, but messages are being processed. Unstick stops watching now."))
    elif alert_s is not None:
        headline = Text("{subject} recovered in {took}", subject=subject, took=duration(alert_s))
    if not card_input.moving and card_input.shown.restarts:
        text.append(Text("Healthy in two checks after the restart."))
    return Content("fine", headline, [*text, *_cause(card_input)])


def _escalated(card_input: CardInput, _: Rules) -> Content:
    subject, reason, count = facts.subject(card_input), card_input.reason, card_input.shown.restarts
    if reason is not None:
        headline = Text("{subject} needs a person: {why}", subject=subject, why=REASONS[reason].short)
        text = why(card_input, reason)
    else:
        stuck = Text("{subject} is still stuck after a restart", "{subject} is still stuck after {count} restarts")
        headline = stuck.fill(subject=subject, count=count) if count else Text("{subject} needs a person", subject=subject)
        if card_input.is_over:
            headline = Text("{subject} was handed over to people", subject=subject)
        text = [to_do(_advice(card_input))]
        if find_same_again(card_input.queues) or all(watched.after.verdict is not Verdict.STUCK for watched in card_input.queues):
            text += why(card_input, None)  # otherwise the headline says it
    return Content("act", headline, [*text, HANDS_OFF, *_cause(card_input)])


HANDS_OFF = Text("Unstick leaves it alone until it is healthy or resumed, for 24 h at most.")


def _escalated_again(card_input: CardInput, _: Rules) -> Content:
    subject, escalation = facts.subject(card_input), card_input.escalation
    reason = card_input.reason if card_input.reason is not Reason.AWAITING_APPROVAL else None  # nobody can approve it any more
    headline, advice = Text("Nobody has taken {subject} yet", subject=subject), _advice(card_input)
    if reason is not None:
        headline = Text("Nobody has taken {subject} yet: {why}", subject=subject, why=REASONS[reason].short)
        advice = REASONS[reason].todo
    elif restarts := card_input.restarts:
        stuck = Text(
            "{subject} is still stuck after {count} restart, and nobody has taken it",
            "{subject} is still stuck after {count} restarts, and nobody has taken it",
        )
        headline = stuck.fill(subject=subject, count=restarts)
        if card_input.acknowledge_url:
            advice = Text("Acknowledge it, so that others know. Then check the queue and the application's log.")
    count, last = (escalation.told, escalation.due is None) if escalation else (1, False)
    reminder = Text("It was escalated, the queue is not healthy, and nobody has acknowledged it. Reminder {count} of 3.")
    text: list[Phrase] = [to_do(advice), reminder.fill(count=count) if count else HANDS_OFF]  # none yet: on its page only
    text += [Text("This is the last reminder.")] if last and count else []
    return Content("act", headline, text)


def _acknowledged(card_input: CardInput, _: Rules) -> Content:
    by = tidy(card_input.escalation.taken_by if card_input.escalation else "", 120)
    headline = Text("{by} is working on {subject}", by=by, subject=facts.subject(card_input))
    return Content("watch", headline, [Text("Nobody is reminded any more."), HANDS_OFF], words=Text("Taken"))


def _advice(card_input: CardInput) -> Phrase:
    """The advice that fits the state of the consumers, if anything was restarted."""
    if survivor := find_survivor(card_input.queues):
        return say_survivor(survivor)
    if find_same_again(card_input.queues):
        return Text(
            "Check the message that is held and the application's log. Move that message away "
            "(docs/rabbitmq.md, Moving one message by hand), or roll back."
        )
    consumers = queue_facts.fewest_consumers(card_input)
    if consumers is None or not card_input.shown.restarts:
        return Text("Check the queue and the application's log, and restart it by hand if it hangs.")
    if consumers == 0 and any(watched.after.came for watched in card_input.queues):
        return Text(
            "A consumer came back and is gone again: the application crashed, or RabbitMQ cut it off. "
            "Read its log, then start it by hand."
        )
    if consumers == 0:
        return Text(
            "No consumer came back: the application did not start or did not connect. Read its log, then start it by hand."
        )
    return Text(
        "If the log names a dependency, restart once it is back; else roll back, or move the first message away. "
        "Consumers acknowledge nothing."
    )


def _cause(card_input: CardInput) -> list[Phrase]:
    if card_input.runbook is None:
        return []
    if cause := tidy(card_input.runbook.root_cause, 300):
        return [Text("The bug behind it is still open: {cause}", cause=cause)]
    return [Text("The runbook has no root_cause: the bug will come back until somebody owns it.")]


def _resolved(card_input: CardInput, _: Rules) -> Content:
    trigger = facts.first_trigger(card_input)
    resolved = Text("{sender} reports the alert as resolved.", sender=(trigger and trigger.sender) or MONITORING)
    subject, count = facts.subject(card_input), card_input.restarts
    headline = Text("The alert of {subject} is resolved; nothing was restarted", subject=subject)
    if count:
        after = Text(
            "The alert of {subject} is resolved after {count} restart",
            "The alert of {subject} is resolved after {count} restarts",
        )
        headline = after.fill(subject=subject, count=count)
    return Content("fine", headline, [resolved])


MONITORING = Text("The monitoring")


def _not_approved(card_input: CardInput, _: Rules) -> Content:
    subject, again = facts.subject(card_input), card_input.shown.restarts > 0
    if card_input.reason is Reason.LIKELY_STUCK:
        calm = Text("Nobody answered; that changes nothing. Unstick restarts it once it is proved, and asks again after a day.")
        headline = Text("{subject} was not restarted: nobody said whether it hangs", subject=subject)
        see = Text("See what speaks against it, and restart it by hand if it hangs.")
        return Content("plan", headline, [to_do(see), calm, *why(card_input, None)])
    headline = Text("{subject} was not restarted: nobody approved it in time", subject=subject)
    if again:
        headline = Text("{subject} was not restarted again: nobody approved it in time", subject=subject)
    # The reason's own sentence asks for an approval, for which it is too late.
    reason = card_input.reason if card_input.reason is not Reason.AWAITING_APPROVAL else None
    by_hand = to_do(Text("Check the queue, and restart the application by hand if it is still stuck."))
    rest = [HANDS_OFF, *_cause(card_input)] if again else []
    return Content("act", headline, [by_hand, Text("It can no longer be approved."), *why(card_input, reason, todo=False), *rest])


def _declined(card_input: CardInput, _: Rules) -> Content:
    """The person's reason is shown as a fact, in their own words."""
    by = tidy(card_input.shown.approval.declined_by, 120)
    headline = Text("{by} decided not to restart {subject}", subject=facts.subject(card_input), by=by)
    return Content("watch", headline, why(replace(card_input, detail=""), card_input.reason), words=Text("Declined"))


def _test(_card: CardInput, _rules: Rules) -> Content:
    works = Text("The path from Grafana through Unstick to this chat works.")
    return Content("fine", Text("The test notification arrived"), [works])


def _bundle(card_input: CardInput, _: Rules) -> Content:
    count, reason = len(card_input.bundled), card_input.reason
    urgency, short = (REASONS[reason].urgency, REASONS[reason].short) if reason else ("act", card_input.detail)
    if reason is Reason.TOO_MANY_TARGETS and count > 1:
        headline = Text("{count} applications are stuck at once and were not restarted", count=count)
    elif reason is Reason.TEST_ALERT:
        headline = Text("{count} test notification arrived", "{count} test notifications arrived", count=count)
    elif reason is Reason.NO_RUNBOOK:
        headline = Text("No runbook matches {count} alert", "No runbook matches {count} alerts", count=count)
    else:
        held = Text("{count} target or alert was not restarted: {why}", "{count} targets or alerts were not restarted: {why}")
        headline = held.fill(count=count, why=short)
    return Content(urgency, headline, why(card_input, reason), words=_hold_words(reason, urgency))


def _paused(card_input: CardInput, _: Rules) -> Content:
    todo = Text("Nothing now. If a queue gets stuck meanwhile, restart it by hand, or end the pause with `unstick resume`.")
    text = [to_do(todo), Text("Alerts are still received and reported."), *why(card_input, None)]
    return Content("watch", Text("Unstick restarts nothing"), text, words=Text("PAUSED"))


def _resumed(card_input: CardInput, _: Rules) -> Content:
    headline = Text("Unstick is no longer paused")
    if card_input.target or card_input.runbook or card_input.trigger:
        headline = Text("Unstick may restart {subject} again", subject=facts.subject(card_input))
    return Content("fine", headline, [Text("The next alert is handled as usual."), *why(card_input, None)])


def _unsigned(_card: CardInput, _rules: Rules) -> Content:
    why_not = Text(
        "They may be your own, signed before a key was removed; but somebody else could have written them, names included. "
        "So they restart nothing."
    )
    todo = Text(
        "Check in your monitoring what is firing. If `signing_keys` lost a key, add it back as the last: alerts of the last day "
        "are then processed."
    )
    headline = Text("Alerts can't be verified and were not processed: no signing key fits them")
    return Content("act", headline, [to_do(todo), why_not])


def _unmatched(card_input: CardInput, _: Rules) -> Content:
    count, first = len(card_input.unmatched), next((one.said for one in card_input.unmatched), "")
    headline = Text("{count} suspicion matched no runbook", "{count} suspicions matched no runbook").fill(count=count)
    if count == 1:
        headline = Text("{alert} matched no runbook", alert=tidy(first, 80))
    did = Text("Unstick did nothing for these, and says so once a day while they come.")
    todo = Text("Correct the runbook's `match` or the rule's labels, or leave the queue out of the rule.")
    return Content("plan", headline, [to_do(todo), did])


QUEUES, HOLDERS, HEAD, PROOFS = queue_facts.queues, queue_facts.holders, queue_facts.head, queue_facts.proofs
RECOVERY = (QUEUES, facts.took, facts.attempt, facts.restart)

KINDS: Mapping[CardKind, tuple[Callable[[CardInput, Rules], Content], tuple[facts.Part, ...]]] = {
    CardKind.STARTED: (_started, (QUEUES, PROOFS, HOLDERS, HEAD, facts.since, facts.first_or_tried, facts.evidence)),
    CardKind.HELD: (_held, (QUEUES, PROOFS, HOLDERS, facts.restart_or_tried, HEAD, facts.since, facts.evidence)),
    CardKind.DRAINING: (_draining, RECOVERY),
    CardKind.RECOVERED: (_recovered, (*RECOVERY, facts.evidence)),
    CardKind.ESCALATED: (_escalated, (QUEUES, PROOFS, facts.tried, HOLDERS, HEAD, facts.since, facts.evidence)),
    CardKind.ESCALATED_AGAIN: (_escalated_again, (QUEUES, HOLDERS, facts.tried, facts.taken, facts.since)),
    CardKind.ACKNOWLEDGED: (_acknowledged, (facts.taken, facts.since)),
    CardKind.RESOLVED: (_resolved, (QUEUES,)),
    CardKind.NOT_APPROVED: (_not_approved, (QUEUES, PROOFS, HOLDERS, facts.since, facts.restart_or_tried)),
    CardKind.DECLINED: (_declined, (facts.declined, QUEUES, facts.since, facts.tried)),
    CardKind.TEST: (_test, ()),
    CardKind.BUNDLE: (_bundle, (facts.names,)),
    CardKind.PAUSED: (_paused, ()),
    CardKind.RESUMED: (_resumed, ()),
    CardKind.UNSIGNED: (_unsigned, (facts.unverified,)),
    CardKind.UNMATCHED: (_unmatched, (facts.unmatched,)),
}
"""Kind -> what the card says, and the facts that it shows before those of every card."""

ENDS = {CardKind.HELD, CardKind.RECOVERED, CardKind.ESCALATED, CardKind.RESOLVED, CardKind.NOT_APPROVED, CardKind.DECLINED}
MAY_BE_GONE = Text(
    "RabbitMQ may have dropped or dead-lettered messages that came back too often (delivery limit): "
    "find out which, and have them sent again."
)
