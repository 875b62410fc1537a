"""Decode the scores of a U-Net into objects, classes or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from napari_tessera.algorithms.gaussian import smoothed
from napari_tessera.algorithms.relabel import relabel, without_unsure
from napari_tessera.algorithms.watershed import Elevation, FloodInput, find_peaks, flooded_from, quantize
from napari_tessera.core.jobs import Job, Piece, bands, in_background, in_threads, pieces, subtask
from napari_tessera.core.labels import connected_components
from napari_tessera.core.result import Kind
from napari_tessera.inference.object_features import PixelScores, Scoring, without_unlikely
from napari_tessera.inference.pixel_grid import Grid, on_image, outlined
from napari_tessera.inference.sliding_window import Scores

FACES = 1
"""Pixels of an object hang together across their faces."""


@dataclass(frozen=True)
class Decoding:
    """How scores become objects: chosen once on the validation images, never per image."""

    object_level: float = 0.56  # probability above which a pixel belongs to an object
    smoothing_px: float = 2.5  # standard deviation by which the landscape of hearts is smoothed
    border_cost: float = 0.1  # how deep a sure border cuts into the landscape
    heart_level: float = 0.3  # a heart must rise above it,
    prominence: float = 0.2  # and by this above the pass to a higher one
    smallest_share: float = 0.05  # objects of less than this share of the usual area are dropped
    small_share: float = 0.4  # objects of less than this share are dropped unless the distance in them reaches
    sure_level: float = 0.66  # this level: what the network is not sure of is rarely there


@dataclass(frozen=True)
class UNetOptions:
    """How to segment an image with a U-Net."""

    output: Kind = "objects"
    diameter_px: float | None = None  # usual diameter of an object along X; None means estimated
    level: float | None = None  # probability above which a pixel is no background; None means the model's own
    min_size: int | None = None  # in pixels of the image; None means the model's own share of the usual size
    augment: bool = False  # average over mirror images
    is_orthogonal: bool = False  # of a volume, average planes across z, y and x; else link the objects of planes
    least_overlap: float = 0.25  # intersection over union from which on objects of neighbouring planes are linked
    tile_px: int | None = None  # side of a tile of the network's grid; None means as memory allows


def usual_size(diameter_px: float, ndim: int) -> float:
    """Return the pixels of a disc, or the voxels of a ball, of this diameter."""
    return float(np.pi / 4 * diameter_px**2 if ndim == 2 else np.pi / 6 * diameter_px**3)


def find_objects(
    scores: PixelScores,
    decoding: Decoding,
    min_size: float = 0,
    small_size: float = 0,
    scoring: Scoring | None = None,
) -> Job[np.ndarray]:
    """Find and number the objects: hearts are markers, flooded over the landscape within the object pixels.

    A small and dim object may have no heart; then the whole connected region is one object. Objects of fewer than
    `min_size` pixels are dropped, and those of fewer than `small_size` unless they are sure; in planes, `scoring` drops
    those that are unlikely. The labels are int32: 0 background, 1… objects in raster order.
    """
    height = yield from subtask(landscape(scores, decoding), 0, 2, 10)
    inside = scores.object > decoding.object_level
    ground = yield from subtask(quantize(Elevation(height, is_distance=False), inside, FACES), 2, 1, 10)
    del inside
    summits = yield from subtask(find_peaks(height, ground.inner, min_distance=1), 3, 1, 10)
    rises = height[tuple(summits.T)]
    del height
    owners = yield from subtask(_flood(ground, ground.flat_positions(summits), rises, decoding), 4, 4, 10)
    labels = yield from subtask(relabel(ground.inner, owners, int(np.ceil(min_size))), 8, 1, 10)
    if scoring is not None:
        return (yield from subtask(without_unlikely(labels, scores, scoring), 9, 1, 10))
    return (yield from subtask(without_unsure(labels, scores.distance, small_size, decoding.sure_level), 9, 1, 10))


def landscape(scores: PixelScores, decoding: Decoding) -> Job[np.ndarray]:
    """Return what rises towards the heart of each object and falls to 0 and below between objects."""
    height = np.empty(scores.distance.shape, np.float32)
    cut = bands(len(height), height[0].size)

    def combine(band: slice) -> None:
        np.multiply(scores.border[band], -decoding.border_cost, out=height[band])
        height[band] += scores.distance[band]

    yield from subtask(in_threads(combine, cut, "Finding objects"), 0, 1, 5)
    height = yield from subtask(smoothed(height, decoding.smoothing_px), 1, 3, 5)

    def cut_off(band: slice) -> None:
        np.maximum(height[band], 0, out=height[band])

    yield from subtask(in_threads(cut_off, cut, "Finding objects"), 4, 1, 5)
    return height


def _flood(ground: FloodInput, pixels: np.ndarray, rises: np.ndarray, decoding: Decoding) -> Job[np.ndarray]:
    """Flood from every summit, and return which summit each basin belongs to.

    A summit that is no heart goes to the basin over its highest pass, as if only hearts had been flooded from.
    """
    is_heart = np.append(True, rises > decoding.heart_level)
    return flooded_from(ground, pixels, FACES, np.where(is_heart, decoding.prominence * ground.scale, np.inf))


def make_output(scores: Scores, header: Mapping[str, Any], options: UNetOptions, grid: Grid) -> Job[np.ndarray]:
    """Turn scores into the output that the options ask for, on the image's grid; `scores` is emptied to free memory.

    Labels have the image's shape; probabilities are float32 (K, *shape), one image per class but the background.
    """
    if header["task"] == "objects" and options.output == "objects":
        return (yield from objects_of(scores, header, options, grid))
    probabilities = yield from subtask(probabilities_of(scores, header, grid), 0, 1, 2)
    if options.output == "probabilities":
        return probabilities
    level = _own_level(header) if options.level is None else options.level
    classes = yield from subtask(classes_of(probabilities, level), 1, 0.5, 2)
    if options.output == "classes":
        return classes
    return (yield from subtask(components_of(classes, options.min_size or 0), 1.5, 0.5, 2))


def objects_of(scores: Scores, header: Mapping[str, Any], options: UNetOptions, grid: Grid) -> Job[np.ndarray]:
    """Decode objects on the network's grid, and bring them to the image's."""
    decoding = decoding_of(header, options.level)
    pixels = pixel_scores(scores)
    usual_px = usual_size(header.get("diameter_px") or 0, pixels.object.ndim)
    scoring = scoring_of(header, usual_px, pixels, grid) if options.min_size is None else None
    if options.min_size is None and scoring is None:
        smallest_px, small_px = decoding.smallest_share * usual_px, decoding.small_share * usual_px
    else:
        smallest_px, small_px = (options.min_size or 0) if grid.is_image else 0, 0.0  # counted on the image's grid
    objects = pixels.object
    labels = yield from subtask(find_objects(pixels, decoding, smallest_px, small_px, scoring), 0, 8, 10)
    if grid.is_image:
        return labels
    labels = yield from subtask(outlined(labels, objects, decoding.object_level, grid), 8, 1, 10)
    numbers = np.arange(int(labels.max(initial=0)) + 1)
    return (yield from subtask(relabel(labels, numbers, options.min_size or 0), 9, 1, 10))


def scoring_of(header: Mapping[str, Any], usual_px: float, pixels: PixelScores, grid: Grid) -> Scoring | None:
    """Read from a model's header how likely objects are real; None if it cannot tell, as in volumes."""
    if len(grid.shape) != 2 or pixels.size is None or not usual_px or not header.get("scoring"):
        return None
    return Scoring.of(header, usual_px, sqrt(grid.share))


