"""Client of RabbitMQ's management API: reads whether queues are stuck or healthy.

Sends two kinds of requests in parallel, since neither has everything (measured on 3.10.8): the paged list with totals has the
depth of many queues, live for classic queues and up to 5 s late for quorum queues; a queue's own page has consumers, counters and
samples, up to 9 s late. Needed: the tag `management` and permissions on the vhost that allow nothing (`^$` three times)."""

import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from functions.adapters.symptoms._http import ask_all
from functions.adapters.symptoms.rabbitmq.answers import Page, columns_of, good, json_or_none, live, login_failed, shaped_or_none
from functions.adapters.symptoms.rabbitmq.channels import Look, own_channels
from functions.adapters.symptoms.rabbitmq.holders import WHOAMI, add_details, is_worth_asking, sees_all
from functions.adapters.symptoms.rabbitmq.settings import SYSTEM, Settings
from functions.adapters.symptoms.rabbitmq.snapshot import Answers, read_snapshot
from functions.application.ports import Query, QueueOutcome
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot, Unknown
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import MAX_ANSWER_BYTES, Answer, request
from functions.runtime.secrets import with_newest
from functions.runtime.text import Text, named

FINE_STEP_S, FINE_REACH_S = 5, 600
COARSE_STEP_S, COARSE_REACH_S = 60, 3600  # how the broker keeps samples of queues by default (`sample_retention_policies.basic`)
CURVE_S = 120  # samples are requested at least this far back, for the curve of the depth
SLACK_S = 3 * FINE_STEP_S
"""Requested in addition to the judged period, since the newest sample may be one collection and one step old."""
LIST_BYTES = 2500  # bytes of names in one request: the broker accepts request lines of at least 8,000 bytes, proxies of 4,096
PAGE_SHARE = 0.8
"""Share of the whole time: a slow page leaves time to report that, and never delays the live depth."""
COLUMNS = ",".join(columns_of(Page))
"""Without them a queue's page has kilobytes for each consumer."""
PAGES_AT_ONCE = 4  # more gain nothing (measured)
PAGE_BYTES = 256 * 1024  # of a channel's or connection's page, which has 14 kB
WHOAMI_S = 1.0  # the user behind the credentials. Without an answer nothing is requested that needs the tag
PAGES = threading.BoundedSemaphore(PAGES_AT_ONCE)  # of all looks in this process: many alerts may come at once
UNNAMEABLE = frozenset({"", ".", ".."})  # `.` and `..` mean other paths to every HTTP library, however they are encoded


class Asked(Struct, frozen=True):
    """The answers about one queue; an error takes an answer's place. None: not requested."""

    totals: Any
    page: Any = None
    whoami: Any = None


def look_all(settings: Settings, queries: Sequence[Query], *, timeout_s: float) -> list[QueueOutcome]:
    """Each queue's current state, with samples over at least this many seconds if the broker keeps them (an hour).

    The live depth doesn't need the queue's page. Without a live depth, the queue's place has Denied or Unavailable.

    With the tag `monitoring` the consumers' channels are read in a second round trip, one by one and as many as the bounds allow,
    and in a third the connections of those that hang; each has at most half of the time that is left."""
    ends = time.monotonic() + timeout_s
    asked = [query for query in queries if UNNAMEABLE.isdisjoint(query.queue.keys.values())]
    if not asked:
        return [to_snapshot(query.queue, Asked(None)) for query in queries]
    lists = list_queues([query.queue for query in asked])
    pages = {query.queue.key: page_path(query.queue, query.for_s) for query in asked}
    paths = {**dict.fromkeys(lists, timeout_s), **dict.fromkeys(pages.values(), timeout_s * PAGE_SHARE)}
    outcomes = ask(settings, {**paths, WHOAMI: WHOAMI_S}, timeout_s=timeout_s)
    totals = {queue.key: outcomes[path] for path, listed in lists.items() for queue in listed}
    results: dict[str, QueueOutcome] = {}
    for query in queries:
        key = query.queue.key
        results[key] = to_snapshot(query.queue, Asked(totals.get(key), outcomes.get(pages.get(key, "")), outcomes[WHOAMI]))
    looks = (
        _find_looks(asked, results, {key: outcomes[path] for key, path in pages.items()}) if sees_all(outcomes[WHOAMI]) else {}
    )
    results |= {key: look.seen for key, look in looks.items()}
    worth = {key: look for key, look in looks.items() if is_worth_asking(look.seen)}

    def ask_more(paths: Sequence[str]) -> dict[str, Answer | Exception]:
        left_s = (ends - time.monotonic()) / 2
        return ask(settings, dict.fromkeys(paths, left_s), timeout_s=left_s, pages=True)

    results |= add_details(worth, ask_more) if worth else {}
    return [results[query.queue.key] for query in queries]


