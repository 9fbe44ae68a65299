"""Shell: load and look, step, write ahead, act, save. The only file that knows the order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.application.deliver import delivered
from functions.application.observe import LOOK_S, LOOK_SHARE, NOTHING_SEEN, asked_of, look, looks, raised, read_pause
from functions.application.ports import Budget, Outside, Stored
from functions.application.serialization import decoded, encoded
from functions.domain.decisions.step import step
from functions.domain.model.codes import Phase, Reason
from functions.domain.model.events import (
    Abort,
    Alerted,
    Approved,
    Bundled,
    Claim,
    Event,
    Ran,
    Reply,
    Start,
    Step,
    Told,
    Wake,
    Woken,
)
from functions.domain.model.incidents import Document
from functions.domain.model.messages import Message
from functions.domain.model.observations import Observation, Pause
from functions.runtime.errors import Conflict, Denied, Unavailable, UnstickError

STORE_S = 5.0
LIST_S = 60.0
"""For the list of all documents: 1,000 of them are a request of Cloud Storage, one after the other."""
RUN_S = 10.0
SETTLE_S = 1.0
"""Kept of the budget to save what came of a start."""

TELL_LEAST_S = 0.5
"""With less time than this left, the wake-up tells."""

DATE_S = 1.0
"""Resolution of the Date header on which `not_after` rests."""

PAUSE_AGE_S = 1.0
"""The kill switch is read with the save; when the save took longer than this, it is read again before acting."""

UNANSWERED = 2
TRIES = 50
"""Each conflict means that somebody else got on, so this many show a fault; time usually ends it first."""


class Gathered(Struct, frozen=True):
    """A document as it was loaded and what was seen beside it."""

    document: Document
    generation: str | None
    seen: Observation
    storm_generation: str | None = None
    looked_from: float = 0.0
    """Monotonic time at which the look began."""
    unlooked_at: float | None = None
    """The time for which no look was needed, where there was none."""


def advance(outside: Outside, key: str, event: Event, budget: Budget) -> Reply | None:
    """Move one document by one event, and say what became of it.

    Raises Unavailable or Denied where it can't be loaded or saved; then nothing was done that a wake-up does not find.
    """
    failed: UnstickError = Unavailable("store", "somebody else kept changing the document", late=True)
    unanswered = 0
    for attempt in range(TRIES):
        if attempt and budget.left_s <= 0:
            break
        gathered = _gather(outside, key, event, budget, first=attempt == 0)
        now = outside.now() if gathered.unlooked_at is None else gathered.unlooked_at
        made = step(gathered.document, event, gathered.seen, now, outside.rules)
        if made.document == gathered.document and not made.acts:
            return made.reply
        try:
            generation, pause, paused_at = _write(outside, gathered, made, budget)
        except Conflict as conflict:
            failed = conflict
            continue
        except Unavailable as unavailable:
            # Perhaps it was saved: the next look tells, and goes on from there. Not again at once: each try asks everybody.
            unanswered += 1
            if unanswered == UNANSWERED:
                raise
            failed = unavailable
            continue
        _log_step(outside, gathered.document, made)
        waited = {message.id for message in gathered.document.to_tell} if isinstance(event, Woken) else set()
        gathered = replace(gathered, document=made.document, generation=generation)
        reply, gathered = _act(outside, gathered, made, budget, pause, paused_at)
        if gathered.generation is not None:
            _tell(outside, gathered, budget, waited)
        return reply
    if isinstance(failed, Conflict):
        raise Unavailable("store", "somebody else kept changing the document", late=True)
    raise failed


def _gather(outside: Outside, key: str, event: Event, budget: Budget, *, first: bool) -> Gathered:
    looked_from = outside.monotonic()
    if first and isinstance(event, Alerted) and _asks_for_look(event):
        target, queues = asked_of(event.cases)
        calls, read = looks(
            outside, target, queues, None, tail=False, rules=outside.rules, timeout_s=budget.at_most(LOOK_S) * LOOK_SHARE
        )
        store_s = budget.at_most(STORE_S)
        results = outside.together([lambda: outside.load(key, store_s), *calls], budget.at_most(STORE_S))
        stored = raised(results[0])
        document = document_of(key, stored)
        seen, storm_generation = read(results[1:])
        complete = document.incident is None and document.escalated_at is None
        now = outside.now()
        if complete or not _needs_look(document, event, now):
            generation = stored.generation if stored else None
            return Gathered(document, generation, seen, storm_generation, looked_from, None if complete else now)
    stored = outside.load(key, budget.at_most(STORE_S))
    document = document_of(key, stored)
    generation = stored.generation if stored else None
    now = outside.now()
    if not _needs_look(document, event, now):
        return Gathered(document, generation, NOTHING_SEEN, unlooked_at=now)
    looked_from = outside.monotonic()
    seen, storm_generation = look(outside, document, event, budget)
    return Gathered(document, generation, seen, storm_generation, looked_from)


def document_of(key: str, stored: Stored | None) -> Document:
    """The document as it is stored, or a new one. Raises Denied on one of a newer release."""
    return decoded(Document, stored.body, key) if stored else Document(key)


def _asks_for_look(event: Alerted) -> bool:
    return event.cases[0].target is not None and any(case.alert.firing for case in event.cases)


def _needs_look(document: Document, event: Event, now: float) -> bool:
    incident = document.incident
    match event:
        case Alerted():
            if event.cases[0].target is None:
                return False
            if incident is None:
                # An escalation ends only when its queues are seen well.
                return _asks_for_look(event) or document.escalated_at is not None
            return now >= incident.due or incident.phase is Phase.ASKED
        case Woken():
            return incident is not None and now >= incident.due
        case Approved():
            return incident is not None
        case Ran():
            return event.busy
    return False


def _write(outside: Outside, gathered: Gathered, made: Step, budget: Budget) -> tuple[str, Any, float]:
    """Write ahead, then save. Returns the new generation and the kill switch as it was during the save."""
    document, timeout_s = made.document, budget.at_most(STORE_S)
    ahead: list[Callable[[], Any]] = []
    for act in made.acts:
        match act:
            case Wake():
                ahead.append(partial(outside.wake, act.at, {"target": document.key}, timeout_s))
            case Claim():
                body = encoded(act.storm)
                ahead.append(partial(outside.save, "storm", body, gathered.storm_generation, None, timeout_s))
    for result in outside.together(ahead, timeout_s) if ahead else ():
        raised(result)
    save = partial(outside.save, document.key, encoded(document), gathered.generation, document.due, timeout_s)
    paused_at = outside.monotonic()
    pause = None
    if any(isinstance(act, Start) for act in made.acts):
        generation, pause = outside.together([save, partial(read_pause, outside, timeout_s)], timeout_s)
    else:
        generation = save()
    saved: str = raised(generation)
    if document.due is not None and outside.now() >= document.due:
        _wake_again(outside, document.key, budget)
    return saved, pause, paused_at


def _wake_again(outside: Outside, key: str, budget: Budget) -> None:
    """The save took longer than until `due`, so its wake-up may have come before it, found nothing to do, and be gone."""
    try:
        outside.wake(outside.now(), {"target": key}, budget.at_most(STORE_S))
    except (Unavailable, Denied) as error:
        outside.log("WARNING", f"left to the sweep, since a wake-up may be missing: {error}", document=key)


def _act(
    outside: Outside, gathered: Gathered, made: Step, budget: Budget, pause: Any, paused_at: float
) -> tuple[Reply | None, Gathered]:
    """What only the holder of a successful save may do. Without a generation, what came of it could not be saved."""
    reply = made.reply
    for act in made.acts:
        if isinstance(act, Start):
            ran = _run(outside, gathered, act, budget, pause, paused_at)
            gathered, answer = _settled(outside, gathered, ran, budget)
            reply = answer or (replace(reply, execution=ran.execution) if reply else None)
        elif isinstance(act, Abort):
            _abort(outside, act, budget)
    return reply, gathered


def _run(outside: Outside, gathered: Gathered, start: Start, budget: Budget, pause: Any, paused_at: float) -> Ran:
    """Start the job once, if the kill switch is off now and the answer still comes before the fence."""
    if outside.monotonic() - paused_at > PAUSE_AGE_S:
        pause = outside.together([partial(read_pause, outside, budget.at_most(STORE_S))], budget.at_most(STORE_S))[0]
    if isinstance(pause, Exception):
        return Ran(start.tag, refusal=f"the kill switch can't be read: {pause}", unsent=Reason.PAUSED, unread=True)
    if isinstance(pause, Pause):
        return Ran(start.tag, refusal=f"{pause.reason} ({pause.by})", unsent=Reason.PAUSED)
    fence_s = start.within_s - (outside.monotonic() - gathered.looked_from) - DATE_S
    timeout_s = min(RUN_S, fence_s, budget.left_s - SETTLE_S)
    target = gathered.document.target
    if timeout_s < 1.0 or target is None:
        return Ran(start.tag, refusal="too much time had passed since the look", unsent=Reason.LEDGER_UNKNOWN)
    try:
        return Ran(start.tag, outside.run(target, start.tag, start.runner_not_after, timeout_s))
    except Denied as denied:
        return Ran(
            start.tag, refusal=denied.detail, remedy=denied.remedy, busy=denied.code == "busy", mismatch=denied.code == "mismatch"
        )
    except Unavailable as unavailable:
        outside.log("WARNING", f"the answer to the start is missing: {unavailable}", target=target.name)
        return Ran(start.tag)


def _settled(outside: Outside, gathered: Gathered, ran: Ran, budget: Budget) -> tuple[Gathered, Reply | None]:
    """Save what came of a start. If that fails, the wake-up finds it out."""
    key, seen = gathered.document.key, gathered.seen
    try:
        for _ in range(TRIES):
            if ran.busy:
                seen, _storm_generation = look(outside, gathered.document, ran, budget)
            made = step(gathered.document, ran, seen, outside.now(), outside.rules)
            if made.document == gathered.document:
                return gathered, made.reply
            try:
                generation, _pause, _at = _write(outside, gathered, made, budget)
            except Conflict:
                # An alert joined meanwhile. Whoever moved on to another attempt makes this step change nothing.
                stored = outside.load(key, budget.at_most(STORE_S))
                gathered = replace(gathered, document=document_of(key, stored), generation=stored.generation if stored else None)
                continue
            _log_step(outside, gathered.document, made)
            for act in made.acts:
                if isinstance(act, Abort):
                    _abort(outside, act, budget)
            return replace(gathered, document=made.document, generation=generation), made.reply
    except (Unavailable, Denied) as error:
        outside.log("WARNING", f"what came of the start was not saved: {error}")
    return replace(gathered, generation=None), None


def _abort(outside: Outside, act: Abort, budget: Budget) -> None:
    try:
        outside.abort(act.execution, budget.at_most(RUN_S))
    except (Unavailable, Denied) as error:
        outside.log("ERROR", f"execution {act.execution} could not be aborted: {error}")


def _tell(outside: Outside, gathered: Gathered, budget: Budget, waited: set[str]) -> None:
    """Tell and archive, and save that it was done.

    `waited`: ids of messages that others of their kind have had time to join, so that all may go out together.
    """
    if budget.left_s < TELL_LEAST_S:
        return
    told = delivered(outside, gathered.document, budget)
    bundled = [message for message in gathered.document.to_tell if message.bundle and message.id in waited]
    if bundled:
        told = replace(told, ids=told.ids | _taken_over(outside, bundled, budget))
    if told.ids or told.archived:
        _saved_told(outside, gathered, told, budget)


def _saved_told(outside: Outside, gathered: Gathered, told: Told, budget: Budget) -> None:
    key = gathered.document.key
    try:
        for _ in range(TRIES):
            made = step(gathered.document, told, NOTHING_SEEN, outside.now(), outside.rules)
            if made.document == gathered.document:
                return
            try:
                _write(outside, gathered, made, budget)
                return
            except Conflict:
                stored = outside.load(key, budget.at_most(STORE_S))
                gathered = replace(gathered, document=document_of(key, stored), generation=stored.generation if stored else None)
    except (Unavailable, Denied) as error:
        outside.log("WARNING", f"what was told was not saved, it may be told again: {error}")


def _taken_over(outside: Outside, messages: list[Message], budget: Budget) -> set[str]:
    """Hand bundled messages to the bundle's document, with all others of their kind that wait now."""
    ids: set[str] = set()
    for reason in dict.fromkeys(message.bundle for message in messages):
        mine = {message.id for message in messages if message.bundle == reason}
        key = f"bundle-{reason.replace('_', '-')}"
        try:
            stored = outside.load(key, budget.at_most(STORE_S))
            told = set(document_of(key, stored).bundled)
            if not mine <= told:
                names, waiting = _waiting_for(outside, reason, told, budget)
                advance(outside, key, Bundled(Reason(reason), frozenset(waiting | mine), names), budget)
            ids |= mine
        except (Unavailable, Denied) as error:
            outside.log("WARNING", f"messages about {reason} wait for the next wake-up: {error}")
    return ids


