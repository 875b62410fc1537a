"""Where a network is least sure: there, a stroke of paint teaches it most.

References
----------
Settles 2009, "Active learning literature survey", section 3.1 (uncertainty sampling, entropy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from napari_tessera.train.paint_regions import Place, Window

CELL_PX = 8
"""Doubt is averaged over cells of this side, on whose grid regions lie."""
FEWEST_DOUBT = 0.02
"""Where a network doubts less on average, there is nothing to learn."""
NEAR_PLANES = 2
"""Regions over each other in planes up to so far apart would teach the same."""


@dataclass(frozen=True)
class Unsure:
    """A region in which a network is not sure.

    Attributes
    ----------
    place : tuple of int
        Which plane or volume of the image.
    window : tuple of slice
        Along [z,] y, x; of a volume one plane.
    doubt : float
        0 sure, 1 no idea; on average over the region.
    """

    place: Place
    window: Window
    doubt: float


def doubt_of_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return how unsure a network is of the class of each pixel: the entropy, 0 to 1.

    Parameters
    ----------
    probabilities : float array (K, …)
        Of each class but the background, which has the rest.

    Examples
    --------
    >>> doubt_of_classes(np.array([[0.0, 0.5, 1.0]])).tolist()
    [0.0, 1.0, 0.0]
    """
    background = np.clip(1 - probabilities.sum(0, keepdims=True), 0, 1)
    each = np.clip(np.concatenate([background, probabilities]), 1e-7, 1)
    entropy = -(each * np.log(each)).sum(0) / np.log(len(each))
    return np.where(entropy < 1e-5, 0, np.minimum(entropy, 1)).astype(np.float32)


def doubt_of_objects(labels: np.ndarray, scores: np.ndarray, least_score: float) -> np.ndarray:
    """Return how unsure a network is of the object that each pixel belongs to: 1 where its score just decides.

    Parameters
    ----------
    labels : integer array
        0 background, 1…N objects, those included that would be dropped.
    scores : (N,) array
    least_score : float
        From which on an object is kept.

    Examples
    --------
    >>> doubt_of_objects(np.array([0, 1, 2, 3]), np.array([0.5, 1.0, 0.25]), 0.5).tolist()
    [0.0, 1.0, 0.0, 0.5]
    """
    room = np.where(scores < least_score, least_score, 1 - least_score)
    doubts = 1 - np.abs(scores - least_score) / np.maximum(room, 1e-6)
    return np.concatenate([[0], np.clip(doubts, 0, 1)]).astype(np.float32)[labels]


def unsure_regions(doubt: np.ndarray, side_px: int, most: int) -> list[tuple[Window, float]]:
    """Find the regions of the highest doubt, which do not overlap in their plane.

    Parameters
    ----------
    doubt : float array ([Z,] Y, X)
        0 where there is nothing to ask, such as in what is painted.
    side_px : int
        Side of a region, cut at the border.
    most : int

    Returns
    -------
    list of (window, doubt)
        The highest doubt first.
    """
    planes = doubt if doubt.ndim == 3 else doubt[None]
    cells = np.stack([_in_cells(plane) for plane in planes])  # (Z, y, x)
    reach = max(1, min(round(side_px / CELL_PX), *cells.shape[1:]))
    means = uniform_filter(cells, size=(1, reach, reach), mode="constant")
    found: list[tuple[Window, float]] = []
    while len(found) < most and means.max() >= FEWEST_DOUBT:
        z, y, x = (int(at) for at in np.unravel_index(np.argmax(means), means.shape))
        window = (slice(z, z + 1), *_square((y, x), reach, planes.shape[1:]))
        found.append((window if doubt.ndim == 3 else window[1:], float(means[z, y, x])))
        near = (slice(max(z - NEAR_PLANES, 0), z + NEAR_PLANES + 1), *_around((y, x), reach))
        means[near] = 0
    return found


def _in_cells(plane: np.ndarray) -> np.ndarray:
    """Average over cells; those at the far border count as if they were whole, so that they are not preferred."""
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


def best_apart(regions: Sequence[Unsure], most: int) -> list[Unsure]:
    """Return the regions of the highest doubt, of which none lies over another in the same or a near plane."""
    chosen: list[Unsure] = []
    for region in sorted(regions, key=lambda each: -each.doubt):
        if len(chosen) == most:
            break
        if not any(_overlap(region, other) for other in chosen):
            chosen.append(region)
    return chosen


def _overlap(one: Unsure, other: Unsure) -> bool:
    in_plane = zip(one.window[-2:], other.window[-2:], strict=True)
    is_over = all(part.start < own.stop and own.start < part.stop for part, own in in_plane)
    planes = zip((*one.place, *_starts(one)), (*other.place, *_starts(other)), strict=True)
    return is_over and all(abs(at - its) <= NEAR_PLANES for at, its in planes)


def _starts(region: Unsure) -> Place:
    return tuple(part.start for part in region.window[:-2])
