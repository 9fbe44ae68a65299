"""Core: the exact sentences of guards, judge, phases and rooms, translated where a card or a page is made.

They are made in English, and stay so in documents, logs and on the command line. Here each is taken apart by the template that
fits all of it; what it holds of strangers (names, labels, Rundeck's own words) stays as it is. The templates are in
details_decisions.py and details_rooms.py, which are loaded with the first sentence that is not to be in English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import Formatter

from msgspec import Struct

MOST = 1000
"""Characters that are looked at; a card shows 600 of a sentence."""

CUT = "…"
NESTED = 4
"""How deep a cause may stand in a cause."""

NAMES = 8
"""How many names may stand before a sentence, each with a colon: a queue's, a target's, a system's."""

AFTER_NAME, BETWEEN = ": ", "; "
FIGURES = frozenset("0123456789.,+-e")


class Place(Struct, frozen=True):
    """Where a value stands in a template: `{name}` for any text, `{name:number}`, or `{name:text}` for a sentence of ours."""

    name: str
    kind: str


class Template(Struct, frozen=True):
    """A sentence with places. `literals` has what stands before, between and behind them, so one more than `places`."""

    literals: tuple[str, ...]
    places: tuple[Place, ...]
    japanese: str

    @property
    def fixed(self) -> int:
        """How many characters are the sentence's own."""
        return sum(map(len, self.literals))

    def values(self, text: str) -> dict[str, str] | None:
        """What stands in the places, if the template fits the whole text.

        Each literal is taken where it stands first, the last one at the end, and nothing is tried twice: whatever a stranger
        writes, it takes time by the text's length.
        """
        first, *rest = self.literals
        if not text.startswith(first) or not text.endswith(rest[-1]):
            return None
        found: dict[str, str] = {}
        begin, end = len(first), len(text) - len(rest[-1])
        for number, (place, literal) in enumerate(zip(self.places, rest, strict=True), 1):
            until = end if number == len(rest) else text.find(literal, begin + 1, end)
            value = text[begin:until] if until > begin else ""
            if not value or (place.kind == "number" and not FIGURES.issuperset(value)):
                return None
            found[place.name] = value
            begin = until + len(literal)
        return found


def in_language(language: str, text: str) -> str:
    """One of Unstick's sentences in this language. What is none, or has no translation, stays as it is."""
    if language != "ja":
        return text
    return _known(text if len(text) <= MOST else text[: MOST - 1] + CUT, NESTED) or text


def template(english: str, japanese: str) -> Template:
    """The template that `{name}`, `{name:number}` and `{name:text}` describe."""
    literals, places = [], []
    for literal, name, kind, _ in Formatter().parse(english):
        literals.append(literal)
        if name is not None:
            places.append(Place(name, kind or ""))
    if len(literals) == len(places):
        literals.append("")
    return Template(tuple(literals), tuple(places), japanese)


class Catalogue(Struct, frozen=True):
    """`plain`: sentences without places. `templates`: the others, the most specific first."""

    plain: Mapping[str, str]
    templates: tuple[Template, ...]


def catalogue_of(sentences: Iterable[tuple[str, str]]) -> Catalogue:
    """English and Japanese sentences, fit for looking up."""
    made = [(english, template(english, japanese)) for english, japanese in sentences]
    plain = {english: one.japanese for english, one in made if not one.places}
    return Catalogue(plain, tuple(sorted((one for _, one in made if one.places), key=lambda one: -one.fixed)))


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """All sentences, read once."""
    from functions.domain.texts.details_decisions import DECISIONS
    from functions.domain.texts.details_rooms import ROOMS

    return catalogue_of((*DECISIONS.items(), *ROOMS.items()))


def _known(text: str, depth: int) -> str | None:
    """The text in Japanese, if it is a sentence, one behind names, or several; else None."""
    return _several(text, depth) or _one(text, depth)


def _several(text: str, depth: int) -> str | None:
    """Sentences with semicolons between them. Each must be known, but for the last one of a text that was cut."""
    parts = text.split(BETWEEN)
    made = []
    for number, part in enumerate(parts, 1):
        one = _one(part, depth) if len(parts) > 1 else None
        if one is None and (number == 1 or number < len(parts) or not part.endswith(CUT)):
            return None
        made.append(one or part)
    return "；".join(made)


def _one(text: str, depth: int) -> str | None:
    """One sentence, with or without names in front of it: `Rundeck: answered 502`."""
    begin = 0
    for _ in range(1 + NAMES):
        sentence = _sentence(text[begin:], depth)
        if sentence is not None:
            return text[:begin] + sentence
        colon = text.find(AFTER_NAME, begin)
        if colon < 0:
            return None
        begin = colon + len(AFTER_NAME)
    return None


def _sentence(text: str, depth: int, *, in_front: bool = False) -> str | None:
    """One sentence without names in front. `in_front`: it begins another one, and has words of its own at its beginning."""
    known = catalogue()
    if text in known.plain:
        return known.plain[text]
    for one in known.templates:
        values = one.values(text) if one.literals[0] or not in_front else None
        said = _said(one, values, depth) if values else None
        if said:
            return one.japanese.format_map(said)
    return None


def _said(one: Template, values: dict[str, str], depth: int) -> dict[str, str] | None:
    """The values, sentences of ours in Japanese. None where the text begins with several words that are no sentence: they have
    names in front, or are somebody else's. That is seen before any other value is looked into, so nothing is done in vain.
    """
    said: dict[str, str] = {}
    for place in one.places:
        value, known = values[place.name], None
        in_front = not said and not one.literals[0]
        if place.kind == "text" and depth > 0:
            known = _sentence(value, depth - 1, in_front=True) if in_front else _known(value, depth - 1)
        if in_front and known is None and " " in value:
            return None
        said[place.name] = known or value
    return said
