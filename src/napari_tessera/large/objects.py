"""Turn what an instance network says of each pixel into numbered objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.basins import merged_basins
from napari_tessera.kernels.dropping import without_unsure
from napari_tessera.kernels.flooding import flood, seeds_from, steps_to_neighbours
from napari_tessera.kernels.landscape import Ground, Hills, ground_of
from napari_tessera.kernels.markers import find_peaks
from napari_tessera.kernels.numbering import finished_labels
from napari_tessera.kernels.smoothing import smoothed
from napari_tessera.large.object_scores import Scoring, without_unlikely
from napari_tessera.large.pixel_scores import PixelScores

FACES = 1
"""Pixels of an object hang together across their faces."""


@dataclass(frozen=True)
class Decoding:
    """How scores become objects: chosen once on the validation images, never per image.

    Parameters
    ----------
    object_level : float
        Probability above which a pixel belongs to an object.
    smoothing_px : float
        Standard deviation by which the landscape of hearts is smoothed.
    border_cost : float
        How deep a sure border cuts into the landscape.
    heart_level, prominence : float
        A heart must rise above `heart_level`, and above the pass to a higher one by `prominence`.
    smallest_share : float
        Objects of less than this share of the usual area are dropped.
    small_share, sure_level : float
        Objects of less than `small_share` of the usual area are dropped unless the distance somewhere in them reaches
        `sure_level`: what the network is not sure of is rarely there.
    """

    object_level: float = 0.56
    smoothing_px: float = 2.5
    border_cost: float = 0.1
    heart_level: float = 0.3
    prominence: float = 0.2
    smallest_share: float = 0.05
    small_share: float = 0.4
    sure_level: float = 0.66


def usual_size(diameter_px: float, ndim: int) -> float:
    """Return the pixels of a disc, or the voxels of a ball, of this diameter."""
    return float(np.pi / 4 * diameter_px**2 if ndim == 2 else np.pi / 6 * diameter_px**3)


def find_objects(
    scores: PixelScores,
    how: Decoding,
    min_size: float = 0,
    small_size: float = 0,
    scoring: Scoring | None = None,
) -> Job[np.ndarray]:
    """Find and number the objects: hearts are markers, flooded over the landscape within the object pixels.

    A small and dim object may have no heart; then the whole connected region is one object.

    Parameters
    ----------
    scores : PixelScores
        (Y, X) or (Z, Y, X).
    how : Decoding
    min_size : float
        Objects of fewer pixels are dropped.
    small_size : float
        Objects of fewer pixels are dropped unless they are sure.
    scoring : Scoring, optional
        Drops what is likely none; for planes.

    Returns
    -------
    int32 array of the shape of the scores
        0 background, 1… objects in raster order.
    """
    height = yield from part_of(landscape(scores, how), 0, 2, 10)
    inside = scores.object > how.object_level
    ground = yield from part_of(ground_of(Hills(height, is_distance=False), inside, FACES), 2, 1, 10)
    del inside
    summits = yield from part_of(find_peaks(height, ground.inner, min_distance=1), 3, 1, 10)
    rises = height[tuple(summits.T)]
    del height
    owners = yield from part_of(_flood(ground, ground.flat_positions(summits), rises, how), 4, 4, 10)
    labels = yield from part_of(finished_labels(ground.labels, owners, int(np.ceil(min_size))), 8, 1, 10)
    if scoring is not None:
        return (yield from part_of(without_unlikely(labels, scores, scoring), 9, 1, 10))
    return (yield from part_of(without_unsure(labels, scores.distance, small_size, how.sure_level), 9, 1, 10))


def landscape(scores: PixelScores, how: Decoding) -> Job[np.ndarray]:
    """Return what rises towards the heart of each object and falls to 0 and below between objects."""
    height = np.empty(scores.distance.shape, np.float32)
    cut = bands(len(height), height[0].size)

    def combine(band: slice) -> None:
        np.multiply(scores.border[band], -how.border_cost, out=height[band])
        height[band] += scores.distance[band]

    yield from part_of(in_threads(combine, cut, "Finding objects"), 0, 1, 5)
    height = yield from part_of(smoothed(height, how.smoothing_px), 1, 3, 5)

    def cut_off(band: slice) -> None:
        np.maximum(height[band], 0, out=height[band])

    yield from part_of(in_threads(cut_off, cut, "Finding objects"), 4, 1, 5)
    return height


def _flood(ground: Ground, pixels: np.ndarray, rises: np.ndarray, how: Decoding) -> Job[np.ndarray]:
    """Flood from every summit, and say which summit each basin belongs to.

    A summit that is no heart goes to the basin over its highest pass, as if only hearts had been flooded from.
    """
    seeds = seeds_from(ground.labels, pixels, np.arange(1, len(pixels) + 1))
    yield from part_of(flood(ground.labels, ground.levels, seeds, FACES), 0, 3, 4)
    is_heart = np.append(True, rises > how.heart_level)
    depths = np.where(is_heart, how.prominence * ground.scale, np.inf)
    summit_levels = np.append(0, ground.levels.reshape(-1)[pixels]).astype(np.int64)
    steps = steps_to_neighbours(ground.levels.shape, FACES)
    merging = merged_basins(ground.labels, ground.levels, summit_levels, steps, depths)
    return (yield from part_of(merging, 3, 1, 4))
