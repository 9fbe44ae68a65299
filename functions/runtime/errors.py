"""What can go wrong, one class for each way of handling it."""

from __future__ import annotations

from functions.runtime.text import Phrase, named


class UnstickError(Exception):
    """The root of all errors that Unstick raises on purpose."""


class BadRequest(UnstickError):
    """A caller's request can't be taken; `status` is the HTTP answer and the text says what to fix."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ConfigError(UnstickError):
    """The configuration is wrong; `problems` has one line for each mistake: place, mistake, remedy."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Conflict(UnstickError):
    """Somebody else changed the document since it was loaded."""


class Unavailable(UnstickError):
    """A system gave no usable answer (time-out, lost connection, 5xx): what was asked may or may not have happened."""

    def __init__(self, system: str, detail: Phrase, *, late: bool = False, remedy: Phrase = "") -> None:
        self.text = named(system, detail)
        super().__init__(str(self.text))
        self.system = system
        self.detail = detail
        self.late = late
        """True when the time given was used up."""
        self.remedy = remedy
        """What people have to do; empty where waiting may help."""


class Denied(UnstickError):
    """A system answered and said no: nothing happened, and asking again the same way won't help."""

    def __init__(
        self, system: str, detail: Phrase, *, code: str = "", remedy: Phrase = "", status: int = 0, link: str = ""
    ) -> None:
        self.text = named(system, detail)
        super().__init__(str(self.text))
        self.system = system
        self.detail = detail
        self.code = code
        self.remedy = remedy
        self.status = status
        self.link = link
        """Where people can look at it."""
