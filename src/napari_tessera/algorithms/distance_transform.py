"""Exact Euclidean distance to the background, and fill from the nearest label.

SciPy's transform is five times slower, and the `edt` library holds the interpreter lock all the time. This one is as
exact, releases the lock, uses all cores and can be cancelled. It takes the lower envelope of parabolas along one axis
after the other.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.algorithms.jit import njit, numba
from napari_tessera.core.jobs import Job, bands, in_threads, subtask

FAR = np.float32(1e18)
"""Initial squared distance; its sums stay finite in float32."""


@njit
def lower_envelope(column: np.ndarray, length: int, step: np.float32, vertices: np.ndarray, bounds: np.ndarray) -> None:
    """Find the parabolas of the lower envelope, and where each of them is the lowest.

    The squared distances so far, `column`, are the heights of the pixels' parabolas; `step` is the distance between
    pixels. Pixel `vertices[n]` is then the lowest from `bounds[n]` to `bounds[n + 1]` (Felzenszwalb & Huttenlocher
    2012, doi:10.4086/toc.2012.v008a019).
    """
    square = step * step
    top = 0
    vertices[0] = 0
    bounds[0] = -np.inf
    for row in range(1, length):
        while True:
            other = vertices[top]
            rise = (column[row] - column[other]) / square
            crossing = np.float32((rise / (row - other) + row + other) / 2)
            if top == 0 or crossing > bounds[top]:
                break
            top -= 1
        if crossing <= bounds[top]:
            vertices[top] = row
        else:
            top += 1
            vertices[top] = row
            bounds[top] = crossing
    bounds[top + 1] = np.inf


def fill_from_nearest(numbers: np.ndarray, spacing: tuple[float, ...] | None = None) -> Job[None]:
    """Fill the zeros of an int32 array, (Y, X) or (Z, Y, X), with the number of the nearest non-zero pixel, in place.

    Among equally near pixels the choice is not specified, but always the same. An array of zeros stays as it is.
    """
    steps = [1.0] * numbers.ndim if spacing is None else [step / spacing[-1] for step in spacing]
    volume = numbers.reshape((1,) * (3 - numbers.ndim) + numbers.shape)
    squares = np.full(volume.shape, FAR, np.float32)
    first = volume.ndim - numbers.ndim
    for done, (axis, step) in enumerate(zip(range(first, volume.ndim), steps, strict=True)):
        lines, far = np.moveaxis(volume, axis, -1), np.moveaxis(squares, axis, -1)  # (A, B, L): lines along the axis

        def spread(band: slice, some: tuple[np.ndarray, np.ndarray] = (lines, far), step: float = step) -> None:
            _spread(some[0][:, band], some[1][:, band], np.float32(step))

        cut = bands(lines.shape[1], lines.shape[0] * lines.shape[2])
        yield from subtask(in_threads(spread, cut, "Filling from the nearest"), done, 1, len(steps))


# With these types given, the function is compiled once for every axis and shape, not again during a run.
@njit(signature=numba.void(numba.int32[:, :, :], numba.float32[:, :, :], numba.float32))
def _spread(numbers: np.ndarray, squares: np.ndarray, step: np.float32) -> None:
    """Extend each number along its line as far as it is the nearest; `squares` are the squared distances."""
    length = numbers.shape[2]
    column, old = np.empty(length, np.float32), np.empty(length, np.int32)
    vertices, bounds = np.empty(length + 1, np.int64), np.empty(length + 2, np.float32)
    for a in range(numbers.shape[0]):
        for b in range(numbers.shape[1]):
            for at in range(length):
                old[at] = numbers[a, b, at]
                column[at] = squares[a, b, at] if squares[a, b, at] < FAR or old[at] == 0 else np.float32(0)
            lower_envelope(column, length, step, vertices, bounds)
            top = 0
            for at in range(length):
                while bounds[top + 1] < at:
                    top += 1
                away = np.float32(at - vertices[top]) * step
                numbers[a, b, at] = old[vertices[top]]
                squares[a, b, at] = min(FAR, away * away + column[vertices[top]])


def distance_to_background(mask: np.ndarray, spacing: tuple[float, ...] | None = None) -> Job[np.ndarray]:
    """Measure the distance of each pixel to the nearest pixel outside the mask, or with another label.

    Distances are in pixels along X; `mask` is bool, or int32 labels. The image's edge is not background, unless there
    is no other. (Felzenszwalb & Huttenlocher 2012, doi:10.4086/toc.2012.v008a019.)
    """
    steps = [1.0] * mask.ndim if spacing is None else [step / spacing[-1] for step in spacing]
    volume = mask.reshape((1,) * (3 - mask.ndim) + mask.shape)
    squares = np.empty(volume.shape, np.float32)  # (Z, Y, X)
    depth, height, width = volume.shape

    def along_x(rows: slice) -> None:
        _measure_rows(volume.reshape(-1, width)[rows], squares.reshape(-1, width)[rows])

    def along_y(columns: slice) -> None:
        for labels, plane in zip(volume, squares, strict=True):
            _measure_columns(labels[:, columns], plane[:, columns], np.float32(steps[-2]))

    def along_z(rows: slice) -> None:
        for row in range(rows.start, rows.stop):
            _measure_columns(volume[:, row], squares[:, row], np.float32(steps[0]))

    def take_root(rows: slice) -> None:
        np.sqrt(squares.reshape(-1, width)[rows], out=squares.reshape(-1, width)[rows])

    text = "Measuring distance"
    yield from subtask(in_threads(along_x, bands(depth * height, width), text), 0, 1, 4)
    yield from subtask(in_threads(along_y, bands(width, depth * height), text), 1, 1, 4)
    if mask.ndim == 3:
        yield from subtask(in_threads(along_z, bands(height, depth * width), text), 2, 1, 4)
    if squares[0, 0, 0] >= FAR:  # then there is no background at all
        return (yield from subtask(_distance_to_edge(mask, spacing), 3, 1, 4))
    yield from subtask(in_threads(take_root, bands(depth * height, width), text), 3, 1, 4)
    return squares.reshape(mask.shape)


def _distance_to_edge(mask: np.ndarray, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    framed = np.pad(np.ones(mask.shape, bool), 1)
    distance = yield from distance_to_background(framed, spacing)
    return np.ascontiguousarray(distance[(slice(1, -1),) * mask.ndim])


@njit
def _measure_rows(labels: np.ndarray, squares: np.ndarray) -> None:
    """Write the squared distance to the nearest pixel of the row that is background or has another label."""
    height, width = labels.shape
    for y in range(height):
        away, last = FAR, labels[y, 0]
        for x in range(width):
            label = labels[y, x]
            away = np.float32(0) if not label else away + np.float32(1) if label == last else np.float32(1)
            squares[y, x] = away
            last = label
        away, last = FAR, labels[y, width - 1]
        for x in range(width - 1, -1, -1):
            label = labels[y, x]
            away = np.float32(0) if not label else away + np.float32(1) if label == last else np.float32(1)
            nearest = min(squares[y, x], away)
            squares[y, x] = nearest * nearest if nearest < FAR else FAR
            last = label


@njit
def _measure_columns(labels: np.ndarray, squares: np.ndarray, step: np.float32) -> None:
    """Update the squared distances along each column, run by run of one label, in place.

    The nearest pixels outside a run along the column are the two at its ends.
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
            while stop < height and labels[stop, x] == labels[y, x]:
                stop += 1
            first, last = max(y - 1, 0), min(stop + 1, height)
            for row in range(first, last):
                column[row - first] = squares[row, x] if y <= row < stop else np.float32(0)
            lower_envelope(column, last - first, step, vertices, bounds)
            top = 0
            for row in range(y, stop):
                while bounds[top + 1] < row - first:
                    top += 1
                away = np.float32(row - first - vertices[top]) * step
                squares[row, x] = min(FAR, away * away + column[vertices[top]])
            y = stop
