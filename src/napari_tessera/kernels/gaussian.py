"""Gaussian sums along one axis, compiled: several times faster than SciPy's, without the interpreter lock.

Each result depends on its neighbours alone and is summed in the same order wherever the array is cut.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit

TRUNCATE = 4.0
"""Standard deviations after which the weights are 0."""
COLUMNS_AT_ONCE = 128


def weights_of(sigma: float) -> np.ndarray:
    """Return the weights of the middle and of each step away from it, float32; their sum to both sides is 1."""
    steps = np.arange(int(TRUNCATE * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    return (weights / (2 * weights.sum() - 1)).astype(np.float32)


@njit
def smooth_rows(values: np.ndarray, weights: np.ndarray) -> None:
    """Smooth each row of a (Y, X) float32 array along X, in place; rows are continued by their end pixels."""
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
    """Smooth each column of a (Y, X) float32 array along Y, in place; columns are continued by their end pixels."""
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


# Plain loops over whole rows, which the compiler turns into vector instructions.
@njit
def _start_sum(result: np.ndarray, values: np.ndarray, weight: np.float32) -> None:
    for x in range(len(result)):
        result[x] = weight * values[x]


@njit
def _add_pair(result: np.ndarray, before: np.ndarray, after: np.ndarray, weight: np.float32) -> None:
    for x in range(len(result)):
        result[x] += weight * (before[x] + after[x])
