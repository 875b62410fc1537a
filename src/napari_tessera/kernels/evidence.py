"""Measure what a network says of each object of a plane, and its shape, in one pass over its pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_tessera.bands import bands
from napari_tessera.jobs import Job, Progress
from napari_tessera.kernels.jit import njit

PIXELS, OUTLINE, OBJECT, OBJECT_OUTLINE, DISTANCE, SIZE, SIZE_SQUARED = range(7)
"""Columns of `Evidence.sums`: pixels; pixels on the outline; sums of what is said over the ones or the others."""
Y, X, YY, YX, XX = range(7, 12)
"""Columns of `Evidence.sums`: sums of positions, and of their products."""
FACES, TOUCHING, EDGE = range(12, 15)
"""Columns of `Evidence.sums`: faces towards other labels, of these towards objects; pixels at the image's edge."""
COLUMNS = 15
MOST_OBJECT, MOST_DISTANCE, MOST_BORDER = range(3)
"""Columns of `Evidence.most`."""


class Evidence(NamedTuple):
    """What is said of each object.

    Attributes
    ----------
    sums : float64 array (N + 1, 15)
        By label number; row 0 is not used.
    most : float32 array (N + 1, 3)
        Highest values in each object; 0 where there are none above.
    """

    sums: np.ndarray
    most: np.ndarray


def gather(
    labels: np.ndarray, object_: np.ndarray, border: np.ndarray, distance: np.ndarray, size: np.ndarray
) -> Job[Evidence]:
    """Add up what a network says of the pixels of each object.

    Parameters
    ----------
    labels : array of int (Y, X)
        0 background, 1…N.
    object_, border, distance, size : float32 array (Y, X)

    Returns
    -------
    Evidence
    """
    count = int(labels.max(initial=0)) + 1
    found = Evidence(np.zeros((count, COLUMNS)), np.zeros((count, 3), np.float32))
    cut = bands(*labels.shape)
    for done, rows in enumerate(cut):
        yield Progress(done, len(cut), "Weighing what was found")
        _gather_rows(labels, object_, border, distance, size, found.sums, found.most, rows.start, rows.stop)
    return found


@njit
def _gather_rows(labels, object_, border, distance, size, sums, most, start, stop):
    for y in range(start, stop):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label == 0:
                continue
            own = sums[label]
            own[PIXELS] += 1
            own[OBJECT] += object_[y, x]
            own[DISTANCE] += distance[y, x]
            own[SIZE] += size[y, x]
            own[SIZE_SQUARED] += size[y, x] ** 2
            _add_place(own, y, x)
            if _look_around(labels, y, x, own):
                own[OUTLINE] += 1
                own[OBJECT_OUTLINE] += object_[y, x]
            most[label, MOST_OBJECT] = max(most[label, MOST_OBJECT], object_[y, x])
            most[label, MOST_DISTANCE] = max(most[label, MOST_DISTANCE], distance[y, x])
            most[label, MOST_BORDER] = max(most[label, MOST_BORDER], border[y, x])


@njit
def _add_place(own, y, x):
    own[Y] += y
    own[X] += x
    own[YY] += y * y
    own[YX] += y * x
    own[XX] += x * x


@njit
def _look_around(labels, y, x, own):
    """Count the faces towards other labels, and say whether there are any; beyond the image there are none."""
    height, width = labels.shape
    before = own[FACES]
    if y in (0, height - 1) or x in (0, width - 1):
        own[EDGE] += 1
    if y > 0:
        _count_face(labels[y, x], labels[y - 1, x], own)
    if y + 1 < height:
        _count_face(labels[y, x], labels[y + 1, x], own)
    if x > 0:
        _count_face(labels[y, x], labels[y, x - 1], own)
    if x + 1 < width:
        _count_face(labels[y, x], labels[y, x + 1], own)
    return own[FACES] > before


@njit
def _count_face(label, other, own):
    if other != label:
        own[FACES] += 1
        if other > 0:
            own[TOUCHING] += 1
