"""Count and number objects, row by row through all planes, without the interpreter lock.

In `volume`, (Z, Y, X), a positive number is a basin, the rest is background; `owners` says which object a basin
belongs to. Rows are counted through all planes.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def count_pixels(volume: np.ndarray, owners: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Count the pixels of each object in the rows from `start` to `stop`."""
    counts = np.zeros(len(owners), np.int64)
    rows = volume.shape[1]
    for row in range(start, stop):
        for basin in volume[row // rows, row % rows]:
            if basin > 0:
                counts[owners[basin]] += 1
    return counts


@numba.njit(nogil=True, cache=True)
def number_seen(volume: np.ndarray, owners: np.ndarray, numbers: np.ndarray, count: int, start: int, stop: int) -> int:
    """Give each object whose number is 0 the next one when it is first met; return how many are numbered by now."""
    rows = volume.shape[1]
    for row in range(start, stop):
        for basin in volume[row // rows, row % rows]:
            if basin > 0 and numbers[owners[basin]] == 0:
                count += 1
                numbers[owners[basin]] = count
    return count


@numba.njit(nogil=True, cache=True)
def write_numbers(volume: np.ndarray, numbers: np.ndarray, result: np.ndarray, start: int, stop: int) -> None:
    """Write the number of each basin, 0 for the background."""
    rows, columns = volume.shape[1:]
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            basin = volume[z, y, x]
            result[z, y, x] = numbers[basin] if basin > 0 else 0
