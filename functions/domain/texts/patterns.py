"""Regular expressions of RE2 (google-re2), and the secrets in a job's output that are masked by them, before it is used.
Matching takes linear time, whatever the text contains (docs/decisions.md). Masking takes too much rather than too little."""

import re
from functools import lru_cache
from typing import Any

from functions.domain.texts.words import ANSI, clean
from functions.runtime.secrets import token_rules

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
_OPTION = rf"(?:[A-Za-z0-9]+[-_.])*(?:{_NAMES}|pass|pw)"
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
    r"(/bot\d+:)[\w-]+()",  # Telegram
    r"(/approve/#)[\w.~%-]+()",  # our own links
    r"(/incidents/[\w-]+\?link=)[\w.~%-]+()",
    r"((?:\bhooks\.slack\.com|webhook\.office\.com|/(?:hooks|webhooks))/)[\w@/-]{9,}()",  # addresses of chats
)
"""Tokens that are recognized by their form. Both groups of a pattern stay; the part between them is masked."""
KEYS = (
    # the whole line: parts of such a header can have any name
    r"(?i)(\bcookie[\"']?\s*:\s*)[^\n]+()",
    r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:[a-z]+ +)?)[^\n]+()",
    r"(?i)(authorization\\*[\"']\s*,\s*b?\\*[\"'](?:[a-z]+ +)?)[^\n\"']+()",  # in a list of pairs
    r"(\b[Bb]asic +)[A-Za-z+/]*[0-9=+/][A-Za-z0-9+/]{5,}=*()",
    r"(?i)(\bAUTH +(?:PLAIN|LOGIN|CRAM-MD5|XOAUTH2|OAUTHBEARER) +)[A-Za-z0-9+/=]+()",  # SMTP and IMAP, as clients log them
    r"(?i)(\b334[^\n]*\n(?:[^\n]*\b334[^\n]*\n)*send: *b?[\"'])[^\"'\n]+()",  # and what follows the server's question
    rf"(?i)((?:credentials|auth|login)\(\s*(?:\w+ *= *)?b?{_QUOTED}\s*,\s*(?:\w+ *= *)?b?){_QUOTED}()",
    r"(?i)(netloc\\*[\"']?\s*[=:]\s*\\*[\"'][^:\"'@\s]*:)[^\"'\s]+(@)",
    rf"(?im)(key-data{_IS}){_SPACED}()",  # kubeconfig
    # an assignment, a JSON member, an XML element, a pair of name and value, or an option whose name suggests a secret
    rf"(?im)({_NAMES}[A-Za-z0-9_.-]*{_IS}(?:basic |bearer )?){_SPACED}()",
    rf"(?im)((?:\b|_)(?:pass|pw){_IS}){_SPACED}()",
    rf"(?m)([A-Z0-9]_KEY{_IS}){_SPACED}()",
    rf"(?i)(<[A-Za-z0-9_.:-]*{_NAMES}[^>\n]*>)[^<\n]+()",
    rf"""(?im)({_NAMES}[A-Za-z0-9_.-]*\\*["']?\s*,?\s*\\*["']?value{_IS}){_SPACED}()""",
    rf"(?i)((?:^|\s|[\"'])--?{_OPTION}[A-Za-z0-9_-]*\\*[\"']?,?\s+\\*){_VALUE}()",
    r"""(?im)((?:^|\s)(?:-u|--(?:proxy-)?user)[ =]*)(?:"[^":\n]+:[^"\n]*"?|'[^':\n]+:[^'\n]*'?|[^\s:"']+:\S+)()""",
    r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}()",
    r"(://[^\s:/@\"']*:)[^\s\"']+(@)",  # the password in a URL, which may contain / and @
    r"(https?://)[^\s:/@\"']{8,}(@)",
    r"(?i)([?&](?:sig|signature|key|code|auth)=)[^&\s\"']+()",
)


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


def mask(output: str, patterns: tuple[str, ...] = ()) -> str:
    """The last 256 KiB of the output, without control characters, and with secrets masked by these and the built-in patterns."""
    text = _printable(output[-KEPT_BYTES - MARGIN :]).encode("utf-8", "replace")
    for pattern in (*FORMS, *KEYS):
        text = compiled(pattern).sub(rb"\1" + MASK.encode() + rb"\2", text)
    text = _mask_tokens(text)  # after the others, which know better where a secret ends
    for pattern in patterns:
        text = compiled(pattern).sub(MASK.encode(), text)
    if len(output) > KEPT_BYTES + MARGIN:  # cut again: otherwise colours and masks could leave half a secret at the cut
        text = text[MARGIN:]
    return text[-KEPT_BYTES:].decode("utf-8", "ignore")


def _mask_tokens(text: bytes) -> bytes:
    """Mask what one of the kept rules recognizes. Few rules run: each needs a word that its tokens or their names contain."""
    lowered = text.lower()
    for rule in token_rules():
        if rule.words and not any(word.encode() in lowered for word in rule.words):
            continue
        done, parts = 0, []
        for match in compiled(rule.pattern).finditer(text):
            spans = (match.span(number) for number in range(rule.group, match.re.groups + 1))  # alternatives: one matched
            begins, ends = next((span for span in spans if span[0] >= 0), match.span())
            parts += [text[done:begins], MASK.encode()]
            done = ends
        text = b"".join((*parts, text[done:]))
    return text


def _printable(text: str) -> str:
    if text.isascii():  # 30 times faster than all of Unicode
        return re.sub(r"[^\n\x20-\x7e]", "", re.sub(ANSI, "", text.replace("\t", "    ")))
    return clean(text, len(text), "", lines=True)
