"""Reads the forms of the pages for people and who posts them, and renders cards as pages with Jinja2.

The pages load nothing, and only the first one runs a script. Every value is escaped. Colours meet WCAG AA in light and dark."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from functions.config.settings import Config
from functions.domain.cards.content import SENTENCE, clock, split_headline, tidy
from functions.domain.model.cards import ACKNOWLEDGE, APPROVE, DECLINE, HEALTHY, ON_PURPOSE, Card
from functions.domain.model.runbooks import Rules
from functions.domain.texts import words
from functions.domain.texts.words import clean
from functions.entrypoints.http import Response, has_token, read_body
from functions.runtime.errors import BadRequest
from functions.runtime.secrets import redact
from functions.runtime.text import Phrase, Text, in_language

TEMPLATES = Path(__file__).parent / "templates"
MAX_TOKEN, MAX_IDENTITY = 1000, 120
MAX_NAME, MAX_WHY = 80, 200
MAX_BODY, FIELDS = 4096, 8
BY_LINK = Text("whoever had the link")
BUTTONS: Mapping[str, Text] = {
    APPROVE: words.RESTART,
    DECLINE: words.DO_NOT,
    ON_PURPOSE: words.ON_PURPOSE,
    ACKNOWLEDGE: Text("I'm on it"),
    HEALTHY: words.WAS_HEALTHY,
}
"""The answers of a card that a page has buttons for."""

LABELS: Mapping[str, Text] = {
    "reason": Text("Reason (optional)"),
    "name": Text("Your name (optional)"),
    "needed_name": Text("Your name"),
    "signed_in": Text("You are signed in as {name}."),
    "nothing_changed": Text("Opening this page has changed nothing."),
    "opening": Text("Opening the approval page"),
    "pasting": Text(
        "If nothing happens, this browser does not run JavaScript. Copy the whole link from the message and paste it here."
    ),
    "link": Text("Link from the message"),
    "open": Text("Open"),
}


class Person(Struct, frozen=True):
    """The visitor of the page, if a proxy signed them in."""

    name: str = ""
    address: str = ""  # what the proxy said, unchanged: names are shown, addresses compared

    @property
    def verified(self) -> bool:
        return bool(self.name)


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
        raise BadRequest(403, "The button was pressed on another site's page.")
    body = read_body(request, MAX_BODY)
    try:
        fields = parse_qs(body.decode(errors="replace"), max_num_fields=FIELDS)
    except ValueError:
        raise BadRequest(403, "This is no form of ours.") from None
    token, act, who, why = (fields.get(name, [""])[0] for name in ("token", "act", "who", "why"))
    # Without JavaScript people paste the whole link.
    token = token.rpartition("#")[2].strip().strip("/")[:MAX_TOKEN]
    return Form(token, act, clean(who, MAX_NAME, "…"), clean(why, MAX_WHY, "…"))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None if there are none, as for `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def identify(request: Request, config: Config) -> Person:
    """The caller, as named by the configured proxy, which adds one of `machine_tokens`: anybody can send the header alone.
    Raises Unavailable or Denied if the tokens can't be read."""
    header = config.identity_header
    proven = header in request.headers and has_token(request, config.machine_tokens)
    signed_in = request.headers[header].removeprefix("accounts.google.com:") if proven else ""
    return Person(clean(signed_in, MAX_IDENTITY, "…"), signed_in)


def pressed_by(person: Person, typed: str) -> Phrase:
    """Who pressed the button, as named by the proxy or by themselves; the latter proves nothing."""
    if person.verified:
        return person.name
    return Text("{who} (not verified)", who=typed) if typed else BY_LINK


def show_card(rules: Rules, card: Card, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """A card as a page. `more`: what the page adds to it (templates/card.html), with the `script` that it runs if it does."""
    own = (card.nonce, card.incident and f"/incidents/{card.incident}")  # they only lead to this page, or its own buttons
    links = tuple((label, url) for label, url in card.links if not any(part and part in url for part in own))
    page = render_page("card.html", rules, card.headline, card=card, links=links, **more)
    return page, status, {**headers_of(more.get("script", "")), **(headers or {})}


def show_opening(rules: Rules) -> Response:
    """The page that a card's link opens: its script sends the token in the fragment on."""
    return render_page("opening.html", rules, LABELS["opening"]), 200, {**headers_of("open.js")}


def render_page(template: str, rules: Rules, title: Phrase, **values: Any) -> str:
    """`values`: what the template shows."""
    values |= {"clock": partial(clock, rules), "zone": rules.time_zone}
    return _environment(rules.language, rules.runner).get_template(template).render(title=title, **values)


@lru_cache
def _environment(language: str, runner: str) -> Environment:
    """The templates in this language. `say` formats a phrase as one clean line. The configured secrets are masked."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: redact(value) if type(value) is str else value,
    )
    environment.filters["say"] = lambda phrase: tidy(in_language(language, phrase, runner=runner), SENTENCE)
    environment.globals.update(language=language, labels=LABELS, buttons=BUTTONS, split_headline=split_headline)
    environment.globals.update(longest_name=MAX_NAME, longest_why=MAX_WHY)
    return environment


@lru_cache
def headers_of(script: str = "") -> Mapping[str, str]:
    """Response headers. The policy allows only our style and script, by their hashes."""
    policy = f"default-src 'none'; style-src {_hash('style.css')}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{policy}; script-src {_hash(script)}" if script else policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        # With `no-referrer` browsers would send `Origin: null` with the button, which looks like another site's page.
        "Referrer-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }


def _hash(name: str) -> str:
    """The hash of the file as a page includes it."""
    content = _environment("en", "").get_template(name).render()
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
