"""Turn what an instance network says of each pixel into numbered objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class PixelScores:
    """What an instance network says of each pixel.

    Parameters
    ----------
    object : float32 array (Y, X)
        Probability that the pixel belongs to any object, borders between objects included.
    border : float32 array (Y, X)
        Probability that two objects touch there.
    distance : float32 array (Y, X)
        Distance to the edge of the object over the largest in it, 0…1.
    offset : float32 array (2, Y, X)
        Way to the centre of the object, along y and x, in pixels.
    size : float32 array (Y, X)
        Natural logarithm of the diameter of the object over the usual one.
    """

    object: np.ndarray
    border: np.ndarray
    distance: np.ndarray
    offset: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class Decoding:
    """How scores become objects: thresholds chosen once on the validation images, never per image."""

    object_level: float = 0.5
    heart_level: float = 0.5
    border_cost: float = 1.0
    vote_weight: float = 0.0
    smallest_share: float = 0.05
    surest: float = 0.0


def find_objects(scores: PixelScores, diameter_px: float, how: Decoding) -> np.ndarray:
    """Find and number the objects: hearts are markers, flooded over the distance within the object pixels.

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

    height = scores.distance - how.border_cost * scores.border
    if how.vote_weight:
        height = height + how.vote_weight * votes(scores, diameter_px)
    inside = scores.object > how.object_level
    hearts, count = ndimage.label(inside & (height > how.heart_level), structure=np.ones((3, 3)))
    if count == 0:
        return hearts.astype(np.int32)
    labels = watershed(-height, hearts, mask=inside).astype(np.int32)
    return drop_doubtful(labels, scores, how.smallest_share * np.pi / 4 * diameter_px**2, how.surest)


def votes(scores: PixelScores, diameter_px: float) -> np.ndarray:
    """Say how near each pixel is to where its object's centre is said to be: 1 at the centre, 0 a radius away."""
    away = np.hypot(*scores.offset) * (2 / diameter_px)
    return np.where(scores.object > 0.5, np.clip(1 - away, 0, 1), 0)


def drop_doubtful(labels: np.ndarray, scores: PixelScores, smallest_px: float, surest: float) -> np.ndarray:
    """Remove objects of fewer pixels than `smallest_px`, and those nowhere sure."""
    count = int(labels.max())
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    keep = areas >= smallest_px
    if surest > 0:
        certainty = ndimage.maximum(scores.distance * scores.object, labels, np.arange(count + 1))
        keep &= np.asarray(certainty) >= surest
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return numbers[labels].astype(np.int32)
