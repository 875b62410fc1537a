"""Thresholds from a histogram (Otsu, Li, triangle and others), and the foreground above one level or a local one.

Each rule takes a `Histogram` with at least two occupied bins and returns a level; pixels above it are foreground. On 8-
and 16-bit integers the levels equal scikit-image's; on floating point they agree within one of its 256 bins.

One level for the whole image makes bright blurred objects too wide and dim ones too narrow, and joins crowded objects.
The local level is the highest of three: a lowest level, a share of the brightness of the objects near by (so that the
outline is half-way up each object's edge), and a share of the local mean (which is above the gaps in a crowd). It
changes slowly, so it is computed on a coarse grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from napari_tessera.algorithms.gaussian import smoothed
from napari_tessera.algorithms.histogram import (
    Histogram,
    classes_at,
    means_below_and_above,
    measure,
    otsu_step,
    without_bright,
)
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.kmeans import best_breaks
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import Job, Piece, Progress, bands, in_threads, pieces, subtask
from napari_tessera.core.labels import connected_components

SHAPE_BINS = 256
"""Bins for rules that use the histogram's shape, if it is not exact: smaller bins are mostly noise."""

MOST_SMOOTHINGS = 10_000


def otsu(histogram: Histogram) -> float:
    """Maximise the variance between two classes (Otsu 1979, doi:10.1109/TSMC.1979.4310076)."""
    return histogram.value_at(otsu_step(histogram))


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
    mean_below, mean_above = means_below_and_above(histogram)
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


def _peaks(counts: np.ndarray) -> np.ndarray:
    """Return the last step of each rise that a fall follows; a plateau counts once."""
    slopes = np.sign(np.diff(counts))
    changes = np.flatnonzero(slopes)
    directions = np.concatenate([[1.0], slopes[changes]])  # the histogram starts as if rising
    return changes[(directions[1:] < 0) & (directions[:-1] > 0)]


LEAST_CONTRAST = 4.0
"""Of noise alone, the classes differ by up to 3.5 times the background's spread; of real objects by 4.5 or more."""
MOST_FOREGROUND = 0.6
"""What fills more of an image is the background, in most images."""


class Brightness(NamedTuple):
    """What is unusual about an image: things far brighter than the objects, or objects that hardly stand out."""

    bright_share: float = 0.0
    times: float = 0.0
    contrast: float = np.inf
    foreground: float = 0.0  # share of the pixels

    def notes(self, polarity: str = "bright", wanted: str | None = None) -> tuple[str, ...]:
        """Return in sentences what is unusual; `polarity` is that of the histogram, `wanted` that of the objects."""
        bright = (
            f"{100 * self.bright_share:.2g} % of the pixels are about {self.times:.0f} times as {polarity} as the "
            "objects. They were left out when the level was found, so that all other objects are found; to find these "
            "things alone, set the level by hand."
        )
        faint = (
            f"Hardly anything stands out from the background: what was found differs from it by {self.contrast:.1f} "
            "times its spread, which noise alone does too. Check the result, or smooth more."
        )
        usual, other = ("bright", "dark") if (wanted or polarity) == "bright" else ("dark", "bright")
        full = (
            f"{100 * self.foreground:.0f} % of the image is {usual} and counts as foreground. If that is the "
            f"background, set `polarity` to {other}."
        )
        is_faint, is_full = self.contrast < LEAST_CONTRAST, self.foreground > MOST_FOREGROUND
        return tuple(
            note for note, holds in ((bright, self.bright_share > 0), (faint, is_faint), (full, is_full)) if holds
        )


def contrast_at(histogram: Histogram, level: float, polarity: str = "bright") -> float:
    """Return how far the classes on both sides of a level differ, in standard deviations of the background."""
    cut = histogram.step_of(level)
    if not 0 <= cut < len(histogram.counts) - 1:
        return np.inf
    if polarity == "dark":
        histogram, cut = replace(histogram, counts=histogram.counts[::-1], values=None), len(histogram.counts) - 2 - cut
    _, below, above, spread = classes_at(histogram, cut)
    return (above - below) / spread if spread else np.inf


def find_level(histogram: Histogram, rule: str, polarity: str = "bright") -> tuple[float, Brightness]:
    """Find the level of the objects by a rule, without things that are far too bright; "local" starts from Otsu's."""
    rest, share, times = without_bright(histogram)
    level = RULES["otsu" if rule == "local" else rule](rest)
    below = float(histogram.counts[: max(0, histogram.step_of(level) + 1)].sum() / histogram.counts.sum())
    foreground = below if polarity == "dark" else 1 - below
    return level, Brightness(share, times, contrast_at(rest, level, polarity), foreground)


