"""Seeds, clicked as points or painted as labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.door import is_labels
from napari_tessera.labels import run_starts


@dataclass(frozen=True)
class Seeds:
    """S seeds and the pixels they are made of.

    Attributes
    ----------
    numbers : (S,) array
        The painted number of each seed, or the number of the point, from 1.
    pixels : (D, K) array
        Position of every seed pixel, in raster order.
    owners : (K,) array
        Position in `numbers` of the seed that each pixel belongs to.
    absorbed : dict
        Numbers of points that fell on the pixel of an earlier one, by the number of that one.
    """

    numbers: np.ndarray
    pixels: np.ndarray
    owners: np.ndarray
    absorbed: dict[int, list[int]]


def read_seeds(seeds: np.ndarray, shape: tuple[int, ...]) -> Seeds:
    """Tell points from painted labels and list their pixels.

    Parameters
    ----------
    seeds : array
        (N, D) points, each counted to the pixel it lies in, or integer labels of the image's `shape`.
    shape : tuple of int
    """
    if is_labels(seeds, shape):
        return _read_painted(seeds)
    return _read_points(seeds, shape)


def _read_painted(labels: np.ndarray) -> Seeds:
    flat = np.flatnonzero(labels)
    painted = labels.reshape(-1)[flat]
    starts = run_starts(painted)
    numbers, owners_of_runs = np.unique(painted[starts], return_inverse=True)
    owners = np.repeat(owners_of_runs, np.diff(starts, append=len(painted)))
    return Seeds(numbers, np.stack(np.unravel_index(flat, labels.shape)), owners, {})


def _read_points(points: np.ndarray, shape: tuple[int, ...]) -> Seeds:
    nearest = np.clip(np.rint(points).astype(np.int64), 0, np.array(shape) - 1)  # (N, D)
    flat = np.ravel_multi_index(tuple(nearest.T), shape)
    pixels, first, place = np.unique(flat, return_index=True, return_inverse=True)
    kept = np.sort(first)
    absorbed: dict[int, list[int]] = {}
    for later in np.setdiff1d(np.arange(len(flat)), kept):
        absorbed.setdefault(int(first[place[later]]) + 1, []).append(int(later) + 1)
    return Seeds(kept + 1, np.stack(np.unravel_index(pixels, shape)), np.searchsorted(kept, first), absorbed)
