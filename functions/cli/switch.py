"""The kill switch: the document `pause`, changed by compare-and-set, and told to people."""

from __future__ import annotations

import getpass
from functools import partial
from typing import TYPE_CHECKING

from functions.application.observe import unwrap
from functions.application.reconcile import STORE_S
from functions.application.serialization import decode, encode
from functions.domain.cards.card import compose
from functions.domain.cards.card_input import CardInput
from functions.domain.model.observations import Pause
from functions.runtime.errors import Conflict, Denied, Unavailable

if TYPE_CHECKING:
    from functions.bootstrap import Adapters

KEY = "pause"
TRIES = 10
POST_S = 15.0


def whoami() -> str:
    """Who is at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"


def turn(ports: Adapters, wanted: Pause) -> Pause | None:
    """Save the switch as wanted, and return how it was (None: off).

    Raises Denied where a newer release wrote it, and Unavailable where it is not certain to be saved.
    """
    body = encode(wanted)
    for _ in range(TRIES):
        stored = ports.load(KEY, STORE_S)
        before = decode(Pause, stored.body, KEY) if stored else None
        before = before if before and before.on else None
        try:
            ports.save(KEY, body, stored.generation if stored else None, None, STORE_S)
        except Conflict:
            continue
        except Unavailable:
            again = ports.load(KEY, STORE_S)
            if again is None or again.body != body:
                raise
        return before
    raise Unavailable("store", "somebody else keeps changing the kill switch")


def tell(ports: Adapters, story: CardInput) -> dict[str, str]:
    """Post the story's card on the top-level `notify` channels: channel -> what went wrong, empty where it was told."""
    card = compose(story, ports.rules)
    names = ports.rules.notify
    results = ports.run_parallel([partial(ports.post, name, card, None, POST_S) for name in names], POST_S) if names else []
    said: dict[str, str] = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Denied):
            said[name] = f"{result.detail} {result.remedy}".strip()
        elif isinstance(result, Unavailable):
            said[name] = str(result.detail)
        else:
            unwrap(result)
            said[name] = ""
    return said
