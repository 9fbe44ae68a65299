"""Room: everything else (Mattermost, Discord, Rocket.Chat, e-mail, ...) through the library apprise, by its URLs."""

from __future__ import annotations

import logging
import time
from typing import Any

from msgspec import Struct

from functions.chats import _plain
from functions.errors import Denied, Unavailable
from functions.model import Card, Finding
from functions.secret_store import SecretRef

MAX_CHARACTERS = 20_000
SHORTEST_BODY = 60
REMEDY = "put a valid apprise URL (such as mmosts://HOST/TOKEN) into the secret"


class Settings(Struct, frozen=True):
    """`url`: an apprise URL, which usually holds a secret."""

    url: SecretRef


def render(card: Card, language: str) -> str:
    """Headline and text; each service's own limit is met when it is posted."""
    return _plain.fitted(card, language, lambda shown: _text(shown, language), lambda text: len(text) <= MAX_CHARACTERS)


def _text(card: Card, language: str) -> str:
    headline = _unmarked(f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}")
    mention = (" ".join(card.mention),) if card.mention else ()
    return "\n".join((headline, *mention, *(_unmarked(line) for line in _plain.lines(card, language))))


def _unmarked(text: str) -> str:
    """Without mentions and named links, whatever the service's markup: the configured ones are added as they are."""
    for sign, harmless in (("<", "‹"), (">", "›"), ("@", "@\u200b"), ("](", "] (")):  # a zero-width space behind the @
        text = text.replace(sign, harmless)
    return text


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Post to the service. Raises Denied if the URL is none that apprise knows, Unavailable if it was not taken."""
    ends = time.monotonic() + timeout_s
    service = _service(settings)
    title, _, body = render(card, language).partition("\n")
    room = service.body_maxlen - (0 if service.title_maxlen else len(title) + 2)
    body = _plain.cut(body, max(SHORTEST_BODY, room), language)
    # Both parts in the time given: apprise has no limit on the whole, and many services take one request.
    service.socket_connect_timeout = service.socket_read_timeout = max(0.1, (ends - time.monotonic()) / 2)
    try:
        taken = service.notify(body=body, title=_plain.cut(title, service.title_maxlen or 200, language), body_format="text")
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and its text may hold the URL
        raise Unavailable("apprise", f"{service.service_name} failed ({type(error).__name__})") from None
    if not taken:
        settings.url.distrust()
        raise Unavailable("apprise", f"{service.service_name} did not take the message")


def _service(settings: Settings) -> Any:
    """The plugin for the URL. Apprise logs URLs, some with their secret, so its log is silenced."""
    import apprise  # 0.6 s and 28 MiB with its plugins: only where a channel of this type is configured

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it writes the path, which is a webhook's secret
    url = settings.url.read().decode(errors="replace").strip()
    try:
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    except Exception:  # noqa: BLE001 - as above
        service = None
    if service is None:
        raise Denied("apprise", "the secret is no URL that apprise knows", remedy=REMEDY)
    return service


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Only the shape of the URL can be known without posting."""
    return _plain.checked("apprise", lambda: f"{_service(settings).service_name}: can't be tried without posting", ok=None)
