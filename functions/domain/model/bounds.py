"""Limits the size of a target's document, whatever alerts name. Alerts beyond the limits are counted, reported and held."""

from collections.abc import Iterator

from msgspec.structs import replace

from functions.domain.model.incidents import AlertRef, Archive, Document, HistoryEntry, Incident, Outcome, QueueState
from functions.domain.model.messages import Message
from functions.domain.model.observations import QueueHistory, QueueSnapshot

QUEUES_KEPT = 20  # queues of an incident. Every step reads all of them.
ALERTS_KEPT = 50  # alerts of an incident. Fingerprint and start identify an alert, so each is kept.
MAX_BYTES = 256_000  # bytes of a document as JSON. Every step writes it, and every list of open documents reads it.
HISTORY_KEPT = 40  # entries of an incident's history that are kept: the first and the last ones

BUNDLED_KEPT = 1000
FEW = 5
CONSUMERS_CHARACTERS = 2000


def before_restart(seen: QueueSnapshot) -> QueueSnapshot:
    """The part of the last snapshot before a restart to keep: the figures, and the consumers, to recognize new ones."""
    fits = sum(map(len, seen.consumer_ids or ())) <= CONSUMERS_CHARACTERS
    seen = replace(seen, ack_samples=(), depth_samples=(), history=QueueHistory(), channels=None, blind=None, unseen=None)
    return seen if fits else replace(seen, consumer_ids=None)


def note_history(before: Document, after: Document, now: float) -> Document:
    """Add an entry to the incident's history if phase, reason or attempt have changed."""
    incident, former = after.incident, before.incident
    if incident is None:
        return after
    now_is = (incident.id, incident.phase, incident.reason, incident.attempt)
    if former is not None and now_is == (former.id, former.phase, former.reason, former.attempt):
        return after
    history = (*incident.history, HistoryEntry(now, incident.phase, incident.reason, incident.detail, incident.attempt))
    if len(history) > HISTORY_KEPT:
        history = (*history[: HISTORY_KEPT // 2], *history[-HISTORY_KEPT // 2 :])
    return replace(after, incident=replace(incident, history=history))


def shrink(document: Document) -> Iterator[Document]:
    """Yield the document, then ever smaller ones: first without details for people, at last without messages and records."""
    yield document
    document = replace(document, bundled=dict(list(document.bundled.items())[-BUNDLED_KEPT:]))
    while len(document.outcomes) > 1:
        yield document
        document = replace(document, outcomes=drop_oldest(document.outcomes))
    outcomes = tuple(replace(outcome, triggers=bare(outcome.triggers)) for outcome in document.outcomes)
    document = replace(document, outcomes=outcomes)
    yield document
    incident = _bare_incident(document.incident) if document.incident is not None else None
    document = replace(document, to_archive=tuple(map(_bare_record, document.to_archive)), incident=incident)
    yield document
    document = replace(document, to_tell=tuple(map(_bare_message, document.to_tell)))
    yield document
    if document.incident is not None:
        document = replace(document, incident=_barest(document.incident))
    yield document
    while document.to_tell or document.to_archive:
        document = replace(document, to_tell=document.to_tell[1:], to_archive=document.to_archive[1:])
        yield document


def drop_oldest(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Drop one outcome. Holds go first: the held alert is only posted again."""
    dropped = next((place for place, outcome in enumerate(outcomes[:-1]) if not outcome.settles), 0)
    return (*outcomes[:dropped], *outcomes[dropped + 1 :])


def bare(triggers: tuple[AlertRef, ...]) -> tuple[AlertRef, ...]:
    """The alerts without their texts for people, except the first, which cards name."""
    return (*triggers[:1], *(replace(trigger, name="", summary="", severity="", links={}) for trigger in triggers[1:]))


def _bare_queue(queue: QueueState) -> QueueState:
    before = replace(queue.before, holders=()) if queue.before else None
    return replace(queue, holders=(), curve=queue.curve[-FEW:], held_curve=(), before=before)


def _bare_incident(incident: Incident) -> Incident:
    """The incident with what decisions need; of its first queue also what cards show."""
    queues = (*incident.queues[:1], *map(_bare_queue, incident.queues[1:]))
    evidence = replace(incident.evidence, lines=incident.evidence.lines[:FEW]) if incident.evidence else None
    triggers, history = bare(incident.triggers), incident.history[-FEW:]
    return replace(incident, triggers=triggers, queues=queues, history=history, evidence=evidence)


def _barest(incident: Incident) -> Incident:
    """The incident without anything that decisions don't need, except its alerts and the options of its evidence job."""
    evidence = replace(incident.evidence, lines=()) if incident.evidence else None
    queues = tuple(replace(_bare_queue(queue), curve=()) for queue in incident.queues)
    return replace(incident, queues=queues, history=(), evidence=evidence)


def _bare_record(record: Archive) -> Archive:
    incident, outcome = _bare_incident(record.incident), record.outcome
    incident = replace(incident, triggers=incident.triggers[:FEW])
    return replace(record, incident=incident, outcome=replace(outcome, triggers=outcome.triggers[:FEW]))


def _bare_message(message: Message) -> Message:
    card = message.card
    return replace(message, card=replace(card, evidence=(), curve=(), text=card.text[:FEW], facts=card.facts[:FEW]))
