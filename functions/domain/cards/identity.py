"""Says which message it was, for cards. The values are its publisher's: cut, cleaned, and escaped by
each channel like any text."""

from functions.domain.cards.rendering import tidy
from functions.domain.model.moves import Moved
from functions.domain.texts.words import duration
from functions.runtime.text import COMMA, Phrase, Text, join

VALUE = 80  # characters of each

NAMED: tuple[tuple[str, Text], ...] = (
    ("message_id", Text("message id {value}")),
    ("correlation_id", Text("correlation id {value}")),
    ("type", Text("type {value}")),
    ("app_id", Text("app id {value}")),
    ("exchange", Text("exchange {value}")),
    ("routing_key", Text("routing key {value}")),
)


def name_message(moved: Moved) -> Phrase:
    """Such as `message id 4711, type order, routing key mail.eu, 1,234 bytes, 2 h old, SHA-256 1a2b3c4d5e6f`."""
    parts: list[Phrase] = [said.fill(value=value) for name, said in NAMED if (value := tidy(getattr(moved, name), VALUE))]
    if moved.size is not None:
        parts.append(Text("{count} bytes", count=f"{moved.size:,}"))
    if moved.age_s is not None:
        parts.append(Text("{age} old", age=duration(moved.age_s)))
    if moved.returns:
        parts.append(Text("returned {count} time", "returned {count} times", count=moved.returns))
    if moved.headers:
        parts.append(Text("headers {names}", names=tidy(moved.headers, VALUE)))
    if moved.sha256:
        parts.append(Text("SHA-256 {digest}", digest=tidy(moved.sha256, 12)))
    return join(parts, COMMA)
