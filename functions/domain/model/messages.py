"""What people are sent."""

from __future__ import annotations

from msgspec import Struct


class Card(Struct, frozen=True):
    """What people read, without any platform's markup. Every text is plain and may be untrusted."""

    kind: str
    urgency: str
    """`act` (somebody must get up), `watch` (something is happening), `plan` (it can wait for working hours) or `fine`."""
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    """Log lines, shown as they are."""
    curve: tuple[tuple[float, int], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    mention: tuple[str, ...] = ()
    incident: str = ""
    """Messages of one incident belong into one thread."""
    at: float = 0.0


class Message(Struct, frozen=True):
    """Something to tell on one channel. It stays in the document until it was posted."""

    id: str
    channel: str
    card: Card
    bundle: str = ""
    """A reason code: goes out with others of its kind as one message."""
    name: str = ""
    """What that message calls it."""
