"""What chats share. Before they post a card they clean it, fit it into a limit, and draw its curve as text; those that take text
only lay it out here, too, and show other people's text literally. Then they post by HTTP: the webhook's URL, waiting after a 429,
and refusals as errors."""

import html
import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from functions.application.ports import Finding
from functions.domain.cards import queues
from functions.domain.model.messages import Card
from functions.domain.texts.sanitize import clean, safe_url, shorten
from functions.domain.texts.words import SHORTENED, log_title
from functions.runtime import http_client
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef
from functions.runtime.text import in_language

SIGNS = {"act": "🚨", "watch": "⏳", "plan": "📅", "fine": "✅"}  # beside the headline's words, never instead of them
_MARKUP = re.compile(
    r"[*~`]|\|\||://|^www\.|\\[^\w\s]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word, so that names such as mail_queue_a stay unchanged
    r"|:(?!\d\d?:)[a-z0-9_+-]+:",  # the name of an emoji; a time such as 03:12:05 is not one
    re.IGNORECASE,
)
_WORD = r"[!-~‹›［］\u200b]+"  # ASCII only, so that a name in a Japanese sentence counts as a word
_REPLACED = {"<": "‹", ">": "›", "[": "［", "]": "］", "@": "@\u200b"}
"""Whatever a word is escaped to: the brackets of a link may stand in different words."""

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
    safe_links = tuple((cut(label, 60), url) for label, url in card.links[:11] if safe_url(url) == url.strip() != "")
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
    bars, said = queues.to_bars(card.curve), in_language(language, queues.say_curve(card.curve))
    return [*card.facts, *([(in_language(language, queues.CURVE), f"{bars}{between}{said}")] if bars else [])]


def find_mentions(card: Card, form: re.Pattern[str]) -> list[str]:
    """The mentions in this platform's form. Names of other platforms are left out."""
    return [mention for mention in card.mention if form.fullmatch(mention)]


def measure_json(message: dict[str, Any]) -> int:
    """The size of the message in bytes, as it is sent."""
    return len(json.dumps(message, ensure_ascii=False).encode())


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


def measure_rows(rows: list[str]) -> int:
    """The length of the rows, each with a line end, and a blank line after them."""
    return sum(count_units(row) + 1 for row in rows) + 1 if rows else 0


def take_rows(rows: list[str], limit: int) -> list[str]:
    """As many of the first rows as fit."""
    count = len(rows)
    while count and measure_rows(rows[:count]) > limit:
        count -= 1
    return rows[:count]


def count_links_to_page(card: Card) -> int:
    """How many links the card has up to the one to its incident's page, which has the others; 0 if it has none."""
    page = f"/incidents/{card.incident}"
    return next((place for place, (_, url) in enumerate(card.links, 1) if card.incident and page in url), 0)


def escape_markup(text: str) -> str:
    """Escape text that Markdown and its relatives would interpret: words with markup become code; no mentions, no links."""
    for char, harmless in _REPLACED.items():
        text = text.replace(char, harmless)
    return re.sub(_WORD, lambda word: _as_code_if_markup(word[0]), text)


def _as_code_if_markup(word: str) -> str:
    if not _MARKUP.search(word):
        return word
    name = word.rstrip(".,:;!?)")
    code = name.strip("`").replace("`", "'") or "'" * len(name)
    return f"`{code}`{word[len(name) :]}"


def escape_url(url: str) -> str:
    """Percent-encode everything after the host that a chat takes for markup, a mention or the end of the URL."""
    start = url.index("//") + 2 + len(urlsplit(url).netloc)
    return url[:start] + quote(url[start:], safe="/?#&=%,:;+!").replace("~", "%7E").replace("__", "_%5F")


def write_mentions(card: Card, form: re.Pattern[str]) -> str:
    """The mentions in this platform's form, as a line of their own."""
    in_form = find_mentions(card, form)
    return " ".join(in_form) + "\n" if in_form else ""


def lay_out_body(card: Card, language: str, limit: int, escape: Callable[[str], str]) -> str:
    """The card below its headline within `limit`: text, links, facts, end of the log. Links come where a phone shows them. The
    log is cut first, then facts, then text, then links: first those that the incident's page has too, then from the end."""
    mark = in_language(language, SHORTENED).strip()
    left = limit - count_units(mark) - 1
    links = [f"{escape(label)}: {escape_url(url)}" for label, url in card.links]
    facts = [escape(f"{label}: {value}" if label else value) for label, value in list_facts(card, language)]
    log = [f"│ {escape(line)}" for line in reversed(card.evidence)]
    log = [escape(f"{log_title(card.evidence_title, language)}:"), *log] if log else []
    whole = [links, [escape(paragraph) for paragraph in card.text], facts, log]
    text = [fit_text(paragraph, max(left // 2, 0), escape, language) for paragraph in card.text]
    if measure_rows(links) + measure_rows(text) > left:
        links = links[: count_links_to_page(card) or None]
    shown = []
    for rows in (links, text, facts, log):
        shown.append(take_rows(rows, left))
        left -= measure_rows(shown[-1])
    links, text, facts, log = shown
    end = [log[0], *reversed(log[1:])] if len(log) > 1 else []
    blocks = (text, links, facts, end, [] if shown == whole else [mark])
    return "\n\n".join("\n".join(block) for block in blocks if block)[: max(0, limit)]


MIN_WAIT_S = 0.5
DEFAULT_WAIT_S = 1.0  # after a 429 that doesn't say how many seconds to wait
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
    """POST JSON, or bytes unchanged. After a 429, wait as long as the answer asks, and post again if there is time. Raises
    Unavailable without an answer, for 3xx and 5xx, and for a 429 whose wait is longer than the time left."""
    ends = time.monotonic() + timeout_s
    content: dict[str, Any] = {"body": payload} if isinstance(payload, bytes) else {"json": payload}
    content["headers"] = headers
    while True:
        answer = http_client.request(system, "POST", url, **content, timeout_s=ends - time.monotonic())
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
    """How long the platform asks to wait."""
    try:
        return max(MIN_WAIT_S, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return DEFAULT_WAIT_S


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
