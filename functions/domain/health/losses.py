"""What a restart costs in messages: each return of what is held counts against the delivery limit (docs/rabbitmq.md)."""

from __future__ import annotations

from functions.domain.health.proofs import SETTLED_S
from functions.domain.health.samples import drop_gaps, rise_of, within
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import QueueSnapshot, Returns, Samples


def may_drop(returns: Returns) -> bool:
    """Whether the next return may drop a message that is held."""
    return returns.left == 0 and not returns.dead_letters


def may_lose(watched: QueueState) -> bool:
    """Whether the restart may have cost messages, so that nothing is said of it before they can be counted."""
    return watched.before is not None and watched.before.returns is not None


def count_lost(before: QueueSnapshot | None, seen: QueueSnapshot) -> int:
    """How many messages are gone since the last snapshot before a restart, that were neither acknowledged nor are there.

    Only for a queue whose delivery limit may be the reason, and only a number that exceeds what the counters may lag behind: what
    is published and acknowledged in SETTLED_S.
    """
    if before is None or before.returns is None or before.uncounted or seen.uncounted or seen.deliveries is None:
        return 0
    published, acked = (seen.published or 0) - (before.published or 0), (seen.acks or 0) - (before.acks or 0)
    again = (seen.redeliveries or 0) - (before.redeliveries or 0)
    if min(published, acked, again) < 0 or again < before.returns.left:
        return 0
    missing = before.depth + before.later + published - acked - seen.depth - seen.later
    came = _most_in(within(seen.history.publishes, seen.at - before.at + SETTLED_S)) if seen.history.publishes else 0
    return missing if missing > came + rise_of(within(seen.ack_samples, SETTLED_S)) else 0


def _most_in(counter: Samples, seconds: float = SETTLED_S) -> int:
    """By how much a counter rose at most in so many seconds."""
    samples = drop_gaps(counter)
    return max((rise_of(within(samples[: place + 1], seconds)) for place in range(len(samples))), default=0)


def lost(watched: QueueState) -> int:
    """Of all restarts of the incident."""
    return watched.lost + watched.after.lost_since
