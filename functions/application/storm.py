"""The storm slots, in up to eight documents: Cloud Storage takes one write a second to one object, and many targets may restart
at the same moment. Each document has its share of `storm.targets`, so all of them together never hold more."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from functions.application.ports import Ports
from functions.application.serialization import decode, encode
from functions.domain.model.observations import Slot, Storm
from functions.domain.model.runbooks import Rules
from functions.runtime.errors import Conflict
from functions.runtime.parallel import Calls

FIRST = "storm"
MOST = 8
TRIES = 50  # as in reconcile.py: each conflict means that another target took a slot


class Shard(Struct, frozen=True):
    """One of the documents, as it was read."""

    key: str
    capacity: int  # how many slots it may hold
    slots: tuple[Slot, ...] = ()
    generation: str | None = None


def is_shard(key: str) -> bool:
    """Whether the document of this key has storm slots."""
    return key == FIRST or key.startswith(f"{FIRST}-")


def plan_shards(ports: Ports, timeout_s: float) -> tuple[Calls, Callable[[list[Any]], tuple[Shard, ...]]]:
    """The calls that read the documents, and the function that turns their results into shards. That raises what a call did."""
    number = min(ports.rules.storm_targets, MOST)
    share, more = divmod(ports.rules.storm_targets, number)
    empty = [Shard(f"{FIRST}-{place}" if place else FIRST, share + (place < more)) for place in range(number)]

    def read(results: list[Any]) -> tuple[Shard, ...]:
        shards = []
        for shard, result in zip(empty, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            slots = decode(Storm, result.body, shard.key).slots if result else ()
            shards.append(Shard(shard.key, shard.capacity, slots, result.generation if result else None))
        return tuple(shards)

    return [partial(ports.store.load, shard.key, timeout_s=timeout_s) for shard in empty], read


def claim_slot(ports: Ports, slot: Slot, shards: tuple[Shard, ...], timeout_s: float) -> None:
    """Save this slot where one is free. Raises Conflict if there is none any more; Unavailable or Denied if that is unknown."""
    ends = ports.monotonic() + timeout_s
    overruled = not _shards_for(shards, slot, ports.rules)  # the guard saw that too: people allow this restart
    for _ in range(TRIES):
        places = _shards_for(shards, slot, ports.rules)
        if not places and not overruled:
            break
        shard = places[0] if places else shards[0]
        others = tuple(other for other in _current(shard, slot, ports.rules) if other.target != slot.target)
        body, left_s = encode(Storm((*others, slot))), ends - ports.monotonic()
        try:
            ports.store.save(shard.key, body, generation=shard.generation, due=None, timeout_s=left_s)
        except Conflict:
            left_s = ends - ports.monotonic()
            calls, read = plan_shards(ports, left_s)
            shards = read(ports.run_parallel(calls, left_s))
        else:
            return
    raise Conflict("other targets took the storm slots")


def _current(shard: Shard, slot: Slot, rules: Rules) -> tuple[Slot, ...]:
    return tuple(other for other in shard.slots if slot.at - other.at < rules.storm_within_s)


def _shards_for(shards: tuple[Shard, ...], slot: Slot, rules: Rules) -> list[Shard]:
    """Where the slot may go, the best first: the place that its target has; else each target begins elsewhere."""
    current = {shard.key: _current(shard, slot, rules) for shard in shards}
    own = [shard for shard in shards if any(other.target == slot.target for other in current[shard.key])]
    if own:
        return own
    free = [shard for shard in shards if len(current[shard.key]) < shard.capacity]
    begin = zlib.crc32(slot.target.encode()) % max(len(free), 1)
    return free[begin:] + free[:begin]
