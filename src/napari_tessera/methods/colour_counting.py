"""The loops of counting colours."""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit

PAGE_BITS = 10
"""Keys are looked through in pages of 1,024; a picture leaves most of them empty."""


@njit(error_model="numpy")
def count(values: np.ndarray, spread: np.ndarray, pixels: np.ndarray, is_used: np.ndarray) -> None:
    """Count each colour in `pixels` and mark its page in `is_used`; `spread` turns three bytes into parts of a key."""
    last = values.shape[1] - 1
    for pixel in range(values.shape[0]):
        key = spread[0, values[pixel, 0]] | spread[1, values[pixel, 1]] | spread[2, values[pixel, last]]
        pixels[key] += np.uint32(1)
        is_used[key >> np.uint32(PAGE_BITS)] = True


@njit
def collect(pixels: np.ndarray, is_used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys that were counted, ascending, and their counts."""
    pages = np.flatnonzero(is_used)
    occupied = 0
    for page in pages:
        for key in range(page << PAGE_BITS, (page + 1) << PAGE_BITS):
            occupied += 1 if pixels[key] else 0
    keys, counts = np.empty(occupied, np.uint32), np.empty(occupied, np.int64)
    found = 0
    for page in pages:
        for key in range(page << PAGE_BITS, (page + 1) << PAGE_BITS):
            if pixels[key]:
                keys[found], counts[found] = key, pixels[key]
                found += 1
    return keys, counts


@njit
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


@njit(error_model="numpy")
def split(keys: np.ndarray, colours: np.ndarray) -> None:
    """Write the bytes that each key was made of into its row of `colours`."""
    for row in range(len(keys)):
        for channel in range(colours.shape[1]):
            # Every third bit, brought together in three steps of twice the distance.
            bits = (keys[row] >> np.uint32(channel)) & np.uint32(0x249249)
            bits = (bits | (bits >> np.uint32(2))) & np.uint32(0x0C30C3)
            bits = (bits | (bits >> np.uint32(4))) & np.uint32(0x00F00F)
            colours[row, channel] = (bits | (bits >> np.uint32(8))) & np.uint32(0xFF)
