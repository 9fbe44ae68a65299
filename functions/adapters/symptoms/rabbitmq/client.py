"""Client of RabbitMQ's management API: reads whether queues are stuck or healthy.

Sends two kinds of requests in parallel, since neither has everything (measured on 3.10.8): the paged list with totals has the
live depth of many queues; a queue's own page has consumers, counters and samples, up to 9 s late. Needed: the tag `management`
and permissions on the vhost that allow nothing (`^$` three times)."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms._http import ask_all
from functions.adapters.symptoms.rabbitmq.answers import good, json_or_none, live, login_failed
from functions.adapters.symptoms.rabbitmq.holders import WHOAMI, add_details, channels_path, is_worth_asking, sees_all
from functions.adapters.symptoms.rabbitmq.settings import SYSTEM, Settings
from functions.adapters.symptoms.rabbitmq.snapshot import Answers, read_snapshot
from functions.application.ports import Query, QueueOutcome
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer, request
from functions.runtime.secrets import with_newest
from functions.runtime.text import Text, named

FINE_STEP_S, FINE_REACH_S = 5, 600
COARSE_STEP_S, COARSE_REACH_S = 60, 3600  # how the broker keeps samples of queues by default (`sample_retention_policies.basic`)
CURVE_S = 120  # samples are requested at least this far back, for the curve of the depth
SLACK_S = 3 * FINE_STEP_S
"""Requested in addition to the judged period, since the newest sample may be one collection and one step old."""
LIST_BYTES = 2500  # bytes of names in one request: the broker accepts request lines of at least 8,000 bytes, proxies of 4,096
PAGE_SHARE = 0.8
"""Share of the whole time: a slow page or list of channels leaves time to report that, and never delays the live depth."""
WHOAMI_S = 1.0  # the user behind the credentials. Without an answer nothing is requested that needs the tag
UNNAMEABLE = frozenset({"", ".", ".."})  # `.` and `..` mean other paths to every HTTP library, however they are encoded


class Asked(Struct, frozen=True):
    """The answers about one queue; an error takes an answer's place. None: not requested."""

    totals: Any
    page: Any = None
    channels: Any = None
    whoami: Any = None


