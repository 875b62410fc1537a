"""Local thresholds: mean, Gaussian, median, Niblack, Sauvola.

All rules use the integer steps of a `Grid`, whose sums are exact: the result does not depend on how the image is cut.
As published, every rule is for dark objects; for bright objects the steps are inverted. The median slides a histogram
along the rows (Huang et al. 1979); SciPy sorts every window again, which takes minutes for wide windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_tessera.algorithms.gaussian import sigmas_px
from napari_tessera.algorithms.jit import njit
from napari_tessera.core.jobs import Piece
from napari_tessera.core.rescale import UNSCALED, Grid, Scale


def local_threshold_mask(
    image: np.ndarray,
    core: Piece,
    grid: Grid,
    rule: str,
    *,
    polarity: str,
    radius: int,
    offset: float = 0.0,
    k: float = 0.2,
    r: float | None = None,
    spacing: Sequence[float] | None = None,
    scale: Scale = UNSCALED,
) -> np.ndarray:
    """Return which pixels of the part `core` are darker (or brighter) than their local threshold.

    `rule` is one of `LOCAL_RULES`, `grid` of the whole image's range; the image is mirrored beyond its edges. The
    window is 2 · radius + 1 pixels along X wide. The threshold lies `offset` (intensity) from the local mean or median;
    `k` is the weight of the standard deviation (Niblack, Sauvola), `r` the standard deviation of a high-contrast window
    (Sauvola's R; None is half the image's range). `scale` is the origin and unit of the image's values.
    """
    if grid.is_constant:
        return np.zeros(image[core].shape, bool)
    steps = grid.index(image)
    if polarity == "bright":
        steps = grid.size - 1 - steps
    radii = radii_px(radius, image.ndim, spacing)
    if rule in CENTRES:
        return steps[core] < CENTRES[rule](steps, radii, core) - offset / scale.unit / grid.step
    mean, deviation = mean_and_deviation(steps, radii, core)
    if rule == "niblack":
        return steps[core] < mean - k * deviation
    full = r / scale.unit / grid.step if r else (grid.size - grid.is_exact) / 2
    intensity = grid.steps_above_black(scale) + mean  # Sauvola's rule counts from black, not from the darkest pixel
    return steps[core] < mean + intensity * k * (deviation / full - 1)


def local_mean(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the mean over a box."""
    return box_sum(steps, radii, core) / math.prod(2 * radius + 1 for radius in radii)


def local_gaussian(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the Gaussian mean; the window is three standard deviations to each side."""
    from scipy import ndimage

    mean = ndimage.gaussian_filter(steps.astype(np.float64), [radius / 3 for radius in radii], mode="reflect")
    return np.round(mean[core], 6)  # the sum of the weights is not exactly 1, which must not matter in an even area


def local_median(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the median over a box."""
    return sliding_median(steps.astype(np.uint16), radii, core)


CENTRES = {"local-mean": local_mean, "local-gaussian": local_gaussian, "local-median": local_median}


def mean_and_deviation(steps: np.ndarray, radii: Sequence[int], core: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation over a box."""
    mean = local_mean(steps, radii, core)
    mean_square = local_mean(steps**2, radii, core)
    return mean, np.sqrt(np.maximum(mean_square - mean**2, 0))


def box_sum(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the exact sum over a box around each pixel of `core`, by differences of running sums."""
    sums = steps
    for axis, (radius, part) in enumerate(zip(radii, core, strict=True)):
        margins = [(0, 0)] * steps.ndim
        margins[axis] = (radius + 1, radius)
        running = np.moveaxis(np.cumsum(np.pad(sums, margins, mode="symmetric"), axis=axis), axis, 0)
        width = 2 * radius + 1
        sums = np.moveaxis(running[part.start + width : part.stop + width] - running[part], 0, axis)
    return sums


def radii_px(radius: int, ndim: int, spacing: Sequence[float] | None) -> list[int]:
    """Convert a radius in pixels along X to pixels along each axis."""
    return [round(length) for length in sigmas_px(radius, ndim, tuple(spacing) if spacing else None)]


def local_reach(rule: str, radius: int, spacing: Sequence[float] | None) -> int:
    """Return how many pixels around a pixel its threshold depends on."""
    ndim = len(spacing) if spacing else 2
    if rule == "local-gaussian":
        return max(int(4 * length / 3 + 0.5) for length in radii_px(radius, ndim, spacing))
    return max(radii_px(radius, ndim, spacing)) + 1


def sliding_median(values: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the median over a box of 2 · radius + 1 uint16 pixels around each pixel of `core`, mirrored at the edges.

    >>> sliding_median(np.array([[1, 9, 2]], np.uint16), (0, 1), (slice(0, 1), slice(0, 3)))
    array([[1, 2, 2]], dtype=uint16)
    """
    padded = np.pad(values, [(radius, radius) for radius in radii], mode="symmetric")
    padded = padded[tuple(slice(part.start, part.stop + 2 * radius) for part, radius in zip(core, radii, strict=True))]
    if values.ndim == 2:
        padded, radii = padded[np.newaxis], (0, *radii)
    medians = np.empty([side - 2 * radius for side, radius in zip(padded.shape, radii, strict=True)], np.uint16)
    by_column = np.ascontiguousarray(padded.swapaxes(1, 2))  # (Z, X, Y): each column is contiguous
    _slide(by_column, medians, *radii)
    return medians.reshape(medians.shape[-values.ndim :])


@njit
def _slide(by_column: np.ndarray, medians: np.ndarray, radius_z: int, radius_y: int, radius_x: int) -> None:
    width_z, width_y, width_x = 2 * radius_z + 1, 2 * radius_y + 1, 2 * radius_x + 1
    half = width_z * width_y * width_x // 2
    counts = np.zeros(np.int64(by_column.max()) + 1, np.int32)
    for z in range(medians.shape[0]):
        for y in range(medians.shape[1]):
            window = by_column[z : z + width_z, :, y : y + width_y]
            counts[:] = 0
            median, below = 0, 0  # `below` values of the window are less than `median`
            for x in range(width_x - 1):
                below += _count_column(window, x, 1, counts, median)
            for x in range(medians.shape[2]):
                below += _count_column(window, x + width_x - 1, 1, counts, median)
                while below > half:
                    median -= 1
                    below -= counts[median]
                while below + counts[median] <= half:
                    below += counts[median]
                    median += 1
                medians[z, y, x] = median
                below += _count_column(window, x, -1, counts, median)


@njit
def _count_column(window: np.ndarray, x: int, change: int, counts: np.ndarray, median: int) -> int:
    """Add a column to the counts or remove it; return the change of the count below the median."""
    below = 0
    for z in range(window.shape[0]):
        for y in range(window.shape[2]):
            value = np.int64(window[z, x, y])
            counts[value] += change
            below += 1 if value < median else 0
    return below * change
