"""The types of `command:` in unstick.yaml."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, field

from functions.runtime.errors import Denied, DeniedCode
from functions.runtime.fields import duration, key, written
from functions.runtime.text import Text

SYSTEM = "command"
LONGEST_S = 86400.0


class Job(Struct, frozen=True, rename=key):
    """A program with its arguments and limits, which a runbook names as others name a job."""

    run: Annotated[tuple[Annotated[str, written("argument")], ...], Meta(min_length=1)]
    """The program and its arguments, without a shell. `${option.NAME}` in an argument is an option of the runbook."""
    timeout_s: Annotated[float, duration(1, LONGEST_S)] = 300.0
    """How long the command may run. Then it and its children get SIGTERM, five seconds later SIGKILL."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Values of options that may be missing, such as that of `restart.holder` when all hosts are restarted."""


class Settings(Struct, frozen=True):
    """Commands on this machine (`command:` in unstick.yaml). Not on Google Cloud."""

    name: ClassVar[str] = "command runner"
    needs_machine: ClassVar[bool] = True

    path: str
    """SQLite file with the history. The local store may use the same file. `PATH-runs` beside it has the output."""
    jobs: Annotated[Mapping[str, Job], Meta(min_length=1)]
    """Commands by the name that `restart.job` gives."""
    systemd: bool = False
    """Whether each command runs in a unit of its own (unstick-run@.service). Needed if systemd runs Unstick, since a unit that
    is stopped ends all its processes."""

    @property
    def url(self) -> str:
        """The same on every machine: it is part of each target's key, and a container gets a new host name with each start."""
        return "command://localhost"

    @property
    def token_expires_at(self) -> None:
        """None: commands need no token."""

    def job_named(self, name: str) -> Job:
        """The command of this name. Raises Denied if there is none."""
        if name in self.jobs:
            return self.jobs[name]
        remedy = Text("Add it to command.jobs, or name one of: {names}.", names=", ".join(self.jobs))
        raise Denied(SYSTEM, Text("there is no command {job}", job=name), code=DeniedCode.JOB, remedy=remedy)
