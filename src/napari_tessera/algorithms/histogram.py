"""Histogram of an image with equal bins: the steps of its values, or 65,536 bins over their range.

The bins depend on the values alone, so the unit or offset of an image does not matter. Histograms of parts of an image
can be added. Counting is one compiled pass without the interpreter lock. Things that are far brighter than the objects,
which would hide these from every rule, can be left out.
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
    COUNTED_STEPS,
    EDGE,
    STEPS,
    Grid,
    Number,
    Scale,
    above,
    equal_steps,
    is_short,
    reducing,
    refuse_tiny,
    scale_of,
    value_range,
)

PROBED_PX = 1000
"""Number of pixels that usually shows that the values have no common step."""
FEW = 64


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
    return 1 if is_short(dtype) else 2


def measure_block(values: np.ndarray, earlier: Measure | None) -> Measure:
    """Measure one block of an image, given the sum of the previous round; sums of blocks are exact."""
    if is_short(values.dtype):
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


BRIGHT_SHARE, BRIGHT_GROWTH, BRIGHT_GROWTH_IF_CLEAR, CLEAR_CONTRAST = 0.015, 4, 3.2, 15
"""Things that are far too bright hold at most this share of the pixels; both together hold several times as many, and
fewer times if the objects are clear."""
BRIGHT_TIMES = 2.8
"""How many times as bright as the objects things must be that Otsu's method does not separate from these."""
BRIGHT_GAPS = ((3.5, 6.0, 1.0), (12.0, 10.0, 0.06))
"""By how many classes, by Otsu's method, lie between objects and bright things (the blurred rim of a thing is one of
its own): how many times as bright things must be, the least contrast of the objects, and their largest share."""
SMALL_BRIGHT_SHARE, MOST_OBJECTS = 0.008, 0.6
"""Of smaller bright things, the rims too, the share of the objects is only limited by this."""
VARIED_TIMES, VARIED_CONTRAST, VARIED_SEPARATION = 6.0, 4.4, 0.69
"""Of objects that differ in brightness and fill more than that: how many times as bright things must be, the least
contrast, and the least separation. Most glow around a few nuclei is separated by up to 0.68, noise by 0.64."""
VALLEY_SHARES, VALLEY_TIMES = (0.001, 0.007), (2.2, 1.3)
"""Bright things of about one brightness, with hardly any pixels between them and the objects: their least and largest
share, and how many times as bright they must be as the objects and as the brightest of these."""
VALLEY_CONTRAST = (5, 12)
"""Least contrast of the objects: over the spread of the background, and over that of a step."""
HIGH_SHARE, TOP_SHARE = 0.002, 0.0003
"""Shares of the pixels above the brightest of the objects, and above the bright things: hot pixels."""
VALLEY_STEP, VALLEY_STEPS, VALLEY_DEPTH, VALLEY_WIDTH = 1.1, 22, 5, 2
"""Steps of brightness, each so many times the next one, in which the valley is looked for; how much fewer pixels than
the bright things each of its steps holds, and of how many steps it is at least."""
MOST_RISES, MOST_AT_LOWEST = 2.5, 0.2
"""For the separation, pixels count as no brighter than so many times the objects, as the rims of bright things are;
noise that was cut off below, with this share of the pixels at one value or more, looks separated and is not."""
STEP_SPREAD = 12**-0.5
"""Spread of the values that are rounded to one step."""


def without_bright(histogram: Histogram) -> tuple[Histogram, float, float]:
    """Leave out the pixels of things that are far brighter than the objects, which would hide these from a rule.

    Return the rest, the share of the pixels that is left out, and how many times as bright as the objects these are.
    """
    if np.count_nonzero(histogram.counts) < 3:
        return histogram, 0.0, 0.0
    total, first = int(histogram.counts.sum()), otsu_step(histogram)
    bright, _, bright_mean, _ = classes_at(histogram, first)
    share, rest = bright / total, _up_to(histogram, first)
    for times, contrast, most in BRIGHT_GAPS:
        if share > BRIGHT_SHARE or np.count_nonzero(rest.counts) < 3:
            break
        cut = otsu_step(rest)
        here, below, above, spread = classes_at(rest, cut)
        rise = above - below
        growth = BRIGHT_GROWTH_IF_CLEAR if rise >= CLEAR_CONTRAST * spread else BRIGHT_GROWTH
        if share + here / total >= growth * bright / total:
            is_gap = bright_mean - below >= times * rise and rise >= contrast * max(spread, STEP_SPREAD)
            is_usual = is_gap and here <= (most if share > SMALL_BRIGHT_SHARE else MOST_OBJECTS) * total
            is_far = bright_mean - below >= VARIED_TIMES * rise and here <= MOST_OBJECTS * total
            if is_usual or (is_far and _holds_varied_objects(rest, cut)):
                return rest, share, (bright_mean - below) / rise
            break
        share, rest = share + here / total, _up_to(rest, cut)
    return _without_brightest(histogram, first)


