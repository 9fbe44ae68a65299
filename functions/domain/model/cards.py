"""Cards and the messages that carry them: what people are shown, without any platform's markup."""

from enum import StrEnum

from msgspec import Struct

APPROVE, DECLINE, ON_PURPOSE, ACKNOWLEDGE, HEALTHY = "approve", "decline", "on_purpose", "acknowledge", "healthy"
"""The possible answers to a card, as buttons in chats that have them."""


class CardKind(StrEnum):
    """The kinds of cards. Documents store the values."""

    STARTED = "started"
    HELD = "held"
    RECOVERED = "recovered"
    ESCALATED = "escalated"
    ESCALATED_AGAIN = "escalated_again"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    NOT_APPROVED = "not_approved"
    DECLINED = "declined"
    TEST = "test"
    BUNDLE = "bundle"
    PAUSED = "paused"
    RESUMED = "resumed"
    REPORT = "report"
    CHECK = "check"


class Card(Struct, frozen=True):
    """A message's content, without any platform's markup. Every text is plain and may be untrusted."""

    kind: str
    """A CardKind, or one that only a newer release knows."""
    urgency: str
    """`act` (somebody must get up), `watch` (Unstick is working on it), `plan` (it can wait for working hours) or `fine`."""
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()  # log lines, shown literally
    curve: tuple[tuple[float, int], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    mention: tuple[str, ...] = ()
    incident: str = ""  # the messages of one incident share a thread
    at: float = 0.0
    nonce: str = ""  # of the link for people's answer, which is signed when the card is posted
    nonce_until: float = 0.0  # when that link expires
    actions: tuple[str, ...] = ()  # the possible answers to it
    token: str = ""  # the signed nonce, for chats with buttons. Set when the card is posted.
    evidence_title: str = ""  # the title of the lines in `evidence`; empty: they are the end of the job's log


class Message(Struct, frozen=True):
    """A card for one channel. It stays in the document until it is posted."""

    id: str
    channel: str
    card: Card
    bundle: str = ""  # a reason code: messages with the same code are sent together
    name: str = ""  # the name of the target or alert in that message
