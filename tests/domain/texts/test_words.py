"""Words and addresses that cards, pages, chats and the command line share, and where their lines break."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.adapters.chats.console import columns, wrap
from functions.domain.texts.sanitize import clean, safe_url, shorten
from functions.domain.texts.words import duration, worded
from functions.runtime.text import in_language


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "ftp://example.com/", "//example.com", "https://",
        "https://user:pass@example.com/", "https://good.example.com@evil.example.com", "https://e.example.com/|<!channel>",
        "https://e.example.com/a b", "https://[::1", "", "https://e.example.com/\u202egpj", "https://e.example.com:99999999/",
        "https://x/" + "a" * 1991, None, 7,
    ],
)  # fmt: skip
def test_other_links_are_left_out(url: object):
    """Only http and https, without a user part, a space or anything that a chat interprets."""
    assert safe_url(url) == ""
    assert safe_url(longest := "HTTPS://x/" + "a" * 1990) == longest


@pytest.mark.parametrize(
    ("seconds", "en", "ja"),
    [
        (0, "0 s", "0秒"), (0.6, "1 s", "1秒"), (-5, "0 s", "0秒"), (59.6, "1 min", "1分"), (100, "1 min 40 s", "1分40秒"),
        (3599, "59 min 59 s", "59分59秒"), (3600, "1 h 0 min", "1時間0分"), (7500, "2 h 5 min", "2時間5分"),
        (90000, "1 d 1 h", "1日1時間"), (float("nan"), "0 s", "0秒"),
        (float("inf"), "11,574 d 1 h", "11,574日1時間"),
    ],
)  # fmt: skip
def test_durations(seconds: float, en: str, ja: str):
    """Two units are enough for people."""
    assert (str(duration(seconds)), in_language("ja", duration(seconds))) == (en, ja)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\nb\tc", "a b c"), ("\u202eabc", "abc"), ("\x1b[31mred\x1b[0m", "red"), ("日本語\u3000テスト", "日本語 テスト"),
        ("\ud800x", "x"), ("e\u0301" + "\u0301" * 50 + "e\u0301", "e\u0301\u0301e\u0301"), ("x" * 30, "x" * 19 + "…"),
        ("x" * 20, "x" * 20), ("x" * 18 + "  yz", "x" * 18 + "…"), ("a\u2029b", "a b"),
        ("\u0301" * 3 + "x", "\u0301\u0301x"), ("\u200b" * 143 + "x", "x"), ("\u200b" * 144 + "x", "…"),
    ],
)  # fmt: skip
def test_clean(text: str, cleaned: str):
    """White space is folded, invisible characters go, accents stay, cuts are marked."""
    assert clean(text, 20, "…") == cleaned
    assert clean("\n é\t1 \r\n\n2\u2028\n", 20, "…", lines=True) == " é 1\n\n2"


@pytest.mark.parametrize(
    ("limit", "mark", "more", "shown"),
    [
        (3, "…", False, "abc"),
        (3, "…", True, "ab…"),
        (2, "…", False, "a…"),
        (1, "...", False, "."),
        (0, "…", False, ""),
        (-1, "…", False, ""),
    ],
)
def test_a_cut_and_its_mark_are_within_the_limit(limit: int, mark: str, more: bool, shown: str):
    assert shorten("abc", limit, mark, more=more) == shown
    assert shorten("abc", 3, mark) == "abc"


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (worded, "failed: timedout", "failed (timed out)"), (worded, "stuck: stuck", "still stuck"),
        (worded, "failed: failed: exit 1", "failed (exit 1)"), (worded, "", ""), (worded, "failed: ", "failed"),
        (worded, "x: a: z", "x (a (z))"), (worded, "x" * 61, "x" * 59 + "…"),
    ],
)  # fmt: skip
def test_figures_and_results_in_words(say: Callable[[Any], object], value: object, said: str):
    """As cards and chats show them."""
    assert str(say(value)) == said


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
