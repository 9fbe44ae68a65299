"""Client of RabbitMQ's management API: reads whether queues are stuck or healthy.

Sends two kinds of requests in parallel, since neither has everything (measured on 3.10.8): the paged list with totals has the
depth of many queues, live for classic queues and up to 5 s late for quorum queues; a queue's own page has consumers, counters and
samples, up to 9 s late. Needed: the tag `management` and permissions on the vhost that allow nothing (`^$` three times)."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms.rabbitmq import SYSTEM, RabbitMQ
from functions.adapters.symptoms.rabbitmq.answers import (
    NOT_FOUND,
    SEES_ALL,
    ChannelPage,
    Consumer,
    Page,
    Totals,
    User,
    columns_of,
    live,
    login_failed,
    read,
)
from functions.adapters.symptoms.rabbitmq.snapshot import (
    add_channels,
    connection_path,
    find_fresh,
    find_hung,
    read_snapshot,
    with_names,
    with_nodes,
)
from functions.application.ports import Query, QueueOutcome
from functions.domain.health.samples import RECENT_S, rise_within
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import MAX_ANSWER_BYTES, Answer, ask_all, request, shaped
from functions.runtime.parallel import MOST_THREADS
from functions.runtime.secrets import with_newest
from functions.runtime.text import Text, named

WHOAMI = "/api/whoami"
NODES = "/api/nodes?columns=name,running,uptime"
FINE_STEP_S, FINE_REACH_S = 5, 600
COARSE_STEP_S, COARSE_REACH_S = 60, 3600  # how the broker keeps samples of queues by default (`sample_retention_policies.basic`)
CURVE_S = 120  # samples are requested at least this far back, for the curve of the depth
SLACK_S = 3 * FINE_STEP_S
"""Requested in addition to the judged period, since the newest sample may be one collection and one step old."""
PAGE_SHARE = 0.8
"""Share of the whole time: a slow page leaves time to report that, and never delays the live depth."""
COLUMNS = ",".join(columns_of(Page))
"""Without them a queue's page has kilobytes for each consumer."""
PAGES_AT_ONCE = 4  # in one look; more gain nothing (measured)
PAGE_BYTES = 256 * 1024  # of a channel's or connection's page, which has 14 kB
WHOAMI_S = 1.0  # the user behind the credentials. Without an answer nothing is requested that needs the tag
MOST_OF_QUEUE = 64  # pages of channels of one queue in a look: 0.8 MB, 0.3 s
MOST_OF_LOOK = 128  # in a look at several queues
MOST_CONNECTIONS = 32  # pages of connections in a look
TURN = 0.1236
"""Where not all of a queue's channels are read, each second moves on by this part of them: multiples of the golden ratio, so that
checks that come every 5, 10, 15 ... s read others each time."""
T = TypeVar("T")


class Look(Struct, frozen=True):
    """A queue whose channels may be read."""

    snapshot: QueueSnapshot
    query: Query
    own: Mapping[str, Consumer]  # its consumers that acknowledge messages, by the names of their channels
    channels: tuple[str, ...] = ()  # the names of those to read now

    def path(self, channel: str) -> str:
        return f"/api/channels/{quote(channel, safe='')}?{urlencode(sample_query(self.query.for_s, self.query.reach_s))}"


Ask = Callable[[Sequence[str]], Mapping[str, Answer | Exception]]
"""Sends GETs for these paths: the Answer of each, or the error in its place."""


