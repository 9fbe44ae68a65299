"""Regular expressions of RE2 (google-re2): matching takes linear time, whatever the text contains.
See docs/decisions.md."""

from functools import lru_cache
from typing import Any


def pattern_mistake(pattern: str) -> str:
    """What is wrong with a regular expression, or the empty string. Compiling loads google-re2 (6 ms)."""
    import re2

    try:
        compiled(pattern)
    except re2.error as error:
        message = error.args[0].decode(errors="replace") if error.args else "it can't be compiled"
        return f"is not a regular expression of RE2 ({message.partition(': ')[0]})"
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return ""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The pattern compiled by google-re2, for texts as bytes."""
    import re2

    options = re2.Options()
    options.log_errors = False  # otherwise RE2 writes errors to stderr
    return re2.compile(pattern, options)


def full_match(pattern: str, value: str) -> bool:
    """Whether the valid pattern matches the whole value."""
    # As bytes: RE2 works on UTF-8, and a lone surrogate must not raise.
    return compiled(pattern).fullmatch(value.encode("utf-8", "surrogatepass")) is not None
