"""Score the methods on images as people have them: python bench_ordinary_images.py --data FOLDER --every 8.

Each fluorescence image is padded, masked, rotated, given one bright thing, and so on. What is left of the truth is
scored, and beside it the same part of the labels of the undisturbed image (rotated: mirrored where there is none). The
last column counts the runs whose notes name the cause; a run that is refused scores 0.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from nuclei import image_and_truth
from nuclei_table import options, rows_of
from scipy import ndimage

import napari_tessera as tessera

METHODS: dict[str, dict[str, Any]] = {
    "unet": {}, "mask_rcnn": {}, "watershed": {}, "threshold": {"output": "objects"},
}  # fmt: skip
PADDING = r"not image|no image|padding|constant|masked|NaN|transparent"
BRIGHT = r"bright"


@dataclass(frozen=True)
class Disturbed:
    """An image as `segment` takes it, its truth, the part that counts, and what its notes should speak of."""

    image: Any
    truth: np.ndarray
    left: np.ndarray
    cause: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    to_truth: Callable[[np.ndarray], np.ndarray] = lambda labels: labels
    bright: np.ndarray | None = None
    undisturbed: np.ndarray | None = None


def framed(image: np.ndarray, truth: np.ndarray, offset: float) -> Disturbed:
    """Add what a camera adds, and paste it into a field of zeros a half larger."""
    margins = [(side // 4, side // 4) for side in truth.shape]
    left = np.pad(np.ones(truth.shape, bool), margins)
    return Disturbed(np.pad(image + offset, margins), np.pad(truth, margins), left, PADDING)


def rotated(image: np.ndarray, truth: np.ndarray) -> Disturbed:
    """Rotate it by 17 degrees, with zeros in the corners."""
    turned = ndimage.rotate(image + 500, 17, order=1)
    left = ndimage.rotate(np.ones(truth.shape, np.uint8), 17, order=0) > 0
    undisturbed = ndimage.rotate(image + 500, 17, order=1, mode="mirror")
    return Disturbed(turned, ndimage.rotate(truth, 17, order=0), left, PADDING, undisturbed=undisturbed)


def without_columns(image: np.ndarray, truth: np.ndarray, count: int, value: float) -> Disturbed:
    """Overwrite columns at the left."""
    image, left = image.copy(), np.ones(truth.shape, bool)
    image[:, :count], left[:, :count] = value, False
    return Disturbed(image, truth, left, PADDING)


def without_corner(shape: tuple[int, int]) -> np.ndarray:
    """Leave out a third of the width and the height at the lower right."""
    left = np.ones(shape, bool)
    left[-shape[0] // 3 :, -shape[1] // 3 :] = False
    return left


def masked(image: np.ndarray, truth: np.ndarray) -> Disturbed:
    """Mask a corner, with nonsense under the mask."""
    left = without_corner(truth.shape)
    return Disturbed(np.ma.masked_array(np.where(left, image, 1e6), ~left), truth, left, PADDING)


def transparent(image: np.ndarray, truth: np.ndarray) -> Disturbed:
    """Show it in grey as RGBA, with a transparent white corner."""
    left = without_corner(truth.shape)
    grey = np.where(left, np.clip(image, 0, 255), 255)
    rgba = np.stack([grey, grey, grey, np.where(left, 255, 0)], -1).astype(np.uint8)
    return Disturbed(rgba, truth, left, PADDING, {"axes": "YXC"})


def with_bright_thing(image: np.ndarray, truth: np.ndarray, times: float, rng: np.random.Generator) -> Disturbed:
    """Add a disc of 0.3 % of the pixels, so many times as bright as the objects."""
    background = np.median(image[truth == 0])
    objects = np.median(image[truth > 0]) - background
    radius = np.sqrt(0.003 * truth.size / np.pi)
    middle = [rng.uniform(radius, side - radius) for side in truth.shape]
    y, x = np.ogrid[: truth.shape[0], : truth.shape[1]]
    distance = np.hypot(y - middle[0], x - middle[1])
    thing = ndimage.gaussian_filter((distance <= radius).astype(float), 1)
    return Disturbed(image + thing * times * objects, truth, thing < 0.01, BRIGHT, bright=thing > 0.5)


def from_tiff(image: np.ndarray, truth: np.ndarray, folder: Path, how: str) -> Disturbed:
    """Read it from a file: min-is-white, or with sides in different units."""
    path = folder / f"{how}.ome.tif" if how == "units" else folder / f"{how}.tif"
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    if how == "units":
        sizes = {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
        tifffile.imwrite(path, pixels, metadata={"axes": "YX", **sizes})
    else:
        tifffile.imwrite(path, 255 - pixels, photometric="miniswhite")
    read = tessera.io.read_image(path)
    settings = {"axes": read.axes, "spatial": read.spatial}
    return Disturbed(read.data, truth, np.ones(truth.shape, bool), "", settings)


def mirrored(image: np.ndarray, truth: np.ndarray) -> Disturbed:
    """Take it as a plane of a volume whose axes run backwards."""
    spatial = tessera.Spatial("ZYX", scale=(1.0, -0.5, 0.5), translate=(0.0, 0.0, 0.0), units=("micrometer",) * 3)
    settings = {"axes": "ZYX", "spatial": spatial}
    return Disturbed(image[None], truth, np.ones(truth.shape, bool), "", settings, lambda labels: labels[0])


def disturbances(
    image: np.ndarray, truth: np.ndarray, rng: np.random.Generator, folder: Path
) -> Iterator[tuple[str, Callable[[], Disturbed]]]:
    """Name each disturbance, and how to make it."""
    span = max(np.ptp(image), 1e-6)
    yield "as it is", lambda: Disturbed(image, truth, np.ones(truth.shape, bool))
    for offset in (100, 200, 500):
        yield f"offset {offset} in a frame of zeros", lambda offset=offset: framed(image, truth, offset)
    yield "rotated, zeros in the corners", lambda: rotated(image, truth)
    yield "two columns of −1024, 12 bit", lambda: without_columns(image * (4095 / span), truth, 2, -1024)
    yield "ten columns of NaN", lambda: without_columns(image, truth, 10, np.nan)
    yield "a masked corner", lambda: masked(image, truth)
    yield "a transparent white corner", lambda: transparent(image, truth)
    for times in (5, 10, 20):
        yield f"a thing {times} times as bright", lambda times=times: with_bright_thing(image, truth, times, rng)
    yield "min-is-white TIFF", lambda: from_tiff(image, truth, folder, "white")
    yield "sides in nm and µm", lambda: from_tiff(image, truth, folder, "units")
    yield "plane of a volume, mirrored", lambda: mirrored(image, truth)


def ap(truth: np.ndarray, labels: np.ndarray, left: np.ndarray, bright: np.ndarray | None) -> float:
    """AP at 0.5 of what is left; the bright thing, and objects it covers or what is left of them, count neither way."""
    labels = np.asarray(labels)
    if bright is not None:
        covered = bright | np.isin(truth, np.unique(truth[bright & (truth > 0)]))
        shares = np.bincount(labels.ravel(), covered.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
        is_ignored = shares > 0.5
        is_ignored[np.unique(labels[bright])] = True
        labels, truth = np.where(is_ignored[labels], 0, labels), np.where(covered, 0, truth)
    return tessera.evaluate(np.where(left, truth, 0), np.where(left, labels, 0), thresholds=(0.5,))["ap"]["0.50"]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--method", choices=METHODS, action="append", help="all four if not given")
    parser.add_argument("--notes", action="store_true", help="print each note once")
    chosen = parser.parse_args()
    rows = [row for row in rows_of(chosen.data, chosen.split) if row["modality"] == "fluorescence"][:: chosen.every]
    print(f"AP at 0.5 of what is left, mean over {len(rows)} images; in brackets the same part, undisturbed")
    for method in chosen.method or METHODS:
        print(f"\n| {method} | AP | undisturbed | difference | notes name the cause |\n|---|---|---|---|---|")
        for line in lines_of(method, chosen, rows):
            print(line, flush=True)


def lines_of(method: str, chosen: Any, rows: list[dict[str, str]]) -> Iterator[str]:
    """Score one method on all images; one line of the table for each disturbance."""
    scores: dict[str, list[tuple[float, float, bool | None]]] = {}
    heard: dict[str, set[str]] = {}
    for number, row in enumerate(rows):
        image, truth = image_and_truth(chosen.data, row["name"])
        image = (image.mean(-1) if image.ndim == 3 else image).astype(np.float32)
        rng = np.random.default_rng(number)
        plain = labels_of(method, image)
        with tempfile.TemporaryDirectory() as folder:
            for name, make in disturbances(image, truth, rng, Path(folder)):
                one = make()
                try:
                    found = tessera.segment(method, one.image, **{"axes": "YX", **METHODS[method], **one.settings})
                    labels, notes = one.to_truth(np.asarray(found.labels)), " ".join(found.notes)
                except tessera.TesseraError as error:
                    labels, notes = np.zeros(one.truth.shape, np.int32), f"refused: {error}"
                before = plain if one.undisturbed is None else labels_of(method, one.undisturbed)
                before = in_frame(before, one.truth.shape)
                named = bool(re.search(one.cause, notes, re.IGNORECASE)) if one.cause else None
                pair = ap(one.truth, labels, one.left, one.bright), ap(one.truth, before, one.left, one.bright)
                scores.setdefault(name, []).append((*pair, named))
                heard.setdefault(name, set()).update(notes.split(". "))
    for name, found in scores.items():
        now, before = (float(np.mean([each[i] for each in found])) for i in (0, 1))
        named = [each[2] for each in found if each[2] is not None]
        mark = "" if now >= before - 0.03 else " **missed**"
        causes = f"{sum(named)} of {len(named)}" if named else ""
        yield f"| {name} | {now:.3f} | {before:.3f} | {now - before:+.3f}{mark} | {causes} |"
        if chosen.notes:
            yield from (f"    {note}" for note in sorted(heard[name])[:6])


def labels_of(method: str, image: np.ndarray) -> np.ndarray:
    """Segment an undisturbed image."""
    return np.asarray(tessera.segment(method, image, axes="YX", **METHODS[method]).labels)


def in_frame(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put labels into the middle of a larger field."""
    return np.pad(labels, [((new - old) // 2,) * 2 for new, old in zip(shape, labels.shape, strict=True)])


if __name__ == "__main__":
    main()
