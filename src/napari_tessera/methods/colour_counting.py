"""The loops of counting colours."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def count(values: np.ndarray, spread: np.ndarray, pixels: np.ndarray) -> int:
    """Count each colour in `pixels`; return how many there are."""
    occupied = 0
    for pixel in range(values.shape[0]):
        key = spread[values[pixel, 0]]
        for channel in range(1, values.shape[1]):
            key |= spread[values[pixel, channel]] << np.uint32(channel)
        occupied += 1 if pixels[key] == 0 else 0
        pixels[key] += np.uint32(1)
    return occupied


@numba.njit(nogil=True, cache=True)
def collect(pixels: np.ndarray, occupied: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys that were counted, ascending, and their counts."""
    keys, counts = np.empty(occupied, np.uint32), np.empty(occupied, np.int64)
    found = 0
    for key in range(len(pixels)):
        if pixels[key]:
            keys[found], counts[found] = key, pixels[key]
            found += 1
    return keys, counts
