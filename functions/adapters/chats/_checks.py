"""What `check` shows of every chat."""

from collections.abc import Callable

from functions.application.ports import Finding
from functions.runtime.errors import Denied, Unavailable

NOT_TRIED = "a webhook can't be tried without posting"


def to_findings(system: str, examine: Callable[[], str], *, ok: bool | None) -> list[Finding]:
    """The detail that `examine` returns, or the error that it raises."""
    try:
        return [Finding(system, ok=ok, detail=examine())]
    except Denied as error:
        return [Finding(system, ok=False, detail=error.detail, remedy=error.remedy)]
    except Unavailable as error:
        return [Finding(system, ok=None, detail=error.detail)]
