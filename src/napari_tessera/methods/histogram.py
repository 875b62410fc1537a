"""Count an image's values on a grid of at most 65,536 steps; exact for 8- and 16-bit integers.

A grid is fixed by the dtype and the range of the values, so histograms of parts of one image can be added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add

import numpy as np

from napari_tessera.bands import Piece, in_threads, pieces
from napari_tessera.jobs import Job, part_of

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
    def steps(self) -> np.ndarray:
        """Number of each step from 0 on, (B,) float64: the unit to compute in, where nothing overflows or cancels."""
        return np.arange(len(self.counts), dtype=np.float64)

    def value_at(self, step: float) -> float:
        """Return the intensity at a step, or between two of them."""
        half = float(step) * (self.step / 2)  # the whole range of a dtype is more than its largest value
        return self.origin + half + half

    def folded(self, bins: int) -> Histogram:
        """Return the histogram with neighbouring steps added up, to at most `bins`."""
        factor = -(-len(self.counts) // bins)
        padded = np.pad(self.counts, (0, -len(self.counts) % factor))
        counts = padded.reshape(-1, factor).sum(axis=1)
        origin = self.origin + self.step * (factor - 1) / 2
        return Histogram(counts, origin, self.step * factor, self.is_exact and factor == 1)


@dataclass(frozen=True)
class Measure:
    """What is known of an image's values: their range, and in the end how many there are of each.

    Attributes
    ----------
    grid : Grid
        Of the range of the values, or for 8- and 16-bit integers of all that the dtype can hold.
    counts : (B,) int64 array or None
        Pixels on each step of the grid; None after the first of two rounds.
    tails : mapping of float to float
        Percentiles that lie beyond the grid, where the values were clipped to it.
    """

    grid: Grid
    counts: np.ndarray | None
    tails: Mapping[float, float] = field(default_factory=dict)

    def __add__(self, other: Measure) -> Measure:
        if self.counts is not None and other.counts is not None:
            return replace(self, counts=self.counts + other.counts)
        low, high = min(self.grid.low, other.grid.low), max(self.grid.high, other.grid.high)
        return Measure(replace(self.grid, low=low, high=high), None)

    @property
    def value_grid(self) -> Grid:
        """Grid from the lowest to the highest value there is."""
        if self.counts is None or not self.grid.is_integer or self.grid.is_constant:
            return self.grid
        first, last = (int(step) << self.grid.shift for step in np.flatnonzero(self.counts)[[0, -1]])
        return replace(self.grid, low=int(self.grid.low) + first, high=int(self.grid.low) + last)

    @property
    def histogram(self) -> Histogram | None:
        """The finished counts; None for a constant image."""
        if self.counts is None or self.value_grid.is_constant:
            return None
        return Histogram.on(self.grid, self.counts)


def rounds_for(dtype: np.dtype) -> int:
    """How often an image must be looked at to count its values: for all but short integers, once for the range."""
    return 1 if _is_short(dtype) else 2


def measure_block(values: np.ndarray, earlier: Measure | None) -> Measure:
    """Measure one block of an image, given the sum of the measures of the round before; sums of blocks are exact."""
    if earlier is None and not _is_short(values.dtype):
        return Measure(Grid.of(values.dtype, values.min().item(), values.max().item()), None)
    grid = _dtype_grid(values.dtype) if earlier is None else earlier.grid
    counts = np.array([values.size]) if grid.is_constant else _count(grid, values)
    return Measure(grid, counts)


def measure(image: np.ndarray) -> Job[Measure]:
    """Count the values of an image, in pieces and threads."""
    found: Measure | None = None
    cut = pieces(image.shape)
    rounds = rounds_for(image.dtype)
    for done in range(rounds):
        counting = in_threads(partial(_measure_piece, image, found), cut, "Counting values")
        parts = yield from part_of(counting, done, 1, rounds)
        found = reduce(add, parts)
    assert found is not None
    return found


def _measure_piece(image: np.ndarray, earlier: Measure | None, piece: Piece) -> Measure:
    return measure_block(image[piece], earlier)


def _count(grid: Grid, values: np.ndarray) -> np.ndarray:
    return np.bincount(grid.index(np.ascontiguousarray(values)).reshape(-1), minlength=grid.size)


def _is_short(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _dtype_grid(dtype: np.dtype) -> Grid:
    limits = np.iinfo(dtype)
    return Grid(int(limits.min), int(limits.max), is_integer=True)
