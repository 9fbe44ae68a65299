"""Events that only concern messages: what was delivered, what is bundled, and alerts that nobody signed."""

from msgspec.structs import replace

from functions.domain.cards.content import CardInput
from functions.domain.decisions.turn import Turn
from functions.domain.model.events import Bundled, MessagesDelivered, Unsigned, Waiting
from functions.domain.model.messages import CardKind

BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20
BUNDLED_KEPT = 1000


def on_delivered(turn: Turn, event: MessagesDelivered) -> None:
    """Forget what was posted and archived."""
    document = turn.document
    unposted = tuple(message for message in document.to_tell if message.id not in event.ids)
    unarchived = tuple(record for record in document.to_archive if record.incident.id not in event.archived)
    threads = dict(list({**document.threads, **event.threads}.items())[-THREADS_KEPT:])
    turn.document = replace(document, to_tell=unposted, to_archive=unarchived, threads=threads)


def on_bundle(turn: Turn, event: Bundled) -> None:
    """Take over messages from several documents about one reason, each message once."""
    document = turn.document
    new = event.ids - set(document.bundled)
    if not new:
        return
    recent = {name: at for name, at in document.bundled.items() if turn.at - at < BUNDLES_KEPT_S}
    bundled = list({**recent, **dict.fromkeys(sorted(new), turn.at)}.items())[-BUNDLED_KEPT:]
    turn.document = replace(document, bundled=dict(bundled))
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput(CardKind.BUNDLE, turn.at, reason=event.reason, bundled=names, bundled_links=links, is_calm=is_calm)
        turn.post(card_input, f"{document.key}-{turn.at:.3f}", (channel,))


def on_unsigned(turn: Turn, event: Unsigned) -> None:
    """Report, at most once an hour, that alerts wait whose key is gone."""
    mark = f"{turn.document.key}-{turn.at // 3600:.0f}"
    if mark not in turn.document.bundled:
        turn.document = replace(turn.document, bundled={mark: turn.at})
        turn.post(CardInput(CardKind.UNSIGNED, turn.at, bundled=event.names), mark)
