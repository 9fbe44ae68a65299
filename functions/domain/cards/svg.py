"""Draws a depth curve as SVG, without fonts, scripts or outside addresses."""

from __future__ import annotations

CURVE_HEIGHT = 64
LINE = "#d9dce1"
STRONG = {"act": "#b3261e", "watch": "#8a5a00", "plan": "#1f4e8c", "fine": "#1b6e3c"}


def curve_svg(curve: tuple[tuple[float, int], ...], colour: str, *, width: int) -> str:
    """The depth over time as an SVG element; empty for fewer than two samples. `width` is in px."""
    inner = draw_curve(curve, colour, width)
    if not inner:
        return ""
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{CURVE_HEIGHT}" role="img">{inner}</svg>'


def draw_curve(curve: tuple[tuple[float, int], ...], colour: str, width: int) -> str:
    """The shapes of the curve, for an SVG element of this width (px) and `CURVE_HEIGHT`; empty for fewer than two samples."""
    points = [(at, max(0, depth)) for at, depth in curve]
    if len(points) < 2:
        return ""
    first, span = points[0][0], max(points[-1][0] - points[0][0], 1e-9)
    top = max(depth for _, depth in points) or 1
    drawn_height = CURVE_HEIGHT - 8
    placed = [f"{(at - first) / span * width:.1f},{CURVE_HEIGHT - 2 - depth / top * drawn_height:.1f}" for at, depth in points]
    path = " ".join(placed)
    base = CURVE_HEIGHT - 2
    end_x, end_y = placed[-1].split(",")
    return (
        f'<polygon points="0,{base} {path} {width},{base}" fill="{colour}" fill-opacity=".14"/>'
        f'<path d="M0 {base}H{width}" stroke="{LINE}"/>'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="3.5" fill="{colour}"/>'
    )
