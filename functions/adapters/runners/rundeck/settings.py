"""How Rundeck is reached."""

from __future__ import annotations

from msgspec import Struct

from functions.runtime.errors import ConfigError
from functions.runtime.secrets import SecretRef

FIRST_WITH_OPTIONS = 18


class Settings(Struct, frozen=True):
    """How Rundeck is reached (`rundeck:` in unstick.yaml)."""

    url: str
    token: SecretRef
    api_version: int = 41
    """41 is taken by every server from 4.0 on."""
    incident_option: str = "unstick_incident"
    not_after_option: str = "unstick_not_after"
    ca: str = ""

    def __post_init__(self) -> None:
        if self.api_version < FIRST_WITH_OPTIONS:
            problem = (
                f"api_version: Rundeck ignores the options of a run below {FIRST_WITH_OPTIONS}. Use 41; 4.0 and newer accept it."
            )
            raise ConfigError((problem,))
