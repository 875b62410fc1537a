"""Find the annotation in an image of any size, and read only the windows around it.

The windows depend on the annotation alone, not on the chunks of the file or the size of the image. So the same strokes
give the same windows wherever they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from scipy.ndimage import find_objects

from napari_tessera.core.blockwise import Stored
from napari_tessera.core.jobs import Job, Progress

Window = tuple[slice, ...]
"""A slice of pixels along each axis in space."""
Place = tuple[int, ...]
"""A plane or volume of an image: an index for each axis that is not space."""

BLOCK_PX = 128
"""Annotation nearer than this is in one window. The blocks of the search must not be larger."""
READ_PX = 1024
PLANES_AT_ONCE = 16
CELL_PX = 1024
"""Larger windows are cut into cells of this side; only cells with annotation are read."""


def painted_windows(paint: Stored, ndim: int) -> Job[dict[Place, list[Window]]]:
    """Find the windows that contain all annotation, reading it piece by piece.

    Parameters
    ----------
    paint : integer array, or what is read like one
        (…, [Z,] Y, X), 0 where not annotated.
    ndim : {2, 3}
        Number of the last axes that are space; the others are processed one index at a time.

    Returns
    -------
    dict of place to list of window
        The planes or volumes with annotation.
    """
    found: dict[Place, list[Window]] = {}
    pieces = list(pieces_of(paint.shape))
    for done, piece in enumerate(pieces):
        yield Progress(done, len(pieces), "Looking for paint")
        for place, window in painted_blocks(np.asarray(paint[piece]), ndim):
            whole = shifted((*(slice(index, index + 1) for index in place), *window), piece)
            found.setdefault(tuple(part.start for part in whole[:-ndim]), []).append(whole[-ndim:])
    return {place: joined(windows) for place, windows in sorted(found.items())}


def pieces_of(shape: Sequence[int]) -> Iterator[Window]:
    """Cut an array into pieces for reading."""
    sides = (*(PLANES_AT_ONCE for _ in shape[:-2]), READ_PX, READ_PX)
    return cells(tuple(slice(0, length) for length in shape), sides)


def painted_blocks(paint: np.ndarray, ndim: int) -> Iterator[tuple[Place, Window]]:
    """Yield the smallest window around the annotation of each block of a piece, with its plane or volume."""
    if not paint.any():
        return
    sides = (*(1 for _ in paint.shape[:-ndim]), *(BLOCK_PX for _ in range(ndim)))
    for block in cells(tuple(slice(0, length) for length in paint.shape), sides):
        window = smallest_window(paint[block])
        if window is not None:
            whole = shifted(window, block)
            yield tuple(part.start for part in whole[:-ndim]), whole[-ndim:]


def smallest_window(paint: np.ndarray) -> Window | None:
    """Return the smallest window that contains all annotation; None without annotation.

    Examples
    --------
    >>> smallest_window(np.array([[0, 0, 0], [0, 0, 3], [0, 1, 0]]))
    (slice(1, 3, None), slice(1, 3, None))
    """
    found = find_objects((paint != 0).view(np.uint8))
    return found[0] if found else None


def joined(windows: Sequence[Window], gap_px: int = BLOCK_PX) -> list[Window]:
    """Join windows that are nearer than `gap_px`, in order of their first corners.

    The result does not depend on how the annotation was cut into blocks of up to `gap_px`.
    """
    boxes = np.array([[(part.start, part.stop) for part in window] for window in windows])  # (windows, ndim, 2)
    while len(fewer := _joined_once(boxes, gap_px)) < len(boxes):
        boxes = fewer
    return sorted((tuple(slice(*map(int, ends)) for ends in box) for box in boxes), key=_corner)


def _joined_once(boxes: np.ndarray, gap_px: int) -> np.ndarray:
    apart: list[np.ndarray] = []
    while len(boxes):
        box, boxes = boxes[0], boxes[1:]
        while (near := _is_near(box, boxes, gap_px)).any():
            together = np.concatenate([box[None], boxes[near]])
            box = np.stack([together[..., 0].min(0), together[..., 1].max(0)], axis=1)
            boxes = boxes[~near]
        apart.append(box)
    return np.stack(apart)


def _is_near(box: np.ndarray, others: np.ndarray, gap_px: int) -> np.ndarray:
    between = np.maximum(others[..., 0] - box[:, 1], box[:, 0] - others[..., 1])
    return (between < gap_px).all(axis=-1)


def _corner(window: Window) -> Place:
    return tuple(part.start for part in window)


def cells(window: Window, sides: Sequence[int]) -> Iterator[Window]:
    """Cut a window into cells of these sides, from its first corner on."""
    cuts = [
        [slice(start, min(start + side, part.stop)) for start in range(part.start, part.stop, side)]
        for part, side in zip(window, sides, strict=True)
    ]
    return itertools.product(*cuts)


def grown(window: Window, margins: Sequence[int]) -> Window:
    """Widen a window by this many pixels on each side, also beyond the image."""
    return tuple(slice(part.start - margin, part.stop + margin) for part, margin in zip(window, margins, strict=True))


def clipped(window: Window, shape: Sequence[int]) -> Window:
    """Clip a window to an image; a window outside the image becomes empty."""
    return tuple(
        slice(min(max(part.start, 0), length), max(min(part.stop, length), 0))
        for part, length in zip(window, shape, strict=True)
    )


def shifted(window: Window, by: Window) -> Window:
    """Convert a window of a part to coordinates of the whole.

    Examples
    --------
    >>> shifted((slice(1, 3),), (slice(10, 20),))
    (slice(11, 13, None),)
    """
    return tuple(
        slice(part.start + outer.start, part.stop + outer.start) for part, outer in zip(window, by, strict=True)
    )


def inside(window: Window, outer: Window) -> Window:
    """Convert a window of the whole to coordinates of `outer`."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(window, outer, strict=True)
    )


def read_window(
    image: Stored, place: Place, window: Window, beyond: Literal["reflect", "constant"] = "reflect"
) -> np.ndarray:
    """Read a window of a plane or volume into memory.

    Parameters
    ----------
    image : array, or what is read like one
        (…, [Z,] Y, X), with channels last if any.
    place, window
        What to read. Pixels beyond the image are mirrored ("reflect") or 0 ("constant").
    """
    shape = image.shape[len(place) : len(place) + len(window)]
    seen = clipped(window, shape)
    part = np.asarray(image[(*place, *seen)])
    missing = [(each.start - all_.start, all_.stop - each.stop) for each, all_ in zip(seen, window, strict=True)]
    if not any(map(any, missing)):
        return np.ascontiguousarray(part)
    return np.pad(part, [*missing, *((0, 0) for _ in range(part.ndim - len(window)))], mode=beyond)
