"""Loads, observes, steps, writes ahead, acts and saves. Only this file knows the order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.application import documents
from functions.application.deliver import bundle_key, collect_bundle, deliver_messages
from functions.application.documents import STORE_S, TRIES, load
from functions.application.observe import LOOK_S, LOOK_SHARE, NOTHING_SEEN, observe, or_unknown, read_all, read_pause
from functions.application.ports import Budget, Mismatch, Ports
from functions.domain.decisions.phases import FIRST_LOOK_S
from functions.domain.decisions.step import has_firing_target, is_enough, needs_observation, of_alerts, step
from functions.domain.model import events
from functions.domain.model.cards import Message
from functions.domain.model.codes import Reason
from functions.domain.model.events import EvidenceStarted, MessagesDelivered, Reply, StartResult
from functions.domain.model.incidents import Document
from functions.domain.model.observations import Observation, Pause, Slot, Unknown
from functions.runtime.errors import Conflict, Denied, DeniedCode, Unavailable
from functions.runtime.parallel import unwrap
from functions.runtime.text import Text

RUN_S = 10.0
START_EVIDENCE_S = 5.0
KEEP_EVIDENCE_S = 2.0  # seconds to archive the output, in parallel with the save
SETTLE_S = 1.0  # seconds of the budget reserved for saving the result of a start
DATE_S = 1.0  # resolution of the Date header, in seconds; `not_after` depends on it
PAUSE_AGE_S = 1.0  # seconds. The kill switch is read with the save, and again before acting if the save took longer than this


class Saved(Struct, frozen=True):
    """A saved document, and what was read in parallel with the save."""

    generation: str
    slot_error: Exception | None = None  # why no storm slot was claimed; None if one was, or if none is needed
    pause: Pause | Exception | None = None  # the kill switch, or the error of reading it; None if it is off
    paused_at: float = 0.0  # monotonic time of the request for the kill switch


class Loaded(Struct, frozen=True):
    """A loaded document, and the observation that belongs to it."""

    document: Document
    generation: str | None
    observation: Observation
    at: float  # the time of the step
    looked_from: float = 0.0  # monotonic time at which the observation began
    wake_at: float | None = None  # the time of a wake-up that was created during the observation
    to_post: frozenset[str] = frozenset()
    """The messages that this process posts. Another process may be posting the others at this moment."""

    def after_save(self, document: Document, generation: str) -> Loaded:
        """The saved document; posting the messages that the save added is this process's job."""
        new = _message_ids(document) - _message_ids(self.document)
        return replace(self, document=document, generation=generation, to_post=self.to_post | new)


def advance(ports: Ports, key: str, event: events.Event, budget: Budget) -> Reply | None:
    """Advance one document by one event. Returns the answer to Grafana; if it raises, a wake-up finds what was done."""
    wake_at = None
    for attempt in range(TRIES):
        if attempt and budget.left_s <= 0:
            break
        loaded = _load_and_observe(ports, key, event, budget, first=attempt == 0)
        wake_at = loaded.wake_at or wake_at
        change = step(loaded.document, event, loaded.observation, loaded.at, ports.rules, wake_at)
        if change.document == loaded.document and not change.acts:
            return change.reply
        try:
            saved = _write_ahead_and_save(ports, loaded, change, budget)
        except Conflict:
            continue
        documents.log_step(ports, loaded.document, change)
        due = loaded.document.due  # the process that moves it posts the messages that waited for it
        overdue = _message_ids(loaded.document) if due is not None and loaded.at >= due else frozenset()
        loaded = replace(loaded, to_post=overdue).after_save(change.document, saved.generation)
        reply, loaded = _act(ports, loaded, change, budget, saved)
        if loaded.generation is not None:
            _deliver(ports, loaded, budget, overdue if isinstance(event, events.TimerFired) else frozenset())
        return reply
    raise Unavailable("store", Text("another process kept changing the document"), late=True)


def _load_and_observe(ports: Ports, key: str, event: events.Event, budget: Budget, *, first: bool) -> Loaded:
    looked_from, woken_at = ports.monotonic(), None
    if first and isinstance(event, events.AlertsReceived) and has_firing_target(event):
        wanted, hurries = of_alerts(event.cases), not all(case.alert.is_suspicion for case in event.cases)
        store_s, wake_at = budget.at_most(STORE_S), ports.now() + FIRST_LOOK_S
        ahead: list[Callable[[], Any]] = [partial(ports.store.load, key, timeout_s=store_s)]
        if hurries:
            # An extra wake-up is harmless, so don't wait for the decision: if a job is started, the wake-up looks for it.
            ahead.append(partial(ports.wake, wake_at, _to_wake_up(key, wake_at), timeout_s=store_s))
        results, observation = read_all(ports, wanted, budget.at_most(LOOK_S) * LOOK_SHARE, ahead, store_s)
        document, generation = documents.decode_document(key, unwrap(results[0]))
        if hurries and not isinstance(or_unknown(results[1]), Unknown):  # else the step orders another one
            woken_at = wake_at
        now = ports.now()
        if is_enough(wanted, document) or not needs_observation(document, event, now):
            return Loaded(document, generation, observation, now, looked_from, woken_at)
    document, generation = load(ports, key, budget.at_most(STORE_S))
    now, looked_from = ports.now(), ports.monotonic()
    if not needs_observation(document, event, now):
        return Loaded(document, generation, NOTHING_SEEN, now, wake_at=woken_at)
    observation = observe(ports, document, event, budget)
    return Loaded(document, generation, observation, ports.now(), looked_from, woken_at)


