"""Global thresholds from a histogram: Otsu, Li, triangle and others, and exact multi-level classes.

Each rule takes a `Histogram` with at least two occupied bins and returns a level; pixels above it are foreground. On 8-
and 16-bit integers the levels equal scikit-image's; on floating point they agree within one of its 256 bins.

Multi-level Otsu, Jenks' natural breaks and one-dimensional k-means are one problem: the cuts with the least variance
within classes. The best last cut increases with the number of values, so each row of the dynamic programme is solved by
halving (Grønlund et al. 2017, arXiv:1701.07204): O(classes · values · log values) instead of all cuts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_tessera.algorithms.histogram import Histogram, measure
from napari_tessera.algorithms.jit import njit
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import run_job


def best_breaks(counts: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Cut ascending values into classes with the least sum of squared distances to the classes' means.

    Each value occurs `counts` times, at least once. Return the position of the last value of each class but the last;
    among equally good cuts, the lowest. With fewer values than classes, each is a class.

    >>> best_breaks(np.array([1, 1, 1]), np.array([1.0, 2.0, 9.0]), 2)
    array([1])
    """
    if len(values) <= classes:
        return np.arange(len(values) - 1)
    offset = np.asarray(values, np.float64) - values[0]  # from 0 on, so that less precision is lost
    pixels = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    sums = np.concatenate([[0.0], np.cumsum(counts * offset)])
    lasts = _last_cuts(pixels, sums, classes)  # (classes, B)
    breaks = np.empty(classes - 1, np.int64)
    end = len(values) - 1
    for number in range(classes - 1, 0, -1):
        end = lasts[number, end]
        breaks[number - 1] = end
    return breaks


