"""Shell: the page behind an approval link. Nothing is changed but by a pressed button: the core decides as approved, or declines.

Chats and mail scanners fetch every link that they see, so only a pressed button may act. See docs/decisions/approval.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from msgspec import Struct

from functions.adapters.grafana.request import read_body
from functions.application import observe, reconcile, signing
from functions.application.ports import Budget
from functions.application.serialization import decode
from functions.domain.cards import approval_page, card, facts
from functions.domain.cards.approval_page import HEADERS, OPENING_HEADERS, Person, Row, View, links, page, text
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock, tidy
from functions.domain.decisions import health as judge
from functions.domain.model.codes import Action, Ending, Health, Phase
from functions.domain.model.events import Approved, Declined, Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Pause, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import clean, safe_url
from functions.domain.texts.words import LINK_EXECUTION
from functions.entrypoints.responses import Response
from functions.runtime.errors import BadRequest, Denied, Unavailable, UnstickError
from functions.runtime.text import Phrase, Text, in_language, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Request

    from functions.bootstrap import Adapters

BUDGET_S = 20.0
"""A person waits longer than Grafana does, and Cloud Run longer still."""
LOOK_S = 6.0
MAX_TOKEN, MAX_IDENTITY = 1000, 120
MAX_BODY = 4096
FIELDS = 8
OPEN = "open"
"""Where the forms post to: another path than the link's, or a browser would take the link for a place on the open page."""
FOREIGN, OLD = "foreign", "old"
NOTHING_CHANGED = Text("Nothing was changed.")
REFUSALS: Mapping[int | str, tuple[Text, Text]] = {
    FOREIGN: (
        Text("The button was pressed on another site's page"),
        Text("Open the link from the message and press the button there. Nothing was changed."),
    ),
    OLD: (
        Text("This kind of link is no longer used"),
        Text(
            "Open the newest message of the incident in the chat. If it has no other link, restart the job in Rundeck yourself."
        ),
    ),
    403: (Text("This link is not valid"), Text("Open the link exactly as it is in the message. Nothing was changed.")),
    410: (
        Text("This link has expired"),
        Text("Nothing was done now. The chat shows what happened since, and has a newer message if the alert is still firing."),
    ),
    413: (Text("The request was too large"), NOTHING_CHANGED),
}
FAILED = (
    Text("Unstick can't do this right now"),
    Text("A system that it needs does not respond. Reload the page in a moment to see whether anything was done."),
)
BY_LINK = Text("whoever had the link")
PHASES: Mapping[Phase, Text] = {
    Phase.DEFERRED: Text("being decided"),
    Phase.ASKED: Text("waiting for approval"),
    Phase.WAITING: Text("waiting"),
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
NAME_COOKIE = "unstick_name"
"""Keeps the name that a person typed, in the browser alone."""
NAME_KEPT_S = 365 * 86400


class Form(Struct, frozen=True):
    """What a page of ours posts. `act`: the button's value, empty if none was pressed."""

    token: str
    act: str = ""
    who: str = ""
    why: str = ""


def respond(request: Request, ports: Adapters) -> Response:
    """GET /approve/ -> a page that posts the link's token; POST -> the page with the button, or what came of pressing it.

    Raises nothing that a stranger can cause.
    """
    rules = ports.rules
    if request.method not in ("GET", "POST"):
        return "", 405, {"Allow": "GET, POST"}
    try:
        _require_current_link(request.path)
        if request.method == "GET":
            return approval_page.opening(ports.rules), 200, OPENING_HEADERS
        form = _read_form(request, ports.rules.public_url)
        key, nonce = signing.read_approval(ports.config.signing_keys, form.token, ports.now())
        person = _identify(request, ports.config.identity_header)
        if form.act:
            return _pressed(ports, key, nonce, person, form)
        return _shown(ports, key, nonce, form.token, person)
    except BadRequest as refusal:
        title, sentence = REFUSALS.get(refusal.sentence) or REFUSALS.get(refusal.status, REFUSALS[403])
        return page(rules, title, text(rules, sentence)), refusal.status, HEADERS
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"the approval page could not be served: {error}")
        return page(rules, FAILED[0], text(rules, FAILED[1])), 503, {**HEADERS, "Retry-After": "5"}


def _require_current_link(path: str) -> None:
    """Raises BadRequest for a link that has its token in the path, as those of older releases had."""
    if path.removeprefix("/approve").strip("/") not in ("", OPEN):
        raise BadRequest(410, OLD)


def _read_form(request: Request, public_url: str) -> Form:
    """The form. Raises BadRequest on one of another site, one that is too large, or a button that we don't have."""
    origin = request.headers.get("Origin")
    if origin is not None and _origin(origin) != _origin(public_url):
        raise BadRequest(403, FOREIGN)
    body = read_body(request.stream, request.content_length, MAX_BODY, request.headers)
    try:
        fields = parse_qs(body.decode(errors="replace"), max_num_fields=FIELDS)
    except ValueError:
        raise BadRequest(403, "This is no form of ours.") from None
    token, act, who, why = (fields.get(name, [""])[0] for name in ("token", "act", "who", "why"))
    if act not in ("", approval_page.RESTART, approval_page.DECLINE):
        raise BadRequest(403, "This is no button of ours.")
    # Without JavaScript people paste the whole link.
    token = token.rpartition("#")[2].strip().strip("/")[:MAX_TOKEN]
    return Form(token, act, clean(who, approval_page.NAME, "…"), clean(why, approval_page.WHY, "…"))


