"""The page where a person acknowledges an escalation."""

from functions.application import documents
from functions.application.answer import Answer, answer, find_runbook
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.domain.cards import approval_page, facts
from functions.domain.cards.approval_page import Notice, Person, View
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock, tidy
from functions.domain.model.incidents import Document, Escalation
from functions.domain.model.messages import ACKNOWLEDGE, CardKind
from functions.entrypoints.people.form import Form, keep_name, pressed_by
from functions.entrypoints.people.queues import read_rows
from functions.entrypoints.people.rendering import show_notice, show_question
from functions.entrypoints.responses import Response
from functions.runtime.text import Phrase, Text, in_language

BUDGET_S = 20.0
NAMELESS = Text("Nothing was done: type your name, since others have to know who has it.")


def show(ports: Adapters, key: str, nonce: str, token: str, person: Person, *, warnings: tuple[Phrase, ...] = ()) -> Response:
    """The page with the button."""
    document, _ = documents.load(ports, key)
    escalation = document.escalation
    if escalation is None or find_runbook(document, ACKNOWLEDGE, nonce) is None:
        return _over(ports, document, nonce)
    now = ports.now()
    rows, _ = read_rows(ports, escalation.queues, now)
    question = approval_page.ask_to_take(View(_story(ports, document, escalation), rows, warnings), ports.rules)
    return show_question(ports.rules, question, token, person)


def press(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Record the acknowledgement, unless somebody was first."""
    rules = ports.rules
    if not (person.verified or form.who):
        return show(ports, key, nonce, form.token, person, warnings=(NAMELESS,))
    by = in_language(rules.language, pressed_by(person, form.who))
    result = answer(ports, Answer(ACKNOWLEDGE, key, nonce, by), Budget(ports, ports.monotonic() + BUDGET_S))
    after = result.after
    if result.refusal is not None or after.escalation is None:
        return _over(ports, after, nonce)
    title = Text("You have taken {subject}", subject=facts.subject(_story(ports, after, after.escalation)))
    told = Text("Unstick tells the chat, and reminds nobody any more. You can close this page.")
    content = Notice(title, (told,), recorded=Text("Recorded as acknowledged by: {by}", by=by))
    return show_notice(rules, content, headers=keep_name(rules.public_url, person, form.who))


def _story(ports: Adapters, document: Document, escalation: Escalation) -> CardInput:
    outcome = document.find_outcome(escalation.incident)
    return CardInput(
        CardKind.ESCALATED_AGAIN,
        ports.now(),
        ports.rules.runbooks.get(escalation.runbook),
        document.target,
        reason=outcome.reason if outcome else None,
        trigger=outcome.triggers[0] if outcome and outcome.triggers else None,
        escalation=escalation,
    )


def _over(ports: Adapters, document: Document, nonce: str) -> Response:
    rules, escalation = ports.rules, document.escalation
    sentence = Text("The escalation that it was for is over. Nothing was done now.")
    if escalation is not None and escalation.nonce == nonce and escalation.taken_by:
        at = clock(rules, escalation.taken_at or escalation.at)
        sentence = Text("{by} has taken it, at {at}. Nothing more was done now.", by=tidy(escalation.taken_by), at=at)
    return show_notice(rules, Notice(Text("This link is no longer needed"), (sentence,)), 410)
