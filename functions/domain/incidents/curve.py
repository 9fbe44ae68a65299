"""Draws a queue's messages over an incident, as points of an SVG that scales to the page."""

from collections.abc import Iterable

from msgspec import Struct

from functions.domain.model.incidents import Incident, QueueState

WIDTH, HEIGHT = 560, 150
BASE, TOP = HEIGHT - 2, 12  # the y coordinates of zero and of the maximum


class Chart(Struct, frozen=True):
    """`points`: of all messages; `held`: of the unacknowledged ones, empty if unknown; `marks`: the x of each restart."""

    points: str
    held: str
    marks: tuple[str, ...]
    begins_at: float
    ends_at: float
    first: int
    last: int
    most: int
    width: int = WIDTH
    height: int = HEIGHT
    base: int = BASE


def plot(watched: QueueState, incident: Incident) -> Chart | None:
    """Plot a queue; None with fewer than two samples."""
    curve = [(at, max(0, depth)) for at, depth in watched.curve]
    if len(curve) < 2:
        return None
    starts = [one.runner_started_at - incident.runner_ahead_s for one in incident.executions if one.runner_started_at is not None]
    begins_at, ends_at = min([curve[0][0], *starts]), max([curve[-1][0], *starts])
    most, span = max(depth for _, depth in curve), max(ends_at - begins_at, 1e-9)

    def x(at: float) -> str:
        return f"{(min(max(at, begins_at), ends_at) - begins_at) / span * WIDTH:.1f}"

    def placed(points: Iterable[tuple[float, int]]) -> list[str]:
        return [f"{x(at)},{BASE - min(max(0, count), most) / (most or 1) * (BASE - TOP):.1f}" for at, count in points]

    held = placed(watched.held_curve) if len(watched.held_curve) > 1 else []
    return Chart(
        _area(placed(curve)),
        _area(held) if held else "",
        tuple(x(at) for at in sorted(starts)),
        begins_at,
        ends_at,
        curve[0][1],
        curve[-1][1],
        most,
    )


def _area(points: list[str]) -> str:
    """Close the curve at the bottom, so that the area below it can be filled."""
    first, last = points[0].split(",")[0], points[-1].split(",")[0]
    return " ".join((f"{first},{BASE}", *points, f"{last},{BASE}"))
