"""Shell: load and look, step, write ahead, act, save. The only file that knows the order."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from functions.contracts import Listed, Stored
from functions.documents import decoded, encoded
from functions.errors import Conflict, Denied, Unavailable, UnstickError
from functions.model import (
    Abort,
    Alerted,
    Approved,
    Archive,
    Bundled,
    Card,
    Case,
    Claim,
    Document,
    Event,
    Execution,
    Ledger,
    Message,
    Observation,
    Pause,
    QueueRef,
    Ran,
    Reason,
    Reply,
    Rules,
    Runbook,
    Sighting,
    Start,
    Step,
    Storm,
    Target,
    Told,
    Unknown,
    Wake,
    Woken,
)
from functions.step import APPROVAL_S, step

STORE_S = 5.0
RUN_S = 10.0
LOOK_SHARE = 0.5
"""Of the time left, for the look; the rest is for saving and acting."""
LOOK_S = 20.0
POST_S = 10.0
DATE_S = 1.0
"""Resolution of the Date header on which `not_after` rests."""
PAUSE_AGE_S = 1.0
"""The kill switch is read with the save; when the save took longer than this, it is read again before acting."""
TRIES = 50
"""Each conflict means that somebody else got on, so this many show a fault; time usually ends it first."""


class Outside(Protocol):
    """Everything that is not Unstick, and the clocks. `outside.py` has the real one; the simulation has a model of it."""

    @property
    def rules(self) -> Rules: ...
    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def together(self, calls: list[Callable[[], Any]], timeout_s: float) -> list[Any]: ...
    def load(self, key: str, timeout_s: float) -> Stored | None: ...
    def save(self, key: str, body: bytes, generation: str | None, due: float | None, timeout_s: float) -> str: ...
    def listed(self, timeout_s: float) -> list[Listed]: ...
    def archive(self, path: str, body: bytes, timeout_s: float) -> None: ...
    def wake(self, at: float, content: Mapping[str, Any], timeout_s: float) -> None: ...
    def ledger(self, target: Target, since_s: float, follow: str | None, timeout_s: float, *, tail: bool) -> Ledger: ...
    def sighting(self, queue: QueueRef, for_s: float, timeout_s: float) -> Sighting: ...
    def run(self, target: Target, tag: str, runner_not_after: float, timeout_s: float) -> Execution: ...
    def abort(self, execution: str, timeout_s: float) -> None: ...
    def post(self, channel: str, card: Card, thread: str | None, timeout_s: float) -> str | None: ...
    def approval(self, key: str, nonce: str, expires_at: float) -> str: ...
    def paused_here(self) -> bool: ...
    def log(self, severity: str, message: str, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Until when, by the monotonic clock, everything must be done."""

    outside: Outside
    ends: float

    @property
    def left_s(self) -> float:
        return self.ends - self.outside.monotonic()

    def at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self.left_s))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A document as it was loaded and what was seen beside it."""

    document: Document
    generation: str | None
    seen: Observation
    storm_generation: str | None = None
    looked_from: float = 0.0
    """Monotonic time at which the look began."""


NOTHING_SEEN = Observation(Unknown("it was not looked at"), {}, Unknown("it was not looked at"), Unknown("it was not looked at"))


def advance(outside: Outside, key: str, event: Event, budget: Budget) -> Reply | None:
    """Move one document by one event, and say what became of it.

    Raises Unavailable or Denied where it can't be loaded or saved; then nothing was done that a wake-up does not find.
    """
    failed: UnstickError = Unavailable("store", "somebody else kept changing the document", late=True)
    for attempt in range(TRIES):
        if attempt and budget.left_s <= 0:
            break
        gathered = _gather(outside, key, event, budget, first=attempt == 0)
        made = step(gathered.document, event, gathered.seen, outside.now(), outside.rules)
        if made.document == gathered.document and not made.acts:
            return made.reply
        try:
            generation, pause, paused_at = _write(outside, gathered, made, budget)
        except Conflict as conflict:
            failed = conflict
            continue
        except Unavailable as unavailable:
            # Perhaps it was saved: the next look tells, and goes on from there.
            failed = unavailable
            continue
        _log_step(outside, gathered.document, made)
        gathered = replace(gathered, document=made.document, generation=generation)
        reply, gathered = _act(outside, gathered, made, budget, pause, paused_at)
        if gathered.generation is not None:
            _tell(outside, gathered, budget, bundles=isinstance(event, Woken))
        return reply
    if isinstance(failed, Conflict):
        raise Unavailable("store", "somebody else kept changing the document", late=True)
    raise failed


# --- gather ----------------------------------------------------------------------------------------------------------


def _gather(outside: Outside, key: str, event: Event, budget: Budget, *, first: bool) -> Gathered:
    looked_from = outside.monotonic()
    if first and isinstance(event, Alerted) and _asks_for_look(event):
        target, queues = _of(event.cases)
        calls, read = _looks(
            outside, target, queues, None, tail=False, rules=outside.rules, timeout_s=budget.at_most(LOOK_S) * LOOK_SHARE
        )
        store_s = budget.at_most(STORE_S)
        results = outside.together([lambda: outside.load(key, store_s), *calls], budget.at_most(STORE_S))
        stored = _raised(results[0])
        document = _document(key, stored)
        seen, storm_generation = read(results[1:])
        complete = document.incident is None and document.escalated_at is None
        if complete or not _needs_look(document, event, outside.now()):
            return Gathered(document, stored.generation if stored else None, seen, storm_generation, looked_from)
    stored = outside.load(key, budget.at_most(STORE_S))
    document = _document(key, stored)
    generation = stored.generation if stored else None
    if not _needs_look(document, event, outside.now()):
        return Gathered(document, generation, NOTHING_SEEN)
    looked_from = outside.monotonic()
    seen, storm_generation = _look(outside, document, event, budget)
    return Gathered(document, generation, seen, storm_generation, looked_from)


def _document(key: str, stored: Stored | None) -> Document:
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
            return now >= incident.due
        case Woken():
            return incident is not None and now >= incident.due
        case Approved():
            return incident is not None
        case Ran():
            return event.busy
    return False


def _of(cases: tuple[Case, ...]) -> tuple[Target | None, dict[str, tuple[QueueRef, Runbook | None]]]:
    queues = {case.queue.key: (case.queue, case.runbook) for case in cases if case.queue is not None}
    return cases[0].target, queues


def _look(outside: Outside, document: Document, event: Event, budget: Budget) -> tuple[Observation, str | None]:
    """Look at everything that this document speaks of, at once."""
    target, queues = _of(event.cases) if isinstance(event, Alerted) else (document.target, {})
    incident, follow, tail = document.incident, None, False
    if document.escalated_at is not None:
        runbook = next(iter(queues.values()))[1] if queues else None
        for outcome in document.outcomes[-1:]:
            for queue in outcome.queues:
                queues.setdefault(queue.key, (queue, runbook))
    if incident is not None:
        for watched in incident.queues:
            queues.setdefault(watched.queue.key, (watched.queue, outside.rules.runbooks.get(watched.runbook)))
        follow = incident.execution.id if incident.execution else None
        tail = follow is not None and incident.tail is None
    timeout_s = budget.at_most(LOOK_S) * LOOK_SHARE
    calls, read = _looks(outside, target, queues, follow, tail=tail, rules=outside.rules, timeout_s=timeout_s)
    return read(outside.together(calls, timeout_s))


def _looks(
    outside: Outside,
    target: Target | None,
    queues: Mapping[str, tuple[QueueRef, Runbook | None]],
    follow: str | None,
    *,
    tail: bool,
    rules: Rules,
    timeout_s: float,
) -> tuple[list[Callable[[], Any]], Callable[[list[Any]], tuple[Observation, str | None]]]:
    """The calls of one look, and what makes an observation of their results."""
    since_s = max((_history_s(runbook) for runbook in rules.runbooks.values()), default=86400.0)
    keys = list(queues)
    calls: list[Callable[[], Any]] = [partial(read_pause, outside, timeout_s), lambda: outside.load("storm", timeout_s)]
    if target is not None:
        calls.append(lambda: outside.ledger(target, since_s, follow, timeout_s, tail=tail))
    for queue, runbook in queues.values():
        calls.append(partial(outside.sighting, queue, runbook.symptom.for_s if runbook else 60.0, timeout_s))

    def read(results: list[Any]) -> tuple[Observation, str | None]:
        pause, stored, rest = results[0], results[1], results[2:]
        ledger = rest[0] if target is not None else Unknown("the document names no target")
        sightings = rest[1:] if target is not None else rest
        storm, generation = _storm(stored)
        seen = dict(zip(keys, map(_or_unknown, sightings), strict=True))
        return Observation(_or_unknown(ledger), seen, _or_unknown(pause), storm), generation

    return calls, read


def _history_s(runbook: Runbook) -> float:
    """How far back the history matters to this runbook's guards."""
    limits = runbook.limits
    return max([limits.cooldown_s, *(window_s for window_s, _ in limits.restarts)]) + runbook.restart.max_run_s


