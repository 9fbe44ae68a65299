"""The configured secrets are masked by their values, however they are written."""

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from functions.runtime import logs, secrets
from functions.runtime.secrets import SecretRef, redact
from tests.support.worlds.one_machine import Place

SECRET = 'p/ss w+rd"&ü=1'
WRITTEN = {
    "plain": lambda secret: secret,
    "JSON": lambda secret: json.dumps({"x": secret}),
    "JSON, UTF-8": lambda secret: json.dumps({"x": secret}, ensure_ascii=False),
    "URL": lambda secret: f"amqp://mail:{quote(secret, safe='')}@rabbit",
    "URL, small": lambda secret: f"amqp://mail:{re.sub('%..', lambda escape: escape[0].lower(), quote(secret, safe=''))}@rabbit",
    "path": lambda secret: f"/a/{quote(secret)}",
    "form": lambda secret: f"password={quote_plus(secret)}&n=1",
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "basic": lambda secret: base64.b64encode(f"mail:{secret}".encode()).decode(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_secret_is_masked_however_it_is_written(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """Nothing else of the text is lost."""
    monkeypatch.setenv("A_SECRET", SECRET)
    SecretRef("env://A_SECRET")
    text = WRITTEN[written](SECRET)
    shown = redact(f"before {text} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "***" in shown
    assert text not in shown


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


@given(st.binary(max_size=9), PASSWORDS, st.binary(max_size=9))
def test_base64_of_anything_around_a_secret_shows_none_of_it(before: bytes, secret: str, after: bytes) -> None:
    """Wherever the secret stands among the bytes that are encoded: at most a character of it at either end is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_SECRET", secret)
        SecretRef("env://A_SECRET")
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert "***" in redact(encode(before + secret.encode() + after).decode())


def test_a_short_secret_is_no_word_to_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """From eight characters on: `secret` or `mail` may stand in any text."""
    monkeypatch.setenv("A_SECRET", "secret7")
    SecretRef("env://A_SECRET")
    assert redact("a secret7 of seven") == "a secret7 of seven"


def test_nothing_is_fetched_to_mask_it(monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer) -> None:
    """Secret Manager is not asked for what this process has not read: a log line must not wait for a network."""
    monkeypatch.setenv(secrets.ENDPOINT, httpserver.url_for("").rstrip("/"))
    SecretRef("sm://a-project/never-read")
    assert redact("text") == "text"
    assert httpserver.log == []


def test_the_log_has_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in the sentence, nor in a field, nor in a traceback."""
    monkeypatch.setenv("A_SECRET", "hunter2-hunter2")
    SecretRef("env://A_SECRET")
    error = ValueError("hunter2-hunter2")
    logs.event("ERROR", "it was hunter2-hunter2", error=error, rows=["hunter2-hunter2"])
    shown = capsys.readouterr().out
    assert "***" in shown
    assert "hunter2" not in shown


def test_cards_have_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label or an annotation of the alert brings one: people read everything but that."""
    monkeypatch.setenv("RABBITMQ_PASSWORD", "secret")  # the stand-in's
    monkeypatch.setenv("ANOTHER_KEY", "hunter2-hunter2-hunter2-hunter2-hunter2")
    place.configured(signing_keys=["env://UNSTICK_SIGNING_KEY", "env://ANOTHER_KEY"])
    place.alerted("mail", "elsewhere", instance="hunter2-hunter2-hunter2-hunter2-hunter2")
    place.until_told(place.swept)
    assert "hunter2" not in place.cards()
    assert "recovered" in place.cards()
