"""The approval page: asks whether to restart, and shows the result."""

from collections.abc import Mapping

from functions.application import documents
from functions.application.answer import NO_RUNBOOK, Answer, Refusal, answer, find_runbook
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.domain.cards import approval_page, card, facts
from functions.domain.cards.approval_page import Notice, Person, View
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock, tidy
from functions.domain.model.codes import Action, Ending, Phase
from functions.domain.model.events import Reply
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.messages import APPROVE, DECLINE, CardKind
from functions.domain.model.observations import Execution
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import LINK_EXECUTION
from functions.entrypoints.people.form import BY_LINK, Form, keep_name, pressed_by
from functions.entrypoints.people.queues import read_rows
from functions.entrypoints.people.rendering import show_notice, show_question
from functions.entrypoints.responses import Response
from functions.runtime.text import Phrase, Text, in_language, named

BUDGET_S = 20.0  # people wait longer than Grafana does; Cloud Run waits longer still
NOT_APPROVER = Notice(
    Text("Only the runbook's approvers may decide this"),
    (Text("This page knows them by the addresses with which a proxy signs people in. Answer in Slack, or restart in {runner}."),),
)
REFUSALS: Mapping[Refusal | None, Notice] = {
    Refusal.NOT_APPROVER: NOT_APPROVER,
    Refusal.NO_RUNBOOK: Notice(NOT_APPROVER.title, (NO_RUNBOOK,)),
}
PHASES: Mapping[Phase, Text] = {
    Phase.DEFERRED: Text("being decided"),
    Phase.ASKED: Text("waiting for approval"),
    Phase.WAITING: Text("waiting"),
    Phase.COLLECTING: Text("collecting evidence"),
    Phase.STARTING: Text("starting"),
    Phase.RUNNING: Text("restarting"),
    Phase.VERIFYING: Text("restarted, being watched"),
    Phase.OBSERVING: Text("only being watched"),
}
ENDINGS: Mapping[Ending, Text] = {
    Ending.RECOVERED: Text("recovered"),
    Ending.ESCALATED: Text("handed over to people"),
    Ending.HELD: Text("not restarted"),
}


def show(ports: Adapters, key: str, nonce: str, token: str, person: Person) -> Response:
    """The page with the buttons."""
    document, _ = documents.load(ports, key)
    incident = document.incident
    if incident is None or find_runbook(document, APPROVE, nonce) is None:
        return _over(ports.rules, document, nonce)
    now = ports.now()
    rows, warnings = read_rows(ports, incident.queues, now)
    runbook = ports.rules.runbooks.get(incident.runbook)
    card_input = CardInput(CardKind.HELD, now, runbook, document.target, incident, incident.reason, incident.detail)
    return show_question(ports.rules, approval_page.ask(View(card_input, rows, warnings), ports.rules), token, person)


def press(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Approve or decline, unless somebody was first."""
    rules, declined = ports.rules, form.act == approval_page.DECLINE
    by = in_language(rules.language, pressed_by(person, form.who))
    given = Answer(DECLINE if declined else APPROVE, key, nonce, by, form.why, address=person.address)
    result = answer(ports, given, Budget(ports, ports.monotonic() + BUDGET_S))
    if result.refusal in REFUSALS:
        return show_notice(rules, REFUSALS[result.refusal], 403)
    incident = result.before.incident
    if result.reply is None or incident is None:
        return _over(rules, result.after, nonce)
    subject = facts.subject(
        CardInput(CardKind.HELD, ports.now(), rules.runbooks.get(incident.runbook), result.before.target, incident)
    )
    content = _declined(subject, by) if declined else _approved(subject, result.reply, result.after.incident, by)
    return show_notice(rules, content, headers=keep_name(rules.public_url, person, form.who))


def _declined(subject: Phrase, by: str) -> Notice:
    told = Text("Unstick tells the chat, and doesn't ask again for this alert. A new alert is decided anew.")
    recorded = Text("Recorded as declined by: {by}", by=by)
    return Notice(Text("{subject} is not restarted", subject=subject), (told,), recorded=recorded)


def _approved(subject: Phrase, reply: Reply, incident: Incident | None, by: str) -> Notice:
    """The result of approving. `incident`: its state afterwards."""
    recorded = Text("Recorded as approved by: {by}", by=by)
    links = _execution_link(reply.execution)
    watched = Text("Unstick watches the queue and reports the result in the chat. You can close this page.")
    unanswered = Text(
        "The job may have started or not. Unstick finds out within two minutes; don't start it by hand before that."
    )
    match reply.action:
        case Action.RESTARTED:
            return Notice(Text("{subject} is being restarted", subject=subject), (watched,), links, recorded)
        case Action.ADOPTED:
            return Notice(Text("{subject} is already being restarted", subject=subject), (watched,), links, recorded)
        case Action.DEFERRED if incident is not None and incident.phase is Phase.COLLECTING:
            collecting = Text("Unstick collects evidence first, then restarts it and reports in the chat.")
            return Notice(Text("{subject} will be restarted", subject=subject), (collecting,), recorded=recorded)
        case Action.DEFERRED:
            return Notice(Text("{runner} has not answered yet"), (unanswered,), links, recorded)
        case _:
            return Notice(Text("{subject} was not restarted", subject=subject), _why_not(reply, incident), links, recorded)


def _why_not(reply: Reply, incident: Incident | None) -> tuple[Phrase, ...]:
    words = REASONS[reply.reason] if reply.reason else None
    parts: list[Phrase] = [words.why, card.to_do(words.todo)] if words else []
    parts += [card.details(incident.detail)] if incident and incident.detail else []
    parts += [Text("Unstick tries again by itself and reports in the chat.")] if incident else []
    return tuple(parts)


def _execution_link(execution: Execution | None) -> tuple[tuple[Phrase, str], ...]:
    url = safe_url(execution.url) if execution else ""
    return ((LINK_EXECUTION, url),) if url else ()


def _over(rules: Rules, document: Document, nonce: str) -> Response:
    """The page that says why the link no longer works: 409 while the incident goes on, 410 after it."""
    incident, asked_for = document.incident, nonce.rsplit(".", 2)[0]
    if incident is not None and incident.id == asked_for:
        return show_notice(rules, _goes_on(incident), 409)
    outcome = document.find_outcome(asked_for)
    sentence = Text("The incident that it was for is over. Nothing was done now.")
    if outcome is not None and outcome.by:
        sentence = Text(
            "It was declined by {by} at {at}. Nothing more was done now.", by=tidy(outcome.by), at=clock(rules, outcome.at)
        )
    elif outcome is not None:
        ending = named(ENDINGS[outcome.ending], REASONS[outcome.reason].short if outcome.reason else "")
        sentence = Text(
            "The incident ended at {at}: {ending}. Nothing more was done now.", at=clock(rules, outcome.at), ending=ending
        )
    return show_notice(rules, Notice(Text("This link is no longer needed"), (sentence,)), 410)


def _goes_on(incident: Incident) -> Notice:
    if incident.phase is Phase.ASKED:
        newer = Text("Unstick has asked again since. Use the link in the newest message; this one does nothing.")
        return Notice(Text("A newer link has been sent"), (newer,))
    by = Text("It was approved by {by}. Nothing more was done now.", by=tidy(incident.approval.approved_by) or BY_LINK)
    phase = Text("Current state of the incident: {phase}.", phase=PHASES[incident.phase])
    return Notice(Text("This link was already used"), (by, phase), _execution_link(incident.execution))
