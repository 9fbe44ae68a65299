"""The settings of Rundeck."""

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Struct

from functions.runtime.fields import written
from functions.runtime.secrets import SecretRef


class Settings(Struct, frozen=True):
    """How to reach Rundeck (`rundeck:` in unstick.yaml)."""

    name: ClassVar[str] = "Rundeck"
    needs_machine: ClassVar[bool] = False

    url: Annotated[str, written("base-url")]
    """Base URL with its context path."""
    token: SecretRef
    """The token."""
    token_expires: Annotated[str, written("moment")] = ""
    """When the token expires. A token can't read its own expiry."""
    ca: str = ""
    """Certificates to trust (PEM file or folder) for a private CA."""

    @property
    def token_expires_at(self) -> float | None:
        """`token_expires` in Unix seconds; None if unknown."""
        try:
            moment = datetime.fromisoformat(self.token_expires)
        except ValueError:
            return None
        return moment.timestamp() if moment.tzinfo else None
