"""The pages behind the links for people's answers: approval and acknowledgement. Only a pressed button changes anything.

Chats and mail scanners fetch every link that they see, so GET looks nothing up. See docs/decisions.md."""

from collections.abc import Mapping
from functools import partial

from flask import Request
from msgspec.structs import replace

from functions.application import documents, observe, signing
from functions.application.answer import NO_RUNBOOK, Answer, Refusal, answer, find_runbook
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.domain.cards import facts
from functions.domain.cards.content import CardInput, Content, clock, details, render, tidy, to_do
from functions.domain.cards.queues import QUEUES_SHOWN, say_now
from functions.domain.decisions import endings
from functions.domain.decisions.judging import terms_for
from functions.domain.decisions.messages import compose_with_answers
from functions.domain.health.looks import Judgement, judge_health
from functions.domain.model.codes import Action, Health, Phase
from functions.domain.model.events import Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, CardKind
from functions.domain.model.observations import Execution, Pause, Reading
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import ENDINGS, LINK_EXECUTION, PHASES
from functions.entrypoints.http import Response, not_allowed
from functions.entrypoints.people.pages import (
    BY_LINK,
    FOREIGN,
    Form,
    Person,
    identify,
    pressed_by,
    read_form,
    show_card,
    show_opening,
)
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Phrase, Text, in_language, named

BUDGET_S = 20.0  # people wait longer than Grafana does; Cloud Run waits longer still
LOOK_S = 6.0

FAILED = Content(
    "",
    Text("Unstick can't do this right now"),
    [Text("A system that it needs does not respond. Reload the page in a moment to see whether anything was done.")],
)
NOT_APPROVER = Content(
    "",
    Text("Only the runbook's approvers may decide this"),
    [Text("This page knows them by the addresses with which a proxy signs people in. Answer in Slack, or restart in {runner}.")],
)
REFUSALS: Mapping[Refusal | int | str | None, Content] = {
    FOREIGN: Content(
        "",
        Text("The button was pressed on another site's page"),
        [Text("Open the link from the message and press the button there. Nothing was changed.")],
    ),
    403: Content(
        "", Text("This link is not valid"), [Text("Open the link exactly as it is in the message. Nothing was changed.")]
    ),
    410: Content(
        "",
        Text("This link has expired"),
        [Text("Nothing was done now. The chat shows what happened since, and has a newer message if the alert is still firing.")],
    ),
    413: Content("", Text("The request was too large"), [Text("Nothing was changed.")]),
    503: FAILED,
    Refusal.NOT_APPROVER: NOT_APPROVER,
    Refusal.NO_RUNBOOK: Content("", NOT_APPROVER.headline, [NO_RUNBOOK]),
}
NAMELESS = Text("Nothing was done: type your name, since others have to know who has it.")
OVER = Text("This link is no longer needed")


def respond(request: Request, ports: Adapters) -> Response:
    """GET /approve/ -> a page that posts the link's token; POST -> the page with the buttons, or its result. Never raises."""
    if request.method not in ("GET", "POST"):
        return not_allowed("GET, POST")
    try:
        if request.method == "GET":
            return show_opening(ports.rules)
        form = read_form(request, ports.rules.public_url)
        key, nonce = signing.read_approval(ports.config.signing_keys, form.token, ports.now())
        person = identify(request, ports.config)
        if form.act and form.act not in _list_answers(nonce):
            return _notice(ports, REFUSALS[403], 403)
        return (_answer if form.act else _ask)(ports, key, nonce, person, form)
    except BadRequest as refusal:
        content = REFUSALS.get(refusal.sentence) or REFUSALS.get(refusal.status, REFUSALS[403])
        return _notice(ports, content, refusal.status)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"approval page unavailable: {error}")
        return _notice(ports, FAILED, 503, {"Retry-After": "5"})


