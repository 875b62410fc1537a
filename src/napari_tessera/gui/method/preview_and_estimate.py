"""What follows the settings while the user changes them: the live preview, and the estimate of time and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_tessera.core.errors import TesseraError
from napari_tessera.engine.preview import PreviewCache, PreviewRequest, View, needs_a_look, preview
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.gui.layers.read import array_of, corners_shown, viewport_events
from napari_tessera.gui.method.run_request import RunRequest, estimate_cost
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.layout import NOTE_STYLE, PLAIN_STYLE
from napari_tessera.gui.qt.worker import LatestOnlyWorker, shown_by

if TYPE_CHECKING:
    from napari_tessera.engine.cost_estimate import Forecast
    from napari_tessera.gui.method.widget import MethodWidget

PREVIEW_AFTER_MS, ESTIMATE_AFTER_MS = 15, 150
"""Changes within this time, such as turns of a wheel, lead to one update."""
LOOKING = "The network looks at this plane once; then the outlines follow threshold and size at once."
CONTOUR_PX = 2
"""A preview has outlines, so that it looks like no result, and the image can be seen."""


class LivePreview:
    """Applies changed settings to the visible part of the plane, and shows the labels in a separate layer."""

    def __init__(self, widget: MethodWidget) -> None:
        self.widget = widget
        self.viewer = widget.viewer
        self.layer: Labels | None = None
        self.is_on = False
        self._image: Layer | None = None
        self._is_awaited = False
        self._hidden: list[Layer] = []
        self._cache = PreviewCache()
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._say)
        self._timer = single_shot(widget, PREVIEW_AFTER_MS, self._ask)
        for event in viewport_events(self.viewer):
            event.connect(self.update)

    def switch(self, is_on: bool) -> None:
        """Show or remove the preview."""
        self.is_on = is_on
        (self._ask if is_on else self._remove)()

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
        before, self._image = self._image, self.widget.inputs.main.layer
        image = self._image
        if image is not before:
            self._remove()  # that of another image has another name, and may lie below this one
        if image is None or self.viewer.dims.ndisplay != 2 or not self.is_on:
            self._remove()
            return
        with shown_by(self._on_failed):
            request = self._request(image)
            self._is_awaited = True
            if needs_a_look(request, self._cache):
                self.widget.bar.say(LOOKING)
            self.latest.ask((request, image), preview(request, self._cache))

    def _request(self, image: Layer) -> PreviewRequest:
        widget, data = self.widget, array_of(image)
        axes, values = widget.inputs.axes, widget.form.values
        plane = (data.shape[axes.index("Y")], data.shape[axes.index("X")])
        planes = widget.region.planes(image, axes)
        view = View.of(planes, corners_shown(image, axes), plane, widget.method.preview_px)
        return PreviewRequest(widget.method.name, data, axes, view, values, widget.inputs.arrays(values))

    def _show(self, about: tuple[PreviewRequest, Layer], labels: np.ndarray) -> None:
        request, image = about
        if not self._is_awaited or image not in self.viewer.layers:
            return
        with shown_by(self._on_failed):
            self._show_labels(image, labels, view_to_world(image, request))
            self.widget.bar.say("")

    def _show_labels(self, image: Layer, labels: np.ndarray, affine: np.ndarray) -> None:
        if self.layer is not None and self.layer in self.viewer.layers:
            if not np.array_equal(self.layer.affine.affine_matrix, affine):
                self.layer.affine = affine
            self.layer.data = labels
            return
        self._hidden = [layer for layer in self.widget.results_of(image) if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        active = self.viewer.layers.selection.active
        about = {"name": f"{image.name} · preview", "units": image.units[-2:], "metadata": {PREVIEW: True}}
        self.layer = self.viewer.add_layer(Labels(labels, affine=affine, **about))
        self.layer.contour = CONTOUR_PX
        self.viewer.layers.selection.active = active

    def _remove(self) -> None:
        # A result may already be on its way from the thread; it must not be shown.
        self._is_awaited = False
        self.latest.stop()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []

    def _on_failed(self, error: Exception) -> None:
        self._remove()
        self._say(error)

    def _say(self, error: Exception) -> None:
        if self.is_on:
            self.widget.bar.show_error(error)


def view_to_world(image: Layer, request: PreviewRequest) -> np.ndarray:
    """Return the (3, 3) matrix from pixels of the preview (y, x) to world coordinates of the image."""
    view, step = request.view, request.view.step
    axes = request.axes.replace("C", "") if len(request.axes) > image.ndim else request.axes
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


class ForecastLine(QLabel):
    """Shows the device, time and memory of a run, estimated in a thread whenever the request changes."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setStyleSheet(PLAIN_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._show_failure)
        self._timer = single_shot(self, ESTIMATE_AFTER_MS, self._ask)
        self._request: Callable[[], RunRequest] | None = None
        self._is_busy: Callable[[], bool] = bool
        self.hide()

    def follow(self, request: Callable[[], RunRequest], is_busy: Callable[[], bool]) -> None:
        """Show the line from now on; `request` reads the widget, and nothing is measured while `is_busy`."""
        self._request, self._is_busy = request, is_busy
        self.update_soon()

    def update_soon(self, *_: Any) -> None:
        """Update the estimate soon."""
        if self._request is not None:
            self._timer.start()

    def close_down(self) -> None:
        """Stop estimating."""
        self._request = None
        self._timer.stop()
        self.latest.stop()

    def _ask(self) -> None:
        if self._request is None:
            return
        try:
            request = self._request()
        except TesseraError:
            # Run shows what is missing; until then there is nothing to estimate.
            self.hide()
        except Exception as error:
            self._show_failure(error)
        else:
            if not self.text():
                self._say("Estimating time and memory …")
            self.latest.ask(None, estimate_cost(request, self._is_busy))

    def _show(self, _: None, forecast: Forecast | None) -> None:
        if forecast is None:
            self.hide()
        else:
            self._say(forecast.sentence, forecast.is_too_large)

    def _show_failure(self, error: Exception) -> None:
        is_known = isinstance(error, TesseraError)
        self._say(str(error) if is_known else "The time is unknown.", is_warning=is_known)

    def _say(self, text: str, is_warning: bool = False) -> None:
        self.setText(text)
        self.setStyleSheet(NOTE_STYLE if is_warning else PLAIN_STYLE)
        self.show()
