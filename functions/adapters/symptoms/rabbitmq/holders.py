"""Who holds a queue's unacknowledged messages.

The queue's page names its consumers and where they connected from, to everybody who may see it. How many messages each holds, and
what it calls itself, is on the pages of channels and connections, which need the tag `monitoring` (measured on 3.10.8).
A consumer that hangs in its own code answers heartbeats, and its channel's `idle_since` stays at the last delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq.answers import Channel, Page, T, good, shaped, tags_of
from functions.domain.model.observations import Holder, QueueSnapshot
from functions.domain.texts.sanitize import clean
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer

WHOAMI = "/api/whoami"
WITHIN_S = 1.0
"""Nothing depends on who holds a message, so this is all the time that it may take."""
MOST_ASKED = 16
"""Consumers whose channels are read."""
KEPT = 5
NAME = 80
"""Characters of a name or host that a document keeps."""
SEES_ALL = frozenset({"monitoring", "administrator"})

Ask = Callable[[list[str]], Sequence[Answer | Exception]]
"""GET these paths at once: the Answer of each, or the error instead."""


class _Queue(Struct, frozen=True):
    name: str = ""
    vhost: str = ""


class _Consumes(Struct, frozen=True):
    queue: _Queue = _Queue()


class _Channel(Struct, frozen=True):
    messages_unacknowledged: int = 0
    idle_since: str = ""
    """Absent while it works."""
    consumer_details: list[_Consumes] = field(default_factory=list)


class _Connection(Struct, frozen=True):
    client_properties: dict[str, Any] | list[Any] = field(default_factory=dict)
    """An empty list where there are none."""


def sees_all(whoami: Answer | Exception) -> bool:
    """Whether the user has a tag that shows others' channels and connections. Asking without would be logged by the broker."""
    try:
        return not SEES_ALL.isdisjoint(tags_of(whoami))
    except (Denied, Unavailable):
        return False


def with_holders(seen: QueueSnapshot, page: Any, ask: Ask | None) -> QueueSnapshot:
    """The snapshot with who holds its messages, by its page (parsed JSON) and, with `ask`, by channels and connections."""
    try:
        consumers = [one for one in shaped(page, Page).consumer_details or () if one.ack_required]
    except Unavailable:
        return seen
    channels = {one.channel.name: one.channel for one in consumers if one.channel.name}
    if not channels:
        return seen
    asked = dict(list(channels.items())[:MOST_ASKED])
    holders = _ask_who_holds(asked, ask) if ask is not None else ()
    if not holders and len(channels) == 1:
        (only,) = channels.values()
        holders = (Holder(only.peer_host[:NAME], "", seen.unacked),)
    return replace(seen, holders=holders)


def _ask_who_holds(channels: Mapping[str, Channel], ask: Ask) -> tuple[Holder, ...]:
    """One holder for each connection that holds messages, those with the most first. What can't be read is left out."""
    connections = list(dict.fromkeys(channel.connection_name for channel in channels.values()))
    paths = [f"/api/channels/{quote(name, safe='')}" for name in channels]
    paths += [f"/api/connections/{quote(name, safe='')}" for name in connections]
    answers = ask(paths)
    names = dict(zip(connections, map(_name, answers[len(channels) :]), strict=True))
    holders: dict[str, Holder] = {}
    for channel, answer in zip(channels.values(), answers, strict=False):
        held = _read(answer, _Channel)
        if held is None or not held.messages_unacknowledged:
            continue
        only_this_queue = len({(one.queue.vhost, one.queue.name) for one in held.consumer_details}) <= 1
        messages = held.messages_unacknowledged if only_this_queue else None
        one = Holder(channel.peer_host[:NAME], names[channel.connection_name], messages, _since(held.idle_since, answer))
        other = holders.get(channel.connection_name)
        holders[channel.connection_name] = _together(other, one) if other else one
    return tuple(sorted(holders.values(), key=lambda one: (-(one.messages or 0), one.name, one.host))[:KEPT])


def _together(first: Holder, second: Holder) -> Holder:
    """Two channels of one connection: their messages, and since when neither has done anything."""
    messages = None if first.messages is None or second.messages is None else first.messages + second.messages
    since = None if first.since is None or second.since is None else max(first.since, second.since)
    return replace(first, messages=messages, since=since)


def _name(answer: Answer | Exception) -> str:
    """What a connection calls itself; a library's own product name is better than nothing."""
    connection = _read(answer, _Connection)
    properties = connection.client_properties if connection else {}
    if not isinstance(properties, Mapping):
        return ""
    names = (properties.get(key) for key in ("connection_name", "product"))
    return clean(next((name for name in names if isinstance(name, str) and name), ""), NAME, "…")


def _since(idle_since: str, answer: Answer | Exception) -> float | None:
    """When the channel fell idle, on our clock. The broker's clock is known from the answer, to the second."""
    try:
        idle_at = datetime.fromisoformat(idle_since)
    except ValueError:
        return None
    if not isinstance(answer, Answer):
        return None
    try:
        ahead_s = parsedate_to_datetime(answer.headers["date"]).timestamp() - answer.at
    except (KeyError, ValueError):
        ahead_s = 0.0
    return min(answer.at, (idle_at if idle_at.tzinfo else idle_at.replace(tzinfo=UTC)).timestamp() - ahead_s)


def _read(answer: Answer | Exception, shape: type[T]) -> T | None:
    try:
        return shaped(good(answer).json(), shape)
    except (Denied, Unavailable):
        return None
