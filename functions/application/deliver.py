"""Posts a document's messages, and archives its ended incidents."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from functions.application.documents import LIST_S, STORE_S, archive_path, decode_document, encode, load
from functions.application.ports import Budget, Ports, UpdatingChat
from functions.domain.cards.facts import page_of_incident
from functions.domain.decisions.endings import APPROVAL_S
from functions.domain.decisions.messages import call_people
from functions.domain.model.codes import Reason
from functions.domain.model.events import Bundled, Event, MessagesDelivered, Waiting
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.messages import Card, Message
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import unwrap
from functions.runtime.redaction import redact
from functions.runtime.text import Text

POST_S = 10.0
READING_S = 30 * 86400.0  # how long the link in a card opens its incident's page
POST_LEAST_S = 0.5  # seconds. With less time left, a message waits for the wake-up: a post that times out may still arrive

Advance = Callable[[Ports, str, Event, Budget], object]


class DeliveryProgress(Struct):
    """What has been delivered. Each thread records its own progress, so a late thread doesn't lose that of the others."""

    ids: set[str] = field(default_factory=set)
    threads: dict[str, str] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)


def _archive(ports: Ports, record: Archive, timeout_s: float, done: DeliveryProgress) -> None:
    try:
        ports.store.archive(archive_path(record), encode(record), timeout_s=timeout_s)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"not archived: {error}", incident=record.incident.id)
        return
    ports.annotate(record, timeout_s=timeout_s)
    done.archived.add(record.incident.id)


