"""What cards say of queues: figures before and after, who holds messages, the oldest one; and the curve of the messages, drawn as
SVG for pages and the gallery, as bars of text for chats, and said in words."""

from collections.abc import Mapping
from math import inf

from msgspec import Struct

from functions.domain.cards.content import CardInput, Fact, tidy
from functions.domain.model.codes import Proof, Reason, Verdict
from functions.domain.model.incidents import Incident, QueueState
from functions.domain.model.observations import Holder, Samples
from functions.domain.texts.words import consumers, duration, messages, size
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
    alarms = dict.fromkeys(str(queue.alarm) for queue in state if queue.alarm)
    return facts + [(Text("Alarm"), Text("{alarm}: publishers are blocked", alarm=tidy(alarm, 200))) for alarm in alarms]


PROOFS: Mapping[Proof, Text] = {
    Proof.FULL: Text("a consumer holds as many messages as it may, and does nothing with them"),
    Proof.WORK_WAITS: Text("a consumer holds messages and does nothing with them, and others wait"),
    Proof.UNSERVED: Text("messages wait, and the connected consumers are given none"),
    Proof.GONE: Text("messages wait, and the consumer is gone"),
    Proof.PERHAPS: Text("messages stand still"),
    Proof.STATED: Text("its own condition for stuck holds"),
}


def proofs(card_input: CardInput) -> list[Fact]:
    """What the restart or the question rests on, how strong it is, what speaks against it, and what settles it."""
    if card_input.reason in UNPROVED:
        return []
    judged = card_input.queues
    facts: list[Fact] = []
    for proof, likely in dict.fromkeys((queue.proof, queue.is_likely) for queue in judged):
        if proof is not None:
            facts.append((Text("Likely") if likely else Text("Proved"), PROOFS[proof]))
    facts += [(Text("Against it"), against) for against in dict.fromkeys(queue.doubt.against for queue in judged) if against]
    return facts + [(Text("What settles it"), line) for line in dict.fromkeys(queue.doubt.settle for queue in judged) if line]


UNPROVED = {Reason.SYMPTOM_GONE, Reason.SYMPTOM_UNKNOWN, Reason.NEVER_CONSUMED, Reason.GOING_ROUND, Reason.NOT_FIRING}


def _queue(state: QueueState, card_input: CardInput) -> Phrase:
    connected = state.consumers if state.consumers is not None else state.before.consumers if state.before else None
    if card_input.shown.run.holder_host and state.after.connected is not None:
        connected = state.after.connected  # the others were not restarted
    flows = _say_flows(state, card_input)
    figures = join((in_brackets(_depth(state), flows), consumers(connected) if connected is not None else ""), COMMA)
    if figures and state.curve and (age_s := card_input.at - state.curve[-1][0]) > FRESH_S:
        figures = Text("{figures} ({age} ago)", figures=figures, age=duration(age_s))
    return named(tidy(state.queue.name, QUEUE_NAME), figures)


def _say_flows(state: QueueState, card_input: CardInput) -> Phrase:
    """Say that the rest of a recovered queue is being processed. Where one of several consumers hung, it need not be empty."""
    left, most = state.after.depth or 0, card_input.runbook.recovered.max_messages if card_input.runbook else 0
    if state.after.verdict is not Verdict.RECOVERED or left <= most:
        return ""
    return Text("it moves", "they move", count=left)


def _depth(state: QueueState) -> Phrase:
    """The depth before and after the restart; without a restart the last one, which is in every curve."""
    before, after = state.before, state.after.depth
    last_at, last = state.curve[-1] if state.curve else (inf, after)
    if before is not None and None not in (after, last) and last_at > before.at:  # else an earlier restart left that depth
        return Text("{before} → {count} message", "{before} → {count} messages", before=before.depth, count=last or 0)
    depth = last if last is not None else before.depth if before is not None else None
    return messages(depth) if depth is not None else ""


def holders(card_input: CardInput) -> list[Fact]:
    """Who holds the queue's unacknowledged messages, how many, and the minimum time."""
    queues = card_input.queues
    lines = []
    for queue in queues:
        held_bytes = queue.held_bytes if len(queue.holders) == 1 and queue.holding in (None, 1) else None
        name = tidy(queue.queue.name) if len(queues) > 1 else ""
        lines += [named(name, held(holder, card_input.at, held_bytes)) for holder in queue.holders]
    if len(lines) > HOLDERS_SHOWN:
        lines = [*lines[:HOLDERS_SHOWN], Text("and {count} more", count=len(lines) - HOLDERS_SHOWN)]
    others = sum(max((queue.holding or 0) - len(queue.holders), 0) for queue in queues)
    if lines and others:
        lines.append(Text("{count} other consumer works", "{count} other consumers work", count=others))
    return [(Text("Held by"), join(lines))]


