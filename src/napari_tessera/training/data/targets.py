"""Compute a network's targets from labelled objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.core.jobs import run_job

NOT_PAINTED, BACKGROUND, OBJECT, BORDER = 0, 1, 2, 3
"""Classes of the instance target, as in annotations: 0 never counts."""
HEADS = {"classes": 3, "distance": 1, "size": 1}
"""Heads of an instance network: scores of background, object and border; distance; size."""


@dataclass(frozen=True)
class Targets:
    """Targets of one patch.

    Parameters
    ----------
    classes : uint8 array ([Z,] Y, X)
        0 not annotated, 1 background, 2 object, 3 where two objects touch.
    distance : float32 array ([Z,] Y, X)
        Distance to the edge of the object divided by its maximum in that object: 0 outside, 1 at the centre.
    size : float32 array ([Z,] Y, X)
        Natural logarithm of the diameter of the object divided by the usual one; 0 outside.
    weight : float32 array ([Z,] Y, X)
        Weight of a pixel; 0 where not annotated.
    """

    classes: np.ndarray
    distance: np.ndarray
    size: np.ndarray
    weight: np.ndarray

    def crop(self, where: tuple[slice, ...]) -> Targets:
        """Return the targets of a part of the patch."""
        return Targets(self.classes[where], self.distance[where], self.size[where], self.weight[where])


def instance_targets(
    labels: np.ndarray,
    diameter_px: float,
    sizes: np.ndarray | None = None,
    *,
    border_weight: float = 4.0,
) -> Targets:
    """Make the targets of an instance network.

    Parameters
    ----------
    labels : integer array ([Z,] Y, X)
        0 not annotated, 1 background, 2… one number per object, preferably without large gaps.
    diameter_px : float
        The usual object diameter at the network's scale.
    sizes : array (objects + 2,), optional
        Area or volume of each label number, for objects that are cut in `labels`; measured if not given.
    border_weight : float
        Weight of the pixels where two objects touch; other pixels of objects and background have weight 1.

    Notes
    -----
    Pixels of objects smaller than usual have a higher weight, up to 4, so that each object counts about the same.
    """
    is_object = labels > BACKGROUND
    border = touching(labels)
    classes = np.where(labels == NOT_PAINTED, NOT_PAINTED, np.where(is_object, OBJECT, BACKGROUND)).astype(np.uint8)
    classes[border & (classes != NOT_PAINTED)] = BORDER
    sizes = np.bincount(labels.ravel()) if sizes is None else sizes
    ratio = diameters(np.maximum(sizes, 1), labels.ndim) / diameter_px
    weight = np.where(is_object, np.clip(1 / ratio, 0.5, 4)[labels], 1).astype(np.float32)
    weight[border] *= border_weight
    weight[labels == NOT_PAINTED] = 0
    size = np.where(is_object, np.log(ratio)[labels], 0).astype(np.float32)
    return Targets(classes, normalised_distance(labels), size, weight)


def diameters(sizes: np.ndarray, ndim: int) -> np.ndarray:
    """Return the diameters of discs of these areas, or of balls of these volumes."""
    return np.sqrt(sizes * (4 / np.pi)) if ndim == 2 else np.cbrt(sizes * (6 / np.pi))


def touching(labels: np.ndarray, reach_px: int = 1) -> np.ndarray:
    """Mark the pixels with two different objects within `reach_px`, like the gaps in the U-Net paper."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * reach_px + 1
    largest = maximum_filter(labels, size)
    of_objects = np.where(labels > BACKGROUND, labels, np.iinfo(labels.dtype).max)
    smallest = minimum_filter(of_objects, size)
    return (largest > BACKGROUND) & (smallest < largest)


def normalised_distance(labels: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the edge of its object, divided by the largest one in the object."""
    from napari_tessera.algorithms.distance_transform import distance_to_background

    objects = np.where(labels > BACKGROUND, labels, 0).astype(np.int32)
    has_edge = (objects != objects.flat[0]).any()
    distance = run_job(distance_to_background(objects)) if has_edge else np.zeros(labels.shape, np.float32)
    largest = np.ones(int(objects.max()) + 1, dtype=np.float32)
    np.maximum.at(largest, objects.ravel(), distance.ravel())
    return (distance / largest[objects]).astype(np.float32)
