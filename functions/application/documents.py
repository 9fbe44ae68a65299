"""Documents as they are stored: JSON as their structs are typed, loaded, logged as they change; and that of the storm slots."""

import time
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from functions.application.ports import Ports, Stored
from functions.domain.model.codes import VERSION, Ending, Phase
from functions.domain.model.events import Step
from functions.domain.model.incidents import Archive, Document
from functions.domain.model.observations import Pause, Slot, Storm
from functions.runtime.errors import Conflict, Denied
from functions.runtime.structs import convert
from functions.runtime.text import Text

T = TypeVar("T")
STORE_S = 5.0
LIST_S = 60.0  # seconds to list all documents: Cloud Storage lists 1,000 with each request, one after the other
PAUSE_KEY, STORM_KEY = "pause", "storm"
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
            said = Text("the document {name} was written by a newer release (version {version})", name=name, version=str(version))
            raise Denied("store", said, remedy=Text("Deploy the newer release again, or let it finish the incident first."))
        return convert(raw, kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        detail = Text("the document {name} can't be read: {error}", name=name, error=str(error))
        remedy = Text("Check it, and move it away if it is broken: its target then starts afresh.")
        raise Denied("store", detail, remedy=remedy) from None


def load(ports: Ports, key: str, timeout_s: float = STORE_S) -> tuple[Document, str | None]:
    """The document and its generation; a new one without generation if there is none. Raises Denied for a newer release's."""
    return decode_document(key, ports.store.load(key, timeout_s=timeout_s))


def decode_document(key: str, stored: Stored | None) -> tuple[Document, str | None]:
    """What is stored for this key; a new document if that is nothing."""
    return (decode(Document, stored.body, key), stored.generation) if stored else (Document(key), None)


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


def load_storm(ports: Ports, timeout_s: float) -> Storm:
    """The document of the storm slots, with its generation."""
    stored = ports.store.load(STORM_KEY, timeout_s=timeout_s)
    return replace(decode(Storm, stored.body, STORM_KEY), generation=stored.generation) if stored else Storm()


def claim_slot(ports: Ports, slot: Slot, storm: Storm, timeout_s: float) -> None:
    """Save this slot. Raises Conflict if none is free any more; Unavailable or Denied if that is unknown."""
    ends, limit = ports.monotonic() + timeout_s, 0
    for _ in range(TRIES):
        others = tuple(
            other for other in storm.slots if other.target != slot.target and slot.at - other.at < ports.rules.storm_within_s
        )
        limit = limit or max(ports.rules.storm_targets, len(others) + 1)  # the guard saw these too: people allow this restart
        if len(others) >= limit:
            break
        body, left_s = encode(Storm((*others, slot))), ends - ports.monotonic()
        try:
            ports.store.save(STORM_KEY, body, generation=storm.generation, due=None, timeout_s=left_s)
        except Conflict:
            storm = load_storm(ports, ends - ports.monotonic())
        else:
            return
    raise Conflict("other targets took the storm slots")
