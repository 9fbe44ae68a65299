"""Shell: the page behind an approval link. GET shows and changes nothing; POST has the core decide as approved.

Chats and mail scanners fetch every link that they see, so only a pressed button may act. See docs/decisions/approval.md.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from functions.adapters.grafana.request import read_body
from functions.application import observe, reconcile, signing
from functions.application.ports import Budget
from functions.application.serialization import decode
from functions.domain.cards import approval_page, facts
from functions.domain.cards.approval_page import HEADERS, Row, View, links, page, text
from functions.domain.cards.card_input import CardInput
from functions.domain.decisions import health as judge
from functions.domain.model.codes import Action, Health, Phase
from functions.domain.model.events import Approved, Reply
from functions.domain.model.incidents import Document, Incident, QueueState
from functions.domain.model.observations import Pause, QueueSnapshot, Unknown
from functions.domain.model.runbooks import Rules
from functions.domain.texts.approval_words import say
from functions.domain.texts.reasons import REASONS
from functions.domain.texts.sanitize import clean, safe_url
from functions.domain.texts.words import say as say_card
from functions.entrypoints.responses import Response
from functions.runtime.errors import BadRequest, Denied, Unavailable, UnstickError

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
FOREIGN, LARGE = "foreign", "large"
"""Keys of the words for what is wrong with a request."""
IDENTITY = ("X-Goog-Authenticated-User-Email", "X-Forwarded-Email", "X-Forwarded-User")
"""Set by a proxy that signs people in (Identity-Aware Proxy, oauth2-proxy). Whoever reaches us past it can set them too."""


def respond(request: Request, ports: Adapters) -> Response:
    """GET or POST /approve/TOKEN -> the page. Raises nothing that a stranger can cause."""
    language = ports.rules.language
    if request.method not in ("GET", "POST"):
        return "", 405, {"Allow": "GET, POST"}
    try:
        if request.method == "POST":
            _require_our_page(request, ports.rules.public_url)
        token = request.path.removeprefix("/approve/").removesuffix("/")[:MAX_TOKEN]
        key, nonce = signing.read_approval(ports.config.signing_keys, token, ports.now())
        return _shown(ports, key, nonce) if request.method == "GET" else _pressed(ports, key, nonce, request.headers)
    except BadRequest as refusal:
        what = FOREIGN if refusal.sentence == FOREIGN else {410: "expired", 413: LARGE}.get(refusal.status, "forged")
        return page(language, say(language, what), text(say(language, f"{what}_text"))), refusal.status, HEADERS
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"the approval page could not be served: {error}")
        return page(language, say(language, "failed"), text(say(language, "failed_text"))), 503, {**HEADERS, "Retry-After": "5"}


def _require_our_page(request: Request, public_url: str) -> None:
    """Raises BadRequest if another site's page sent this, or if it is larger than any form of ours."""
    origin = request.headers.get("Origin")
    if origin is not None and _origin(origin) != _origin(public_url):
        raise BadRequest(403, FOREIGN)
    read_body(request.stream, request.content_length, MAX_BODY, request.headers)  # nothing in it matters but its size


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what has none, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


# --- GET ---------------------------------------------------------------------------------------------------------------


def _shown(ports: Adapters, key: str, nonce: str) -> Response:
    document, incident = _asking(ports, key, nonce)
    if incident is None:
        return _over(ports.rules, document, nonce)
    return approval_page.asking(_view(ports, document, incident), ports.rules), 200, HEADERS


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
    rows += [Row(one.queue.name, one.queue.vhost, Unknown(""), Health.UNKNOWN) for one in incident.queues[len(watched) :]]
    story = CardInput("held", now, runbook, document.target, incident, incident.reason, incident.detail)
    return View(story, tuple(rows), _warnings(rules, pause))


