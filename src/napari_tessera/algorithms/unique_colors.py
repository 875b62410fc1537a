"""Count the unique colours of an 8-bit image, exactly.

A colour is one number with the bits of its channels interleaved (Morton order), so that neighbouring numbers are
similar colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.algorithms.common_step import equal_steps
from napari_tessera.algorithms.histogram import Grid
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.kmeans import Place

PAGE_BITS = 10
"""Keys are searched in pages of 1,024; in an image most pages are empty."""


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
    """Return the counted keys, ascending, and their counts."""
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
    """Add the counts of two ascending lists of keys."""
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
    """Write the bytes of each key into its row of `colours`."""
    for row in range(len(keys)):
        for channel in range(colours.shape[1]):
            # Collect every third bit, in three steps of twice the distance.
            bits = (keys[row] >> np.uint32(channel)) & np.uint32(0x249249)
            bits = (bits | (bits >> np.uint32(2))) & np.uint32(0x0C30C3)
            bits = (bits | (bits >> np.uint32(4))) & np.uint32(0x00F00F)
            colours[row, channel] = (bits | (bits >> np.uint32(8))) & np.uint32(0xFF)


COLOURS = 2**24
PROBED = 2**10
"""Number of pixels that usually shows that the values have no common step."""


@dataclass(frozen=True)
class ColourCounts:
    """Unique colours of 2 or 3 channels as ascending uint32 keys, and the number of pixels of each."""

    keys: np.ndarray
    counts: np.ndarray
    channels: int

    @property
    def colours(self) -> np.ndarray:
        """The unique colours, (N, channels) uint8."""
        colours = np.empty((len(self.keys), self.channels), np.uint8)
        split(self.keys, colours)
        return colours

    def __add__(self, other: ColourCounts) -> ColourCounts:
        return ColourCounts(*merge(self.keys, self.counts, other.keys, other.counts), self.channels)


def count_colours(values: np.ndarray) -> ColourCounts:
    """Count the colours of (N, 2) or (N, 3) uint8 pixels."""
    channels = values.shape[1]
    pixels, is_used = np.zeros(COLOURS, np.uint32), np.zeros(COLOURS >> PAGE_BITS, np.bool_)
    spread = SPREAD * (np.arange(3)[:, np.newaxis] < channels).astype(np.uint32)  # 0 for a missing third channel
    count(np.ascontiguousarray(values), spread, pixels, is_used)
    return ColourCounts(*collect(pixels, is_used), channels)


@dataclass(frozen=True)
class StepColours:
    """Unique colours in equal steps from the lowest value of each channel, independent of unit and offset.

    The uint8 colours are ordered so that neighbours are similar; `place` is the value of step 0 of each channel, and
    the intensity of a step.
    """

    colours: np.ndarray
    counts: np.ndarray
    place: Place

    @classmethod
    def of_counts(cls, counted: ColourCounts) -> StepColours:
        """Convert counts of 8-bit colours to steps."""
        colours = counted.colours
        low = colours.min(axis=0)
        steps, width = _reduced(colours - low)
        order = np.argsort(_keys(steps), kind="stable") if low.any() or width > 1 else slice(None)
        return cls(steps[order], counted.counts[order], Place(tuple(low.tolist()), float(width)))

    @classmethod
    def of_values(cls, values: np.ndarray) -> StepColours | None:
        """Count the colours of (N, C) pixels; None unless they have two or three channels of up to 256 steps."""
        if values.shape[1] not in (2, 3) or not _on_steps(values[:PROBED]) or not (parts := _on_steps(values)):
            return None
        grid = Grid(values.min().item(), values.max().item(), parts + 1, is_exact=True)
        steps = grid.index(values)
        steps, width = _reduced(steps - steps.min(axis=0))
        if steps.max() > np.iinfo(np.uint8).max:
            return None
        colours = steps.astype(np.uint8)
        _, first, counts = np.unique(_keys(colours), return_index=True, return_counts=True)
        return cls(colours[first], counts, Place(tuple(values.min(axis=0).tolist()), grid.step * width))


def _on_steps(values: np.ndarray) -> int:
    """Return the number of equal steps on which all values lie; 0 without such steps."""
    different = np.unique(values)
    return (equal_steps(different) or 0) if len(different) > 1 else 0


def _reduced(steps: np.ndarray) -> tuple[np.ndarray, int]:
    """Divide integers by their greatest common divisor."""
    width = max(1, int(np.gcd.reduce(steps.reshape(-1))))
    return steps // steps.dtype.type(width), width


def _keys(colours: np.ndarray) -> np.ndarray:
    """Interleave the bits of each colour's channels to one number."""
    keys = np.zeros(len(colours), np.uint32)
    for channel, values in enumerate(colours.T):
        keys |= SPREAD[channel][values]
    return keys


def _spread_bits() -> np.ndarray:
    """Return each byte with two empty bits after each bit, shifted by the channel's number, (3, 256) uint32."""
    byte, spread = np.arange(256, dtype=np.uint32), np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= (byte & np.uint32(1 << bit)) << np.uint32(2 * bit)
    return spread << np.arange(3, dtype=np.uint32)[:, np.newaxis]


SPREAD = _spread_bits()
