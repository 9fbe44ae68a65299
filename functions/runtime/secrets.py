"""Resolves references to secrets. Values are returned as bytes, and never appear in an error, log line or repr.

env://NAME                         an environment variable
file://PATH                        a file, for example in a mounted volume
sm://PROJECT/NAME[/VERSION]        Secret Manager; the version defaults to `latest`

If the folder UNSTICK_SECRETS_DIR contains PROJECT/NAME/VERSION, that file is read: Cloud Run mounts secrets as files, and
fetches them from Secret Manager on each read (cloud.google.com/run/docs/configuring/services/secrets). infra/ mounts the secrets
that authenticate requests, because loading Google's client takes as long as the rest of a start.

One trailing newline of a file or a Secret Manager value is removed.

`redact` masks their values wherever text goes out: what a job prints, cards, log lines. Patterns can't know every form of a
password; the values of our own are known. Their plain, JSON-, URL- and base64-encoded forms are masked, also where base64 encodes
something around them, such as `user:password`.
"""

import hmac
import json
import os
import re
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Struct

from functions.runtime.errors import ConfigError, Denied, Unavailable
from functions.runtime.text import Text

T = TypeVar("T")
SYSTEM = "secrets"
KEPT_S = 300.0  # a rotated secret takes effect within five minutes
INVALIDATE_EVERY_S = 60.0  # strangers' wrong credentials must not cause calls to Secret Manager
FAILURE_KEPT_S = 2.0  # nor must an outage; without a value everything is refused meanwhile, so one refusal must not last
TIMEOUT_S = 4.0  # of one read; half of a webhook's whole budget
MAX_BYTES = 65_536  # of a secret, as in Secret Manager (cloud.google.com/secret-manager/quotas)
ENDPOINT = "UNSTICK_SECRET_MANAGER_ENDPOINT"  # for tests: a base URL on loopback that stands in for Secret Manager
MOUNTED = "UNSTICK_SECRETS_DIR"
"""A folder with mounted secrets as PROJECT/NAME/VERSION. Missing or unreadable ones are fetched from Secret Manager."""
FORMS = "env://NAME, file://PATH or sm://PROJECT/NAME[/VERSION]"

_REFERENCE = re.compile(
    r"env://[A-Za-z_][A-Za-z0-9_]*|file://[^\x00]+|"
    r"sm://[a-z0-9][a-z0-9.:-]{0,99}/[A-Za-z0-9_-]{1,255}(?:/[A-Za-z0-9_-]{1,63})?"
)
_REMEDY = Text(
    "Put the secret where the reference says, or correct the reference. Unstick's user must be allowed to read it "
    "(in Secret Manager: roles/secretmanager.secretAccessor, secretmanager.googleapis.com enabled, an enabled version)."
)
_KNOWN: set[str] = set()
"""The references of this process's configuration."""


def is_reference(text: str) -> bool:
    """Whether the text has one of the three forms."""
    return _REFERENCE.fullmatch(text) is not None


class SecretRef(Struct, frozen=True, omit_defaults=True):
    """A reference to a secret. Raises ConfigError if it has none of the forms, without repeating it."""

    reference: str
    made: bool = False
    """Whether Unstick makes the file if it is missing."""

    def __post_init__(self) -> None:
        if not is_reference(self.reference):
            raise ConfigError((f"a secret is not one of {FORMS}",))
        _KNOWN.add(self.reference)

    def read(self) -> bytes:
        """Returns the secret, at most five minutes old. Raises Denied (with a remedy) or Unavailable."""
        if self.made:
            _make(self.reference, Path(self.reference.removeprefix("file://")))
        return read(self.reference, now=time.monotonic())

    def invalidate(self) -> None:
        """Call this when a system rejects the secret: the next read fetches it again, at most once a minute."""
        KEPT.setdefault(self.reference, _Kept()).invalidated = True


def any_matches(references: Iterable[SecretRef], shown: bytes, expected: Callable[[bytes], bytes]) -> bool:
    """Whether `shown` equals `expected(secret)` for one of the secrets. Tries all, so that the time doesn't tell which matched.
    Raises Unavailable or Denied when none matches and one could not be read."""
    matched, unread = False, None
    for reference in references:
        try:
            secret = reference.read()
        except (Unavailable, Denied) as error:
            unread = error
            continue
        # anybody could match an empty secret
        matched |= hmac.compare_digest(expected(secret), shown) and bool(secret)
    if unread and not matched:
        raise unread
    return matched


def with_newest(secret: SecretRef, ask: Callable[[bytes], T], is_refused: Callable[[T], bool]) -> T:
    """Call `ask` with the secret; once more if that was refused and the secret has changed. Raises if none can be read."""
    value = newest = secret.read()
    answer = ask(value)
    if is_refused(answer):
        secret.invalidate()
        with suppress(Denied, Unavailable):  # if the secret can't be read now, the system's own refusal says more
            newest = secret.read()
    return answer if newest == value else ask(newest)


