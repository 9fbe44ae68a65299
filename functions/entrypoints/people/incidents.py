"""The pages that people read: `/incidents`, and one incident's. They change nothing.

Who may read: callers with a token of this machine, whoever the proxy names, and holders of the link of a card, which shows that
incident only. The address that a request comes from admits nobody."""

from collections.abc import Mapping
from typing import Any

from flask import Request
from markupsafe import Markup
from msgspec.structs import replace

from functions.application import history, signing
from functions.bootstrap import Adapters
from functions.domain.cards import card
from functions.domain.cards.content import Content, render, tidy
from functions.domain.cards.facts import PAGE_ID
from functions.domain.cards.incident import KINDS, Curve, draw_curve, find_starts, sort_rows, tell, to_card_input, to_row
from functions.domain.cards.queues import QUEUE_NAME, QUEUES_SHOWN, say_curve
from functions.domain.model.messages import CardKind
from functions.entrypoints import http
from functions.entrypoints.http import Response, not_allowed
from functions.entrypoints.people.pages import MAX_TOKEN, show_card, show_list
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Text, named

READ_S = 10.0
SHOWN = 100  # how many ended incidents the list shows
PATH = "/incidents"
LINK = "link"
REFUSALS: Mapping[int, tuple[Text, Text]] = {
    403: (
        Text("This page is not open to you"),
        Text("Open the link Details of a message in the chat as it is, or sign in at the proxy in front of Unstick."),
    ),
    404: (
        Text("There is no such incident"),
        Text("It may be too old for the archive, or too new to be stored. Reload the page in a moment."),
    ),
    410: (
        Text("This link has expired"),
        Text("The link Details of a message works for 30 days. Later `unstick incident ID` shows the same."),
    ),
    503: (Text("Unstick can't do this right now"), Text("The store does not respond. Reload the page in a moment.")),
}


def respond(request: Request, ports: Adapters) -> Response:
    """GET /incidents or /incidents/ID. Never raises."""
    if request.method != "GET":
        return not_allowed("GET")
    incident = request.path.removeprefix(PATH).removeprefix("/")
    try:
        by_link = _is_let_in_by_link(request, ports, incident)
        if not by_link and not _is_known(request, ports):
            http.log_refusal(403, "a reader of the incidents without a token, a proxy's name or a card's link")
            return _refuse(ports, 403)
        return _show_one(ports, incident, by_link=by_link) if incident else _show_all(ports, below=request.path.endswith("/"))
    except BadRequest as refusal:
        http.log_refusal(refusal.status, refusal.sentence)
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
    """Whether the caller has a token of this machine, as a proxy that signs people in adds it."""
    return http.has_token(request, ports.config.machine_tokens)


def _refuse(ports: Adapters, status: int, **more: Any) -> Response:
    headline, text = REFUSALS[status]
    shown = render(ports.rules, CardKind.HELD, Content("", headline, [text]), ports.now())
    return show_card(ports.rules, shown, status, {"Retry-After": "5"} if status == 503 else None, **more)


def _show_one(ports: Adapters, incident: str, *, by_link: bool) -> Response:
    record = history.find(ports, incident, READ_S).record if PAGE_ID.fullmatch(incident) else None
    to_all: dict[str, Any] = {} if by_link else {"to_all": "../" * (incident.count("/") + 1) + "incidents"}
    if record is None:
        return _refuse(ports, 404, **to_all)
    shown = card.compose(to_card_input(record, ports.rules, ports.now()), ports.rules)
    starts = find_starts(record.incident)
    queues = [state for state in record.incident.queues[:QUEUES_SHOWN] if len(state.curve) > 1]
    captions = [named(tidy(state.queue.name, QUEUE_NAME), say_curve(state.curve)) for state in queues]
    curves = [Curve(state.curve, state.held_curve, starts) for state in queues]
    drawn = [(caption, curve, Markup(draw_curve(curve))) for caption, curve in zip(captions, curves, strict=True)]  # noqa: S704
    timeline = tell(record.incident, record.outcome)
    bare = replace(shown, evidence=())  # the timeline has it
    return show_card(ports.rules, bare, wide=True, curves=drawn, timeline=timeline, kinds=KINDS, **to_all)


def _show_all(ports: Adapters, *, below: bool) -> Response:
    rules, now = ports.rules, ports.now()
    opened, unreadable = history.read_open(ports, READ_S)
    newest = history.read_newest(ports, SHOWN, READ_S)
    notes = []
    if unreadable:
        text = Text("{count} open document can't be read.", "{count} open documents can't be read.")
        notes.append(text.fill(count=unreadable))
    if newest.broken:
        text = Text("{count} record could not be read.", "{count} records could not be read.")
        notes.append(text.fill(count=len(newest.broken)))
    rows = sort_rows([*(to_row(record, rules, now) for record in opened), *newest.kept])
    return show_list(rules, rows=rows, notes=notes, has_older=newest.archived > newest.read, root="" if below else "incidents/")
