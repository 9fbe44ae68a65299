"""The pages behind the links for people's answers: approval and acknowledgement. Only a pressed button changes anything.

Chats and mail scanners fetch every link that they see, so GET looks nothing up. See docs/decisions.md."""

from collections.abc import Mapping

from flask import Request
from msgspec.structs import replace

from functions.application import documents, observe, signing
from functions.application.answer import DONE, NO_LONGER, NOT_APPROVER, Answer, answer, find_runbook, say_why_not
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.domain.cards import facts
from functions.domain.cards.content import CardInput, Content, clock, render, to_do
from functions.domain.decisions import endings
from functions.domain.decisions.messages import compose_with_answers
from functions.domain.health.looks import note_snapshot
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE, CardKind
from functions.domain.model.codes import Action
from functions.domain.model.incidents import Document
from functions.domain.texts.words import REASONS
from functions.entrypoints.http import Response, not_allowed
from functions.entrypoints.people.pages import Form, Person, identify, pressed_by, read_form, show_card, show_opening
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import COMMA, Text, in_language, join

LOOK_S = 6.0
BUDGET_S = 20.0  # people wait longer than Grafana does; Cloud Run waits longer still

FAILED = Content(
    "",
    Text("Unstick can't do this right now"),
    [Text("A system that it needs does not respond. Reload the page in a moment to see whether anything was done.")],
)
REFUSED = Content(
    "", Text("This link is not valid"), [Text("Open the link in the newest message exactly as it is. Nothing was changed.")]
)


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
            return _notice(ports, REFUSED, 403)
        return (_answer if form.act else _ask)(ports, key, nonce, person, form)
    except BadRequest as refusal:
        return _notice(ports, REFUSED, refusal.status)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"approval page unavailable: {error}")
        return _notice(ports, FAILED, 503, {"Retry-After": "5"})


def _notice(ports: Adapters, content: Content, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what came of it."""
    return show_card(ports.rules, render(ports.rules, CardKind.HELD, content, ports.now()), status, headers)


def _list_answers(nonce: str) -> tuple[str, ...]:
    """The answers that the link is for: to an escalation, to a restart that was needless, or to a question."""
    others = {endings.ACKNOWLEDGED: (ACKNOWLEDGE,), endings.HEALTHY: (HEALTHY,)}
    return others.get(nonce.partition(".")[2].partition(".")[0], (APPROVE, DECLINE, ON_PURPOSE))


def _ask(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """What the link asks: its card as of now, with the buttons."""
    document = documents.load(ports, key)[0]
    question = _to_question(ports, document, nonce)
    if question is None:
        return _notice(ports, Content("", say_why_not(document, nonce)), 410)
    shown = compose_with_answers(_look_again(ports, question), ports.rules)
    return show_card(ports.rules, shown, person=person, token=form.token)


def _look_again(ports: Adapters, question: CardInput) -> CardInput:
    """The question with its queues' figures of now, as far as they can be read."""
    queues = {state.queue.key: (state.queue, ports.rules.runbooks.get(state.runbook)) for state in question.queues}
    calls, read_queues = observe.plan_queues(ports, queues, LOOK_S)
    readings = read_queues(ports.run_parallel(calls, LOOK_S))
    fresh = tuple(note_snapshot(state, observe.or_unknown(readings[state.queue.key])) for state in question.queues)
    if question.incident is not None:
        return replace(question, incident=replace(question.incident, queues=fresh))
    return replace(question, escalation=question.escalation and replace(question.escalation, queues=fresh))


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
        asked = CardInput(CardKind.HELD, now, runbook, target, incident, approve_url=link, outcomes=document.outcomes)
        return replace(asked, reason=asked.shown.reason, detail=asked.shown.detail)
    reminder = CardInput(CardKind.ESCALATED_AGAIN, now, runbook, target, escalation=escalation, acknowledge_url=link)
    reminder = replace(reminder, outcomes=document.outcomes)
    outcome = document.find_outcome(escalation.incident)
    if outcome is None:
        return reminder
    return replace(reminder, reason=outcome.reason, trigger=next(iter(outcome.triggers), None))


def _answer(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Record the pressed button, unless somebody was first."""
    by = in_language(ports.rules.language, pressed_by(person, form.who))
    given = Answer(form.act, key, nonce, by, form.why, address=person.address)
    result = answer(ports, given, Budget(ports, ports.monotonic() + BUDGET_S))
    question = _to_question(ports, result.before, nonce)
    if result.refusal is not None or question is None:
        sentence = (result.refusal or NO_LONGER).fill(who=join(result.approvers, COMMA))
        return _notice(ports, Content("", sentence), 403 if result.refusal is NOT_APPROVER else 410)
    reply, told = result.reply, Text("Unstick reports in the chat what comes of it. You can close this page.")
    if form.act == APPROVE and reply is not None and reply.action is Action.HELD and reply.reason:
        reason = REASONS[reply.reason]
        held = Text("{subject} was not restarted: {why}", subject=facts.subject(question), why=reason.short)
        return _notice(ports, Content("", held, [to_do(reason.todo), told]))
    done = DONE[form.act].fill(by=by, at=clock(ports.rules, ports.now(), "%H:%M"))
    return _notice(ports, Content("", done, [told]))
