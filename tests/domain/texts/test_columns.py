"""How wide a text is in a terminal, and where its lines break."""

from __future__ import annotations

import pytest

from functions.domain.texts.columns import columns, wrap


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc é", 5), ("日本", 4), ("ＡＢ", 4), ("ｱｲ", 2)])
def test_wide_characters_take_two_columns(text: str, width: int):
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "at_most", "first", "lines"),
    [
        ("", 5, None, [""]),
        ("one two six", 7, None, ["one two", "six"]),
        ("one two sixty a", 6, None, ["one", "two", "sixty", "a"]),
        ("one two six", 11, 3, ["one", "two six"]),
        ("one two six", 7, 2, ["", "one two", "six"]),
        ("https://host/path x", 5, None, ["https://host/path", "x"]),
        ("日本語です。次", 6, None, ["日本語", "です。", "次"]),
        ("日本「語」", 7, None, ["日本", "「語」"]),
    ],
)
def test_lines_break_between_words_or_japanese_characters(text: str, at_most: int, first: int | None, lines: list[str]):
    """A longer word stays whole; the first line may have less room than the others."""
    assert wrap(text, at_most, first) == lines
