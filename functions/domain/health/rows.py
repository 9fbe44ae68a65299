"""What the rows of the verdict table share (docs/rabbitmq.md has the table)."""

import math

from msgspec import Struct

from functions.domain.health.samples import drop_gaps, lasting_s
from functions.domain.model.codes import Proof
from functions.domain.model.observations import Channel, QueueSnapshot
from functions.domain.model.runbooks import Runbook, Symptom
from functions.runtime.text import Phrase

RECENT_S = 10.0  # three samples, 5 s apart. A working queue processes something in this time, or between its last three samples.

SETTLED_S = 10.0
"""What RabbitMQ shows of a queue is up to 9 s old: without channels, a new consumer that was given the message of the one before
it looks like that one (measured)."""


class Candidate(Struct, frozen=True):
    """One row that may hold: a verdict once it has lasted for `needs_s`."""

    proof: Proof
    lasted_s: float
    needs_s: float
    channels: tuple[Channel, ...] = ()  # those that hold the messages
    against: Phrase = ""  # what speaks against it, so that it is likely at most; empty: it is proved
    settle: str = ""  # the line of configuration that settles it
    kept: bool = False  # whether `keeps` alone makes it wait longer than `for`


class Trust(Struct, frozen=True):
    """What earlier readings say about the reliability of this one."""

    steady_s: float = math.inf  # how long the samples can be relied on: a node that left took all of its own with it
    same_consumers_s: float = 0.0  # for how long the queue is known to have had the consumers that it has
    unsure_s: float = 0.0  # for how long the queue has been unsure
    consumed: bool = False  # the queue is known to have had a consumer, whatever its counters say
    acked: bool = False  # a message of the queue is known to have been acknowledged, whatever its counters say
    gone_s: float = math.inf  # for how long no consumer has been there, if an earlier check saw one
    unconsumed: bool = False  # the queue is known to have had no consumer for a day
    same_oldest_s: float = 0.0  # seconds for which its oldest message has certainly been the same


class Terms(Struct, frozen=True):
    """What the runbook says beside the symptom."""

    min_consumers: int = 1
    one_host: bool = False  # a restart may be limited to the host of whoever holds a message


def terms_of(runbook: Runbook) -> Terms:
    """The terms of a runbook."""
    return Terms(runbook.recovered.min_consumers, one_host=runbook.restart.holder is not None)


def needed_s(symptom: Symptom) -> float:
    """How long a verdict must have lasted."""
    return max(symptom.for_s, RECENT_S)


def held_some_s(seen: QueueSnapshot) -> float:
    """For how long some message has been held."""
    return lasting_s(drop_gaps(seen.history.unacked), lambda count: count > 0)


def waiting_s(seen: QueueSnapshot) -> float:
    """For how long some message has been ready."""
    return lasting_s(drop_gaps(seen.history.ready), lambda count: count > 0)