def look_all(
    settings: RabbitMQ, queries: Sequence[Query], *, timeout_s: float, listed: Mapping[str, Answer] = MappingProxyType({})
) -> list[QueueOutcome]:
    """Each queue's current state, with samples over at least this many seconds if the broker keeps them (an hour). `listed`: the
    live totals that are known already, by the queue's key.

    The live depth doesn't need the queue's page. Without a live depth, the queue's place has Denied or Unavailable. With the tag
    `monitoring` the consumers' channels are read in a second round trip, one by one and as many as the bounds allow, and in a
    third the connections of those that hang; each has at most half of the time that is left."""
    ends = time.monotonic() + timeout_s
    totals = {query.queue.key: totals_path(query.queue) for query in queries if query.queue.key not in listed}
    pages = {query.queue.key: page_path(query.queue, query.for_s, query.reach_s) for query in queries}
    paths = {**dict.fromkeys(totals.values(), timeout_s), **dict.fromkeys(pages.values(), timeout_s * PAGE_SHARE)}
    outcomes = ask(settings, {**paths, WHOAMI: WHOAMI_S}, timeout_s=timeout_s)
    user = _read(outcomes[WHOAMI], User, Text("the user's tags can't be read"))
    results: dict[str, QueueOutcome] = {}
    looks: dict[str, Look] = {}
    for query in queries:
        key, page = query.queue.key, read_page(outcomes[pages[query.queue.key]])
        try:
            snapshot = to_snapshot(query.queue, listed.get(key) or outcomes[totals[key]], page)
        except (Unavailable, Denied) as error:
            results[key] = error
            continue
        if isinstance(user, Unknown):
            snapshot = replace(snapshot, unseen=user)
        elif not SEES_ALL.isdisjoint(user.tags):
            own = page.own_channels if isinstance(page, Page) and page.consumer_details is not None else None
            snapshot = replace(snapshot, channels=None if own is None else ())
            waits = snapshot.ready and not rise_within(snapshot.history.pushed, RECENT_S)
            if query.first or snapshot.unacked or waits:  # worth another round trip
                looks[key] = Look(snapshot, query, own or {})
        results[key] = snapshot

    def ask_more(paths: Sequence[str]) -> dict[str, Answer | Exception]:
        left_s = (ends - time.monotonic()) / 2
        return ask(settings, dict.fromkeys(paths, left_s), timeout_s=left_s, pages=True)

    results |= add_details(looks, ask_more) if looks else {}
    return [results[query.queue.key] for query in queries]


def add_details(looks: Mapping[str, Look], ask: Ask) -> dict[str, QueueSnapshot]:
    """The snapshots (by queue key) with their consumers' channels, the cluster's nodes, and the names of who hangs.
    A list of channels is never requested: it computes all channels of the cluster, however it is filtered, and raised the memory
    alarm of a broker with 5,000 (measured on 3.10, 4.0 and 4.3). A channel's own page costs the same in a cluster of any size."""
    chosen = dict(zip(looks, choose_channels(list(looks.values())), strict=True))
    answers = ask([NODES, *dict.fromkeys(look.path(name) for look in chosen.values() for name in look.channels)])
    details = {}
    for key, look in chosen.items():
        snapshot = find_fresh(_read_channels(look, answers)) if look.own else look.snapshot
        details[key] = with_nodes(snapshot, answers[NODES])
    hung = {key: find_hung(snapshot, looks[key].query.for_s) for key, snapshot in details.items()}
    paths = dict.fromkeys(connection_path(channel) for channels in hung.values() for channel in channels)
    connections = ask(list(paths)[:MOST_CONNECTIONS]) if paths else {}
    return {key: with_names(snapshot, hung[key], connections) for key, snapshot in details.items()}


