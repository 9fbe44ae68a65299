"""I5, I16, I18, I19: an end is proved like a beginning. Of each card that says that something is over it asks which queues it
named, and whether the application itself was well then; strangers who take its messages prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from functions.domain.model.cards import Card
from functions.domain.model.codes import Reason
from tests.simulation.broker import RANGE
from tests.simulation.checker.past import LOOK_AND_FENCE_S, SKEW_S, Past, Violation, incident_of
from tests.simulation.models import Run
from tests.simulation.queues import COUNTED_S

LEAVING_S = 10.0
"""A consumer of before may take so long to leave; one that is there still is one that stays."""
MOVED_S = 20.0
KNOWN_S = 2.0
"""Rundeck's Date has whole seconds, and a queue's answer may come up to half a second from it, at both looks."""
OLD_S = 400.0
"""Where processes stall, what is said may rest on looks that are so old."""
OWED_S = 3600.0
"""What was well for so long at the end is over, whatever waits looks at it once in nine minutes."""
SOON_S, LONG_S = 60.0, 1800.0
SELDOM_S = 540.0
MORE_S = 75.0
OVER = ("recovered", "resolved", "declined")
"""Kinds of cards that end what people were told; so does each that needs no action."""


def check_ends(past: Past) -> list[Violation]:
    """All violations of these four."""
    return [*_said_well(past), *_settled_more(past), *_widened(past), *_left_open(past)]


def _said_well(past: Past) -> Iterator[Violation]:
    """Recovered, works again and is healthy are said only of queues that were well in two looks, after whatever ended."""
    for at, target, card in past.cards:
        if card.kind not in ("recovered", "resolved") and not (card.kind == "held" and card.urgency == "fine"):
            continue
        record, ran = past.records.get(card.incident), None
        if card.kind == "recovered" and record is not None and (record.incident.restarts or record.incident.execution):
            ran = _run_of(past, target, card.incident)
            if ran is None or ran.ends is None or ran.ends > at:
                yield Violation("I5", f"{card.incident} of {target} recovered without a restart that had ended")
                continue
        is_end = any(other.incident == card.incident and when < at for when, _, other in past.cards)
        for name in past.named(card):
            if not _is_seen_well(past, name, ran, at, is_end=is_end) and not (
                ran and _is_moving(past, name, ran.ends or 0.0, at)
            ):
                yield Violation("I5", f"{card.incident}: {name} was not well when people read: {card.headline}")


def _run_of(past: Past, target: str, incident: str) -> Run | None:
    execution = past.records[incident].incident.execution
    ids = {execution.id} if execution is not None else set()
    return next((run for run in past.runs.get(target, []) if ids & {str(retry.id) for retry in run.chain()}), None)


def _is_seen_well(past: Past, name: str, ran: Run | None, until: float, *, is_end: bool) -> bool:
    """Whether the last looks before found it well, for `every` at least if people had been told that it was not."""
    world, ended = past.world, ran.ends or 0.0 if ran else 0.0
    range_s = RANGE * world.faults.scrape_s
    looks = [at for at in world.looks.get(name, []) if ended + range_s - KNOWN_S * bool(range_s) < at <= until]
    is_quick = past.is_steady and not world.faults.broker_down
    old_s = range_s + (LOOK_AND_FENCE_S if is_quick else OLD_S)
    well: list[float] = []
    for at in reversed(looks):
        if is_well(past, name, ran, at):
            well.append(at)
        elif (well and at not in world.taken_in) or until - at > old_s:
            break
    if not well or until - well[0] > old_s + past.runbook.verify.every_s or not is_end:
        return bool(well) and not is_end
    # Without Rundeck's clock, what lies between two looks is by the clocks of those who look.
    unread = not is_quick or any(well[-1] - LOOK_AND_FENCE_S <= at <= well[0] + LOOK_AND_FENCE_S for at in world.unread)
    return well[0] - well[-1] >= (0.1 if unread else max(past.runbook.verify.every_s, range_s) - KNOWN_S)


def is_well(past: Past, name: str, ran: Run | None, at: float) -> bool:
    """Whether a consumer of the application is there, which came with the restart or stays, and nothing waits, or it finishes
    messages and none of its consumers hangs. What Prometheus looks back on may be over; a lost node's consumers stay listed."""
    queue, scrape_s, for_s = past.world.queues[name], past.world.faults.scrape_s, past.runbook.symptom.for_s
    ended, began = (ran.ends or 0.0, ran.started) if ran else (0.0, 0.0)
    old = () if at >= ended + LEAVING_S else queue.consumers(began)
    moved_s = (RANGE + 1) * scrape_s or for_s + 2 * COUNTED_S
    moments = (at, max(ended + LEAVING_S, at - moved_s) if scrape_s else at - COUNTED_S * (2 if past.world.nodes_lost else 1))
    present = not past.book_of(name).recovered.min_consumers
    present = present or any(one not in old for moment in moments for one in queue.consumers(moment))
    empty = any(queue.depth(moment) == 0 for moment in (at, at - (scrape_s or COUNTED_S)))
    moves = queue.done(at) > queue.done(max(ended, at - moved_s)) and (scrape_s or at >= ended + for_s)
    return present and (empty or bool(moves and (scrape_s or not queue.stuck(at, moved_s))))


