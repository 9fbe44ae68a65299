"""Documents as they are stored: JSON as their structs are typed, loaded, logged as they change; and those of the storm slots.

There are up to eight of these: Cloud Storage takes one write a second to one object, and many targets may restart at the same
moment. Each has its share of `storm.targets`, so all of them together never hold more."""

import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from functions.application.ports import Ports, Stored
from functions.domain.model.codes import VERSION, Ending, Phase
from functions.domain.model.events import Step
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Pause, Slot, Storm
from functions.domain.model.runbooks import STORM_S
from functions.runtime.errors import Conflict, Denied
from functions.runtime.parallel import Calls, run_in_batches, unwrap
from functions.runtime.structs import convert
from functions.runtime.text import Text

T = TypeVar("T")
STORE_S = 5.0
LIST_S = 60.0  # seconds to list all documents: Cloud Storage lists 1,000 with each request, one after the other
AT_ONCE = 16  # calls to the store, where many documents or records are read
PAUSE_KEY, FIRST_SHARD = "pause", "storm"
MOST_SHARDS = 8
TRIES = 50  # each conflict means that another process made progress, so this many indicate a defect. Usually the time ends first


def encode(document: object) -> bytes:
    """Encode a Struct of the model as JSON."""
    return msgspec.json.encode(document)


