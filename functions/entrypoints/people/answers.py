"""The pages behind the links for people's answers: approval and acknowledgement. Only a pressed button changes anything.

Chats and mail scanners fetch every link that they see, so GET looks nothing up. See docs/decisions.md."""

from collections.abc import Mapping
from functools import partial

from flask import Request

from functions.application import documents, observe, signing
from functions.application.answer import NO_RUNBOOK, Answer, Refusal, answer, find_runbook
from functions.application.ports import Budget
from functions.bootstrap import Adapters
from functions.domain.cards import facts
from functions.domain.cards.content import CardInput, Content, clock, details, render, tidy, to_do
from functions.domain.cards.queues import QUEUES_SHOWN, say_now
from functions.domain.decisions import endings
from functions.domain.decisions.messages import compose_with_answers
from functions.domain.health.looks import Judgement, judge_health
from functions.domain.health.rows import terms_of
from functions.domain.model.codes import Action, Health, Phase
from functions.domain.model.events import Reply
from functions.domain.model.incidents import Document, Escalation, Incident, QueueState
from functions.domain.model.messages import ACKNOWLEDGE, APPROVE, DECLINE, CardKind
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
    keep_name,
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
        person = identify(request, ports.config.identity_header)
        is_escalation = nonce.split(".")[1:2] == [endings.ACKNOWLEDGE]
        if form.act and form.act not in ({ACKNOWLEDGE} if is_escalation else {APPROVE, DECLINE}):
            return _notice(ports, REFUSALS[403], 403)
        if is_escalation:
            return (_take if form.act else _ask_to_take)(ports, key, nonce, person, form)
        return (_decide if form.act else _ask)(ports, key, nonce, person, form)
    except BadRequest as refusal:
        content = REFUSALS.get(refusal.sentence) or REFUSALS.get(refusal.status, REFUSALS[403])
        return _notice(ports, content, refusal.status)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"approval page unavailable: {error}")
        return _notice(ports, FAILED, 503, {"Retry-After": "5"})


