"""Convert colour images to grey, or to CIELAB (CIE 15:2004) from sRGB (IEC 61966-2-1, D65, 2°), and count colours.

scikit-image's conversion to CIELAB starts its own threads for the matrix product, which compete with ours: many times
slower in a piece of an image. Colours of 8 bits are counted exactly: a colour is one number with the bits of its
channels interleaved (Morton order), so that neighbouring numbers are similar colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.algorithms.jit import njit
from napari_tessera.core.rescale import Grid, Number, equal_steps

XYZ_OF_WHITE = (0.95047, 1.0, 1.08883)
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
DARKEST_CUBE = (6 / 29) ** 3
TABLE_BYTES = 2


def to_cielab(colours: np.ndarray) -> np.ndarray:
    """Convert sRGB colours to CIELAB.

    Parameters
    ----------
    colours : (N, 3) array
        Integers from 0 to the largest of their dtype, or fractions of 1. Other values are clipped.

    Returns
    -------
    (N, 3) float64 array
        Lightness 0…100, and the axes from green to red and from blue to yellow.

    Examples
    --------
    >>> to_cielab(np.array([[255, 0, 0]], np.uint8)).round()
    array([[53., 80., 67.]])
    """
    red, green, blue = _linear(colours).T
    x, y, z = (
        _compressed((row[0] * red + row[1] * green + row[2] * blue) / white)
        for row, white in zip(XYZ_FROM_RGB, XYZ_OF_WHITE, strict=True)
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1) + 0.0


def white(dtype: np.dtype) -> float:
    """Return the value of white."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _linear(colours: np.ndarray) -> np.ndarray:
    """Return the linear light of each value, 0 to 1, by a table if there are few different values."""
    if colours.dtype.kind == "u" and colours.dtype.itemsize <= TABLE_BYTES:
        return _light(np.arange(np.iinfo(colours.dtype).max + 1) / white(colours.dtype))[colours]
    return _light(np.clip(colours / white(colours.dtype), 0, 1))


def _light(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def _compressed(light: np.ndarray) -> np.ndarray:
    """Return the cube root, with a straight line near black."""
    return np.where(light > DARKEST_CUBE, np.cbrt(light), light / (3 * (6 / 29) ** 2) + 4 / 29)


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

    The uint8 colours are ordered so that neighbours are similar; `origins` are the values of
    step 0 of the channels, `step` is in intensity.
    """

    colours: np.ndarray
    counts: np.ndarray
    origins: tuple[Number, ...]
    step: float

    @classmethod
    def of_counts(cls, counted: ColourCounts) -> StepColours:
        """Convert counts of 8-bit colours to steps."""
        colours = counted.colours
        low = colours.min(axis=0)
        steps, width = _reduced(colours - low)
        order = np.argsort(_keys(steps), kind="stable") if low.any() or width > 1 else slice(None)
        return cls(steps[order], counted.counts[order], tuple(low.tolist()), float(width))

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
        return cls(colours[first], counts, tuple(values.min(axis=0).tolist()), grid.step * width)


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