def decoding_of(header: Mapping[str, Any], level: float | None = None) -> Decoding:
    """Read from a model's header how its scores become objects; `level` goes before the model's own."""
    known = {field.name for field in fields(Decoding)}
    decoding = Decoding(**{name: value for name, value in header.get("decoding", {}).items() if name in known})
    return decoding if level is None else replace(decoding, object_level=level)


def pixel_scores(scores: Scores) -> PixelScores:
    """Name the scores of an instance network; `scores` is emptied."""
    classes, distance = scores.pop("classes"), scores.pop("distance")[0]
    size = scores.pop("size")[0] if "size" in scores else None
    scores.clear()
    objects = np.subtract(1, classes[0], out=classes[0])
    border = classes[2] if len(classes) > 2 else np.zeros_like(distance)
    return PixelScores(objects, border, distance, size)


def probabilities_of(scores: Scores, header: Mapping[str, Any], grid: Grid) -> Job[np.ndarray]:
    """Return the probability of each class but the background, float32 (K, *shape).

    A network for objects scores "background", "object" and "border between objects"; the latter two are one class.
    """
    classes = scores.pop("classes")
    scores.clear()
    pixels = [np.subtract(1, classes[0], out=classes[0])] if header["task"] == "objects" else classes[1:]
    result = np.empty((len(pixels), *grid.shape), np.float32)
    for number, each in enumerate(pixels):
        result[number] = yield from subtask(on_image(each, grid), number, 1, len(pixels))
    return result


def classes_of(probabilities: np.ndarray, level: float | None) -> Job[np.ndarray]:
    """Give each pixel its class, int32 ([Z,] Y, X): 0 background, 1…K, from probabilities (K, [Z,] Y, X).

    `level` is the probability of all classes together above which a pixel is no background; with None the likeliest
    class wins, be it the background.
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
    return (yield from relabel(labels, np.arange(int(labels.max(initial=0)) + 1), min_size))


def _add_components(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found = connected_components(mask)
    return np.where(mask, found + labels.max(initial=0), labels)


def _own_level(header: Mapping[str, Any]) -> float | None:
    return decoding_of(header).object_level if header["task"] == "objects" else None
