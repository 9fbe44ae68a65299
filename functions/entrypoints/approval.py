"""Shell: the page behind an approval link. Nothing is changed but by the pressed button, which has the core decide as approved.

Chats and mail scanners fetch every link that they see, so only a pressed button may act. See docs/decisions/approval.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from functions.adapters.grafana.request import read_body
from functions.application import observe, reconcile, signing
from functions.application.ports import Budget
from functions.application.serialization import decode
from functions.domain.cards import approval_page, card, facts
from functions.domain.cards.approval_page import HEADERS, OPENING_HEADERS, Row, View, links, page, text
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock, tidy
from functions.domain.decisions import health as judge
from functions.domain.model.codes import Action, Ending, Health, Phase
from functions.domain.model.events import Approved, Reply
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
    from werkzeug.datastructures import Headers

    from functions.bootstrap import Adapters

BUDGET_S = 20.0
"""A person waits longer than Grafana does, and Cloud Run longer still."""
LOOK_S = 6.0
MAX_TOKEN = 1000
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
}
ENDINGS: Mapping[Ending, Text] = {
    Ending.RECOVERED: Text("recovered"),
    Ending.ESCALATED: Text("handed over to people"),
    Ending.HELD: Text("not restarted"),
}
IDENTITY = ("X-Goog-Authenticated-User-Email", "X-Forwarded-Email", "X-Forwarded-User")
"""Set by a proxy that signs people in (Identity-Aware Proxy, oauth2-proxy). Whoever reaches us past it can set them too."""


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
        token, is_pressed = _read_form(request, ports.rules.public_url)
        key, nonce = signing.read_approval(ports.config.signing_keys, token, ports.now())
        return _pressed(ports, key, nonce, request.headers) if is_pressed else _shown(ports, key, nonce, token)
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


def _read_form(request: Request, public_url: str) -> tuple[str, bool]:
    """The token, and whether the button was pressed. Raises BadRequest on a form of another site, or one that is too large."""
    origin = request.headers.get("Origin")
    if origin is not None and _origin(origin) != _origin(public_url):
        raise BadRequest(403, FOREIGN)
    body = read_body(request.stream, request.content_length, MAX_BODY, request.headers)
    try:
        fields = parse_qs(body.decode(errors="replace"), max_num_fields=FIELDS)
    except ValueError:
        raise BadRequest(403, "This is no form of ours.") from None
    # Without JavaScript people paste the whole link.
    token = fields.get("token", [""])[0].rpartition("#")[2].strip().strip("/")
    return token[:MAX_TOKEN], "act" in fields


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what has none, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


# --- the page that asks ------------------------------------------------------------------------------------------------


def _shown(ports: Adapters, key: str, nonce: str, token: str) -> Response:
    document, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(ports.rules, document, nonce)
    return approval_page.asking(_view(ports, document, incident), ports.rules, token), 200, HEADERS


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


def _pressed(ports: Adapters, key: str, nonce: str, headers: Headers) -> Response:
    rules = ports.rules
    by = in_language(rules.language, pressed_by(headers))
    budget = Budget(ports, ports.monotonic() + BUDGET_S)
    before, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(rules, before, nonce)
    reply = reconcile.advance(ports, key, Approved(nonce, by), budget)
    after, _ = _asking(ports, key, nonce)
    if reply is None:
        return _over(rules, after, nonce)
    ports.log("NOTICE", f"approved: {reply.action.value}", incident=reply.incident, by=by)
    story = CardInput("held", ports.now(), rules.runbooks.get(incident.runbook), before.target, incident)
    return _result(rules, facts.subject(story), reply, after, by), 200, HEADERS


def pressed_by(headers: Headers) -> Text:
    """Who pressed, where a proxy in front says so. It is nobody's proof: anybody who holds the link may send these headers."""
    for name in IDENTITY:
        who = clean(headers.get(name, "").removeprefix("accounts.google.com:"), 120, "…")
        if who:
            return Text("{who} (not verified)", who=who)
    return BY_LINK


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
    if outcome is not None:
        ending = named(ENDINGS[outcome.ending], REASONS[outcome.reason].short if outcome.reason else "")
        sentence = Text(
            "The incident ended at {at}: {ending}. Nothing more was done now.", at=clock(rules, outcome.at), ending=ending
        )
    return page(rules, Text("This link is no longer needed"), text(rules, sentence)), 410, HEADERS