def read_pause(outside: Outside, timeout_s: float) -> Pause | None:
    """The kill switch: by environment, else the document `pause`. Never kept."""
    if outside.paused_here():
        return Pause("UNSTICK_PAUSED=1 is set", "the environment")
    stored = outside.load("pause", timeout_s)
    pause = decoded(Pause, stored.body, "pause") if stored else None
    return pause if pause and pause.on else None


def _storm(stored: Any) -> tuple[Storm | Unknown, str | None]:
    if isinstance(stored, Exception):
        return _or_unknown(stored), None
    if stored is None:
        return Storm(), None
    try:
        return decoded(Storm, stored.body, "storm"), stored.generation
    except Denied as denied:
        return _or_unknown(denied), None


def _or_unknown(result: Any) -> Any:
    """A result, or why there is none."""
    if isinstance(result, Unavailable):
        return Unknown(str(result), late=result.late)
    if isinstance(result, Denied):
        return Unknown(str(result), remedy=result.remedy)
    return _raised(result)


def _raised(result: Any) -> Any:
    if isinstance(result, BaseException):
        raise result
    return result


# --- apply -----------------------------------------------------------------------------------------------------------


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
        _raised(result)
    save = partial(outside.save, document.key, encoded(document), gathered.generation, document.due, timeout_s)
    paused_at = outside.monotonic()
    if not any(isinstance(act, Start) for act in made.acts):
        return save(), None, paused_at
    generation, pause = outside.together([save, partial(read_pause, outside, timeout_s)], timeout_s)
    return _raised(generation), pause, paused_at


