"""What is kept and shown of an evidence job's output: no secret, nothing invisible, and the lines that the job marked."""

from __future__ import annotations

import pytest

from functions.domain.texts.evidence_lines import choose_lines
from functions.domain.texts.masking import KEPT_BYTES, MARGIN, mask

SECRETS = {
    "assignment": ("DB_PASSWORD=hunter2 host=db", "DB_PASSWORD=*** host=db"),
    "quoted": ("secret: 'two words' x", "secret: *** x"),
    "quoted, without its end": ('secret: "hunter2 and mo', "secret: ***"),
    "quoted, with a quote in it": ('{"password": "hun\\"ter2", "n": 1}', '{"password": ***, "n": 1}'),
    "any sign": ("password=)hun,ter&2;'x host=db", "password=*** host=db"),
    "short name": ("DB_PASS=hunter2, pass: hunter2 bypass: 3", "DB_PASS=*** pass: *** bypass: 3"),
    "json": ('{"api_key": "hunter2", "n": 1}', '{"api_key": ***, "n": 1}'),
    "url with signs": ("amqp://mail:hun/t@er2@rabbit:5672/%2F", "amqp://mail:***@rabbit:5672/%2F"),
    "cookies": ("Cookie: theme=dark; sid=hunter2\nnext", "Cookie: ***\nnext"),
    "digest": ('authorization: Digest username="mail", response="hunter2"', "authorization: Digest ***"),
    "chat": ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/***"),
    "url": ("amqp://mail:hunter2@rabbit:5672/%2F", "amqp://mail:***@rabbit:5672/%2F"),
    "header": ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
    "bearer": ("sent Bearer hunter2hunter2", "sent Bearer ***"),
    "option": ("worker --token hunter2 --port 3", "worker --token *** --port 3"),
    "web token": ("got eyJhbGciOi.eyJzdWIiOi.hunter2 here", "got *** here"),
    "aws": ("key AKIAHUNTER2HUNTER222 used", "key *** used"),
    "slack": ("xoxb-hunter2-hunter2", "***"),
    "private key": ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nnext", "***\nnext"),
    "half a key": ("-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2", "***"),
}


@pytest.mark.parametrize(("output", "shown"), SECRETS.values(), ids=SECRETS)
def test_secrets_are_masked(output: str, shown: str):
    """I8: what looks like a secret never gets further than the reading."""
    assert mask(output) == shown


def test_what_is_no_secret_stays():
    """Addresses, ports and stacks are what evidence is for."""
    output = 'http://host:8080/a\n    recv_into (ssl.py:1166)\ntcp 10.0.3.7:50001 ESTABLISHED\nThread 0x7F (active): "MainThread"'
    assert mask(output) == output


def test_patterns_of_the_configuration_are_masked_too():
    """`mask` in unstick.yaml, whatever each one matches."""
    assert mask("customer 4711 of 0815", ("customer [0-9]+", "0815")) == "*** of ***"


def test_nothing_invisible_or_reordering_is_kept():
    """Colours, bells and marks that turn the order of letters are dropped; lines and indents stay."""
    assert mask("\x1b[31mred\x1b[0m\x07\n  in\x00dent\tx") == "red\n  indent    x"
    assert mask("日本\u202e\u200b語\n\x1b[1m太字\x1b[0m") == "日本語\n太字"


@pytest.mark.parametrize("line", ["x" * 99 + "\n", "日本" * 30 + "\n"], ids=["ascii", "unicode"])
def test_the_end_of_a_long_output_is_kept(line: str):
    """At most 256 KiB, of which no secret is cut into two."""
    kept = mask(line * 9000 + "password=hunter2 the end")
    assert len(kept.encode()) <= KEPT_BYTES
    assert kept.endswith("password=*** the end")


def test_a_secret_at_the_cut_is_masked():
    """The word that says that it is a secret may stand before what is kept."""
    secret = "h" * 900
    output = "password=" + secret + "\n" + "x" * (KEPT_BYTES - 500)
    assert "hhh" not in mask(output)


def test_half_a_key_at_the_cut_is_left_out():
    """Its beginning is not there to recognise it by, and dropped colours had made room for the rest."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 400 + "-----END PRIVATE KEY-----\n"
    coloured = "\x1b[31mred\x1b[0m\n" * 30_000
    output = key + coloured[: KEPT_BYTES + MARGIN - len(key) // 2]
    assert "hunter2" not in mask(output)


def test_marked_lines_are_shown():
    """The job says which lines matter, in its order; 12 at most."""
    assert choose_lines("noise\n>> one\nnoise\n>>   two\n") == ("one", "  two")
    assert choose_lines("".join(f">> {n}\n" for n in range(99))) == tuple(str(n) for n in range(12))


def test_without_marks_the_last_lines_are_shown():
    """As of any log; blank lines don't count, and a long line is cut."""
    assert choose_lines("".join(f"{n}\n\n" for n in range(99))) == tuple(str(n) for n in range(87, 99))
    assert choose_lines("x" * 999) == ("x" * 240,)
    assert choose_lines("") == ()