def held(holder: Holder, at: float, held_bytes: int | None = None) -> Phrase:
    """The holder, its number of messages, and the minimum time that it has held them. `held_bytes`: their size."""
    who = in_brackets(tidy(holder.name, 60), tidy(holder.host, 60))
    count = messages(holder.messages) if holder.messages is not None else ""
    span = Text("for at least {span}", span=duration(at - holder.since)) if holder.since is not None else ""
    return join((who, in_brackets(count, size(held_bytes)), span), COMMA)


def head(card_input: CardInput) -> list[Fact]:
    """The age of the oldest ready message, if publishers set its time, and its size if known."""
    dated = [(queue.head_at, queue.head_bytes) for queue in card_input.queues if queue.head_at is not None]
    if not dated:
        return []
    head_at, head_bytes = min(dated, key=lambda oldest: oldest[0])
    age = Text("{age} old", age=duration(card_input.at - head_at))
    return [(Text("Oldest message"), join((age, size(head_bytes)), COMMA))]


def pick_curve(card_input: CardInput) -> tuple[tuple[float, int], ...]:
    """The curve of the deepest queue."""
    curves = [state.curve for state in card_input.queues if len(state.curve) > 1]
    return max(curves, key=lambda points: max(depth for _, depth in points), default=())


CURVE = Text("Depth")
SIZE = 560, 120
TOP = 0.93  # the share of the height that the maximum reaches, so that the end point fits in
BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 24
DRAWING = (
    '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" fill="none" stroke="currentColor" overflow="visible" '
    'aria-hidden="true"><polygon class="area" fill="currentColor" stroke="none" opacity=".3" points="{area}"/>'
    '<polygon class="held" fill="currentColor" stroke="none" points="{held}"/>'
    '<path class="axis" stroke="#8a919c" d="M0 {height}H{width}"/>{marks}'
    '<polyline points="{line}" stroke-width="2" stroke-linejoin="round"/>'
    '<path stroke-width="8" stroke-linecap="round" d="M{end}h0"/></svg>'
)
MARK = '<path class="mark" stroke-width="2" stroke-dasharray="5 4" d="M{x} 0V{height}"/>'


class Curve(Struct, frozen=True):
    depths: Samples  # all messages
    held: Samples = ()  # of these the unacknowledged ones, where known
    starts: tuple[float, ...] = ()  # when restarts began, by our clock

    @property
    def begins_at(self) -> float:
        return min(self.depths[0][0], *self.starts, self.depths[-1][0])

    @property
    def ends_at(self) -> float:
        return max(self.depths[0][0], *self.starts, self.depths[-1][0])


def find_starts(incident: Incident) -> tuple[float, ...]:
    """When its restarts began, by our clock."""
    began = (execution.runner_started_at for execution in incident.executions)
    return tuple(at - incident.runner_ahead_s for at in began if at is not None)


def draw_curve(curve: Curve, size: tuple[int, int] = SIZE) -> str:
    """The curve as SVG in the colour of the text around it, with a mark for each restart; empty with fewer than two samples."""
    if len(curve.depths) < 2:
        return ""
    begins_at, span_s, (width, height) = curve.begins_at, max(curve.ends_at - curve.begins_at, 1e-9), size
    most = max(1, *(depth for _, depth in curve.depths))

    def x(at: float) -> str:
        return f"{min(max((at - begins_at) / span_s, 0.0), 1.0) * width:.1f}"

    def place(samples: Samples) -> str:
        return " ".join(f"{x(at)},{height - min(max(0, count), most) / most * height * TOP:.1f}" for at, count in samples)

    def close(samples: Samples) -> str:
        return f"{x(samples[0][0])},{height} {place(samples)} {x(samples[-1][0])},{height}" if len(samples) > 1 else ""

    line, marks = place(curve.depths), "".join(MARK.format(x=x(at), height=height) for at in sorted(curve.starts))
    areas = {"area": close(curve.depths), "held": close(curve.held)}
    return DRAWING.format(line=line, end=line.split()[-1], marks=marks, width=width, height=height, **areas)


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
