"""From what a network says of each pixel to the images a user asked for: objects, classes or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from napari_tessera.bands import Piece, in_background, in_threads, pieces
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.grid import Grid
from napari_tessera.kernels.numbering import numbered
from napari_tessera.kernels.resampling import on_image, outlined
from napari_tessera.labels import connected_components
from napari_tessera.large.object_scores import Scoring
from napari_tessera.large.objects import Decoding, find_objects, usual_size
from napari_tessera.large.pixel_scores import PixelScores
from napari_tessera.large.seeing import Scores
from napari_tessera.result import Kind


@dataclass(frozen=True)
class Wanted:
    """What is to be made of the scores.

    Attributes
    ----------
    output : "objects", "classes" or "probabilities"
    level : float or None
        Probability above which a pixel is no background; None means the model's own.
    min_size : int or None
        Smallest object to keep, in pixels of the image; None means the model's own share of the usual size.
    """

    output: Kind = "objects"
    level: float | None = None
    min_size: int | None = None


def make_output(scores: Scores, header: Mapping[str, Any], wanted: Wanted, grid: Grid) -> Job[np.ndarray]:
    """Turn scores into what is wanted, on the image's grid.

    Parameters
    ----------
    scores : dict of str to float32 array (K, [Z,] Y, X)
        On the network's grid; it is emptied, so that memory is free as soon as can be.
    header : mapping
        Of the model file.
    wanted : Wanted
    grid : Grid

    Returns
    -------
    array
        Labels of the image's shape; for probabilities float32 (K, *shape), one image per class but the background.
    """
    if header["task"] == "objects" and wanted.output == "objects":
        return (yield from objects_of(scores, header, wanted, grid))
    probabilities = yield from part_of(probabilities_of(scores, header, grid), 0, 1, 2)
    if wanted.output == "probabilities":
        return probabilities
    level = _own_level(header) if wanted.level is None else wanted.level
    classes = yield from part_of(classes_of(probabilities, level), 1, 0.5, 2)
    if wanted.output == "classes":
        return classes
    return (yield from part_of(components_of(classes, wanted.min_size or 0), 1.5, 0.5, 2))


def objects_of(scores: Scores, header: Mapping[str, Any], wanted: Wanted, grid: Grid) -> Job[np.ndarray]:
    """Decode objects on the network's grid, and bring them to the image's."""
    how = decoding_of(header, wanted.level)
    said = pixel_scores(scores)
    usual_px = usual_size(header.get("diameter_px") or 0, said.object.ndim)
    scoring = scoring_of(header, usual_px, said, grid) if wanted.min_size is None else None
    if wanted.min_size is None and scoring is None:
        smallest_px, small_px = how.smallest_share * usual_px, how.small_share * usual_px
    else:
        smallest_px, small_px = (wanted.min_size or 0) if grid.is_image else 0, 0.0  # counted on the image's grid
    objects = said.object
    labels = yield from part_of(find_objects(said, how, smallest_px, small_px, scoring), 0, 8, 10)
    if grid.is_image:
        return labels
    labels = yield from part_of(outlined(labels, objects, how.object_level, grid), 8, 1, 10)
    numbers = np.arange(int(labels.max(initial=0)) + 1)
    return (yield from part_of(numbered(labels, numbers, wanted.min_size or 0), 9, 1, 10))


def scoring_of(header: Mapping[str, Any], usual_px: float, said: PixelScores, grid: Grid) -> Scoring | None:
    """Read from a model's header how likely objects are ones; None where it does not or cannot say, as in volumes."""
    if len(grid.shape) != 2 or said.size is None or not usual_px:
        return None
    return Scoring.of(header, usual_px, sqrt(grid.share))


def decoding_of(header: Mapping[str, Any], level: float | None = None) -> Decoding:
    """Read from a model's header how its scores become objects; `level` goes before the model's own."""
    known = {field.name for field in fields(Decoding)}
    how = Decoding(**{name: value for name, value in header.get("decoding", {}).items() if name in known})
    return how if level is None else replace(how, object_level=level)


def pixel_scores(scores: Scores) -> PixelScores:
    """Name what an instance network says; `scores` is emptied."""
    classes, distance = scores.pop("classes"), scores.pop("distance")[0]
    size = scores.pop("size")[0] if "size" in scores else None
    scores.clear()
    objects = np.subtract(1, classes[0], out=classes[0])
    border = classes[2] if len(classes) > 2 else np.zeros_like(distance)
    return PixelScores(objects, border, distance, size)


def probabilities_of(scores: Scores, header: Mapping[str, Any], grid: Grid) -> Job[np.ndarray]:
    """Return the probability of each class but the background, float32 (K, *shape).

    A network for objects says "background", "object" and "border between objects"; the latter two are one class.
    """
    classes = scores.pop("classes")
    scores.clear()
    said = [np.subtract(1, classes[0], out=classes[0])] if header["task"] == "objects" else classes[1:]
    result = np.empty((len(said), *grid.shape), np.float32)
    for number, each in enumerate(said):
        result[number] = yield from part_of(on_image(each, grid), number, 1, len(said))
    return result


def classes_of(probabilities: np.ndarray, level: float | None) -> Job[np.ndarray]:
    """Give each pixel its class.

    Parameters
    ----------
    probabilities : float32 array (K, [Z,] Y, X)
        Of all classes but the background.
    level : float or None
        Probability of all of them together above which a pixel is no background; None means that the likeliest class
        wins, be it the background.

    Returns
    -------
    int32 array ([Z,] Y, X)
        0 background, 1…K.
    """
    result = np.empty(probabilities.shape[1:], np.int32)

    def choose(piece: Piece) -> None:
        part = probabilities[(slice(None), *piece)]
        together = part.sum(0)
        is_class = part.max(0) > 1 - together if level is None else together > level
        result[piece] = np.where(is_class, part.argmax(0) + 1, 0)

    yield from in_threads(choose, pieces(result.shape), "Choosing classes")
    return result


def components_of(classes: np.ndarray, min_size: int) -> Job[np.ndarray]:
    """Make each connected region of a class an object, numbered in raster order; smaller regions are dropped."""
    labels = np.zeros(classes.shape, np.int32)
    for number in range(1, int(classes.max(initial=0)) + 1):
        labels = yield from in_background(partial(_add_components, labels, classes == number), "Numbering objects")
    return (yield from numbered(labels, np.arange(int(labels.max(initial=0)) + 1), min_size))


def _add_components(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found = connected_components(mask)
    return np.where(mask, found + labels.max(initial=0), labels)


def _own_level(header: Mapping[str, Any]) -> float | None:
    return decoding_of(header).object_level if header["task"] == "objects" else None