def decode(kind: type[T], body: bytes, name: str) -> T:
    """Decode a stored Struct: defaults for missing fields, unknown ones ignored. Raises Denied for a newer or broken document."""
    try:
        raw = msgspec.json.decode(body)
        version = raw.get("version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise _newer_release(name, version)
        return convert(raw, kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        detail = Text("the document {name} can't be read: {error}", name=name, error=str(error))
        remedy = Text("Check it, and move it away if it is broken: its target then starts afresh.")
        raise Denied("store", detail, remedy=remedy) from None


def _newer_release(name: str, version: int) -> Denied:
    detail = Text(
        "the document {name} was written by a newer release (version {version}; this release reads up to {known})",
        name=name,
        version=version,
        known=VERSION,
    )
    remedy = Text("Deploy the newer release again, or let it finish the incident first.")
    return Denied("store", detail, remedy=remedy)


def load(ports: Ports, key: str, timeout_s: float = STORE_S) -> tuple[Document, str | None]:
    """The document and its generation; a new one without generation if there is none. Raises Denied for a newer release's."""
    return decode_document(key, ports.store.load(key, timeout_s=timeout_s))


def decode_document(key: str, stored: Stored | None) -> tuple[Document, str | None]:
    """What is stored for this key; a new document if that is nothing."""
    return (decode(Document, stored.body, key), stored.generation) if stored else (Document(key), None)


def read_bodies(ports: Ports, paths: list[str], timeout_s: float) -> Iterator[tuple[str, bytes | None]]:
    """Read these records in order, few at a time, each batch in this time. Raises Unavailable or Denied."""
    calls = [partial(ports.store.read_archived, path, timeout_s=timeout_s) for path in paths]
    results = run_in_batches(ports.run_parallel, calls, timeout_s=timeout_s, at_once=AT_ONCE)
    return zip(paths, map(unwrap, results), strict=True)


def load_pause(ports: Ports, timeout_s: float = STORE_S) -> tuple[Pause | None, str | None]:
    """The document of the kill switch, as it was turned last, and its generation."""
    stored = ports.store.load(PAUSE_KEY, timeout_s=timeout_s)
    return (decode(Pause, stored.body, PAUSE_KEY), stored.generation) if stored else (None, None)


def write_day(at: float) -> str:
    """The UTC day, as the archive's paths have it."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def archive_path(record: Archive) -> str:
    """The path incidents/DATE/ID.json, by the day on which the incident ended."""
    return f"incidents/{write_day(record.outcome.at)}/{record.incident.id}.json"


def evidence_path(incident: str) -> str:
    """The archive path of the output. It is beside the incident's record, which is written only when the incident ends."""
    return f"evidence/{incident}.txt"


def log_step(ports: Ports, before: Document, change: Step) -> None:
    """Log one line for the change: the phase, or the outcome."""
    after, reply = change.document, change.reply
    incident, ended = after.incident, after.outcomes[-1] if after.outcomes else None
    fields: dict[str, object] = {"document": after.key, "target": after.target.name if after.target else ""}
    if reply is not None:
        fields |= {"incident": reply.incident, "action": reply.action} | ({"reason": reply.reason} if reply.reason else {})
    for name, at in after.turned_away.alerts.items():
        if at != before.turned_away.alerts.get(name):
            ports.log("WARNING", f"turned away ({after.turned_away.reason}): {name}", document=after.key, unmatched=name)
    if after.passed_at != before.passed_at:
        ports.log("INFO", "suspicion cleared; nobody was told", **fields, outcome="passed")
    elif ended is not None and [ended.incident] != [former.incident for former in before.outcomes[-1:]]:
        fields |= {"incident": ended.incident, "outcome": ended.ending, "reason": ended.reason or ""}
        ports.log("ERROR" if ended.ending is Ending.ESCALATED else "NOTICE", f"incident {ended.ending}", **fields)
    elif incident is not None and (before.incident is None or before.incident.phase is not incident.phase):
        fields |= {"incident": incident.id, "phase": incident.phase}
        runner_started_at = incident.execution.runner_started_at if incident.execution else None
        if incident.phase is Phase.RUNNING and incident.restarts == 1 and runner_started_at is not None:
            to_restart_s = runner_started_at - incident.runner_ahead_s - incident.first_alert_at
            fields["time_to_restart_s"] = round(max(to_restart_s, 0.0), 1)
        ports.log("NOTICE", f"incident is {incident.phase}", **fields)
    elif reply is not None:
        ports.log("INFO", f"{reply.action}: {reply.reason or ''}", **fields)
    elif incident and before.incident and incident.reason not in (None, before.incident.reason):
        ports.log("WARNING", f"the incident waits: {incident.detail}", **fields, incident=incident.id, reason=incident.reason)


# --- storm slots


class Shard(Struct, frozen=True):
    """One of the documents of the storm slots, as it was read."""

    key: str
    capacity: int  # how many slots it may hold
    slots: tuple[Slot, ...] = ()
    generation: str | None = None


def is_shard(key: str) -> bool:
    """Whether the document of this key has storm slots."""
    return key == FIRST_SHARD or key.startswith(f"{FIRST_SHARD}-")


def plan_shards(ports: Ports, timeout_s: float) -> tuple[Calls, Callable[[list[Any]], tuple[Shard, ...]]]:
    """The calls that read the documents, and the function that turns their results into shards. That raises what a call did."""
    number = min(ports.rules.storm_targets, MOST_SHARDS)
    share, more = divmod(ports.rules.storm_targets, number)
    empty = [Shard(f"{FIRST_SHARD}-{place}" if place else FIRST_SHARD, share + (place < more)) for place in range(number)]

    def read(results: list[Any]) -> tuple[Shard, ...]:
        return tuple(
            replace(shard, slots=decode(Storm, stored.body, shard.key).slots, generation=stored.generation) if stored else shard
            for shard, stored in zip(empty, map(unwrap, results), strict=True)
        )

    return [partial(ports.store.load, shard.key, timeout_s=timeout_s) for shard in empty], read


def claim_slot(ports: Ports, slot: Slot, shards: tuple[Shard, ...], timeout_s: float) -> None:
    """Save this slot where one is free. Raises Conflict if there is none any more; Unavailable or Denied if that is unknown."""
    ends = ports.monotonic() + timeout_s
    overruled = not _shards_for(shards, slot)  # the guard saw that too: people allow this restart
    for _ in range(TRIES):
        places = _shards_for(shards, slot)
        if not places and not overruled:
            break
        shard = places[0] if places else shards[0]
        others = tuple(other for other in _current(shard, slot) if other.target != slot.target)
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


def _current(shard: Shard, slot: Slot) -> tuple[Slot, ...]:
    return tuple(other for other in shard.slots if slot.at - other.at < STORM_S)


def _shards_for(shards: tuple[Shard, ...], slot: Slot) -> list[Shard]:
    """Where the slot may go, the best first: the place that its target has; else each target begins elsewhere."""
    current = {shard.key: _current(shard, slot) for shard in shards}
    own = [shard for shard in shards if any(other.target == slot.target for other in current[shard.key])]
    if own:
        return own
    free = [shard for shard in shards if len(current[shard.key]) < shard.capacity]
    begin = zlib.crc32(slot.target.encode()) % max(len(free), 1)
    return free[begin:] + free[:begin]
