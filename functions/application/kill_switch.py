"""Turns the kill switch on or off, and notifies people."""

from functions.application.deliver import post_to_all
from functions.application.ports import Ports
from functions.application.reconcile import STORE_S
from functions.application.serialization import decode, encode
from functions.domain.cards.card import compose
from functions.domain.cards.card_input import CardInput
from functions.domain.cards.rendering import clock
from functions.domain.model.messages import CardKind
from functions.domain.model.observations import Pause
from functions.domain.texts.words import duration
from functions.runtime.errors import Conflict, Unavailable
from functions.runtime.text import Phrase, Text, in_brackets, join

KEY = "pause"
TRIES = 10


def turn(ports: Ports, wanted: Pause) -> Pause | None:
    """Save the switch, and return the former one (None: off). Raises Unavailable if it may not have been saved, or Denied."""
    body = encode(wanted)
    for _ in range(TRIES):
        stored = ports.store.load(KEY, timeout_s=STORE_S)
        before = decode(Pause, stored.body, KEY) if stored else None
        try:
            ports.store.save(KEY, body, generation=stored.generation if stored else None, due=None, timeout_s=STORE_S)
        except Conflict:
            continue
        except Unavailable:
            again = ports.store.load(KEY, timeout_s=STORE_S)
            if again is None or again.body != body:
                raise
        return before if before and before.holds_at(wanted.at) else None
    raise Unavailable("store", Text("another process kept changing the kill switch"))


def announce(ports: Ports, kind: CardKind, switch: Pause) -> dict[str, str]:
    """Post to the channels of the top-level `notify`. Returns channel -> problem and remedy, empty if it was posted."""
    until: Phrase = ""
    if switch.until:
        left = duration(switch.until - switch.at)
        until = Text("until {until} (in {left})", until=clock(ports.rules, switch.until), left=left)
    detail = join((in_brackets(switch.reason, switch.by), until))
    return post_to_all(ports, ports.rules.notify, compose(CardInput(kind, switch.at, detail=detail), ports.rules))
