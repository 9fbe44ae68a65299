"""The pages that people read: `/incidents`, and one incident's. They change nothing.

Who may read: callers with a token of this machine, whoever the proxy names, and holders of the link of a card, which shows that
incident only. The address that a request comes from admits nobody."""

from collections.abc import Mapping
from functools import partial

from flask import Request
from msgspec.structs import replace

from functions.application import signing
from functions.application.history import incidents
from functions.bootstrap import Adapters
from functions.domain.cards.approval_page import Notice
from functions.domain.cards.facts import PAGE_ID
from functions.domain.incidents import overview, page, weeks
from functions.domain.incidents.overview import Filter
from functions.domain.texts.sanitize import clean
from functions.entrypoints import access, throttle
from functions.entrypoints.people.form import MAX_TOKEN, identify
from functions.entrypoints.people.rendering import show_notice, show_page
from functions.entrypoints.responses import Response, not_allowed
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Phrase, Text

READ_S = 10.0
NEWEST = 500  # how many records the list and its picture read
PATH = "/incidents"
LINK = "link"
REFUSALS: Mapping[int, Notice] = {
    403: Notice(
        Text("This page is not open to you"),
        (Text("Open the link Details of a message in the chat as it is, or sign in at the proxy in front of Unstick."),),
    ),
    404: Notice(
        Text("There is no such incident"),
        (Text("It may be too old for the archive, or too new to be stored. Reload the page in a moment."),),
    ),
    410: Notice(
        Text("This link has expired"),
        (Text("The link Details of a message works for 30 days. Later `unstick incident ID` shows the same."),),
    ),
    503: Notice(Text("Unstick can't do this right now"), (Text("The store does not respond. Reload the page in a moment."),)),
}


def respond(request: Request, ports: Adapters) -> Response:
    """GET /incidents or /incidents/ID. Never raises."""
    if request.method != "GET":
        return not_allowed("GET")
    incident = request.path.removeprefix(PATH).removeprefix("/")
    try:
        by_link = _is_let_in_by_link(request, ports, incident)
        if not by_link and not _is_known(request, ports):
            throttle.log_refusal(403, "a reader of the incidents without a token, a proxy's name or a card's link")
            return _refuse(ports, 403)
        return _show_one(ports, incident, by_link=by_link) if incident else _show_all(request, ports)
    except BadRequest as refusal:
        throttle.log_refusal(refusal.status, refusal.sentence)
        return _refuse(ports, refusal.status)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"incidents unavailable: {error}")
        return _refuse(ports, 503)


def _is_let_in_by_link(request: Request, ports: Adapters, incident: str) -> bool:
    """Whether a valid link of this incident's card was opened. Raises BadRequest if it is forged, expired or another incident's,
    unless the caller may read anyway."""
    token = request.args.get(LINK, "").removesuffix("/")
    if not token or _is_known(request, ports):
        return False
    if signing.read_reading(ports.config.signing_keys, token[:MAX_TOKEN], ports.now()) != incident:
        raise BadRequest(403, "This link is another incident's.")
    return True


def _is_known(request: Request, ports: Adapters) -> bool:
    """Whether the proxy names the caller, or the caller has a token of this machine."""
    return identify(request, ports.config.identity_header).verified or access.has_token(request, ports.config.machine_tokens)


def _refuse(ports: Adapters, status: int) -> Response:
    return show_notice(ports.rules, REFUSALS[status], status, {"Retry-After": "5"} if status == 503 else None)


def _show_one(ports: Adapters, incident: str, *, by_link: bool) -> Response:
    found = incidents.find(ports, incident, READ_S) if PAGE_ID.fullmatch(incident) else incidents.Found(None)
    if found.known is None:
        to_all = (page.LABELS["to_all"], "../" * incident.count("/") + "../incidents")
        return show_notice(ports.rules, replace(REFUSALS[404], links=() if by_link else (to_all,)), 404)
    content = page.compose(found.known, ports.rules, ports.now())
    return show_page(ports.rules, "incident.html", content.title, content=content, words=page.LABELS, to_all=not by_link)


def _show_all(request: Request, ports: Adapters) -> Response:
    rules, now = ports.rules, ports.now()
    chosen = Filter(*(clean(request.args.get(name, ""), 120, "") for name in ("runbook", "state")))
    opened, unreadable = incidents.read_open(ports, READ_S)
    newest = incidents.read_newest(ports, NEWEST, READ_S)
    missing: list[Phrase] = []
    if unreadable:
        text = Text("{count} open document can't be read.", "{count} open documents can't be read.")
        missing.append(text.fill(count=unreadable))
    if newest.unread:
        text = Text("{count} record could not be read.", "{count} records could not be read.")
        missing.append(text.fill(count=newest.unread))
    content = overview.compose(rules, opened, newest.rows, chosen, is_all=newest.is_all, notes=tuple(missing))
    courses = weeks.plot(newest.rows, rules, now, is_all=newest.is_all)
    values = {"courses": courses, "words": overview.LABELS, "states": overview.STATES, "minute": partial(overview.minute, rules)}
    root = "" if request.path.endswith("/") else "incidents/"
    return show_page(rules, "incidents.html", overview.LABELS["title"], content=content, root=root, **values)
