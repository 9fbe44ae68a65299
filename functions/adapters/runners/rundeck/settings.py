"""How Rundeck is reached."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from functions.runtime.fields import written
from functions.runtime.secrets import SecretRef

FIRST_WITH_OPTIONS = 18
"""Older versions of the API ignore the options of a run."""


class Settings(Struct, frozen=True):
    """How Rundeck is reached (`rundeck:` in unstick.yaml)."""

    url: Annotated[str, written("base-url")]
    """Base URL, with its context path if it has one."""
    token: SecretRef
    """Where the token is."""
    token_expires: Annotated[str, written("moment")] = ""
    """When Rundeck's token expires, as RFC 3339 with its zone; a token can't read its own end. `rotate-token` keeps it."""
    api_version: Annotated[int, Meta(ge=FIRST_WITH_OPTIONS)] = 41
    """Every server from 4.0 on accepts 41."""
    incident_option: str = "unstick_incident"
    """The job's option that takes INCIDENT.ATTEMPT."""
    not_after_option: str = "unstick_not_after"
    """The job's option that takes the Unix time after which it must refuse to start."""
    ca: str = ""
    """File or folder of certificates (PEM) to trust instead of the usual ones, for a private CA."""

    @property
    def token_expires_at(self) -> float | None:
        """`token_expires` in Unix seconds; None where it is not known."""
        try:
            moment = datetime.fromisoformat(self.token_expires)
        except ValueError:
            return None
        return moment.timestamp() if moment.tzinfo else None
