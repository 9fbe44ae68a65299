"""What `check` says of the configuration file itself, and of each secret that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from functions.application.ports import Finding
from functions.domain.decisions import matching
from functions.domain.decisions.messages import channels_for, default_channels
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

if TYPE_CHECKING:
    from functions.bootstrap import Adapters

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SHORT_SECRET = 16
"""Bytes; what is shorter can be guessed by whoever has a signed body."""


def configured(ports: Adapters) -> list[Finding]:
    """What is no mistake in the file, but may not be meant so."""
    rules = ports.rules
    found = [Finding("the file has no mistakes", ok=True, detail=f"{len(rules.runbooks)} runbooks")]
    if not rules.runbooks:
        found.append(Finding("runbooks", ok=None, detail="there are none, so nothing is ever restarted", remedy="Add one."))
    for overlap in matching.overlaps(rules.runbooks):
        what = f"{overlap.later} gets its alerts"
        if overlap.always:
            detail = f"every alert that it matches is taken by {overlap.earlier}, which stands before it"
            found.append(Finding(what, ok=False, detail=detail, remedy=f"Move it before {overlap.earlier}, or remove it."))
        else:
            detail = f"an alert may match {overlap.earlier} too, which stands before it"
            found.append(Finding(what, ok=None, detail=detail, remedy="Add a matcher that keeps the two apart."))
    for runbook in rules.runbooks.values():
        if not channels_for(rules, runbook):
            remedy = "Add `notify:` to the runbook or at the top."
            found.append(Finding(f"people are told of {runbook.name}", ok=False, detail="no channel is named", remedy=remedy))
    if not default_channels(rules):
        detail, remedy = "what belongs to no runbook is told to nobody", "Add `notify:` at the top."
        found.append(Finding("people are told of the rest", ok=None, detail=detail, remedy=remedy))
    found += _plain(f"{ports.config.runner.name}.url", ports.config.runner_url)
    found += _plain("public_url", rules.public_url)
    return found


def _plain(place: str, url: str) -> list[Finding]:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname in LOOPBACK:
        return []
    remedy = "Use https, or keep the way there inside a private network."
    return [Finding(f"{place} is private", ok=None, detail="what is sent goes over http in the clear", remedy=remedy)]


def readable(place: str, secret: SecretRef) -> list[Finding]:
    """Whether it can be read; its value is not shown."""
    try:
        value = secret.read()
    except Denied as denied:
        return [Finding(place, ok=False, detail=denied.detail, remedy=denied.remedy)]
    except Unavailable as error:
        return [Finding(place, ok=False, detail=error.detail, remedy="See that the place can be read from here.")]
    if around := _around(value):
        remedy = "If that is not part of it, set it again as docs/deploy.md says."
        return [Finding(place, ok=None, detail=f"{secret.reference} has a {around}", remedy=remedy)]
    guessable = len(value) < SHORT_SECRET and place.startswith(("grafana.auth", "signing_keys"))
    if guessable:
        remedy = "Take a long random one: openssl rand -hex 32"
        return [Finding(place, ok=None, detail=f"{secret.reference} is shorter than {SHORT_SECRET} bytes", remedy=remedy)]
    return [Finding(place, ok=True, detail=f"{secret.reference} can be read")]


def _around(value: bytes) -> str:
    """What a secret has around it where it was pasted or typed carelessly."""
    if value != value.strip():
        return "blank or line break at an end"
    quoted = len(value) > 1 and value[:1] == value[-1:] and value[:1] in (b'"', b"'")
    return "pair of quotes around it" if quoted else ""