def _write_ahead_and_save(ports: Ports, loaded: Loaded, change: events.Step, budget: Budget) -> Saved:
    """Create the wake-up if none exists yet, then save. With the save of a start: claim its slot, read the kill switch. With
    any save: archive evidence, before the step acts. A failure of that is ignored."""
    document, timeout_s = change.document, budget.at_most(STORE_S)
    times = [act.at for act in change.acts if isinstance(act, events.Wake)]
    ahead = [partial(ports.wake, at, _to_wake_up(document.key, at), timeout_s=timeout_s) for at in times]
    for result in ports.run_parallel(ahead, timeout_s):
        unwrap(result)
    body, due = documents.encode(document), document.due
    save = partial(ports.store.save, document.key, body, generation=loaded.generation, due=due, timeout_s=timeout_s)
    calls: dict[str, Callable[[], Any]] = {"document": save}
    for act in change.acts:
        if isinstance(act, events.Start | events.Collect):
            calls["kill switch"] = partial(read_pause, ports, timeout_s)
        elif isinstance(act, events.Claim):  # claiming returns nothing
            calls["slot"] = partial(documents.claim_slot, ports, Slot(document.key, act.at), act.storm, timeout_s)
        elif isinstance(act, events.Keep):
            calls[f"evidence of {act.incident}"] = partial(_keep_evidence, ports, act, timeout_s)
    asked_at = ports.monotonic()
    results = dict(zip(calls, ports.run_parallel(list(calls.values()), timeout_s), strict=True))
    return Saved(unwrap(results["document"]), results.get("slot"), results.get("kill switch"), asked_at)


def _to_wake_up(key: str, due: float) -> dict[str, Any]:
    return {"target": key, "due": due}


def _act(ports: Ports, loaded: Loaded, change: events.Step, budget: Budget, saved: Saved) -> tuple[Reply | None, Loaded]:
    """Do what only the process whose save succeeded may do. Without a generation, the result could not be saved."""
    reply = change.reply
    for act in change.acts:
        if isinstance(act, events.Start):
            result = _start_job(ports, loaded, act, budget, saved)
            loaded, answer = _save_result(ports, loaded, result, budget)
            reply = answer or (replace(reply, execution=result.execution) if reply else None)
        elif isinstance(act, events.Collect):
            started = _start_evidence(ports, act, loaded.looked_from, saved.pause, budget)
            loaded, _ = _save_result(ports, loaded, started, budget)
    return reply, loaded


def _start_job(ports: Ports, loaded: Loaded, start: events.Start, budget: Budget, saved: Saved) -> StartResult:
    """Start the job once, if its storm slot is taken, the kill switch is off now and the answer comes before the fence."""
    if saved.slot_error is not None:
        refusal = Text("no storm slot could be taken: {why}", why=str(saved.slot_error))
        return StartResult(start.tag, refusal=refusal, unsent=Reason.STORM_UNKNOWN, unread=True)
    pause = saved.pause
    if ports.monotonic() - saved.paused_at > PAUSE_AGE_S:
        (pause,) = ports.run_parallel([partial(read_pause, ports, budget.at_most(STORE_S))], budget.at_most(STORE_S))
    if isinstance(pause, Exception):
        refusal = Text("the kill switch can't be read: {why}", why=or_unknown(pause).why)
        return StartResult(start.tag, refusal=refusal, unsent=Reason.PAUSED, unread=True)
    if isinstance(pause, Pause):
        return StartResult(start.tag, refusal=pause.why, unsent=Reason.PAUSED)
    fence_s = start.within_s - (ports.monotonic() - loaded.looked_from) - DATE_S
    timeout_s = min(RUN_S, fence_s, budget.left_s - SETTLE_S)
    target = loaded.document.target
    if timeout_s < 1.0 or target is None:
        return StartResult(start.tag, refusal=Text("too much time had passed since the last check"), unsent=Reason.LEDGER_UNKNOWN)
    try:
        limited = replace(target, options={**target.options, **start.options})
        execution = ports.runner.run(limited, tag=start.tag, runner_not_after=start.runner_not_after, timeout_s=timeout_s)
        return StartResult(start.tag, execution)
    except Mismatch as mismatch:
        return _abort(ports, start.tag, mismatch, min(RUN_S, budget.left_s - SETTLE_S))
    except Denied as denied:
        busy, passive = denied.code is DeniedCode.BUSY, denied.code is DeniedCode.PASSIVE
        return StartResult(start.tag, refusal=denied.detail, remedy=denied.remedy, busy=busy, passive=passive)
    except Unavailable as unavailable:
        ports.log("WARNING", f"no response to the start request; it may have started: {unavailable}", target=target.name)
        return StartResult(start.tag, unclear=unavailable.text)


