"""Posts a document's messages, and archives its ended incidents."""

from functools import partial
from itertools import takewhile

from msgspec import Struct, field
from msgspec.structs import replace

from functions.application.documents import LIST_S, STORE_S, archive_path, decode_document, encode, load
from functions.application.ports import Budget, Ports
from functions.domain.cards.facts import page_of_incident
from functions.domain.decisions.waiting import APPROVAL_S
from functions.domain.model.cards import Card, Message
from functions.domain.model.codes import Reason
from functions.domain.model.events import Bundled, MessagesDelivered, Waiting
from functions.domain.model.incidents import Archive, Document
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.parallel import unwrap
from functions.runtime.secrets import redact

POST_S = 10.0
POSTED_WITHIN_S = 30.0  # a younger message may be on its way by the process that saved it
READING_S = 30 * 86400.0  # how long the link in a card opens its incident's page
BUNDLE = "bundle-"  # what the keys of bundles' documents begin with
POST_LEAST_S = 0.5  # seconds. With less time left, a message waits for the wake-up: a post that times out may still arrive


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
    rules, chat = ports.rules, ports.chats.get(channel)
    if chat is not None:
        return chat.post(redact_card(card, rules.public_url), thread=thread, language=rules.language, timeout_s=timeout_s)
    # The configuration lost the channel while the message waited: another gets it, without the approval link.
    instead = next(name for name in (*rules.default_channels, *ports.chats) if name in ports.chats)
    ports.log("WARNING", f"posted to {instead}, since the configuration no longer has the channel {channel}")
    links = tuple(link for link in card.links if not link[1].startswith(f"{rules.public_url}/approve/#"))
    post(ports, instead, replace(card, links=links), None, timeout_s)
    return None


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


def _post_in_order(ports: Ports, document: Document, messages: list[Message], timeout_s: float, done: DeliveryProgress) -> None:
    ends = ports.monotonic() + timeout_s
    for message in messages:
        left_s = ends - ports.monotonic()
        if left_s < POST_LEAST_S:
            break
        # A message without an incident goes into no thread: only followers of the thread would see it.
        place = f"{message.channel}/{message.card.incident}" if message.card.incident else ""
        card = _sign_links(ports, document, message.card)
        try:
            thread = done.threads.get(place) or document.threads.get(place)
            handle = post(ports, message.channel, card, thread, left_s)
        except (Unavailable, Denied) as error:
            about = {"incident": message.card.incident, "channel": message.channel}
            ports.log("ERROR", f"not posted to {message.channel}: {error}", **about)
            break
        done.ids.add(message.id)
        if handle and place:
            done.threads[place] = handle


def _sign_links(ports: Ports, document: Document, card: Card) -> Card:
    """Sign the card's links for approval and to its incident's page; the core has no keys. A link that came with the alert is
    never signed. An approval's token is in the fragment, which browsers don't send, so no request log has it. Both end in `/`:
    chats that detect links in plain text leave out a trailing `_` or `-`, and tokens may end so."""
    signed: dict[str, str] = {}
    if card.nonce:
        page = f"{ports.rules.public_url}/approve/#"
        token = ports.sign_approval(document.key, card.nonce, card.nonce_until or card.at + APPROVAL_S)
        signed[page + card.nonce], card = f"{page}{token}/", replace(card, token=token)
    page = page_of_incident(card.incident, ports.rules)
    if page and page in (url for _, url in card.links):
        signed[page] = f"{page}?link={ports.sign_reading(card.incident, card.at + READING_S)}/"
    return replace(card, links=tuple((label, signed.get(url, url)) for label, url in card.links))


def _is_free(ports: Ports, own_ids: frozenset[str], message: Message) -> bool:
    """Whether this process posts the message: its own, or one that was left. None overtakes an older one of its channel."""
    return message.id in own_ids or ports.now() - message.card.at >= POSTED_WITHIN_S


def deliver_messages(ports: Ports, document: Document, to_post: frozenset[str], budget: Budget) -> MessagesDelivered:
    """Post the messages that are not bundled, all channels at the same time, and archive. Failures are left to the wake-up."""
    direct = [message for message in document.to_tell if not message.bundle]
    done, timeout_s = DeliveryProgress(), budget.at_most(POST_S)
    channels = dict.fromkeys(message.channel for message in direct if message.id in to_post)
    waiting = ([message for message in direct if message.channel == name] for name in channels)
    by_channel = (list(takewhile(partial(_is_free, ports, to_post), messages)) for messages in waiting)
    posts = [partial(_post_in_order, ports, document, messages, timeout_s, done) for messages in by_channel]
    records = [partial(_archive, ports, record, min(STORE_S, timeout_s), done) for record in document.to_archive]
    for result in ports.run_parallel([*posts, *records], timeout_s):
        if not isinstance(result, Unavailable):
            unwrap(result)
    return MessagesDelivered(frozenset(done.ids), dict(done.threads), frozenset(done.archived))


def collect_bundle(ports: Ports, reason: str, own_ids: set[str], budget: Budget) -> Bundled | None:
    """The messages about this reason that wait in any document; None if these ones are in the bundle already."""
    bundled = set(load(ports, bundle_key(reason), budget.at_most(STORE_S))[0].bundled)
    if own_ids <= bundled:
        return None
    waiting: dict[str, Waiting] = {}
    for entry in ports.store.list_documents(timeout_s=budget.at_most(LIST_S)):
        if entry.due is None or entry.key.startswith(BUNDLE):
            continue
        try:
            document, _ = decode_document(entry.key, ports.store.load(entry.key, timeout_s=budget.at_most(STORE_S)))
        except Denied as denied:
            ports.log("WARNING", f"left out of a bundle: {denied}", document=entry.key)
            continue
        for message in document.to_tell:
            if message.bundle == reason and message.id not in bundled:
                name, calls = message.name or message.card.headline, message.card.urgency == "act"
                waiting[message.id] = Waiting(message.channel, name, calls=calls)
    return Bundled(Reason(reason), frozenset(waiting) | own_ids, waiting)


def bundle_key(reason: str) -> str:
    """The key of the document whose messages are those of many, about one reason."""
    return BUNDLE + reason.replace("_", "-")
