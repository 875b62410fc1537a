"""The layer of the live prediction: follow the viewport for the training thread, and show its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils import CyclicLabelColormap
from qtpy.QtCore import QObject, QTimer, Signal

from napari_tessera.core.errors import InputError
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.gui.layers.add import placed_at
from napari_tessera.gui.layers.annotation import Task, class_names
from napari_tessera.gui.layers.read import check_plane_shown, place, planes_shown, viewport_events, visible_span
from napari_tessera.training.live_prediction import PLANES_AROUND, Viewport, ViewportPrediction

SETTLE_MS = 100
NARROW = np.uint16
"""napari colours labels of up to 16 bits on the graphics card, and wider ones much slower."""


@dataclass(frozen=True)
class LiveImage:
    """An image of the training, with its annotation, as layers of the viewer.

    Attributes
    ----------
    axes : str
        One letter for each axis of `paint`.
    ndim : {2, 3}
        Number of axes that are segmented together.
    """

    image: Layer
    paint: Labels
    axes: str
    ndim: int
    task: Task

    @property
    def space(self) -> str:
        """The axes that are segmented together."""
        return "ZYX"[-self.ndim :]

    @property
    def outer(self) -> str:
        """The axes that are processed one index at a time."""
        return "".join(axis for axis in self.axes if axis not in (*self.space, "C"))


class LiveLayer(QObject):
    """Follows the viewport, and shows its prediction in a separate layer.

    Attributes
    ----------
    viewport : Viewport or None
        Read by the training thread; `moved` is emitted when it changes.
    of : LiveImage or None
        The image of the layer.
    """

    moved = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.shown: Sequence[LiveImage] = ()
        self.viewport: Viewport | None = None
        self.layer: Labels | None = None
        self.of: LiveImage | None = None
        self._shapes: list[tuple[int, ...]] = []
        self._coloured = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._look)
        for event in viewport_events(self.viewer):
            event.connect(self._on_moved)

    def follow(self, shown: Sequence[LiveImage]) -> None:
        """Follow the viewport of these images; without images, nothing is shown."""
        self.shown = tuple(shown)
        self._shapes = [of.paint.data.shape for of in self.shown]
        self._look()

    def show(self, prediction: ViewportPrediction) -> None:
        """Show a prediction."""
        if prediction.viewport.index >= len(self.shown) or prediction.labels.size == 0:
            return
        of = self.shown[prediction.viewport.index]
        if of.paint not in self.viewer.layers or not self._is_as_begun(prediction.viewport.index):
            return
        labels, translate = laid_out(prediction, of)
        self.of = of
        if self.layer is None or self.layer not in self.viewer.layers or self.layer.ndim != labels.ndim:
            self._add(of, labels, translate)
            return
        self.layer.data = labels
        self.layer.translate = translate
        if (colours := self._colours(of, labels)) is not None:
            self.layer.colormap = colours

    def take_away(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)
        self._coloured = 0

    def close(self) -> None:
        """Stop following the view, and remove the layer."""
        self._timer.stop()
        for event in viewport_events(self.viewer):
            event.disconnect(self._on_moved)
        self.shown, self.viewport = (), None
        self.take_away()

    def _add(self, of: LiveImage, labels: np.ndarray, translate: np.ndarray) -> None:
        self.take_away()
        spatial = replace(place(of.paint, of.axes).full, translate=tuple(map(float, translate)))
        active = self.viewer.layers.selection.active
        layer = Labels(
            labels,
            name=f"{of.image.name} · live prediction",
            opacity=0.5,
            colormap=self._colours(of, labels),
            metadata={PREVIEW: True},
            **placed_at(spatial),
        )
        self.viewer.layers.insert(self.viewer.layers.index(of.paint), layer)
        layer.bounding_box.visible, layer.bounding_box.points = True, False
        self.layer = layer
        self.viewer.layers.selection.active = active

    def _colours(self, of: LiveImage, labels: np.ndarray) -> CyclicLabelColormap | None:
        """Return the colours of classes, or None if they are unchanged: napari is slow to change them."""
        highest = max(1, int(labels.max(initial=0)), len(class_names(of.paint) or ()) - 1)
        if of.task != "classes" or highest <= self._coloured:
            return None
        self._coloured = highest
        return colours_for(of.paint, highest)

    def _on_moved(self, *_: Any) -> None:
        if self.shown:
            self._timer.start()

    def _is_as_begun(self, index: int) -> bool:
        """Return whether the annotation of an image still has the shape that it had at the start."""
        return self.shown[index].paint.data.shape == self._shapes[index]

    def _look(self) -> None:
        followed = ((index, of) for index, of in self._in_order() if self._is_as_begun(index))
        self.viewport = next((found for index, of in followed if (found := viewport_of(self.viewer, index, of))), None)
        self.moved.emit()

    def _in_order(self) -> list[tuple[int, LiveImage]]:
        """Return the images with their indices; one whose layers are active comes first."""
        active = self.viewer.layers.selection.active
        return sorted(enumerate(self.shown), key=lambda each: active not in (each[1].image, each[1].paint))


def viewport_of(viewer: ViewerModel, index: int, of: LiveImage) -> Viewport | None:
    """Return the viewport of an image, or None if the image is not in view, or not in planes of Y and X."""
    if of.paint not in viewer.layers or of.image not in viewer.layers or not of.image.visible:
        return None
    if viewer.dims.ndisplay != 2:
        return None
    try:
        check_plane_shown(of.paint, of.axes, viewer.dims)
    except InputError:
        return None
    planes = planes_shown(of.paint, of.axes, viewer.dims.point)
    window = {axis: visible_span(of.paint, of.axes.index(axis)) for axis in "YX"}
    if "Z" in of.space:
        n_planes = of.paint.data.shape[of.axes.index("Z")]
        window["Z"] = slice(max(0, planes["Z"] - PLANES_AROUND), min(n_planes, planes["Z"] + PLANES_AROUND + 1))
    if any(part.stop <= part.start for part in window.values()):
        return None
    return Viewport(index, tuple(planes[axis] for axis in of.outer), tuple(window[axis] for axis in of.space))


def laid_out(prediction: ViewportPrediction, of: LiveImage) -> tuple[np.ndarray, np.ndarray]:
    """Return labels with the axes of the annotation, and the `translate` that puts them in place."""
    starts = dict(zip(of.outer, prediction.viewport.place, strict=True))
    starts |= {axis: part.start for axis, part in zip(of.space, prediction.viewport.window, strict=True)}
    order = of.outer + of.space
    labels = prediction.labels.reshape((1,) * len(of.outer) + prediction.labels.shape)
    labels = np.transpose(labels, [order.index(axis) for axis in of.axes if axis != "C"])
    if "C" in of.axes:
        labels = np.expand_dims(labels, of.axes.index("C"))
    if labels.max(initial=0) <= np.iinfo(NARROW).max:
        labels = labels.astype(NARROW)
    corner = of.paint.data_to_world([float(starts.get(axis, 0)) for axis in of.axes])
    # A layer is translated before its affine matrix is applied.
    affine = np.asarray(of.paint.affine.affine_matrix)
    return labels, np.linalg.solve(affine, np.append(np.asarray(corner), 1.0))[:-1]


def colours_for(paint: Labels, highest: int) -> CyclicLabelColormap:
    """Return a colormap with the annotation's colours; class 1 is painted with 2.

    A direct colormap would make napari compile for seconds in the window's thread.
    """
    colours = np.zeros((highest + 1, 4))
    for number in range(1, highest + 1):
        colours[number] = paint.get_color(number + 1)
    return CyclicLabelColormap(colors=colours)
