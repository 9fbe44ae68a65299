"""Measures text in terminal columns: East Asian wide characters take two."""

import re
from unicodedata import east_asian_width

_WORD = r"\s*[（「『【]*(?:[^\s\u2e80-\uffef]+|[\u2e80-\uffef])[、。，．・：；？！）」』】々ー…]*"
"""A word with the spaces before it. Each Japanese character is one, with punctuation that no line may end or begin with."""


def columns(text: str) -> int:
    """The number of columns that the text takes."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, at_most: int, first_at_most: int | None = None) -> list[str]:
    """The text in lines of at most this many columns; a longer word, such as a URL, stays whole."""
    lines, taken, limit = [""], 0, at_most if first_at_most is None else first_at_most
    for word in re.findall(_WORD, text):
        taken += columns(word)
        if taken > limit and (lines[-1] or limit < at_most):
            lines.append(word.lstrip())
            taken, limit = columns(lines[-1]), at_most
        else:
            lines[-1] += word
    return lines
