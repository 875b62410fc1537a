"""Suggest regions to annotate next: those where the network is least certain.

References
----------
Settles 2009, "Active learning literature survey", section 3.1 (uncertainty sampling, entropy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from napari_tessera.core.jobs import Job, middle, subtask
from napari_tessera.training.annotations.annotation import Place, Window, clipped, grown, inside, shifted

if TYPE_CHECKING:
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.training.annotations.annotation import AnnotatedImage
    from napari_tessera.training.validation import Where


CELL_PX = 8
"""Side of the cells over which uncertainty is averaged; regions lie on their grid."""
MIN_UNCERTAINTY = 0.02
"""Regions with a lower mean uncertainty are not suggested."""
NEAR_PLANES = 2
"""Overlapping regions in planes up to this distance would add little to each other."""


@dataclass(frozen=True)
class UncertainRegion:
    """A region in which a network is uncertain."""

    place: Place  # which plane or volume of the image
    window: Window  # along [z,] y, x; in a volume one plane
    doubt: float  # mean uncertainty of the region, from 0 (certain) to 1


def uncertainty_of_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return the uncertainty of the class of each pixel: the entropy, 0 to 1.

    `probabilities` (K, …) are those of each class except the background, which has the rest.

    Examples
    --------
    >>> uncertainty_of_classes(np.array([[0.0, 0.5, 1.0]])).tolist()
    [0.0, 1.0, 0.0]
    """
    background = np.clip(1 - probabilities.sum(0, keepdims=True), 0, 1)
    each = np.clip(np.concatenate([background, probabilities]), 1e-7, 1)
    entropy = -(each * np.log(each)).sum(0) / np.log(len(each))
    return np.where(entropy < 1e-5, 0, np.minimum(entropy, 1)).astype(np.float32)


def uncertainty_of_objects(labels: np.ndarray, scores: np.ndarray, min_score: float) -> np.ndarray:
    """Return the uncertainty of the object of each pixel: 1 if its score equals the threshold.

    `labels` have also the objects with scores (N,) below `min_score`, which would be dropped.

    Examples
    --------
    >>> uncertainty_of_objects(np.array([0, 1, 2, 3]), np.array([0.5, 1.0, 0.25]), 0.5).tolist()
    [0.0, 1.0, 0.0, 0.5]
    """
    room = np.where(scores < min_score, min_score, 1 - min_score)
    uncertainties = 1 - np.abs(scores - min_score) / np.maximum(room, 1e-6)
    return np.concatenate([[0], np.clip(uncertainties, 0, 1)]).astype(np.float32)[labels]


def uncertain_regions(doubt: np.ndarray, side_px: int, most: int) -> list[tuple[Window, float]]:
    """Find the most uncertain regions, without overlap in their plane, the most uncertain first.

    `doubt` ([Z,] Y, X) is the uncertainty, 0 in annotated pixels. Regions of `side_px` are cut at the border.
    """
    planes = doubt if doubt.ndim == 3 else doubt[None]
    cells = np.stack([_in_cells(plane) for plane in planes])  # (Z, y, x)
    reach = max(1, min(round(side_px / CELL_PX), *cells.shape[1:]))
    means = scipy.ndimage.uniform_filter(cells, size=(1, reach, reach), mode="constant")
    found: list[tuple[Window, float]] = []
    while len(found) < most and means.max() >= MIN_UNCERTAINTY:
        z, y, x = (int(at) for at in np.unravel_index(np.argmax(means), means.shape))
        window = (slice(z, z + 1), *_square((y, x), reach, planes.shape[1:]))
        found.append((window if doubt.ndim == 3 else window[1:], float(means[z, y, x])))
        near = (slice(max(z - NEAR_PLANES, 0), z + NEAR_PLANES + 1), *_around((y, x), reach))
        means[near] = 0
    return found


