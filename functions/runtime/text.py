"""Messages for people, as data: an English template and its values. They are translated where they are shown.

Text("answered {status}", status="502")
Text("{count} runbook", "{count} runbooks", count=2)      # singular and plural, by `count`
join([...])                                               # several texts, as the value `several`

Values are inserted unchanged: they aren't treated as templates and aren't translated. An int is a quantity and gets thousands
separators, so pass identifiers as str. A plain str is text from elsewhere and is never translated.
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
_PLACE = re.compile(r"\{(\w+)\}")

Translate = Callable[[str, str, int], str]  # (template, its plural or "", the count) -> the translated template


class _WithValues(type(msgspec.Struct)):  # type: ignore[misc]  # a Struct's __init__ can't take arbitrary keywords
    def __call__(cls, template: str, plural: str = "", /, **values: Value) -> Text:
        text: Text = super().__call__(template, plural, values)
        return text


class Text(msgspec.Struct, frozen=True, omit_defaults=True, metaclass=_WithValues):
    """A message for people. `str()` returns it in English."""

    template: str
    plural: str = ""
    values: Mapping[str, str | int | float | Text | tuple[str | Text, ...]] = {}

    if TYPE_CHECKING:

        def __init__(self, template: str, plural: str = "", /, **values: Value) -> None: ...

    def fill(self, **values: Value) -> Text:
        return Text(self.template, self.plural, **values)

    def __hash__(self) -> int:
        return hash((self.template, str(self)))

    def __str__(self) -> str:
        return _render(self, _english, {})


Phrase = str | Text  # a text of ours, or one from elsewhere
Value = str | int | float | Text | tuple[Phrase, ...]


SEMICOLON, COMMA = Text("; "), Text(", ")


def join(phrases: Iterable[Phrase], separator: Text = SEMICOLON) -> Phrase:
    """Join the phrases that are not empty, with the separator."""
    several = tuple(phrase for phrase in phrases if phrase)
    return Text(separator.template, several=several) if len(several) > 1 else several[0] if several else ""


def named(name: Phrase, phrase: Phrase) -> Phrase:
    """Join to "NAME: PHRASE", or the name alone if there is no phrase."""
    return Text("{name}: {text}", name=name, text=phrase) if name and phrase else name or phrase


def in_brackets(phrase: Phrase, more: Phrase) -> Phrase:
    """Join to "PHRASE (MORE)", or the phrase alone if there is no more."""
    return Text("{text} ({more})", text=phrase, more=more) if phrase and more else phrase or more


def in_language(language: str, phrase: Phrase, **shared: str) -> str:
    """Translate the phrase; English if there is no catalogue or no translation. Cards and pages are plain text, so keys lose
    the backticks that the command line shows. Values stay as they are; `shared` are those that a template may name without
    having them, such as the runner's name."""
    if isinstance(phrase, str):
        return phrase
    translate = _translate_to(language)
    return _render(phrase, lambda template, plural, count: translate(template, plural, count).replace("`", ""), shared)


def languages() -> tuple[str, ...]:
    """English and the languages that have a catalogue."""
    return ("en", *sorted(path.parent.parent.name for path in LOCALES.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")))


def _render(text: Text, translate: Translate, shared: Mapping[str, str]) -> str:
    count, several = text.values.get("count"), text.values.get("several")
    template = translate(text.template, text.plural, count if isinstance(count, int) else 0)
    if isinstance(several, tuple):
        return template.join(_shown(part, translate, shared) for part in several)

    def value(place: re.Match[str]) -> str:
        if place[1] in text.values:
            return _shown(text.values[place[1]], translate, shared)
        return shared.get(place[1], place[0])

    return _PLACE.sub(value, template)


def _shown(value: Value, translate: Translate, shared: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{round(value, 3):,}".removesuffix(".0")
    return _render(value, translate, shared) if isinstance(value, Text) else "…"


def _english(template: str, plural: str, count: int) -> str:
    return plural if plural and count != 1 else template


@lru_cache
def _translate_to(language: str) -> Translate:
    if language == "en":
        return _english
    import gettext  # imported, with its catalogue, only for other languages than English

    catalogue = gettext.translation(DOMAIN, LOCALES, [language], fallback=True)

    def translate(template: str, plural: str, count: int) -> str:
        if plural:
            return catalogue.ngettext(template, plural, count)
        return catalogue.gettext(template) if template else ""

    return translate
