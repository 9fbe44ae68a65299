"""Deliberately broken variants of the protocol. Each must be caught, or the checker proves nothing.

A variant replaces one piece of the code under test, or switches a promise of the outside off, and names the schedules that
show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from functions.application import deliver, documents, observe, reconcile
from functions.application.documents import encode
from functions.domain.decisions import endings, evidence, following, guards, judging, phases, queries, step
from functions.domain.decisions import messages as telling
from functions.domain.decisions.judging import GuardContext
from functions.domain.decisions.turn import Turn
from functions.domain.health import looks, recovery, rows
from functions.domain.model import incidents
from functions.domain.model.codes import Health, Phase, Reason
from functions.domain.model.events import Acknowledged, Decision, Kind, Start, Step, Waiting, Wake
from functions.domain.model.observations import ExecutionHistory, Unknown
from functions.runtime.errors import Unavailable
from tests.simulation.models import Faults
from tests.simulation.world import Host

Piece = tuple[Any, str, Callable[[Any], Any]]
"""Where, the name there, and what makes the broken one of the right one."""


@dataclass(frozen=True)
class Variant:
    """One broken protocol. `faults` and `options` make the schedules that show it likely."""

    what: str
    pieces: tuple[Piece, ...] = ()
    faults: Faults | None = None
    options: frozenset[str] = frozenset()
    caught_by: str = ""
    """The invariant that must be reported; any where empty."""
    seed: int = 0
    """The first that shows it. After a change of the code another one may; the test looks for it."""


@contextmanager
def applied(variant: Variant) -> Iterator[None]:
    """The code with this variant's pieces replaced, and put back afterwards."""
    kept = [(where, name, getattr(where, name)) for where, name, _ in variant.pieces]
    try:
        for where, name, broken in variant.pieces:
            setattr(where, name, broken(getattr(where, name)))
        yield
    finally:
        for where, name, right in kept:
            setattr(where, name, right)


