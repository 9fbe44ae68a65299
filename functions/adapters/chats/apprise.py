"""All other services (Teams, Mattermost, Discord, Rocket.Chat, e-mail, ...), by the URLs of the library apprise."""

import logging
import re
import time
from typing import Any

from msgspec import Struct

from functions.adapters.chats import _plain_text, _shared
from functions.application.ports import Chat, Finding
from functions.domain.model.cards import Card
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.secrets import SecretRef

MAX_CHARACTERS = 20_000
MAX_TITLE = 250
MENTION = re.compile(r"@[\w.:-]{1,80}|<@[!&]?\d{1,20}>")
"""The forms of Mattermost, Discord and Rocket.Chat. These services show the forms of other chats as plain text."""
IN_TEAMS = re.compile(r"<at>[^<>\s]{1,200}</at>")

TYPES = {"act": "failure", "fine": "success"}  # the urgencies that open an alert at a pager, and that close it
REMEDY = "put a valid apprise URL (such as mmosts://HOST/TOKEN) into the secret"


class Apprise(Struct, frozen=True):
    """`url`: an apprise URL, which usually holds a secret."""

    url: SecretRef

    def post(self, card: Card, *, thread: str | None, language: str, timeout_s: float) -> None:
        """Post to the service. Raises Denied if apprise does not know the URL, Unavailable if the service refused the message."""
        ends = time.monotonic() + timeout_s
        service = self._load_service()
        if hasattr(service, "dedup") and card.urgency not in TYPES:  # PagerDuty, which calls people
            return
        notify_type = _tie_to_incident(service, card)
        is_teams = hasattr(service, "adaptive_card_version")
        mention = IN_TEAMS if is_teams else MENTION
        title, body = _title_and_body(card, language, service.body_maxlen, service.title_maxlen, mention)
        if is_teams:  # Teams joins lines, as Markdown does, unless a blank one is between them
            body = re.sub("\n+", "\n\n", body)
        # Half of the time each for connecting and reading: apprise has no overall limit, and most services take one request.
        service.socket_connect_timeout = service.socket_read_timeout = max(0.1, (ends - time.monotonic()) / 2)
        try:
            # Apprise would escape Markdown character by character, including links; `escape_markup` did that to what needs it.
            body_format = None if service.resolve_format("text") == "markdown" else "text"
            accepted = service.notify(
                body=body or title, title=title if body else "", notify_type=notify_type, body_format=body_format
            )
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and its text may contain the URL
            raise Unavailable("apprise", f"{service.service_name} failed ({type(error).__name__})") from None
        if not accepted:
            self.url.invalidate()
            raise Unavailable("apprise", f"{service.service_name} did not accept the message")

    def _load_service(self) -> Any:
        """The plugin for the URL. Apprise's log is disabled because it contains URLs, some with secrets."""
        import apprise  # 0.6 s and 28 MiB with its plugins: only if a channel of this type is configured

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it logs the path, which is a webhook's secret
        url = self.url.read().decode(errors="replace").strip()
        try:
            service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        except Exception:  # noqa: BLE001 - as above
            service = None
        if service is None:
            raise Denied("apprise", "the secret is not a URL that apprise knows", remedy=REMEDY)
        service.redirects = False  # no redirects, as in http_client: another host must not get the message
        return service

    def check(self, *, timeout_s: float) -> list[Finding]:
        return [Finding("apprise", ok=None, detail=f"{self._load_service().service_name}: can't be tried without posting")]


def render(card: Card, language: str) -> str:
    """Headline and text. `post` applies the service's limits."""
    return "\n".join(_title_and_body(card, language, MAX_CHARACTERS, MAX_TITLE, MENTION))


def _title_and_body(card: Card, language: str, limit: int, title_limit: int, form: re.Pattern[str]) -> tuple[str, str]:
    """Title and body that together stay within `limit`, since many plugins join them into one text. A twentieth is left for
    what the plugin itself adds, such as mentions in its URL."""
    card = _shared.clean_card(card, language)
    title_limit = min(title_limit or MAX_TITLE, limit * 2 // 3)
    title = _shared.fit_text(_shared.show_headline(card), title_limit, _plain_text.escape_markup, language)
    mention = _plain_text.write_mentions(card, form)
    left = limit - limit // 20 - _shared.count_units(title) - 2 - _shared.count_units(mention)
    return title, mention + _plain_text.lay_out_body(card, language, left, _plain_text.escape_markup)


def _tie_to_incident(service: Any, card: Card) -> str:
    """Give an incident's messages a common key if the service supports one. Returns apprise's type of the message. PagerDuty
    groups by the key and resolves on `success`. JSON, XML and forms contain incident and urgency, for receivers such as Grafana
    OnCall. Other services get `info`, because they show types as pictures."""
    incident = re.sub(r"[^A-Za-z0-9-]", "", card.incident)[:80]  # the form of our ids; a card may come from elsewhere
    if hasattr(service, "dedup"):
        service.dedup, service.action = service.dedup or incident or None, "map"
    elif hasattr(service, "payload_extras"):
        service.payload_extras |= {"incident": incident, "urgency": card.urgency if card.urgency in _shared.SIGNS else ""}
    else:
        return "info"
    return TYPES.get(card.urgency, "warning")


ADAPTER: type[Chat] = Apprise
