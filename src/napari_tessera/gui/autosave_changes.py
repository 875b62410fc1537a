"""Where a Labels layer has changed, from what napari tells of it; no pixel is looked at here."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_tessera.io.saved_paint import Index, Window, block_sides
from napari_tessera.sparse import SparseArray

Place = tuple[Any, ...]
"""A slice along each axis, or the indices of single pixels."""
STROKES_TO_UNDO = 100
"""As many as napari keeps."""


class Changes:
    """What napari told of a layer since it was last asked for; noted in the window's thread, asked for in another."""

    def __init__(self, layer: Labels, viewer: ViewerModel) -> None:
        self._layer, self._viewer = layer, viewer
        self._strokes: deque[list[Place]] = deque()
        self._under_way: deque[Place] = deque()
        self._undoable: deque[set[Index]] = deque(maxlen=STROKES_TO_UNDO)
        self._is_shaken = True
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_update)
        for event in (layer.events.set_data, layer.events.reload, layer.events.data):
            event.connect(self._on_refresh)

    def blocks(self, shape: Index) -> set[Index]:
        """Return the blocks that strokes touched since the last time; if that fails, no stroke is forgotten."""
        under_way = [blocks_touched(place, shape) for place in self._under_way.copy()]
        strokes = [set().union(*(blocks_touched(place, shape) for place in each)) for each in self._strokes.copy()]
        for _ in under_way:
            self._under_way.popleft()
        for stroke in strokes:
            self._strokes.popleft()
            self._undoable.append(stroke)
        return set().union(*under_way, *strokes)

    def was_shaken(self) -> bool:
        """Say whether the layer may have changed anywhere: something was undone, or pixels were set past the brush."""
        was, self._is_shaken = self._is_shaken, False
        return was

    def undoable(self) -> set[Index]:
        """Return the blocks that can have changed if a stroke was undone, or done again."""
        return set().union(*self._undoable)

    def forget(self) -> None:
        """Begin anew, as the layer holds another array."""
        for each in (self._strokes, self._under_way, self._undoable):
            each.clear()
        self._is_shaken = True

    def _on_paint(self, event: Any) -> None:
        self._strokes.append(places_painted(event.value))

    def _on_update(self, event: Any) -> None:
        self._under_way.append(place_updated(self._layer, event, self._viewer))

    def _on_refresh(self, *_: Any) -> None:
        self._is_shaken = True


def places_painted(stroke: Iterable[Any]) -> list[Place]:
    """Say where a stroke painted, from the value of napari's event `paint`: each part of it begins with its place."""
    return [part[0] for part in stroke]


def place_updated(layer: Labels, event: Any, viewer: ViewerModel) -> Window:
    """Say where a stroke under way painted, from napari's event `labels_update`, which knows only the axes shown."""
    shape = layer.data.shape
    middle = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)
    reach = layer.brush_size if layer.n_edit_dimensions > 2 else 0
    window = [slice(max(int(at) - reach, 0), int(at) + reach + 1) for at in middle]
    hidden = viewer.dims.ndim - layer.ndim
    shown = [axis - hidden for axis in viewer.dims.displayed]
    for axis, start, length in zip(shown, event.offset, np.shape(event.data), strict=False):
        window[axis] = slice(int(start), int(start) + length)
    return tuple(slice(part.start, min(part.stop, side)) for part, side in zip(window, shape, strict=True))


def blocks_touched(place: Place, shape: Index) -> set[Index]:
    """List the blocks that a place touches."""
    sides = block_sides(len(shape))
    if all(isinstance(part, slice) for part in place):
        bounds = [part.indices(length) for part, length in zip(place, shape, strict=True)]
        spans = [range(low // side, -(-high // side)) for (low, high, _), side in zip(bounds, sides, strict=True)]
        return set(itertools.product(*spans))
    pixels = [np.ravel(part) // side for part, side in zip(place, sides, strict=True)]
    return set(map(tuple, np.unique(np.stack(pixels, axis=1), axis=0).tolist()))


def all_blocks(data: Any) -> Iterator[Index]:
    """Yield the blocks of an array, of a sparse one those that something was written to."""
    sides = block_sides(len(data.shape))
    if isinstance(data, SparseArray):
        for window in data.written():
            yield tuple(part.start // side for part, side in zip(window, sides, strict=True))
        return
    yield from itertools.product(*(range(-(-length // side)) for length, side in zip(data.shape, sides, strict=True)))
