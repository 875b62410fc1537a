"""The button "Correct and go on", which copies the live prediction into the annotation."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import Task
from napari_tessera.gui.qt.worker import showing_errors
from napari_tessera.gui.train.accept import Accepting, Selection, accept, clicked, in_outlines, in_view
from napari_tessera.gui.train.live_layer import LiveImage, LiveLayer

HELP = (
    "Paint the prediction where nothing is painted yet, correct what is wrong, and train further from this model. One "
    "Ctrl-Z undoes it."
)
VIEW, SHAPES, CLICKS = "in view", "inside shapes", "where I click"


class CorrectBox(QWidget):
    """The button "Correct and go on", and the choice of the area to accept."""

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Correct and go on")
        self.button.clicked.connect(self.asked.emit)
        self.where = ComboBox(choices=[VIEW, SHAPES, CLICKS], tooltip=tooltip(HELP))
        let_shrink(self.where.native)
        self.button.setToolTip(tooltip(HELP))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button, 1)
        row.addWidget(self.where.native)


class Correcting(QObject):
    """Copies the live prediction into its annotation.

    Attributes
    ----------
    ended, failed : Signal
        Emitted with an `Accepted`, or with the error.
    """

    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, live: LiveLayer) -> None:
        super().__init__()
        self.viewer = viewer
        self.live = live
        self.is_clicking = False
        self._painting: Accepting | None = None

    @showing_errors
    def take(self, where: str) -> None:
        """Accept the viewport, the inside of drawn outlines, or from now on each click."""
        self.click(where == CLICKS)
        if where == CLICKS:
            return
        prediction, of = self._layers()
        self._accept(prediction, of, in_view(self.viewer, of.paint) if where == VIEW else self._outlined(of))

    def show_error(self, error: BaseException) -> None:
        """Emit `failed`; the widget shows the error."""
        self.failed.emit(error)

    def click(self, is_on: bool) -> None:
        """Start or stop accepting clicks."""
        if is_on == self.is_clicking:
            return
        self.is_clicking = is_on
        (self.viewer.mouse_drag_callbacks.append if is_on else self.viewer.mouse_drag_callbacks.remove)(self._on_click)
        if is_on and self.live.layer is not None:
            # The brush of the annotation layer would paint at every click.
            self.viewer.layers.selection.active = self.live.layer
            self.live.layer.mode = "pan_zoom"

    @showing_errors
    def _on_click(self, viewer: ViewerModel, event: Any) -> None:
        prediction, of = self._layers()
        self._accept(prediction, of, clicked(self.viewer, prediction, of.paint, event.position, _task(of)))

    def _accept(self, prediction: Labels, of: LiveImage, part: Selection) -> None:
        self._painting = accept(prediction, of.paint, part, _task(of))
        self._painting.ended.connect(self.ended.emit)
        self._painting.failed.connect(self.failed.emit)

    def _layers(self) -> tuple[Labels, LiveImage]:
        """Return the live prediction and its image.

        Raises
        ------
        InputError
            If there is no live prediction, or its annotation was deleted.
        """
        layer, of = self.live.layer, self.live.of
        if layer is None or of is None or layer not in self.viewer.layers:
            raise InputError("There is no live prediction in view. Move the view to an image of the training.")
        if of.paint not in self.viewer.layers:
            raise InputError(f"The annotation {of.paint.name!r} is gone. Make a new annotation layer, and train again.")
        return layer, of

    def _outlined(self, of: LiveImage) -> Selection:
        shapes = [layer for layer in reversed(self.viewer.layers) if isinstance(layer, Shapes) and layer.visible]
        if not shapes:
            raise InputError("There is no Shapes layer. Add one, and draw around what is right.")
        return in_outlines(self.viewer, shapes[0], of.paint, of.axes)


def _task(of: LiveImage) -> Task:
    return "objects" if of.task == "objects" else "classes"
