"""Events that only concern messages: what was delivered, what is bundled, and warnings about Unstick itself."""

from msgspec.structs import replace

from functions.domain.cards.card_input import CardInput
from functions.domain.decisions.turn import Turn
from functions.domain.model.events import Bundled, MessagesDelivered, TokenExpiring, Unsigned, Waiting
from functions.domain.model.messages import CardKind

WEEK_S, DAY_S = 7 * 86400.0, 86400.0
BUNDLES_KEPT_S = 86400.0
THREADS_KEPT = 20


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
    turn.document = replace(document, bundled={**recent, **dict.fromkeys(sorted(new), turn.at)})
    by_channel: dict[str, list[Waiting]] = {}
    for message, waiting in event.waiting.items():
        if message in new:  # another process may have collected the same messages
            by_channel.setdefault(waiting.channel, []).append(waiting)
    for channel, together in by_channel.items():
        links = {waiting.name: waiting.link for waiting in together if waiting.link}
        names, is_calm = tuple(waiting.name for waiting in together), not any(waiting.calls for waiting in together)
        card_input = CardInput(CardKind.BUNDLE, turn.at, reason=event.reason, bundled=names, bundled_links=links, is_calm=is_calm)
        turn.post(card_input, f"{document.key}-{turn.at:.3f}", (channel,))


def on_token_expiring(turn: Turn, _: TokenExpiring) -> None:
    """Warn twice before the runner's token expires: a week ahead, and a day ahead."""
    document, expires_at = turn.document, turn.rules.token_expires_at
    if expires_at is None or turn.at < expires_at - WEEK_S:
        return
    token = f"{document.key}-{expires_at:.0f}"
    _post_once(turn, CardKind.EXPIRING, f"{token}-{'day' if turn.at >= expires_at - DAY_S else 'week'}", token)


def on_unsigned(turn: Turn, event: Unsigned) -> None:
    """Report, at most once an hour, that alerts wait whose key is gone."""
    mark = f"{turn.document.key}-{turn.at // 3600:.0f}"
    _post_once(turn, CardKind.UNSIGNED, mark, mark, event.names)


def _post_once(turn: Turn, kind: CardKind, mark: str, keep: str, names: tuple[str, ...] = ()) -> None:
    """Post a message unless its mark is noted already. Marks that begin with `keep` stay noted."""
    noted = turn.document.bundled
    if mark not in noted:
        kept = {known: at for known, at in noted.items() if known.startswith(keep)}
        turn.document = replace(turn.document, bundled={**kept, mark: turn.at})
        turn.post(CardInput(kind, turn.at, bundled=names), mark)
