"""Checks the configuration file itself and each secret that it names, for `check`."""

from __future__ import annotations

from urllib.parse import urlsplit

from functions.application.ports import Finding, finding_of_error
from functions.bootstrap import Adapters
from functions.config.matchers import overlaps
from functions.domain.decisions.messages import channels_for, default_channels
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.loopback import is_loopback
from functions.runtime.secrets import SecretRef

SHORT_SECRET = 16  # bytes. A shorter secret can be guessed from a signed body


def check_configuration(ports: Adapters) -> list[Finding]:
    """Find what is no mistake in the file, but may not be intended."""
    rules, count = ports.rules, len(ports.rules.runbooks)
    findings = [Finding("the file has no mistakes", ok=True, detail=f"{count} runbook{'s' * (count != 1)}")]
    if not rules.runbooks:
        findings.append(Finding("runbooks", ok=None, detail="there are none, so nothing is ever restarted", remedy="Add one."))
    for overlap in overlaps(rules.runbooks):
        what = f"{overlap.later} gets its alerts"
        if overlap.always:
            detail = f"{overlap.earlier}, which comes before it, takes every alert that it matches"
            remedy = f"Move it before {overlap.earlier}, or remove it."
            findings.append(Finding(what, ok=False, detail=detail, remedy=remedy))
        else:
            detail = f"an alert may match {overlap.earlier} too, which comes before it"
            findings.append(Finding(what, ok=None, detail=detail, remedy="Add a matcher that keeps the two apart."))
    for runbook in rules.runbooks.values():
        if not channels_for(rules, runbook):
            remedy = "Add `notify:` to the runbook or at the top."
            findings.append(Finding(f"people hear of {runbook.name}", ok=False, detail="no channel is named", remedy=remedy))
    if not default_channels(rules):
        detail, remedy = "nobody hears of alerts without a runbook", "Add `notify:` at the top."
        findings.append(Finding("people hear of everything else", ok=None, detail=detail, remedy=remedy))
    if ports.config.identity_header:
        detail = f"whoever reaches this function past the proxy can set {ports.config.identity_header} and approve in any name"
        remedy = "Set it only if nothing gets here past that proxy, Grafana included."
        findings.append(Finding("identity_header", ok=None, detail=detail, remedy=remedy))
    for place, url in ((f"{ports.config.runner.name}.url", ports.config.runner_url), ("public_url", rules.public_url)):
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            detail, remedy = "http sends everything unencrypted", "Use https, or keep the traffic inside a private network."
            findings.append(Finding(f"{place} is private", ok=None, detail=detail, remedy=remedy))
    return findings + _find_shared_keys(ports)


def _find_shared_keys(ports: Adapters) -> list[Finding]:
    keys = {key.reference for key in ports.config.signing_keys}
    return [
        Finding(
            f"{place} is separate",
            ok=None,
            detail=f"{secret.reference} is one of signing_keys: whoever has it can sign approvals and wake-ups",
            remedy="Make another for signing_keys.",
        )
        for place, secret in ports.config.secrets
        if secret.reference in keys and not place.startswith("signing_keys")
    ]


def check_secret(place: str, secret: SecretRef) -> list[Finding]:
    """Check whether the secret can be read; its value is never shown."""
    try:
        value = secret.read()
    except (Denied, Unavailable) as error:
        return [finding_of_error(place, error, "Make sure that it can be read from here.")]
    if around := _around(value):
        remedy = "If that is not part of it, set it again as docs/deploy.md says."
        return [Finding(place, ok=None, detail=f"{secret.reference} has a {around}", remedy=remedy)]
    if len(value) < SHORT_SECRET and place.startswith(("grafana.auth", "signing_keys")):
        remedy = "Use a long random one: openssl rand -hex 32"
        return [Finding(place, ok=None, detail=f"{secret.reference} is shorter than {SHORT_SECRET} bytes", remedy=remedy)]
    return [Finding(place, ok=True, detail=f"{secret.reference} can be read")]


def _around(value: bytes) -> str:
    """What surrounds a secret that was pasted or typed carelessly."""
    if value != value.strip():
        return "blank or line break at an end"
    quoted = len(value) > 1 and value[:1] == value[-1:] and value[:1] in (b'"', b"'")
    return "pair of quotes around it" if quoted else ""
