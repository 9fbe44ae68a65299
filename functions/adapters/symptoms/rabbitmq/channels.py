"""Which channels of a queue's consumers are read, and what their pages show.

A list of channels is never requested: it computes all channels of the cluster, however it is filtered, and raised the memory
alarm of a broker with 5,000 (measured on 3.10, 4.0 and 4.3). A channel's own page costs the same in a cluster of any size."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import NOT_FOUND, ChannelPage, Consumer, Page, Samples, good, shaped
from functions.application.ports import Query
from functions.domain.model import observations
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import Channel, QueueSnapshot, Unknown
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer
from functions.runtime.text import Text

MOST_OF_QUEUE = 64  # pages of one queue in a look: 0.8 MB, 0.3 s
MOST_OF_LOOK = 128  # pages in a look at several queues
TURN = 0.1236
"""Where not all of a queue's channels are read, each second moves on by this part of them: multiples of the golden ratio, so that
checks that come every 5, 10, 15 ... s read others each time."""
NAME = 80  # maximum length of a host in a document


class Look(Struct, frozen=True):
    """A queue whose channels may be read."""

    seen: QueueSnapshot
    query: Query
    own: Mapping[str, Consumer]  # its consumers that acknowledge messages, by the names of their channels
    samples: Mapping[str, int]  # the query for samples
    channels: tuple[str, ...] = ()  # the names of those to read now

    def path(self, channel: str) -> str:
        return f"/api/channels/{quote(channel, safe='')}?{urlencode(self.samples)}"


def own_channels(page: Page) -> dict[str, Consumer]:
    """The consumers that acknowledge messages, by the names of their channels."""
    return {one.channel.name: one for one in page.present if one.ack_required and one.channel.name}


def choose_channels(looks: Sequence[Look]) -> list[Look]:
    """The looks, each with the channels to read now: those that an incident proved before others, and in turns where there are
    more than one look may read."""
    queues = [iter(_in_order(look)[:MOST_OF_QUEUE]) for look in looks]
    chosen: list[list[str]] = [[] for _ in looks]
    paths: set[str] = set()
    waiting = list(range(len(looks)))
    while waiting:
        for place in tuple(waiting):
            name = next(queues[place], None)
            path = looks[place].path(name) if name is not None else ""
            if name is None or (len(paths) >= MOST_OF_LOOK and path not in paths):
                waiting.remove(place)
                continue
            chosen[place].append(name)
            paths.add(path)
    return [replace(look, channels=tuple(names)) for look, names in zip(looks, chosen, strict=True)]


def _in_order(look: Look) -> list[str]:
    first = [name for name in dict.fromkeys(look.query.first) if name in look.own]
    rest = sorted(look.own.keys() - set(first))
    start = int(look.seen.at * TURN % 1 * len(rest))
    return [*first, *rest[start:], *rest[:start]]


def read_channels(look: Look, answers: Mapping[str, Answer | Exception]) -> QueueSnapshot:
    """The snapshot with the channels that could be read, and why others could not. A closed channel's page is 404 at once."""
    pages: list[ChannelPage] = []
    errors: list[Denied | Unavailable] = []
    for answer in (answers[look.path(name)] for name in sorted(look.channels)):
        if isinstance(answer, Answer) and answer.status == NOT_FOUND:
            continue
        try:
            pages.append(shaped(good(answer).json(), ChannelPage))
        except (Denied, Unavailable) as error:
            errors.append(error)
    seen = add_channels(look.seen, look.query.queue, look.own, pages)
    return replace(seen, unseen=_find_unseen(look, errors))


def _find_unseen(look: Look, errors: Sequence[Denied | Unavailable]) -> Unknown | None:
    if errors:
        why = Text("{count} of its consumers' channels can't be read: {error}", count=len(errors), error=errors[0].detail)
        slow = Text("See why RabbitMQ's management API is slow.") if all(_is_late(error) for error in errors) else ""
        return Unknown(why, late=isinstance(errors[0], Unavailable), remedy=errors[0].remedy or slow)
    if len(look.channels) == len(look.own):
        return None
    why = Text("{count} of the {all} channels of its consumers were read", count=len(look.channels), all=len(look.own))
    remedy = Text(
        "Each check reads others, so a hung consumer is found later. `oldest` in the symptom needs no channels; more queues with "
        "fewer consumers each help too."
    )
    return Unknown(why, late=True, remedy=remedy)


def _is_late(error: Denied | Unavailable) -> bool:
    return isinstance(error, Unavailable) and error.late


def add_channels(
    seen: QueueSnapshot, queue: QueueRef, own: Mapping[str, Consumer], pages: Sequence[ChannelPage]
) -> QueueSnapshot:
    """The snapshot with the channels that have these pages."""
    channels = tuple(_to_channel(queue, own[page.name], page) for page in pages if page.name in own)
    return replace(seen, channels=channels, holding=sum(one.held > 0 for one in channels))


def _to_channel(queue: QueueRef, consumer: Consumer, page: ChannelPage) -> Channel:
    traffic = page.traffic
    others = (one for one in page.consumer_details if one.ack_required and one.queue.name != queue.keys["queue"])
    return Channel(
        page.name,
        consumer.channel.peer_host[:NAME],
        held=page.messages_unacknowledged,
        counted=(traffic.deliver or 0) + (traffic.get or 0) - (traffic.ack or 0),
        work=to_series(traffic.deliver_details, traffic.get_details, traffic.ack_details),
        redeliveries=to_series(traffic.redeliver_details),
        returned=traffic.redeliver if traffic.redeliver is not None or traffic.deliver is None else 0,
        shared=any(others),
        user=page.user[:NAME],
        window=page.window,
    )


def to_series(*parts: Samples) -> observations.Samples:
    """(seconds, value) by time, oldest first; values of the same time are added up."""
    by_time: dict[int, int] = {}
    for one in (sample for part in parts for sample in part.samples):
        by_time[one.timestamp] = by_time.get(one.timestamp, 0) + one.sample
    return tuple((at / 1000, value) for at, value in sorted(by_time.items()))
