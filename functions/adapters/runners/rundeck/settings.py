"""How Rundeck is reached."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from functions.runtime.errors import ConfigError
from functions.runtime.secrets import SecretRef

FIRST_WITH_OPTIONS = 18


class Settings(Struct, frozen=True):
    """How Rundeck is reached (`rundeck:` in unstick.yaml)."""

    url: str
    token: SecretRef
    token_expires: str = ""
    """When the token expires, as Rundeck said when it issued it: a token can't read its own end."""
    api_version: int = 41
    """Every server from 4.0 on accepts 41."""
    incident_option: str = "unstick_incident"
    not_after_option: str = "unstick_not_after"
    ca: str = ""

    def __post_init__(self) -> None:
        if self.api_version < FIRST_WITH_OPTIONS:
            problem = (
                f"api_version: Rundeck ignores the options of a run below {FIRST_WITH_OPTIONS}. Use 41; 4.0 and newer accept it."
            )
            raise ConfigError((problem,))
        if self.token_expires and self.token_expires_at is None:
            raise ConfigError(("token_expires: not a time with its zone, such as 2026-12-26T11:15:56Z.",))

    @property
    def token_expires_at(self) -> float | None:
        """`token_expires` in Unix seconds; None where it is not known."""
        try:
            moment = datetime.fromisoformat(self.token_expires)
        except ValueError:
            return None
        return moment.timestamp() if moment.tzinfo else None
