"""The rotation of Rundeck's token: a new one, tried, stored, and the old one revoked.

A token can't read or renew itself, so this takes the token of somebody who may make tokens for Unstick's user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.runners.rundeck import answers, checks
from functions.adapters.runners.rundeck.settings import Settings
from functions.runtime import secret_writer
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

NEW = "UNSTICK_NEW_RUNDECK_TOKEN"
"""Where this process keeps the new token while it is tried."""

TRIED = frozenset({checks.ANSWERS, checks.JOB, checks.MAY_RUN, checks.HISTORY})
"""What a token must be good for."""


STORED = "see what else writes it; both tokens are still valid, and the new one is the newest of the user's in Rundeck"


class KnownToken(Struct, frozen=True):
    """A token as Rundeck lists it: without its secret."""

    id: str
    expires: str


class Rotation(Struct, frozen=True):
    """What was done. `token` is only there where it could not be stored and was asked for."""

    new: KnownToken
    revoked: KnownToken | None
    left: tuple[KnownToken, ...]
    """Other valid tokens of the user: one of them may be the old one."""
    token: str = ""

    def __repr__(self) -> str:
        return f"Rotation(new={self.new!r}, revoked={self.revoked!r}, left={self.left!r})"


def rotate(
    settings: Settings,
    jobs: Sequence[str],
    admin: SecretRef,
    *,
    user: str,
    role: str,
    duration: str,
    show: bool,
    timeout_s: float,
) -> Rotation:
    """Issue a token, try it on these jobs, store it, and revoke the old one if it is known by `token_expires`.

    Raises Denied or Unavailable. Until the new token is stored nothing has changed: one that fails is revoked again.
    """
    if not show:
        secret_writer.require_writable(settings.token.reference)
    to = answers.connect(replace(settings, token=admin), timeout_s)
    before = list_tokens(to, user)
    answer = answers.ask(to, "POST", f"tokens/{quote(user, safe='')}", json={"roles": [role], "duration": duration}, expected=201)
    row = answers.mapping(answer.json())
    new, secret = _known(row), str(row.get("token") or "")
    try:
        _try(settings, secret, jobs, to.left_s)
    except (Denied, Unavailable):
        _revoke_unused(to, new)
        raise
    if show:
        return Rotation(new, None, before, secret)
    try:
        secret_writer.write(settings.token.reference, secret.encode())
    except Denied:  # a clear no; without an answer it may be stored, and then it must work
        _revoke_unused(to, new)
        raise
    if settings.token.read().strip() != secret.encode():
        raise Denied(answers.SYSTEM, "the secret still has another value after it was written", code="stored", remedy=STORED)
    old = [one for one in before if one.expires == settings.token_expires]
    revoked = old[0] if len(old) == 1 else None
    if revoked is not None:
        revoke(to, revoked.id)
    return Rotation(new, revoked, tuple(one for one in before if one != revoked))


def revoke_token(settings: Settings, admin: SecretRef, token: str, *, timeout_s: float) -> None:
    """Revoke the token with this id."""
    revoke(answers.connect(replace(settings, token=admin), timeout_s), token)


def list_tokens(to: answers.Connection, user: str) -> tuple[KnownToken, ...]:
    """The user's tokens that are still valid."""
    rows = answers.ask(to, "GET", f"tokens/{quote(user, safe='')}").json()
    listed = [answers.mapping(row) for row in rows] if isinstance(rows, list) else []
    return tuple(_known(row) for row in listed if row.get("expired") is not True)


def revoke(to: answers.Connection, token: str) -> None:
    """Take the token with this id out of use."""
    answers.ask(to, "DELETE", f"token/{quote(token, safe='')}", expected=204)


def _revoke_unused(to: answers.Connection, token: KnownToken) -> None:
    with suppress(Denied, Unavailable):  # it expires by itself, and why it is not used says more
        revoke(to, token.id)


def _known(row: Mapping[str, Any]) -> KnownToken:
    return KnownToken(answers.plain(str(row.get("id")), 80), answers.plain(str(row.get("expiration") or ""), 40))


def _try(settings: Settings, secret: str, jobs: Sequence[str], timeout_s: float) -> None:
    """Raises Denied where the new token can't do what Unstick needs it for."""
    os.environ[NEW] = secret
    try:
        for job in jobs:
            tried = replace(settings, token=SecretRef(f"env://{NEW}"))
            for finding in checks.check(tried, job, (), auto=False, max_run_s=float("inf"), timeout_s=timeout_s):
                if finding.what in TRIED and finding.ok is False:
                    detail = f"the new token does not work: {finding.what}: no. {finding.detail}".rstrip()
                    raise Denied(answers.SYSTEM, detail, code="tried", remedy=finding.remedy)
    finally:
        del os.environ[NEW]
