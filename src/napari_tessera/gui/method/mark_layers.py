"""The buttons under an input of points or labels: they add an empty layer over the image, ready for marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer, Points
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_tessera.core.method import Input
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.add import has_channel_axis, placed_at
from napari_tessera.gui.layers.annotation import empty_labels
from napari_tessera.gui.layers.read import array_of, place
from napari_tessera.gui.qt.worker import showing_errors

if TYPE_CHECKING:
    from napari_tessera.gui.method.inputs import InputsBox

POINTS_ACROSS = 50
SMALLEST_POINT_PX = 2.0
POINT_COLOUR = "#f0e442"
POINTS_HELP = "Add an empty points layer over the image, and click once in each object."
PAINT_HELP = (
    "Add an empty labels layer over the image, and paint a stroke in each object, each with a number of its own (M "
    "takes the next number)."
)
CLICK = "Click once in each object"
PAINT = "Paint a stroke in each object; press M before the next one"


class MarkButtons(QWidget):
    """Adds a layer for the seeds or markers of a method, and chooses it in the form.

    Attributes
    ----------
    points_button, labels_button : QPushButton
    added : Signal
        What to do with the new layer, in words.
    failed : Signal
        An exception.
    """

    added = Signal(str)
    failed = Signal(object)

    def __init__(self, inputs: InputsBox, entry: Input) -> None:
        super().__init__()
        self._inputs, self._entry = inputs, entry
        self.points_button = self._button("New points layer", POINTS_HELP, self.add_points)
        self.labels_button = self._button(f"New {entry.name} layer", PAINT_HELP, self.add_labels)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.points_button)
        row.addWidget(self.labels_button)

    @showing_errors
    def add_points(self) -> None:
        """Add a points layer, in the mode that adds a point with each click."""
        image = self._inputs.main_layer()
        layer = empty_points(image, self._inputs.axes, f"{image.name} · {self._entry.name}")
        self._choose(layer)
        layer.mode = "add"
        self.added.emit(f"{CLICK}, then press Run.")

    @showing_errors
    def add_labels(self) -> None:
        """Add a labels layer, with the brush ready."""
        image = self._inputs.main_layer()
        layer = empty_labels(image, self._inputs.axes, np.int32, f"{image.name} · {self._entry.name}")
        self._choose(layer)
        layer.mode = "paint"
        self.added.emit(f"{PAINT}, then press Run.")

    def show_error(self, error: BaseException) -> None:
        """Pass on what went wrong."""
        self.failed.emit(error)

    def _choose(self, layer: Layer) -> None:
        box = self._inputs.boxes[self._entry.name]
        box.viewer.add_layer(layer)
        box.viewer.layers.selection.active = layer
        box.refresh()
        box.layer = layer

    def _button(self, title: str, text: str, action: Callable[[], None]) -> QPushButton:
        button = QPushButton(title)
        button.setToolTip(tooltip(text))
        button.clicked.connect(lambda: action())
        return button


def empty_points(image: Layer, axes: str, name: str) -> Points:
    """Make a points layer without points that lies on an image, without adding it to a viewer.

    It has the image's axes; channels in front of the others are left out, so that points show on every channel.
    """
    placement = place(image, axes)
    spatial = placement.full if has_channel_axis(placement) else placement.spatial
    sides = dict(zip(axes, array_of(image).shape, strict=True))
    return Points(
        np.empty((0, len(spatial.axes))),
        ndim=len(spatial.axes),
        name=name,
        size=max(min(sides["Y"], sides["X"]) / POINTS_ACROSS, SMALLEST_POINT_PX),
        face_color=POINT_COLOUR,
        border_color="black",
        **placed_at(spatial),
    )
