"""Reads the forms of our pages, and identifies who posts them."""

from urllib.parse import parse_qs, quote, unquote, urlsplit

from flask import Request
from msgspec import Struct

from functions.domain.cards import approval_page
from functions.domain.cards.approval_page import Person
from functions.domain.texts.sanitize import clean
from functions.entrypoints.throttle import read_body
from functions.runtime.errors import BadRequest
from functions.runtime.text import Phrase, Text

MAX_TOKEN, MAX_IDENTITY = 1000, 120
MAX_BODY = 4096
FIELDS = 8
FOREIGN = "foreign"
BY_LINK = Text("whoever had the link")
NAME_COOKIE = "unstick_name"  # remembers the name that a person typed, in the browser only
NAME_KEPT_S = 365 * 86400


class Form(Struct, frozen=True):
    """A posted form. `act`: the value of the pressed button, empty if there was none."""

    token: str
    act: str = ""
    who: str = ""
    why: str = ""


def read_form(request: Request, public_url: str) -> Form:
    """Read the form. Raises BadRequest if it comes from another site or is too large."""
    origin = request.headers.get("Origin")
    if origin is not None and _origin(origin) != _origin(public_url):
        raise BadRequest(403, FOREIGN)
    body = read_body(request, MAX_BODY)
    try:
        fields = parse_qs(body.decode(errors="replace"), max_num_fields=FIELDS)
    except ValueError:
        raise BadRequest(403, "This is no form of ours.") from None
    token, act, who, why = (fields.get(name, [""])[0] for name in ("token", "act", "who", "why"))
    # Without JavaScript people paste the whole link.
    token = token.rpartition("#")[2].strip().strip("/")[:MAX_TOKEN]
    return Form(token, act, clean(who, approval_page.NAME, "…"), clean(why, approval_page.WHY, "…"))


def identify(request: Request, header: str) -> Person:
    """The caller, as named by the configured proxy, otherwise by the browser's cookie."""
    signed_in = request.headers.get(header, "").removeprefix("accounts.google.com:") if header else ""
    if name := clean(signed_in, MAX_IDENTITY, "…"):
        return Person(name, verified=True, address=signed_in)
    return Person(clean(unquote(request.cookies.get(NAME_COOKIE, "")), approval_page.NAME, "…"))


def keep_name(public_url: str, person: Person, typed: str) -> dict[str, str]:
    """The header that lets the browser remember the name, for these pages only."""
    if person.verified or not typed:
        return {}
    parts = urlsplit(public_url)
    secure = "; Secure" if parts.scheme == "https" else ""
    path = f"{parts.path.rstrip('/')}/approve/"
    cookie = f"{NAME_COOKIE}={quote(typed, safe='')}; Max-Age={NAME_KEPT_S}; Path={path}; HttpOnly; SameSite=Strict{secure}"
    return {"Set-Cookie": cookie}


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None if there are none, as for `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def pressed_by(person: Person, typed: str) -> Phrase:
    """Who pressed the button, as named by the proxy or by themselves; the latter proves nothing."""
    if person.verified:
        return person.name
    return Text("{who} (not verified)", who=typed) if typed else BY_LINK
