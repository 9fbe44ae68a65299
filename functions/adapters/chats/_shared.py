"""What chats share. Before they post a card they clean it, fit it into a limit, and draw its curve as text. Then they post by
HTTP: the webhook's URL, and refusals as errors."""

import html
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from functions.application.ports import Finding
from functions.domain.cards import facts
from functions.domain.model.cards import Card
from functions.domain.texts.words import SHORTENED, clean, safe_url, shorten
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from functions.runtime.text import in_language

SIGNS = {"act": "🚨", "watch": "⏳", "plan": "📅", "fine": "✅"}  # beside the headline's words, never instead of them
Rendered = TypeVar("Rendered")


def fit(
    card: Card, language: str, render: Callable[[Card, str], Rendered], limit: int, measure: Callable[[Rendered], int]
) -> Rendered:
    """The largest rendering below the limit. Evidence shrinks first, then facts and text; the headline stays. Cuts are marked."""
    for budget in (1.0, 0.6, 0.35, 0.2, 0.1, 0.03):
        rendered = render(clean_card(card, language, budget), language)
        if measure(rendered) < limit:
            return rendered
    mark = in_language(language, SHORTENED)
    headline = clean(card.headline, 100, mark)
    smallest = Card(card.kind, card.urgency, headline, text=(mark.strip(),), incident=clean(card.incident, 40, ""))
    return render(smallest, language)


def clean_card(card: Card, language: str, budget: float = 1.0) -> Card:
    """The card with every part clean and within its share of the budget. Cards may come from elsewhere than `compose`."""
    mark = in_language(language, SHORTENED)

    def cut(text: str, limit: int) -> str:
        return clean(text, max(40, int(limit * budget)), mark)

    max_lines, max_facts, max_paragraphs = max(2, int(20 * budget)), max(3, int(24 * budget)), max(2, int(12 * budget))
    facts = tuple((cut(label, 60), cut(text, 900)) for label, text in card.facts[:max_facts])
    text = tuple(cut(paragraph, 1500) for paragraph in card.text[:max_paragraphs])
    evidence = tuple(cut(line, 300) for line in card.evidence[-max_lines:])
    if len(card.evidence) > max_lines:
        evidence = (mark.strip(), *evidence)
    safe_links = tuple((cut(label, 60), url) for label, url in card.links[:14] if safe_url(url) == url.strip() != "")
    links = tuple((label, url) for label, url in safe_links if len(url) <= max(200, 2000 * budget))
    if len(card.facts) > max_facts or len(card.text) > max_paragraphs or len(links) < len(safe_links):
        text = (*text, mark.strip())
    return replace(
        card,
        headline=clean(card.headline, 200, mark),
        evidence_title=cut(card.evidence_title, 60),
        facts=facts,
        text=tuple(filter(None, text)),
        evidence=evidence,
        links=links,
        curve=card.curve[-200:],
        mention=tuple(clean(mention, 100, "") for mention in card.mention[:10]),
        incident=clean(card.incident, 80, ""),
    )


def show_headline(card: Card) -> str:
    """The headline, after the sign of its urgency."""
    return f"{SIGNS.get(card.urgency, '•')} {card.headline}"


def list_facts(card: Card, language: str, between: str = " ") -> list[tuple[str, str]]:
    """The card's facts; the last one is the curve: bars, then figures."""
    bars, said = facts.to_bars(card.curve), in_language(language, facts.say_curve(card.curve))
    return [*card.facts, *([(in_language(language, facts.CURVE), f"{bars}{between}{said}")] if bars else [])]


def find_mentions(card: Card, form: re.Pattern[str]) -> list[str]:
    """The mentions in this platform's form. Names of other platforms are left out."""
    return [mention for mention in card.mention if form.fullmatch(mention)]


def escape_tags(text: str) -> str:
    """Escape the three characters that cards know entities for; quotation marks need none."""
    return html.escape(text, quote=False)


def count_units(text: str) -> int:
    """The length in UTF-16 units. Some platforms count these; for the others the figure is never too small."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def fit_text(text: str, limit: int, escape: Callable[[str], str], language: str) -> str:
    """The escaped text within `limit`. It is cut before escaping, so that no markup stays open and no entity is cut in two."""
    length, mark = min(len(text), limit), in_language(language, SHORTENED)
    while count_units(escaped := escape(shorten(text, length, mark))) > limit and length > 0:
        length -= 1 + (count_units(escaped) - limit) // 5  # escaping turns a character into five at most
    return escaped if length > 0 else ""


NOT_TRIED = Finding("webhook", ok=None, detail="a webhook can't be tried without posting")


def webhook_url(system: str, secret: SecretRef) -> str:
    """The webhook's URL from its secret. Raises Denied if it can't be one; the error never repeats it."""
    try:
        url: str = secret.read().decode().strip()
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (UnicodeDecodeError, ValueError):
        host = None
    remedy = f"put the whole URL of the webhook into {secret.reference}"
    if not host or any(char.isspace() for char in url):
        raise Denied(system, "the secret is not a URL", remedy=remedy)
    if parts.scheme != "https" and not (parts.scheme == "http" and http_client.is_loopback(host)):
        raise Denied(system, "the secret is not an https URL", remedy=remedy)
    return url


def post(
    system: str, url: str, payload: Any, *, timeout_s: float, headers: Mapping[str, str] | None = None
) -> http_client.Answer:
    """POST JSON, or bytes unchanged. Raises Unavailable without an answer, and for 3xx, 429 and 5xx: a wake-up posts it later."""
    content: dict[str, Any] = {"body": payload} if isinstance(payload, bytes) else {"json": payload}
    answer = http_client.request(system, "POST", url, **content, headers=headers or {}, timeout_s=timeout_s)
    if answer.status >= 500 or 300 <= answer.status < 400 or answer.status == 429:
        raise Unavailable(system, f"answered {answer.status}")
    return answer


def require_accepted(
    answer: http_client.Answer, secret: SecretRef, remedies: Mapping[int, str], accepted: Collection[int] = (200,)
) -> None:
    """Raises Denied for a status that is not accepted, without the body: it may repeat the secret, which is then invalidated."""
    if answer.status in accepted:
        return
    if answer.status in (401, 403, 404):
        secret.invalidate()
    remedy = remedies.get(answer.status, "")
    raise Denied(answer.system, f"answered {answer.status}", remedy=remedy, status=answer.status)
