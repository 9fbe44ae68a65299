"""Core: how much a target's document holds, whatever alerts name. What goes beyond is counted, said and held."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from functions.domain.model.codes import Ending
from functions.domain.model.incidents import AlertRef, Archive, Document, Outcome, QueueState
from functions.domain.model.messages import Message
from functions.domain.model.observations import QueueSnapshot

QUEUES_KEPT = 20
"""Of an incident. Each is looked at again at every step."""

ALERTS_KEPT = 50
"""Of an incident. They are told from other alerts by fingerprint and start, so each has to be kept."""

MAX_BYTES = 256_000
"""Of a document as JSON: it is written with every step, and read with every list of what is open."""

BUNDLED_KEPT = 1000
FEW = 5
CONSUMERS_CHARACTERS = 2000


def before_restart(seen: QueueSnapshot) -> QueueSnapshot:
    """What is kept of the last look before a restart: the figures, and the consumers, so that new ones can be told from them."""
    fits = sum(map(len, seen.consumer_ids or ())) <= CONSUMERS_CHARACTERS
    return replace(seen, ack_samples=(), depth_samples=(), consumer_ids=seen.consumer_ids if fits else None)


def shrink(document: Document) -> Iterator[Document]:
    """The document, then ever smaller ones: first without what only people miss, at last without what they were to be told."""
    yield document
    newest = dict(list(document.bundled.items())[-BUNDLED_KEPT:])
    document = replace(document, bundled=newest)
    while len(document.outcomes) > 1:
        yield document
        document = replace(document, outcomes=drop_oldest(document.outcomes))
    document = replace(document, outcomes=tuple(replace(one, triggers=bare(one.triggers)) for one in document.outcomes))
    yield document
    document = replace(document, to_archive=tuple(_bare_record(record) for record in document.to_archive))
    if document.incident is not None:
        queues = _bare_queues(document.incident.queues)
        document = replace(
            document, incident=replace(document.incident, queues=queues, triggers=bare(document.incident.triggers))
        )
    yield document
    document = replace(document, to_tell=tuple(_bare_message(message) for message in document.to_tell))
    yield document
    while document.to_tell or document.to_archive:
        document = replace(document, to_tell=document.to_tell[1:], to_archive=document.to_archive[1:])
        yield document


def drop_oldest(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """One outcome less. Holds go first: an alert that was held is told again, and nothing else rests on them."""
    goes = next((place for place, outcome in enumerate(outcomes[:-1]) if outcome.ending is Ending.HELD), 0)
    return (*outcomes[:goes], *outcomes[goes + 1 :])


def bare(triggers: tuple[AlertRef, ...]) -> tuple[AlertRef, ...]:
    """Without what only people read, but for the first, which cards name."""
    return (*triggers[:1], *(replace(one, name="", summary="", severity="", links={}) for one in triggers[1:]))


def _bare_queues(queues: tuple[QueueState, ...]) -> tuple[QueueState, ...]:
    return (*queues[:1], *(replace(one, curve=one.curve[-FEW:]) for one in queues[1:]))


def _bare_record(record: Archive) -> Archive:
    incident, outcome = record.incident, record.outcome
    incident = replace(incident, triggers=bare(incident.triggers)[:FEW], queues=_bare_queues(incident.queues))
    return replace(record, incident=incident, outcome=replace(outcome, triggers=outcome.triggers[:FEW]))


def _bare_message(message: Message) -> Message:
    card = message.card
    return replace(message, card=replace(card, evidence=(), curve=(), text=card.text[:FEW], facts=card.facts[:FEW]))