def choose_channels(looks: Sequence[Look]) -> list[Look]:
    """The looks, each with the channels to read now: those that an incident proved before others."""
    most = min(MOST_OF_QUEUE, max(MOST_OF_LOOK // max(sum(bool(look.own) for look in looks), 1), 1))
    return [replace(look, channels=tuple(_in_order(look)[:most])) for look in looks]


def _in_order(look: Look) -> list[str]:
    first = [name for name in dict.fromkeys(look.query.first) if name in look.own]
    rest = sorted(look.own.keys() - set(first))
    start = int(look.snapshot.at * TURN % 1 * len(rest))
    return [*first, *rest[start:], *rest[:start]]


def _read_channels(look: Look, answers: Mapping[str, Answer | Exception]) -> QueueSnapshot:
    """The snapshot with the channels that could be read, and why others could not. A closed channel's page is 404 at once."""
    pages: list[ChannelPage] = []
    errors: list[Denied | Unavailable] = []
    for answer in (answers[look.path(name)] for name in sorted(look.channels)):
        if isinstance(answer, Answer) and answer.status == NOT_FOUND:
            continue
        try:
            pages.append(read(answer, ChannelPage))
        except (Denied, Unavailable) as error:
            errors.append(error)
    return replace(add_channels(look.snapshot, look.query.queue, look.own, pages), unseen=_find_unseen(look, errors))


def _find_unseen(look: Look, errors: Sequence[Denied | Unavailable]) -> Unknown | None:
    if errors:
        why = Text("{count} of its consumers' channels can't be read: {error}", count=len(errors), error=errors[0].detail)
        return Unknown(why, late=isinstance(errors[0], Unavailable), remedy=errors[0].remedy)
    if len(look.channels) == len(look.own):
        return None
    why = Text("{count} of the {all} channels of its consumers were read", count=len(look.channels), all=len(look.own))
    remedy = Text(
        "Each check reads others, so a hung consumer is found later. `oldest` in the symptom needs no channels; more queues with "
        "fewer consumers each help too."
    )
    return Unknown(why, late=True, remedy=remedy)


def to_snapshot(queue: QueueRef, totals: Answer | Exception, page: Page | Unknown) -> QueueSnapshot:
    """The queue according to the answers. Raises Denied or Unavailable if its depth is unknown."""
    answer = live(totals)
    return read_snapshot(queue, shaped(SYSTEM, answer.json(), Totals), page, at=answer.at)


def read_page(outcome: Answer | Exception) -> Page | Unknown:
    """The queue's page, or why it can't be read."""
    return _read(outcome, Page, Text("the queue's page can't be read"))


def _read(outcome: Answer | Exception, shape: type[T], what: Text) -> T | Unknown:
    try:
        return read(outcome, shape)
    except (Unavailable, Denied) as error:
        late = isinstance(error, Unavailable) and error.late
        return Unknown(named(what, error.detail), late=late, remedy=error.remedy)


def totals_path(queue: QueueRef) -> str:
    """The list of queues with live totals, limited to this one. `use_regex` matches anywhere in a name and ignores case (PCRE),
    hence the anchors here and the comparison of the results."""
    query = {"disable_stats": "true", "enable_queue_totals": "true", "page": "1", "page_size": "100", "use_regex": "true"}
    name = re.sub(r"[\x00-\x7f]", lambda sign: sign[0] if sign[0].isalnum() else f"\\{sign[0]}", queue.keys["queue"])
    query["name"] = f"^{name}$"
    return f"/api/queues/{quote(queue.keys['vhost'], safe='')}?{urlencode(query, quote_via=quote)}"


def page_path(queue: QueueRef, for_s: float, reach_s: float = 0.0) -> str:
    """The queue's page with samples of its figures, as far back as `sample_query` says."""
    rates = sample_query(for_s, reach_s)
    lengths = {name.replace("msg_rates", "lengths"): value for name, value in rates.items()}
    query = urlencode({**lengths, **rates, "columns": COLUMNS}, safe=",")
    return f"/api/queues/{quote(queue.keys['vhost'], safe='')}/{quote(queue.keys['queue'], safe='')}?{query}"


def sample_query(for_s: float, reach_s: float = 0.0) -> dict[str, int]:
    """The query for samples of counters: over three times `for_s` and over `reach_s`, if the broker keeps that many at the fine
    step."""
    fine, wanted = for_s + SLACK_S <= FINE_REACH_S, max(3 * for_s, reach_s)
    step, reach, wanted = (FINE_STEP_S, FINE_REACH_S, wanted) if fine else (COARSE_STEP_S, COARSE_REACH_S, for_s)
    age = min(reach, step * math.ceil(max(wanted + SLACK_S, CURVE_S) / step))
    return {"msg_rates_age": age, "msg_rates_incr": step}


def ask(settings: RabbitMQ, limits: Mapping[str, float], *, timeout_s: float, pages: bool = False) -> dict[str, Any]:
    """GET all paths at the same time, each with this time-out: the Answer of each, or the error in its place. `pages`: of
    channels and connections, of which only PAGES_AT_ONCE are requested at a time."""
    ends = time.monotonic() + timeout_s

    def ask_as(password: bytes) -> dict[str, Any]:
        def get(path: str, limit_s: float) -> Answer:
            auth, max_bytes = (settings.user.encode(), password), PAGE_BYTES if pages else MAX_ANSWER_BYTES
            url = settings.url.rstrip("/") + path
            return request(SYSTEM, "GET", url, timeout_s=limit_s, auth=auth, ca=settings.ca, max_bytes=max_bytes)

        return ask_all(SYSTEM, limits, ends, get, at_once=PAGES_AT_ONCE if pages else MOST_THREADS)

    return with_newest(settings.password, ask_as, lambda outcomes: any(map(login_failed, outcomes.values())))
