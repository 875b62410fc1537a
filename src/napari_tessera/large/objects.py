"""Turn what an instance network says of each pixel into numbered objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.ndimage import gaussian_filter

from napari_tessera.nn.scores import PixelScores


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
    """

    object_level: float = 0.58
    smoothing_px: float = 1.5
    border_cost: float = 0.25
    heart_level: float = 0.3
    prominence: float = 0.17
    smallest_share: float = 0.1


def find_objects(scores: PixelScores, diameter_px: float, how: Decoding) -> np.ndarray:
    """Find and number the objects: hearts are markers, flooded over the landscape within the object pixels.

    Parameters
    ----------
    scores : PixelScores
    diameter_px : float
        Usual diameter of an object in these scores.
    how : Decoding

    Returns
    -------
    int32 array (Y, X)
        0 background, 1… objects.
    """
    from skimage.segmentation import watershed

    inside = scores.object > how.object_level
    height = np.where(inside, landscape(scores, how), 0)
    markers = with_lone(hearts(height, how), inside)
    labels = watershed(-height, markers, mask=inside)
    return drop_small(labels, how.smallest_share * np.pi / 4 * diameter_px**2)


def landscape(scores: PixelScores, how: Decoding) -> np.ndarray:
    """Return what rises towards the heart of each object and falls to 0 and below between objects."""
    height = scores.distance - how.border_cost * scores.border
    return np.maximum(gaussian_filter(height, how.smoothing_px), 0)


def hearts(height: np.ndarray, how: Decoding) -> np.ndarray:
    """Find and number the summits that are high and prominent enough."""
    from skimage.morphology import local_maxima, reconstruction

    flattened = reconstruction(height - how.prominence, height)
    summits = local_maxima(flattened) & (flattened > how.heart_level - how.prominence)
    return ndimage.label(summits, structure=np.ones((3, 3)))[0]


def with_lone(markers: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Add a marker for each connected region without one: small and dim objects rise too little for a heart."""
    regions, count = ndimage.label(inside)
    has_marker = np.zeros(count + 1, dtype=bool)
    has_marker[regions[markers > 0]] = True
    lone = np.where(has_marker, 0, np.arange(count + 1))[regions]
    return np.where(lone > 0, lone + markers.max(), markers)


def drop_small(labels: np.ndarray, smallest_px: float) -> np.ndarray:
    """Remove objects of fewer pixels than `smallest_px` and number the others anew."""
    areas = np.bincount(labels.ravel())
    keep = areas >= smallest_px
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
