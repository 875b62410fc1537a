"""Count an image's values on a grid of at most 65,536 steps; exact for 8- and 16-bit integers.

A grid is fixed by the dtype and the range of the values, so histograms of parts of one image can be added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job

STEPS = 2**16


@dataclass(frozen=True)
class Grid:
    """At most 65,536 equal steps between the lowest and the highest value.

    Attributes
    ----------
    low, high : int or float
        Lowest and highest value, ends included.
    is_integer : bool
        Whether the steps are whole numbers: 1 where the range allows it, otherwise the next power of two.
    """

    low: int | float
    high: int | float
    is_integer: bool

    @classmethod
    def of(cls, dtype: np.dtype, low: int | float, high: int | float) -> Grid:
        """Return the grid for values of `dtype` from `low` to `high`."""
        return cls(low, high, dtype.kind in "iu")

    @property
    def shift(self) -> int:
        """Bits that a whole-number step drops."""
        return max(0, (int(self.high) - int(self.low)).bit_length() - 16)

    @property
    def step(self) -> float:
        """Width of a step, in intensity."""
        return float(1 << self.shift) if self.is_integer else (self.high / 2 - self.low / 2) / (STEPS / 2)

    @property
    def size(self) -> int:
        """Number of steps."""
        return ((int(self.high) - int(self.low)) >> self.shift) + 1 if self.is_integer else STEPS

    @property
    def origin(self) -> float:
        """Value that stands for step 0: its centre."""
        return float(self.low) + (self.step - 1 if self.is_integer else self.step) / 2

    @property
    def is_constant(self) -> bool:
        """Whether there is one value only, or so small a range that it cannot be divided."""
        return self.low == self.high or self.step == 0

    def index(self, values: np.ndarray) -> np.ndarray:
        """Return the step, 0…65,535, that each value falls into; the grid must not be constant."""
        if self.is_integer:
            # Unsigned subtraction wraps around, which is right for every pair of values, int64 included.
            unsigned = np.dtype(f"u{values.dtype.itemsize}")
            lowest = np.array(self.low, values.dtype).view(unsigned)
            return (values.view(unsigned) - lowest) >> unsigned.type(self.shift)
        # Halves cannot overflow, whatever the range.
        position = values * 0.5
        position -= self.low * 0.5
        position /= self.high * 0.5 - self.low * 0.5
        position *= STEPS
        return np.minimum(position.astype(np.int32), STEPS - 1)


@dataclass(frozen=True)
class Histogram:
    """Numbers of pixels on equal steps of intensity; the first and the last step are not empty.

    Attributes
    ----------
    counts : (B,) int64 array
    origin, step : float
        Centre of the first step, and the width of one, in intensity.
    is_exact : bool
        Whether each step holds one value only.
    """

    counts: np.ndarray
    origin: float
    step: float
    is_exact: bool

    @classmethod
    def on(cls, grid: Grid, counts: np.ndarray) -> Histogram:
        """Return the histogram of `counts` on `grid`, without empty ends."""
        first, last = np.flatnonzero(counts)[[0, -1]]
        is_exact = grid.is_integer and grid.shift == 0
        return cls(counts[first : last + 1], grid.origin + grid.step * float(first), grid.step, is_exact)

    @property
    def values(self) -> np.ndarray:
        """Centre of each step, (B,) float64."""
        return self.origin + self.step * np.arange(len(self.counts))

    def folded(self, bins: int) -> Histogram:
        """Return the histogram with neighbouring steps added up, to at most `bins`."""
        factor = -(-len(self.counts) // bins)
        padded = np.pad(self.counts, (0, -len(self.counts) % factor))
        counts = padded.reshape(-1, factor).sum(axis=1)
        origin = self.origin + self.step * (factor - 1) / 2
        return Histogram(counts, origin, self.step * factor, self.is_exact and factor == 1)


def value_range(values: np.ndarray) -> tuple[int | float, int | float]:
    """Return the lowest and the highest value as Python numbers."""
    return values.min().item(), values.max().item()


def wider(a: tuple[int | float, int | float], b: tuple[int | float, int | float]) -> tuple[int | float, int | float]:
    """Return the range that holds both ranges."""
    return min(a[0], b[0]), max(a[1], b[1])


def count_on(grid: Grid, values: np.ndarray) -> np.ndarray:
    """Return how many values fall into each step of the grid, (B,) int64."""
    return np.bincount(grid.index(np.ascontiguousarray(values)).reshape(-1), minlength=grid.size)


def measure(image: np.ndarray) -> Job[tuple[Grid, np.ndarray]]:
    """Find the grid of an image and count its values, in bands and threads."""
    pieces = list(bands(image.shape))
    ranges = yield from in_threads(lambda piece: value_range(image[piece]), pieces, len(pieces), "Finding the range")
    low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
    grid = Grid.of(image.dtype, low, high)
    if grid.is_constant:
        return grid, np.array([image.size])
    counts = np.zeros(grid.size, np.int64)
    parts = in_threads(lambda piece: count_on(grid, image[piece]), pieces, len(pieces), "Counting values")
    for part in (yield from parts):
        counts += part
    return grid, counts
