"""Relabel, filter and number the objects of a label image.

In `volume`, (Z, Y, X), a positive number is a basin and the rest is background; `owners` maps a basin to its object.
Rows are counted through all planes. Objects are numbered 1…N almost without gaps, so that arrays with one entry per
object are small.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.algorithms.jit import njit
from napari_tessera.core.jobs import Job, Piece, Progress, bands, in_threads, pieces, subtask
from napari_tessera.core.labels import label_dtype


def without_unsure(labels: np.ndarray, scores: np.ndarray, small_px: float, level: float) -> Job[np.ndarray]:
    """Drop, in place, objects under `small_px` pixels in which no score reaches `level`; number the others."""
    rows, values = labels.reshape(-1, labels.shape[-1]), scores.reshape(-1, labels.shape[-1])
    pixels = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    highest = np.full(len(pixels), -np.inf, np.float32)
    cut = bands(len(rows), rows.shape[-1])
    for done, band in enumerate(cut):
        yield Progress(done, 2 * len(cut), "Dropping uncertain objects")
        _count_and_compare(rows[band], values[band], pixels, highest)
    return (yield from subtask(only(labels, (pixels >= small_px) | (highest >= level)), 1, 1, 2))


def only(labels: np.ndarray, is_kept: np.ndarray) -> Job[np.ndarray]:
    """Keep, in place, the objects 1…N whose entry of `is_kept`, (N + 1,), is true; number them in the same order."""
    if is_kept[1:].all():
        return labels
    numbers = np.append(0, np.where(is_kept[1:], np.cumsum(is_kept[1:]), 0)).astype(labels.dtype)
    yield from map_numbers(labels, numbers, labels, "Dropping uncertain objects")
    return labels


@njit
def _count_and_compare(rows: np.ndarray, values: np.ndarray, pixels: np.ndarray, highest: np.ndarray) -> None:
    """Add the pixels of each object, and update its highest value."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            label = rows[row, column]
            pixels[label] += 1
            if values[row, column] > highest[label]:
                highest[label] = values[row, column]


def relabel(labels: np.ndarray, owners: np.ndarray, min_size: int) -> Job[np.ndarray]:
    """Join basins to objects, drop those of fewer than `min_size` pixels, and number the others in raster order.

    `labels` are basins 1…N, of which `owners`, (N + 1,), has the object; 0 and below is background. They may be a view
    without a border; the result is a new array.
    """
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)  # (Z, Y, X)
    numbers, count = yield from subtask(_numbers(volume, owners, min_size), 0, 2, 3)
    final = np.maximum(numbers, 0)[owners]
    result = np.empty(volume.shape, label_dtype(count))

    def write(rows: slice) -> None:
        _write_numbers(volume, final, result, rows.start, rows.stop)

    yield from subtask(in_threads(write, _row_bands(volume), "Numbering"), 2, 1, 3)
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
        count = _number_new(volume, owners, numbers, count, rows.start, rows.stop)
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
def _number_new(volume: np.ndarray, owners: np.ndarray, numbers: np.ndarray, count: int, start: int, stop: int) -> int:
    """Give each object with number 0 the next number at its first pixel; return the new count."""
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


def count_pixels(labels: np.ndarray, text: str = "Measuring objects") -> Job[np.ndarray]:
    """Return the number of pixels of each label from 0 to the largest."""
    largest = int(labels.max(initial=0))

    def count(piece: Piece) -> np.ndarray:
        return np.bincount(labels[piece].reshape(-1), minlength=largest + 1)

    counts = np.zeros(largest + 1, np.int64)
    for found in (yield from in_threads(count, pieces(labels.shape), text)):
        counts += found
    return counts


def map_numbers(labels: np.ndarray, numbers: np.ndarray, result: np.ndarray, text: str = "Numbering") -> Job[None]:
    """Write `numbers[label]` for every pixel into `result`, which may be `labels` itself."""

    def write(piece: Piece) -> None:
        result[piece] = numbers[labels[piece]]

    yield from in_threads(write, pieces(labels.shape), text)


def clear_border(labels: np.ndarray) -> Job[None]:
    """Drop, in place, objects that touch the image's edge; an axis with one pixel has no edge."""
    numbers = np.arange(int(labels.max(initial=0)) + 1, dtype=labels.dtype)
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            numbers[np.unique(np.take(labels, (0, -1), axis))] = 0
    yield from map_numbers(labels, numbers, labels, "Clearing the border")


def keep_sizes(labels: np.ndarray, smallest: int, largest: int, count: int) -> Job[None]:
    """Drop, in place, objects outside the size limits, and all but the `count` largest others; 0 is no limit."""
    pixels = yield from count_pixels(labels)
    keeps = pixels >= max(smallest, 1)
    if largest:
        keeps &= pixels <= largest
    keeps[0] = False
    if count:
        # Objects are in raster order, and a stable sort keeps equals in this order.
        by_size = np.argsort(np.where(keeps, -pixels, 1), kind="stable")
        keeps[by_size[count:]] = False
    numbers = np.where(keeps, np.arange(len(keeps)), 0).astype(labels.dtype)
    yield from map_numbers(labels, numbers, labels, "Choosing objects")
