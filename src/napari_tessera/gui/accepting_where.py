"""Where the user agrees with a prediction, and how it lies over the annotation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Shapes

from napari_tessera.accepted import UNKNOWN
from napari_tessera.errors import InputError
from napari_tessera.gui.annotation import Task
from napari_tessera.gui.layers import outlines_of
from napari_tessera.labels import connected_components
from napari_tessera.region import draw_outlines

PIECE_PX = 256
AROUND_CLICK_PX = 512
TOLERANCE_PX = 1e-3
Window = tuple[slice, ...]
Offset = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Where the user agrees, in pixels of the annotation.

    Attributes
    ----------
    window : tuple of slice
    inside : array of bool or None
        Of the window's shape; None is all of it.
    """

    window: Window
    inside: np.ndarray | None = None


def in_view(viewer: ViewerModel, annotation: Labels) -> Part:
    """Return the part of an annotation that is in view, in the plane shown."""
    window = list(_plane(viewer, annotation))
    low, high = annotation.corner_pixels
    for axis in _axes_shown(viewer, annotation):
        if high[axis] > low[axis]:  # all of it before it is drawn for the first time
            window[axis] = slice(max(int(low[axis]), 0), min(int(high[axis]) + 1, annotation.data.shape[axis]))
    return Part(tuple(window))


def in_outlines(viewer: ViewerModel, shapes: Shapes, annotation: Labels, axes: str) -> Part:
    """Return what drawn outlines enclose, in the plane shown.

    Raises
    ------
    InputError
        If none of them encloses anything of the annotation.
    """
    outlines = outlines_of(shapes, annotation, axes)
    if not outlines:
        raise InputError(f"{shapes.name!r} has no shape that encloses an area. Draw a rectangle, ellipse or polygon.")
    window = list(_plane(viewer, annotation))
    rows, columns = axes.index("Y"), axes.index("X")
    inside = draw_outlines(outlines, (annotation.data.shape[rows], annotation.data.shape[columns]))
    for axis, across in ((rows, 1), (columns, 0)):
        drawn = np.flatnonzero(inside.any(axis=across))
        window[axis] = slice(int(drawn[0]), int(drawn[-1]) + 1)
    sides = [part.stop - part.start for part in window]
    return Part(tuple(window), inside[window[rows], window[columns]].reshape(sides))


def clicked(viewer: ViewerModel, prediction: Labels, annotation: Labels, world: Sequence[float], task: Task) -> Part:
    """Return the predicted object under a click, or the patch of a class, in the plane shown.

    Raises
    ------
    InputError
        If there is no prediction, or no object.
    """
    at = np.rint(prediction.world_to_data(world)).astype(int)
    shape = np.array(prediction.data.shape)
    if (at < 0).any() or (at >= shape).any():
        raise InputError("There is no prediction where you clicked. Click on a predicted object or class.")
    window = [slice(int(place), int(place) + 1) for place in at]
    for axis in _axes_shown(viewer, prediction):
        window[axis] = slice(max(int(at[axis]) - AROUND_CLICK_PX, 0), int(min(at[axis] + AROUND_CLICK_PX, shape[axis])))
    labels = np.asarray(prediction.data[tuple(window)])
    within = tuple(place - part.start for place, part in zip(at, window, strict=True))
    if task == "objects" and labels[within] == 0:
        raise InputError("There is no object where you clicked. Click on one, or accept what is in view.")
    inside = labels == labels[within]
    if task == "classes":
        patches = connected_components(np.squeeze(inside)).reshape(inside.shape)
        inside = patches == patches[within]
    return Part(_moved(tuple(window), offset_of(prediction, annotation)), inside)


