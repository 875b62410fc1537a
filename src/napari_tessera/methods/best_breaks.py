"""The best way to cut a histogram into classes: least variance within them, exactly.

Multi-level Otsu, Jenks' natural breaks and one-dimensional k-means are this one problem. The best last cut moves up
with the number of values, so each row of the dynamic programme is found by halving (Grønlund et al. 2017,
arXiv:1701.07204): O(classes · values · log values), instead of trying all cuts.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit


def best_breaks(counts: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Cut ordered values into classes with the least sum of squared distances to the classes' means.

    Parameters
    ----------
    counts : (B,) array
        How often each value occurs, at least once.
    values : (B,) array
        Ascending.
    classes : int
        2 or more; where there are fewer values than classes, each value is a class.

    Returns
    -------
    (classes - 1,) int64 array
        Position of the last value of each class but the last. Of equally good cuts, the lowest.

    Examples
    --------
    >>> best_breaks(np.array([1, 1, 1]), np.array([1.0, 2.0, 9.0]), 2)
    array([1])
    """
    if len(values) <= classes:
        return np.arange(len(values) - 1)
    offset = np.asarray(values, np.float64) - values[0]  # from 0 on: less cancels
    pixels = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    sums = np.concatenate([[0.0], np.cumsum(counts * offset)])
    lasts = _last_cuts(pixels, sums, classes)  # (classes, B)
    breaks = np.empty(classes - 1, np.int64)
    end = len(values) - 1
    for number in range(classes - 1, 0, -1):
        end = lasts[number, end]
        breaks[number - 1] = end
    return breaks


def class_means(counts: np.ndarray, values: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """Mean of each class, given what `best_breaks` returns; (classes,) float64."""
    starts = np.concatenate([[0], breaks + 1])
    offset = values - values[0]
    return values[0] + np.add.reduceat(counts * offset, starts) / np.add.reduceat(counts, starts)


@njit
def _last_cuts(pixels: np.ndarray, sums: np.ndarray, classes: int) -> np.ndarray:
    """Where the class before ends in the best cut of values 0…j into c + 1 classes, (classes, B)."""
    size = len(pixels) - 1
    lasts = np.zeros((classes, size), np.int32)
    best = sums[1:] ** 2 / pixels[1:]  # squared sum over pixels: what the classes' means explain
    for number in range(1, classes):
        row = np.full(size, -np.inf)
        _fill_row(pixels, sums, number, best, row, lasts[number])
        best = row
    return lasts


@njit
def _fill_row(
    pixels: np.ndarray, sums: np.ndarray, number: int, before: np.ndarray, row: np.ndarray, last: np.ndarray
) -> None:
    """Fill one row by halving: the best cut for the middle value bounds those of both halves."""
    size = len(row)
    stack = [(number, size - 1, number - 1, size - 2)]
    while stack:
        low, high, cut_low, cut_high = stack.pop()
        if low > high:
            continue
        middle = (low + high) // 2
        for cut in range(cut_low, min(cut_high, middle - 1) + 1):
            explained = (sums[middle + 1] - sums[cut + 1]) ** 2 / (pixels[middle + 1] - pixels[cut + 1])
            if before[cut] + explained > row[middle]:
                row[middle] = before[cut] + explained
                last[middle] = cut
        stack.append((low, middle - 1, cut_low, last[middle]))
        stack.append((middle + 1, high, last[middle], cut_high))
