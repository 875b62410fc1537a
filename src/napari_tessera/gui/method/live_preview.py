"""Live preview: apply changed settings to the visible part of the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import QTimer

from napari_tessera.engine.preview import PreviewCache, PreviewRequest, View, preview
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.gui.layers.read import array_of, viewport_events
from napari_tessera.gui.qt.worker import LatestOnlyWorker, shown_by

if TYPE_CHECKING:
    from napari_tessera.gui.method.widget import MethodWidget

SETTLE_MS = 15
"""Changes within this time, such as turns of a wheel, lead to one update."""


class LivePreview:
    """Shows the preview of a method in a separate layer.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        The preview layer, if it is shown.
    """

    def __init__(self, widget: MethodWidget) -> None:
        self.widget = widget
        self.viewer = widget.viewer
        self.layer: Labels | None = None
        self.is_on = False
        self._image: Layer | None = None
        self._is_awaited = False
        self._memory = PreviewCache()
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._say)
        self._timer = QTimer(widget)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        for event in viewport_events(self.viewer):
            event.connect(self.update)

    def switch(self, is_on: bool) -> None:
        """Show or remove the preview."""
        self.is_on = is_on
        if is_on:
            self._ask()
        else:
            self._take_away()

    def update(self, *_: Any) -> None:
        """Update the preview soon."""
        if self.is_on:
            self._timer.start()

    def has_lost_its_image(self) -> bool:
        """Return whether the image of the preview was deleted."""
        return self.is_on and self._image is not None and self._image not in self.viewer.layers

    def close(self) -> None:
        """Remove the preview, and stop following the viewer."""
        for event in viewport_events(self.viewer):
            event.disconnect(self.update)
        self.switch(False)

    def _ask(self) -> None:
        image = self._image = self.widget.inputs.main.layer
        if image is None or self.viewer.dims.ndisplay != 2 or not self.is_on:
            self._take_away()
            return
        with shown_by(self._on_failed):
            sketch = self._sketch(image)
            self._is_awaited = True
            self.latest.ask((sketch, image), preview(sketch, self._memory))

    def _sketch(self, image: Layer) -> PreviewRequest:
        axes, values = self.widget.inputs.axes, self.widget.form.values
        data = array_of(image)
        plane = (data.shape[axes.index("Y")], data.shape[axes.index("X")])
        columns = [axes.index("Y"), axes.index("X")]
        planes = self.widget.region.planes(image, axes)
        corners = image.corner_pixels[:, columns]
        if not corners.any():  # nothing has been drawn yet
            corners = np.array([[0, 0], plane]) - [[0], [1]]
        view = View.of(planes, corners, plane, self.widget.method.preview_px)
        return PreviewRequest(self.widget.method.name, data, axes, view, values, self.widget.inputs.arrays(values))

    def _show(self, about: tuple[PreviewRequest, Layer], labels: np.ndarray) -> None:
        sketch, image = about
        if not self._is_awaited or image not in self.viewer.layers:
            return
        with shown_by(self._on_failed):
            self._lay(image, labels, view_to_world(image, sketch))
            self.widget.bar.say("")

    def _lay(self, image: Layer, labels: np.ndarray, affine: np.ndarray) -> None:
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(image, labels, affine)
        else:
            if not np.array_equal(self.layer.affine.affine_matrix, affine):
                self.layer.affine = affine
            self.layer.data = labels

    def _add(self, image: Layer, labels: np.ndarray, affine: np.ndarray) -> None:
        active = self.viewer.layers.selection.active
        layer = Labels(
            labels,
            name=f"{image.name} · preview",
            affine=affine,
            units=image.units[-2:],
            metadata={PREVIEW: True},
        )
        self.layer = self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = active

    def _take_away(self) -> None:
        # A result may already be on its way from the thread; it must not be shown.
        self._is_awaited = False
        self.latest.stop()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _on_failed(self, error: Exception) -> None:
        self._take_away()
        self._say(error)

    def _say(self, error: Exception) -> None:
        if self.is_on:
            self.widget.bar.show_error(error)


def view_to_world(image: Layer, sketch: PreviewRequest) -> np.ndarray:
    """Return the (3, 3) matrix from pixels of the preview (y, x) to world coordinates of the image."""
    view, step = sketch.view, sketch.view.step
    axes = sketch.axes.replace("C", "") if len(sketch.axes) > image.ndim else sketch.axes
    y, x = axes.index("Y"), axes.index("X")

    def world(top: float, left: float) -> np.ndarray:
        pixel = [float(view.planes.get(axis, 0)) for axis in axes]
        pixel[y], pixel[x] = top, left
        return np.asarray(image.data_to_world(pixel))[[y, x]]

    # A pixel of the preview stands for `step` × `step` pixels, and is drawn around their centre.
    top, left = view.top + (step - 1) / 2, view.left + (step - 1) / 2
    origin = world(top, left)
    matrix = np.eye(3)
    matrix[:2, 0] = world(top + step, left) - origin
    matrix[:2, 1] = world(top, left + step) - origin
    matrix[:2, 2] = origin
    return matrix