def post(ports: Ports, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
    """Post to the channel of this name. Returns the handle of its thread."""
    chat, card = ports.chats.get(channel), redact_card(card, ports.rules.public_url)
    if chat is None:
        _post_instead(ports, channel, card, timeout_s)
        return None
    return chat.post(card, thread=thread, language=ports.rules.language, timeout_s=timeout_s)


def _update(ports: Ports, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None:
    """Update the thread's first card, if the chat can change one. A failure is made good by the next update or message."""
    chat = ports.chats.get(channel)
    if thread is None or not isinstance(chat, UpdatingChat):
        return thread
    try:
        return chat.update(
            redact_card(card, ports.rules.public_url), thread=thread, language=ports.rules.language, timeout_s=timeout_s
        )
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"a card was not brought up to date in {channel}: {error}", incident=card.incident)
        return thread


def redact_card(card: Card, public_url: str) -> Card:
    """The card without the configured secrets, which a job, a label or an error may have brought. Our own links stay."""
    ours = (public_url,) if public_url else ()
    return replace(
        card,
        headline=redact(card.headline),
        facts=tuple((redact(name), redact(value)) for name, value in card.facts),
        text=tuple(map(redact, card.text)),
        evidence=tuple(map(redact, card.evidence)),
        links=tuple((redact(label), url if url.startswith(ours) else redact(url)) for label, url in card.links),
    )


def _post_instead(ports: Ports, gone: str, card: Card, timeout_s: float) -> None:
    """Post to other channels, without the approval link: the configuration lost the channel while the message waited."""
    instead = next((name for name in ports.rules.default_channels if name in ports.chats), None)
    if instead is None:
        detail = Text("the channel {channel} is not in the configuration", channel=gone)
        raise Denied("chat", detail, remedy=Text("Add `{channel}` to `channels`.", channel=gone))
    ports.log("WARNING", f"posted to {instead}, since the configuration no longer has the channel {gone}")
    links = tuple(link for link in card.links if not link[1].startswith(f"{ports.rules.public_url}/approve/#"))
    post(ports, instead, replace(card, links=links), None, timeout_s)


def _post_in_order(ports: Ports, document: Document, messages: list[Message], timeout_s: float, done: DeliveryProgress) -> None:
    """Post one channel's messages in order. Stop at the first failure, or when the time is up."""
    ends = ports.monotonic() + timeout_s
    for message in messages:
        left_s = ends - ports.monotonic()
        if left_s < POST_LEAST_S:
            break
        # A message without an incident goes into no thread: only followers of the thread would see it.
        place = f"{message.channel}/{message.card.incident}" if message.card.incident else ""
        card = _sign_details_link(ports, _sign_approval_link(ports, document, message.card))
        try:
            thread = done.threads.get(place) or document.threads.get(place)
            send = _update if message.updates else post
            handle = send(ports, message.channel, card, thread, left_s)
        except (Unavailable, Denied) as error:
            about = {"incident": message.card.incident, "channel": message.channel}
            ports.log("ERROR", f"not posted to {message.channel}: {error}", **about)
            break
        done.ids.add(message.id)
        if handle and place:
            done.threads[place] = handle


def _sign_approval_link(ports: Ports, document: Document, card: Card) -> Card:
    """Sign the card's approval link; the core has no keys. A link that came with the alert is never signed. The token is in the
    fragment, which browsers don't send, so no request log has it. It ends in `/`: chats that detect links in plain text leave
    out a trailing `_` or `-`, and tokens may end so."""
    if not card.nonce:
        return card
    page = f"{ports.rules.public_url}/approve/#"
    expires_at = card.nonce_until or card.at + APPROVAL_S
    token = ports.sign_approval(document.key, card.nonce, expires_at)
    signed = f"{page}{token}/"
    links = tuple((label, signed if url == page + card.nonce else url) for label, url in card.links)
    return replace(card, links=links, token=token)


def _sign_details_link(ports: Ports, card: Card) -> Card:
    """Sign the card's link to its incident's page; it opens no other. Its address ends in `/`, as an approval's."""
    page = page_of_incident(card.incident, ports.rules)
    if not page or page not in (url for _, url in card.links):
        return card
    signed = f"{page}?link={ports.sign_reading(card.incident, card.at + READING_S)}/"
    return replace(card, links=tuple((label, signed if url == page else url) for label, url in card.links))


def post_to_all(ports: Ports, channels: Iterable[str], card: Card, failure: str = "") -> dict[str, str]:
    """Post to these channels at once, and to those of `escalate` if urgent. Returns channel -> problem, empty if posted.
    `failure`: how the log line about a problem begins; empty: there is none."""
    card, names = call_people(ports.rules, None, card, tuple(channels))
    results = ports.run_parallel([partial(post, ports, name, card, None, POST_S) for name in names], POST_S)
    problems = {name: _problem(result) for name, result in zip(names, results, strict=True)}
    for name, problem in problems.items():
        if failure and problem:
            ports.log("ERROR", f"{failure}{name}: {problem}", channel=name)
    return problems


def _problem(result: Any) -> str:
    if isinstance(result, Denied):
        return f"{result.detail}. {result.remedy}".rstrip(". ") + "."
    if isinstance(result, Unavailable):
        return f"{result.detail}."
    unwrap(result)
    return ""


def deliver_messages(ports: Ports, document: Document, to_post: frozenset[str], budget: Budget) -> MessagesDelivered:
    """Post the messages that are not bundled, all channels at the same time, and archive. Failures are left to the wake-up."""
    direct = [message for message in document.to_tell if message.id in to_post and not message.bundle]
    done, timeout_s = DeliveryProgress(), budget.at_most(POST_S)
    channels = dict.fromkeys(message.channel for message in direct)
    by_channel = ([message for message in direct if message.channel == name] for name in channels)
    posts = [partial(_post_in_order, ports, document, messages, timeout_s, done) for messages in by_channel]
    records = [partial(_archive, ports, record, min(STORE_S, timeout_s), done) for record in document.to_archive]
    for result in ports.run_parallel([*posts, *records], timeout_s):
        if not isinstance(result, Unavailable):
            unwrap(result)
    return MessagesDelivered(frozenset(done.ids), dict(done.threads), frozenset(done.archived))


def hand_to_bundles(ports: Ports, messages: list[Message], advance: Advance, budget: Budget) -> set[str]:
    """Move bundled messages to the bundle's document, with all others of their kind that are waiting."""
    ids: set[str] = set()
    for reason in dict.fromkeys(message.bundle for message in messages):
        own_ids = {message.id for message in messages if message.bundle == reason}
        key = f"bundle-{reason.replace('_', '-')}"
        try:
            bundled = set(load(ports, key, budget.at_most(STORE_S))[0].bundled)
            if not own_ids <= bundled:
                waiting = _collect_bundle(ports, reason, bundled, budget)
                advance(ports, key, Bundled(Reason(reason), frozenset(waiting) | own_ids, waiting), budget)
            ids |= own_ids
        except (Unavailable, Denied) as error:
            ports.log("WARNING", f"messages about {reason} wait for the next wake-up: {error}")
    return ids


def _collect_bundle(ports: Ports, reason: str, bundled: set[str], budget: Budget) -> dict[str, Waiting]:
    """Collect the messages about this reason that wait in any document and are not yet in `bundled` (by id)."""
    waiting: dict[str, Waiting] = {}
    for entry in ports.store.list_documents(timeout_s=budget.at_most(LIST_S)):
        if entry.due is None or entry.key.startswith("bundle-"):
            continue
        stored = ports.store.load(entry.key, timeout_s=budget.at_most(STORE_S))
        try:
            document, _ = decode_document(entry.key, stored)
        except Denied as denied:
            ports.log("WARNING", f"left out of a bundle: {denied}", document=entry.key)
            continue
        for message in document.to_tell:
            if message.bundle == reason and message.id not in bundled:
                name, calls = message.name or message.card.headline, message.card.urgency == "act"
                waiting[message.id] = Waiting(message.channel, name, message.link, calls=calls)
    return waiting