def archive_path(record: Archive) -> str:
    """incidents/DATE/ID.json, by the day on which the incident ended, in UTC."""
    return f"incidents/{time.strftime('%Y-%m-%d', time.gmtime(record.outcome.at))}/{record.incident.id}.json"


def _act(
    outside: Outside, gathered: Gathered, made: Step, budget: Budget, pause: Any, paused_at: float
) -> tuple[Reply | None, Gathered]:
    """What only the holder of a successful save may do. Without a generation, what came of it could not be saved."""
    reply = made.reply
    for act in made.acts:
        if isinstance(act, Start):
            ran = _run(outside, gathered, act, budget, pause, paused_at)
            gathered, answer = _settled(outside, gathered, ran, budget)
            reply = answer or reply
        elif isinstance(act, Abort):
            _abort(outside, act, budget)
    return reply, gathered


def _run(outside: Outside, gathered: Gathered, start: Start, budget: Budget, pause: Any, paused_at: float) -> Ran:
    """Start the job once, if the kill switch is off now and the answer still comes before the fence."""
    if outside.monotonic() - paused_at > PAUSE_AGE_S:
        pause = outside.together([partial(read_pause, outside, budget.at_most(STORE_S))], budget.at_most(STORE_S))[0]
    if isinstance(pause, Exception):
        return Ran(start.tag, refusal=f"the kill switch can't be read: {pause}", unsent=Reason.PAUSED)
    if isinstance(pause, Pause):
        return Ran(start.tag, refusal=f"{pause.reason} ({pause.by})", unsent=Reason.PAUSED)
    fence_s = start.within_s - (outside.monotonic() - gathered.looked_from) - DATE_S
    timeout_s = min(RUN_S, fence_s, budget.left_s)
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
                seen, _storm_generation = _look(outside, gathered.document, ran, budget)
            made = step(gathered.document, ran, seen, outside.now(), outside.rules)
            if made.document == gathered.document:
                return gathered, made.reply
            try:
                generation, _pause, _at = _write(outside, gathered, made, budget)
            except Conflict:
                # An alert joined meanwhile. Whoever moved on to another attempt makes this step change nothing.
                stored = outside.load(key, budget.at_most(STORE_S))
                gathered = replace(gathered, document=_document(key, stored), generation=stored.generation if stored else None)
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


