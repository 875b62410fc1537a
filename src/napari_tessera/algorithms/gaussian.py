"""Gaussian smoothing in bands: exact, cancellable, with one float32 array, 3 to 5 times faster than SciPy.

Each pixel is summed in the same order wherever the array is cut.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_tessera.algorithms.jit import njit
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, bands, in_threads, subtask
from napari_tessera.core.rescale import UNSCALED, Scale, scaled

TRUNCATE = 4.0
"""Number of standard deviations after which the weights are 0."""
COLUMNS_AT_ONCE = 128


def weights_of(sigma: float) -> np.ndarray:
    """Return the weights of the centre and of each step away from it, float32; the two-sided sum is 1."""
    steps = np.arange(int(TRUNCATE * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    return (weights / (2 * weights.sum() - 1)).astype(np.float32)


@njit
def smooth_rows(values: np.ndarray, weights: np.ndarray) -> None:
    """Smooth each row of a (Y, X) float32 array along X, in place; beyond the ends, the end pixels are repeated."""
    height, width = values.shape
    reach = len(weights) - 1
    row = np.empty(width + 2 * reach, np.float32)
    for y in range(height):
        row[:reach] = values[y, 0]
        row[reach : reach + width] = values[y]
        row[reach + width :] = values[y, width - 1]
        _weigh(row, weights, reach, values[y])


@njit
def _weigh(row: np.ndarray, weights: np.ndarray, reach: int, result: np.ndarray) -> None:
    width = len(result)
    _start_sum(result, row[reach : reach + width], weights[0])
    for step in range(1, reach + 1):
        before, after = row[reach - step : reach - step + width], row[reach + step : reach + step + width]
        _add_pair(result, before, after, weights[step])


@njit
def smooth_columns(values: np.ndarray, weights: np.ndarray) -> None:
    """Smooth each column of a (Y, X) float32 array along Y, in place; beyond the ends, the end pixels are repeated."""
    height, width = values.shape
    reach = len(weights) - 1
    for start in range(0, width, COLUMNS_AT_ONCE):
        part = values[:, start : start + COLUMNS_AT_ONCE]
        block = np.empty((height + 2 * reach, part.shape[1]), np.float32)
        for y in range(height + 2 * reach):
            block[y] = part[min(max(y - reach, 0), height - 1)]
        line = np.empty(part.shape[1], np.float32)
        for y in range(height):
            _start_sum(line, block[y + reach], weights[0])
            for step in range(1, reach + 1):
                _add_pair(line, block[y + reach - step], block[y + reach + step], weights[step])
            part[y] = line


# The compiler turns plain loops over whole rows into vector instructions.
@njit
def _start_sum(result: np.ndarray, values: np.ndarray, weight: np.float32) -> None:
    for x in range(len(result)):
        result[x] = weight * values[x]


@njit
def _add_pair(result: np.ndarray, before: np.ndarray, after: np.ndarray, weight: np.float32) -> None:
    for x in range(len(result)):
        result[x] += weight * (before[x] + after[x])


def sigmas_px(sigma: float, ndim: int, spacing: tuple[float, ...] | None) -> tuple[float, ...]:
    """Convert a sigma in pixels along X to pixels along each axis."""
    if spacing is None:
        return (sigma,) * ndim
    return tuple(sigma * spacing[-1] / step for step in spacing)


def reach_px(sigma: float, spacing: tuple[float, ...] | None) -> int:
    """Return how far around a pixel its smoothed value depends on the image, along the axis where it is farthest."""
    return max(int(TRUNCATE * px + 0.5) for px in sigmas_px(sigma, len(spacing or (1,)), spacing))


def smoothed(
    image: np.ndarray, sigma: float, spacing: tuple[float, ...] | None = None, scale: Scale = UNSCALED
) -> Job[np.ndarray]:
    """Smooth any numeric image with a Gaussian, to float32; beyond the image, the edge pixels are repeated.

    `sigma` is in pixels along X, and 0 only converts. `scale` is the origin and unit of the result's values; see
    `scale_of`. Values that float32 cannot hold are an `InputError`.
    """
    result = np.empty(image.shape, np.float32)
    if sigma == 0:
        yield from in_threads(partial(_convert, image, result, scale), bands(len(image), image[0].size), "Smoothing")
        return result
    weights = [weights_of(sigma) for sigma in sigmas_px(sigma, image.ndim, spacing)]

    def smooth_within(band: slice) -> None:
        _convert(image, result, scale, band)
        for plane in result[band] if image.ndim == 3 else ():
            smooth_columns(plane, weights[1])
        smooth_rows(result[band].reshape(-1, image.shape[-1]), weights[-1])

    def smooth_across(band: slice) -> None:
        for sheet in np.moveaxis(result[:, band], 1, 0) if image.ndim == 3 else (result[:, band],):
            smooth_columns(sheet, weights[0])

    yield from subtask(in_threads(smooth_within, bands(len(image), image[0].size), "Smoothing"), 0, 1, 2)
    yield from subtask(in_threads(smooth_across, bands(image.shape[1], image[:, 0].size), "Smoothing"), 1, 1, 2)
    return result


def _convert(image: np.ndarray, result: np.ndarray, scale: Scale, band: slice) -> None:
    try:
        with np.errstate(over="raise"):
            result[band] = image[band] if scale == UNSCALED else scaled(image[band], scale)
    except FloatingPointError:
        raise InputError(
            f"The image has values of up to {float(np.abs(image[band]).max()):.3g} in size, but smoothing works up to "
            f"{np.finfo(np.float32).max:.3g}. Divide it by a constant first, or set `sigma` to 0."
        ) from None