def bright_pixels(
    values: np.ndarray,
    rule: str,
    level: float | None,
    radius: float,
    spacing: tuple[float, ...] | None,
    valid: np.ndarray | None = None,
) -> Job[tuple[np.ndarray, float, Brightness]]:
    """Mask the pixels above one level, or, with "local", above the level of their surroundings.

    `rule` finds the level for the whole image if it is None; it is returned, too. See `above_local_level`.
    """
    histogram = (yield from subtask(measure(values if valid is None else values[valid]), 0, 1, 3)).histogram
    brightness = Brightness()
    if histogram is None:
        level = float(values.flat[0]) if level is None else level
        return (yield from _above(values, level)), level, brightness
    if level is None:
        level, brightness = find_level(histogram, rule)
    if rule != "local":
        return (yield from subtask(_above(values, level), 1, 2, 3)), level, brightness
    background, objects = median_below(histogram, level), median_above(histogram, level)
    level = within(level, np.float32)
    finding = above_local_level(values, level, background, objects, radius, spacing)
    return (yield from subtask(finding, 1, 2, 3)), level, brightness


def median_below(histogram: Histogram, level: float) -> float:
    """Return the median of the values up to `level`; the level itself if there are none."""
    counts = np.cumsum(histogram.counts[: histogram.step_of(level) + 1])
    return histogram.value_at(int(np.searchsorted(counts, counts[-1] / 2))) if len(counts) else level


def median_above(histogram: Histogram, level: float) -> float:
    """Return the median of the values above `level`; the level itself if there are none."""
    first = histogram.step_of(level) + 1
    counts = np.cumsum(histogram.counts[first:])
    return histogram.value_at(first + int(np.searchsorted(counts, counts[-1] / 2))) if len(counts) else level


def within(level: float, dtype: np.typing.DTypeLike) -> float:
    """Clip a level to the finite numbers of a floating-point type."""
    return float(np.clip(level, np.finfo(dtype).min, np.finfo(dtype).max))


def _above(values: np.ndarray, level: float) -> Job[np.ndarray]:
    mask = np.empty(values.shape, bool)
    level = within(level, values.dtype) if values.dtype.kind == "f" else level

    def compare(piece: Piece) -> None:
        np.greater(values[piece], level, out=mask[piece])

    yield from in_threads(compare, pieces(values.shape), "Finding foreground")
    return mask


def fill_holes(mask: np.ndarray, largest: int, connectivity: int) -> Job[None]:
    """Fill, in place, the holes of at most `largest` pixels; a region at the image's edge is not a hole.

    `connectivity` is that of the objects; their holes have the opposite connectivity.
    """
    yield Progress(0, 3, "Filling holes")
    across = mask.ndim if connectivity == 1 else 1
    holes = connected_components(~mask, across)
    cut = pieces(mask.shape)
    sizes = np.zeros(int(holes.max(initial=0)) + 1, np.int64)
    for done, piece in enumerate(cut):
        yield Progress(1 + done / len(cut), 3, "Filling holes")
        sizes += np.bincount(holes[piece].reshape(-1), minlength=len(sizes))
    is_filled = sizes <= largest
    for axis in range(mask.ndim):
        is_filled[np.take(holes, (0, -1), axis)] = False
    is_filled[0] = True  # pixels of the mask stay in it

    def fill(piece: Piece) -> None:
        mask[piece] = is_filled[holes[piece]]

    yield from subtask(in_threads(fill, cut, "Filling holes"), 2, 1, 3)


FLOOR = 0.5
"""Lowest level, as a share of the way from the background to the level of the whole image."""
OBJECT_SHARE = 0.6
"""Share of the brightness of nearby objects, above the background."""
CROWD_SHARE = 0.85
"""Share of the mean brightness of the surroundings, above the background."""
FAR_TIMES = 7
"""Pixels that are more than so many times as bright as the objects, above the background, count in neither of these
means: a hot pixel or a burnt-in bar would hide what is around it."""


def above_local_level(
    values: np.ndarray,
    level: float,
    background: float,
    objects: float,
    radius: float,
    spacing: tuple[float, ...] | None,
) -> Job[np.ndarray]:
    """Mask the pixels of a float32 image with bright objects that are above their local level.

    `level` separates objects and background of the whole image; `background` and `objects` are their usual intensities.
    `radius` is the sigma, in pixels along X, of the Gaussian that averages the surroundings; nearby objects are
    averaged within half of it.
    """
    volume = values.reshape((1,) * (3 - values.ndim) + values.shape)  # (Z, Y, X)
    sizes = np.ones(3)
    if spacing is not None:
        sizes[-values.ndim :] = np.array(spacing) / spacing[-1]
    factors = np.clip(0.4 * radius / sizes, 1, volume.shape).astype(np.int64)
    floor = np.float32(background + FLOOR * (level - background))
    most = np.float32(within(FAR_TIMES * (objects - background), np.float32))
    averages = yield from subtask(_averages(volume, factors, np.float32(background), floor, most), 0, 1, 3)
    coarse = yield from subtask(_coarse_level(averages, radius, tuple(sizes * factors), factors[-1]), 1, 1, 3)
    levels = np.maximum(coarse + np.float32(background), floor)
    along_z, along_y, along_x = (_between(length, factor) for length, factor in zip(volume.shape, factors, strict=True))
    mask = np.empty(volume.shape, bool)
    rows = bands(volume.shape[0] * volume.shape[1], volume.shape[2])
    compare = in_threads(
        lambda part: _compare(volume, levels, along_z, along_y, along_x, mask, part.start, part.stop),
        rows,
        "Finding foreground",
    )
    yield from subtask(compare, 2, 1, 3)
    return mask.reshape(values.shape)


