"""Count the different colours of an 8-bit image, exactly.

A colour is one number with the bits of its channels taken in turn (Morton order), so that colours next to each other
are alike.
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
        from napari_tessera.methods.colour_counting import split

        colours = np.empty((len(self.keys), self.channels), np.uint8)
        split(self.keys, colours)
        return colours

    def __add__(self, other: ColourCounts) -> ColourCounts:
        from napari_tessera.methods.colour_counting import merge

        return ColourCounts(*merge(self.keys, self.counts, other.keys, other.counts), self.channels)


def count_colours(values: np.ndarray) -> ColourCounts:
    """Count the colours of (N, 2) or (N, 3) uint8 pixels."""
    from napari_tessera.methods.colour_counting import PAGE_BITS, collect, count

    channels = values.shape[1]
    pixels, is_used = np.zeros(COLOURS, np.uint32), np.zeros(COLOURS >> PAGE_BITS, np.bool_)
    spread = SPREAD * (np.arange(3)[:, np.newaxis] < channels).astype(np.uint32)  # nothing for a third of two channels
    count(np.ascontiguousarray(values), spread, pixels, is_used)
    return ColourCounts(*collect(pixels, is_used), channels)


def _spread_bits() -> np.ndarray:
    """Each byte with two empty bits after each of its own, moved up by the channel's number, (3, 256) uint32."""
    byte, spread = np.arange(256, dtype=np.uint32), np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= (byte & np.uint32(1 << bit)) << np.uint32(2 * bit)
    return spread << np.arange(3, dtype=np.uint32)[:, np.newaxis]


SPREAD = _spread_bits()
