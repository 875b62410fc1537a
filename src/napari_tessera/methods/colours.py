"""Count the different colours of an 8-bit image, exactly.

A colour is one number with the bits of its channels taken in turn (Morton order), so that colours next to each other
are alike. Two channels are colours with nothing in the third.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS = 2**24


@dataclass(frozen=True)
class ColourCounts:
    """Different colours, and how many pixels have each.

    Attributes
    ----------
    keys : (N,) uint32 array
        Ascending.
    counts : (N,) int64 array
    channels : int
        2 or 3.
    """

    keys: np.ndarray
    counts: np.ndarray
    channels: int

    @property
    def colours(self) -> np.ndarray:
        """The different colours, (N, channels) uint8."""
        return np.stack([_gathered_bits(self.keys >> np.uint32(channel)) for channel in range(self.channels)], axis=1)

    def __add__(self, other: ColourCounts) -> ColourCounts:
        from napari_tessera.methods.colour_counting import merge

        return ColourCounts(*merge(self.keys, self.counts, other.keys, other.counts), self.channels)


def count_colours(values: np.ndarray) -> ColourCounts:
    """Count the colours of (N, 2) or (N, 3) uint8 pixels."""
    from napari_tessera.methods.colour_counting import PAGE, collect, count

    pixels, is_used = np.zeros(COLOURS, np.uint32), np.zeros(COLOURS // PAGE, np.bool_)
    occupied = count(np.ascontiguousarray(values), SPREAD, pixels, is_used)
    return ColourCounts(*collect(pixels, is_used, occupied), values.shape[1])


def _gathered_bits(keys: np.ndarray) -> np.ndarray:
    """Every third bit, brought together; the inverse of `_spread_bits`."""
    byte = np.zeros(keys.shape, np.uint32)
    for bit in range(8):
        byte |= (keys >> np.uint32(2 * bit)) & np.uint32(1 << bit)
    return byte.astype(np.uint8)


def _spread_bits() -> np.ndarray:
    """Each byte with two empty bits after each of its own, (256,) uint32."""
    byte, spread = np.arange(256, dtype=np.uint32), np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= (byte & np.uint32(1 << bit)) << np.uint32(2 * bit)
    return spread


SPREAD = _spread_bits()
