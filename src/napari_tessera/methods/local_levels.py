"""Levels that follow the brightness of a pixel's surroundings: mean, Gaussian, median, Niblack, Sauvola.

All work on whole-number steps of a `Grid`, whose sums are exact: the result does not depend on how the image is cut.
Every rule looks for dark objects, as published; bright ones are dark on the inverted steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_tessera.bands import Piece
from napari_tessera.kernels.smoothing import sigmas_px
from napari_tessera.methods.histogram import Grid
from napari_tessera.value_range import UNSCALED, Scale

LOCAL_RULES = ("local-mean", "local-gaussian", "local-median", "sauvola", "niblack")


def stands_out(
    image: np.ndarray,
    core: Piece,
    grid: Grid,
    rule: str,
    *,
    objects: str,
    radius: int,
    offset: float = 0.0,
    k: float = 0.2,
    contrast: float | None = None,
    spacing: Sequence[float] | None = None,
    scale: Scale = UNSCALED,
) -> np.ndarray:
    """Say which pixels are darker (or brighter) than the level of their surroundings.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        It is continued by its mirror image.
    core : tuple of slice
        The part to find pixels in; what lies around it counts as surroundings only.
    grid : Grid
        Of the whole image's range.
    rule : str
        One of `LOCAL_RULES`.
    objects : "bright" or "dark"
    radius : int
        Half the window's side, in pixels along X; the window is 2 · radius + 1 wide.
    offset : float
        How far from the local mean or median a pixel must be, in intensity.
    k : float
        Weight of the standard deviation (Niblack, Sauvola).
    contrast : float, optional
        Standard deviation of a high-contrast window (Sauvola's R); None is half the image's range.
    spacing : sequence of float, optional
    scale : tuple of two numbers
        Origin and unit of the image's values; `offset` and `contrast` are in intensity itself.

    Returns
    -------
    bool array with the shape of `image[core]`
    """
    if grid.is_constant:
        return np.zeros(image[core].shape, bool)
    steps = grid.index(image)
    if objects == "bright":
        steps = grid.size - 1 - steps
    radii = radii_px(radius, image.ndim, spacing)
    if rule in CENTRES:
        return steps[core] < CENTRES[rule](steps, radii, core) - offset / scale.unit / grid.step
    mean, deviation = mean_and_deviation(steps, radii, core)
    if rule == "niblack":
        return steps[core] < mean - k * deviation
    full = contrast / scale.unit / grid.step if contrast else (grid.size - grid.is_exact) / 2
    intensity = grid.steps_above_black(scale) + mean  # Sauvola's rule counts from black, not from the darkest pixel
    return steps[core] < mean + intensity * k * (deviation / full - 1)


def local_mean(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Mean over a box."""
    return box_sum(steps, radii, core) / math.prod(2 * radius + 1 for radius in radii)


def local_gaussian(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Gaussian mean; the window is three standard deviations to each side."""
    from scipy import ndimage

    mean = ndimage.gaussian_filter(steps.astype(np.float64), [radius / 3 for radius in radii], mode="reflect")
    return np.round(mean[core], 6)  # the weights' sum is not quite 1, which must not show on even ground


def local_median(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Median over a box."""
    from napari_tessera.methods.sliding_median import sliding_median

    return sliding_median(steps.astype(np.uint16), radii, core)


CENTRES = {"local-mean": local_mean, "local-gaussian": local_gaussian, "local-median": local_median}


def mean_and_deviation(steps: np.ndarray, radii: Sequence[int], core: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over a box."""
    mean = local_mean(steps, radii, core)
    mean_square = local_mean(steps**2, radii, core)
    return mean, np.sqrt(np.maximum(mean_square - mean**2, 0))


def box_sum(steps: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Sum over a box around each pixel of `core`, exactly, whatever the box's size: differences of running sums."""
    sums = steps
    for axis, (radius, part) in enumerate(zip(radii, core, strict=True)):
        margins = [(0, 0)] * steps.ndim
        margins[axis] = (radius + 1, radius)
        running = np.moveaxis(np.cumsum(np.pad(sums, margins, mode="symmetric"), axis=axis), axis, 0)
        width = 2 * radius + 1
        sums = np.moveaxis(running[part.start + width : part.stop + width] - running[part], 0, axis)
    return sums


def radii_px(radius: int, ndim: int, spacing: Sequence[float] | None) -> list[int]:
    """Radius along each axis in its own pixels, from one in pixels along X."""
    return [round(length) for length in sigmas_px(radius, ndim, tuple(spacing) if spacing else None)]


def local_reach(rule: str, radius: int, spacing: Sequence[float] | None) -> int:
    """How many pixels around a pixel its level depends on."""
    ndim = len(spacing) if spacing else 2
    if rule == "local-gaussian":
        return max(int(4 * length / 3 + 0.5) for length in radii_px(radius, ndim, spacing))
    return max(radii_px(radius, ndim, spacing)) + 1