def _notice(ports: Adapters, content: Content, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what came of it."""
    return show_card(ports.rules, render(ports.rules, CardKind.HELD, content, ports.now()), status, headers)


def _list_answers(nonce: str) -> tuple[str, ...]:
    """The answers that the link is for: to an escalation, to a restart that was needless, or to a question."""
    others = {endings.ACKNOWLEDGED: (ACKNOWLEDGE,), endings.HEALTHY: (HEALTHY,)}
    return others.get(nonce.partition(".")[2].partition(".")[0], (APPROVE, DECLINE))


def _ask(ports: Adapters, key: str, nonce: str, person: Person, form: Form, warning: Phrase = "") -> Response:
    """What the link asks: its card, with the buttons and the queues as they are now."""
    document, _ = documents.load(ports, key)
    question = _to_question(ports, document, nonce)
    if question is None:
        return _say_over(ports, document, nonce)
    lines, warnings = _read_now(ports, document, question.queues)
    warnings = [warning] if warning else warnings
    shown = compose_with_answers(question, ports.rules)
    return show_card(ports.rules, shown, lines=lines, warnings=warnings, person=person, token=form.token)


def _to_question(ports: Adapters, document: Document, nonce: str) -> CardInput | None:
    """What the card with the question is made from; None if nobody waits for this answer."""
    rules, now, incident, escalation = ports.rules, ports.now(), document.incident, document.escalation
    action = _list_answers(nonce)[0]
    book = find_runbook(document, action, nonce)
    if book is None:
        return None
    runbook, target, link = rules.runbooks.get(book), document.target, rules.link_to_answer(nonce)
    if action == HEALTHY and (outcome := document.find_doubtable(nonce)):
        trigger = next(iter(outcome.triggers), None)
        return CardInput(CardKind.RECOVERED, outcome.at, runbook, target, trigger=trigger, healthy_url=link)
    if escalation is None or action != ACKNOWLEDGE:
        asked = CardInput(CardKind.HELD, now, runbook, target, incident, approve_url=link)
        return replace(asked, reason=asked.shown.reason, detail=asked.shown.detail)
    reminder = CardInput(CardKind.ESCALATED_AGAIN, now, runbook, target, escalation=escalation, acknowledge_url=link)
    outcome = document.find_outcome(escalation.incident)
    if outcome is None:
        return reminder
    return replace(reminder, reason=outcome.reason, restarts=outcome.restarts, trigger=next(iter(outcome.triggers), None))


def _read_now(ports: Adapters, document: Document, states: tuple[QueueState, ...]) -> tuple[list[Phrase], list[Phrase]]:
    """A line about each queue as it is now, and what would keep the button from restarting anything."""
    first, rules, now = states[:QUEUES_SHOWN], ports.rules, ports.now()
    queues = {state.queue.key: (state.queue, rules.runbooks.get(state.runbook)) for state in first}
    calls, read_queues = observe.plan_queues(ports, queues, LOOK_S)
    pause, *results = ports.run_parallel([partial(observe.read_pause, ports, LOOK_S), *calls], LOOK_S)
    snapshots, lines, health = read_queues(results), [], []
    for state in first:
        reading: Reading = observe.or_unknown(snapshots[state.queue.key])
        judged, runbook = Judgement(Health.UNKNOWN, ""), rules.runbooks.get(state.runbook)
        if runbook:
            judged = judge_health(runbook.symptom, reading, state, now, terms_for(runbook, document, state.queue))[0]
        health.append(judged.health)
        lines.append(say_now(state.queue.name, reading, judged.health, judged.why))
    warnings: list[Phrase] = []
    if isinstance(pause, Exception):
        warnings.append(Text("The kill switch can't be read, so the button would restart nothing."))
    if isinstance(pause, Pause):
        warnings.append(Text("The kill switch is on: the button would restart nothing. {why}", why=pause.why))
    if len(first) == len(states) and set(health) == {Health.WELL}:
        warnings.append(Text("No queue is stuck: the button would restart nothing."))
    return lines, warnings


def _answer(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Record the pressed button, unless somebody was first."""
    rules = ports.rules
    if form.act == ACKNOWLEDGE and not (person.verified or form.who):
        return _ask(ports, key, nonce, person, form, NAMELESS)
    by = in_language(rules.language, pressed_by(person, form.who))
    given = Answer(form.act, key, nonce, by, form.why, address=person.address)
    result = answer(ports, given, Budget(ports, ports.monotonic() + BUDGET_S))
    if result.refusal in (Refusal.NOT_APPROVER, Refusal.NO_RUNBOOK):
        return _notice(ports, REFUSALS[result.refusal], 403)
    question = _to_question(ports, result.before, nonce)
    if result.refusal is not None or question is None:
        return _say_over(ports, result.after, nonce)
    subject = facts.subject(question)
    if form.act == ACKNOWLEDGE:
        told = Text("Unstick tells the chat, and sends no more reminders. You can close this page.")
        recorded = Text("Recorded as acknowledged by: {by}", by=by)
        content = Content("", Text("You have taken {subject}", subject=subject), [told, recorded])
    elif form.act == HEALTHY:
        told = Text("Unstick asks instead of restarting, until it has stood still like this once more and gone on by itself.")
        content = Content("", Text("{subject} was healthy", subject=subject), [told, Text("Recorded as said by: {by}", by=by)])
    elif form.act == DECLINE or result.reply is None:
        told = Text("Unstick tells the chat, and learns from this how long it may stand still.")
        recorded = Text("Recorded as said by: {by}", by=by)
        content = Content("", Text("{subject} is not restarted", subject=subject), [told, recorded])
    else:
        content = _say_approved(subject, result.reply, result.after.incident, by)
    return _notice(ports, content)


def _say_approved(subject: Phrase, reply: Reply, incident: Incident | None, by: str) -> Content:
    """The result of approving. `incident`: its state afterwards."""
    recorded, links = Text("Recorded as approved by: {by}", by=by), _list_link(reply.execution)
    watched = Text("Unstick watches the queue and reports the result in the chat. You can close this page.")
    unanswered = Text(
        "The job may have started or not. Unstick finds out within two minutes; don't start it by hand before that."
    )
    match reply.action:
        case Action.RESTARTED:
            title, text = Text("{subject} is being restarted", subject=subject), [watched]
        case Action.ADOPTED:
            title, text = Text("{subject} is already being restarted", subject=subject), [watched]
        case Action.DEFERRED if incident is not None and incident.phase is Phase.COLLECTING:
            title = Text("{subject} will be restarted", subject=subject)
            text = [Text("Unstick collects evidence first, then restarts it and reports in the chat.")]
        case Action.DEFERRED:
            title, text = Text("{runner} has not answered yet"), [unanswered]
        case _:
            why = REASONS[reply.reason].short if reply.reason else Text("it is already being handled")
            title, text = Text("{subject} was not restarted: {why}", subject=subject, why=why), _why_not(reply, incident)
    return Content("", title, [*text, recorded], links=links)


def _why_not(reply: Reply, incident: Incident | None) -> list[Text]:
    words = REASONS[reply.reason] if reply.reason else None
    parts = [to_do(words.todo)] if words else []
    parts += [details(incident.detail)] if incident and incident.detail else []
    return parts + ([Text("Unstick tries again by itself and reports in the chat.")] if incident else [])


def _list_link(execution: Execution | None) -> list[tuple[Phrase, str]]:
    url = safe_url(execution.url) if execution else ""
    return [(LINK_EXECUTION, url)] if url else []


def _say_over(ports: Adapters, document: Document, nonce: str) -> Response:
    """The page that says why the link no longer works: 409 while the incident goes on, 410 after it."""
    incident, escalation, asked_for = document.incident, document.escalation, nonce.rsplit(".", 2)[0]
    if _list_answers(nonce) == (ACKNOWLEDGE,):
        sentence = Text("The escalation that it was for is over. Nothing was done now.")
        if escalation is not None and escalation.nonce == nonce and escalation.taken_by:
            at = clock(ports.rules, escalation.taken_at or escalation.at)
            sentence = Text("{by} has taken it, at {at}. Nothing more was done now.", by=tidy(escalation.taken_by), at=at)
        return _notice(ports, Content("", OVER, [sentence]), 410)
    if incident is not None and incident.id == asked_for:
        return _notice(ports, _say_going_on(incident), 409)
    outcome = document.find_outcome(asked_for)
    sentence = Text("The incident that it was for is over. Nothing was done now.")
    if outcome is not None:
        at = clock(ports.rules, outcome.at)
        ending = named(ENDINGS[outcome.ending], REASONS[outcome.reason].short if outcome.reason else "")
        sentence = Text("The incident ended at {at}: {ending}. Nothing more was done now.", at=at, ending=ending)
        if outcome.by:
            sentence = Text("It was declined by {by} at {at}. Nothing more was done now.", by=tidy(outcome.by), at=at)
    return _notice(ports, Content("", OVER, [sentence]), 410)


def _say_going_on(incident: Incident) -> Content:
    if incident.phase is Phase.ASKED:
        newer = Text("Unstick has asked again since. Use the link in the newest message; this one does nothing.")
        return Content("", Text("A newer link has been sent"), [newer])
    by = Text("It was approved by {by}. Nothing more was done now.", by=tidy(incident.approval.approved_by) or BY_LINK)
    phase = Text("Current state of the incident: {phase}.", phase=PHASES[incident.phase].fill(attempt=incident.attempt))
    return Content("", Text("This link was already used"), [by, phase], links=_list_link(incident.execution))
