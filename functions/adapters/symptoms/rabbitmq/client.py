"""RabbitMQ's management API: how a queue is seen to be ill or well.

Two kinds of requests, all at once, since no single one tells everything (measured on 3.10.8): the paged list with totals has
the live depth of many queues; a queue's own page has consumers, counters and samples, up to 9 s late. Needed: the
tag `management` and permissions on the vhost that allow nothing (`^$` three times).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from functions.adapters.symptoms.rabbitmq.answers import json_or_none, live, login_failed, sighting
from functions.adapters.symptoms.rabbitmq.holders import WHOAMI, WITHIN_S, sees_all, with_holders
from functions.adapters.symptoms.rabbitmq.settings import SYSTEM, Settings, name_queue
from functions.application.ports import Finding
from functions.domain.decisions.matching import NotRendered
from functions.domain.model import runbooks
from functions.domain.model.alerts import QueueRef
from functions.domain.model.observations import QueueSnapshot
from functions.runtime.errors import Denied, Unavailable
from functions.runtime.http_client import Answer, request
from functions.runtime.parallel import run_parallel
from functions.runtime.secrets import with_newest
from functions.runtime.text import Text

FINE_STEP_S, FINE_REACH_S = 5, 600
COARSE_STEP_S, COARSE_REACH_S = 60, 3600
"""How the broker keeps samples of queues by default (`sample_retention_policies.basic`)."""
CURVE_S = 120
"""Samples are asked for at least this far back, for the picture of the depth."""
SLACK_S = 3 * FINE_STEP_S
"""Asked for on top of what is judged, since the newest sample may be one collection and one step old."""
LIST_BYTES = 2500
"""Of names in one request: the broker takes request lines of 8,000 bytes at least, proxies of 4,096."""
UNNAMEABLE = frozenset({"", ".", ".."})
"""`.` and `..` mean other paths to every HTTP library, however they are encoded."""


def look(settings: Settings, queue: QueueRef, *, for_s: float, timeout_s: float) -> QueueSnapshot:
    """One queue, as `look_all` does. Raises its Denied or Unavailable."""
    (snapshot,) = look_all(settings, [(queue, for_s)], timeout_s=timeout_s)
    if isinstance(snapshot, Exception):
        raise snapshot
    return snapshot


def look_all(
    settings: Settings, queues: Sequence[tuple[QueueRef, float]], *, timeout_s: float
) -> list[QueueSnapshot | Unavailable | Denied]:
    """Each queue as it is now, with samples over at least so many seconds where the broker keeps them (an hour).

    Without the queue's page the live depth is there all the same. Where that can't be had, the queue's place has Denied (`login`,
    `not_management`, `vhost_permission`, `no_vhost`, `no_queue`, `stream`, `name`, `url`) or Unavailable.

    With the tag `monitoring` a stuck queue's holders are asked for as well, for a second at most, and never for more than half of
    the time that is left. Whether the user has it is asked beside everything else: a restart waits for what is asked afterwards.
    """
    ends = time.monotonic() + timeout_s
    lists = list_queues([queue for queue, _ in queues if _can_be_named(queue)])
    asked = [(queue, page_path(queue, for_s)) for queue, for_s in queues if _can_be_named(queue)]
    if not asked:
        return [_snapshot(queue, None, None) for queue, _ in queues]
    paths = [*lists, *(path for _, path in asked)]
    *answers, whoami = _ask(settings, [*paths, WHOAMI], timeout_s=timeout_s, brief=WHOAMI)
    totals = {queue.key: answer for listed, answer in zip(lists.values(), answers, strict=False) for queue in listed}
    pages = {queue.key: answer for (queue, _), answer in zip(asked, answers[len(lists) :], strict=True)}
    snapshots = [_snapshot(queue, totals.get(queue.key), pages.get(queue.key)) for queue, _ in queues]
    ends = time.monotonic() + min(WITHIN_S, (ends - time.monotonic()) / 2)
    return _with_holders(settings, snapshots, [pages.get(queue.key) for queue, _ in queues], ends, may_ask=sees_all(whoami))


def _with_holders(
    settings: Settings, snapshots: list[QueueSnapshot | Unavailable | Denied], pages: list[Any], ends: float, *, may_ask: bool
) -> list[QueueSnapshot | Unavailable | Denied]:
    """The snapshots of stuck queues with who holds their messages. Nothing is asked for any other queue."""

    def ask(paths: list[str]) -> list[Any]:
        return _ask(settings, paths, timeout_s=ends - time.monotonic())

    return [
        with_holders(one, json_or_none(page), ask if may_ask else None)
        if isinstance(one, QueueSnapshot) and one.holds_unacked
        else one
        for one, page in zip(snapshots, pages, strict=True)
    ]


def _snapshot(queue: QueueRef, totals: Any, page: Any) -> QueueSnapshot | Unavailable | Denied:
    """What both answers say of a queue; without any, no URL can name it."""
    try:
        if totals is None:
            page_path(queue, 0.0)
        answer = live(totals, queue)
        return sighting(queue, answer.json(), json_or_none(page), at=answer.at)
    except (Unavailable, Denied) as error:
        return error


def check(settings: Settings, symptom: runbooks.Symptom, labels: Mapping[str, str], *, timeout_s: float) -> list[Finding]:
    """Every right and setting that `look` needs, and the broker's clock and alarms. Changes nothing.

    Where the labels don't name the queue, what can be known without it.
    """
    from functions.adapters.symptoms.rabbitmq import checks

    def ask(queue: QueueRef) -> list[Finding]:
        outcomes = _ask(settings, [*checks.PATHS, *list_queues([queue]), page_path(queue, CURVE_S)], timeout_s=timeout_s)
        return checks.findings(settings.url, settings.user, queue, checks.Asked(*outcomes))

    def read(queue: QueueRef) -> QueueSnapshot:
        return look(settings, queue, for_s=symptom.for_s, timeout_s=timeout_s)

    try:
        return ask(name_queue(symptom, labels))
    except NotRendered as refusal:
        return checks.findings_without_name(symptom, labels, refusal.text, ask, read)


def list_queues(queues: list[QueueRef]) -> dict[str, list[QueueRef]]:
    """The requests that have live totals of these queues, and the queues that each asks for, all of one vhost.

    `use_regex` finds anywhere in a name and regardless of case (PCRE), hence the anchors here and the comparison of what comes.
    """
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
    name = _pattern([queue.keys["queue"] for queue in queues])
    return f"/api/queues/{_segment(_vhost(queues[0]))}?{urlencode(query | {'name': name}, quote_via=quote)}"


def _vhost(queue: QueueRef) -> str:
    return queue.keys["vhost"]


def _pattern(names: list[str]) -> str:
    several = "|".join(map(_escape, names))
    return f"^{several}$" if len(names) == 1 else f"^(?:{several})$"


def _escape(name: str) -> str:
    return re.sub(r"[\x00-\x7f]", lambda sign: sign[0] if sign[0].isalnum() else f"\\{sign[0]}", name)


def page_path(queue: QueueRef, for_s: float) -> str:
    """The queue's page with samples of depth and acknowledgements over `for_s` and a little more."""
    step, reach = (FINE_STEP_S, FINE_REACH_S) if for_s + SLACK_S <= FINE_REACH_S else (COARSE_STEP_S, COARSE_REACH_S)
    age = min(reach, step * math.ceil(max(for_s + SLACK_S, CURVE_S) / step))
    query = {"lengths_age": age, "lengths_incr": step, "msg_rates_age": age, "msg_rates_incr": step}
    return f"/api/queues/{_segment(_vhost(queue))}/{_segment(queue.keys['queue'])}?{urlencode(query)}"


def _can_be_named(queue: QueueRef) -> bool:
    return UNNAMEABLE.isdisjoint(queue.keys.values())


def _segment(name: str) -> str:
    """One path segment."""
    if name in UNNAMEABLE:
        raise Denied(SYSTEM, Text("no URL can name a vhost or queue '{name}'", name=name), code="name", remedy=Text("Rename it."))
    return quote(name, safe="")


def _ask(settings: Settings, paths: list[str], *, timeout_s: float, brief: str = "") -> list[Any]:
    """GET all at once: the Answer of each, or the error instead. `brief`: the path of which an answer is not worth more than
    WITHIN_S.
    """
    ends = time.monotonic() + timeout_s

    def ask_as(password: bytes) -> list[Any]:
        left_s = ends - time.monotonic()

        def get(path: str) -> Answer:
            url, limit_s = settings.url.rstrip("/") + path, min(left_s, WITHIN_S) if path == brief else left_s
            return request(SYSTEM, "GET", url, timeout_s=limit_s, auth=(settings.user.encode(), password), ca=settings.ca)

        return run_parallel([partial(get, path) for path in paths], timeout_s=left_s)

    return with_newest(settings.password, ask_as, lambda outcomes: any(map(login_failed, outcomes)))