# --- tell ------------------------------------------------------------------------------------------------------------


def _tell(outside: Outside, gathered: Gathered, budget: Budget, *, bundles: bool) -> None:
    """Post what is to be told, all channels at once, and save that it was. Whatever fails stays for the wake-up.

    `bundles`: also what goes out together with others of its kind, which have had time to come in by the first wake-up.
    """
    document = gathered.document
    direct = [message for message in document.to_tell if not message.bundle]
    bundled = [message for message in document.to_tell if message.bundle]
    channels = list(dict.fromkeys(message.channel for message in direct))
    calls: list[Callable[[], Any]] = [
        partial(_post_all, outside, document, [m for m in direct if m.channel == name], budget) for name in channels
    ]
    calls += [partial(_archived, outside, record, budget) for record in document.to_archive]
    ids: set[str] = set()
    threads: dict[str, str] = {}
    archived: set[str] = set()
    for result in outside.together(calls, budget.at_most(POST_S)) if calls else ():
        if isinstance(result, Posted):
            ids |= result.ids
            threads |= result.threads
        elif isinstance(result, str):
            archived.add(result)
        elif result is not None and not isinstance(result, Unavailable):
            _raised(result)
    if bundled and bundles:
        ids |= _taken_over(outside, bundled, budget)
    if ids or archived:
        _saved_told(outside, gathered, Told(frozenset(ids), threads, frozenset(archived)), budget)


@dataclass(frozen=True, slots=True)
class Posted:
    ids: set[str]
    threads: dict[str, str]


def _archived(outside: Outside, record: Archive, budget: Budget) -> str | None:
    """The incident's id once its record is in the archive."""
    try:
        outside.archive(archive_path(record), encoded(record), budget.at_most(STORE_S))
    except (Unavailable, Denied) as error:
        outside.log("ERROR", f"not archived: {error}", incident=record.incident.id)
        return None
    return record.incident.id


def _post_all(outside: Outside, document: Document, messages: list[Message], budget: Budget) -> Posted:
    """Post one channel's messages in their order; stop at the first that fails."""
    ids: set[str] = set()
    threads: dict[str, str] = {}
    for message in messages:
        place = f"{message.channel}/{message.card.incident}"
        card = _approvable(outside, document, message.card)
        try:
            handle = outside.post(
                message.channel, card, threads.get(place) or document.threads.get(place), budget.at_most(POST_S)
            )
        except (Unavailable, Denied) as error:
            outside.log(
                "ERROR", f"not told on {message.channel}: {error}", incident=message.card.incident, channel=message.channel
            )
            break
        ids.add(message.id)
        if handle:
            threads[place] = handle
    return Posted(ids, threads)


def _approvable(outside: Outside, document: Document, card: Card) -> Card:
    """The card with the approval link signed; the core has no keys."""
    begin = f"{outside.rules.public_url}/approve/"
    if not outside.rules.public_url or not any(url.startswith(begin) for _, url in card.links):
        return card
    expires_at = (document.incident.expires_at if document.incident else None) or card.at + APPROVAL_S
    links = tuple(
        (label, begin + outside.approval(document.key, url.removeprefix(begin), expires_at) if url.startswith(begin) else url)
        for label, url in card.links
    )
    return replace(card, links=links)


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
                gathered = replace(gathered, document=_document(key, stored), generation=stored.generation if stored else None)
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
            if not mine <= set(_document(key, stored).bundled):
                names, waiting = _waiting_for(outside, reason, budget)
                advance(outside, key, Bundled(Reason(reason), frozenset(waiting | mine), names), budget)
            ids |= mine
        except (Unavailable, Denied) as error:
            outside.log("WARNING", f"messages about {reason} wait for the next wake-up: {error}")
    return ids