def _row(rules: Rules, watched: QueueState, found: object, now: float) -> Row:
    if isinstance(found, BaseException) and not isinstance(found, UnstickError):
        raise found
    seen = found if isinstance(found, QueueSnapshot) else Unknown(str(found))
    runbook = rules.runbooks.get(watched.runbook)
    health = judge.judge_health(runbook.symptom, seen, watched, now)[0] if runbook else Health.UNKNOWN
    return Row(watched.queue.name, watched.queue.vhost, seen, health)


def _warnings(rules: Rules, pause: object) -> tuple[str, ...]:
    if isinstance(pause, Exception):
        return (say(rules.language, "pause_unread"),)
    if isinstance(pause, Pause):
        why = facts.exactly(rules, f"{pause.reason} ({pause.by})" if pause.by else pause.reason, 300)
        return (say(rules.language, "paused", why=why),)
    return ()


# --- POST --------------------------------------------------------------------------------------------------------------


def _pressed(ports: Adapters, key: str, nonce: str, headers: Headers) -> Response:
    rules = ports.rules
    by = pressed_by(headers, rules.language)
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
    return _result(rules, facts.subject(story, rules), reply, after, by), 200, HEADERS


def pressed_by(headers: Headers, language: str) -> str:
    """Who pressed, where a proxy in front says so. It is nobody's proof: anybody who holds the link may send these headers."""
    for name in IDENTITY:
        who = clean(headers.get(name, "").removeprefix("accounts.google.com:"), 120, "…")
        if who:
            return say(language, "by_unverified", who=who)
    return say(language, "by_link")


def _result(rules: Rules, subject: str, reply: Reply, after: Document, by: str) -> str:
    """What came of the button."""
    language = rules.language
    what = {Action.ADOPTED: "adopted", Action.DEFERRED: "unanswered", Action.RESTARTED: "restarted"}.get(reply.action)
    recorded = text(say(language, "recorded", by=by), "note")
    url = safe_url(reply.execution.url) if reply.execution else ""
    execution = links(((say_card(language, "link_execution"), url),)) if url else ""
    title = say(language, what or "held", subject=subject)
    if what is not None:
        sentence = say(language, "unanswered_text" if what == "unanswered" else "restarted_text")
        return page(language, title, text(sentence), execution, recorded)
    why, incident = [], after.incident
    if reply.reason is not None:
        words = REASONS[reply.reason].words(language)
        why = [text(words.why), text(say_card(language, "todo", todo=words.todo))]
    detail = facts.exactly(rules, incident.detail) if incident else ""
    exactly = text(say_card(language, "detail", detail=detail)) if detail else ""
    waits = text(say(language, "waits")) if incident else ""
    return page(language, title, *why, exactly, waits, execution, recorded)


# --- neither -----------------------------------------------------------------------------------------------------------


def _over(rules: Rules, document: Document, nonce: str) -> Response:
    """Why the link does nothing any more, and what happened instead: 409 while the incident goes on, 410 after it."""
    language, incident = rules.language, document.incident
    asked_for = nonce.rsplit(".", 2)[0]
    if incident is not None and incident.id == asked_for:
        if incident.phase is Phase.ASKED:
            return page(language, say(language, "newer"), text(say(language, "newer_text"))), 409, HEADERS
        by = facts.tidy(rules, incident.approved_by) or say(language, "by_link")
        url = safe_url(incident.execution.url) if incident.execution else ""
        parts = [text(say(language, "used_text", by=by)), text(say(language, "phase", phase=say(language, incident.phase.value)))]
        parts += [links(((say_card(language, "link_execution"), url),))] if url else []
        return page(language, say(language, "used"), *parts), 409, HEADERS
    outcome = next((one for one in reversed(document.outcomes) if one.incident == asked_for), None)
    sentence = say(language, "unknown_text")
    if outcome is not None:
        ending = say(language, f"ended_{outcome.ending.value}")
        if outcome.reason is not None:
            ending = f"{ending}: {REASONS[outcome.reason].words(language).short}"
        sentence = say(language, "over_text", at=facts.clock(rules, outcome.at), ending=ending)
    return page(language, say(language, "over"), text(sentence)), 410, HEADERS
