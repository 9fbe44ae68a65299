"""Unstick's exceptions, one class for each way of handling a failure."""

from enum import StrEnum

from functions.runtime.text import Phrase, named


class UnstickError(Exception):
    """Base class of every error that Unstick raises on purpose."""


class BadRequest(UnstickError):
    """The caller's request is invalid. `status`: the HTTP status to answer with; the text says what to fix."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ConfigError(UnstickError):
    """The configuration is invalid. `problems`: one line for each mistake, with place, mistake and remedy."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Conflict(UnstickError):
    """Another process changed the document after it was loaded."""


class Unavailable(UnstickError):
    """No usable answer from a system (time-out, lost connection, 5xx). The request may or may not have taken effect."""

    def __init__(self, system: str, detail: Phrase, *, late: bool = False, remedy: Phrase = "") -> None:
        self.text = named(system, detail)
        super().__init__(str(self.text))
        self.system = system
        self.detail = detail
        self.late = late
        """True if the deadline passed."""
        self.remedy = remedy
        """What people have to do; empty if waiting may help."""


class DeniedCode(StrEnum):
    """Why a system refused, where Unstick acts on the reason. People read `detail` and `remedy`."""

    ACL = "acl"
    BUSY = "busy"  # the job is already running
    JOB = "job"  # there is no such job or execution
    LOGIN = "login"
    PASSIVE = "passive"  # the runner starts nothing for anybody now
    TOKEN = "token"  # noqa: S105  # a code


class Denied(UnstickError):
    """A system refused. The request had no effect, and repeating it unchanged won't help."""

    def __init__(
        self, system: str, detail: Phrase, *, code: DeniedCode | None = None, remedy: Phrase = "", status: int = 0
    ) -> None:
        self.text = named(system, detail)
        super().__init__(str(self.text))
        self.system = system
        self.detail = detail
        self.code = code
        self.remedy = remedy
        self.status = status
