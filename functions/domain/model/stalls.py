"""How long queues stood still and went on by themselves: how long an application stalls is its own, and nobody can configure it.
Times are Unix seconds in UTC on our clock."""

from enum import StrEnum

from msgspec import Struct

from functions.domain.model.alerts import QueueRef

MARGIN = 1.5  # of 72 recorded stalls, 3 were longer than that much of the second-longest before, each the third (2026-12-01)


class StallKind(StrEnum):
    """What stood still. Each kind moves the deadline of its own rows alone."""

    HELD = "held"
    UNSERVED = "unserved"
    GONE = "gone"


class Stall(Struct, frozen=True, omit_defaults=True):
    """A time for which a row of the verdict table held, for `for` or longer, and which ended by itself."""

    kind: StallKind
    ended_at: float
    lasted_s: float
    confirmed: bool = False  # a person said that it was on purpose

    @property
    def began_at(self) -> float:
        return self.ended_at - self.lasted_s


class Standstill(Struct, frozen=True, omit_defaults=True):
    """One that has not ended, or ended a moment ago: it is followed, whatever becomes of the incident."""

    queue: QueueRef
    runbook: str
    kind: StallKind
    began_at: float
    due: float  # when to look at it again
    seen_at: float  # when it was last seen to stand still
    channel: str = ""  # the channel that holds messages; empty: the queue alone shows it
    connected_at: float | None = None
    work: int = 0  # the counter that stands still: the channel's deliveries and acknowledgements, or the queue's acknowledgements
    done: int = 0  # how many messages were finished by then, by the channel or of the queue
    consumers: str = ""  # a digest of the queue's consumers
    redeliveries: int | None = None
    left: int | None = None  # messages that had left the queue by then, whether acknowledged or not; None if that isn't counted
    ended_at: float | None = None
    confirmed: bool = False


class QueueStalls(Struct, frozen=True, omit_defaults=True):
    """What was learned of one queue."""

    since: float  # when it was first looked at
    stalls: tuple[Stall, ...] = ()  # the longest of each kind
    doubted: tuple[StallKind, ...] = ()
    """A person said of a restart for such a standstill that the application was healthy: until one ends by itself, people are
    asked."""

    def of_kind(self, kind: StallKind) -> list[Stall]:
        """Its stalls of this kind, the longest first."""
        return sorted((stall for stall in self.stalls if stall.kind is kind), key=lambda stall: -stall.lasted_s)

    def deadline_s(self, kind: StallKind) -> float:
        """How long it may stand still, by what was seen; 0 if nothing was. By the second-longest, so that one hang that somebody
        mended out of Unstick's sight teaches nothing; by the longest that a person confirmed."""
        lengths = [stall.lasted_s for stall in self.of_kind(kind)[1:2]]
        lengths += [stall.lasted_s for stall in self.of_kind(kind) if stall.confirmed]
        return MARGIN * max(lengths, default=0.0)
