"""Histogram of an image with equal bins: the steps of its values, or 65,536 bins over their range.

The bins depend on the values alone, so the unit or offset of an image does not matter. Histograms of parts of an image
can be added. Counting is one compiled pass without the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from operator import add

import numpy as np

from napari_tessera.algorithms.jit import njit
from napari_tessera.core.jobs import Job, Piece, in_threads, pieces, subtask
from napari_tessera.core.rescale import (
    UNSCALED,
    Number,
    Scale,
    above,
    reducing,
    refuse_tiny,
    scale_of,
    share_of_range,
    value_range,
)


@njit
def count_values(
    values: np.ndarray,
    low: float,
    steps_per_unit: float,
    scale: float,
    counts: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
) -> None:
    """Add values to the counts, and to the smallest and largest value, of equal steps that begin at `low`, in place.

    Values are multiplied by `scale` before they are compared with `low`.
    """
    last = len(counts) - 1
    for pixel in range(len(values)):
        value = values[pixel]
        step = min(max(int((value * scale - low) * steps_per_unit), 0), last)
        counts[step] += 1
        lowest[step] = min(lowest[step], value)  # without a branch, which is three times faster
        highest[step] = max(highest[step], value)


STEPS = 2**16
PROBED_PX = 1000
"""Number of pixels that usually shows that the values have no common step."""
FEW = 64
COUNTED_STEPS = 2 * STEPS
"""Enough steps that two of up to 65,536 equally spaced values are never counted together, even with rounding."""
EDGE = 0.1
"""Offset of the steps, as part of a step: values often lie on simple fractions of their range, and if a step began
there, rounding would move pixels from step to step."""


@dataclass(frozen=True)
class Grid:
    """Equal steps between the lowest and the highest value, ends included; 65,536 at most.

    If `is_exact`, each step is one value, the first is `low` and the last `high`; otherwise steps are ranges of values.
    """

    low: Number
    high: Number
    size: int
    is_exact: bool

    @property
    def step(self) -> float:
        """Width of a step, in intensity."""
        parts = self.size - self.is_exact
        span = self.high - self.low if isinstance(self.low, int) else self.high / 2 - self.low / 2
        return span / parts if isinstance(self.low, int) else span / (parts / 2)

    def steps_above_black(self, scale: Scale = UNSCALED) -> float:
        """Return the position of the first step, in steps from intensity 0; `scale` is that of the values."""
        position = (scale.origin / scale.unit + self.low) / self.step
        if not self.is_exact:
            return position + 0.5
        # For rounded values, such as integers divided by 255, 0 is on a step too.
        return round(position) if abs(position - round(position)) < 1e-3 else position

    @property
    def is_constant(self) -> bool:
        """Whether there is only one value."""
        return self.low == self.high

    def index(self, values: np.ndarray) -> np.ndarray:
        """Return the step of each value, int64; the grid must not be constant."""
        if values.dtype.kind in "iu" and self.is_exact:
            width = (int(self.high) - int(self.low)) // (self.size - 1)
            steps = above(values, self.low)
            return (steps if width == 1 else steps // steps.dtype.type(width)).astype(np.int64)
        share = share_of_range(values, self.low, self.high)
        share *= self.size - self.is_exact
        if self.is_exact:
            return np.rint(share, out=share).astype(np.int64)
        share += EDGE * self.size / COUNTED_STEPS
        steps = share.astype(np.int64)
        return np.minimum(steps, self.size - 1, out=steps)


@dataclass(frozen=True)
class Histogram:
    """Number of pixels in equal steps of intensity; the first and the last step are not empty.

    `origin` is the centre of the first step, and `step` the width of a step. If `is_exact`, each step holds one value
    only. `values` are the largest in each step or below it, by default the steps' centres.
    """

    counts: np.ndarray
    origin: float
    step: float
    is_exact: bool
    values: np.ndarray | None = None

    @property
    def steps(self) -> np.ndarray:
        """Number of each step from 0 on, (B,) float64: a unit in which no computation overflows or loses precision."""
        return np.arange(len(self.counts), dtype=np.float64)

    def value_at(self, step: float) -> float:
        """Return the intensity of a cut at a step, or between two: pixels above it are in higher steps.

        It is the largest value in the image at or below the step, so that no rounding moves a pixel; for 8- and 16-bit
        integers, which are not rounded, it is the intensity of the step.
        """
        if self.values is None:
            return self.origin + float(step) * self.step
        value: float = self.values[int(step)].item()
        return value

    def step_of(self, value: float) -> int:
        """Return the last step whose values are at most `value`; -1 if there is none."""
        if self.values is None:
            return int(np.clip(np.floor((value - self.origin) / self.step), -1, len(self.counts) - 1))
        return int(np.searchsorted(self.values, value, side="right")) - 1

    def folded(self, bins: int) -> Histogram:
        """Merge neighbouring steps to at most `bins`; their values are in the middle."""
        factor = -(-len(self.counts) // bins)
        padded = np.pad(self.counts, (0, -len(self.counts) % factor))
        counts = padded.reshape(-1, factor).sum(axis=1)
        origin = self.origin + self.step * (factor - 1) / 2
        middles = np.minimum(np.arange(len(counts)) * factor + (factor - 1) // 2, len(self.counts) - 1)
        values = None if self.values is None else self.values[middles]
        return Histogram(counts, origin, self.step * factor, self.is_exact and factor == 1, values)


@dataclass(frozen=True)
class Measure:
    """Range and counts of an image's values.

    `low` and `high` are the range of the values, or of the dtype for 8- and 16-bit integers. `counts` are the pixels on
    each of the equal steps, None after the first of two rounds; `highest` is the largest value in each step, None where
    a step is a value; `is_mixed` is whether it holds others. `tails` are percentiles outside the range if the values
    were clipped to it; `few` are some of the values, from the first of two rounds.
    """

    low: Number
    high: Number
    counts: np.ndarray | None = None
    highest: np.ndarray | None = None
    is_mixed: np.ndarray | None = None
    tails: Mapping[float, float] = field(default_factory=dict)
    few: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __add__(self, other: Measure) -> Measure:
        if self.counts is None or other.counts is None:
            few = np.concatenate([self.few, other.few])[:FEW]
            return Measure(min(self.low, other.low), max(self.high, other.high), few=few)
        counts = self.counts + other.counts.astype(np.int64)
        if self.highest is None or other.highest is None or self.is_mixed is None or other.is_mixed is None:
            return replace(self, counts=counts)
        is_here, is_there = self.counts > 0, other.counts > 0
        highest = np.where(is_here, self.highest, other.highest)
        np.maximum(highest, other.highest, out=highest, where=is_there)
        differ = is_here & is_there & (self.highest != other.highest)
        return replace(self, counts=counts, highest=highest, is_mixed=self.is_mixed | other.is_mixed | differ)

    @cached_property
    def occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of each step that is not empty, and the largest value in it, ascending."""
        assert self.counts is not None
        steps = np.flatnonzero(self.counts)
        return self.counts[steps], steps + int(self.low) if self.highest is None else self.highest[steps]

    @cached_property
    def value_grid(self) -> Grid:
        """Steps from the lowest to the highest value; raise an `InputError` if the range is too small."""
        refuse_tiny(self.low, self.high)
        if self.counts is None:
            return Grid(self.low, self.high, STEPS, is_exact=False)
        _, values = self.occupied
        low, high = values[0].item(), values[-1].item()
        if low == high:
            return Grid(low, high, 1, is_exact=True)
        is_mixed = self.is_mixed is not None and bool(self.is_mixed.any())
        parts = None if is_mixed else equal_steps(values)
        return Grid(self.low, self.high, STEPS, is_exact=False) if parts is None else Grid(low, high, parts + 1, True)

    @cached_property
    def is_uneven(self) -> bool:
        """Whether a few values already show that the values have no common step."""
        ends = np.array([self.low, self.high], self.few.dtype)
        different = np.unique(np.concatenate([self.few, ends]))
        return len(different) > 2 and equal_steps(different) is None

    @cached_property
    def histogram(self) -> Histogram | None:
        """Return the histogram; None for a constant image."""
        grid = self.value_grid
        if self.counts is None or grid.is_constant:
            return None
        pixels, values = self.occupied
        steps = np.flatnonzero(self.counts)
        at = grid.index(values) if grid.is_exact else steps * grid.size // len(self.counts)
        size = int(at[-1]) + 1
        counts = np.bincount(at, pixels, size).astype(np.int64)
        if self.highest is None:
            return Histogram(counts, float(grid.low), grid.step, is_exact=True)
        largest = np.full(size, values[0])
        largest[at] = values  # of several in one step, the last and largest
        np.maximum.accumulate(largest, out=largest)
        return Histogram(counts, float(grid.low), grid.step, grid.is_exact, largest)


