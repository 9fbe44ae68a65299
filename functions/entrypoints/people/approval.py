"""The page that asks whether to restart, and what came of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from functions.application import reconcile
from functions.application.ports import Budget
from functions.domain.cards import approval_page, card, facts
from functions.domain.cards.approval_page import HEADERS, Person, View, links, page, text
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock, tidy
from functions.domain.model.codes import Action, Ending, Phase
from functions.domain.model.events import Approved, Declined, Reply
from functions.domain.model.incidents import Document, Incident
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import safe_url
from functions.domain.texts.words import LINK_EXECUTION
from functions.entrypoints.people.form import BY_LINK, Form, keep_name, pressed_by
from functions.entrypoints.people.queues import read_rows
from functions.entrypoints.responses import Response
from functions.runtime.text import Phrase, Text, in_language, named

if TYPE_CHECKING:
    from functions.bootstrap import Adapters

BUDGET_S = 20.0
"""A person waits longer than Grafana does, and Cloud Run longer still."""
NOT_APPROVER = (
    Text("Only the runbook's approvers may decide this"),
    Text("This page knows them by the addresses with which a proxy signs people in. Answer in Slack, or restart in Rundeck."),
)
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
# --- the page that asks ------------------------------------------------------------------------------------------------


def show(ports: Adapters, key: str, nonce: str, token: str, person: Person) -> Response:
    """The page with the buttons."""
    document, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(ports.rules, document, nonce)
    return approval_page.asking(_view(ports, document, incident), ports.rules, token, person), 200, HEADERS


def _asking(ports: Adapters, key: str, nonce: str) -> tuple[Document, Incident | None]:
    """The document, and its incident if it still asks with this nonce."""
    document = reconcile.load_document(key, ports.load(key, reconcile.STORE_S))
    incident = document.incident
    asks = incident is not None and incident.phase is Phase.ASKED and bool(incident.nonce) and incident.nonce == nonce
    return document, incident if asks else None


def _view(ports: Adapters, document: Document, incident: Incident) -> View:
    now = ports.now()
    rows, warnings = read_rows(ports, incident.queues, now)
    runbook = ports.rules.runbooks.get(incident.runbook)
    story = CardInput("held", now, runbook, document.target, incident, incident.reason, incident.detail)
    return View(story, rows, warnings)


# --- the button --------------------------------------------------------------------------------------------------------


def press(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Approve or decline, unless somebody was first."""
    rules = ports.rules
    by = in_language(rules.language, pressed_by(person, form.who))
    headers = HEADERS if person.verified else {**HEADERS, **keep_name(rules.public_url, form.who)}
    budget = Budget(ports, ports.monotonic() + BUDGET_S)
    before, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(rules, before, nonce)
    runbook = rules.runbooks.get(incident.runbook)
    if runbook and runbook.approvers and not (person.verified and person.name in runbook.approvers):
        ports.log("WARNING", "somebody who may not pressed the button of an approval", incident=incident.id, by=by)
        return page(rules, NOT_APPROVER[0], text(rules, NOT_APPROVER[1])), 403, HEADERS
    declined = form.act == approval_page.DECLINE
    event = Declined(nonce, by, form.why) if declined else Approved(nonce, by, form.why)
    reply = reconcile.advance(ports, key, event, budget)
    after, _ = _asking(ports, key, nonce)
    if reply is None:
        return _over(rules, after, nonce)
    story = CardInput("held", ports.now(), runbook, before.target, incident)
    if declined:
        ports.log("NOTICE", "declined", incident=reply.incident, by=by)
        return _declined(rules, facts.subject(story), by), 200, headers
    ports.log("NOTICE", f"approved: {reply.action.value}", incident=reply.incident, by=by)
    return _result(rules, facts.subject(story), reply, after, by), 200, headers


def _declined(rules: Rules, subject: Phrase, by: str) -> str:
    recorded = text(rules, Text("Recorded as declined by: {by}", by=by), "note")
    told = Text("Unstick tells the chat, and doesn't ask again for this alert. A new alert is decided anew.")
    return page(rules, Text("{subject} is not restarted", subject=subject), text(rules, told), recorded)


def _result(rules: Rules, subject: Phrase, reply: Reply, after: Document, by: str) -> str:
    """What came of the button."""
    recorded = text(rules, Text("Recorded as approved by: {by}", by=by), "note")
    execution = links(rules, [(LINK_EXECUTION, safe_url(reply.execution.url) if reply.execution else "")])
    watched = Text("Unstick watches the queue and reports the result in the chat. You can close this page.")
    unanswered = Text(
        "The job may have started or not. Unstick finds out within two minutes; don't start it by hand before that."
    )
    match reply.action:
        case Action.RESTARTED:
            return page(rules, Text("{subject} is being restarted", subject=subject), text(rules, watched), execution, recorded)
        case Action.ADOPTED:
            title = Text("{subject} is already being restarted", subject=subject)
            return page(rules, title, text(rules, watched), execution, recorded)
        case Action.DEFERRED if after.incident is not None and after.incident.phase is Phase.COLLECTING:
            title = Text("{subject} will be restarted", subject=subject)
            collecting = Text("Unstick collects evidence first, then restarts it and reports in the chat.")
            return page(rules, title, text(rules, collecting), recorded)
        case Action.DEFERRED:
            return page(rules, Text("Rundeck has not answered yet"), text(rules, unanswered), execution, recorded)
        case _:
            incident = after.incident
            words = REASONS[reply.reason] if reply.reason else None
            parts = [words.why, card.to_do(words.todo)] if words else []
            parts += [card.details(incident.detail)] if incident and incident.detail else []
            parts += [Text("Unstick tries again by itself and reports in the chat.")] if incident else []
            shown = [text(rules, part) for part in parts]
            return page(rules, Text("{subject} was not restarted", subject=subject), *shown, execution, recorded)


# --- neither -----------------------------------------------------------------------------------------------------------


def _over(rules: Rules, document: Document, nonce: str) -> Response:
    """Why the link does nothing any more, and what happened instead: 409 while the incident goes on, 410 after it."""
    incident, asked_for = document.incident, nonce.rsplit(".", 2)[0]
    if incident is not None and incident.id == asked_for:
        if incident.phase is Phase.ASKED:
            newer = Text("Unstick has asked again since. Use the link in the newest message; this one does nothing.")
            return page(rules, Text("A newer link has been sent"), text(rules, newer)), 409, HEADERS
        by = Text("It was approved by {by}. Nothing more was done now.", by=tidy(incident.approved_by) or BY_LINK)
        phase = Text("Current state of the incident: {phase}.", phase=PHASES[incident.phase])
        execution = links(rules, [(LINK_EXECUTION, safe_url(incident.execution.url) if incident.execution else "")])
        return page(rules, Text("This link was already used"), text(rules, by), text(rules, phase), execution), 409, HEADERS
    outcome = next((one for one in reversed(document.outcomes) if one.incident == asked_for), None)
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
    return page(rules, Text("This link is no longer needed"), text(rules, sentence)), 410, HEADERS
