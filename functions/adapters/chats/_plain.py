"""What the chats share: cards within limits, the curve as a line of text, and posting by HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.domain.texts.sanitize import clean, safe_url, shorten
from functions.domain.texts.words import curve_words, say
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable

if TYPE_CHECKING:
    from functions.runtime.secrets import SecretRef

SIGNS = {"act": "🚨", "watch": "⏳", "plan": "📅", "fine": "✅"}
"""Beside the headline's words, never in their place."""

BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
WAIT_LEAST_S = 0.5
WAIT_UNTOLD_S = 1.0
"""How long to wait after a 429 that does not say how long."""

Rendered = TypeVar("Rendered")


def fitted(card: Card, language: str, render: Callable[[Card], Rendered], fits: Callable[[Rendered], bool]) -> Rendered:
    """The largest rendering that fits. Evidence goes first, then facts and text, the headline never; cuts are marked."""
    for budget in (1.0, 0.6, 0.35, 0.2, 0.1, 0.03):
        made = render(_within(card, language, budget))
        if fits(made):
            return made
    mark = say(language, "shortened")
    headline = clean(card.headline, 100, mark)
    return render(Card(card.kind, card.urgency, headline, text=(mark.strip(),), incident=clean(card.incident, 40, "")))


def cleaned(card: Card, language: str) -> Card:
    """The card with every part within its largest share, for chats that cut by themselves."""
    return _within(card, language, 1.0)


def _within(card: Card, language: str, budget: float) -> Card:
    """The card with every part within its share; also cleans cards that `compose` did not make."""
    mark = say(language, "shortened")

    def part(text: str, limit: int) -> str:
        return clean(text, max(40, int(limit * budget)), mark)

    lines, shown, paragraphs = max(2, int(20 * budget)), max(3, int(24 * budget)), max(2, int(12 * budget))
    facts = tuple((part(label, 60), part(text, 900)) for label, text in card.facts[:shown])
    text = tuple(part(paragraph, 1500) for paragraph in card.text[:paragraphs])
    evidence = tuple(part(line, 300) for line in card.evidence[-lines:])
    if len(card.evidence) > lines:
        evidence = (mark.strip(), *evidence)
    if len(card.facts) > shown or len(card.text) > paragraphs:
        text = (*text, mark.strip())
    links = tuple((part(label, 60), url) for label, url in card.links[:10] if safe_url(url) == url.strip() != "")
    kept = tuple((label, url) for label, url in links if len(url) <= max(200, 2000 * budget))
    if len(kept) < len(links):
        text = (*text, mark.strip())
    return replace(
        card,
        headline=clean(card.headline, 200, mark),
        facts=facts,
        text=tuple(filter(None, text)),
        evidence=evidence,
        links=kept,
        curve=card.curve[-200:],
        mention=tuple(clean(mention, 100, "") for mention in card.mention[:10]),
        incident=clean(card.incident, 80, ""),
    )


def sparkline(curve: tuple[tuple[float, int], ...]) -> str:
    """The depth as bars of text; empty for fewer than two looks. Peaks are kept when looks are put together."""
    depths = [max(0, depth) for _, depth in curve]
    if len(depths) < 2:
        return ""
    width = min(BARS_SHOWN, len(depths))
    cells = [max(depths[place * len(depths) // width : (place + 1) * len(depths) // width]) for place in range(width)]
    top = max(cells) or 1
    return "".join(BARS[0 if cell == 0 else max(1, round(cell * 7 / top))] for cell in cells)


def lines(card: Card, language: str) -> list[str]:
    """The card below its headline as plain text."""
    made = list(card.text)
    if card.text and (card.facts or card.curve):
        made.append("")
    made += [f"{label}: {text}" if label else text for label, text in card.facts]
    if bars := sparkline(card.curve):
        made.append(f"{say(language, 'curve')}: {bars} {curve_words(card.curve, language)}")
    if card.evidence:
        made += ["", f"{say(language, 'evidence')}:", *(f"  {line}" for line in card.evidence)]
    if card.links:
        made += ["", *(f"{label}: {url}" for label, url in card.links)]
    return made


# --- posting -----------------------------------------------------------------------------------------------------------


def webhook_url(system: str, secret: SecretRef) -> str:
    """The URL that the reference holds. Raises Denied if it can't be one; never shows it."""
    try:
        url: str = secret.read().decode().strip()
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (UnicodeDecodeError, ValueError):
        host = None
    remedy = f"put the whole URL of the webhook into {secret.reference}"
    if not host or any(char.isspace() for char in url):
        raise Denied(system, "the secret is no URL", remedy=remedy)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise Denied(system, "the secret is no https URL", remedy=remedy)
    return url


def send(
    system: str, url: str, payload: Any, *, timeout_s: float, headers: Mapping[str, str] | None = None
) -> http_client.Answer:
    """POST JSON, or bytes as they are; after a 429 wait as long as it says and send again, if the time allows.

    Raises Unavailable without an answer, for 5xx, and for a 429 whose wait is longer than the time left.
    """
    ends = time.monotonic() + timeout_s
    sent = {"body": payload} if isinstance(payload, bytes) else {"json": payload}
    while True:
        answer = http_client.request(system, "POST", url, **sent, timeout_s=ends - time.monotonic(), headers=headers)
        if answer.status != 429:
            break
        wait_s = _wait_s(answer)
        if wait_s >= ends - time.monotonic():
            raise Unavailable(system, f"asks to wait {wait_s:g} s")
        time.sleep(wait_s)
    if answer.status >= 500 or 300 <= answer.status < 400:
        raise Unavailable(system, f"answered {answer.status}")
    return answer


def _wait_s(answer: http_client.Answer) -> float:
    """How long a platform asks to wait: most say how long, some until when (in Unix time, by a clock that may be off ours)."""
    until = answer.headers.get("x-ratelimit-reset", "0")
    try:
        untold_s = max(float(until) - answer.at, WAIT_UNTOLD_S)
        wait_s = max(float(answer.headers.get("retry-after", untold_s)), WAIT_LEAST_S)
    except ValueError:
        return WAIT_UNTOLD_S
    return wait_s if 0 <= wait_s <= 86400 else 86400.0


def refused(system: str, answer: http_client.Answer, secret: SecretRef, remedies: Mapping[int, str]) -> Denied:
    """A 4xx as an error. The secret is read again next time where it may be wrong; the body may repeat it and is not shown."""
    if answer.status in (401, 403, 404):
        secret.distrust()
    remedy = remedies.get(answer.status, "")
    return Denied(system, f"answered {answer.status}", remedy=remedy, status=answer.status, code=f"http_{answer.status}")


def checked(system: str, look: Callable[[], str], *, ok: bool | None) -> list[Finding]:
    """What `check` found: the detail that `look` returns, or what it raised."""
    try:
        return [Finding(system, ok=ok, detail=look())]
    except Denied as error:
        return [Finding(system, ok=False, detail=error.detail, remedy=error.remedy)]
    except Unavailable as error:
        return [Finding(system, ok=None, detail=error.detail)]


def cut(text: str, limit: int, language: str) -> str:
    """The text within `limit` characters, marked if something is missing."""
    return shorten(text, limit, say(language, "shortened"))