def class_means(counts: np.ndarray, values: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """Return the mean of each class, given the result of `best_breaks`; (classes,) float64."""
    starts = np.concatenate([[0], breaks + 1])
    offset = values - values[0]
    return values[0] + np.add.reduceat(counts * offset, starts) / np.add.reduceat(counts, starts)


@njit
def _last_cuts(pixels: np.ndarray, sums: np.ndarray, classes: int) -> np.ndarray:
    """Return the end of the previous class in the best cut of values 0…j into c + 1 classes, (classes, B)."""
    size = len(pixels) - 1
    lasts = np.zeros((classes, size), np.int32)
    best = sums[1:] ** 2 / pixels[1:]  # squared sum over pixels: the variance that the classes' means explain
    for number in range(1, classes):
        row = np.full(size, -np.inf)
        _fill_row(pixels, sums, number, best, row, lasts[number])
        best = row
    return lasts


@njit
def _fill_row(
    pixels: np.ndarray, sums: np.ndarray, number: int, before: np.ndarray, row: np.ndarray, last: np.ndarray
) -> None:
    """Fill one row by halving: the best cut for the middle value bounds those of both halves."""
    size = len(row)
    stack = [(number, size - 1, number - 1, size - 2)]
    while stack:
        low, high, cut_low, cut_high = stack.pop()
        if low > high:
            continue
        middle = (low + high) // 2
        for cut in range(cut_low, min(cut_high, middle - 1) + 1):
            explained = (sums[middle + 1] - sums[cut + 1]) ** 2 / (pixels[middle + 1] - pixels[cut + 1])
            if before[cut] + explained > row[middle]:
                row[middle] = before[cut] + explained
                last[middle] = cut
        stack.append((low, middle - 1, cut_low, last[middle]))
        stack.append((middle + 1, high, last[middle], cut_high))


SHAPE_BINS = 256
"""Bins for rules that use the histogram's shape, if it is not exact: smaller bins are mostly noise."""

MOST_SMOOTHINGS = 10_000


def find_level(image: np.ndarray, rule: str) -> float:
    """Find the intensity above which pixels are foreground, by one of `RULES`; a constant image has none above it.

    >>> find_level(np.array([[10, 10, 50]], np.uint8), "otsu")
    10.0
    """
    histogram = run_job(measure(image)).histogram
    return float(image.flat[0]) if histogram is None else RULES[rule](histogram)


def otsu(histogram: Histogram) -> float:
    """Maximise the variance between two classes (Otsu 1979, doi:10.1109/TSMC.1979.4310076)."""
    below, above = _pixels_below_and_above(histogram)
    mean_below, mean_above = _means_below_and_above(histogram)
    between = below * above * (mean_below - mean_above) ** 2
    return histogram.value_at(int(np.argmax(between)))


def otsu_levels(histogram: Histogram, classes: int) -> list[float]:
    """Minimise the variance within several classes (Liao et al. 2001); fewer levels if there are fewer values."""
    occupied = np.flatnonzero(histogram.counts)
    breaks = best_breaks(histogram.counts[occupied], occupied.astype(np.float64), classes)
    return [histogram.value_at(step) for step in occupied[breaks]]


def li(histogram: Histogram) -> float:
    """Minimise the cross-entropy between image and classes (Li & Tam 1998, doi:10.1016/S0167-8655(98)00057-9)."""
    steps, counts = histogram.steps, histogram.counts
    level, before = np.average(steps, weights=counts), -np.inf
    while abs(level - before) > 0.5:
        before = level
        is_above = steps > before
        mean_above = np.average(steps[is_above], weights=counts[is_above])
        mean_below = np.average(steps[~is_above], weights=counts[~is_above])
        if mean_below == 0:
            break
        level = (mean_below - mean_above) / (np.log(mean_below) - np.log(mean_above))
    return histogram.value_at(level)


def yen(histogram: Histogram) -> float:
    """Maximise the entropic correlation of the two classes (Yen et al. 1995, doi:10.1109/83.366472)."""
    histogram = _shape(histogram)
    share = histogram.counts / histogram.counts.sum()
    below = np.cumsum(share)[:-1]
    squares_below = np.cumsum(share**2)[:-1]
    squares_above = np.cumsum(share[::-1] ** 2)[::-1][1:]
    correlation = 2 * np.log(below * (1 - below)) - np.log(squares_below * squares_above)
    return histogram.value_at(int(np.argmax(correlation)))


def isodata(histogram: Histogram) -> float:
    """Return the lowest level half-way between the means of its classes (Ridler & Calvard 1978)."""
    histogram = _shape(histogram)
    mean_below, mean_above = _means_below_and_above(histogram)
    excess = (mean_below + mean_above) / 2 - histogram.steps[:-1]
    return histogram.value_at(int(np.argmax((excess >= 0) & (excess < 1))))


def triangle(histogram: Histogram) -> float:
    """Return the step farthest below the line from the peak to the longer tail's end (Zack et al. 1977)."""
    histogram = _shape(histogram)
    counts, last = histogram.counts, len(histogram.counts) - 1
    peak = int(np.argmax(counts))
    is_tail_above = peak < last - peak
    if is_tail_above:
        counts, peak = counts[::-1], last - peak
    below_peak = np.arange(peak)
    step = int(np.argmax(counts.max() * below_peak - float(peak) * counts[:peak]))
    return histogram.value_at(last - step if is_tail_above else step)


def mean(histogram: Histogram) -> float:
    """Return the mean intensity."""
    return histogram.value_at(np.average(histogram.steps, weights=histogram.counts))


def minimum(histogram: Histogram) -> float:
    """Smooth the histogram until two peaks are left; return the minimum between them (Prewitt & Mendelsohn 1966)."""
    from scipy import ndimage

    histogram = histogram.folded(SHAPE_BINS)
    counts = histogram.counts.astype(np.float32)
    for _ in range(MOST_SMOOTHINGS):
        counts = ndimage.uniform_filter1d(counts, 3)
        peaks = _peaks(counts)
        if len(peaks) < 3:
            break
    if len(peaks) != 2:
        raise ParameterError(
            'The method "minimum" needs a histogram with two peaks, one of background and one of objects, but this '
            'image\'s has not. Use "otsu", "li" or "triangle".',
            "method",
        )
    valley = peaks[0] + np.argmin(counts[peaks[0] : peaks[1] + 1])
    return histogram.value_at(valley)


RULES: dict[str, Callable[[Histogram], float]] = {
    "otsu": otsu,
    "li": li,
    "yen": yen,
    "isodata": isodata,
    "triangle": triangle,
    "mean": mean,
    "minimum": minimum,
}


def _shape(histogram: Histogram) -> Histogram:
    return histogram if histogram.is_exact else histogram.folded(SHAPE_BINS)


def _pixels_below_and_above(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels up to each step but the last, and above it; (B - 1,) each."""
    below = np.cumsum(histogram.counts)[:-1].astype(np.float64)
    return below, histogram.counts.sum() - below


def _means_below_and_above(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean step of the pixels up to each step but the last, and above it; (B - 1,) each."""
    below, above = _pixels_below_and_above(histogram)
    sums = np.cumsum(histogram.counts * histogram.steps)
    return sums[:-1] / below, (sums[-1] - sums[:-1]) / above


def _peaks(counts: np.ndarray) -> np.ndarray:
    """Return the last step of each rise that a fall follows; a plateau counts once."""
    slopes = np.sign(np.diff(counts))
    changes = np.flatnonzero(slopes)
    directions = np.concatenate([[1.0], slopes[changes]])  # the histogram starts as if rising
    return changes[(directions[1:] < 0) & (directions[:-1] > 0)]
