"""Renders the pages for people by Jinja2. They have no pictures, load nothing, and run no script but that of the first page.

Every value is escaped. Colours meet WCAG AA in light and dark.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.domain.cards.approval_page import LABELS, NAME, WHY, Notice, Person, Question
from functions.domain.cards.rendering import SENTENCE, tidy
from functions.domain.model.runbooks import Rules
from functions.entrypoints.responses import Response
from functions.runtime.text import Phrase, in_language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def show_notice(rules: Rules, content: Notice, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what came of a link or of a button."""
    return _render("notice.html", rules, content.title, content=content), status, {**_headers(), **(headers or {})}


def show_question(rules: Rules, content: Question, token: str, person: Person) -> Response:
    """A page with buttons."""
    page = _render(
        "question.html", rules, content.title, content=content, token=token, person=person, longest_name=NAME, longest_why=WHY
    )
    return page, 200, {**_headers()}


def show_opening(rules: Rules) -> Response:
    """The page that a link opens."""
    return _render("opening.html", rules, LABELS["opening"]), 200, {**_headers("open.js")}


def _render(template: str, rules: Rules, title: Phrase, **values: Any) -> str:
    return _environment(rules.language).get_template(template).render(title=title, **values)


@lru_cache
def _environment(language: str) -> Environment:
    """The templates in this language. `say` shows a phrase as one clean line of it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # Flask has imported it by then

    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["say"] = lambda phrase: tidy(in_language(language, phrase), SENTENCE)
    environment.globals.update(language=language, labels=LABELS)
    return environment


@lru_cache
def _headers(script: str = "") -> Mapping[str, str]:
    """The policy allows our style, and this script of ours, by their hashes."""
    policy = f"default-src 'none'; style-src {_hash('style.css')}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{policy}; script-src {_hash(script)}" if script else policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        # `no-referrer` would make browsers send `Origin: null` with the button, which no check can tell from a stranger's page.
        "Referrer-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }


def _hash(name: str) -> str:
    """Of the file as a page includes it."""
    content = _environment("en").get_template(name).render()
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
