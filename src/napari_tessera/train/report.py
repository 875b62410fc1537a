"""The report of a training: one page of HTML that needs nothing beside it, not even a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from napari_tessera.escaping import as_html
from napari_tessera.overlay import outlines
from napari_tessera.train.curves import chart
from napari_tessera.train.scored import scored_in_words

TRUTH_COLOUR, FOUND_COLOUR, BOTH_COLOUR = (255, 210, 0), (255, 0, 200), (255, 255, 255)
LARGEST_PX = 640
"""Pictures are cut to this side."""
NO_SCORE = "<p>No score: there was nothing to validate on, or it was stopped before the first validation.</p>"
STYLE = """body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
figure{display:inline-block;margin:0 1rem 1rem 0}img{width:18rem;image-rendering:pixelated}
figcaption{font-size:.85rem;max-width:18rem;overflow-wrap:anywhere}"""


@dataclass(frozen=True)
class Shown:
    """A validation image with what was painted and what was found.

    Attributes
    ----------
    name : str
    image : array ([Z,] Y, X) or ([Z,] Y, X, C)
    paint : integer array ([Z,] Y, X)
        0 not painted, 1 background, 2… objects or classes.
    found : integer array ([Z,] Y, X)
        0 background, 1… objects or classes.
    """

    name: str
    image: np.ndarray
    paint: np.ndarray
    found: np.ndarray


def report_page(header: Mapping[str, Any], losses: Sequence[Mapping[str, float]], shown: Sequence[Shown]) -> str:
    """Lay out the page.

    Parameters
    ----------
    header : mapping
        Of the model, with its training record.
    losses : sequence of mapping
        The parts of the loss, with their step.
    shown : sequence of Shown
        Images to show.
    """
    record = header["training"]
    best = f"The weights of step {record['best_step']} of {record['settings']['steps']} were kept."
    best = f"{best} {scored_in_words(record)}".rstrip()
    parts = [
        f"<h1>{as_html(header['name'])}</h1><p>{as_html(header['title'])}</p><p>{best}</p>",
        *(f"<p><strong>Warning: {as_html(doubt)}</strong></p>" for doubt in record.get("warnings", ())),
        _table("Scores of the weights kept", record["scores"]) if record["scores"] else NO_SCORE,
        "<h2>Curves</h2>",
        chart("Loss and its parts, logarithmic", by_name(losses), is_logarithmic=True),
        chart("Scores on the validation images", by_name(record["validations"])),
        "<h2>Examples</h2><p>Outlines: truth yellow, found pink, white where both agree.</p>",
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
    """Turn entries of named values at steps into a line for each name."""
    names = [name for name in (entries[0] if entries else {}) if name not in ("step", "rate")]
    return {name: [(entry["step"], entry[name]) for entry in entries] for name in names}


def picture_of(shown: Shown) -> np.ndarray:
    """Draw the image (of a volume its middle plane) with the outlines of truth and prediction: uint8 (Y, X, 3)."""
    image, paint, found = shown.image, shown.paint, shown.found
    if paint.ndim == 3:
        middle = len(paint) // 2
        image, paint, found = image[middle], paint[middle], found[middle]
    image, paint, found = (each[:LARGEST_PX, :LARGEST_PX] for each in (image, paint, found))
    picture = _grey_or_colour(image)
    truth, prediction = outlines(np.maximum(paint - 1, 0)), outlines(found)
    picture[truth], picture[prediction], picture[truth & prediction] = TRUTH_COLOUR, FOUND_COLOUR, BOTH_COLOUR
    return picture


def _grey_or_colour(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and image.shape[-1] != 3:
        image = image.mean(-1)
    low, high = np.percentile(image, (0.5, 99.5))
    stretched = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) ** 0.7
    colours = stretched if image.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
    return (colours * 255).astype(np.uint8)


def _figure(shown: Shown) -> str:
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
