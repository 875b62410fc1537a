"""A button under the result that shows and hides the boxes of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from qtpy.QtWidgets import QPushButton

from napari_tessera.gui.boxes import boxes_layer, has_boxes
from napari_tessera.gui.wording import tooltip
from napari_tessera.gui.worker import Runner
from napari_tessera.jobs import Job, Progress

SHOW, HIDE = "Show boxes", "Hide boxes"
HELP = "The box of each object with its class and score, as a layer of rectangles."


class BoxesButton(QPushButton):
    """Is there while the last result has boxes; they become a layer when first asked for."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(SHOW)
        self.setToolTip(tooltip(HELP))
        self.viewer = viewer
        self.boxes: Shapes | None = None
        self._labels: Labels | None = None
        self.runner = Runner()
        self.runner.returned.connect(self._add)
        self.runner.failed.connect(lambda _: self.setEnabled(True))
        self.clicked.connect(self.press)
        self.hide()

    def offer(self, layers: Sequence[Layer]) -> None:
        """Offer the boxes of the first of these layers that has some; of no layers, nothing."""
        self._follow(None)
        self._labels = next((layer for layer in layers if isinstance(layer, Labels) and has_boxes(layer)), None)
        self.refresh()

    def close_down(self) -> None:
        """Let go of everything."""
        self.runner.cancel()
        self._follow(None)
        self._labels = None

    def press(self) -> None:
        """Show the boxes, or hide them."""
        if self.boxes is not None and self.boxes in self.viewer.layers:
            self.boxes.visible = not self.boxes.visible
        elif self._labels is not None and not self.runner.is_running:
            self.setEnabled(False)
            self.runner.start(_making(self._labels))

    def _add(self, boxes: Shapes) -> None:
        self.setEnabled(True)
        if self._labels is None or self._labels not in self.viewer.layers:
            return
        self._follow(boxes)
        self.viewer.add_layer(boxes)
        # napari tells what lies under the mouse of the active layer only: the objects have more to say than the boxes.
        self.viewer.layers.selection.active = self._labels
        self.refresh()

    def _follow(self, boxes: Shapes | None) -> None:
        if self.boxes is not None:
            self.boxes.events.visible.disconnect(self.refresh)
        if boxes is not None:
            boxes.events.visible.connect(self.refresh)
        self.boxes = boxes

    def refresh(self, *_: Any) -> None:
        """Follow layers that were shown, hidden or deleted."""
        has_labels = self._labels is not None and self._labels in self.viewer.layers
        are_seen = self.boxes is not None and self.boxes in self.viewer.layers and self.boxes.visible
        self.setText(HIDE if are_seen else SHOW)
        self.setVisible(has_labels)


def _making(labels: Labels) -> Job[Shapes]:
    yield Progress(0, 1, "Making the boxes")
    return boxes_layer(labels)