def _is_moving(past: Past, name: str, ended: float, at: float) -> bool:
    """At the end of `within`: it has consumers, and moved lately."""
    queue, verify = past.world.queues[name], past.runbook.verify
    unread = any(at - LOOK_AND_FENCE_S <= when <= at for when in past.world.unread)
    late = at >= ended + verify.within_s - (SKEW_S if unread else KNOWN_S)
    lately = max(ended, at - verify.patience_s - 2 * MOVED_S)
    return late and bool(queue.consumers(at)) and queue.done(at) > queue.done(lately)


def _settled_more(past: Past) -> Iterator[Violation]:
    """I18: a decline settles what the card named that was answered, and nothing else."""
    cards = {card.nonce: card for _, _, card in past.cards if card.nonce}
    nonces = {incident: nonce for _, incident, nonce in past.world.declines}
    for _, _, document in past.saves:
        for outcome in document.outcomes:
            card = cards.get(nonces.pop(outcome.incident, "")) if outcome.reason is Reason.DECLINED else None
            more = {trigger.queue for trigger in outcome.triggers if trigger.queue} - set(past.named(card)) if card else ()
            if more:
                yield Violation("I18", f"a decline of {outcome.incident} settled {sorted(more)}, which its card did not name")


def _widened(past: Past) -> Iterator[Violation]:
    """I18: what failed on one host is never restarted on all."""
    for runs in past.runs.values():
        for earlier, later in pairwise(run for run in runs if run.by == "unstick"):
            same = incident_of(earlier.tag) == incident_of(later.tag)
            if same and earlier.host and not later.host and earlier.status != "succeeded":
                yield Violation("I18", f"{earlier.tag} failed on {earlier.host}, and {later.tag} restarted all hosts")


def _left_open(past: Past) -> Iterator[Violation]:
    """I16 and I19: whatever people were asked or called for is looked at, and its end is told on the same channel."""
    world, faults = past.world, past.world.faults
    calm = past.is_steady and "one_clock" in world.options and not world.troubles
    calm = calm and not (faults.broker_down or faults.history_down or world.aways)
    for begun, channel, card in _beginnings(past):
        ends = [end for at, where, end in world.chat.posts if at > begun and where == channel and _ends(past, end, card)]
        over = [end.at for end in ends]  # when it was decided: a chat may be late
        over += [at for at, incident, _ in world.declines if incident == card.incident and at > card.at]
        names, until = past.named(card), min(over, default=world.now)
        shown = world.broker.statistics and not (world.broker.page_slow or world.broker.silent)  # what can't be read is not well
        if shown and not over and begun < world.now - OWED_S and all(_is_long_well(past, name) for name in names):
            yield Violation("I19", f"{channel} was told of {names}: {card.headline}; it is well, and nobody said so")
        for name in names if calm else ():
            looks = [begun, *(at for at in world.looks.get(name, []) if begun < at < until), max(begun, until)]
            for earlier, later in pairwise(looks):
                if later - earlier > MORE_S + (SOON_S if later < card.at + LONG_S else SELDOM_S):  # a chat may be late
                    yield Violation("I16", f"{name} was not looked at from {earlier:.0f} to {later:.0f}: {card.headline}")
                    break


def _beginnings(past: Past) -> Iterator[tuple[float, str, Card]]:
    """Each question and escalation on each channel. A reminder, and a card that is posted anew, begin nothing."""
    begun = set()
    for at, channel, card in past.world.chat.posts:
        key = (channel, card.incident, card.kind)
        if key not in begun and (card.kind == "escalated" or (card.kind == "held" and "approve" in card.actions)):
            begun.add(key)
            yield at, channel, card


def _ends(past: Past, end: Card, card: Card) -> bool:
    """Whether it ends what the other card began, or goes on from it: a restart has an end of its own."""
    goes_on = end.kind == "escalated" or ("approve" in end.actions and end.incident != card.incident)
    became = end.kind == "held" and not end.actions and end.incident == card.incident  # what it turned out to be, such as a loop
    is_end = end.kind in OVER or end.urgency == "fine" or goes_on or became
    return is_end and (end.incident == card.incident or bool(set(past.named(end)) & set(past.named(card))))


def _is_long_well(past: Past, name: str) -> bool:
    queue, now = past.world.queues[name], past.world.now
    moments = [now - 60.0 * back for back in range(int(OWED_S / 60.0))]
    works = all(queue.consumers(at) and queue.depth(at) == 0 for at in moments)  # nobody may see who works on a backlog
    return works and not any(queue.hung(at, past.runbook.symptom.for_s / 2) for at in moments)
