"""From basins to labels: join, drop what is too small, number.

In `volume`, (Z, Y, X), a positive number is a basin, the rest is background; `owners` says which object a basin
belongs to. Rows are counted through all planes.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.jit import njit
from napari_tessera.kernels.landscape import without_frame
from napari_tessera.labels import label_dtype


def finished_labels(framed: np.ndarray, owners: np.ndarray, min_size: int) -> Job[np.ndarray]:
    """Take the frame off, join labels, drop objects that are too small, and number the others in raster order.

    Parameters
    ----------
    framed : array of int
        Basins 1…N; 0 and below is background.
    owners : (N + 1,) array of int
        Object that each basin belongs to.
    min_size : int
        Smallest object to keep, in pixels.
    """
    return (yield from numbered(without_frame(framed), owners, min_size))


def numbered(labels: np.ndarray, owners: np.ndarray, min_size: int) -> Job[np.ndarray]:
    """Do what `finished_labels` does on labels without a frame; the result is a new array."""
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)  # (Z, Y, X)
    numbers, count = yield from part_of(_numbers(volume, owners, min_size), 0, 2, 3)
    final = np.maximum(numbers, 0)[owners]
    result = np.empty(volume.shape, label_dtype(count))

    def write(rows: slice) -> None:
        _write_numbers(volume, final, result, rows.start, rows.stop)

    yield from part_of(in_threads(write, _row_bands(volume), "Numbering"), 2, 1, 3)
    return result.reshape(labels.shape)


def _numbers(volume: np.ndarray, owners: np.ndarray, min_size: int) -> Job[tuple[np.ndarray, int]]:
    """Return the final number of each object, -1 for one that is too small, and how many remain."""
    pixels = np.zeros(len(owners), np.int64)
    cut = _row_bands(volume)
    for done, rows in enumerate(cut):
        yield Progress(done, 2 * len(cut), "Numbering")
        _count_pixels(volume, owners, pixels, rows.start, rows.stop)
    numbers = np.where(pixels < max(1, min_size), -1, 0).astype(volume.dtype)
    count = 0
    for done, rows in enumerate(cut):
        yield Progress(len(cut) + done, 2 * len(cut), "Numbering")
        count = _number_seen(volume, owners, numbers, count, rows.start, rows.stop)
    return numbers, count


def _row_bands(volume: np.ndarray) -> list[slice]:
    depth, height, width = volume.shape
    return bands(depth * height, width)


@njit
def _count_pixels(volume: np.ndarray, owners: np.ndarray, pixels: np.ndarray, start: int, stop: int) -> None:
    """Add the pixels of each object in the rows from `start` to `stop` to `pixels`."""
    height = volume.shape[1]
    for row in range(start, stop):
        for basin in volume[row // height, row % height]:
            if basin > 0:
                pixels[owners[basin]] += 1


@njit
def _number_seen(volume: np.ndarray, owners: np.ndarray, numbers: np.ndarray, count: int, start: int, stop: int) -> int:
    """Give each object whose number is 0 the next one when it is first met; return how many are numbered by now."""
    rows = volume.shape[1]
    for row in range(start, stop):
        for basin in volume[row // rows, row % rows]:
            if basin > 0 and numbers[owners[basin]] == 0:
                count += 1
                numbers[owners[basin]] = count
    return count


@njit
def _write_numbers(volume: np.ndarray, numbers: np.ndarray, result: np.ndarray, start: int, stop: int) -> None:
    """Write the number of each basin, 0 for the background."""
    rows, columns = volume.shape[1:]
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            basin = volume[z, y, x]
            result[z, y, x] = numbers[basin] if basin > 0 else 0
