"""A labels layer that is corrected by hand: the part an operation works on, and napari's undo."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_tessera.core.errors import InputError
from napari_tessera.gui.layers.read import axis_names, list_axes, record_of

CORRECTIONS = "tessera corrections"
"""Key in a layer's metadata for how many operations of each tool corrected it, undone ones included."""
CORRECTED = "corrected"
"""The same in the record of the run that made the layer."""
LARGEST_PART_BYTES = 2**32
"""Larger parts are not read at once."""


Changes = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Indices of pixels, one array for each axis, and their new labels."""


def is_changeable(layer: Labels) -> bool:
    """Return whether the pixels of a layer can be changed in place."""
    return not layer.multiscale and hasattr(layer.data, "__setitem__") and not hasattr(layer.data, "dask")


def check_can_correct(layer: Labels | None) -> Labels:
    """Return a layer whose pixels can be changed, or raise InputError."""
    if layer is None:
        raise InputError("There are no labels to correct: run a method first, or open a label image.")
    if not is_changeable(layer):
        raise InputError(
            f"{layer.name!r} cannot be changed, because napari only reads it piece by piece from the disk. Crop it, or "
            "convert it (right click on the layer) to one that is in memory."
        )
    return layer


class Part:
    """The part of a layer that an operation works on: the plane shown, or the volume that it belongs to.

    Attributes
    ----------
    axes : list of int
        Axes of the layer that the part keeps; the last two are those on the screen.
    """

    def __init__(self, layer: Labels, viewer: ViewerModel, only_plane: bool) -> None:
        self.layer = layer
        if viewer.dims.ndisplay != 2:
            raise InputError(
                "Labels are corrected on the plane shown: switch the viewer to 2-D (Ctrl-Y), and the operation still "
                "changes the object in all planes of a volume."
            )
        hidden = viewer.dims.ndim - layer.ndim
        shown = [axis - hidden for axis in viewer.dims.displayed if axis >= hidden]
        letters = list_axes(layer.ndim, False, axis_names(layer), has_channels=False)[0][1]
        stacked = [] if only_plane else [axis for axis, name in enumerate(letters) if name == "Z"]
        self.axes = [axis for axis in stacked if axis not in shown] + shown
        pixel = np.clip(np.rint(layer.world_to_data(viewer.dims.point)), 0, np.array(layer.data.shape) - 1)
        self._fixed = {axis: int(pixel[axis]) for axis in range(layer.ndim) if axis not in self.axes}
        n_bytes = math.prod(layer.data.shape[axis] for axis in self.axes) * layer.data.dtype.itemsize
        if n_bytes > LARGEST_PART_BYTES:
            raise InputError(
                f"{layer.name!r} is too large to be corrected at once ({n_bytes / 2**30:.0f} GiB): choose Only the "
                "plane shown, or crop it."
            )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Pixel size along the axes of the part."""
        return tuple(abs(float(self.layer.scale[axis])) for axis in self.axes)

    def read(self) -> np.ndarray:
        """Return the labels of the part, as a view if the layer is in memory."""
        index = tuple(self._fixed.get(axis, slice(None)) for axis in range(self.layer.ndim))
        return np.asarray(self.layer.data[index]).transpose(np.argsort(np.argsort(self.axes)))

    def path(self, positions: list[Any]) -> np.ndarray:
        """Turn positions in the viewer's world into pixels of the part: (M, N)."""
        pixels = np.array([self.layer.world_to_data(position) for position in positions], float)
        return pixels[:, self.axes]

    def apply(self, changes: Changes, tool: str) -> int:
        """Change pixels of the part as one step of the layer's undo, note it, and return how many change."""
        within, values = changes
        indices = [np.full(len(values), self._fixed.get(axis, 0), np.intp) for axis in range(self.layer.ndim)]
        for axis, index in zip(self.axes, within, strict=True):
            indices[axis] = index
        if len(values):
            self.layer.data_setitem(tuple(indices), values)
            note_operation(self.layer, tool)
        return len(values)


def note_operation(layer: Labels, tool: str) -> None:
    """Count an operation in the layer's metadata, and in the record of its run."""
    counts = layer.metadata.setdefault(CORRECTIONS, {})
    counts[tool] = counts.get(tool, 0) + 1
    record = record_of(layer)
    if record is not None:
        record[CORRECTED] = dict(counts)


def n_operations(layer: Labels) -> int:
    """Return how many operations corrected a layer."""
    return sum(layer.metadata.get(CORRECTIONS, {}).values())
