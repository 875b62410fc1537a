"""Cut an array into bands along its longest axis and work on them in threads, with a yield after each band."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from napari_tessera.jobs import Job, Progress

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Slices = tuple[slice, ...]

BAND_PX = 2**18
"""Pixels in one band: a few milliseconds of pointwise work."""


def bands(shape: tuple[int, ...], band_px: int = BAND_PX) -> Iterator[Slices]:
    """Cut `shape` into pieces of about `band_px` pixels (one row at least) along its longest axis, in order."""
    axis = longest_axis(shape)
    row_px = max(1, int(_product(shape)) // shape[axis])
    step = max(1, band_px // row_px)
    for start in range(0, shape[axis], step):
        piece = [slice(0, length) for length in shape]
        piece[axis] = slice(start, min(start + step, shape[axis]))
        yield tuple(piece)


def longest_axis(shape: tuple[int, ...]) -> int:
    """Return the axis that `bands` cuts; the first of equals."""
    return max(range(len(shape)), key=lambda axis: shape[axis])


def widened(piece: Slices, reach: int, shape: tuple[int, ...]) -> tuple[Slices, Slices]:
    """Widen `piece` by `reach` pixels on each side, as far as `shape` allows.

    Returns
    -------
    wide : tuple of slice
        The widened piece.
    core : tuple of slice
        Where `piece` lies inside `wide`.
    """
    wide = tuple(
        slice(max(0, part.start - reach), min(length, part.stop + reach))
        for part, length in zip(piece, shape, strict=True)
    )
    core = tuple(
        slice(part.start - outer.start, part.stop - outer.start) for part, outer in zip(piece, wide, strict=True)
    )
    return wide, core


def in_threads(
    work: Callable[[Item], Outcome], items: Iterable[Item], total: int, text: str = "", workers: int | None = None
) -> Job[list[Outcome]]:
    """Call `work` on each item in threads, and return the outcomes in the order of the items.

    Two calls per worker are under way at most, so that cancelling takes no longer than those.
    """
    outcomes: list[Outcome] = []
    waiting: deque[Future[Outcome]] = deque()
    workers = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * workers:
                outcomes.append(waiting.popleft().result())
                yield Progress(len(outcomes), total, text)
        while waiting:
            outcomes.append(waiting.popleft().result())
            yield Progress(len(outcomes), total, text)
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
