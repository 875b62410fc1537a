"""Convert a part of a prediction that the user accepts into annotation."""

from __future__ import annotations

import numpy as np

NOT_PAINTED, BACKGROUND = 0, 1
UNKNOWN = -1
"""Value of pixels without a prediction."""


def paint_of_classes(classes: np.ndarray, paint: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Convert predicted classes to annotation; 0 where nothing is added, because existing annotation stays.

    Parameters
    ----------
    classes : integer array
        0 background, 1… classes; -1 without a prediction.
    paint : integer array
        Existing annotation: 0 not annotated, 1 background, 2… classes.
    inside : array of bool
        The part that the user accepts.

    Examples
    --------
    >>> paint_of_classes(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 0]), np.array([True, True, True, False])).tolist()
    [1, 2, 0, 0]
    """
    return np.where(inside & (paint == NOT_PAINTED) & (classes != UNKNOWN), classes + 1, 0)


def paint_of_objects(
    objects: np.ndarray, paint: np.ndarray, inside: np.ndarray, taken: np.ndarray, first: int
) -> np.ndarray:
    """Convert background and accepted objects to annotation; 0 where nothing is added.

    Parameters
    ----------
    objects, paint, inside
        As in `paint_of_classes`.
    taken : integer array
        Accepted objects, in order of their numbers.
    first : int
        Annotation number of the first of them; the others follow.

    Examples
    --------
    >>> paint_of_objects(np.array([0, 4, 7]), np.zeros(3, int), np.ones(3, bool), np.array([7]), 12).tolist()
    [1, 0, 12]
    """
    place = np.searchsorted(taken, objects)
    is_taken = np.append(taken, UNKNOWN)[place] == objects
    meant = np.where(objects == 0, BACKGROUND, np.where(is_taken, first + place, 0))
    return np.where(inside & (paint == NOT_PAINTED), meant, 0)


def objects_cut(objects: np.ndarray, inside: np.ndarray) -> set[int]:
    """Return the objects that extend beyond the accepted part, or into pixels without a prediction.

    Parameters
    ----------
    objects : integer array
        One pixel wider than the accepted part on all sides of the plane.
    inside : array of bool

    Examples
    --------
    >>> inside = np.array([[False, True, True, False]])
    >>> sorted(objects_cut(np.array([[3, 3, 5, 0]]), inside))
    [3]
    """
    cut: set[int] = set()
    for axis in range(objects.ndim):
        first = (slice(None),) * axis + (slice(None, -1),)
        second = (slice(None),) * axis + (slice(1, None),)
        before, after, is_in, goes_in = objects[first], objects[second], inside[first], inside[second]
        for one, other, leaves in ((before, after, is_in & ~goes_in), (after, before, goes_in & ~is_in)):
            cut.update(one[leaves & ((one == other) | (other == UNKNOWN))].tolist())
    return cut - {0, UNKNOWN}


def objects_met(objects: np.ndarray, paint: np.ndarray) -> set[int]:
    """Return the objects that overlap annotated objects, which the user has drawn."""
    return set(np.unique(objects[(paint > BACKGROUND) & (objects > 0)]).tolist())
