"""Rundeck. A forged request needs its settings only, so what calls it is imported when it is first called."""

from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Struct

from functions.application.ports import Runner
from functions.runtime.parallel import Late
from functions.runtime.secrets import SecretRef
from functions.runtime.structs import written

if TYPE_CHECKING:
    from functions.adapters.runners.rundeck import checks as late_checks
    from functions.adapters.runners.rundeck import client as late_client
else:

    @Late
    def late_client() -> ModuleType:
        """What reads, starts and aborts runs."""
        from functions.adapters.runners.rundeck import client

        return client

    @Late
    def late_checks() -> ModuleType:
        """What `check` asks."""
        from functions.adapters.runners.rundeck import checks

        return checks


class Rundeck(Struct, frozen=True):
    """How to reach Rundeck (`rundeck:` in unstick.yaml)."""

    name: ClassVar[str] = "Rundeck"
    needs_machine: ClassVar[bool] = False

    url: Annotated[str, written("base-url")]
    """With its context path."""
    token: SecretRef
    """The token."""
    token_expires: Annotated[str, written("moment")] = ""
    """When it expires: a token can't tell."""
    ca: str = ""
    """PEM file or folder of a private CA."""

    look = late_client.look
    run = late_client.run
    abort = late_client.abort
    start_page = late_client.start_page
    start_evidence = late_client.start_evidence
    read_evidence = late_client.read_evidence
    check = late_checks.check

    @property
    def token_expires_at(self) -> float | None:
        """`token_expires` in Unix seconds; None if unknown."""
        return datetime.fromisoformat(self.token_expires).timestamp() if self.token_expires else None


ADAPTER: type[Runner] = Rundeck
