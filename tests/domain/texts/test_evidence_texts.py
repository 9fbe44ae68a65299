"""What is kept and shown of an evidence job's output: no secret, nothing invisible, and the lines that the job marked."""

from __future__ import annotations

import pytest
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.domain.texts.patterns import KEPT_BYTES, MARGIN, mask
from functions.domain.texts.words import choose_lines

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
    "github, fine-grained": ("github_pat_11HUNTER2_hunter2hunter2hunter2", "***"),
    "gitlab": ("git clone with glpat-hunter2_hunter2hunter2", "git clone with ***"),
    "npm, stripe": ("npm_hunter2hunter2hunter2 sk_live_hunter2hunter2hunter2", "*** ***"),
    "vault": ("lease of hvs.CAESIhunter2hunter2hunter2", "lease of ***"),
    "slack, for an app": ("xapp-1-A0HUNTER2-hunter2", "***"),
    "google": ("GOCSPX-hunter2hunter2hunter2 and 1//0ghunter2hunter2hunter2hunter2", "*** and ***"),
    "chat hooks": (
        "https://discord.com/api/webhooks/1/hunter2 https://chat.example.com/hooks/hunter2hunter2hunter2",
        "https://discord.com/api/webhooks/*** https://chat.example.com/hooks/***",
    ),
    "teams": ("https://mail.webhook.office.com/webhookb2/hunter2@hunter2/x", "https://mail.webhook.office.com/***"),
    "pgp": ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----\nnext", "***\nnext"),
    "putty": ("PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\nhunter2\nPrivate-MAC: hunter2\nnext", "***\nnext"),
    "json in json": (r'{"log": "{\"password\": \"hun\\\"ter2 or 3\", \"n\": 1}"}', r'{"log": "{\"password\": ***, \"n\": 1}"}'),
    "some key": ("ENCRYPTION_KEY=hunter2 private_key: hunter2", "ENCRYPTION_KEY=*** private_key: ***"),
    "xml": (
        "<password>hunter2 or 3</password> <Secret kind='x'>hunter2</Secret>",
        "<password>***</password> <Secret kind='x'>***</Secret>",
    ),
    "name and value": ('{"name": "DB_PASSWORD", "value": "hunter2"}', '{"name": "DB_PASSWORD", "value": ***}'),
    "name and value, in lines": ("- name: DB_PASSWORD\n  value: hunter2\n", "- name: DB_PASSWORD\n  value: ***\n"),
    "a token for a user": ("https://hunter2hunter2@git.example.com/mail", "https://***@git.example.com/mail"),
    "signed link": ("https://store.example.com/a?sv=1&sig=hunter2%3D&se=2", "https://store.example.com/a?sv=1&sig=***&se=2"),
    "curl": ("curl -u mail:hunter2 http://x; curl --user 'mail:hunter2 or 3' x", "curl -u *** http://x; curl --user *** x"),
    "with spaces": ("password: hunter2 or hunter3\nnext", "password: ***\nnext"),
    "a list": (
        'passwords: [hunter2, hunter3], n: 1\n"tokens": [\n  "hunter2",\n  "hunter3"\n]',
        'passwords: ***, n: 1\n"tokens": ***',
    ),
    "a list in lines": ("tokens:\n  - hunter2\n  - hunter3\nnext: 1", "tokens:\n  ***\nnext: 1"),
    "named key": (
        "private_key: |\n  -----BEGIN PRIVATE KEY-----\n  hunter2\n  -----END PRIVATE KEY-----\nnext",
        "private_key: ***\n  ***\nnext",
    ),
    "half a key": ("-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2", "***"),
}


@pytest.mark.parametrize(("output", "shown"), SECRETS.values(), ids=SECRETS)
def test_secrets_are_masked(output: str, shown: str):
    """I8: what looks like a secret never gets further than the reading."""
    assert mask(output) == shown


DETECTORS = [
    AzureStorageKeyDetector, DiscordBotTokenDetector, GitHubTokenDetector, GitLabTokenDetector, JwtTokenDetector,
    MailchimpDetector, NpmDetector, OpenAIDetector, PypiTokenDetector, SendGridDetector, SquareOAuthDetector, StripeDetector,
    TelegramBotTokenDetector, TwilioKeyDetector,
]  # fmt: skip
"""Of detect-secrets: those that know a secret by its form alone."""


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=20, derandomize=True, database=None, deadline=None)
@given(data=st.data())
def test_no_token_that_detect_secrets_knows_is_left(detector: type[RegexBasedDetector], data: st.DataObject):
    """The library knows the forms of many services; it finds none in what was masked."""
    for pattern in detector().denylist:
        token = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
        assert not list(detector().analyze_string(mask(f"log {token} end")))


def test_what_is_no_secret_stays():
    """Addresses, ports and stacks are what evidence is for."""
    output = "routing_key=orders git@host --user mail -u mail /hooks/mail 1//2\n"
    output += (
        'http://host:8080/a\n    recv_into (ssl.py:1166)\ntcp 10.0.3.7:50001 ESTABLISHED\nThread 0x7F (active): "MainThread"'
    )
    assert mask(output) == output


def test_patterns_of_the_configuration_are_masked_too():
    """`mask`, whatever each pattern matches; colours and reordering marks go; no secret is cut into two."""
    assert mask("customer 4711 of 0815", ("customer [0-9]+", "0815")) == "*** of ***"
    assert mask("\x1b[31mred\x1b[0m\x07\n  in\x00dent\tx") == "red\n  indent    x"
    assert mask("日本\u202e\u200b語\n\x1b[1m太字\x1b[0m") == "日本語\n太字"
    secret = "h" * 900
    for end in ("x" * (KEPT_BYTES - 500), "\x1b[31m" * 4000 + "x" * (KEPT_BYTES + MARGIN - 20_500)):
        assert "hhh" not in mask("password=" + secret + "\n" + end)


@pytest.mark.parametrize("line", ["x" * 99 + "\n", "日本" * 30 + "\n"], ids=["ascii", "unicode"])
def test_the_end_of_a_long_output_is_kept(line: str):
    """At most 256 KiB, of which no secret is cut into two."""
    kept = mask(line * 9000 + "password=hunter2\nthe end")
    assert 256 * 1024 - 9 <= len(kept.encode()) <= 256 * 1024
    assert kept.endswith("password=***\nthe end")


def test_marked_lines_are_shown():
    """The job says which lines matter, 12 at most; without marks the last lines, as of any log."""
    assert choose_lines("noise\n>> one\nnoise\n>>   two\n") == ("one", "  two")
    assert choose_lines("".join(f">> {n}\n" for n in range(99))) == tuple(str(n) for n in range(12))
    assert choose_lines("".join(f"{n}\n\n" for n in range(99))) == tuple(str(n) for n in range(87, 99))
    assert choose_lines("x" * 999) == ("x" * 240,)
    assert choose_lines("") == ()
