"""Masks secrets in a job's output, and removes control characters, before the output is used.
The patterns are RE2's, so the time is linear in the output, whatever it contains. They mask too much rather than too little."""

import re

from functions.domain.texts.patterns import compiled
from functions.domain.texts.sanitize import ANSI, clean

KEPT_BYTES = 256 * 1024
MARGIN = 16 * 1024  # bytes read in addition and cut off again, so that no secret is cut in two: a private key has fewer
MASK = "***"
_QUOTED = r"""(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\\+"(?:[^"\\\n]|\\\\(?:\\.)?)*(?:\\+")?)"""
"""A whole quoted text, even without its end, or one whose quotes are escaped: JSON in JSON."""
_LIST = r"""\[\s*(?:"(?:\\.|[^"\\\n])*"\s*,?\s*)+\]|\[[^\]\n]*\]?|-[ \t][^\n]*(?:\n[ \t]*-[ \t][^\n]*)*"""
_VALUE = rf"""(?:{_QUOTED}|{_LIST}|[^\s"']\S*)"""
"""Otherwise everything up to the next space, since passwords contain any character."""
_SPACED = rf"""(?:{_QUOTED}|{_LIST}|[^\s"']\S*(?:(?:[ \t]+[^\s=:]+)+[ \t]*$)?)"""
"""The same, and the rest of the line unless it looks like another name with a value."""
_NAMES = (
    "(?:pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|account|private|signing|encryption|master)[_-]?key|credentials?|"
    "session[_-]?id|cookie)"
)
_IS = r"""\\*["']?\]?\s*(?:=>|:=|[=:])\s*"""
FORMS = (
    r"()(?s:-----? ?BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?----[-]?|\z))()",
    r"()(?s:PuTTY-User-Key-File-.*?(?:Private-(?:MAC|Hash): [^\n]*|\z))()",
    r"()\beyJ[A-Za-z0-9_=-]{6,}\.[A-Za-z0-9_=-]{6,}(?:\.[A-Za-z0-9_.+/=-]*)?()",  # JSON Web Token
    r"()\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16}()",  # AWS
    # GitHub, Slack, Google, HashiCorp Vault, SendGrid, Square, Artifactory, PyPI, GitLab, npm, Stripe, OpenAI
    r"()(?:\bgh[pousr]_|github_pat_|xox[a-z]-|xapp-|AIza|ya29\.|GOCSPX-|\bhv[bs]\.|\bSG\.|sq0csp-|\bAKC|pypi-Ag)[\w.=\\-]{10,}()",
    r"()(?:\bgl(?:agent|cbt|dt|ft|imt|oas|pat|ptt|rt|soat)-|\bGR1348941|\bnpm_|[rs]k_(?:live|test)_|\bsk-)[\w-]{15,}()",
    r"()\b1//[\w-]{20,}()",  # Google's refresh tokens
    r"()\b(?:\d{8,10}:[\w-]{35}|(?:AC|SK)[a-z0-9]{32}|[a-z0-9]{32}-us\d{1,2}|[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27})()",
    r"((?:\bhooks\.slack\.com|webhook\.office\.com|/(?:hooks|webhooks))/)[\w@/-]{9,}()",  # addresses of chats
)
"""Tokens that are recognized by their form. Both groups of a pattern stay; the part between them is masked."""
KEYS = (
    # the whole line: parts of such a header can have any name
    r"(?i)(\bcookie[\"']?\s*:\s*)[^\n]+()",
    r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:[a-z]+ +)?)[^\n]+()",
    # an assignment, a JSON member, an XML element, a pair of name and value, or an option whose name suggests a secret
    rf"(?im)({_NAMES}[A-Za-z0-9_.-]*{_IS}(?:basic |bearer )?){_SPACED}()",
    rf"(?im)((?:\b|_)pass{_IS}){_SPACED}()",
    rf"(?m)([A-Z0-9]_KEY{_IS}){_SPACED}()",
    rf"(?i)(<[A-Za-z0-9_.:-]*{_NAMES}[^>\n]*>)[^<\n]+()",
    rf"""(?im)({_NAMES}[A-Za-z0-9_.-]*\\*["']?\s*,?\s*\\*["']?value{_IS}){_SPACED}()""",
    rf"(?i)(--?{_NAMES}[A-Za-z0-9_-]*\s+){_VALUE}()",
    r"""(?im)((?:^|\s)(?:-u|--(?:proxy-)?user)[ =]*)(?:"[^":\n]+:[^"\n]*"?|'[^':\n]+:[^'\n]*'?|[^\s:"']+:\S+)()""",
    r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}()",
    r"(://[^\s:/@\"']*:)[^\s\"']+(@)",  # the password in a URL, which may contain / and @
    r"(https?://)[^\s:/@\"']{8,}(@)",
    r"(?i)([?&](?:sig|signature|key|code|auth)=)[^&\s\"']+()",
)


def mask(output: str, patterns: tuple[str, ...] = ()) -> str:
    """The last 256 KiB of the output, without control characters, and with secrets masked by these and the built-in patterns."""
    text = _printable(output[-KEPT_BYTES - MARGIN :]).encode("utf-8", "replace")
    for pattern in (*FORMS, *KEYS):
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
