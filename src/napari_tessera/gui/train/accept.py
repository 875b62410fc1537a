"""Copy a prediction into an annotation: in the viewport, inside drawn outlines, or at a click.

Painted pixels are never changed, and one Ctrl-Z undoes the whole copy. A large area is painted in small pieces, between
which the window stays responsive.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_tessera.core.errors import InputError, RunError
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.labels import connected_components
from napari_tessera.core.region import draw_outlines
from napari_tessera.core.sparse_array import highest_of
from napari_tessera.core.tiles import widened
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import Task, annotation_facts
from napari_tessera.gui.layers.read import outlines_of, visible_span
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.layout import fill
from napari_tessera.gui.qt.worker import sentence
from napari_tessera.training.live_prediction import (
    BACKGROUND,
    UNKNOWN,
    objects_cut,
    objects_met,
    paint_of_classes,
    paint_of_objects,
)

CORRECT_HELP = (
    "Paint the prediction where nothing is painted yet, correct what is wrong, and train further from this model. One "
    "Ctrl-Z undoes it."
)
CORRECT, ALL = "Correct and go on", "Accept the whole image?"
VIEW, SHAPES, CLICKS = "in view", "inside shapes", "where I click"


class CorrectBox(QWidget):
    """The button "Correct and go on", and the choice of the area to accept."""

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = OnceButton(CORRECT)
        self.button.pressed_once.connect(self.asked.emit)
        self.button.setToolTip(tooltip(CORRECT_HELP))
        self.where = ComboBox(choices=[VIEW, SHAPES, CLICKS], tooltip=tooltip(CORRECT_HELP))
        fit_in_form(self.where.native)
        self.where.changed.connect(lambda _: self.ask_no_longer())
        row = QHBoxLayout(self)
        fill(row, self.button, self.where.native)
        row.setStretch(0, 1)

    @property
    def is_confirmed(self) -> bool:
        """Whether the next press accepts a whole image."""
        return self.button.text() == ALL

    def ask_about_all(self) -> None:
        """Ask whether to accept a whole image; the next press confirms it."""
        self.button.setText(ALL)

    def ask_no_longer(self) -> None:
        """Take the question back, since something else is in view or chosen."""
        self.button.setText(CORRECT)


PIECE_PX = 256
WHOLE_SHARE = 0.9
"""Share of a plane from which the whole image is taken, which must not happen by surprise."""
AROUND_CLICK_PX = 512
TOLERANCE_PX = 1e-3
Window = tuple[slice, ...]
Offset = tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """The selected area, in pixels of the annotation; `inside` has the window's shape, None means all of it."""

    window: Window
    inside: np.ndarray | None = None


def in_view(viewer: ViewerModel, annotation: Labels) -> Selection:
    """Return the viewport of an annotation, in the plane shown."""
    window = list(_plane(viewer, annotation))
    for axis in _axes_shown(viewer, annotation):
        window[axis] = visible_span(annotation, axis)
    return Selection(tuple(window))


def is_whole_plane(selection: Selection, prediction: Labels, annotation: Labels) -> bool:
    """Return whether a selection takes nearly all of the plane of an annotation, where a prediction covers it."""
    both = AlignedPrediction(prediction.data, annotation.data, offset_of(prediction, annotation), selection)
    taken_px, plane_px = 1, 1
    for part, side in zip(_shared(selection.window, both.covered), annotation.data.shape, strict=True):
        length = part.stop - part.start
        taken_px *= length
        plane_px *= side if length > 1 else 1
    return taken_px >= WHOLE_SHARE * plane_px


def in_outlines(viewer: ViewerModel, shapes: Shapes, annotation: Labels, axes: str) -> Selection:
    """Return the area inside drawn outlines in the plane shown, or raise an InputError if that is no pixel."""
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
    return Selection(tuple(window), inside[window[rows], window[columns]].reshape(sides))


