"""Line charts as SVG, drawn from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from napari_tessera.escaping import as_html

Points = Sequence[tuple[float, float]]
COLOURS = ("#2066a8", "#c44601", "#3a923a", "#8b5fbf", "#8c6d31", "#555555")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 56, 120, 28, 36


def chart(title: str, lines: Mapping[str, Points], *, is_logarithmic: bool = False) -> str:
    """Draw lines over training steps.

    Parameters
    ----------
    title : str
    lines : mapping of str to sequence of (step, value)
        By the name shown at the end of the line; values that are not finite are left out.
    is_logarithmic : bool
        Draw values on a logarithmic axis; those that are not above 0 are left out.

    Returns
    -------
    str
        An <svg> element; empty where there is nothing to draw.
    """
    finite = {
        name: [point for point in points if _is_shown(point[1], is_logarithmic)] for name, points in lines.items()
    }
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return ""
    steps = [step for points in finite.values() for step, _ in points]
    values = [_scaled(value, is_logarithmic) for points in finite.values() for _, value in points]
    x_range, y_range = _range(min(*steps, 0), max(steps)), _range(min(values), max(values))
    parts = [_frame(title, x_range, y_range, is_logarithmic)]
    for number, (name, points) in enumerate(finite.items()):
        at = [(_x(step, x_range), _y(_scaled(value, is_logarithmic), y_range)) for step, value in points]
        parts.append(_line(name, at, number))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{"".join(parts)}</svg>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about `count` of them.

    Examples
    --------
    >>> ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda value: abs(value - raw))
    first = math.ceil(low / step - 1e-9)
    return [float(round(number * step, 12)) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return the logarithms of 1, 2 and 5, and of these times powers of ten, from `low` to `high`."""
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    found = [power + math.log10(digit) for power in powers for digit in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def _is_shown(value: float, is_logarithmic: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not is_logarithmic)


def _scaled(value: float, is_logarithmic: bool) -> float:
    return math.log10(value) if is_logarithmic else value


def _range(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _x(step: float, x_range: tuple[float, float]) -> float:
    return LEFT + (step - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, y_range: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, x_range: tuple[float, float], y_range: tuple[float, float], is_logarithmic: bool) -> str:
    parts = [_text(LEFT, 16, title, "start", "bold")]
    for step in ticks(*x_range):
        parts.append(_text(_x(step, x_range), HEIGHT - BOTTOM + 16, f"{step:g}", "middle"))
    for value in logarithmic_ticks(*y_range) if is_logarithmic else ticks(*y_range):
        y = _y(value, y_range)
        shown = 10**value if is_logarithmic else value
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{shown:.3g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "step", "middle"))
    return "".join(parts)


def _line(name: str, at: Points, number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at if len(at) <= 30)
    legend_y = TOP + 16 * number + 8
    legend = f'<path d="M{WIDTH - RIGHT + 8} {legend_y - 4}h14" stroke="{colour}" stroke-width="3"/>'
    legend += _text(WIDTH - RIGHT + 26, legend_y, name, "start")
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{marks}{legend}'


def _text(x: float, y: float, words: str, anchor: str, weight: str = "normal") -> str:
    style = f'font-family="sans-serif" font-size="12" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{as_html(words)}</text>'
