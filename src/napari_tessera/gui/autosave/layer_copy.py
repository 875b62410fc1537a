"""The saved copy of one annotation layer: follow its changes, and write the blocks that changed.

Changes are known from napari's events, without comparing pixels; a slow search finds changes without an event.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_tessera.core.errors import FileError
from napari_tessera.core.sparse_array import Index, SparseArray, Window, block_sides, block_window
from napari_tessera.gui.layers.annotation import annotation_facts
from napari_tessera.io.annotation_store import PaintCopy, Saved, discard

Place = tuple[Any, ...]
"""A slice along each axis, or the indices of single pixels."""
STROKES_TO_UNDO = 100
"""As many as napari keeps."""


class Changes:
    """The changes of a layer since the last save; collected in the window's thread, read in the saving thread."""

    def __init__(self, layer: Labels, viewer: ViewerModel) -> None:
        self._layer, self._viewer = layer, viewer
        self._strokes: deque[list[Place]] = deque()
        self._under_way: deque[Place] = deque()
        self._undoable: deque[set[Index]] = deque(maxlen=STROKES_TO_UNDO)
        self._has_unknown_changes = True
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_update)
        for event in (layer.events.set_data, layer.events.reload, layer.events.data):
            event.connect(self._on_refresh)

    def blocks(self, shape: Index) -> set[Index]:
        """Return the blocks that strokes touched since the last call; if that fails, no stroke is lost."""
        under_way = [blocks_touched(place, shape) for place in self._under_way.copy()]
        strokes = [set().union(*(blocks_touched(place, shape) for place in each)) for each in self._strokes.copy()]
        for _ in under_way:
            self._under_way.popleft()
        for stroke in strokes:
            self._strokes.popleft()
            self._undoable.append(stroke)
        return set().union(*under_way, *strokes)

    def had_unknown_changes(self) -> bool:
        """Return whether any pixel may have changed, as after an undo or a change without the brush."""
        was, self._has_unknown_changes = self._has_unknown_changes, False
        return was

    def undoable(self) -> set[Index]:
        """Return the blocks that undo or redo of a stroke can have changed."""
        return set().union(*self._undoable)

    def forget(self) -> None:
        """Start again, since the layer holds another array."""
        for each in (self._strokes, self._under_way, self._undoable):
            each.clear()
        self._has_unknown_changes = True

    def _on_paint(self, event: Any) -> None:
        self._strokes.append([part[0] for part in event.value])

    def _on_update(self, event: Any) -> None:
        self._under_way.append(place_updated(self._layer, event, self._viewer))

    def _on_refresh(self, *_: Any) -> None:
        self._has_unknown_changes = True


