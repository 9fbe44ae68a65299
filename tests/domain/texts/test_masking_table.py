"""What is kept and shown of an evidence job's output: the lines that the job marked, and no secret. What masking
knows are tables: forms of programs' output, and the tokens of services.

The tokens are made here, of the right form and without a meaning: a table of real-looking ones would itself be a leak.
"""

from __future__ import annotations

import random
import string

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

HEX, LOWER, ALNUM = "0123456789abcdef", string.ascii_lowercase + string.digits, string.ascii_letters + string.digits


def random_text(alphabet: str, count: int) -> str:
    """The same at each run, and of no pattern of its own."""
    return "".join(random.Random(f"{alphabet}{count}").choices(alphabet, k=count))


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
    "private key": ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nnext", "***\nnext"),
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
    "some key": ("MAIL_KEY=hunter2 private_key: hunter2", "MAIL_KEY=*** private_key: ***"),
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


FORMS = {
    "option with a prefix": "worker --amqp-pass hunter2 --port 5",
    "option of one word": "worker --pw hunter2",
    "option in a list of arguments": "['worker', '--amqp-password', 'hunter2', '--port', '5']",
    "pika": "pika.PlainCredentials('mail', 'hunter2')",
    "pika, with names": "PlainCredentials(username='mail', password='hunter2')",
    "requests": "HTTPBasicAuth('mail', 'hunter2')",
    "smtplib, its call": "server.login('mail', 'hunter2')",
    "smtplib, AUTH PLAIN": "send: 'AUTH PLAIN AGh1bnRlcjIA\\r\\n'",
    "smtplib, AUTH LOGIN": (
        "send: 'AUTH LOGIN bWFpbA==\\r\\n'\nreply: b'334 UGFzc3dvcmQ6\\r\\n'\nreply: retcode (334)\nsend: 'aHVudGVyMg==\\r\\n'"
    ),
    "Telegram": "GET /bot123:hunter2hunter2hunter2hunter2hunter2xyz/getMe",
    "a short Telegram": "https://api.telegram.org/bot123:hunter2/sendMessage",
    "basic in a pair": "('authorization', 'Basic aHVudGVyMg==')",
    "basic of h2": "[(b'authorization', b'Basic aHVudGVyMg=='), (b'x', b'y')]",
    "basic alone": "sent Basic aHVudGVyMjpodW50ZXIy to it",
    "kubeconfig": "    client-key-data: aHVudGVyMmh1bnRlcjI=",
    "urllib": "SplitResult(scheme='amqp', netloc='mail:hunter2@rabbit:5672', path='/')",
    "short name": "SMTP_PW=hunter2",
    "short name, small": "smtp_pw: hunter2",
    "approval link": "https://unstick.example.com/approve/#WyJrIiwibiIsMF0.hunter2hunter2",
    "incident link": "https://unstick.example.com/incidents/20261123-181205-7f3a9c21?link=WyJrIl0.hunter2hunter2",
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_output_shows_its_secret(form: str) -> None:
    """Neither the word nor its base64."""
    shown = mask(FORMS[form])
    assert "hunter2" not in shown
    assert "aHVudGVyMg" not in shown
    assert "AGh1bnRlcjIA" not in shown
    assert "***" in shown


TOKENS = {
    "1Password": f"ops_eyJ{random_text(ALNUM, 260)}",
    "age": f"AGE-SECRET-KEY-1{random_text('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}",
    "Anthropic": f"sk-ant-api03-{random_text(ALNUM, 93)}AA",
    "Atlassian": f"ATATT3{random_text(ALNUM, 186)}",
    "AWS, key id": f"AKIA{random_text('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}",
    "Azure AD": f"Abc8Q~{random_text(ALNUM, 34)}",
    "Cloudflare, named": f"cloudflare_api_key = '{random_text(LOWER, 40)}'",
    "Databricks": f"dapi{random_text(HEX, 32)}",
    "GitHub, fine-grained": f"github_pat_{random_text(ALNUM, 82)}",
    "HashiCorp, Terraform": f"{random_text(ALNUM, 14)}.atlasv1.{random_text(ALNUM, 66)}",
    "HashiCorp, Vault": f"hvs.{random_text(ALNUM, 95)}",
    "Mailgun": f"mailgun_key = 'key-{random_text(HEX, 32)}'",
    "New Relic": f"new_relic_key = 'NRAK-{random_text(LOWER, 27)}'",
    "OpenAI": f"sk-proj-{random_text(ALNUM, 74)}T3BlbkFJ{random_text(ALNUM, 74)}",
    "Slack": f"xoxb-{random_text('0123456789', 12)}-{random_text('0123456789', 12)}-{random_text(ALNUM, 24)}",
    "Typeform, named": f"typeform = 'tfp_{random_text(LOWER, 59)}'",
}
"""As each service writes them; `named`: only a name nearby tells what it is."""


@pytest.mark.parametrize("service", TOKENS)
def test_tokens_of_services_are_masked(service: str) -> None:
    """As the only word in the line that looks like one. What names it stays."""
    name, _, secret = TOKENS[service].rpartition(" = ")
    shown = mask(f"log {TOKENS[service]} end")
    assert secret.strip("'")[6:] not in shown
    assert shown.startswith(f"log {name}")


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
