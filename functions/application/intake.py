"""Shell: the ways in. A notification's targets are decided or saved, and what nobody woke is swept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from functions.application.observe import raised
from functions.application.ports import Budget, Outside
from functions.application.reconcile import LIST_S, STORE_S, advance
from functions.domain.model.alerts import Case
from functions.domain.model.events import Alerted, Reply, Woken
from functions.runtime.errors import Denied, Unavailable, UnstickError

DIRECT = 10
"""Targets of one notification that are decided at once; what goes beyond waits for its wake-up."""

HAND_OVER_S = 1.5
"""On top of the budget, where the store did not answer in time: all in all well under 10 s."""

LISTED = 100
LISTED_BYTES = 600_000
"""Of alerts in one list: Cloud Tasks takes 1 MB, and they are packed into less than four thirds of their size."""

SWEEP_AFTER_S = 60.0
SWEEP_MOST = 200
WAKE_BUDGET_S = 60.0


class Notified(Struct, frozen=True):
    """What became of a notification. `lost`: alerts of so many targets could be neither decided nor saved."""

    replies: tuple[Reply, ...] = ()
    lost: int = 0
    why: str = field(default="")


def document_key(case: Case) -> str:
    """The document of an alert: its target's, or its own where it has none."""
    if case.target is not None:
        return case.target.key
    return "alert-" + hashlib.sha256(f"{case.alert.source}|{case.alert.fingerprint}".encode()).hexdigest()[:20]


def by_document(cases: list[Case]) -> dict[str, list[Case]]:
    """The cases by the document that they go into."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(document_key(case), []).append(case)
    return groups


def new_id(key: str, now: float, cases: list[Case]) -> str:
    """An incident's id: when it began (UTC), and a mark of its target and alerts, since two may begin at the same moment."""
    alerts = sorted((case.alert.source, case.alert.fingerprint, case.alert.starts_at) for case in cases)
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + hashlib.sha256(f"{key} {now!r} {alerts}".encode()).hexdigest()[:8]


def notified(outside: Outside, cases: list[Case], budget: Budget) -> Notified:
    """Decide or save every alert of a notification: ten targets at once, the rest in lists of 100 for their wake-ups."""
    groups = by_document(cases)
    now = outside.now()
    events = [(key, Alerted(tuple(found), new_id(key, now, found), crowd=len(groups) > DIRECT)) for key, found in groups.items()]
    direct, rest = events[:DIRECT], events[DIRECT:]
    lists = _lists(rest)
    calls: list[Callable[[], Any]] = [partial(_decided_or_saved, outside, key, event, budget) for key, event in direct]
    calls += [partial(hand_over, outside, part, budget) for part in lists]
    results = outside.together(calls, budget.left_s + HAND_OVER_S)
    replies: list[Reply] = []
    lost, why = 0, ""
    for part, result in zip([[event] for event in direct] + lists, results, strict=True):
        if isinstance(result, UnstickError):
            lost, why = lost + len(part), str(result)
        else:
            replies += [reply for reply in raised(result) if reply is not None]
    return Notified(tuple(replies), lost, why)


def _lists(events: list[tuple[str, Alerted]]) -> list[list[tuple[str, Alerted]]]:
    """The events in lists that the scheduler takes."""
    made: list[list[tuple[str, Alerted]]] = []
    left = 0
    for event in events:
        size = len(msgspec.json.encode([case.alert for case in event[1].cases]))
        if not made or len(made[-1]) == LISTED or size > left:
            made.append([])
            left = LISTED_BYTES
        made[-1].append(event)
        left -= size
    return made


def _decided_or_saved(outside: Outside, key: str, event: Alerted, budget: Budget) -> list[Reply | None]:
    try:
        return [advance(outside, key, event, budget)]
    except Unavailable as unavailable:
        outside.log("WARNING", f"handed to the scheduler: {unavailable}", document=key)
        return hand_over(outside, [(key, event)], replace(budget, ends=outside.monotonic() + HAND_OVER_S))


def hand_over(outside: Outside, events: list[tuple[str, Alerted]], budget: Budget) -> list[Reply | None]:
    """Give alerts to the scheduler as they are; `verify` decides them. Raises Unavailable if it does not take them."""
    from functions.domain.model.codes import Action

    now = outside.now()
    content = {
        "deferred": [
            {
                "at": now,
                "incident": event.incident,
                "crowd": event.crowd,
                "alerts": msgspec.to_builtins([case.alert for case in event.cases]),
            }
            for _, event in events
        ]
    }
    outside.wake(now, content, budget.at_most(STORE_S))
    return [
        Reply(
            event.incident,
            case.runbook.name if case.runbook else "",
            case.target.name if case.target else "",
            Action.DEFERRED,
            case.reason,
        )
        for _, event in events
        for case in event.cases[:1]
    ]


def sweep(outside: Outside, budget: Budget) -> int:
    """Step what is overdue by a minute, should the scheduler have lost its wake-up. Returns how many documents that were."""
    before = outside.now() - SWEEP_AFTER_S
    overdue = [entry for entry in outside.listed(budget.at_most(LIST_S)) if entry.due is not None and entry.due < before]
    stepped = 0
    for entry in sorted(overdue, key=lambda found: found.due or 0.0)[:SWEEP_MOST]:
        if budget.left_s <= 0:
            break
        outside.log("WARNING", "stepped by the sweep: its wake-up did not come", document=entry.key)
        try:
            advance(outside, entry.key, Woken(), replace(budget, ends=min(budget.ends, outside.monotonic() + WAKE_BUDGET_S)))
            stepped += 1
        except (Unavailable, Denied) as error:
            outside.log("ERROR", f"the sweep could not step it: {error}", document=entry.key)
    return stepped
