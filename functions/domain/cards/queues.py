"""What cards say of queues: figures before and after, who holds messages; each queue as it is now; and the
curve of the messages, as bars of text and in words."""

from collections.abc import Mapping
from math import inf

from functions.domain.cards.content import CardInput, Fact, tidy
from functions.domain.model.codes import Proof, Reason
from functions.domain.model.incidents import QueueState
from functions.domain.model.observations import Holder, Samples
from functions.domain.texts.words import consumers, duration, messages
from functions.runtime.text import COMMA, Phrase, Text, in_brackets, join, named

QUEUES_SHOWN = 5
QUEUE_NAME = 190  # maximum length of a queue's name, which may include its place
HOLDERS_SHOWN = 3
FRESH_S = 15.0  # seconds. Older figures are shown with their age: they may be from before a restart.


def fewest_consumers(card_input: CardInput) -> int | None:
    """The lowest number of consumers of the incident's queues at the last check; None if none is known. A queue from which the
    application takes by basic.get has none."""
    counts = (state.consumers for state in card_input.queues if not state.looks.polled)
    return min((count for count in counts if count is not None), default=None)


def list_queues(card_input: CardInput) -> list[Fact]:
    """Each queue's consumers and its depth before the restart, and after it once that was checked."""
    state = card_input.queues
    facts: list[Fact] = [(Text("Queue"), _queue(queue, card_input)) for queue in state[:QUEUES_SHOWN]]
    if len(state) > QUEUES_SHOWN:
        facts.append(("", Text("and {count} more queue", "and {count} more queues", count=len(state) - QUEUES_SHOWN)))
    if not state and card_input.trigger and card_input.trigger.queue:
        facts.append((Text("Queue"), tidy(card_input.trigger.queue.split(":", 2)[-1])))
    return facts


PROOFS: Mapping[Proof, Text] = {
    Proof.FULL: Text("a consumer holds as many messages as it may, and does nothing with them"),
    Proof.WORK_WAITS: Text("a consumer holds messages and does nothing with them, and others wait"),
    Proof.UNSERVED: Text("messages wait, and the connected consumers are given none"),
    Proof.GONE: Text("messages wait, and the consumer is gone"),
    Proof.PERHAPS: Text("messages stand still"),
    Proof.STATED: Text("the runbook's condition `stuck` holds"),
}


def proofs(card_input: CardInput) -> list[Fact]:
    """What the restart or the question rests on, how strong it is, and what speaks against it."""
    if card_input.reason in UNPROVED:
        return []
    judged = card_input.queues
    facts: list[Fact] = []
    for proof, likely in dict.fromkeys((queue.proof, queue.is_likely) for queue in judged):
        if proof is not None:
            facts.append((Text("Likely") if likely else Text("Proved"), PROOFS[proof]))
    facts += [(Text("Seen before"), stalls) for stalls in dict.fromkeys(queue.stalls for queue in judged) if stalls]
    facts += [(Text("Against it"), against) for against in dict.fromkeys(queue.doubt.against for queue in judged) if against]
    return facts


UNPROVED = {Reason.SYMPTOM_GONE, Reason.SYMPTOM_UNKNOWN, Reason.NEVER_CONSUMED, Reason.GOING_ROUND, Reason.NOT_FIRING}


def _queue(state: QueueState, card_input: CardInput) -> Phrase:
    connected = state.consumers if state.consumers is not None else state.before.consumers if state.before else None
    figures = join((_depth(state), consumers(connected) if connected is not None else ""), COMMA)
    if figures and state.curve and (age_s := card_input.at - state.curve[-1][0]) > FRESH_S:
        figures = Text("{figures} ({age} ago)", figures=figures, age=duration(age_s))
    return named(tidy(state.queue.name, QUEUE_NAME), figures)


def _depth(state: QueueState) -> Phrase:
    """The depth before and after the restart; without a restart the last one, which is in every curve."""
    before, after = state.before, state.after.depth
    last_at, last = state.curve[-1] if state.curve else (inf, after)
    if before is not None and None not in (after, last) and last_at > before.at:  # else an earlier restart left that depth
        return Text("{before} → {count} message", "{before} → {count} messages", before=before.depth, count=last or 0)
    depth = last if last is not None else before.depth if before is not None else None
    return messages(depth) if depth is not None else ""


def holders(card_input: CardInput) -> list[Fact]:
    """Who held the queue's unacknowledged messages at the last look, how many, and the minimum time until then."""
    lines: list[Phrase] = []
    for queue in card_input.queues:
        name = tidy(queue.queue.name) if len(card_input.queues) > 1 else ""
        looked_at = queue.curve[-1][0] if queue.curve else card_input.at
        lines += [named(name, held(holder, looked_at)) for holder in queue.holders]
    return [(Text("Held by"), join(_shorten(lines)))]


def _shorten(lines: list[Phrase]) -> list[Phrase]:
    more = Text("and {count} more", count=len(lines) - HOLDERS_SHOWN)
    return [*lines[:HOLDERS_SHOWN], more] if len(lines) > HOLDERS_SHOWN else lines


def held(holder: Holder, at: float) -> Phrase:
    """The holder, its number of messages, and the minimum time that it has held them."""
    who = in_brackets(tidy(holder.name, 60), tidy(holder.host, 60))
    count = messages(holder.messages) if holder.messages is not None else ""
    span = Text("for at least {span}", span=duration(at - holder.since)) if holder.since is not None else ""
    return join((who, count, span), COMMA)


def pick_curve(card_input: CardInput) -> tuple[tuple[float, int], ...]:
    """The curve of the deepest queue."""
    curves = [state.curve for state in card_input.queues if len(state.curve) > 1]
    return max(curves, key=lambda points: max(depth for _, depth in points), default=())


CURVE = Text("Depth")
BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24


def say_curve(depths: Samples) -> Phrase:
    """The curve in figures: first, last, highest, and its time span. Empty for fewer than two samples."""
    if len(depths) < 2:
        return ""
    first, last, peak = depths[0][1], depths[-1][1], max(depth for _, depth in depths)
    span = duration(depths[-1][0] - depths[0][0])
    return Text("{first} → {last} (peak {peak}) in {span}", first=first, last=last, peak=peak, span=span)


def to_bars(samples: Samples) -> str:
    """The curve as bars of text; empty for fewer than two samples. The lowest bar is zero; a bar for several samples
    shows the highest."""
    depths = [max(0, depth) for _, depth in samples]
    if len(depths) < 2:
        return ""
    width, highest = min(BARS_SHOWN, len(depths)), max(depths) or 1
    heights = (max(depths[place * len(depths) // width : (place + 1) * len(depths) // width]) for place in range(width))
    return "".join(BARS[max(1, round(height * 7 / highest)) if height else 0] for height in heights)
