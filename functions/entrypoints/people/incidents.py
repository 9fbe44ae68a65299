"""The pages that people read: `/incidents`, and one incident's. They change nothing.

Who may read: callers with a token of this machine, whoever the proxy names, browsers that opened the link of `unstick link`, and
holders of the link of a card, which shows that incident only. The address that a request comes from admits nobody."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask import Request
from markupsafe import Markup
from msgspec.structs import replace

from functions.application import history, signing
from functions.bootstrap import Adapters
from functions.domain.cards import incident as story
from functions.domain.cards.content import Content, render, tidy
from functions.domain.cards.facts import PAGE_ID, QUEUE_NAME, QUEUES_SHOWN, say_curve
from functions.domain.decisions.messages import compose_with_answers
from functions.domain.decisions.waiting import APPROVAL_S
from functions.domain.model.cards import CardKind
from functions.entrypoints import http
from functions.entrypoints.http import Response, not_allowed
from functions.entrypoints.people.pages import MAX_TOKEN, headers_of, identify, render_page, show_card
from functions.runtime.errors import BadRequest, Denied, Unavailable
from functions.runtime.text import Text, named

READ_S = 10.0
SHOWN = 100  # how many ended incidents the list shows
PATH = "/incidents"
LINK = "link"
COOKIE = "unstick"
ALL = ""  # in the place of the incident, in the token of a link to all of them
REFUSALS: Mapping[int, tuple[Text, Text]] = {
    403: (
        Text("This page is not open to you"),
        Text("Open the link Details of a message as it is, sign in at the proxy, or run `unstick link` where Unstick runs."),
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


LABELS: Mapping[str, Text] = {
    "ready": Text("all messages, ready and unacknowledged"),
    "restart": Text("restart"),
    "timeline": Text("Timeline"),
    "all_incidents": Text("All incidents"),
    "title": Text("Incidents"),
    "incident": Text("Incident"),
    "runs": Text("Restarts"),
    "failed": Text("({count} failed)"),
    "began": Text("Began"),
    "hangs_at": Text("Hangs at"),
    "ticket": Text("Ticket for the developers"),
    "copy_ticket": Text("Copy the ticket"),
    "codes": Text("Runbook {runbook}, reason code {reason}."),
    "copied": Text("Copied"),
    "none": Text("No incident."),
    "older": Text("Older ones: `unstick status --days` lists them, and `unstick incident ID` shows each."),
    "zone": Text("Times are in {zone}."),
}


def respond(request: Request, ports: Adapters) -> Response:
    """GET /incidents or /incidents/ID. Never raises."""
    if request.method != "GET":
        return not_allowed("GET")
    incident = request.path.removeprefix(PATH).removeprefix("/")
    try:
        if not incident and LINK in request.args:
            return _sign_in(request, ports)
        by_link = _is_let_in_by_link(request, ports, incident)
        if not by_link and not _is_known(request, ports):
            http.log_refusal(403, "a reader of the incidents without a token, a proxy's name or a link")
            return _refuse(ports, 403)
        if not incident:
            return _show_all(ports, below=request.path.endswith("/"))
        return _show_one(ports, incident, None if by_link else request)
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
    if _read_token(ports, token[:MAX_TOKEN]) != incident:
        raise BadRequest(403, "This link is another incident's.")
    return True


def _read_token(ports: Adapters, token: str) -> str:
    """The incident of a card's link, or ALL. Raises BadRequest."""
    (incident,) = signing.read_link(ports.config.signing_keys, signing.READING, token, ports.now(), "This link has expired.")
    return incident


def _sign_in(request: Request, ports: Adapters) -> Response:
    """Keep the token of `unstick link` in the browser, and open the list without it in the address. Raises BadRequest."""
    token = request.args[LINK][:MAX_TOKEN]
    if _read_token(ports, token) != ALL:
        raise BadRequest(403, "This link is an incident's.")
    secure = "; Secure" if ports.rules.public_url.startswith("https:") else ""
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"
    place = "../incidents" if request.path.endswith("/") else "incidents"
    return "", 303, {"Location": place, "Set-Cookie": cookie, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def _is_signed_in(request: Request, ports: Adapters) -> bool:
    """Whether the browser opened a link of `unstick link`, and its time is not over."""
    with suppress(BadRequest):
        token = request.cookies.get(COOKIE, "")[:MAX_TOKEN]
        return bool(token) and _read_token(ports, token) == ALL
    return False


def _is_known(request: Request, ports: Adapters) -> bool:
    """Whether the caller is signed in, or has a token of this machine, as a proxy that signs people in adds it."""
    return _is_signed_in(request, ports) or http.has_token(request, ports.config.machine_tokens)


def _refuse(ports: Adapters, status: int, **more: Any) -> Response:
    headline, text = REFUSALS[status]
    shown = render(ports.rules, CardKind.HELD, Content("", headline, [text]), ports.now())
    return show_card(ports.rules, shown, status, {"Retry-After": "5"} if status == 503 else None, **more)


def _show_one(ports: Adapters, incident: str, known: Request | None) -> Response:
    """`known`: the request of somebody who may read all. People who are signed in get the buttons of what waits for an answer."""
    record = history.find(ports, incident, READ_S) if PAGE_ID.fullmatch(incident) else None
    more: dict[str, Any] = {"own": LABELS}
    if known:
        more["to_all"] = "../" * (incident.count("/") + 1) + "incidents"
    if record is None:
        return _refuse(ports, 404, **more)
    card_input = story.to_card_input(record, ports.rules, ports.now())
    shown = compose_with_answers(card_input, ports.rules)
    more["codes"] = LABELS["codes"].fill(runbook=tidy(record.incident.runbook), reason=card_input.reason or "–")
    if ticket := story.write_ticket(record, ports.rules, ports.now()):
        more |= {"ticket": ticket, "script": "copy.js"}
    until = max(shown.nonce_until, ports.now() + APPROVAL_S if record.outcome is None else 0.0)
    if known and record.target and shown.nonce and ports.now() < until:
        person = identify(known, ports.config)
        if person.verified or _is_signed_in(known, ports):
            token = ports.sign_approval(record.target.key, shown.nonce, until)
            more |= {"token": token, "person": person, "action": "../approve/"}
    starts = story.find_starts(record.incident)
    queues = [state for state in record.incident.queues[:QUEUES_SHOWN] if len(state.curve) > 1]
    captions = [named(tidy(state.queue.name, QUEUE_NAME), say_curve(state.curve)) for state in queues]
    curves = [story.Curve(state.curve, starts) for state in queues]
    drawn = [(caption, curve, Markup(story.draw_curve(curve))) for caption, curve in zip(captions, curves, strict=True)]  # noqa: S704
    timeline = story.tell(record.incident, record.outcome)
    bare = replace(shown, evidence=())  # the timeline has it
    return show_card(ports.rules, bare, wide=True, curves=drawn, timeline=timeline, kinds=story.KINDS, **more)


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
    rows = story.sort_rows([*(story.to_row(record, rules, now) for record in opened), *newest.kept])
    shown = {"rows": rows, "notes": notes, "has_older": newest.archived > newest.read, "root": "" if below else "incidents/"}
    return render_page("incidents.html", rules, LABELS["title"], wide=True, own=LABELS, **shown), 200, {**headers_of()}
