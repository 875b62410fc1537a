"""Exact Euclidean distance to the background, in threads and in bands.

The `edt` library is fast but holds the interpreter lock for its whole run, SciPy's transform is five times slower; this
one is exact as they are, releases the lock, works on all processors and stops between bands.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.envelope import FAR, lower_envelope
from napari_tessera.kernels.jit import njit


def distance_to_background(mask: np.ndarray, spacing: tuple[float, ...] | None = None) -> Job[np.ndarray]:
    """Measure how far each pixel is from the nearest pixel outside the mask.

    Parameters
    ----------
    mask : array of bool
        (Y, X) or (Z, Y, X).
    spacing : tuple of float, optional
        Size of a pixel along each axis; None means 1.

    Returns
    -------
    array of float32
        Distances in pixels along X; 0 outside the mask. The image's edge is not background, unless there is no other.

    References
    ----------
    Felzenszwalb P. F., Huttenlocher D. P. (2012), Distance transforms of sampled functions,
    doi:10.4086/toc.2012.v008a019.
    """
    steps = [1.0] * mask.ndim if spacing is None else [step / spacing[-1] for step in spacing]
    volume = mask.reshape((1,) * (3 - mask.ndim) + mask.shape)
    squares = np.empty(volume.shape, np.float32)  # (Z, Y, X)
    depth, height, width = volume.shape

    def along_x(rows: slice) -> None:
        _measure_rows(volume.reshape(-1, width)[rows], squares.reshape(-1, width)[rows])

    def along_y(columns: slice) -> None:
        for plane in squares:
            _measure_columns(plane[:, columns], np.float32(steps[-2]))

    def along_z(rows: slice) -> None:
        for row in range(rows.start, rows.stop):
            _measure_columns(squares[:, row], np.float32(steps[0]))

    def take_root(rows: slice) -> None:
        np.sqrt(squares.reshape(-1, width)[rows], out=squares.reshape(-1, width)[rows])

    text = "Measuring distance"
    yield from part_of(in_threads(along_x, bands(depth * height, width), text), 0, 1, 4)
    yield from part_of(in_threads(along_y, bands(width, depth * height), text), 1, 1, 4)
    if mask.ndim == 3:
        yield from part_of(in_threads(along_z, bands(height, depth * width), text), 2, 1, 4)
    if squares[0, 0, 0] >= FAR:  # every pixel is as far as the first: there is no background
        return (yield from part_of(_distance_to_edge(mask, spacing), 3, 1, 4))
    yield from part_of(in_threads(take_root, bands(depth * height, width), text), 3, 1, 4)
    return squares.reshape(mask.shape)


def _distance_to_edge(mask: np.ndarray, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    framed = np.pad(np.ones(mask.shape, bool), 1)
    distance = yield from distance_to_background(framed, spacing)
    return np.ascontiguousarray(distance[(slice(1, -1),) * mask.ndim])


@njit
def _measure_rows(mask: np.ndarray, squares: np.ndarray) -> None:
    """Write the squared distance to the nearest background pixel of the same row."""
    height, width = mask.shape
    for y in range(height):
        since = FAR
        for x in range(width):
            since = since + np.float32(1) if mask[y, x] else np.float32(0)
            squares[y, x] = since
        ahead = FAR
        for x in range(width - 1, -1, -1):
            ahead = ahead + np.float32(1) if mask[y, x] else np.float32(0)
            nearest = min(squares[y, x], ahead)
            squares[y, x] = nearest * nearest if nearest < FAR else FAR


@njit
def _measure_columns(squares: np.ndarray, step: np.float32) -> None:
    """Let each column's squared distances reach along it, one run of foreground after the other, in place.

    Beyond the background pixels at its two ends nothing can be nearer to a run.
    """
    height, width = squares.shape
    column = np.empty(height + 2, np.float32)
    vertices = np.empty(height + 2, np.int64)
    bounds = np.empty(height + 3, np.float32)
    for x in range(width):
        y = 0
        while y < height:
            if squares[y, x] == 0:
                y += 1
                continue
            stop = y
            while stop < height and squares[stop, x] != 0:
                stop += 1
            first, last = max(y - 1, 0), min(stop + 1, height)
            for row in range(first, last):
                column[row - first] = squares[row, x]
            lower_envelope(column, last - first, step, vertices, bounds)
            _fill_run(squares, x, first, last, column, step, vertices, bounds)
            y = stop


@njit
def _fill_run(
    squares: np.ndarray,
    x: int,
    first: int,
    last: int,
    column: np.ndarray,
    step: np.float32,
    vertices: np.ndarray,
    bounds: np.ndarray,
) -> None:
    top = 0
    for row in range(last - first):
        while bounds[top + 1] < row:
            top += 1
        away = np.float32(row - vertices[top]) * step
        squares[first + row, x] = min(FAR, away * away + column[vertices[top]])
