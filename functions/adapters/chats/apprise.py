"""Room: everything else (Mattermost, Discord, Rocket.Chat, e-mail, ...) through the library apprise, by its URLs."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from msgspec import Struct

from functions.adapters.chats import _plain, _texts
from functions.application.ports import Finding
from functions.domain.model.messages import Card
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.import_lock import IMPORTING
from functions.runtime.secrets import SecretRef

MAX_CHARACTERS = 20_000
MAX_TITLE = 250
MENTION = re.compile(r"@[\w.:-]{1,80}|<@[!&]?\d{1,20}>")
"""As Mattermost, Discord and Rocket.Chat write it; the forms of the other rooms would only be read out."""

REMEDY = "put a valid apprise URL (such as mmosts://HOST/TOKEN) into the secret"


class Settings(Struct, frozen=True):
    """`url`: an apprise URL, which usually holds a secret."""

    url: SecretRef


def render(card: Card, language: str) -> str:
    """Headline and text; each service's own limit is met when it is posted."""
    return "\n".join(_texts_of(card, language, MAX_CHARACTERS, MAX_TITLE))


def _texts_of(card: Card, language: str, most: int, title_most: int) -> tuple[str, str]:
    """Title and body that together stay within `most`, since many a plugin makes one text of both.

    A twentieth is left for what else it adds by itself, such as mentions that stand in its URL.
    """
    card = _plain.cleaned(card, language)
    headline = f"{_plain.SIGNS.get(card.urgency, '•')} {card.headline}"
    title = _texts.shown(headline, min(title_most or MAX_TITLE, most * 2 // 3), _texts.literal, language)
    mention = _texts.mentioned(card, MENTION)
    room = most - most // 20 - _texts.units(title) - 2 - _texts.units(mention)
    return title, mention + _texts.below(card, language, room, _texts.literal)


def post(settings: Settings, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
    """Post to the service. Raises Denied if the URL is none that apprise knows, Unavailable if it was not taken."""
    ends = time.monotonic() + timeout_s
    service = _service(settings)
    title, body = _texts_of(card, language, service.body_maxlen, service.title_maxlen)
    # Both parts in the time given: apprise has no limit on the whole, and many services take one request.
    service.socket_connect_timeout = service.socket_read_timeout = max(0.1, (ends - time.monotonic()) / 2)
    try:
        # Text for a service of Markdown would be escaped sign by sign, the links too; `literal` has done what is needed.
        declared = None if service.resolve_format("text") == "markdown" else "text"
        taken = service.notify(body=body or title, title=title if body else "", body_format=declared)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and its text may hold the URL
        raise Unavailable("apprise", f"{service.service_name} failed ({type(error).__name__})") from None
    if not taken:
        settings.url.distrust()
        raise Unavailable("apprise", f"{service.service_name} did not take the message")


def _service(settings: Settings) -> Any:
    """The plugin for the URL. Apprise logs URLs, some with their secret, so its log is silenced."""
    with IMPORTING:
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
    service.redirects = False  # as in web.py: another host is not told what this one was meant to get
    return service


def check(settings: Settings, *, timeout_s: float) -> list[Finding]:
    """Only the shape of the URL can be known without posting."""
    return _plain.checked("apprise", lambda: f"{_service(settings).service_name}: can't be tried without posting", ok=None)