def offset_of(prediction: Labels, annotation: Labels) -> Offset:
    """Return which pixel of the annotation the first pixel of the prediction is.

    Raises
    ------
    InputError
        If they have pixels of different sizes, or axes.
    """
    if prediction.ndim != annotation.ndim:
        raise InputError(
            f"{prediction.name!r} has {prediction.ndim} axes and {annotation.name!r} has {annotation.ndim}. Accept a "
            "prediction of the image that is painted on."
        )
    corner, *along = (
        np.asarray(annotation.world_to_data(prediction.data_to_world(pixel)))
        for pixel in (np.zeros(annotation.ndim), *np.eye(annotation.ndim))
    )
    is_aligned = np.allclose(np.array(along) - corner, np.eye(annotation.ndim), atol=TOLERANCE_PX)
    if not is_aligned or not np.allclose(corner, np.rint(corner), atol=TOLERANCE_PX):
        raise InputError(
            f"The pixels of {prediction.name!r} do not lie on those of {annotation.name!r}. Accept a prediction of the "
            "image that is painted on."
        )
    return tuple(np.rint(corner).astype(int).tolist())


@dataclass(frozen=True)
class Overlaid:
    """A prediction over an annotation.

    Attributes
    ----------
    prediction, paint : integer arrays
    offset : tuple of int
        Which pixel of the paint the first pixel of the prediction is.
    where : Part
    """

    prediction: Any
    paint: Any
    offset: Offset
    where: Part

    @property
    def covered(self) -> Window:
        """What the prediction covers of the paint."""
        whole = tuple(slice(0, length) for length in self.prediction.shape)
        return _shared(_moved(whole, self.offset), tuple(slice(0, length) for length in self.paint.shape))

    def pieces(self) -> Iterator[Window]:
        """Yield what is to be painted, piece by piece."""
        spans = [
            [slice(start, min(start + PIECE_PX, part.stop)) for start in range(part.start, part.stop, PIECE_PX)]
            for part in _shared(self.where.window, self.covered)
        ]
        yield from itertools.product(*spans)

    def read(self, piece: Window, margin: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return prediction, paint, and where the user agrees, of a piece, one pixel wider if asked for."""
        if margin:
            whole = tuple(slice(0, length) for length in self.paint.shape)
            is_wide = [part.stop - part.start > 1 for part in self.where.window]
            wider = (slice(part.start - wide, part.stop + wide) for part, wide in zip(piece, is_wide, strict=True))
            piece = _shared(tuple(wider), whole)
        paint = np.asarray(self.paint[piece])
        labels = np.full(paint.shape, UNKNOWN, np.int64)
        seen = _shared(piece, self.covered)
        labels[_within(seen, piece)] = self.prediction[_moved(seen, tuple(-each for each in self.offset))]
        inside = np.zeros(paint.shape, bool)
        meant = _shared(piece, self.where.window)
        mask = self.where.inside
        inside[_within(meant, piece)] = True if mask is None else mask[_within(meant, self.where.window)]
        return labels, paint, inside & (labels != UNKNOWN)


def _axes_shown(viewer: ViewerModel, layer: Labels) -> list[int]:
    """Return the axes of a layer that are shown; a viewer lines up the last axes of its layers."""
    shown = (axis - (viewer.dims.ndim - layer.ndim) for axis in viewer.dims.displayed[-2:])
    return [axis for axis in shown if axis >= 0]


def _plane(viewer: ViewerModel, layer: Labels) -> Window:
    """Return the plane of a layer that is shown."""
    shape = layer.data.shape
    at = np.clip(np.rint(layer.world_to_data(viewer.dims.point)).astype(int), 0, np.array(shape) - 1)
    shown = _axes_shown(viewer, layer)
    return tuple(
        slice(0, length) if axis in shown else slice(int(at[axis]), int(at[axis]) + 1)
        for axis, length in enumerate(shape)
    )


def _shared(one: Window, other: Window) -> Window:
    starts = [max(part.start, own.start) for part, own in zip(one, other, strict=True)]
    stops = [min(part.stop, own.stop) for part, own in zip(one, other, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))


def _moved(window: Window, by: Offset) -> Window:
    return tuple(slice(part.start + step, part.stop + step) for part, step in zip(window, by, strict=True))


def _within(window: Window, outer: Window) -> Window:
    return _moved(window, tuple(-part.start for part in outer))
