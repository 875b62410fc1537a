"""The table of a result follows edits of its labels by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtWidgets import QPushButton

from napari_tessera.core.jobs import Job
from napari_tessera.core.result import LabelImage
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.add import feature_table
from napari_tessera.gui.layers.read import array_of, labels_of
from napari_tessera.gui.method.run_request import RunRequest, measuring
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.worker import LatestOnlyWorker

MEASURE_AFTER_MS = 600
LARGEST_MEASURED_PX = 2**24
"""Larger labels are measured when the user presses the button."""
HELP = "Measure the objects again: labels were edited after the run, and the table is that of the run."


class TableFollower(QPushButton):
    """Measures results again after edits by hand: by itself if that is quick, and otherwise when it is pressed."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__("Measure again")
        self.setToolTip(tooltip(HELP))
        self.viewer = viewer
        self._requests: WeakKeyDictionary[Labels, tuple[ref[Layer], RunRequest]] = WeakKeyDictionary()
        self._edited: list[Labels] = []
        self._dims: tuple[Any, ...] = ()
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self._timer = single_shot(self, MEASURE_AFTER_MS, self._measure)
        self.clicked.connect(self._measure)
        self.hide()

    def follow(self, layers: Sequence[Layer], image: Layer, request: RunRequest) -> None:
        """Follow edits of the layers of a result that have a table of objects."""
        self._dims = self._dims_shown()
        for layer in layers:
            if isinstance(layer, Labels) and "num_pixels" in layer.features:
                # The arrays stay with their layers, which the user may delete.
                self._requests[layer] = (ref(image), replace(request, image=None, inputs={}, region=None, recipe=None))
                layer.events.paint.connect(self._on_edited)
                layer.events.set_data.connect(self._on_redrawn)

    def close_down(self) -> None:
        """Stop following."""
        for layer in list(self._requests):
            layer.events.paint.disconnect(self._on_edited)
            layer.events.set_data.disconnect(self._on_redrawn)
        self._requests.clear()
        self._timer.stop()
        self.latest.stop()

    def _dims_shown(self) -> tuple[Any, ...]:
        dims = self.viewer.dims
        return (dims.point, dims.order, dims.ndisplay)

    def _on_redrawn(self, event: Any) -> None:
        """Take a layer as edited that is drawn anew although the same plane is shown, as after Ctrl-Z."""
        dims, self._dims = self._dims, self._dims_shown()
        if dims == self._dims:
            self._on_edited(event)

    def _on_edited(self, event: Any) -> None:
        layer = event.source
        if layer not in self._edited:
            self._edited.append(layer)
        if layer.data.size <= LARGEST_MEASURED_PX:
            self._timer.start()
        else:
            self.show()

    def _measure(self) -> None:
        self.hide()
        self._edited = [layer for layer in self._edited if layer in self.viewer.layers and layer in self._requests]
        if self._edited:
            layer = self._edited.pop()
            image_of, request = self._requests[layer]
            image = image_of()
            request = replace(request, image=None if image is None else array_of(image))
            self.latest.ask(layer, _measured(request, labels_of(layer, request.axes), layer.features))

    def _show(self, layer: Labels, features: Any) -> None:
        layer.features = features
        if self._edited:
            self._measure()


def _measured(request: RunRequest, labels: np.ndarray, features: Any) -> Job[Any]:
    """Return new features; columns that are not measured, such as the score, stay with the label of their object."""
    table = yield from measuring(request, labels)
    measured = feature_table(LabelImage("", labels, request.spatial, "objects", table))
    if measured is None or not len(measured):
        return features.iloc[:0]
    own = features.set_index("index")[[name for name in features if name != "index" and name not in measured]]
    joined = measured.join(own, on="index")
    texts = [name for name in own if own[name].dtype.kind not in "biuf"]
    joined[texts] = joined[texts].fillna("")
    return joined[[name for name in features if name in joined]]
