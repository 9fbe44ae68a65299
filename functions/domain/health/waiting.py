"""The rows about messages that wait and that nobody is given."""

from msgspec.structs import replace

from functions.domain.health import doubts
from functions.domain.health.movement import untouched_s
from functions.domain.health.rows import Candidate, Terms, Trust, needed_s
from functions.domain.health.samples import drop_gaps, lasting_s, still_s
from functions.domain.model.codes import Proof
from functions.domain.model.observations import QueueSnapshot
from functions.domain.model.runbooks import Symptom

YOUNG_S = 3600.0  # younger counters don't show that a queue never had a consumer


def find_waiting(symptom: Symptom, seen: QueueSnapshot, trust: Trust, terms: Terms) -> list[Candidate]:
    """The rows about waiting messages, as strong as they can be."""
    if seen.depth <= symptom.max_messages or seen.unacked != 0 or seen.blind is not None:
        return []
    waited_s = min(over_limit_s(symptom, seen), lasting_s(drop_gaps(seen.history.unacked), lambda count: count == 0))
    row = Candidate(Proof.UNSERVED, min(untouched_s(seen, waited_s), trust.steady_s), needed_s(symptom))
    if seen.deliveries is not None:
        row = replace(row, lasted_s=min(row.lasted_s, still_s(drop_gaps(seen.history.deliveries))))
    if seen.consumers is None:
        return []
    return _find_unserved(row, seen) if seen.consumers else _find_unattended(row, seen, trust, terms)


def over_limit_s(symptom: Symptom, seen: QueueSnapshot) -> float:
    """For how long the depth has exceeded what may wait."""
    return lasting_s(drop_gaps(seen.depth_samples), lambda depth: depth > symptom.max_messages)


def was_consumed(seen: QueueSnapshot, trust: Trust) -> bool:
    """Whether the queue ever had a consumer: absent counters don't show that it had none."""
    return bool(trust.consumed or seen.consumed or seen.deliveries or any(count for _, count in seen.history.unacked))


def is_young(seen: QueueSnapshot) -> bool:
    """Whether the broker's counters are too young to show that the queue never had a consumer."""
    return seen.nodes_up_s is not None and seen.nodes_up_s < YOUNG_S


def _find_unserved(row: Candidate, seen: QueueSnapshot) -> list[Candidate]:
    # No counter: none was delivered, if the channel of each consumer is seen, and lives on a node whose statistics count.
    counted = bool(seen.channels) and len(seen.channels or ()) == seen.consumers and seen.unseen is None
    if seen.deliveries is None and not counted:
        return []
    elsewhere = any(channel.held for channel in seen.channels or ())
    return [replace(row, against=doubts.ELSEWHERE) if elsewhere else row]


def _find_unattended(row: Candidate, seen: QueueSnapshot, trust: Trust, terms: Terms) -> list[Candidate]:
    if was_consumed(seen, trust):
        row = replace(row, proof=Proof.UNATTENDED, lasted_s=min(row.lasted_s, trust.gone_s))
        return [row if terms.min_consumers else replace(row, against=doubts.SCALED, settle=doubts.MIN_CONSUMERS)]
    if not is_young(seen) or trust.unconsumed:
        return []
    against = doubts.say_young(seen.nodes_up_s or 0.0)
    return [replace(row, proof=Proof.PERHAPS_UNATTENDED, against=against, settle=doubts.HISTORY)]
