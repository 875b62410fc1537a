"""The report of a training: one HTML page, with charts as SVG, that needs no other file and no connection."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from napari_tessera.core.errors import as_html

Points = Sequence[tuple[float, float]]
COLOURS = ("#2066a8", "#c44601", "#3a923a", "#8b5fbf", "#8c6d31", "#555555")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 56, 120, 28, 36


def chart(title: str, lines: Mapping[str, Points], *, is_logarithmic: bool = False) -> str:
    """Draw lines of (step, value), by the name shown at their end, as an <svg> element; "" if there is nothing to draw.

    Values that are not finite are left out, and those not above 0 on a logarithmic axis.
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
    """Return the logarithms of 1, 2 and 5 times powers of ten, from `low` to `high`."""
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


def describe_scores(record: Mapping[str, Any]) -> str:
    """Return on how much the scores of a training are, and of which step, unless it is that of the kept weights.

    `record` is that of a training, as in the header of its model; "" without scores.
    """
    if not record["scores"]:
        return ""
    texts = [
        f"The validation set has {count:,} {what[:-1] if count == 1 else what}."
        for what, count in record.get("scored_on", {}).items()
    ]
    scored = record.get("scored_step")
    if scored is not None and scored != record["best_step"]:
        texts.append(f"The scores are those of step {scored:.0f}, before the training on the held-out annotation too.")
    return " ".join(texts)


TRUTH_COLOUR, FOUND_COLOUR, BOTH_COLOUR = (255, 210, 0), (255, 0, 200), (255, 255, 255)
LARGEST_PX = 640
"""Images are cut to this side."""
NO_SCORE = "<p>No score: there was no validation data, or the training was stopped before the first validation.</p>"
STYLE = """body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
figure{display:inline-block;margin:0 1rem 1rem 0}img{width:18rem;image-rendering:pixelated}
figcaption{font-size:.85rem;max-width:18rem;overflow-wrap:anywhere}"""


@dataclass(frozen=True)
class ReportImage:
    """A validation image with its annotation and the prediction."""

    name: str
    image: np.ndarray  # ([Z,] Y, X) or ([Z,] Y, X, C)
    paint: np.ndarray  # ([Z,] Y, X): 0 not annotated, 1 background, 2… objects or classes
    found: np.ndarray  # ([Z,] Y, X): 0 background, 1… objects or classes


def report_page(header: Mapping[str, Any], losses: Sequence[Mapping[str, float]], shown: Sequence[ReportImage]) -> str:
    """Return the HTML page, from the header with its training record, the parts of the loss, and images to show."""
    record = header["training"]
    best = f"The weights of step {record['best_step']} of {record['settings']['steps']} were kept."
    best = f"{best} {describe_scores(record)}".rstrip()
    parts = [
        f"<h1>{as_html(header['name'])}</h1><p>{as_html(header['title'])}</p><p>{best}</p>",
        *(f"<p><strong>Warning: {as_html(doubt)}</strong></p>" for doubt in record.get("warnings", ())),
        _table("Scores of the weights kept", record["scores"]) if record["scores"] else NO_SCORE,
        "<h2>Curves</h2>",
        chart("Loss and its parts, logarithmic", by_name(losses), is_logarithmic=True),
        chart("Scores on the validation images", by_name(record["validations"])),
        "<h2>Examples</h2><p>Outlines: truth yellow, prediction pink, white where both agree.</p>",
        *(_figure(each) for each in shown),
        _table("Settings", record["settings"]),
        _table("Data", {**{f"images, {name}": len(of) for name, of in record["images"].items()},
                        "SHA-256": record["data_sha256"]}),
        _table("Machine", {"device": record["device"], "threads": record["threads"],
                           "minutes": round(record["seconds"] / 60, 1), **record["versions"]}),
    ]  # fmt: skip
    head = f'<meta charset="utf-8"><title>{as_html(header["name"])}</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def by_name(entries: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """Convert entries of named values at steps to a line for each name."""
    names = [name for name in (entries[0] if entries else {}) if name not in ("step", "rate")]
    return {name: [(entry["step"], entry[name]) for entry in entries] for name in names}


def picture_of(shown: ReportImage) -> np.ndarray:
    """Draw the image (the middle plane of a volume) with the outlines of truth and prediction: uint8 (Y, X, 3)."""
    from skimage.segmentation import find_boundaries

    image, paint, found = shown.image, shown.paint, shown.found
    if paint.ndim == 3:
        middle = len(paint) // 2
        image, paint, found = image[middle], paint[middle], found[middle]
    image, paint, found = (each[:LARGEST_PX, :LARGEST_PX] for each in (image, paint, found))
    picture = _grey_or_colour(image)
    truth, prediction = (find_boundaries(each, mode="inner") for each in (np.maximum(paint - 1, 0), found))
    picture[truth], picture[prediction], picture[truth & prediction] = TRUTH_COLOUR, FOUND_COLOUR, BOTH_COLOUR
    return picture


def _grey_or_colour(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and image.shape[-1] != 3:
        image = image.mean(-1)
    low, high = np.percentile(image, (0.5, 99.5))
    stretched = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) ** 0.7
    colours = stretched if image.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
    return (colours * 255).astype(np.uint8)


def _figure(shown: ReportImage) -> str:
    file = io.BytesIO()
    Image.fromarray(picture_of(shown)).save(file, "PNG", optimize=True)
    source = base64.b64encode(file.getvalue()).decode("ascii")
    caption = as_html(shown.name)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{source}"><figcaption>{caption}</figcaption></figure>'
    )


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{as_html(str(name))}</th><td>{as_html(str(value))}</td></tr>" for name, value in values.items()
    )
    return f"<h2>{as_html(title)}</h2><table>{rows}</table>"
