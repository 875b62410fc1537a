"""Smooth the outlines of objects without merging or losing any."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.jit import njit
from napari_tessera.kernels.markers import offsets_within
from napari_tessera.methods.selection import count_pixels


def smooth_outlines(labels: np.ndarray, radius: float, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Give every pixel to the object, or the background, that holds most of the pixels within `radius`.

    Of equals the one that has the pixel keeps it. Objects that would vanish stay as they were.

    Parameters
    ----------
    labels : array
        (Y, X) or (Z, Y, X), numbered 1…N.
    radius : float
        In pixels along X; the direct neighbours always count.
    spacing : tuple of float, optional
    """
    offsets = offsets_within(radius, labels.ndim, spacing)
    shape = (1,) * (3 - labels.ndim) + labels.shape
    volume, result = labels.reshape(shape), np.empty(shape, labels.dtype)

    def smooth(rows: slice) -> None:
        _smooth_rows(volume, offsets, result, rows.start, rows.stop)

    row_work_px = shape[2] * max(1, len(offsets) // 32)
    yield from part_of(in_threads(smooth, bands(shape[0] * shape[1], row_work_px), "Smoothing outlines"), 0, 8, 10)
    yield from part_of(_restore_lost(volume, result), 8, 2, 10)
    return result.reshape(labels.shape)


def _restore_lost(before: np.ndarray, after: np.ndarray) -> Job[None]:
    """Draw objects that are gone as they were; that may cover another one, which is then drawn too."""
    had = yield from count_pixels(before, "Smoothing outlines")
    is_drawn = np.zeros(len(had), bool)
    while True:
        has = yield from count_pixels(after, "Smoothing outlines")
        is_lost = (had > 0) & ~is_drawn & (np.pad(has, (0, len(had) - len(has))) == 0)
        is_lost[0] = False
        if not is_lost.any():
            return
        is_drawn |= is_lost

        def restore(rows: slice, is_lost: np.ndarray = is_lost) -> None:
            part = before[:, rows]
            again = is_lost[part]
            after[:, rows][again] = part[again]

        yield from in_threads(restore, bands(before.shape[1], before[:, 0].size), "Smoothing outlines")


@njit
def _smooth_rows(volume, offsets, result, start, stop):
    """Smooth the rows from `start` to `stop`, counted through all planes."""
    depth, rows, columns = volume.shape
    seen = np.empty(len(offsets) + 1, volume.dtype)
    votes = np.empty(len(offsets) + 1, np.int64)
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            seen[0], votes[0] = volume[z, y, x], 1
            count = 1
            for index in range(len(offsets)):
                oz, oy, ox = z + offsets[index, 0], y + offsets[index, 1], x + offsets[index, 2]
                if 0 <= oz < depth and 0 <= oy < rows and 0 <= ox < columns:
                    label = volume[oz, oy, ox]
                    place = 0
                    while place < count and seen[place] != label:
                        place += 1
                    if place == count:
                        seen[count], votes[count] = label, 0
                        count += 1
                    votes[place] += 1
            best = 0
            for place in range(1, count):
                if votes[place] > votes[best]:
                    best = place
            result[z, y, x] = seen[best]