def _in_cells(plane: np.ndarray) -> np.ndarray:
    """Average over cells; cells at the far border are divided by their full area, so that they are not preferred."""
    height, width = (-(-length // CELL_PX) for length in plane.shape)
    whole = np.zeros((height * CELL_PX, width * CELL_PX), np.float32)
    whole[: plane.shape[0], : plane.shape[1]] = plane
    return whole.reshape(height, CELL_PX, width, CELL_PX).mean(axis=(1, 3))


def _square(centre: tuple[int, int], reach: int, shape: Sequence[int]) -> Window:
    starts = [(at - reach // 2) * CELL_PX for at in centre]
    return tuple(
        slice(max(start, 0), min(start + reach * CELL_PX, length)) for start, length in zip(starts, shape, strict=True)
    )


def _around(centre: tuple[int, int], reach: int) -> Window:
    return tuple(slice(max(at - reach + 1, 0), at + reach) for at in centre)


def non_overlapping(regions: Sequence[UncertainRegion], most: int) -> list[UncertainRegion]:
    """Return the most uncertain regions that do not overlap in the same or a near plane."""
    chosen: list[UncertainRegion] = []
    for region in sorted(regions, key=lambda each: -each.doubt):
        if len(chosen) == most:
            break
        if not any(_overlap(region, other) for other in chosen):
            chosen.append(region)
    return chosen


def _overlap(one: UncertainRegion, other: UncertainRegion) -> bool:
    in_plane = zip(one.window[-2:], other.window[-2:], strict=True)
    is_over = all(part.start < own.stop and own.start < part.stop for part, own in in_plane)
    planes = zip((*one.place, *_starts(one)), (*other.place, *_starts(other)), strict=True)
    return is_over and all(abs(at - its) <= NEAR_PLANES for at, its in planes)


def _starts(region: UncertainRegion) -> Place:
    return tuple(part.start for part in region.window[:-2])


# Heavy modules are imported in functions, in a thread, so that a widget opens at once.

TILE_PX = {2: (384, 384), 3: (16, 192, 192)}
"""Pixels of one window."""
CONTEXT_PX = {2: (32, 32), 3: (4, 24, 24)}
"""Margin around a window, so that objects cut at its border do not count as uncertain."""
MOST_TILES = 40
"""In a larger image, this many random windows are used."""
SCALE_PX = {2: (1536, 1536), 3: (24, 384, 384)}
"""Size of the middle part of a plane or volume in which the object size is estimated."""
REGIONS = 12
REGIONS_PER_TILE = 4
SMALLEST_SIDE_PX, LARGEST_SIDE_PX, SIDES_ACROSS = 24, 160, 8
SCORE_SHARE = 0.25
"""Objects of a Mask R-CNN count as uncertain from this share of the threshold score on."""
UncertaintyOf = Callable[["AnnotatedImage", "ImageTile"], Job[np.ndarray]]


@dataclass(frozen=True)
class ImageTile:
    """A window of a plane or volume to predict."""

    place: Place
    window: Window


def where_to_paint(
    model: Path,
    painting: AnnotatedImage,
    ndim: int = 2,
    *,
    most: int = REGIONS,
    seed: int = 0,
    diameter_px: float | None = None,
    device: Where = "auto",
) -> Job[Sequence[UncertainRegion]]:
    """Find the regions in which a model is least certain, outside the annotation; the least certain first.

    The model is a U-Net, for classes or objects, or a Mask R-CNN. In a large image, random windows are used. The usual
    diameter of the objects is estimated once if it is not given. The result is empty if the model is certain
    everywhere.
    """
    from napari_tessera.models.load_torch import load_torch

    yield from subtask(load_torch(), 0, 0, 1)
    shape = tuple(painting.paint.shape)
    tiles = image_tiles(shape, ndim, MOST_TILES, np.random.default_rng(seed))
    side_px = int(np.clip(min(shape[-2:]) // SIDES_ACROSS, SMALLEST_SIDE_PX, LARGEST_SIDE_PX))
    uncertainty_of = yield from subtask(
        _uncertainty_by(model, painting, tiles[0].place, ndim, diameter_px, device), 0, 0.1, 1
    )
    found: list[UncertainRegion] = []
    for done, tile in enumerate(tiles):
        job = _open_uncertainty(uncertainty_of, painting, tile)
        doubt = yield from subtask(job, 0.1 + 0.9 * done / len(tiles), 0.9 / len(tiles), 1)
        for window, mean in uncertain_regions(doubt, side_px, max(REGIONS_PER_TILE, -(-most // len(tiles)))):
            found.append(UncertainRegion(tile.place, shifted(window, tile.window), mean))
    return non_overlapping(found, most)


def image_tiles(shape: Sequence[int], ndim: int, most: int, rng: np.random.Generator) -> list[ImageTile]:
    """Cut an image into windows, and choose some at random if there are too many."""
    outer, space = tuple(shape[:-ndim]), shape[-ndim:]
    counts = tuple(-(-length // side) for length, side in zip(space, TILE_PX[ndim], strict=True))
    total = prod((*outer, *counts))
    chosen = range(total) if total <= most else sorted(rng.choice(total, most, replace=False).tolist())
    tiles = []
    for number in chosen:
        at = tuple(int(each) for each in np.unravel_index(number, (*outer, *counts)))
        window = tuple(
            slice(place * length // count, (place + 1) * length // count)
            for place, length, count in zip(at[len(outer) :], space, counts, strict=True)
        )
        tiles.append(ImageTile(at[: len(outer)], window))
    return tiles


def _open_uncertainty(uncertainty_of: UncertaintyOf, painting: AnnotatedImage, tile: ImageTile) -> Job[np.ndarray]:
    """Return the uncertainty in a window, 0 where it is annotated; it is predicted with a margin."""
    ndim = len(tile.window)
    shape = painting.paint.shape[-ndim:]
    wide = clipped(grown(tile.window, CONTEXT_PX[ndim]), shape)
    doubt = yield from uncertainty_of(painting, ImageTile(tile.place, wide))
    is_open = np.asarray(painting.paint[(*tile.place, *tile.window)]) == 0
    return painting.without_fill(np.where(is_open, doubt[inside(tile.window, wide)], 0), tile.place, tile.window)


def _uncertainty_by(
    model: Path, painting: AnnotatedImage, place: Place, ndim: int, diameter_px: float | None, device: Where
) -> Job[UncertaintyOf]:
    """Load the model, and estimate the object size if it is not given."""
    from napari_tessera.inference.predictor import load_predictor
    from napari_tessera.models.registry import find

    entry = find(model)
    network: Any = load_predictor(entry, device)
    is_detector = entry.kind == "mask_rcnn"
    if diameter_px is None and (usual_px := network.header.get("diameter_px")):
        window = middle(painting.paint.shape[-ndim:], SCALE_PX[ndim])
        view = yield from subtask(painting.view(place, window, network.header), 0, 1, 2)
        factor = yield from subtask(_scale(network, view, is_detector), 1, 1, 2)
        diameter_px = usual_px / factor
    return partial(_predicted_uncertainty, network, diameter_px, is_detector)


def _predicted_uncertainty(
    network: Any, diameter_px: float | None, is_detector: bool, painting: AnnotatedImage, tile: ImageTile
) -> Job[np.ndarray]:
    from napari_tessera.inference.decode_unet import UNetOptions
    from napari_tessera.inference.detections_to_labels import DetectionThresholds
    from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
    from napari_tessera.inference.segment_unet import segment

    view = yield from subtask(painting.view(tile.place, tile.window, network.header), 0, 1, 10)
    if not is_detector:
        job = segment(network, view, UNetOptions("probabilities", diameter_px))
        return uncertainty_of_classes((yield from subtask(job, 1, 9, 10)))
    min_score = DetectionThresholds.of(network.header).score
    which = DetectionThresholds.of(network.header, score=SCORE_SHARE * min_score)
    options = MaskRCNNOptions(diameter_px, thresholds=which)
    labels, rows, _ = yield from subtask(find_objects(network, view, options), 1, 9, 10)
    return uncertainty_of_objects(labels, rows.scores, min_score)


def _scale(network: Any, view: NormalizedImage, is_detector: bool) -> Job[float]:
    from napari_tessera.inference import scale_search as seeing
    from napari_tessera.inference import segment_mask_rcnn as detected_volumes
    from napari_tessera.inference.decode_unet import UNetOptions
    from napari_tessera.inference.detections_to_labels import DetectionThresholds

    if is_detector:
        options = detected_volumes.MaskRCNNOptions(thresholds=DetectionThresholds.of(network.header))
        return (yield from detected_volumes.find_scale(network, view, options)).factor
    return (yield from seeing.find_scale(network, view, UNetOptions())).factor
