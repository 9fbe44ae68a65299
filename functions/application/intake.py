"""Decides or saves the targets of a notification, and sweeps overdue documents."""

import hashlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.documents import LIST_S, STORE_S
from functions.application.ports import Budget, Ports
from functions.application.reconcile import advance
from functions.domain.model.alerts import MatchedAlert
from functions.domain.model.codes import Action, Reason
from functions.domain.model.events import AlertsReceived, Reply, TimerFired
from functions.runtime.errors import Denied, Unavailable, UnstickError
from functions.runtime.parallel import unwrap

DIRECT = 10  # targets of one notification that are decided in the request; the others wait for their wake-ups
HAND_OVER_S = 1.5  # seconds beyond the budget, if the store did not answer in time. The total stays well under 10 s
LISTED = 100
LISTED_BYTES = 600_000  # bytes of alerts in one list: Cloud Tasks accepts 1 MB, and encoding adds less than a third
SWEEP_AFTER_S = 60.0
SWEEP_MOST = 200
WAKE_BUDGET_S = 60.0
T = TypeVar("T")
Event = tuple[str, AlertsReceived]  # with the key of its document
Groups = dict[str, list[MatchedAlert]]  # by the key of their document


class IntakeResult(Struct, frozen=True):
    """The result for a notification. `lost`: the number of targets whose alerts could be neither decided nor saved."""

    replies: tuple[Reply, ...] = ()
    lost: int = 0
    why: str = ""


def document_key(case: MatchedAlert) -> str:
    """The key of an alert's document: made from its target; without one, from the reason for that."""
    return case.target.key if case.target is not None else (case.reason or Reason.NO_RUNBOOK).replace("_", "-")


def group_by_document(cases: list[MatchedAlert]) -> Groups:
    """Group the alerts by document."""
    groups: Groups = {}
    for case in cases:
        groups.setdefault(document_key(case), []).append(case)
    return groups


def make_incident_id(key: str, now: float, cases: list[MatchedAlert]) -> str:
    """Make an incident's id: its start (UTC), and a hash of target and alerts, since two may begin at the same moment."""
    alerts = sorted((case.alert.source, case.alert.fingerprint, case.alert.starts_at) for case in cases)
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + hashlib.sha256(f"{key} {now!r} {alerts}".encode()).hexdigest()[:8]


def handle_notification(ports: Ports, cases: list[MatchedAlert], budget: Budget) -> IntakeResult:
    """Decide or save every alert of a notification: ten targets directly, the rest in lists of up to 100 for their wake-ups."""
    groups, now = group_by_document(cases), ports.now()
    crowd = len(groups) > DIRECT
    events = [
        (key, AlertsReceived(tuple(matched), make_incident_id(key, now, matched), crowd=crowd)) for key, matched in groups.items()
    ]
    direct, rest = events[:DIRECT], events[DIRECT:]
    lists = _pack_lists(rest, now)
    decisions = [partial(_decide_or_hand_over, ports, key, event, budget) for key, event in direct]
    handed_over = [partial(hand_over, ports, part, budget) for part in lists]
    results = ports.run_parallel([*decisions, *handed_over], budget.left_s + HAND_OVER_S)
    replies: list[Reply] = []
    lost, why = 0, ""
    for part, result in zip([[event] for event in direct] + lists, results, strict=True):
        if isinstance(result, UnstickError):
            lost, why = lost + len(part), str(result)
        else:
            replies += [reply for reply in unwrap(result) if reply is not None]
    return IntakeResult(tuple(replies), lost, why)


def _pack(parts: Iterable[T], measure: Callable[[T], int], most: int) -> list[list[T]]:
    """In order, in lists of so many parts and LISTED_BYTES at most. What is larger is alone in its list."""
    lists: list[list[T]] = []
    left = 0
    for part in parts:
        size = measure(part)
        if not lists or len(lists[-1]) == most or size > left:
            lists.append([])
            left = LISTED_BYTES
        lists[-1].append(part)
        left -= size
    return lists


def _size(cases: Iterable[MatchedAlert]) -> int:
    return len(msgspec.json.encode([case.alert for case in cases]))


def _pack_lists(events: list[Event], now: float) -> list[list[Event]]:
    """The lists for one task each. Alerts of a target that don't fit into one become further events of it."""
    parts: list[Event] = []
    for key, event in events:
        first, *others = _pack(event.cases, lambda case: _size([case]), len(event.cases))
        parts.append((key, replace(event, cases=tuple(first))))
        parts += [(key, replace(event, cases=tuple(cases), incident=make_incident_id(key, now, cases))) for cases in others]
    return _pack(parts, lambda part: _size(part[1].cases), LISTED)


def _decide_or_hand_over(ports: Ports, key: str, event: AlertsReceived, budget: Budget) -> list[Reply | None]:
    try:
        return [advance(ports, key, event, budget)]
    except Unavailable as unavailable:
        more, lists = replace(budget, ends=ports.monotonic() + HAND_OVER_S), _pack_lists([(key, event)], ports.now())
        replies = [reply for part in lists for reply in hand_over(ports, part, more)]
        ports.log("WARNING", f"handed to the scheduler: {unavailable}", document=key)
        return replies


def hand_over(ports: Ports, events: list[Event], budget: Budget) -> list[Reply | None]:
    """Hand alerts to the scheduler unchanged; `verify` decides them. Raises Unavailable if it doesn't accept them."""
    now = ports.now()
    content = {
        "deferred": [
            {
                "incident": event.incident,
                "crowd": event.crowd,
                "alerts": msgspec.to_builtins([case.alert for case in event.cases]),
            }
            for _, event in events
        ]
    }
    ports.wake(now, content, timeout_s=budget.at_most(STORE_S))
    return [_deferred(event.incident, event.cases[0]) for _, event in events if event.cases]


def _deferred(incident: str, case: MatchedAlert) -> Reply:
    runbook, target = case.runbook.name if case.runbook else "", case.target.name if case.target else ""
    return Reply(incident, runbook, target, Action.DEFERRED, case.reason)


def sweep(ports: Ports, budget: Budget) -> int:
    """Step documents that are overdue by a minute, in case the scheduler lost their wake-ups. Returns their number."""
    now, listed = ports.now(), ports.store.list_documents(timeout_s=budget.at_most(LIST_S))
    overdue = sorted((entry.due, entry.key) for entry in listed if entry.due is not None and entry.due < now - SWEEP_AFTER_S)
    stepped = 0
    for _, key in overdue[:SWEEP_MOST]:
        if budget.left_s <= 0:
            break
        ports.log("WARNING", "wake-up missing; advanced by the sweep", document=key)
        try:
            advance(ports, key, TimerFired(), Budget(ports, ports.monotonic() + budget.at_most(WAKE_BUDGET_S)))
            stepped += 1
        except (Unavailable, Denied) as error:
            ports.log("ERROR", f"sweep failed for a document: {error}", document=key)
    return stepped