def rounds_for(dtype: np.dtype) -> int:
    """Return the number of rounds over an image for counting: 1 for short integers, else 2, one for the range."""
    return 1 if _is_short(dtype) else 2


def measure_block(values: np.ndarray, earlier: Measure | None) -> Measure:
    """Measure one block of an image, given the sum of the previous round; sums of blocks are exact."""
    if _is_short(values.dtype):
        return _count_short(values)
    if earlier is None:
        few = np.unique(values.reshape(-1)[:: max(1, values.size // FEW)][:FEW])
        return Measure(values.min().item(), values.max().item(), few=few)
    return _count(values, earlier.low, earlier.high)


def measure(image: np.ndarray) -> Job[Measure]:
    """Count the values of an image, in pieces and threads."""
    found: Measure | None = None
    cut = pieces(image.shape)
    rounds = rounds_for(image.dtype)
    for done in range(rounds):
        counting = in_threads(partial(_measure_piece, image, found), cut, "Counting values")
        parts = yield from subtask(counting, done, 1, rounds)
        found = reduce(add, parts)
    assert found is not None
    return found


def step_scale(image: np.ndarray) -> Job[Scale]:
    """Return the origin and the unit of an image for float32: the steps of its values, or half of their range.

    In steps, an integer image does not change if a constant is added or multiplied.
    """
    few = np.unique(image.reshape(-1)[:: max(1, image.size // PROBED_PX)])
    if len(few) > 1 and equal_steps(few) is None:
        return scale_of(*(yield from value_range(image)))
    grid = (yield from measure(image)).value_grid
    is_stepped = grid.size > 1 and grid.is_exact and np.isfinite(grid.step)  # a step may be all of float64's range
    return Scale(grid.low, grid.step, True) if is_stepped else scale_of(grid.low, grid.high)


def _measure_piece(image: np.ndarray, earlier: Measure | None, piece: Piece) -> Measure:
    return measure_block(image[piece], earlier)


def _count(values: np.ndarray, low: Number, high: Number) -> Measure:
    """Count the values of a wide type between `low` and `high`."""
    if low == high:
        held = np.array([low], values.dtype)
        return Measure(low, high, np.array([values.size]), held, np.zeros(1, bool))
    flat = np.ascontiguousarray(values).reshape(-1)
    if values.dtype.kind == "f":
        factor = reducing(low, high)
        counts, highest, is_mixed = _counted(flat, low * factor, high * factor - low * factor, factor)
        return Measure(low, high, counts, highest, is_mixed)
    counts, highest, is_mixed = _counted(above(flat, low), 0.0, float(high - low), 1.0)
    highest += np.array(low, values.dtype).view(highest.dtype)  # wraps around
    return Measure(low, high, counts, highest.view(values.dtype), is_mixed)


def _counted(flat: np.ndarray, low: float, span: float, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of values in each step, the largest of them, and whether there are others."""
    limits = np.finfo(flat.dtype) if flat.dtype.kind == "f" else np.iinfo(flat.dtype)
    counts = np.zeros(COUNTED_STEPS, np.uint32)
    lowest, highest = np.full(COUNTED_STEPS, limits.max, flat.dtype), np.full(COUNTED_STEPS, limits.min, flat.dtype)
    begin = low - EDGE * (span / COUNTED_STEPS)
    count_values(flat, begin, COUNTED_STEPS / span, factor, counts, lowest, highest)
    return counts, highest, lowest < highest


def _count_short(values: np.ndarray) -> Measure:
    limits = np.iinfo(values.dtype)
    flat = above(values, limits.min).reshape(-1)
    return Measure(int(limits.min), int(limits.max), np.bincount(flat, minlength=int(limits.max - limits.min) + 1))


def _is_short(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


MOST_STEPS = 2**16 - 1
PROBES = 64
CLEAR = 0.25
"""With a larger error, as part of a step, a value could belong to the next step."""
SLACKS = (0.5, 2.0)
"""Errors of values, in units in the last place: rounded once, and after several operations."""
COMPUTING = 4 * np.finfo(np.float64).eps
"""Relative error of a computed share of the range: two differences, a quotient and a product."""
PRECISIONS = (np.float64, np.float32, np.float16)


def equal_steps(values: np.ndarray) -> int | None:
    """Return the smallest number of equal steps from the first to the last value on which all others lie.

    The two or more values ascend; they are integers, or floating-point numbers that may be rounded. None if there is no
    such number up to 65,535.

    >>> equal_steps(np.array([7, 9, 13])), equal_steps(np.array([0, 1, 4, 255]) / 255)
    (3, 255)
    >>> equal_steps(np.array([0, 0.5, np.pi])) is None
    True
    """
    if len(values) > MOST_STEPS + 1:
        return None
    if values.dtype.kind in "iu":
        above = values.astype(np.uint64) - values.astype(np.uint64)[0]  # wraps around, which is correct for int64 too
        steps = int(above[-1]) // int(np.gcd.reduce(above))
        return steps if steps <= MOST_STEPS else None
    for precision in PRECISIONS[PRECISIONS.index(values.dtype.type) :]:
        with np.errstate(over="ignore"):
            rounded = values.astype(precision)
        if not np.array_equal(rounded, values):  # the values were not computed in this precision
            return None
        rounding = 2 * np.spacing(np.abs(rounded) / 2).astype(np.float64)  # that of the largest number is not finite
        for errors in SLACKS:
            found = _steps_of_rounded(values.astype(np.float64), errors * rounding)
            if found is not None:
                return found
    return None


def _steps_of_rounded(values: np.ndarray, errors: np.ndarray) -> int | None:
    """Return the smallest number of steps on which all values lie within their errors."""
    half = values[-1] / 2 - values[0] / 2  # halves do not overflow
    if not half:
        return None
    share = (values / 2 - values[0] / 2) / half
    error = (errors + errors[0] + share * (errors[0] + errors[-1])) / 2 / half + share * COMPUTING
    most = min(MOST_STEPS, int(CLEAR / error.max())) if error.max() * MOST_STEPS > CLEAR else MOST_STEPS
    steps = np.arange(len(values) - 1, most + 1, dtype=np.float64)
    for probe in np.unique(np.linspace(0, len(values) - 1, PROBES).astype(int)):
        steps = steps[_is_on_step(share[probe], error[probe], steps)]
    while len(steps):
        wrong = np.flatnonzero(~_is_on_step(share, error, steps[0]))
        if not len(wrong):
            return _reduced(share, int(steps[0]))
        steps = steps[_is_on_step(share[wrong[0]], error[wrong[0]], steps)]
    return None


def _reduced(share: np.ndarray, steps: int) -> int:
    """Return the smallest divisor of a number of steps that is sufficient: rounding may have given a multiple of it."""
    return steps // int(np.gcd.reduce(np.rint(share * steps).astype(np.int64)))


def _is_on_step(share: np.ndarray, error: np.ndarray, steps: np.ndarray) -> np.ndarray:
    position = share * steps
    return np.abs(position - np.rint(position)) <= error * steps
