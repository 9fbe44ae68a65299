r"""Masks secrets in a job's output, and removes control characters, before the output is used.

The patterns are RE2's, so the time is linear in the output, whatever it contains. They mask too much rather than too little.
"""

from __future__ import annotations

import re

from functions.domain.texts.patterns import compiled
from functions.domain.texts.sanitize import ANSI, clean

KEPT_BYTES = 256 * 1024
MARGIN = 16 * 1024
"""Bytes that are read in addition and then cut off, so that no secret is cut in two: more than a private key has."""
MASK = "***"
_VALUE = r"""(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|[^\s"']\S*)"""
"""A whole quoted text, even without its end; otherwise everything up to the next space, since passwords contain any character."""
_NAMES = "(?:pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|account|private)[_-]?key|credentials?|session[_-]?id|cookie)"
KEYS = (
    # the whole line: parts of such a header can have any name
    r"(?i)(\bcookie[\"']?\s*:\s*)[^\n]+()",
    r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:[a-z]+ +)?)[^\n]+()",
    # an assignment, a JSON member or a command-line option whose name suggests a secret
    rf"""(?i)({_NAMES}[A-Za-z0-9_.-]*["']?\s*(?:=>|:=|[=:])\s*(?:basic |bearer )?){_VALUE}()""",
    rf"""(?i)((?:\b|_)pass["']?\s*(?:=>|:=|[=:])\s*){_VALUE}()""",
    rf"(?i)(--?{_NAMES}[A-Za-z0-9_-]*\s+){_VALUE}()",
    r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}()",
    r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@\"']*:)[^\s\"']+(@)",  # the password in a URL, which may contain / and @
)
FORMS = (
    r"()\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*()",  # JSON Web Token
    r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b()",  # AWS
    r"()\bgh[pousr]_[A-Za-z0-9]{20,}()",  # GitHub
    r"()\bxox[a-z]-[A-Za-z0-9-]{10,}()",  # Slack
    r"(hooks\.slack\.com/)[A-Za-z0-9/_-]+()",
    r"()\b(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9._-]{10,})()",  # Google
    r"()(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z))()",
)
"""Tokens that are recognized by their form. Both groups of a pattern stay; the part between them is masked."""


def mask(output: str, patterns: tuple[str, ...] = ()) -> str:
    """The last 256 KiB of the output, without control characters, and with secrets masked by these and the built-in patterns."""
    text = _printable(output[-KEPT_BYTES - MARGIN :]).encode("utf-8", "replace")
    for pattern in (*KEYS, *FORMS):
        text = compiled(pattern).sub(rb"\1" + MASK.encode() + rb"\2", text)
    for pattern in patterns:
        text = compiled(pattern).sub(MASK.encode(), text)
    if len(output) > KEPT_BYTES + MARGIN:  # cut again: otherwise colours and masks could leave half a secret at the cut
        text = text[MARGIN:]
    return text[-KEPT_BYTES:].decode("utf-8", "ignore")


def _printable(text: str) -> str:
    if text.isascii():  # 30 times faster than all of Unicode
        return re.sub(r"[^\n\x20-\x7e]", "", re.sub(ANSI, "", text.replace("\t", "    ")))
    return clean(text, len(text), "", lines=True)