def _waiting_for(outside: Outside, reason: str, budget: Budget) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """All messages about this reason that wait in any document: their names by channel, and their ids."""
    names: dict[str, dict[str, None]] = {}
    ids: set[str] = set()
    for entry in outside.listed(budget.at_most(STORE_S)):
        if entry.due is None or entry.key.startswith("bundle-"):
            continue
        stored = outside.load(entry.key, budget.at_most(STORE_S))
        document = _document(entry.key, stored)
        for message in document.to_tell:
            if message.bundle == reason:
                ids.add(message.id)
                name = document.target.name if document.target else message.card.headline
                names.setdefault(message.channel, {})[name] = None
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


# --- the two ways in ---------------------------------------------------------------------------------------------------

DIRECT = 10
"""Targets of one notification that are decided at once; what goes beyond waits for its wake-up."""
LISTED = 100
SWEEP_AFTER_S = 60.0
SWEEP_MOST = 200
WAKE_BUDGET_S = 60.0


@dataclass(frozen=True, slots=True)
class Notified:
    """What became of a notification. `lost`: alerts of so many targets could be neither decided nor saved."""

    replies: tuple[Reply, ...] = ()
    lost: int = 0
    why: str = field(default="")


def document_key(case: Case) -> str:
    """The document of an alert: its target's, or its own where it has none."""
    if case.target is not None:
        return case.target.key
    return "alert-" + hashlib.sha256(f"{case.alert.source}|{case.alert.fingerprint}".encode()).hexdigest()[:20]


def new_id(key: str, now: float, cases: list[Case]) -> str:
    """An incident's id: when it began (UTC), and a mark of its target and alerts, since two may begin at the same moment."""
    alerts = sorted((case.alert.source, case.alert.fingerprint, case.alert.starts_at) for case in cases)
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + hashlib.sha256(f"{key} {now!r} {alerts}".encode()).hexdigest()[:8]


def notified(outside: Outside, cases: list[Case], budget: Budget) -> Notified:
    """Decide or save every alert of a notification: ten targets at once, the rest in lists of 100 for their wake-ups."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(document_key(case), []).append(case)
    now = outside.now()
    events = [(key, Alerted(tuple(found), new_id(key, now, found), crowd=len(groups) > DIRECT)) for key, found in groups.items()]
    direct, rest = events[:DIRECT], events[DIRECT:]
    lists = [rest[start : start + LISTED] for start in range(0, len(rest), LISTED)]
    calls: list[Callable[[], Any]] = [partial(_decided_or_saved, outside, key, event, budget) for key, event in direct]
    calls += [partial(hand_over, outside, part, budget) for part in lists]
    results = outside.together(calls, budget.at_most(budget.left_s))
    replies: list[Reply] = []
    lost, why = 0, ""
    for part, result in zip([[event] for event in direct] + lists, results, strict=True):
        if isinstance(result, UnstickError):
            lost, why = lost + len(part), str(result)
        else:
            replies += [reply for reply in _raised(result) if reply is not None]
    return Notified(tuple(replies), lost, why)


def _decided_or_saved(outside: Outside, key: str, event: Alerted, budget: Budget) -> list[Reply | None]:
    try:
        return [advance(outside, key, event, budget)]
    except Unavailable as unavailable:
        outside.log("WARNING", f"handed to the scheduler: {unavailable}", document=key)
        return hand_over(outside, [(key, event)], replace(budget, ends=outside.monotonic() + STORE_S / 2))


def hand_over(outside: Outside, events: list[tuple[str, Alerted]], budget: Budget) -> list[Reply | None]:
    """Give alerts to the scheduler as they are; `verify` decides them. Raises Unavailable if it does not take them."""
    import msgspec

    from functions.model import Action

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
    outside.wake(outside.now(), content, budget.at_most(STORE_S))
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
    overdue = [entry for entry in outside.listed(budget.at_most(STORE_S)) if entry.due is not None and entry.due < before]
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
