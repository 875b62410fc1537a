"""Segment a plane, or a volume plane by plane, with a Mask R-CNN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.core.jobs import Job, Progress, in_background, subtask
from napari_tessera.core.labels import run_starts
from napari_tessera.inference import scale_search
from napari_tessera.inference.decode_unet import UNetOptions, usual_size
from napari_tessera.inference.detections_to_labels import (
    SURE,
    DetectionThresholds,
    DroppedDetections,
    Rows,
    objects_of,
    usual_diameter,
)
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.rescore_detections import lowest_score, noise_of, rescore_with_unet, without_noise
from napari_tessera.inference.scale_search import Scale, search_scale
from napari_tessera.inference.segment_unet import stitch_planes
from napari_tessera.inference.tiled_detection import detect

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Detector
    from napari_tessera.models.mask_rcnn.detections import Detections

OTHERS = (0.25,)
"""Scales to try where there is nothing at 1: a feature pyramid finds much larger objects only if they are made smaller,
while magnifying makes objects of noise."""
FILLING = 0.8
"""What covers more of an image is the ground of an empty field, made smaller: a disc that fits in covers less."""


@dataclass(frozen=True)
class MaskRCNNOptions:
    """How to find the objects of an image with a Mask R-CNN."""

    diameter_px: float | None = None  # usual diameter of an object along X; None means estimated
    tile_px: int | None = None  # side of a tile of the network's grid without its overlap; None means automatic
    min_size: int = 0  # objects of fewer pixels are dropped, in 3-D of fewer voxels
    least_overlap: float = 0.25  # intersection over union from which on objects of neighbouring planes are linked
    factor: float | None = None  # network pixels per image pixel along X, if known already
    thresholds: DetectionThresholds = field(default_factory=DetectionThresholds)


def find_objects(
    network: Detector, view: NormalizedImage, options: MaskRCNNOptions
) -> Job[tuple[np.ndarray, Rows, DroppedDetections]]:
    """Find the scale, then the objects, as int32 labels: 0 background, 1…N in raster order.

    What was dropped is added up over the planes.
    """
    scale = yield from subtask(find_scale(network, view, options), 0, 1, 4)
    return (yield from subtask(objects_at(scale, network, view, options), 1, 3, 4))


def objects_at(
    scale: Scale[Detections], network: Detector, view: NormalizedImage, options: MaskRCNNOptions
) -> Job[tuple[np.ndarray, Rows, DroppedDetections]]:
    """Find the objects at a scale, from the detections that `find_scale` has of it if any."""
    if view.ndim == network.ndim:
        return (yield from _in_plane(network, view, options, scale))
    planes, rows, left = yield from subtask(_plane_by_plane(network, view, scale.factor, options), 0, 9, 10)
    labels, joined = yield from subtask(linked(planes, rows, options.least_overlap, options.min_size), 9, 1, 10)
    return labels, joined, left


def find_scale(network: Detector, view: NormalizedImage, options: MaskRCNNOptions) -> Job[Scale[Detections]]:
    """Find the scale at which the objects have the size that the network knows, or that its settings ask for."""
    usual_px = network.header.get("diameter_px")
    if options.factor is not None:
        return Scale(options.factor)
    if not usual_px:
        return Scale(network.scale_of(view.shape[-2:]))
    if options.diameter_px is not None:
        return Scale(usual_px / options.diameter_px)
    if network.second is not None:  # it is faster, and knows objects of the same size
        scale = yield from scale_search.find_scale(network.second, view, UNetOptions())
        return Scale(scale.factor, None, scale.is_sure, scale.likeness, scale.known)

    lowest = min(lowest_score(network.header, options.thresholds.faintest), SURE)

    def predict_window(window: NormalizedImage, factor: float) -> Job[Detections]:
        return _detect(network, window, factor, replace(options, tile_px=None), lowest)  # the same whatever the tiles

    def diameter(found: Sequence[Detections], factor: float) -> Job[float | None]:
        yield from ()
        found_px = usual_diameter(found, options.thresholds.mask_level)
        if found_px is None or usual_size(found_px, 2) > FILLING * math.prod(view.shape[-2:]):
            return None
        return found_px * math.sqrt(math.prod(view.factors(factor)[-2:]))

    factor, last = yield from search_scale(view, network.ndim, usual_px, predict_window, diameter, OTHERS)
    return Scale(factor, last.found[0] if last.is_whole and last.factor == factor else None)


def _detect(
    network: Detector, view: NormalizedImage, factor: float, options: MaskRCNNOptions, lowest_score: float
) -> Job[Detections]:
    """Detect the objects of a plane; where detections are rescored, those that are no more than noise are left out."""
    detecting = detect(network, view.grid_at(factor), view.read, lowest_score=lowest_score, tile_px=options.tile_px)
    found = yield from subtask(detecting, 0, 19, 20)
    if not network.header.get("scoring"):
        return found
    noise = yield from subtask(in_background(partial(noise_of, view), "Measuring noise"), 19, 1, 20)
    return without_noise(found, noise)


def detections_at(
    scale: Scale[Detections], network: Detector, view: NormalizedImage, options: MaskRCNNOptions
) -> Job[Detections]:
    """Detect the objects of a plane, unless that was done already, and rescore them; in pixels of the image."""
    known = scale.known
    if known is None:
        lowest = lowest_score(network.header, options.thresholds.faintest)
        known = yield from subtask(_detect(network, view, scale.factor, options, lowest), 0, 5, 8)
    return (yield from subtask(rescore_with_unet(network, view, known, scale.factor, scale.second), 5, 3, 8))


def _in_plane(
    network: Detector, view: NormalizedImage, options: MaskRCNNOptions, scale: Scale[Detections]
) -> Job[tuple[np.ndarray, Rows, DroppedDetections]]:
    """Detect the objects of a plane, rescore them, and paint them."""
    likely = yield from subtask(detections_at(scale, network, view, options), 0, 8, 10)
    is_aligned = network.settings.is_aligned
    painting = objects_of(likely, view.shape, options.thresholds, is_aligned, options.min_size)
    return (yield from subtask(painting, 8, 2, 10))


def _plane_by_plane(
    network: Detector, view: NormalizedImage, factor: float, options: MaskRCNNOptions
) -> Job[tuple[np.ndarray, list[Rows], DroppedDetections]]:
    """Find the objects of each plane; they are numbered plane by plane."""
    planes, rows, left = np.empty(view.shape, np.int32), [], DroppedDetections()
    in_plane = replace(options, min_size=0)  # voxels are counted at the end
    for z in range(len(planes)):
        job = _in_plane(network, view.plane(0, z), in_plane, Scale(factor))
        planes[z], own, cut = yield from subtask(job, z, 1, len(planes))
        rows.append(own)
        left += cut
    return planes, rows, left


def linked(
    planes: np.ndarray, rows: Sequence[Rows], least_overlap: float, min_size: int
) -> Job[tuple[np.ndarray, Rows]]:
    """Link the objects of neighbouring planes, and merge their rows.

    An object of the volume has the class and the score of its best plane.
    """
    places = []
    for z, plane in enumerate(planes):
        yield Progress(z, 2 * len(planes), "Linking planes")
        places.append(first_pixels(plane))
    labels = yield from subtask(stitch_planes(planes, least_overlap, min_size), 1, 1, 2)
    numbers = [plane.reshape(-1)[at] for plane, at in zip(labels, places, strict=True)]
    return labels, put_together(rows, numbers)


def first_pixels(plane: np.ndarray) -> np.ndarray:
    """Return the flat position of the first pixel of each of the objects 1…N."""
    flat = plane.reshape(-1)
    starts = run_starts(flat)
    values, first = np.unique(flat[starts], return_index=True)
    return starts[first[values > 0]]


def put_together(rows: Sequence[Rows], numbers: Sequence[np.ndarray]) -> Rows:
    """Make rows of the objects of a volume from those of its planes.

    `numbers` holds, for each plane, the objects of the volume that its objects became, from 1; 0 if dropped.
    """
    depths = np.repeat(np.arange(len(rows)), [len(each) for each in numbers])
    flat = Rows.joined(rows)
    low, high = np.column_stack([depths, flat.low]), np.column_stack([depths + 1, flat.high])
    owners = np.concatenate(numbers).astype(np.int64)
    order = np.lexsort((-flat.scores, owners))  # by object, its best plane first
    order = order[owners[order] > 0]
    starts = np.flatnonzero(np.diff(owners[order], prepend=0))
    best = order[starts]
    if not len(best):
        return Rows(flat.classes[best], flat.scores[best], low[best], high[best], best, best)
    return Rows(
        flat.classes[best],
        flat.scores[best],
        np.minimum.reduceat(low[order], starts),
        np.maximum.reduceat(high[order], starts),
        np.add.reduceat(flat.claimed_px[order], starts),
        np.add.reduceat(flat.lost_px[order], starts),
    )
