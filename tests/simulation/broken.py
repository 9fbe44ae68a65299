"""One deliberately broken variant for each thing that the checker looks for. Each must be caught, or the checker proves nothing.

A variant replaces public pieces of the code under test, or what it meets outside, and names schedules that show it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from functions.application import deliver
from functions.application.documents import decode, encode
from functions.domain.decisions import evidence, guards, messages, step, waiting
from functions.domain.decisions.turn import GuardContext, Turn
from functions.domain.health import recovery, stalls
from functions.domain.model.cards import Card
from functions.domain.model.codes import Reason
from functions.domain.model.events import Decision
from functions.domain.model.incidents import Document
from functions.domain.model.observations import ExecutionHistory, QueueSnapshot, Standstill
from functions.runtime.errors import Denied, Unavailable
from tests.simulation.broker import Queue
from tests.simulation.courses.held import DIES
from tests.simulation.host import Host
from tests.simulation.models import Faults, Run
from tests.simulation.world import World

NO_FAULTS = Faults()

Piece = tuple[Any, str, Callable[[Any], Any]]
"""Where it is defined, the name there, and what makes the broken one of the right one."""


@dataclass(frozen=True)
class Variant:
    """One broken protocol. `faults` and `options` make the schedules that show it likely."""

    what: str
    caught_by: str
    """The invariant that must be reported."""
    pieces: tuple[Piece, ...] = ()
    faults: Faults = NO_FAULTS
    options: frozenset[str] = frozenset({"auto", "sick"})


@contextmanager
def applied(*pieces: Piece) -> Iterator[None]:
    """The code with these pieces replaced wherever they were imported, and put back afterwards."""
    kept = []
    try:
        for where, name, broken in pieces:
            right = getattr(where, name)
            importers = [module for key, module in sys.modules.items() if key.startswith("functions.") and module is not where]
            piece = broken(right)
            for place in (where, *(module for module in importers if vars(module).get(name) is right)):
                kept.append((place, name, right))
                setattr(place, name, piece)
        yield
    finally:
        for place, name, right in kept:
            setattr(place, name, right)


def _without_compare(right: Any) -> Any:
    def save(self: Host, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        stored = self.world.store.bodies.get(key)
        current = str(stored[1]) if stored else None
        saved: str = right(self, key, body, generation=current, due=due, timeout_s=timeout_s)
        return saved

    return save


def _blind_retry(right: Any) -> Any:
    def run(self: Host, target: Any, *, tag: str, runner_not_after: float, timeout_s: float) -> Any:
        try:
            return right(self, target, tag=tag, runner_not_after=runner_not_after, timeout_s=timeout_s)
        except Unavailable:
            return right(self, target, tag=tag, runner_not_after=runner_not_after + 300.0, timeout_s=timeout_s)

    return run


def _forgets_messages(right: Any) -> Any:
    """Messages leave the document with its save, before they were posted."""

    def save(self: Host, key: str, body: bytes, **named: Any) -> str:
        if key.startswith("target-"):
            body = encode(replace(decode(Document, body, key), to_tell=()))
        saved: str = right(self, key, body, **named)
        return saved

    return save


def _unread_is_empty(right: Any) -> Any:
    """A history that can't be read is taken for an empty one."""

    def look(self: Host, target: Any, **named: Any) -> ExecutionHistory:
        try:
            history: ExecutionHistory = right(self, target, **named)
        except (Unavailable, Denied):
            return ExecutionHistory(self.world.now + self.world.rundeck.ahead_s)
        return history

    return look


def _unread_is_off(right: Any) -> Any:
    """A kill switch that can't be read is taken for one that is off."""

    def load(self: Host, key: str, *, timeout_s: float) -> Any:
        try:
            return right(self, key, timeout_s=timeout_s)
        except Unavailable:
            if key == "pause":
                return None
            raise

    return load


def _without_guards(*names: str) -> Piece:
    """These guards let everything pass."""
    return (guards, "GUARDS", lambda right: {**right, **dict.fromkeys(names, lambda scene: None)})


def _lets_go(right: Any) -> Any:
    """A queue that has not stood still for all of `for` yet is taken for one that moves."""

    def symptom(scene: GuardContext) -> Decision | None:
        decision: Decision | None = right["symptom"](scene)
        unsure = decision is not None and decision.again_in_s is not None and not decision.tell
        return replace(decision, reason=Reason.SYMPTOM_GONE, again_in_s=None) if decision and unsure else decision

    return {**right, "symptom": symptom}


def _once_is_twice(right: Any) -> Any:
    """What looks well once is recovered."""

    def judge_recovery(runbook: Any, seen: Any, watched: Any, since: Any) -> Any:
        judged = right(runbook, seen, watched, since)
        return replace(judged, after=replace(judged.after, proven=judged.after.well_at is not None))

    return judge_recovery


def _looks_on(right: Any) -> Any:
    """What can't be read is looked at again at once, as long as it can't be read."""

    def wait_for_history(turn: Turn, *rest: Any, **changes: Any) -> None:
        right(turn, *rest, **changes)
        if turn.document.incident is not None:
            turn.change(due=turn.at)

    return wait_for_history


def _posts_all(right: Any) -> Any:
    """Whoever saves a document posts all that it has to tell, also what another process is just posting."""

    def deliver(ports: Any, document: Any, to_post: Any, budget: Any) -> Any:
        return right(ports, document, frozenset(message.id for message in document.to_tell), budget)

    return deliver