def clicked(
    viewer: ViewerModel, prediction: Labels, annotation: Labels, world: Sequence[float], task: Task
) -> Selection:
    """Return the predicted object under a click, or the connected patch of a class, in the plane shown.

    Without a prediction or an object there, an InputError is raised.
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
        raise InputError("There is no object where you clicked. Click on an object, or accept all that is in view.")
    inside = labels == labels[within]
    if task == "classes":
        patches = connected_components(np.squeeze(inside)).reshape(inside.shape)
        inside = patches == patches[within]
    return Selection(_moved(tuple(window), offset_of(prediction, annotation)), inside)


def offset_of(prediction: Labels, annotation: Labels) -> Offset:
    """Return the position of the prediction's first pixel in the annotation, if pixel sizes and axes are the same."""
    if prediction.ndim != annotation.ndim:
        raise InputError(
            f"{prediction.name!r} has {prediction.ndim} axes and {annotation.name!r} has {annotation.ndim}. Accept a "
            "prediction of the annotated image."
        )
    corner, *along = (
        np.asarray(annotation.world_to_data(prediction.data_to_world(pixel)))
        for pixel in (np.zeros(annotation.ndim), *np.eye(annotation.ndim))
    )
    is_aligned = np.allclose(np.array(along) - corner, np.eye(annotation.ndim), atol=TOLERANCE_PX)
    if not is_aligned or not np.allclose(corner, np.rint(corner), atol=TOLERANCE_PX):
        raise InputError(
            f"The pixels of {prediction.name!r} do not match those of {annotation.name!r}. Accept a prediction of the "
            "annotated image."
        )
    return tuple(np.rint(corner).astype(int).tolist())


