"""Give pixels without a number that of the nearest pixel with one."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.envelope import FAR, lower_envelope
from napari_tessera.kernels.jit import njit, numba


def fill_from_nearest(numbers: np.ndarray, spacing: tuple[float, ...] | None = None) -> Job[None]:
    """Fill the zeros of an array with the number of the nearest pixel that is not 0, in place.

    Parameters
    ----------
    numbers : array of int32
        (Y, X) or (Z, Y, X), C-ordered. Where nothing but 0 is in it, it stays as it is.
    spacing : tuple of float, optional
        Size of a pixel along each axis; None means 1.

    Notes
    -----
    Of pixels that are equally near, which one counts is not said, but it is always the same one.
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
        yield from part_of(in_threads(spread, cut, "Filling from the nearest"), done, 1, len(steps))


# Said beforehand, the types are compiled once for every axis and shape, not anew in the middle of a run.
@njit(signature=numba.void(numba.int32[:, :, :], numba.float32[:, :, :], numba.float32))
def _spread(numbers: np.ndarray, squares: np.ndarray, step: np.float32) -> None:
    """Let each number reach along its line as far as no other is nearer; `squares` are the distances squared."""
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
