"""Renders the pages for people with Jinja2. They load nothing, have no pictures, and only the first page runs a script.

Every value is escaped. Colours meet WCAG AA in light and dark mode."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from functions.domain.cards.approval_page import LABELS, NAME, WHY, Notice, Person, Question
from functions.domain.cards.rendering import SENTENCE, clock, tidy
from functions.domain.model.runbooks import Rules
from functions.entrypoints.responses import Response
from functions.runtime.redaction import redact
from functions.runtime.text import Phrase, in_language

TEMPLATES = Path(__file__).parent / "templates"


def show_notice(rules: Rules, content: Notice, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page with the result of a link or button."""
    return _render("notice.html", rules, content.title, content=content), status, {**_headers(), **(headers or {})}


def show_question(rules: Rules, content: Question, token: str, person: Person) -> Response:
    """A page with buttons."""
    page = _render(
        "question.html", rules, content.title, content=content, token=token, person=person, longest_name=NAME, longest_why=WHY
    )
    return page, 200, {**_headers()}


def show_opening(rules: Rules) -> Response:
    """The page that a card's link opens: its script sends the token in the fragment on."""
    return _render("opening.html", rules, LABELS["opening"]), 200, {**_headers("open.js")}


def show_page(rules: Rules, template: str, title: Phrase, **values: Any) -> Response:
    """Render a page that people only read."""
    return _render(template, rules, title, zone=rules.time_zone, **values), 200, {**_headers()}


def _render(template: str, rules: Rules, title: Phrase, **values: Any) -> str:
    values["clock"] = partial(clock, rules, form="%H:%M:%S")
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
    environment.globals.update(language=language, labels=LABELS)
    return environment


@lru_cache
def _headers(script: str = "") -> Mapping[str, str]:
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
