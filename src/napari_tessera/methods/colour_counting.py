"""The loops of counting colours."""

from __future__ import annotations

import numba
import numpy as np

PAGE = 1024
"""Keys that are looked through together; a picture leaves most pages empty."""


@numba.njit(nogil=True, cache=True)
def count(values: np.ndarray, spread: np.ndarray, pixels: np.ndarray, is_used: np.ndarray) -> int:
    """Count each colour in `pixels` and mark its page in `is_used`; return how many colours there are."""
    occupied = 0
    for pixel in range(values.shape[0]):
        key = spread[values[pixel, 0]]
        for channel in range(1, values.shape[1]):
            key |= spread[values[pixel, channel]] << np.uint32(channel)
        occupied += 1 if pixels[key] == 0 else 0
        pixels[key] += np.uint32(1)
        is_used[key // np.uint32(PAGE)] = True
    return occupied


@numba.njit(nogil=True, cache=True)
def collect(pixels: np.ndarray, is_used: np.ndarray, occupied: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys that were counted, ascending, and their counts."""
    keys, counts = np.empty(occupied, np.uint32), np.empty(occupied, np.int64)
    found = 0
    for page in np.flatnonzero(is_used):
        for key in range(page * PAGE, (page + 1) * PAGE):
            if pixels[key]:
                keys[found], counts[found] = key, pixels[key]
                found += 1
    return keys, counts


@numba.njit(nogil=True, cache=True)
def merge(
    keys: np.ndarray, counts: np.ndarray, other_keys: np.ndarray, other_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add up the counts of two ascending rows of keys."""
    size, other_size = len(keys), len(other_keys)
    merged, total = np.empty(size + other_size, keys.dtype), np.empty(size + other_size, counts.dtype)
    here, there, found = 0, 0, 0
    while here < size or there < other_size:
        takes_here = there == other_size or (here < size and keys[here] <= other_keys[there])
        takes_there = here == size or (there < other_size and other_keys[there] <= keys[here])
        merged[found] = keys[here] if takes_here else other_keys[there]
        total[found] = (counts[here] if takes_here else 0) + (other_counts[there] if takes_there else 0)
        here += 1 if takes_here else 0
        there += 1 if takes_there else 0
        found += 1
    return merged[:found].copy(), total[:found].copy()
