"""Interprets samples of a figure over time.
RabbitMQ rounds a sample's time up to the next step, so the newest is up to one step ahead, and reports 0 for a sample between two
of its collections (measured on 3.10, 4.0 and 4.3: docs/rabbitmq.md)."""

from collections.abc import Callable
from itertools import pairwise

from functions.domain.model.observations import Samples

GAP = 2.5  # as a multiple of the usual sample interval: one missing sample is fine, two in a row aren't


def spacing_s(samples: Samples) -> float:
    """The usual time between two samples."""
    from statistics import median  # 1 ms with what it imports, and no forged request needs it

    return median(later - earlier for (earlier, _), (later, _) in pairwise(samples)) if len(samples) > 1 else 0.0


def drop_gaps(samples: Samples) -> Samples:
    """Drop single zeros between other values: they are gaps in the collection, not an empty queue."""
    if all(value != 0 for _, value in samples):
        return samples
    without_gaps = []
    for place, (at, value) in enumerate(samples):
        is_gap = value == 0 and all(samples[near][1] > 0 for near in (place - 1, place + 1) if 0 <= near < len(samples))
        if not is_gap:
            without_gaps.append((at, value))
    return tuple(without_gaps) or samples


def lasting_s(samples: Samples, holds: Callable[[int], bool]) -> float:
    """Seconds, up to the newest sample, for which each sample was like this; 0 if even the newest isn't. A gap ends the time."""
    if not samples or not holds(samples[-1][1]):
        return 0.0
    widest_s, since = GAP * spacing_s(samples), samples[-1][0]
    for at, value in reversed(samples):
        if not holds(value) or since - at > widest_s:
            break
        since = at
    return samples[-1][0] - since


def still_s(samples: Samples) -> float:
    """Seconds, up to the newest sample, for which a counter has certainly not changed."""
    return lasting_s(samples, lambda value: value == samples[-1][1])


def within(samples: Samples, seconds: float) -> Samples:
    """The samples of the last `seconds` before the newest."""
    return tuple((at, value) for at, value in samples if samples[-1][0] - at <= seconds)


def rise_of(counter: Samples) -> int:
    """How much a counter rose. One that restarts counts from zero."""
    return sum(max(0, later - earlier) for (_, earlier), (_, later) in pairwise(counter))


def rises_in_both_halves(counter: Samples) -> bool:
    """Whether the counter goes on rising: once, or in one burst, is not enough."""
    middle = len(counter) // 2
    return bool(rise_of(counter[: middle + 1]) and rise_of(counter[middle:]))