def _any_end_teaches(right: Any) -> Any:
    """Whatever ends a standstill, a new connection's acknowledgement too, ends it by itself."""

    def look_again(standstill: Standstill, reading: Any, *rest: Any) -> Any:
        return right(standstill, reading, *rest) or replace(standstill, ended_at=reading.at)

    return look_again


def _says_no_end(right: Any) -> Any:
    """What needs no action is told to nobody."""

    def post(self: Host, channel: str, card: Card, *rest: Any) -> Any:
        return None if card.urgency == "fine" else right(self, channel, card, *rest)

    return post


def _seems_own(right: Any) -> Any:
    """Whoever takes messages is taken for the application."""

    def read(self: Queue, *given: Any, **named: Any) -> QueueSnapshot:
        seen: QueueSnapshot = right(self, *given, **named)
        own = tuple(replace(channel, user="app") for channel in seen.channels or ())
        owners = seen.owners and ("app",) * len(seen.owners)
        return replace(seen, users=seen.users and ("app",), owners=owners, channels=own if seen.channels is not None else None)

    return read


def _answers_all(right: Any) -> Any:
    """An answer counts for whatever the document asks when it comes."""

    def decline(self: World, key: str, incident: str, nonce: str, **named: Any) -> None:
        now = next((one.incident for one in self.documents() if one.key == key), None)
        right(self, key, incident, now.approval.nonce if now is not None else nonce, **named)
        self.declines[-1] = (self.now, incident, nonce)

    return decline


UNDISTURBED = frozenset({"auto", "sick", "untroubled", "one_clock"})
ALONE = frozenset({"auto", "untroubled", "one_clock", "nobody answers"})

VARIANTS = (
    Variant("a save without compare", "I2", ((Host, "save", _without_compare),),
        Faults(run_late=0.7, stall=0.1, wake_twice=1.0), UNDISTURBED),
    Variant("blind retry after a time-out", "I1", ((Host, "run", _blind_retry),), Faults(run_late=0.6, run_lost=0.3)),
    Variant("the job ignores unstick_not_after", "I1", (), Faults(run_late=0.9, stall=0.1), UNDISTURBED | {"no_fence_in_job"}),
    Variant("messages forgotten with the save", "I2", ((Host, "save", _forgets_messages),), Faults(chat_down=0.5)),
    Variant("nobody is notified", "I2", ((messages, "channels_for", lambda _: lambda *a, **k: ()),)),
    Variant("no check of the symptom", "I3", (_without_guards("symptom", "likely_stuck"),), options=frozenset({"auto", "busy"})),
    Variant("an approval that nobody gave", "I3", (_without_guards("mode"),), options=frozenset({"approve", "sick"})),
    Variant("a guard that fails open", "I4", ((Host, "look", _unread_is_empty),), NO_FAULTS,
        frozenset({"auto", "sick", "the history is hidden"})),
    Variant("recovered after one check", "I5", ((recovery, "judge_recovery", _once_is_twice),)),
    Variant("an unreadable kill switch counted as off", "I9", ((Host, "load", _unread_is_off),), Faults(store_down=0.5),
        frozenset({"auto", "sick", "pausing"})),
    Variant("a restart before the evidence ended", "I10", ((evidence, "is_awaited", lambda _: lambda *_: False),), NO_FAULTS,
        frozenset({"auto", "sick", "evidence", "one_clock"})),
    Variant("what is likely, restarted like what is proved", "I13", (_without_guards("likely_stuck"),), NO_FAULTS,
        ALONE | {"keeps"}),
    Variant("a run that Rundeck ended counted as over", "I20",
        ((Run, "state", lambda right: lambda *given: replace(right(*given), over=True)),), NO_FAULTS, UNDISTURBED | {"cut"}),
    Variant("an end that nobody is told", "I19", ((Host, "post", _says_no_end),), NO_FAULTS, UNDISTURBED | {"mended by hand"}),
    Variant("what waits, looked at too late", "I16",
        ((World, "wake", lambda right: lambda self, at, content: right(self, at + 400.0, content)),), NO_FAULTS, UNDISTURBED),
    Variant("an answer for more than its card named", "I18", ((World, "decline", _answers_all),), NO_FAULTS,
        frozenset({"approve", "sick", "two_queues", "slow readers", "untroubled", "one_clock"})),
    Variant("strangers taken for the application", "I5", ((Queue, "read", _seems_own),), NO_FAULTS, ALONE | {DIES, "strangers"}),
    Variant("a suspicion that is let go while the queue stands still", "soon", ((guards, "GUARDS", _lets_go),), NO_FAULTS,
        UNDISTURBED | {"suspected"}),
    Variant("an unposted message that waits for an hour", "told", ((step, "UNTOLD_S", lambda _: 3600.0),), Faults(chat_down=0.5),
        frozenset({"auto", "sick", "one_clock"})),
    Variant("a message that two processes post", "once", ((deliver, "deliver_messages", _posts_all),), NO_FAULTS,
        frozenset({"auto", "sick", "suspected", "two_queues", "one_clock", "slow_chat"})),
    Variant("checks without a pause", "every", ((waiting, "wait_for_history", _looks_on),),
        Faults(run_lost=0.9, history_down=0.9), UNDISTURBED),
    Variant("a stall that a new connection ended teaches", "learned", ((stalls, "look_again", _any_end_teaches),), NO_FAULTS,
        ALONE | {"is mended and hangs"}),
)  # fmt: skip