def place_updated(layer: Labels, event: Any, viewer: ViewerModel) -> Window:
    """Return the window that an unfinished stroke painted; napari's event `labels_update` holds only the axes shown."""
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
    """Return the blocks that a place touches."""
    sides = block_sides(len(shape))
    if all(isinstance(part, slice) for part in place):
        bounds = [part.indices(length) for part, length in zip(place, shape, strict=True)]
        spans = [range(low // side, -(-high // side)) for (low, high, _), side in zip(bounds, sides, strict=True)]
        return set(itertools.product(*spans))
    pixels = [np.ravel(part) // side for part, side in zip(place, sides, strict=True)]
    return set(map(tuple, np.unique(np.stack(pixels, axis=1), axis=0).tolist()))


def all_blocks(data: Any) -> Iterator[Index]:
    """Yield the blocks of an array; of a sparse array, only the written ones."""
    sides = block_sides(len(data.shape))
    if isinstance(data, SparseArray):
        for window in data.written():
            yield tuple(part.start // side for part, side in zip(window, sides, strict=True))
        return
    yield from itertools.product(*(range(-(-length // side)) for length, side in zip(data.shape, sides, strict=True)))


SECONDS_AT_A_TIME = 0.2
"""Time of one search for changes without an event; strokes are saved between searches."""
SHARE_OF_TIME = 0.2
PAUSE_SECONDS = 2.0
LARGEST_SEARCHED_BYTES = 2**30
"""Larger arrays that are not in memory are not searched."""
SAVED_IN = "tessera annotation saved in"
"""Key in a layer's metadata for the folder of its copy."""


class LayerCopy:
    """Saves one layer with the name of its image; created in the window's thread, used in the saving thread."""

    def __init__(self, layer: Labels, image: str, viewer: ViewerModel, folder: Path) -> None:
        self.layer, self.image, self.folder = layer, image, folder
        self.is_closed = False
        self.changes = Changes(layer, viewer)
        self._dirty: set[Index] = set()
        self._search = Search()
        self._copy: PaintCopy | None = None
        self._state: dict[str, Any] = {}
        self._name = ""

    def save(self) -> None:
        """Save the changes since the last call; after a FileError, the next call tries again."""
        data = self.layer.data
        self._start_again_if_replaced(data)
        self._dirty |= self.changes.blocks(data.shape)
        can_be_searched = is_searched(data)
        if self.changes.had_unknown_changes():
            self._search.is_wanted |= can_be_searched
            self._dirty |= self.changes.undoable()
        has_changed = self._save_blocks(data)
        for index in self._search.blocks(data, self._copy.known() if self._copy else ()):
            self._dirty.add(index)
            has_changed |= self._save_blocks(data)
        if self._copy is not None:
            self._copy.save_state(self._state, has_changed=has_changed)

    def end(self) -> None:
        """Save the rest, and mark the layer as closed; an empty copy is deleted."""
        self.save()
        while self.is_searching:
            self.hurry()
            self.save()
        self._close(has_ended=True)

    @property
    def is_searching(self) -> bool:
        """Whether a search for changes is wanted or not finished."""
        return self._search.is_wanted or self._search.is_under_way

    def hurry(self) -> None:
        """Search the layer at the next save, without a pause."""
        self._search.pause_until = 0.0

    def _save_blocks(self, data: Any) -> bool:
        has_changed = False
        for index in sorted(self._dirty):
            block = np.array(data[block_window(index, data.shape)])
            if self._copy is None and block.any():
                self._copy = self._open(data)
            if self._copy is not None:
                has_changed |= self._copy.update(index, block)
            self._dirty.discard(index)
        return has_changed

    def _open(self, data: Any) -> PaintCopy:
        """Open the copy that the layer was restored from, or create one."""
        earlier = self.layer.metadata.get(SAVED_IN)
        if earlier is not None and Path(earlier).is_dir():
            with suppress(FileError):
                return PaintCopy(Path(earlier), tuple(data.shape))
        # The name stays for all attempts, so that a full disk is not filled with folders.
        self._name = self._name or f"{datetime.now():%Y%m%d-%H%M%S}-{os.urandom(4).hex()}"
        copy = PaintCopy(self.folder / self._name, tuple(data.shape))
        try:
            copy.save_state(self._state, has_changed=True)  # first, since it names the layer
        except Exception:
            copy.close()
            raise
        self._name = ""
        self.layer.metadata[SAVED_IN] = str(copy.folder)
        return copy

    def _start_again_if_replaced(self, data: Any) -> None:
        kind = {"shape": list(data.shape), "dtype": str(data.dtype)}
        if self._state and kind != {key: self._state[key] for key in kind}:
            self._close(has_ended=True)
            self._dirty.clear()
            self._search = Search()
            self.changes.forget()
        self._state = state_of(self.layer, self.image) | kind

    def _close(self, *, has_ended: bool) -> None:
        copy, self._copy = self._copy, None
        if copy is None:
            return
        copy.save_state({**self._state, "has_ended": has_ended}, has_changed=False)
        copy.close()
        if not copy.known():
            discard(Saved(copy.folder))


class Search:
    """Searches a layer for changes from time to time, at most a fifth of the time."""

    def __init__(self) -> None:
        self.is_wanted = False  # begins when the pause is over
        self.pause_until = 0.0  # in seconds of `time.monotonic`
        self._left: Iterator[Index] | None = None
        self._spent_seconds = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether a search is not finished."""
        return self._left is not None

    def blocks(self, data: Any, known: Collection[Index]) -> Iterator[Index]:
        """Yield blocks of a layer, and those saved before, until the pause."""
        began = time.monotonic()
        if self._left is None and self.is_wanted and began >= self.pause_until:
            self._left = iter(dict.fromkeys((*all_blocks(data), *known)))
            self.is_wanted, self._spent_seconds = False, 0.0
        while self._left is not None and time.monotonic() < began + SECONDS_AT_A_TIME:
            index = next(self._left, None)
            if index is None:
                self._left = None
                spent = self._spent_seconds + time.monotonic() - began
                self.pause_until = time.monotonic() + max(PAUSE_SECONDS, spent / SHARE_OF_TIME)
                return
            yield index
        self._spent_seconds += time.monotonic() - began


def is_searched(data: Any) -> bool:
    """Return whether an array is in memory or small enough to be searched."""
    is_at_hand = isinstance(data, np.ndarray | SparseArray)
    return is_at_hand or math.prod(data.shape) * np.dtype(data.dtype).itemsize <= LARGEST_SEARCHED_BYTES


def state_of(layer: Labels, image: str) -> dict[str, Any]:
    """Return name, image and position of a layer as JSON."""
    return {
        "name": layer.name,
        "image": image,
        "facts": annotation_facts(layer),
        "placed": {
            "scale": layer.scale.tolist(),
            "translate": layer.translate.tolist(),
            "rotate": np.asarray(layer.rotate).tolist(),
            "shear": np.asarray(layer.shear).tolist(),
            "affine": layer.affine.affine_matrix.tolist(),
            "units": [str(unit) for unit in layer.units],
            "axis_labels": list(layer.axis_labels),
        },
    }