def _identify(request: Request, header: str) -> Person:
    """Who calls: as the configured proxy says, otherwise as the browser has kept it."""
    signed_in = request.headers.get(header, "").removeprefix("accounts.google.com:") if header else ""
    if name := clean(signed_in, MAX_IDENTITY, "…"):
        return Person(name, verified=True)
    return Person(clean(unquote(request.cookies.get(NAME_COOKIE, "")), approval_page.NAME, "…"))


def _keep_name(public_url: str, name: str) -> dict[str, str]:
    """The header with which the browser keeps the name for the next time, for these pages alone."""
    parts = urlsplit(public_url)
    secure = "; Secure" if parts.scheme == "https" else ""
    path = f"{parts.path.rstrip('/')}/approve/"
    cookie = f"{NAME_COOKIE}={quote(name, safe='')}; Max-Age={NAME_KEPT_S}; Path={path}; HttpOnly; SameSite=Strict{secure}"
    return {"Set-Cookie": cookie} if name else {}


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what has none, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


# --- the page that asks ------------------------------------------------------------------------------------------------


def _shown(ports: Adapters, key: str, nonce: str, token: str, person: Person) -> Response:
    document, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(ports.rules, document, nonce)
    return approval_page.asking(_view(ports, document, incident), ports.rules, token, person), 200, HEADERS


def _asking(ports: Adapters, key: str, nonce: str) -> tuple[Document, Incident | None]:
    """The document, and its incident if it still asks with this nonce."""
    stored = ports.load(key, reconcile.STORE_S)
    document = decode(Document, stored.body, key) if stored else Document(key)
    incident = document.incident
    asks = incident is not None and incident.phase is Phase.ASKED and bool(incident.nonce) and incident.nonce == nonce
    return document, incident if asks else None


def _view(ports: Adapters, document: Document, incident: Incident) -> View:
    """Look at the queues and the kill switch, all at once; what can't be seen is shown as such."""
    rules, now = ports.rules, ports.now()
    runbook = rules.runbooks.get(incident.runbook)
    watched = incident.queues[: approval_page.QUEUES_SHOWN]
    calls: list[Callable[[], Any]] = [partial(observe.read_pause, ports, LOOK_S)]
    queues = {one.queue.key: (one.queue, rules.runbooks.get(one.runbook)) for one in watched}
    queue_calls, read_queues = observe.plan_queues(ports, queues, LOOK_S)
    pause, *results = ports.run_parallel([*calls, *queue_calls], LOOK_S)
    snapshots = read_queues(results)
    rows = [_row(rules, one, snapshots[one.queue.key], now) for one in watched]
    rows += [Row(one.queue.name, Unknown(""), Health.UNKNOWN) for one in incident.queues[len(watched) :]]
    story = CardInput("held", now, runbook, document.target, incident, incident.reason, incident.detail)
    return View(story, tuple(rows), _warnings(pause))


def _row(rules: Rules, watched: QueueState, found: object, now: float) -> Row:
    if isinstance(found, BaseException) and not isinstance(found, UnstickError):
        raise found
    seen = found if isinstance(found, QueueSnapshot) else Unknown(str(found))
    runbook = rules.runbooks.get(watched.runbook)
    health = judge.judge_health(runbook.symptom, seen, watched, now)[0] if runbook else Health.UNKNOWN
    return Row(watched.queue.name, seen, health)


def _warnings(pause: object) -> tuple[Phrase, ...]:
    if isinstance(pause, Exception):
        return (Text("The kill switch can't be read, so the button would restart nothing."),)
    if isinstance(pause, Pause):
        return (Text("The kill switch is on: the button would restart nothing. {why}", why=pause.why),)
    return ()


# --- the button --------------------------------------------------------------------------------------------------------


def _pressed(ports: Adapters, key: str, nonce: str, person: Person, form: Form) -> Response:
    rules = ports.rules
    by = in_language(rules.language, pressed_by(person, form.who))
    headers = HEADERS if person.verified else {**HEADERS, **_keep_name(rules.public_url, form.who)}
    budget = Budget(ports, ports.monotonic() + BUDGET_S)
    before, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(rules, before, nonce)
    declined = form.act == approval_page.DECLINE
    event = Declined(nonce, by, form.why) if declined else Approved(nonce, by, form.why)
    reply = reconcile.advance(ports, key, event, budget)
    after, _ = _asking(ports, key, nonce)
    if reply is None:
        return _over(rules, after, nonce)
    story = CardInput("held", ports.now(), rules.runbooks.get(incident.runbook), before.target, incident)
    if declined:
        ports.log("NOTICE", "declined", incident=reply.incident, by=by)
        return _declined(rules, facts.subject(story), by), 200, headers
    ports.log("NOTICE", f"approved: {reply.action.value}", incident=reply.incident, by=by)
    return _result(rules, facts.subject(story), reply, after, by), 200, headers


def pressed_by(person: Person, typed: str) -> Phrase:
    """Who pressed: as the proxy in front says, or as they say themselves, which proves nothing."""
    if person.verified:
        return person.name
    return Text("{who} (not verified)", who=typed) if typed else BY_LINK


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