def _without_compare(right: Any) -> Any:
    def save(self: Host, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        stored = self.world.store.bodies.get(key)
        current = str(stored[1]) if stored else None
        saved: str = right(self, key, body, generation=current, due=due, timeout_s=timeout_s)
        return saved

    return save


def _save_before_wake(right: Any) -> Any:
    def write(ports: Any, gathered: Any, change: Step, budget: Any) -> Any:
        wakes = tuple(act for act in change.acts if isinstance(act, Wake))
        result = right(
            ports, gathered, replace(change, acts=tuple(act for act in change.acts if not isinstance(act, Wake))), budget
        )
        for act in wakes:
            ports.wake(act.at, {"target": change.document.key}, timeout_s=5.0)
        return result

    return write


def _post_before_save(right: Any) -> Any:
    def write(ports: Any, gathered: Any, change: Step, budget: Any) -> Any:
        for act in change.acts:
            if isinstance(act, Start) and change.document.target is not None:
                with suppress(Exception):  # a broken variant may be as careless as it likes
                    ports.runner.run(change.document.target, tag=act.tag, runner_not_after=act.runner_not_after, timeout_s=5.0)
        return right(ports, gathered, change, budget)

    return write


def _knows_if_answered(right: Any) -> Any:
    """Only remembers whether the last save was answered, for `_once_answered`."""

    def save(self: Host, *arguments: Any, **named: Any) -> str:
        self.answered = False
        saved: str = right(self, *arguments, **named)
        self.answered = True
        return saved

    return save


def _once_answered(right: Any) -> Any:
    """After a save that landed late and was not answered, no other wake-up is created."""

    def wake_again(ports: Any, *arguments: Any) -> None:
        if ports.answered:
            right(ports, *arguments)

    return wake_again


def _never_unsent(right: Any) -> Any:
    """No fence: POST however long ago the look was, and with a fence for the job that has just begun."""

    def run(ports: Any, gathered: Any, start: Start, budget: Any, saved: Any) -> Any:
        fresh = replace(gathered, looked_from=ports.monotonic())
        ahead = ports.world.rundeck.ahead_s
        late = replace(start, runner_not_after=ports.world.now + ahead + 300.0)
        return right(ports, fresh, late, replace(budget, ends=ports.monotonic() + 60.0), saved)

    return run


def _blind_retry(right: Any) -> Any:
    def run(self: Host, target: Any, *, tag: str, runner_not_after: float, timeout_s: float) -> Any:
        try:
            return right(self, target, tag=tag, runner_not_after=runner_not_after, timeout_s=timeout_s)
        except Unavailable:
            return right(self, target, tag=tag, runner_not_after=runner_not_after + 300.0, timeout_s=timeout_s)

    return run


def _looks_empty(right: Any) -> Any:
    """A history that can't be read is taken for an empty one."""

    def look(self: Host, target: Any, **named: Any) -> ExecutionHistory:
        try:
            history: ExecutionHistory = right(self, target, **named)
        except Unavailable:
            return ExecutionHistory(self.world.now + self.world.rundeck.ahead_s)
        return history

    return look


def _replaced_guard(place: str, broken: Callable[[Any], Any]) -> Piece:
    def table(right: dict[str, Any]) -> dict[str, Any]:
        return {name: broken(guard) if name == place else guard for name, guard in right.items()}

    return (guards, "GUARDS", table)


def _all_healthy(right: Any) -> Any:
    def judge_all(scene: GuardContext) -> Any:
        return [(replace(judged, health=Health.WELL), watched) for judged, watched in right(scene)]

    return judge_all


def _passes(_right: Any) -> Any:
    def guard(scene: GuardContext) -> Decision | None:
        return None

    return guard


def _believes_suspicions(right: Any) -> Any:
    """What is suspected is taken for what it is suspected to be."""

    def symptom(scene: GuardContext) -> Decision | None:
        decision: Decision | None = None if scene.incident.is_suspicion else right(scene)
        return decision

    return symptom


def _lets_go(right: Any) -> Any:
    """A queue that has not stood still for all of `for` yet is taken for one that moves."""

    def symptom(scene: GuardContext) -> Decision | None:
        decision: Decision | None = right(scene)
        unsure = decision is not None and decision.again_in_s is not None and not decision.tell
        return replace(decision, reason=Reason.SYMPTOM_GONE, again_in_s=None) if decision and unsure else decision

    return symptom


def _pause_of_the_look(right: Any) -> Any:
    """The kill switch as it was decided on: never read again."""

    def run(ports: Any, gathered: Any, start: Start, budget: Any, saved: Any) -> Any:
        return right(ports, gathered, start, budget, replace(saved, pause=None, paused_at=ports.monotonic()))

    return run


def _starts_without_slot(right: Any) -> Any:
    """A storm slot that another target took first, or of which nobody knows, is taken for one of this target's own."""

    def run(ports: Any, gathered: Any, start: Start, budget: Any, saved: Any) -> Any:
        return right(ports, gathered, start, budget, replace(saved, slot_error=None))

    return run


def _earlier_will_do(right: Any) -> Any:
    """Whatever is due later than the wake-up that was created beside the observation is left to that one."""

    def set_due(before: Any, result: Step, context: Any) -> Step:
        right_result: Step = right(before, result, context)
        unneeded = context.wake_at is not None
        return replace(right_result, acts=tuple(act for act in right_result.acts if not (unneeded and isinstance(act, Wake))))

    return set_due


def _let_go_first(right: Any) -> Any:
    """The record is forgotten with the save, and written afterwards."""

    def write(ports: Any, gathered: Any, change: Step, budget: Any) -> Any:
        records = change.document.to_archive
        result = right(ports, gathered, replace(change, document=replace(change.document, to_archive=())), budget)
        for record in records:
            ports.store.archive(documents.archive_path(record), encode(record), timeout_s=5.0)
        return result

    return write


def _forgets_messages(right: Any) -> Any:
    """Messages leave the document with the save, before they were posted."""

    def write(ports: Any, gathered: Any, change: Step, budget: Any) -> Any:
        return right(ports, gathered, replace(change, document=replace(change.document, to_tell=())), budget)

    return write


def _one_queue(right: Any) -> Any:
    def with_alerts(incident: Any, cases: Any, now: Any) -> Any:
        joined, left_out = right(incident, cases, now)
        return replace(joined, queues=joined.queues[:1]), left_out

    return with_alerts


def _nobody_needed(_right: Any) -> Any:
    """A queue without consumers is as good as one with them."""

    def present(*_: Any) -> int:
        return 1

    return present


def _one_look(_right: Any) -> Any:
    """What looks well once is recovered."""

    def unproven(incident: Any, runbook: Any) -> list[Any]:
        return [watched for watched in incident.queues if watched.after.well_at is None]

    return unproven


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


def _adopts_any(right: Any) -> Any:
    """Whatever runs of the same job is taken for the target's own restart."""

    def job_busy(scene: GuardContext) -> Decision | None:
        for execution in scene.history.others:
            return Decision(Kind.ADOPT, Reason.ALREADY_RUNNING, execution=execution)
        decision: Decision | None = right(scene)
        return decision

    return job_busy


def _unseen_runs_on(_right: Any) -> Any:
    """A restart that nobody can see is taken for one that still runs."""

    def why_unseen(turn: Any) -> None:
        return None

    return why_unseen


def _carries_nothing(right: Any) -> Any:
    def carried(document: Any) -> Any:
        return right(replace(document, outcomes=()))

    return carried


def _first_alone(right: Any) -> Any:
    """The message about many names one of them, and is taken for all."""

    def waiting_for(*arguments: Any) -> Any:
        waiting_messages = right(*arguments)
        first = next(iter(waiting_messages.values()), Waiting("", ""))
        return {message: replace(one, name=first.name) for message, one in waiting_messages.items()}

    return waiting_for


def _acts_on_lost_save(right: Any) -> Any:
    """A save without an answer counts as saved, whether it was or not."""

    def save(self: Host, key: str, body: bytes, *, generation: str | None, due: float | None, timeout_s: float) -> str:
        try:
            saved: str = right(self, key, body, generation=generation, due=due, timeout_s=timeout_s)
        except Unavailable:
            stored = self.world.store.bodies.get(key)
            return str(stored[1]) if stored else "0"
        return saved

    return save


def _looks_on(right: Any) -> Any:
    """What can't be read is looked at again at once, as long as it can't be read."""

    def look_again(turn: Turn, unseen: Unknown) -> None:
        right(turn, unseen)
        if turn.document.incident is not None:
            turn.change(due=turn.at)

    return look_again


def _posts_all(right: Any) -> Any:
    """Whoever saves a document posts all that it has to tell, also what another holder is just posting."""

    def deliver(ports: Any, document: Any, to_post: Any, budget: Any) -> Any:
        return right(ports, document, frozenset(message.id for message in document.to_tell), budget)

    return deliver


def _asks_on(right: Any) -> Any:
    """A person's no settles nothing: the alert that fires on is asked about again."""

    def alerts_of_outcomes(document: Any) -> Any:
        kept = tuple(outcome for outcome in document.outcomes if outcome.reason is not Reason.DECLINED)
        return right(replace(document, outcomes=kept))

    return alerts_of_outcomes


def _deaf(right: Any) -> Any:
    """Whoever takes an escalation is thanked, and told again all the same."""

    def on_acknowledgement(turn: Turn, event: Any) -> None:
        before = turn.document.escalation
        right[Acknowledged](turn, event)
        taken = turn.document.escalation
        if taken is not None and before is not None:
            turn.document = replace(turn.document, escalation=replace(taken, due=before.due))

    return {**right, Acknowledged: on_acknowledgement}


def _silent(_right: Any) -> Any:
    """Nobody is told again."""

    def remind(turn: Turn) -> None:
        document = turn.document
        if document.escalation is not None and document.is_reminder_due(turn.at):
            turn.document = replace(document, escalation=replace(document.escalation, due=None))

    return remind


def _never_awaited(right: Any) -> Any:
    """The restart does not wait for the end of the evidence run."""
    return lambda *_: False


def _without_end(right: Any) -> Any:
    """The restart waits until there is evidence, however long that takes."""

    def order(turn: Turn, judged: Any) -> None:
        right(turn, judged)
        evidence = turn.incident.evidence
        if evidence is not None:
            turn.change(evidence=replace(evidence, until=evidence.until + 1e6))

    return order


def _asked_for_again(right: Any) -> Any:
    """That evidence was asked for is forgotten."""

    def needs(turn: Turn, decision: Decision) -> bool:
        if turn.incident.evidence is not None:
            turn.change(evidence=replace(turn.incident.evidence, asked_at=None))
        again: bool = right(turn, decision)
        return again

    return needs


def _all_runs(right: Any) -> Any:
    """Evidence runs stay in the history that the guards see."""
    return lambda seen: seen


def _as_if_live(right: Any) -> Any:
    """A condition that looks back is taken for one about this moment."""

    def read_queue(self: Host, queue: Any, for_s: float, timeout_s: float) -> Any:
        return replace(right(self, queue, for_s, timeout_s), range_s=0.0)

    return read_queue


def _counted_to_the_step(right: Any) -> Any:
    """The patience with a queue that joined late is counted up to the step, however old the figures are by then."""

    def judge_recovery(runbook: Any, seen: Any, watched: Any, since: Any) -> Any:
        age_s = 0.0 if isinstance(seen, Unknown) else since.now - seen.at
        earlier = replace(watched, joined_at=watched.joined_at - age_s)
        return replace(right(runbook, seen, earlier, since), joined_at=watched.joined_at)

    return judge_recovery


def _given_is_held(right: Any) -> Any:
    """What an idle consumer was given just now is counted from its last work on, and that its queue held none is overlooked."""

    def find_flat(seen: Any, trust: Any) -> Any:
        channels = tuple(replace(one, counted=max(one.counted, one.held)) for one in seen.channels or ())
        return right(replace(seen, channels=channels, history=replace(seen.history, unacked=())), trust)

    return find_flat


def _absent_is_zero(right: Any) -> Any:
    """Counters that are not there are taken for zeros, and so is what can't be seen."""

    def read(*arguments: Any, **named: Any) -> Any:
        seen = right(*arguments, **named)
        zeros = tuple((at, 0) for at, _ in seen.depth_samples) or tuple((seen.at - 5.0 * back, 0) for back in range(25, -1, -1))
        depths = seen.depth_samples or tuple((at, seen.depth) for at, _ in zeros)
        history = replace(
            seen.history,
            deliveries=seen.history.deliveries or zeros,
            unacked=seen.history.unacked or tuple((at, seen.unacked or 0) for at, _ in zeros),
        )
        known = {"deliveries": seen.deliveries or 0, "consumers": seen.consumers or 0, "consumed": True}
        return replace(seen, ack_samples=seen.ack_samples or zeros, depth_samples=depths, history=history, blind=None, **known)

    return read


def _unseen_is_nothing(right: Any) -> Any:
    """Channels that can't be seen are taken for none that hold anything."""

    def judge(symptom: Any, seen: Any, *rest: Any) -> Any:
        return right(symptom, replace(seen, unseen=None), *rest)

    return judge


def _by_depth(right: Any) -> Any:
    """A queue that flows is as good as one of which every consumer works."""

    def works_again(runbook: Any, seen: Any, watched: Any, after: Any, *_: Any) -> bool:
        return bool(watched.held_by) and after.moved_at is not None

    return works_again


def _not_the_same(right: Any) -> Any:
    """Whether the message that hangs has been delivered before is not looked at."""

    def held_again(*arguments: Any) -> tuple[int, bool]:
        return right(*arguments)[0], False

    return held_again


def _all_escalated(_right: Any) -> Any:
    """An escalation holds every queue of its target."""

    def is_about_other_queues(document: Any, incident: Any) -> bool:
        return False

    return is_about_other_queues


def _ever_acked(right: Any) -> Any:
    """A queue of which no message was ever acknowledged is as good as any."""

    def weaken(row: Any, symptom: Any, seen: Any, trust: Any, terms: Any) -> Any:
        return right(row, symptom, seen, replace(trust, acked=True), terms)

    return weaken


def _any_host(right: Any) -> Any:
    """An opinion counts, whichever host it is about."""

    def ask_opinion(incident: Any, judged: Any) -> Any:
        opinion = incident.evidence.opinion if incident.evidence else None
        if opinion is not None:
            judged = replace(judged, held_by=tuple(replace(one, host=opinion.host) for one in judged.held_by))
        return right(incident, judged)

    return ask_opinion


def _not_looked_at(right: Any) -> Any:
    """While people are asked nobody looks."""

    def check(turn: Turn) -> None:
        expires_at = turn.incident.approval.expires_at or turn.at
        if turn.at < expires_at:
            turn.change(due=expires_at)
        else:
            right[Phase.ASKED](turn)

    return {**right, Phase.ASKED: check}


def _calls_people(_right: Any) -> Any:
    """A question that nobody answers is handed to people."""

    def end_as_not_approved(turn: Turn) -> None:
        endings.escalate(turn, turn.incident.reason, turn.incident.detail)

    return end_as_not_approved


UNDISTURBED = frozenset({"auto", "sick", "untroubled", "one_clock"})

ALONE = frozenset({"auto", "untroubled", "one_clock", "nobody answers"})

VARIANTS = (
    Variant("a message given just now, counted from the last work on", ((rows, "_find_flat", _given_is_held),), Faults(),
        frozenset({"auto", "idle"}), "I3", seed=1),
    Variant("absent counters taken for zeros", ((Host, "read_queue", _absent_is_zero),), Faults(),
        frozenset({"auto", "busy", "dead letters", "the statistics are off"}), "I3", seed=4),
    Variant("unseen channels taken for none", ((looks, "judge", _unseen_is_nothing),), Faults(broker_slow=0.5),
        frozenset({"auto", "sick", "one hangs", "one_clock"}), "seen", seed=4),
    Variant("recovered while one of several hangs", ((recovery, "_works_again", _by_depth),), Faults(),
        frozenset({"auto", "sick", "one hangs", "never heals"}), "I5", seed=10),
    Variant("the same message restarted again", ((recovery, "find_held_again", _not_the_same),), Faults(),
        frozenset({"auto", "sick", "one hangs", "never heals"}), "same", seed=5),
    Variant("an escalation that holds nothing", (_replaced_guard("escalated", _passes),), Faults(),
        frozenset({"auto", "sick", "one hangs", "never heals", "soon_again"}), "I3", seed=20),
    Variant("an escalation that holds the whole target", ((guards, "is_about_other_queues", _all_escalated),), Faults(),
        UNDISTURBED | {"two_queues", "apart", "never heals"}, "soon", seed=3),
    Variant("one of several that nobody sees", ((rows, "_find_flat", lambda _: lambda *_: []),), Faults(),
        UNDISTURBED | {"one hangs"}, "soon", seed=6),
    Variant("a save without compare", ((Host, "save", _without_compare),), Faults(stall=0.1), frozenset({"auto", "sick"}), "I1",
        seed=21),
    Variant("the save before the wake-up", ((reconcile, "_write_ahead_and_save", _save_before_wake),), Faults(crash=0.1),
        frozenset({"auto", "no_sweep", "one_clock"}), "I2", seed=7),
    Variant("a wake-up that was refused, taken for one that exists", ((reconcile, "_was_made", lambda _: lambda result: True),),
        Faults(wake_down=0.6), frozenset({"auto", "sick", "one_clock"}), "I3", seed=13),
    Variant("a save that landed late and was not answered, left to its first wake-up",
        ((Host, "save", _knows_if_answered), (reconcile, "_wake_again", _once_answered)), Faults(slow=0.5, store_lost=0.2),
        frozenset({"auto", "sick", "quick", "one_clock"}), "sweep", seed=159),
    Variant("a wake-up that comes too early, taken for the one that is needed", ((step, "_set_due", _earlier_will_do),),
        Faults(), frozenset({"auto", "sick", "evidence", "one_clock"}), "I10", seed=4),
    Variant("a start without its storm slot",
        ((reconcile, "_start_job", _starts_without_slot), (documents, "MOST_SHARDS", lambda _: 1),
            (documents, "TRIES", lambda _: 1)), Faults(), frozenset({"auto", "sick", "many"}), "I3", seed=14),
    Variant("the POST before the save", ((reconcile, "_write_ahead_and_save", _post_before_save),),
        Faults(stall=0.05, crash=0.05), frozenset({"auto", "sick"})),
    Variant("no fence", ((reconcile, "_start_job", _never_unsent),), Faults(stall=0.15), frozenset({"auto", "sick"}), seed=1),
    Variant("the job ignores unstick_not_after", (), Faults(run_late=0.7, stall=0.1),
        frozenset({"auto", "sick", "no_fence_in_job"}), "I1", seed=20),
    Variant("blind retry after a time-out", ((Host, "run", _blind_retry),), Faults(run_late=0.6, run_lost=0.3),
        frozenset({"auto", "sick"}), "I1", seed=4),
    Variant("a new attempt number too early", ((phases, "NUMBER_ANEW_S", lambda _: -100.0),),
        Faults(run_late=0.7, run_lost=0.3, history_lag_s=40.0), frozenset({"auto", "sick"}), "I1", seed=11),
    Variant("a guard that fails open", ((Host, "look", _looks_empty),), Faults(history_down=0.5, run_lost=0.5),
        frozenset({"auto", "sick"}), seed=10),
    Variant("an unseen restart counted as running", ((following, "_why_unseen", _unseen_runs_on),), Faults(history_down=0.985),
        frozenset({"auto", "sick"}), "I4", seed=15),
    Variant("adopting another target's execution", (_replaced_guard("job_busy", _adopts_any),), Faults(),
        frozenset({"auto", "sick", "many", "one_job"})),
    Variant("a repeat counted as a new cause", ((incidents, "alerts_of_outcomes", _carries_nothing),
        _replaced_guard("just_restarted", _passes), _replaced_guard("cooldown", _passes)), Faults(), frozenset({"auto", "sick"}),
        "I1", seed=53),
    Variant("a repeat posted as news", ((incidents, "alerts_of_outcomes", _carries_nothing),), Faults(),
        frozenset({"auto", "sick"}), "I2", seed=12),
    Variant("a no that settles nothing", ((incidents, "alerts_of_outcomes", _asks_on),), Faults(), frozenset({"approve", "sick"}),
        "I1", seed=1),
    Variant("a verdict from late statistics", ((recovery, "SETTLED_S", lambda _: 0.0),), Faults(),
        frozenset({"auto", "sick", "quick", "purges"}), "I5", seed=29),
    Variant("a condition that looks back counted at once", ((Host, "read_queue", _as_if_live),), Faults(scrape_s=60.0),
        frozenset({"auto", "sick"}), "I5", seed=14),
    Variant("a late queue judged by old figures", ((following, "judge_recovery", _counted_to_the_step),), Faults(slow=0.4),
        frozenset({"auto", "sick", "quick", "two_queues", "one_clock", "no monitoring"}), "I5", seed=98),
    Variant("recovered without consumers", ((recovery, "_count_consumers", _nobody_needed),), Faults(),
        frozenset({"auto", "sick", "quick", "purges"}), "I5"),
    Variant("recovered after one check", ((following, "_unproven", _one_look),), Faults(), frozenset({"auto", "sick"}), "I5",
        seed=3),
    Variant("a message lost in a crash", ((reconcile, "_write_ahead_and_save", _forgets_messages),), Faults(crash=0.1),
        frozenset({"auto", "sick"}), "I2", seed=11),
    Variant("the second queue forgotten", ((step, "_with_alerts", _one_queue),), Faults(),
        frozenset({"auto", "sick", "two_queues"}), "I5", seed=5),
    Variant("the kill switch read once", ((reconcile, "_start_job", _pause_of_the_look),), Faults(stall=0.2),
        frozenset({"auto", "sick", "pausing"}), "I9", seed=29),
    Variant("dropping the incident before archiving it", ((reconcile, "_write_ahead_and_save", _let_go_first),),
        Faults(crash=0.15), frozenset({"auto", "sick"}), "I2", seed=22),
    Variant("acting on a save that failed", ((Host, "save", _acts_on_lost_save),), Faults(store_lost=0.2, store_down=0.3),
        frozenset({"auto", "sick"}), "I3", seed=4),
    Variant("an unreadable kill switch counted as off", ((Host, "load", _unread_is_off),), Faults(store_down=0.3),
        frozenset({"auto", "sick", "pausing"}), "I9", seed=0),
    Variant("an approval that nobody gave", (_replaced_guard("mode", _passes),), Faults(), frozenset({"approve", "sick"}), "I3"),
    Variant("observing that restarts", (_replaced_guard("mode", _passes),), Faults(), frozenset({"observe", "sick"}), "I3"),
    Variant("observing that believes what it can't see", ((following, "judge_queues", _all_healthy),), Faults(),
        frozenset({"observe", "sick"}), "I5", seed=1),
    Variant("observing that overlooks people", ((following, "_restart_by_hand", lambda _: lambda *_: None),), Faults(),
        frozenset({"observe", "sick"}), "I5", seed=21),
    Variant("no cooldown", (_replaced_guard("cooldown", _passes),), Faults(), frozenset({"auto", "sick", "soon_again"}), "I3",
        seed=18),
    Variant("no limit of restarts", (_replaced_guard("too_many_restarts", _passes),), Faults(),
        frozenset({"auto", "sick", "limited", "soon_again"}), "I3", seed=1),
    Variant("a failing job is not held", (_replaced_guard("failing", _passes),), Faults(),
        frozenset({"auto", "sick", "failing", "soon_again"}), "I3", seed=5),
    Variant("no freeze windows", (_replaced_guard("frozen", _passes),), Faults(), frozenset({"auto", "frozen"}), "I3", seed=4),
    Variant("no limit of targets", (_replaced_guard("too_many_targets", _passes),), Faults(),
        frozenset({"auto", "sick", "many"}), "I3", seed=1),
    Variant("no limit of attempt numbers", ((guards, "MAX_NUMBERED", lambda _: 1000),), Faults(run_late=0.97),
        frozenset({"auto", "sick"}), "I3", seed=20),
    Variant("a start without a clear answer that is tried again and again", ((guards, "MAX_UNCLEAR", lambda _: 1000),),
        Faults(run_error=0.97), frozenset({"auto", "sick"}), "unclear", seed=0),
    Variant("no check of the symptom", (_replaced_guard("symptom", _passes), _replaced_guard("likely_stuck", _passes)), Faults(),
        frozenset({"auto", "false_alarm"}), "I3", seed=6),
    Variant("a suspicion that is believed",
        (_replaced_guard("symptom", _believes_suspicions), _replaced_guard("likely_stuck", _passes)), Faults(),
        frozenset({"auto", "suspected"}), "I3", seed=0),
    Variant("a suspicion that is let go while the queue stands still", (_replaced_guard("symptom", _lets_go),), Faults(),
        frozenset({"auto", "sick", "suspected", "untroubled", "one_clock"}), "soon", seed=7),
    Variant("a suspicion that came to nothing and is told", ((endings, "PASSED", lambda _: frozenset()),), Faults(),
        frozenset({"auto", "suspected"}), "quiet", seed=12),
    Variant("a bundle that forgets", ((deliver, "_collect_bundle", _first_alone),), Faults(),
        frozenset({"auto", "sick", "many"}), "I2", seed=4),
    Variant("nobody is notified",
        tuple((where, "channels_for", lambda _: lambda *a, **k: ()) for where in (telling, endings)), Faults(),
        frozenset({"auto", "sick"}), "I2", seed=11),
    Variant("an unposted message that waits for an hour", ((step, "UNTOLD_S", lambda _: 3600.0),), Faults(chat_down=0.5),
        frozenset({"auto", "sick", "one_clock"}), "told", seed=0),
    Variant("a new message that puts off those that wait",
        ((step, "post_untold_at", lambda _: lambda before, after, context: context.due_within(step.UNTOLD_S)),),
        Faults(chat_down=0.5), frozenset({"auto", "sick", "one_clock"}), "told", seed=124),
    Variant("checks without a pause", ((endings, "look_again", _looks_on),), Faults(run_lost=0.5, history_down=0.5),
        frozenset({"auto", "sick", "one_clock"}), "every", seed=124),
    Variant("a wake-up that another one has replaced",
        tuple((where, "is_replaced", lambda _: lambda document, event, now: False) for where in (step, queries)),
        Faults(slow=0.5), frozenset({"auto", "sick", "one_clock"}), "every", seed=22),
    Variant("another restart though all are used up",
        ((following, "is_used_up", lambda _: lambda incident, runbook: incident.restarts >= max(runbook.limits.attempts, 2)),),
        Faults(), frozenset({"auto", "sick"}), "I1", seed=1),
    Variant("an escalation that is told again without end", ((endings, "TOLD_AGAIN", lambda _: 1000),), Faults(),
        frozenset({"auto", "sick"}), "again", seed=48),
    Variant("an acknowledgement that nobody hears", ((step, "HANDLERS", _deaf),), Faults(),
        frozenset({"auto", "sick"}), "again", seed=1),
    Variant("an escalation that is told once", ((step, "remind", _silent),), Faults(), frozenset({"auto", "sick"}), "again",
        seed=1),
    Variant("a message that two processes post", ((reconcile, "deliver_messages", _posts_all),), Faults(),
        frozenset({"auto", "sick", "two_queues", "one_clock", "slow_chat"}), "once", seed=12),
    Variant("a restart before the evidence ended", ((observe, "is_awaited", _never_awaited),), Faults(),
        frozenset({"auto", "sick", "evidence", "one_clock"}), "I10", seed=3),
    Variant("a restart that waits for evidence for ever",
        ((phases, "order_evidence", _without_end), (evidence, "LOOK_S", lambda _: 600.0)), Faults(),
        frozenset({"auto", "sick", "evidence", "one_clock"}), "I10", seed=4),
    Variant("evidence taken twice", ((phases, "needs_evidence", _asked_for_again),), Faults(),
        frozenset({"auto", "sick", "evidence"}), "I10", seed=0),
    Variant("evidence counted as a restart", ((step, "without_evidence_runs", _all_runs),), Faults(),
        frozenset({"auto", "sick", "evidence", "same_job"}), "I10"),
    Variant("what is kept, taken for what hangs", ((rows, "_say_open_window", lambda _: lambda *_: ""),), Faults(),
        ALONE | {"keeps"}, "I13", seed=11),
    Variant("a lock that is broken", ((rows, "_weaken", _ever_acked),), Faults(), ALONE | {"locks"}, "I13"),
    Variant("an alert's history that nobody reads", ((step, "remember_history", lambda _: lambda watched, alert: watched),),
        Faults(), ALONE | {"gone after the broker's restart"}, "I13", seed=3),
    Variant("a question that is repeated", ((judging, "was_asked", lambda _: lambda *_: False),), Faults(), ALONE | {"locks"},
        "I13"),
    Variant("a question that calls people", ((endings, "end_as_not_approved", _calls_people),), Faults(), ALONE | {"locks"},
        "I13"),
    Variant("a question during which nobody looks", ((phases, "PHASES", _not_looked_at),), Faults(),
        ALONE | {"fills"}, "I13", seed=27),
    Variant("what is likely, restarted like what is proved", (_replaced_guard("likely_stuck", _passes),), Faults(),
        ALONE | {"keeps"}, "I13", seed=11),
    Variant("an opinion of another host", ((judging, "ask_opinion", _any_host),), Faults(), ALONE | {"one of two", "opinions"},
        "seen"),
    Variant("a connection that the restart did not end, restarted again",
        ((following, "find_survivor", lambda _: lambda *_: None),), Faults(), ALONE | {"survives"}, "I13", seed=4),
)  # fmt: skip
