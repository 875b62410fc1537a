"""A random sample of an image's pixels that does not depend on how the image is cut into blocks.

Every position has a random number of its own, made from the seed; the pixels with the smallest numbers are the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SAMPLE_PX = 2**17


@dataclass(frozen=True)
class PixelSample:
    """The pixels with the smallest random numbers.

    Attributes
    ----------
    numbers : (N,) uint64 array
        Ascending; no two pixels have the same.
    values : (N, C) array
    positions : (N, D) int64 array
        z, y, x or y, x in the whole image.
    """

    numbers: np.ndarray
    values: np.ndarray
    positions: np.ndarray

    def __add__(self, other: PixelSample) -> PixelSample:
        numbers = np.concatenate([self.numbers, other.numbers])
        values = np.concatenate([self.values, other.values])
        positions = np.concatenate([self.positions, other.positions])
        first = np.argsort(numbers)[:SAMPLE_PX]
        return PixelSample(numbers[first], values[first], positions[first])


def sample_block(block: np.ndarray, start: tuple[int, ...], seed: int) -> PixelSample:
    """Draw the sample of one block.

    Parameters
    ----------
    block : (Y, X, C) or (Z, Y, X, C) array
    start : tuple of int
        Position of its first pixel in the whole image.
    seed : int

    Returns
    -------
    PixelSample
        All pixels of a block of up to 131,072.
    """
    from napari_tessera.methods.drawing_lots import draw_lots

    shape = block.shape[:-1]
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    depth, first_plane = (shape[0], start[0]) if len(shape) == 3 else (1, 0)
    box, corner = (depth, shape[-2], shape[-1]), (first_plane, start[-2], start[-1])
    places, numbers = draw_lots(box, corner, salt, _highest(math.prod(shape)))
    first = np.argsort(numbers)[:SAMPLE_PX]
    inside = np.unravel_index(places[first], shape)
    return PixelSample(numbers[first], block[inside], np.stack(inside, axis=1) + np.array(start))


def _highest(pixels: int) -> np.uint64:
    """Return the number that a tenth more pixels than the sample takes stay below; fewer is beyond all chance."""
    share = min(1.0, 1.1 * SAMPLE_PX / pixels)
    return np.uint64(min(int(share * 2.0**64), 2**64 - 1))