def _averages(
    volume: np.ndarray, factors: np.ndarray, background: np.float32, floor: np.float32, most: np.float32
) -> Job[np.ndarray]:
    """Average blocks of pixels: brightness, brightness of pixels above the floor, and their share; (3, Z, Y, X)."""
    shape = tuple(-(-np.array(volume.shape) // factors))
    averages = np.empty((3, *shape), np.float32)
    rows = bands(shape[0] * shape[1], volume.shape[2] * int(factors[0] * factors[1]))
    yield from in_threads(
        lambda part: _average_blocks(volume, factors, background, floor, most, averages, part.start, part.stop),
        rows,
        "Finding foreground",
    )
    return averages


def _coarse_level(averages: np.ndarray, radius: float, spacing: tuple[float, ...], factor: int) -> Job[np.ndarray]:
    """Return the level above the background on the coarse grid, without the lowest level."""
    crowd, bright, share = averages
    crowd = yield from subtask(smoothed(crowd, radius / factor, spacing), 0, 1, 3)
    bright = yield from subtask(smoothed(bright, radius / factor / 2, spacing), 1, 1, 3)
    share = yield from subtask(smoothed(share, radius / factor / 2, spacing), 2, 1, 3)
    bright /= np.maximum(share, np.float32(1e-3))
    return np.maximum(CROWD_SHARE * crowd, OBJECT_SHARE * bright)


def _between(length: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pixel along an axis, the coarse cell before it and the fraction of the way to the next one."""
    position = np.clip((np.arange(length) + 0.5) / factor - 0.5, 0, -(-length // factor) - 1)
    before = np.minimum(position.astype(np.int64), max(0, -(-length // factor) - 2))
    return before, (position - before).astype(np.float32)


@njit
def _average_blocks(
    volume: np.ndarray,
    factors: np.ndarray,
    background: np.float32,
    floor: np.float32,
    most: np.float32,
    averages: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Average within coarse rows, counted through all planes."""
    depth, height, width = volume.shape
    _, _, rows, columns = averages.shape
    for row in range(start, stop):
        z, y = row // rows, row % rows
        averages[:, z, y] = 0
        first_z, first_y = z * factors[0], y * factors[1]
        last_z, last_y = min(first_z + factors[0], depth), min(first_y + factors[1], height)
        for x in range(columns):
            first_x, last_x = x * factors[2], min((x + 1) * factors[2], width)
            total, bright, count = np.float32(0), np.float32(0), np.float32(0)
            for fine_z in range(first_z, last_z):
                for fine_y in range(first_y, last_y):
                    for fine_x in range(first_x, last_x):
                        value = volume[fine_z, fine_y, fine_x]
                        above = value - background
                        if above > most:
                            continue
                        total += above
                        if value > floor:
                            bright += above
                            count += np.float32(1)
            pixels = np.float32((last_z - first_z) * (last_y - first_y) * (last_x - first_x))
            averages[0, z, y, x] = total / pixels
            averages[1, z, y, x] = bright / pixels
            averages[2, z, y, x] = count / pixels


@njit
def _compare(
    volume: np.ndarray,
    levels: np.ndarray,
    along_z: tuple[np.ndarray, np.ndarray],
    along_y: tuple[np.ndarray, np.ndarray],
    along_x: tuple[np.ndarray, np.ndarray],
    mask: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Compare rows, counted through all planes, with the level interpolated between the coarse cells."""
    _, height, width = volume.shape
    line = np.empty(levels.shape[2], np.float32)
    for row in range(start, stop):
        z, y = row // height, row % height
        line[:] = 0
        for corner in range(4):
            step_z, step_y = corner // 2, corner % 2
            part_z = along_z[1][z] if step_z else np.float32(1) - along_z[1][z]
            part_y = along_y[1][y] if step_y else np.float32(1) - along_y[1][y]
            if part_z * part_y > 0:
                line += part_z * part_y * levels[along_z[0][z] + step_z, along_y[0][y] + step_y]
        for x in range(width):
            before, part = along_x[0][x], along_x[1][x]
            here = line[before]
            if part > 0:
                here += part * (line[before + 1] - here)
            mask[z, y, x] = volume[z, y, x] > here