def _abort(ports: Ports, tag: str, mismatch: Mismatch, timeout_s: float) -> StartResult:
    """Abort what runs with other options than were sent, before anything else: it may be another target's restart."""
    started = replace(mismatch.execution, tag=tag)
    try:
        aborted = replace(ports.runner.abort(started.id, timeout_s=timeout_s), tag=tag)
    except (Unavailable, Denied) as error:
        ports.log("ERROR", f"execution {started.id} could not be aborted: {error}")
        return StartResult(tag, started, refusal=error.text, remedy=mismatch.remedy, mismatch=True)
    return StartResult(tag, aborted, remedy=mismatch.remedy, mismatch=True)


def _start_evidence(ports: Ports, collect: events.Collect, looked_from: float, pause: Any, budget: Budget) -> EvidenceStarted:
    if pause is not None:
        return EvidenceStarted(collect.tag, refusal=Text("the kill switch is on, or can't be read"))
    timeout_s = min(budget.at_most(START_EVIDENCE_S), collect.within_s - (ports.monotonic() - looked_from))
    if timeout_s <= 0:
        return EvidenceStarted(collect.tag, refusal=Text("too much time had passed since the last check"))
    try:
        run = ports.runner.start_evidence(collect.job, collect.options, tag=collect.tag, timeout_s=timeout_s)
    except Denied as denied:
        return EvidenceStarted(collect.tag, refusal=denied.detail)
    except Unavailable as unavailable:
        ports.log("WARNING", f"no response to the start of the evidence job: {unavailable}")
        return EvidenceStarted(collect.tag)
    return EvidenceStarted(collect.tag, run)


def _keep_evidence(ports: Ports, keep: events.Keep, timeout_s: float) -> None:
    """Archive the output. If that fails, the runner still has it."""
    try:
        path = documents.evidence_path(keep.incident)
        ports.store.archive(path, keep.output.encode(), timeout_s=min(timeout_s, KEEP_EVIDENCE_S))
    except (Denied, Unavailable) as error:
        ports.log("WARNING", f"evidence not archived: {error}", incident=keep.incident)


def _save_result(ports: Ports, loaded: Loaded, result: events.Result, budget: Budget) -> tuple[Loaded, Reply | None]:
    """Step by the result of what was done, and save. If that fails, the wake-up finds out."""
    observation = NOTHING_SEEN if isinstance(result, MessagesDelivered) else loaded.observation
    try:
        for _ in range(TRIES):
            change = step(loaded.document, result, observation, ports.now(), ports.rules)
            if change.document == loaded.document:
                return loaded, change.reply
            try:
                generation = _write_ahead_and_save(ports, loaded, change, budget).generation
            except Conflict:
                # An alert joined in the meantime. If another process went on to another attempt, this step changes nothing.
                document, generation_now = load(ports, loaded.document.key, budget.at_most(STORE_S))
                loaded = replace(loaded, document=document, generation=generation_now)
                continue
            documents.log_step(ports, loaded.document, change)
            return loaded.after_save(change.document, generation), change.reply
    except (Unavailable, Denied) as error:
        ports.log("WARNING", f"not saved what was started or posted, which may be posted again: {error}")
    return replace(loaded, generation=None), None


def _message_ids(document: Document) -> frozenset[str]:
    return frozenset(message.id for message in document.to_tell)


def _deliver(ports: Ports, loaded: Loaded, budget: Budget, waited: frozenset[str]) -> None:
    """Post and archive, and save the progress. `waited`: ids of messages that no longer wait for others of their kind."""
    delivered = deliver_messages(ports, loaded.document, loaded.to_post, budget)
    bundled = [message for message in loaded.document.to_tell if message.bundle and message.id in waited]
    delivered = replace(delivered, ids=delivered.ids | _hand_to_bundles(ports, bundled, budget))
    if delivered.ids or delivered.archived:
        _save_result(ports, loaded, delivered, budget)


def _hand_to_bundles(ports: Ports, messages: list[Message], budget: Budget) -> frozenset[str]:
    """Move messages to their bundles' documents, with all others of their kind that wait. Returns the ids of what was moved."""
    moved: frozenset[str] = frozenset()
    for reason in dict.fromkeys(message.bundle for message in messages):
        own_ids = {message.id for message in messages if message.bundle == reason}
        try:
            if bundled := collect_bundle(ports, reason, own_ids, budget):
                advance(ports, bundle_key(reason), bundled, budget)
            moved |= own_ids
        except (Unavailable, Denied) as error:
            ports.log("WARNING", f"messages about {reason} wait for the next wake-up: {error}")
    return moved
