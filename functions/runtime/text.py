"""What Unstick says to people, as data: an English template and its values. It is put into a language where it is shown.

Text("answered {status}", status="502")
Text("{count} runbook", "{count} runbooks", count=2)      # one and many, by `count`
join([...])                                               # several of them, by the value `several`

Values are inserted as they are: no template is made of them, and nothing in them is looked up. An int is a quantity and gets
thousands separators, so an identifier is given as str. A plain str stands for words of others, and is never translated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

LOCALES = Path(__file__).parent.parent / "locale"
DOMAIN = "unstick"
DEEPEST = 16
"""How deep a text may stand in a text; ours have four levels at most, so a deeper one is no text of ours."""

_PLACE = re.compile(r"\{(\w+)\}")

Translate = Callable[[str, str, int], str]
"""(template, its plural or "", the count) -> the template in a language."""


class _WithValues(type(msgspec.Struct)):  # type: ignore[misc]  # a struct has no __init__ that could take values by name
    def __call__(cls, template: str, plural: str = "", /, **values: Value) -> Text:
        text: Text = super().__call__(template, plural, values)
        return text


class Text(msgspec.Struct, frozen=True, omit_defaults=True, metaclass=_WithValues):
    """One thing that is said. `str()` of it is English."""

    template: str
    plural: str = ""
    values: Mapping[str, str | int | float | Text | tuple[str | Text, ...]] = {}

    if TYPE_CHECKING:

        def __init__(self, template: str, plural: str = "", /, **values: Value) -> None: ...

    def fill(self, **values: Value) -> Text:
        """The same template with these values."""
        return Text(self.template, self.plural, **values)

    def __hash__(self) -> int:
        return hash((self.template, str(self)))

    def __str__(self) -> str:
        return _render(self, _english, DEEPEST)


Phrase = str | Text
"""Ours, or words of others."""

Value = str | int | float | Text | tuple[Phrase, ...]


SEMICOLON, COMMA = Text("; "), Text(", ")


def join(phrases: Iterable[Phrase], separator: Text = SEMICOLON) -> Phrase:
    """Those of the phrases that are not empty, with the separator between them."""
    several = tuple(phrase for phrase in phrases if phrase)
    return Text(separator.template, several=several) if len(several) > 1 else several[0] if several else ""


def named(name: Phrase, phrase: Phrase) -> Phrase:
    """The phrase behind what it is about, with a colon between; the name alone where there is no phrase."""
    return Text("{name}: {text}", name=name, text=phrase) if name and phrase else name or phrase


def in_brackets(phrase: Phrase, more: Phrase) -> Phrase:
    """The phrase, and more about it where there is more."""
    return Text("{text} ({more})", text=phrase, more=more) if phrase and more else phrase or more


def in_language(language: str, phrase: Phrase) -> str:
    """The phrase in this language; English where there is no catalogue or no translation.

    Cards and pages are plain text, so keys lose the backticks that the command line shows. Values stay as they are.
    """
    if isinstance(phrase, str):
        return phrase
    translate = _translate_to(language)
    return _render(phrase, lambda template, plural, count: translate(template, plural, count).replace("`", ""), DEEPEST)


def languages() -> tuple[str, ...]:
    """English and those that have a catalogue."""
    return ("en", *sorted(path.parent.parent.name for path in LOCALES.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")))


def _render(text: Text, translate: Translate, depth: int) -> str:
    count, several = text.values.get("count"), text.values.get("several")
    template = translate(text.template, text.plural, count if isinstance(count, int) else 0)
    if isinstance(several, tuple):
        return template.join(_shown(one, translate, depth - 1) for one in several) if depth > 0 else "…"

    def value(place: re.Match[str]) -> str:
        return _shown(text.values[place[1]], translate, depth) if place[1] in text.values else place[0]

    return _PLACE.sub(value, template)


def _shown(value: Value, translate: Translate, depth: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{round(value, 3):,}".removesuffix(".0")
    return _render(value, translate, depth - 1) if isinstance(value, Text) and depth > 0 else "…"


def _english(template: str, plural: str, count: int) -> str:
    return plural if plural and count != 1 else template


@lru_cache
def _translate_to(language: str) -> Translate:
    if language == "en":
        return _english
    import gettext  # read, with its catalogue, by those who don't speak English only

    catalogue = gettext.translation(DOMAIN, LOCALES, [language], fallback=True)

    def translate(template: str, plural: str, count: int) -> str:
        if plural:
            return catalogue.ngettext(template, plural, count)
        return catalogue.gettext(template) if template else ""

    return translate
