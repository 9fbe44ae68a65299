"""What cards say about a remedy other than the restart: what it would do and may cost, and what is concluded from it."""

from collections.abc import Iterator

from functions.domain.cards.card_input import CardInput
from functions.domain.cards.identity import name_message
from functions.domain.cards.rendering import Fact, tidy
from functions.domain.health.recovery import find_same_again
from functions.domain.model.codes import Phase
from functions.domain.model.messages import CardKind
from functions.domain.model.moves import read_moved
from functions.domain.model.observations import remedy_of
from functions.runtime.text import Phrase, Text

SHOWN = 3  # moved messages on a card; the job's log has more
PARKED = ".parked"  # what infra/rundeck/park.yaml appends to a queue's name


def asked_for(card_input: CardInput) -> str:
    """The name of the remedy that the card asks about; empty for a restart."""
    return card_input.shown.approval.remedy if card_input.shown.phase is Phase.ASKED else ""


def running(card_input: CardInput) -> str:
    """The name of the remedy whose run the incident follows; empty for a restart."""
    execution = card_input.shown.execution
    return remedy_of(execution.tag) if execution else ""


def moved(card_input: CardInput) -> int:
    """How many messages the incident's last run moved."""
    approval, name = card_input.shown.approval, running(card_input)
    return approval.to_move if name and name == approval.remedy else 0


def page_to_undo(card_input: CardInput) -> str:
    """The page of the job that brings back what was moved, once the incident is over; empty if none is known."""
    remedy = card_input.runbook.find_remedy(running(card_input)) if card_input.runbook else None
    return remedy.undo if remedy and moved(card_input) and card_input.kind in (CardKind.RECOVERED, CardKind.ESCALATED) else ""


def _names(card_input: CardInput) -> dict[str, str]:
    held = find_same_again(card_input.queues) or next(iter(card_input.queues), None)
    queue = tidy(held.queue.keys.get("queue", held.queue.name) if held else "", 190)
    return {"queue": queue, "parked": f"{queue}{PARKED}"}


def say_question(card_input: CardInput) -> list[Phrase]:
    """What a person is asked to approve."""
    name, count = asked_for(card_input), card_input.shown.approval.to_move
    if not count:
        return [Text("The restart did not help. The next remedy is the job {remedy}; a person has to approve it.", remedy=name)]
    moves = Text(
        "If you approve, the job {remedy} stops the application, moves the message that is held from {queue} to "
        "{parked}, and starts the application again.",
        "If you approve, the job {remedy} stops the application, moves the {count} messages that are held from {queue} to "
        "{parked}, and starts the application again.",
    )
    return [
        Text("The restart did not help: it hangs on the same message again."),
        moves.fill(remedy=name, count=count, **_names(card_input)),
        Text("What it may cost: the order of messages, and if the broker crashes meanwhile, a duplicate. No message is lost."),
    ]


def say_running(card_input: CardInput) -> list[Phrase]:
    """What the run does."""
    count = moved(card_input)
    if not count:
        return [Text("The restart did not help. Unstick will report here what this changes.")]
    moves = Text(
        "It moves {count} message from {queue} to {parked}. Unstick will report the result here.",
        "It moves {count} messages from {queue} to {parked}. Unstick will report the result here.",
    )
    return [moves.fill(count=count, **_names(card_input))]


def conclude_well(card_input: CardInput) -> list[Phrase]:
    """The queue flows without what was moved."""
    count = moved(card_input)
    if not count:
        return []
    flows = Text(
        "The queue flows without the message that was moved to {parked}. So that message probably hangs the worker.",
        "The queue flows without the {count} messages that were moved to {parked}. So one of those probably hangs the worker.",
    )
    return [flows.fill(count=count, parked=_names(card_input)["parked"])]


def conclude_ill(card_input: CardInput) -> Phrase:
    """Others hang without what was moved; empty if nothing was moved, or nothing hangs."""
    if not moved(card_input) or not any(watched.after.held_again for watched in card_input.queues):
        return ""
    return Text(
        "Without the moved messages the next one hangs as well. Either something that they all need is down, or the next one is "
        "of the same kind: compare it with what was moved. Then bring the messages back from {parked} with the job return.",
        parked=_names(card_input)["parked"],
    )


def moved_messages(card_input: CardInput) -> Iterator[Fact]:
    """Which messages the run moved, once it has ended."""
    messages = read_moved(card_input.shown.run.tail) if running(card_input) else ()
    for place, message in enumerate(messages[:SHOWN], 1):
        yield Text("Moved aside") if place == 1 else "", name_message(message)
    if len(messages) > SHOWN:
        yield "", Text("and {count} more", count=len(messages) - SHOWN)
