"""A queue's messages over time: drawn as SVG for pages and the gallery, as bars of text for chats, and said in words."""

from msgspec import Struct

from functions.domain.model.incidents import Incident
from functions.domain.model.observations import Samples
from functions.domain.texts.words import duration
from functions.runtime.text import Phrase, Text

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


def draw(curve: Curve, size: tuple[int, int] = SIZE) -> str:
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


def say(depths: Samples) -> Phrase:
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