def _holds_varied_objects(histogram: Histogram, cut: int) -> bool:
    """Return whether what is above a step are objects that may differ in brightness, rather than glow or noise."""
    _, below, above, spread = classes_at(histogram, cut)
    total = histogram.counts.sum()
    if histogram.counts[0] > MOST_AT_LOWEST * total or above - below < VARIED_CONTRAST * max(spread, STEP_SPREAD):
        return False
    steps = np.minimum(histogram.steps, below + MOST_RISES * (above - below))
    limited = np.average(steps[cut + 1 :], weights=histogram.counts[cut + 1 :])
    share = histogram.counts[cut + 1 :].sum() / total
    mean = share * limited + (1 - share) * below
    variance = np.average((steps - mean) ** 2, weights=histogram.counts)
    return bool(share * (1 - share) * (limited - below) ** 2 >= VARIED_SEPARATION * variance)


def _without_brightest(histogram: Histogram, cut: int) -> tuple[Histogram, float, float]:
    """Leave out a few of the pixels above Otsu's step that are far brighter than the others above it."""
    first = cut + 1 + int(np.flatnonzero(histogram.counts[cut + 1 :])[0])
    upper = replace(histogram, counts=histogram.counts[first:], values=None)
    if np.count_nonzero(upper.counts) < 3:
        return _below_valley(histogram)
    second = otsu_step(upper)
    bright, objects, above, _ = classes_at(upper, second)
    _, below, _, _ = classes_at(histogram, cut)
    times = (first + above - below) / (first + objects - below)
    share = bright / int(histogram.counts.sum())
    if share > BRIGHT_SHARE or times < BRIGHT_TIMES:
        return _below_valley(histogram)
    return _up_to(histogram, first + second), share, times


def _below_valley(histogram: Histogram) -> tuple[Histogram, float, float]:
    """Leave out a few bright pixels with hardly any between them and the objects, which may differ in brightness."""
    upto = np.cumsum(histogram.counts)
    total = int(upto[-1])
    middle, top = np.searchsorted(upto, [0.5 * total, (1 - TOP_SHARE) * total])
    edges = (middle + (top - middle) * VALLEY_STEP ** -np.arange(VALLEY_STEPS, dtype=np.float64)).astype(np.int64)
    above = total - upto[edges]  # pixels
    counts = np.diff(above, prepend=0)  # between each edge and the one before, the first of all above it
    least, most = (share * total for share in VALLEY_SHARES)
    for first in range(1, VALLEY_STEPS):
        bright, peak = above[first - 1], counts[:first].max()
        if bright > most:
            break
        if bright < least or counts[first] * VALLEY_DEPTH > peak:
            continue
        width = int(np.argmin(np.append(counts[first:] * VALLEY_DEPTH <= peak, False)))
        rest = _up_to(histogram, int(edges[first + width - 2]))
        if width < VALLEY_WIDTH or np.count_nonzero(rest.counts) < 3:
            break
        _, below, objects, spread = classes_at(rest, otsu_step(rest))
        _, _, mean, _ = classes_at(histogram, int(edges[first - 1]))
        high = int(np.searchsorted(np.cumsum(rest.counts), (1 - HIGH_SHARE) * rest.counts.sum()))
        times = (mean - below) / (objects - below)
        is_clear = objects - below >= max(VALLEY_CONTRAST[0] * spread, VALLEY_CONTRAST[1] * STEP_SPREAD)
        if is_clear and times >= VALLEY_TIMES[0] and mean - middle >= VALLEY_TIMES[1] * (high - middle):
            return rest, float(bright / total), float(times)
        break
    return histogram, 0.0, 0.0


def _up_to(histogram: Histogram, step: int) -> Histogram:
    size = 1 + int(np.flatnonzero(histogram.counts[: step + 1])[-1])
    values = None if histogram.values is None else histogram.values[:size]
    return replace(histogram, counts=histogram.counts[:size], values=values)


def classes_at(histogram: Histogram, cut: int) -> tuple[int, float, float, float]:
    """Return the pixels above a step, the mean step up to and above it, and the spread of the former."""
    counts, steps = histogram.counts, histogram.steps
    below = float(np.average(steps[: cut + 1], weights=counts[: cut + 1]))
    above = float(np.average(steps[cut + 1 :], weights=counts[cut + 1 :]))
    variance = np.average((steps[: cut + 1] - below) ** 2, weights=counts[: cut + 1])
    return int(counts[cut + 1 :].sum()), below, above, float(np.sqrt(variance))


def otsu_step(histogram: Histogram) -> int:
    """Return the step that maximises the variance between the pixels up to it and above it (Otsu 1979)."""
    below, above = _pixels_below_and_above(histogram)
    mean_below, mean_above = means_below_and_above(histogram)
    return int(np.argmax(below * above * (mean_below - mean_above) ** 2))


def _pixels_below_and_above(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels up to each step but the last, and above it; (B - 1,) each."""
    below = np.cumsum(histogram.counts)[:-1].astype(np.float64)
    return below, histogram.counts.sum() - below


def means_below_and_above(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean step of the pixels up to each step but the last, and above it; (B - 1,) each."""
    below, above = _pixels_below_and_above(histogram)
    sums = np.cumsum(histogram.counts * histogram.steps)
    return sums[:-1] / below, (sums[-1] - sums[:-1]) / above
