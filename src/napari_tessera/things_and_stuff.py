"""What a scene is made of: things, which are counted, and stuff, which is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_tessera.labels import first_seen, label_dtype, renumber

BACKGROUND = 1
"""Class of the pixels that are neither thing nor stuff, as where labels are painted."""


@dataclass(frozen=True)
class Things:
    """Countable objects.

    Attributes
    ----------
    labels : array of int
        (Y, X) or (Z, Y, X); 0 is no thing, the N things are 1…N in raster order of their first pixel.
    classes : (N,) array of int
        Which of `names` each thing is.
    names : tuple of str
        Every class that things may have, also those that do not occur.
    scores : (N,) array of float, optional
        How sure it is that each is one, 0 to 1.
    hidden : (N,) array of float, optional
        Share of each that lies behind things of higher score and so is not among its pixels.
    """

    labels: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray | None = None
    hidden: np.ndarray | None = None


@dataclass(frozen=True)
class Stuff:
    """Regions that are not counted.

    Attributes
    ----------
    classes : array of int
        The class of each pixel, small numbers; 0 is background, a class as well.
    names : tuple of str
        Names of the classes 1, 2, …; those beyond are called "class 5" and so on.
    """

    classes: np.ndarray
    names: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """Name a class."""
        if number == 0:
            return "background"
        return self.names[number - 1] if number <= len(self.names) else f"class {number}"


def things_from_masks(
    masks: Sequence[np.ndarray],
    classes: Sequence[int],
    names: tuple[str, ...],
    scores: Sequence[float] | None = None,
    least_remaining: float = 0.5,
) -> Things:
    """Turn masks that may overlap into things that do not.

    The thing of the highest score takes its pixels first; without scores the smallest does, so that nothing vanishes
    behind something larger. A thing of which too little is left is dropped, and its pixels stay free.

    Parameters
    ----------
    masks : sequence of N bool arrays
        At least one, all of one shape.
    classes : sequence of N int
        Which of `names` each is.
    names : tuple of str
    scores : sequence of N float, optional
    least_remaining : float
        Share of a mask that must be left beside those before it.

    References
    ----------
    Kirillov A. et al. (2019), Panoptic segmentation, doi:10.1109/CVPR.2019.00963.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_tessera.things_and_stuff import things_from_masks
    >>> masks = np.array([[[1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1]], [[0, 1, 1, 0, 0]]], bool)
    >>> things_from_masks(masks, [0, 0, 0], ("cell",), scores=[0.9, 0.8, 0.7]).labels
    array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    order = np.argsort(areas if scores is None else -np.asarray(scores, float), kind="stable")
    labels = np.zeros(np.shape(masks[0]), label_dtype(len(areas)))
    for place in order:
        free = masks[place] & (labels == 0)
        left = np.count_nonzero(free)
        if left and left >= least_remaining * areas[place]:
            labels[free] = place + 1
    seen = first_seen(labels) - 1
    known = None if scores is None else np.asarray(scores, float)[seen]
    return Things(renumber(labels), np.asarray(classes, np.int64)[seen], names, known)