def _notice(ports: Adapters, content: Content, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what came of it."""
    return show_card(ports.rules, render(ports.rules, CardKind.HELD, content, ports.now()), status, headers)


def _ask(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """The question whether to restart: its card, with the buttons and the queues as they are now."""
    document, _ = documents.load(ports, key)
    incident = document.incident
    if incident is None or find_runbook(document, APPROVE, nonce) is None:
        return _say_over(ports, document, nonce)
    question = _to_question(ports, document, incident)
    return _show_question(ports, question, incident.queues, person, form.token)


def _to_question(ports: Adapters, document: Document, incident: Incident) -> CardInput:
    rules, now = ports.rules, ports.now()
    link = f"{rules.public_url}/approve/#{incident.approval.nonce}"
    runbook = rules.runbooks.get(incident.runbook)
    reason, detail = incident.reason, incident.detail
    return CardInput(CardKind.HELD, now, runbook, document.target, incident, reason, detail, approve_url=link)


def _show_question(
    ports: Adapters, question: CardInput, queues: tuple[QueueState, ...], person: Person, token: str, warning: Phrase = ""
) -> Response:
    lines, warnings = _read_now(ports, queues)
    warnings = [warning] if warning else warnings
    shown = compose_with_answers(question, ports.rules)
    return show_card(ports.rules, shown, lines=lines, warnings=warnings, person=person, token=token)


def _read_now(ports: Adapters, states: tuple[QueueState, ...]) -> tuple[list[Phrase], list[Phrase]]:
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
            judged = judge_health(runbook.symptom, reading, state, now, terms_of(runbook))[0]
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


def _decide(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Approve or decline, unless somebody was first."""
    rules = ports.rules
    by = in_language(rules.language, pressed_by(person, form.who))
    given = Answer(form.act, key, nonce, by, form.why, address=person.address)
    result = answer(ports, given, Budget(ports, ports.monotonic() + BUDGET_S))
    if result.refusal in (Refusal.NOT_APPROVER, Refusal.NO_RUNBOOK):
        return _notice(ports, REFUSALS[result.refusal], 403)
    incident = result.before.incident
    if result.reply is None or incident is None:
        return _say_over(ports, result.after, nonce)
    subject = facts.subject(_to_question(ports, result.before, incident))
    if form.act == DECLINE:
        told = Text("Unstick tells the chat, and doesn't ask again for this alert. The next one is handled as usual.")
        recorded = Text("Recorded as declined by: {by}", by=by)
        content = Content("", Text("{subject} is not restarted", subject=subject), [told, recorded])
    else:
        content = _say_approved(subject, result.reply, result.after.incident, by)
    return _notice(ports, content, headers=keep_name(rules.public_url, person, form.who))


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
            title, text = Text("{subject} was not restarted", subject=subject), _why_not(reply, incident)
    return Content("", title, [*text, recorded], links=links)


def _why_not(reply: Reply, incident: Incident | None) -> list[Text]:
    words = REASONS[reply.reason] if reply.reason else None
    parts = [words.why, to_do(words.todo)] if words else []
    parts += [details(incident.detail)] if incident and incident.detail else []
    return parts + ([Text("Unstick tries again by itself and reports in the chat.")] if incident else [])


def _list_link(execution: Execution | None) -> list[tuple[Phrase, str]]:
    url = safe_url(execution.url) if execution else ""
    return [(LINK_EXECUTION, url)] if url else []


def _say_over(ports: Adapters, document: Document, nonce: str) -> Response:
    """The page that says why the link no longer works: 409 while the incident goes on, 410 after it."""
    incident, asked_for = document.incident, nonce.rsplit(".", 2)[0]
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


def _ask_to_take(ports: Adapters, key: str, nonce: str, person: Person, form: Form, warning: Phrase = "") -> Response:
    """The question who takes an escalation: its card, with the button and the queues as they are now."""
    document, _ = documents.load(ports, key)
    escalation = document.escalation
    if escalation is None or find_runbook(document, ACKNOWLEDGE, nonce) is None:
        return _say_taken(ports, document, nonce)
    return _show_question(ports, _to_reminder(ports, document, escalation), escalation.queues, person, form.token, warning)


def _to_reminder(ports: Adapters, document: Document, escalation: Escalation) -> CardInput:
    outcome, rules = document.find_outcome(escalation.incident), ports.rules
    return CardInput(
        CardKind.ESCALATED_AGAIN,
        ports.now(),
        rules.runbooks.get(escalation.runbook),
        document.target,
        reason=outcome.reason if outcome else None,
        trigger=outcome.triggers[0] if outcome and outcome.triggers else None,
        acknowledge_url=f"{rules.public_url}/approve/#{escalation.nonce}",
        escalation=escalation,
        restarts=outcome.restarts if outcome else 0,
    )


def _take(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    """Record the acknowledgement, unless somebody was first."""
    rules = ports.rules
    if not (person.verified or form.who):
        return _ask_to_take(ports, key, nonce, person, form, NAMELESS)
    by = in_language(rules.language, pressed_by(person, form.who))
    result = answer(ports, Answer(ACKNOWLEDGE, key, nonce, by), Budget(ports, ports.monotonic() + BUDGET_S))
    after = result.after
    if result.refusal is not None or after.escalation is None:
        return _say_taken(ports, after, nonce)
    title = Text("You have taken {subject}", subject=facts.subject(_to_reminder(ports, after, after.escalation)))
    told = Text("Unstick tells the chat, and reminds nobody any more. You can close this page.")
    content = Content("", title, [told, Text("Recorded as acknowledged by: {by}", by=by)])
    return _notice(ports, content, headers=keep_name(rules.public_url, person, form.who))


def _say_taken(ports: Adapters, document: Document, nonce: str) -> Response:
    escalation = document.escalation
    sentence = Text("The escalation that it was for is over. Nothing was done now.")
    if escalation is not None and escalation.nonce == nonce and escalation.taken_by:
        at = clock(ports.rules, escalation.taken_at or escalation.at)
        sentence = Text("{by} has taken it, at {at}. Nothing more was done now.", by=tidy(escalation.taken_by), at=at)
    return _notice(ports, Content("", OVER, [sentence]), 410)
