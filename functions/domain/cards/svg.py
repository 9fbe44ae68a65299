"""Scales a depth curve for a picture."""

from __future__ import annotations

from msgspec import Struct

CURVE_HEIGHT = 64
BASE = CURVE_HEIGHT - 2  # the y coordinate of a depth of 0


class Curve(Struct, frozen=True):
    """A curve in pixels: `x,y x,y ...`, and its end point."""

    points: str
    end_x: str
    end_y: str
    width: int
    height: int = CURVE_HEIGHT
    base: int = BASE


def plot(curve: tuple[tuple[float, int], ...], width: int) -> Curve | None:
    """Plot the depth over time; None for fewer than two samples."""
    points = [(at, max(0, depth)) for at, depth in curve]
    if len(points) < 2:
        return None
    first, span = points[0][0], max(points[-1][0] - points[0][0], 1e-9)
    top = max(depth for _, depth in points) or 1
    placed = [f"{(at - first) / span * width:.1f},{BASE - depth / top * (CURVE_HEIGHT - 8):.1f}" for at, depth in points]
    end_x, end_y = placed[-1].split(",")
    return Curve(" ".join(placed), end_x, end_y, width)
