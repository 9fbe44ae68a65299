"""What infra/rundeck/move.py says at the end of a job's log: how it ended, and which messages it moved.
Everything about a message was written by its publisher. The program quotes it as JSON, so it can't pass for another line."""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

MESSAGE = re.compile(r"message \d+ of \d+: \{")
"""How the line of a moved message begins. It is longer than others, and is kept whole."""

LONGEST = 2000  # characters of such a line

_MEMBER = re.compile(r'"([a-z0-9_]+)": (\d{1,18}|"(?:[^"\\]|\\.)*")')
_END = re.compile(r"exit (\d{1,3}): (.+)")


class End(Struct, frozen=True):
    status: int
    sentence: str


class Moved(Struct, frozen=True, omit_defaults=True):
    """What tells people which message it was. Empty or None: it had none, or a masked secret made the line unreadable there."""

    sha256: str = ""
    exchange: str = ""
    routing_key: str = ""
    message_id: str = ""
    correlation_id: str = ""
    type: str = ""
    app_id: str = ""
    headers: str = ""  # their names
    size: int | None = None
    age_s: int | None = None  # at the move, if its publisher set a timestamp
    returns: int | None = None  # how often it returned to its queue, if the queue counts that


def read_end(tail: Sequence[str] | None) -> End | None:
    """How the program ended; None if it did not say so."""
    said = (_END.fullmatch(line) for line in reversed(tail or ()))
    end = next(filter(None, said), None)
    return End(int(end[1]), end[2]) if end else None


def read_moved(tail: Sequence[str] | None) -> tuple[Moved, ...]:
    """The messages that it moved, in their order."""
    rows = (dict(_MEMBER.findall(line)) for line in tail or () if MESSAGE.match(line))
    return tuple(filter(None, map(_moved, rows)))


def _moved(row: dict[str, str]) -> Moved | None:
    """Raw JSON values are decoded one by one, since masking may have cut the line."""
    try:
        members = {name: msgspec.json.decode(value) for name, value in row.items()}
        return msgspec.convert(members, Moved)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
