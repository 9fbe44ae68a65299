"""Plots a queue's messages over time, as points of an SVG that scales to its page."""

from msgspec import Struct

from functions.domain.model.incidents import Incident
from functions.domain.model.observations import Samples
from functions.domain.texts.words import CURVE, curve_words
from functions.runtime.text import Phrase, named

WIDTH, HEIGHT = 560, 150
EDGE = 2  # below zero, for the axis
TOP = 0.92  # the share of the height that the maximum reaches, so that the end point fits in


class Curve(Struct, frozen=True):
    """`line`: all messages, `x,y x,y ...`, and `end` its last point. `area`: what is below it; `held`: the same of the
    unacknowledged ones, empty if unknown. `marks`: the x of each restart. `caption`: the curve in words."""

    line: str
    end: str
    area: str
    held: str
    marks: tuple[str, ...]
    begins_at: float
    ends_at: float
    caption: Phrase
    width: int
    height: int
    base: int


def plot(
    depths: Samples, held: Samples = (), starts: tuple[float, ...] = (), *, width: int = WIDTH, height: int = HEIGHT
) -> Curve | None:
    """Plot the messages with the `starts` of restarts; None with fewer than two samples."""
    if len(depths) < 2:
        return None
    times = (depths[0][0], *starts, depths[-1][0])
    begins_at, ends_at = min(times), max(times)
    most, span, base = max(1, *(depth for _, depth in depths)), max(ends_at - begins_at, 1e-9), height - EDGE

    def x(at: float) -> str:
        return f"{(min(max(at, begins_at), ends_at) - begins_at) / span * width:.1f}"

    def place(samples: Samples) -> str:
        return " ".join(f"{x(at)},{base - min(max(0, count), most) / most * base * TOP:.1f}" for at, count in samples)

    def close(samples: Samples) -> str:
        return f"{x(samples[0][0])},{base} {place(samples)} {x(samples[-1][0])},{base}" if len(samples) > 1 else ""

    return Curve(
        place(depths),
        place(depths[-1:]),
        close(depths),
        close(held),
        tuple(x(at) for at in sorted(starts)),
        begins_at,
        ends_at,
        named(CURVE, curve_words(depths)),
        width,
        height,
        base,
    )


def find_starts(incident: Incident) -> tuple[float, ...]:
    """When its restarts began, by our clock."""
    began = (execution.runner_started_at for execution in incident.executions)
    return tuple(at - incident.runner_ahead_s for at in began if at is not None)
