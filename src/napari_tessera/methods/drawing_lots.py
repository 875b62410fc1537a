"""The loop that numbers positions at random and keeps the small numbers."""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit


@njit
def draw_lots(
    shape: tuple[int, int, int], start: tuple[int, int, int], salt: np.uint64, highest: np.uint64
) -> tuple[np.ndarray, np.ndarray]:
    """Give every position of a block a random number; return the places (in raster order) of those up to `highest`.

    A number depends on the position in the whole image and the salt only. It comes from the mixing steps of SplitMix64
    (Steele et al. 2014, doi:10.1145/2660193.2660195), which map 64 bits one to one: no two positions have the same.

    Returns
    -------
    places : (N,) int64 array
    numbers : (N,) uint64 array
    """
    places = np.empty(shape[0] * shape[1] * shape[2], np.int64)
    numbers = np.empty(len(places), np.uint64)
    place, found = 0, 0
    for z in range(start[0], start[0] + shape[0]):
        for y in range(start[1], start[1] + shape[1]):
            line = (np.uint64(z) << np.uint64(42)) | (np.uint64(y) << np.uint64(21))
            for x in range(start[2], start[2] + shape[2]):
                number = _mixed((line | np.uint64(x)) + salt)
                places[found], numbers[found] = place, number
                place += 1
                found += 1 if number <= highest else 0
    return places[:found].copy(), numbers[:found].copy()


@njit(inline="always")
def _mixed(number: np.uint64) -> np.uint64:
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
