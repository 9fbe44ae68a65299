"""Words and addresses that cards, pages, chats and the command line share, and where their lines break."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.domain.texts.words import clean, safe_url, worded


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
