"""Masks the configured secrets by their values, wherever text goes out: what a job prints, cards, log lines.

Patterns can't know every form of a password; the values of our own are known. Their plain, JSON-, URL- and base64-encoded forms
are masked, also where base64 encodes something around them, such as `user:password`. How the tokens of many services look is
in token_rules.json; functions/domain/texts/patterns.py masks by it."""

import json
import re
from base64 import b64encode
from functools import lru_cache
from math import ceil
from pathlib import Path
from urllib.parse import quote, quote_plus

import msgspec

from functions.runtime import secrets

MASK = "***"
SHORTEST = 8  # characters; a shorter secret could be a word of any text


class TokenRule(msgspec.Struct, frozen=True, array_like=True):
    words: tuple[str, ...]  # one of these must be in the text, in lower case; none: no word is needed
    pattern: str
    group: int  # where the secret begins


class _TokenRules(msgspec.Struct, frozen=True):
    rules: tuple[TokenRule, ...]


@lru_cache(maxsize=1)
def token_rules() -> tuple[TokenRule, ...]:
    """The rules of gitleaks, read at first use."""
    return msgspec.json.decode(Path(__file__).with_name("token_rules.json").read_bytes(), type=_TokenRules).rules


def redact(text: str) -> str:
    """The text without the secrets that this process has the references of, as far as their values are here."""
    for form in _forms(secrets.known_values()):
        if form in text:
            text = text.replace(form, MASK)
    return text


@lru_cache(maxsize=1)
def _forms(values: frozenset[bytes]) -> tuple[str, ...]:
    """All encodings in which the values may appear, longest first, since a shorter one may be part of a longer."""
    forms = {form for value in values for form in (*_plain_forms(value), *_base64_forms(value)) if len(form) >= SHORTEST}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _plain_forms(value: bytes) -> set[str]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return set()
    if len(text) < SHORTEST:
        return set()
    encoded = {quote(text, safe=""), quote(text), quote_plus(text)}
    lower = {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}  # as some languages write escapes
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], *encoded, *lower}


def _base64_forms(value: bytes) -> set[str]:
    """The characters that depend on the value alone, for each of the three places that it can have among others' bytes."""
    if len(value) < SHORTEST:
        return set()
    forms = set()
    for before in range(3):
        whole = b64encode(b"\0" * before + value).decode()
        forms.add(whole[ceil(before * 8 / 6) : (before + len(value)) * 8 // 6])
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}