def look_all(settings: Settings, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
    """Each queue's current state, with samples over at least this many seconds if the broker keeps them (an hour).

    The live depth doesn't need the queue's page. Without a live depth, the queue's place has Denied (`login`, `not_management`,
    `vhost_permission`, `no_vhost`, `no_queue`, `stream`, `name`, `url`) or Unavailable.

    With the tag `monitoring` the list of channels shows who holds a message; their counters are requested in a second round
    trip, for at most half of the time that is left, with their names and the cluster's nodes."""
    ends = time.monotonic() + timeout_s
    queues = [(query.queue, query.for_s) for query in queries]
    asked = [(queue, for_s) for queue, for_s in queues if UNNAMEABLE.isdisjoint(queue.keys.values())]
    if not asked:
        return [to_snapshot(queue, Asked(None)) for queue, _ in queues]
    lists = list_queues([queue for queue, _ in asked])
    pages = {queue.key: page_path(queue, for_s) for queue, for_s in asked}
    channels = {_vhost(queue): channels_path(_vhost(queue)) for queue, _ in asked}
    paths = {**dict.fromkeys(lists, timeout_s), **dict.fromkeys([*pages.values(), *channels.values()], timeout_s * PAGE_SHARE)}
    outcomes = ask(settings, {**paths, WHOAMI: WHOAMI_S}, timeout_s=timeout_s)
    totals = {queue.key: outcomes[path] for path, listed in lists.items() for queue in listed}
    may_see = sees_all(outcomes[WHOAMI])
    results: dict[str, QueueOutcome] = {}
    for queue, _ in queues:
        page, listed = outcomes.get(pages.get(queue.key, "")), outcomes.get(channels.get(_vhost(queue), "")) if may_see else None
        results[queue.key] = to_snapshot(queue, Asked(totals.get(queue.key), page, listed, outcomes[WHOAMI]))
    seen = {key: one for key, one in results.items() if isinstance(one, QueueSnapshot)}
    left_s = (ends - time.monotonic()) / 2
    worth = {key: one for key, one in seen.items() if is_worth_asking(one)}
    if not may_see or not worth or left_s <= 0:
        return [results[queue.key] for queue, _ in queues]

    def ask_more(paths: list[str]) -> list[Answer | Exception]:
        return list(ask(settings, dict.fromkeys(paths, left_s), timeout_s=left_s).values())

    samples = _sample_query(max(for_s for _, for_s in asked))
    vhosts = {queue.key: _vhost(queue) for queue, _ in queues}
    results |= add_details(worth, vhosts, samples, ask_more)
    return [results[queue.key] for queue, _ in queues]


def to_snapshot(queue: QueueRef, asked: Asked) -> QueueOutcome:
    """The queue according to the answers, with the reason why its page or channels can't be read; a slow answer may be
    temporary. Without any answer: no URL can name it."""
    try:
        if asked.totals is None:
            page_path(queue, 0.0)
        answer = live(asked.totals, queue)
        answers = Answers(answer.json(), json_or_none(asked.page), json_or_none(asked.channels))
        seen = read_snapshot(queue, answers, at=answer.at)
    except (Unavailable, Denied) as error:
        return error
    for field, what, outcome in (
        ("blind", Text("the queue's page can't be read"), asked.page),
        ("unseen", Text("the user's tags can't be read"), asked.whoami),
        ("unseen", Text("the consumers' channels can't be read"), asked.channels),
    ):
        if (unread := _error_of(outcome)) is not None:
            late = isinstance(unread, Unavailable) and unread.late
            seen = replace(seen, **{field: Unknown(named(what, unread.detail), late=late, remedy=unread.remedy)})
    return seen


def _error_of(outcome: Answer | Exception | None) -> Unavailable | Denied | None:
    try:
        if outcome is not None:
            good(outcome).json()
    except (Unavailable, Denied) as error:
        return error
    return None


def list_queues(queues: list[QueueRef]) -> dict[str, list[QueueRef]]:
    """The requests for live totals of these queues (all of one vhost), and the queues that each covers. `use_regex` matches
    anywhere in a name and ignores case (PCRE), hence the anchors here and the comparison of the results."""
    parts: list[list[QueueRef]] = []
    left: dict[str, int] = {}
    for queue in sorted({queue.key: queue for queue in queues}.values(), key=_vhost):
        size = len(quote(_escape(queue.keys["queue"])))
        if size > left.get(_vhost(queue), 0):
            parts.append([])
            left[_vhost(queue)] = LIST_BYTES
        parts[-1].append(queue)
        left[_vhost(queue)] -= size
    return {_list_path(part): part for part in parts}


def _list_path(queues: list[QueueRef]) -> str:
    query = {"disable_stats": "true", "enable_queue_totals": "true", "page": "1", "page_size": "100", "use_regex": "true"}
    names = "|".join(_escape(queue.keys["queue"]) for queue in queues)
    name = f"^{names}$" if len(queues) == 1 else f"^(?:{names})$"
    return f"/api/queues/{_segment(_vhost(queues[0]))}?{urlencode(query | {'name': name}, quote_via=quote)}"


def _vhost(queue: QueueRef) -> str:
    return queue.keys["vhost"]


def _escape(name: str) -> str:
    return re.sub(r"[\x00-\x7f]", lambda sign: sign[0] if sign[0].isalnum() else f"\\{sign[0]}", name)


def page_path(queue: QueueRef, for_s: float) -> str:
    """The queue's page with samples of its figures over `for_s` and a little more."""
    return f"/api/queues/{_segment(_vhost(queue))}/{_segment(queue.keys['queue'])}?{urlencode(_sample_query(for_s))}"


def _sample_query(for_s: float) -> dict[str, int]:
    step, reach = (FINE_STEP_S, FINE_REACH_S) if for_s + SLACK_S <= FINE_REACH_S else (COARSE_STEP_S, COARSE_REACH_S)
    age = min(reach, step * math.ceil(max(for_s + SLACK_S, CURVE_S) / step))
    return {"lengths_age": age, "lengths_incr": step, "msg_rates_age": age, "msg_rates_incr": step}


def _segment(name: str) -> str:
    if name in UNNAMEABLE:
        raise Denied(SYSTEM, Text("no URL can name a vhost or queue '{name}'", name=name), code="name", remedy=Text("Rename it."))
    return quote(name, safe="")


def ask(settings: Settings, limits: Mapping[str, float], *, timeout_s: float) -> dict[str, Any]:
    """GET all paths at the same time, each with this time-out: the Answer of each, or the error in its place."""
    ends = time.monotonic() + timeout_s

    def ask_as(password: bytes) -> dict[str, Any]:
        def get(path: str, limit_s: float) -> Answer:
            auth = (settings.user.encode(), password)
            return request(SYSTEM, "GET", settings.url.rstrip("/") + path, timeout_s=limit_s, auth=auth, ca=settings.ca)

        return ask_all(SYSTEM, limits, ends, get)

    return with_newest(settings.password, ask_as, lambda outcomes: any(map(login_failed, outcomes.values())))