@dataclass(frozen=True)
class AlignedPrediction:
    """A prediction (integer array) aligned with an annotation; `offset` is the place of its first pixel there."""

    prediction: Any
    paint: Any
    offset: Offset
    where: Selection

    @property
    def covered(self) -> Window:
        """The part of the annotation that the prediction covers."""
        whole, painted = (tuple(slice(0, side) for side in each.shape) for each in (self.prediction, self.paint))
        return _shared(_moved(whole, self.offset), painted)

    def pieces(self) -> Iterator[Window]:
        """Yield the selected windows, piece by piece."""
        spans = [
            [slice(start, min(start + PIECE_PX, part.stop)) for start in range(part.start, part.stop, PIECE_PX)]
            for part in _shared(self.where.window, self.covered)
        ]
        yield from itertools.product(*spans)

    def read(self, piece: Window, margin: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return prediction, annotation and selection of a piece, with a margin of one pixel if asked for."""
        if margin:
            piece = widened(piece, [part.stop - part.start > 1 for part in self.where.window], self.paint.shape)
        paint = np.asarray(self.paint[piece])
        labels = np.full(paint.shape, UNKNOWN, np.int64)
        covered = _shared(piece, self.covered)
        labels[_within(covered, piece)] = self.prediction[_moved(covered, tuple(-each for each in self.offset))]
        inside = np.zeros(paint.shape, bool)
        selected, mask = _shared(piece, self.where.window), self.where.inside
        inside[_within(selected, piece)] = True if mask is None else mask[_within(selected, self.where.window)]
        return labels, paint, inside & (labels != UNKNOWN)


def _axes_shown(viewer: ViewerModel, layer: Labels) -> list[int]:
    """Return the axes of a layer that are shown; a viewer aligns the last axes of its layers."""
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


SECONDS_AT_A_TIME = 0.03


@dataclass(frozen=True)
class Accepted:
    """Counts of accepted pixels and objects, and of objects that were cut off or met painted ones, and left out."""

    pixels: int = 0
    objects: int = 0
    cut: int = 0
    met: int = 0

    def __str__(self) -> str:
        painted = f"{self.pixels:,} predicted pixels were painted; Ctrl-Z undoes this."
        texts = [painted if self.pixels else "Nothing is left to paint there."]
        if self.cut:
            texts.append(f"Objects left out because they extend beyond the selection: {self.cut}.")
        if self.met:
            texts.append(f"Objects left out because they overlap painted objects: {self.met}.")
        return " ".join(texts)


class Accepting(QObject):
    """Paints piece by piece; emits `ended` with an `Accepted`, or `failed` with an error."""

    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, job: Job[Accepted]) -> None:
        super().__init__()
        self._job = job
        self.accepted: Accepted | None = None

    def go_on(self) -> None:
        """Paint for a moment, and go on after the window has processed its events."""
        until = time.monotonic() + SECONDS_AT_A_TIME
        try:
            while time.monotonic() < until:
                next(self._job)
        except StopIteration as end:
            self.accepted = end.value
            self.ended.emit(self.accepted)
        except Exception as error:
            self.failed.emit(error)
        else:
            QTimer.singleShot(0, lambda: self.go_on())


def accept(prediction: Labels, annotation: Labels, where: Selection, task: Task | None = None) -> Accepting:
    """Copy a prediction into the selected area of an annotation.

    Parameters
    ----------
    prediction : napari.layers.Labels
        0 is background, 1… are classes or objects. Its pixels are as large as the annotation's; it may cover a part.
    annotation : napari.layers.Labels
        Painted pixels stay. Background becomes 1, classes 2…, objects get free numbers. Objects that extend beyond the
        selection, or overlap painted ones, are left out: half an object would be wrong.
    where : Selection
        From `in_view`, `in_outlines` or `clicked`.
    task : {"objects", "classes"}, optional
        By default the task of the annotation.

    Raises
    ------
    InputError
        If the layers do not match, or the annotation's data type cannot hold the numbers.
    """
    job = accepting(prediction, annotation, where, task or annotation_facts(annotation).get("task", "classes"))
    next(job)
    painting = Accepting(job)
    QTimer.singleShot(0, lambda: painting.go_on())
    return painting


def accepting(prediction: Labels, annotation: Labels, where: Selection, task: Task) -> Job[Accepted]:
    """Return the job of `accept`, for the window's thread, in steps of a few milliseconds."""
    both = AlignedPrediction(prediction.data, annotation.data, offset_of(prediction, annotation), where)
    yield Progress(0, 1, "Accepting")
    found, cut, met = yield from _numbers(both, task)
    taken = np.array(sorted(found - cut - met) if task == "objects" else (), np.int64)
    first = max(BACKGROUND, (yield from highest_of(annotation.data))) + 1
    _check_fits(first + len(taken) - 1 if task == "objects" else max(found, default=0) + 1, annotation)
    pixels = 0
    with one_to_undo(annotation):
        for piece in both.pieces():
            yield Progress(0, 1, "Accepting")
            labels, paint, inside = both.read(piece)
            if task == "objects":
                new = paint_of_objects(labels, paint, inside, taken, first)
            else:
                new = paint_of_classes(labels, paint, inside)
            pixels += _set(annotation, piece, new)
    return Accepted(pixels, len(taken), len(cut), len(met - cut))


@contextmanager
def one_to_undo(annotation: Labels) -> Iterator[None]:
    """Group all changes into one undo step; if one fails, undo all and raise a RunError."""
    failure: Exception | None = None
    has_painted = False

    def note(_: Any) -> None:
        nonlocal has_painted
        has_painted = True

    annotation.events.paint.connect(note)
    try:
        with annotation.block_history():  # an error inside would lose the undo step
            try:
                yield
            except Exception as error:
                failure = error
    finally:
        annotation.events.paint.disconnect(note)
    if failure is None:
        return
    if has_painted:
        annotation.undo()
    raise RunError(f"Nothing was accepted; the painted pixels were undone. {sentence(failure)}") from failure


def _numbers(both: AlignedPrediction, task: Task) -> Job[tuple[set[int], set[int], set[int]]]:
    """Return the predicted numbers, and the objects among them that are cut off or overlap painted ones."""
    found, cut, met = set[int](), set[int](), set[int]()
    for piece in both.pieces():
        yield Progress(0, 1, "Accepting")
        labels, paint, inside = both.read(piece, margin=task == "objects")
        found.update(np.unique(labels[inside]).tolist())
        if task == "objects":
            cut |= objects_cut(labels, inside)
            met |= objects_met(labels, paint)
    return found - {0, UNKNOWN}, cut, met & found


def _check_fits(highest: int, annotation: Labels) -> None:
    most = int(np.iinfo(annotation.dtype).max)
    if highest > most:
        raise InputError(
            f"{annotation.name!r} holds numbers up to {most}, but {highest} is needed. Convert its data type (right "
            "click on the layer), or make a new annotation layer."
        )


def _set(annotation: Labels, piece: Window, new: np.ndarray) -> int:
    """Paint a piece so that it can be undone; 0 leaves a pixel as it is."""
    at = np.nonzero(new)
    if at[0].size:
        annotation.data_setitem(tuple(each + part.start for each, part in zip(at, piece, strict=True)), new[at])
    return at[0].size
