"""Plots a queue's messages over time, as points of an SVG that scales to its page."""

from msgspec import Struct

from functions.domain.model.incidents import Incident
from functions.domain.model.observations import Samples
from functions.domain.texts.words import CURVE, curve_words
from functions.runtime.text import Phrase, named

SIZE = 560, 150
TOP = 0.93  # the share of the height that the maximum reaches, so that the end point fits in


class Curve(Struct, frozen=True):
    """`line`: all messages, `x,y x,y ...`; `area`: what is below it; `held`: the same of the unacknowledged ones, empty if
    unknown. `marks`: the x of each restart. `caption`: the curve in words."""

    line: str
    area: str
    held: str
    marks: tuple[str, ...]
    begins_at: float
    ends_at: float
    caption: Phrase
    width: int
    height: int


def plot(depths: Samples, held: Samples = (), starts: tuple[float, ...] = (), size: tuple[int, int] = SIZE) -> Curve | None:
    """Plot the messages with the `starts` of restarts; None with fewer than two samples."""
    if len(depths) < 2:
        return None
    times, (width, height) = (depths[0][0], *starts, depths[-1][0]), size
    begins_at, ends_at, most = min(times), max(times), max(1, *(depth for _, depth in depths))

    def x(at: float) -> str:
        return f"{(min(max(at, begins_at), ends_at) - begins_at) / max(ends_at - begins_at, 1e-9) * width:.1f}"

    def place(samples: Samples) -> str:
        return " ".join(f"{x(at)},{height - min(max(0, count), most) / most * height * TOP:.1f}" for at, count in samples)

    def close(samples: Samples) -> str:
        return f"{x(samples[0][0])},{height} {place(samples)} {x(samples[-1][0])},{height}" if len(samples) > 1 else ""

    marks, caption = tuple(x(at) for at in sorted(starts)), named(CURVE, curve_words(depths))
    return Curve(place(depths), close(depths), close(held), marks, begins_at, ends_at, caption, width, height)


def find_starts(incident: Incident) -> tuple[float, ...]:
    """When its restarts began, by our clock."""
    began = (execution.runner_started_at for execution in incident.executions)
    return tuple(at - incident.runner_ahead_s for at in began if at is not None)