def _find_looks(asked: Sequence[Query], results: Mapping[str, QueueOutcome], pages: Mapping[str, Any]) -> dict[str, Look]:
    """The queues that were seen, with the channels of their consumers: none if the page can't be read."""
    looks = {}
    for query in asked:
        seen, page = results[query.queue.key], shaped_or_none(pages[query.queue.key], Page)
        if isinstance(seen, QueueSnapshot):
            known = page is not None and page.consumer_details is not None
            seen = replace(seen, channels=()) if known else seen
            own = own_channels(page) if page is not None else {}
            looks[query.queue.key] = Look(seen, query, own, sample_query(query.for_s))
    return looks


def to_snapshot(queue: QueueRef, asked: Asked) -> QueueOutcome:
    """The queue according to the answers, with the reason why its page or the user's tags can't be read; a slow answer may be
    temporary. Without any answer: no URL can name it."""
    try:
        if asked.totals is None:
            page_path(queue, 0.0)
        answer = live(asked.totals, queue)
        seen = read_snapshot(queue, Answers(answer.json(), json_or_none(asked.page)), at=answer.at)
    except (Unavailable, Denied) as error:
        return error
    blind = _why_unread(asked.page, Text("the queue's page can't be read"))
    return replace(seen, blind=blind or seen.blind, unseen=_why_unread(asked.whoami, Text("the user's tags can't be read")))


def _why_unread(outcome: Answer | Exception | None, what: Text) -> Unknown | None:
    try:
        if outcome is not None:
            good(outcome).json()
    except (Unavailable, Denied) as error:
        late = isinstance(error, Unavailable) and error.late
        return Unknown(named(what, error.detail), late=late, remedy=error.remedy)
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
    """The queue's page with samples of its figures over `for_s` and more."""
    query = urlencode({**_lengths(for_s), **sample_query(for_s), "columns": COLUMNS}, safe=",")
    return f"/api/queues/{_segment(_vhost(queue))}/{_segment(queue.keys['queue'])}?{query}"


def sample_query(for_s: float) -> dict[str, int]:
    """The query for samples of counters: over three times `for_s`, if the broker keeps that many at the fine step."""
    fine = for_s + SLACK_S <= FINE_REACH_S
    step, reach, wanted = (FINE_STEP_S, FINE_REACH_S, 3 * for_s) if fine else (COARSE_STEP_S, COARSE_REACH_S, for_s)
    age = min(reach, step * math.ceil(max(wanted + SLACK_S, CURVE_S) / step))
    return {"msg_rates_age": age, "msg_rates_incr": step}


def _lengths(for_s: float) -> dict[str, int]:
    """The query for samples of depths."""
    return {name.replace("msg_rates", "lengths"): value for name, value in sample_query(for_s).items()}


def _segment(name: str) -> str:
    if name in UNNAMEABLE:
        raise Denied(SYSTEM, Text("no URL can name a vhost or queue '{name}'", name=name), remedy=Text("Rename it."))
    return quote(name, safe="")


def ask(settings: Settings, limits: Mapping[str, float], *, timeout_s: float, pages: bool = False) -> dict[str, Any]:
    """GET all paths at the same time, each with this time-out: the Answer of each, or the error in its place. `pages`: of
    channels and connections, of which this process requests only PAGES_AT_ONCE at a time."""
    ends = time.monotonic() + timeout_s

    def ask_as(password: bytes) -> dict[str, Any]:
        def get(path: str, limit_s: float) -> Answer:
            auth, max_bytes = (settings.user.encode(), password), PAGE_BYTES if pages else MAX_ANSWER_BYTES
            url = settings.url.rstrip("/") + path
            return request(SYSTEM, "GET", url, timeout_s=limit_s, auth=auth, ca=settings.ca, max_bytes=max_bytes)

        def get_in_turn(path: str, _limit_s: float) -> Answer:
            if not PAGES.acquire(timeout=max(ends - time.monotonic(), 0.0)):
                raise Unavailable(SYSTEM, Text("other checks were reading channels all the time"), late=True)
            try:
                return get(path, ends - time.monotonic())
            finally:
                PAGES.release()

        if pages:
            return ask_all(SYSTEM, limits, ends, get_in_turn, at_once=PAGES_AT_ONCE)
        return ask_all(SYSTEM, limits, ends, get)

    return with_newest(settings.password, ask_as, lambda outcomes: any(map(login_failed, outcomes.values())))