class _Kept:
    """A cached secret, or the failure to read it. Times are monotonic. The lock lets one thread fetch while the others wait. Not
    a Struct, which has more ways to show its fields than `repr`."""

    __slots__ = ("error", "invalidated", "lock", "trusted_until", "until", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: bytes | None = None
        self.error: Denied | Unavailable = Unavailable(SYSTEM, Text("nothing was read"))
        self.until = float("-inf")
        self.invalidated = False
        self.trusted_until = float("-inf")
        """Until then another call has no effect."""


KEPT: dict[str, _Kept] = {}
"""By reference. `setdefault` is atomic: all threads get the same lock."""


def known_values() -> frozenset[bytes]:
    """The values of all references, as far as they are here: nothing is fetched for this."""
    values = set()
    for reference in tuple(_KNOWN):
        kept = KEPT.get(reference)
        if kept is not None and kept.value:
            values.add(kept.value)
        elif not reference.startswith("sm://"):
            with suppress(Denied, Unavailable):
                values.add(read(reference, now=time.monotonic()))
    return frozenset(values)


def read(reference: str, *, now: float) -> bytes:
    """The secret's value. `now` is monotonic. Environment variables cost nothing to read and aren't cached."""
    if reference.startswith("env://"):
        return _checked(reference, _from_env(reference.removeprefix("env://")))
    kept = KEPT.setdefault(reference, _Kept())
    with kept.lock:
        if now >= kept.until or (kept.invalidated and now >= kept.trusted_until):
            _fetch(reference, kept, now)
        if kept.value is None:
            raise kept.error.with_traceback(None)  # else it would carry the tracebacks of all who were told before
        return kept.value


def _fetch(reference: str, kept: _Kept, now: float) -> None:
    kept.invalidated, kept.trusted_until = False, now + INVALIDATE_EVERY_S
    try:
        kept.value, kept.until = _checked(reference, _from_outside(reference)), now + KEPT_S
    except Denied as error:
        kept.value, kept.error, kept.until = None, error, now + FAILURE_KEPT_S
    except Unavailable as error:
        # While Secret Manager is down, an old secret is better than none.
        kept.error, kept.until = error, now + FAILURE_KEPT_S


def _checked(reference: str, value: bytes) -> bytes:
    if not 0 < len(value) <= MAX_BYTES:
        raise _denied(Text("{reference} is empty, or has more than {limit} bytes", reference=reference, limit=MAX_BYTES))
    return value


def _denied(detail: Text) -> Denied:
    return Denied(SYSTEM, detail, remedy=_REMEDY)


def _from_env(name: str) -> bytes:
    value = os.environ.get(name)
    if value is None:
        raise _denied(Text("env://{name} is not set", name=name))
    return os.fsencode(value)


def _from_outside(reference: str) -> bytes:
    kind, _, place = reference.partition("://")
    if kind == "file":
        return _from_file(reference, Path(place))
    project, name, version = [*place.split("/"), "latest"][:3]
    if folder := os.environ.get(MOUNTED):
        with suppress(OSError):  # the client's error says more
            return _content(Path(folder, project, name, version))
    return _from_secret_manager(reference, project, name, version)


def _from_file(reference: str, path: Path) -> bytes:
    try:
        return _content(path)
    except OSError as error:
        raise _denied(_unusable(reference, error)) from None


def _unusable(reference: str, error: OSError) -> Text:
    why = error.strerror or type(error).__name__
    return Text("{reference} can't be read or made ({error})", reference=reference, error=why)


def _make(reference: str, path: Path) -> None:
    """Write a random secret to the file, readable by its owner only, unless it exists. Several processes may do so at once: all
    get the same one, since a link appears with its whole content, and only once."""
    with suppress(FileNotFoundError):
        file_status = path.stat()
        if file_status.st_uid not in (0, os.geteuid()) or file_status.st_mode & 0o077:
            raise _denied(Text("others may have made or read {reference}: remove it, or `chmod 600` it", reference=reference))
        return
    whole = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        with suppress(FileExistsError):
            path.hardlink_to(whole)
    except OSError as error:
        raise _denied(_unusable(reference, error)) from None
    finally:
        whole.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 2).removesuffix(b"\n")


def _from_secret_manager(reference: str, project: str, secret: str, version: str) -> bytes:
    from functions.runtime.google_cloud import Service, read_secret

    remedies = dict.fromkeys((400, 401, 403, 404), _REMEDY)
    service = Service(f"Secret Manager ({reference})", "https://secretmanager.googleapis.com", ENDPOINT, remedies)
    name = f"projects/{project}/secrets/{secret}/versions/{version}"
    return read_secret(service, name, timeout_s=TIMEOUT_S).removesuffix(b"\n")


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
    for form in _forms(known_values()):
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