def _waiting_for(outside: Outside, reason: str, told: set[str], budget: Budget) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """All messages about this reason that wait in any document and are not in `told`: their names by channel, and their ids."""
    names: dict[str, list[str]] = {}
    ids: set[str] = set()
    for entry in outside.listed(budget.at_most(LIST_S)):
        if entry.due is None or entry.key.startswith("bundle-"):
            continue
        stored = outside.load(entry.key, budget.at_most(STORE_S))
        try:
            document = document_of(entry.key, stored)
        except Denied as denied:
            outside.log("WARNING", f"left out of a bundle: {denied}", document=entry.key)
            continue
        for message in document.to_tell:
            if message.bundle == reason and message.id not in told:
                ids.add(message.id)
                names.setdefault(message.channel, []).append(message.name or message.card.headline)
    return {channel: tuple(found) for channel, found in names.items()}, ids


def _log_step(outside: Outside, before: Document, made: Step) -> None:
    """One line for what changed: the phase, or the outcome."""
    after = made.document
    fields: dict[str, object] = {"document": after.key, "target": after.target.name if after.target else ""}
    if made.reply is not None:
        fields |= {"incident": made.reply.incident, "action": made.reply.action.value}
        fields |= {"reason": made.reply.reason.value} if made.reply.reason else {}
    if len(after.outcomes) > len(before.outcomes) or (
        after.outcomes and after.outcomes[-1:] != before.outcomes[-1:] and before.incident and not after.incident
    ):
        last = after.outcomes[-1]
        fields |= {"incident": last.incident, "outcome": last.ending.value, "reason": last.reason.value if last.reason else ""}
        severity = "ERROR" if last.ending.value == "escalated" else "NOTICE"
        outside.log(severity, f"incident {last.ending.value}", **fields)
    elif after.incident is not None and (before.incident is None or before.incident.phase is not after.incident.phase):
        fields |= {"incident": after.incident.id, "phase": after.incident.phase.value}
        outside.log("NOTICE", f"incident is {after.incident.phase.value}", **fields)
    elif made.reply is not None:
        outside.log("INFO", f"{made.reply.action.value}: {made.reply.reason.value if made.reply.reason else ''}", **fields)
