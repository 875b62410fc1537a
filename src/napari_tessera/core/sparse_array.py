"""`SparseArray`, an array of zeros that uses memory only for the blocks that were written, and reading it by pieces."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from napari_tessera.core.jobs import Job, Progress, pieces

BLOCK_PX = 256
Index = tuple[int, ...]
Window = tuple[slice, ...]


def block_sides(ndim: int) -> Index:
    """Return the sides of a block: one along all axes but the last two."""
    return (1,) * (ndim - 2) + (BLOCK_PX,) * min(ndim, 2)


def block_window(index: Index, shape: Index) -> Window:
    """Return the pixels of a block."""
    return tuple(
        slice(place * side, min((place + 1) * side, length))
        for place, side, length in zip(index, block_sides(len(shape)), shape, strict=True)
    )


class SparseArray:
    """A writable array of zeros, indexed by slices, indices or arrays of indices.

    Examples
    --------
    >>> huge = SparseArray((1000, 100_000, 100_000), np.uint8)
    >>> huge[5, 70_000:70_002, 8:11] = 2
    >>> huge[5, 70_001, 6:12].tolist()
    [0, 0, 2, 2, 2, 0]
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(map(int, shape))
        self.dtype = np.dtype(dtype)
        self.blocks = block_sides(len(self.shape))
        self._written: dict[Index, np.ndarray] = {}

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def written(self) -> list[Window]:
        """List the blocks that were written."""
        return [block_window(index, self.shape) for index in list(self._written)]

    def any(self) -> bool:
        """Return whether a value differs from 0."""
        return any(block.any() for block in list(self._written.values()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._read(tuple(slice(0, length) for length in self.shape)).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        if _is_fancy(key):
            return self._picked(key)
        window, within = _resolved(key, self.shape)
        return self._read(window)[within]

    def __setitem__(self, key: Any, values: Any) -> None:
        if _is_fancy(key):
            self._put(key, values)
            return
        window, within = _resolved(key, self.shape)
        part = self._read(window)
        part[within] = values
        for index, inside, outside in self._parts(window):
            self._block(index)[inside] = part[outside]

    def _read(self, window: Window) -> np.ndarray:
        part = np.zeros([each.stop - each.start for each in window], self.dtype)
        for index, inside, outside in self._parts(window, only_written=True):
            part[outside] = self._written[index][inside]
        return part

    def _parts(self, window: Window, only_written: bool = False) -> Iterator[tuple[Index, Window, Window]]:
        """Yield the blocks that a window touches: place, and the common part in block and in window coordinates."""
        if any(part.start >= part.stop for part in window):
            return
        spans = [
            range(part.start // side, (part.stop - 1) // side + 1)
            for part, side in zip(window, self.blocks, strict=True)
        ]
        for index in list(self._written) if only_written else itertools.product(*spans):
            if not all(each in span for each, span in zip(index, spans, strict=True)):
                continue
            shared = [
                (max(part.start, own.start), min(part.stop, own.stop), own.start, part.start)
                for part, own in zip(window, block_window(index, self.shape), strict=True)
            ]
            inside = tuple(slice(start - own, stop - own) for start, stop, own, _ in shared)
            yield index, inside, tuple(slice(start - first, stop - first) for start, stop, _, first in shared)

    def _block(self, index: Index) -> np.ndarray:
        if index not in self._written:
            sides = [part.stop - part.start for part in block_window(index, self.shape)]
            self._written[index] = np.zeros(sides, self.dtype)
        return self._written[index]

    def _picked(self, indices: Sequence[np.ndarray]) -> np.ndarray:
        at = np.broadcast_arrays(*indices)
        found = np.zeros(at[0].shape, self.dtype)
        for index, within, chosen in self._by_block(at):
            if index in self._written:
                found[chosen] = self._written[index][within]
        return found

    def _put(self, indices: Sequence[np.ndarray], values: Any) -> None:
        at = np.broadcast_arrays(*indices)
        given = np.broadcast_to(np.asarray(values, self.dtype), at[0].shape)
        for index, within, chosen in self._by_block(at):
            self._block(index)[within] = given[chosen]

    def _by_block(self, at: Sequence[np.ndarray]) -> Iterator[tuple[Index, tuple, np.ndarray]]:
        """Yield the blocks that contain the pixels: their place, the pixels in block coordinates, and which pixels."""
        blocks = np.stack([each // side for each, side in zip(at, self.blocks, strict=True)], axis=-1)  # (…, ndim)
        which, inverse = np.unique(blocks.reshape(-1, self.ndim), axis=0, return_inverse=True)
        for number, index in enumerate(which.tolist()):
            chosen = (inverse == number).reshape(at[0].shape)
            within = tuple(each[chosen] % side for each, side in zip(at, self.blocks, strict=True))
            yield tuple(index), within, chosen


def _is_fancy(key: Any) -> bool:
    return isinstance(key, tuple) and len(key) > 0 and all(isinstance(each, np.ndarray) for each in key)


def _resolved(key: Any, shape: Sequence[int]) -> tuple[Window, tuple[Any, ...]]:
    """Return the window that a key reads from, and the index within the window."""
    given = list(key) if isinstance(key, tuple) else [key]
    missing = len(shape) - sum(each is not Ellipsis for each in given)
    at = given.index(Ellipsis) if Ellipsis in given else len(given)
    given[at : at + 1] = [slice(None)] * missing
    window: list[slice] = []
    within: list[slice | int] = []
    for each, length in zip(given, shape, strict=True):
        if isinstance(each, slice):
            places = range(*each.indices(length))
            low, high = (min(places), max(places) + 1) if places else (0, 0)
            window.append(slice(low, high))
            within.append(slice(None, None, places.step))
        else:
            place = int(each) + length * (int(each) < 0)
            if not 0 <= place < length:
                raise IndexError(f"There is no index {each} along an axis of length {length}.")
            window.append(slice(place, place + 1))
            within.append(0)
    return tuple(window), tuple(within)


PX_AT_ONCE = 2**22


def stored_pieces(labels: Any) -> list[Window]:
    """Cut an array into pieces to read one by one; of a sparse one, only what was written."""
    return labels.written() if isinstance(labels, SparseArray) else pieces(tuple(labels.shape), PX_AT_ONCE)


def highest_of(labels: Any) -> Job[int]:
    """Return the highest number in labels, read piece by piece; 0 without any."""
    highest = 0
    for piece in stored_pieces(labels):
        yield Progress(0, 1, "Looking for the highest number")
        highest = max(highest, int(np.asarray(labels[piece]).max(initial=0)))
    return highest


def count_numbers(labels: Any) -> Job[Counter[int]]:
    """Count the pixels of each number above 0 in labels, read piece by piece."""
    counts: Counter[int] = Counter()
    for piece in stored_pieces(labels):
        yield Progress(0, 1, "Counting")
        block = np.asarray(labels[piece])
        numbers, n_px = np.unique(block[block > 0], return_counts=True)
        counts.update(dict(zip(numbers.tolist(), n_px.tolist(), strict=True)))
    return counts
