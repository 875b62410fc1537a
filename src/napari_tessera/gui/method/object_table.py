"""The table of a result follows edits of its labels by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QPushButton

from napari_tessera.core.jobs import Job
from napari_tessera.core.method import Method
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


class FollowedTables(QObject):
    """Follows the results of one viewer: their tables are measured again after edits by hand, also with no widget open.

    Attributes
    ----------
    changed : Signal
        Emitted when another layer waits for the button, or none does any more.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = ref(viewer)
        self._requests: WeakKeyDictionary[Labels, tuple[ref[Layer] | None, RunRequest]] = WeakKeyDictionary()
        self._edited: list[Labels] = []
        self._measured: Labels | None = None
        self._waiting: WeakSet[Labels] = WeakSet()
        self._dims: tuple[Any, ...] = ()
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self._timer = single_shot(self, MEASURE_AFTER_MS, self._measure)

    def follow(self, layers: Sequence[Layer], image: Layer | None, request: RunRequest) -> None:
        """Follow edits of the layers of a result that have a table of objects; intensities are those of `image`."""
        self._dims = self._dims_shown()
        for layer in layers:
            if isinstance(layer, Labels) and "num_pixels" in layer.features:
                # The arrays stay with their layers, which the user may delete.
                freed = replace(request, image=None, intensities=None, inputs={}, region=None, recipe=None)
                self._requests[layer] = (None if image is None else ref(image), freed)
                layer.events.paint.connect(self._on_edited)
                layer.events.set_data.connect(self._on_redrawn)

    def has_waiting(self, method: Method) -> bool:
        """Return whether a large result of a method was edited, and waits for the button."""
        return any(self._is_shown(layer) and self._requests[layer][1].method is method for layer in self._waiting)

    def measure_waiting(self) -> None:
        """Measure the large results as well."""
        self._edited += [layer for layer in self._waiting if layer not in self._edited]
        self._waiting.clear()
        self.changed.emit()
        self._measure()

    def _is_shown(self, layer: Labels) -> bool:
        viewer = self._viewer()
        return viewer is not None and layer in viewer.layers

    def _dims_shown(self) -> tuple[Any, ...]:
        viewer = self._viewer()
        return () if viewer is None else (viewer.dims.point, viewer.dims.order, viewer.dims.ndisplay)

    def _on_redrawn(self, event: Any) -> None:
        """Take a layer as edited that is drawn anew although the same plane is shown, as after Ctrl-Z."""
        dims, self._dims = self._dims, self._dims_shown()
        if dims == self._dims:
            self._on_edited(event)

    def _on_edited(self, event: Any) -> None:
        layer = event.source
        if layer.data.size > LARGEST_MEASURED_PX:
            self._waiting.add(layer)
            self.changed.emit()
            return
        if layer not in self._edited:
            self._edited.append(layer)
        self._timer.start()

    def _measure(self) -> None:
        if self._measured is not None and self._measured not in self._edited:
            self._edited.insert(0, self._measured)  # the worker drops it for the next one
        self._measured = None
        self._edited = [layer for layer in self._edited if self._is_shown(layer)]
        if self._edited:
            layer = self._measured = self._edited.pop()
            image_of, request = self._requests[layer]
            image = None if image_of is None else image_of()
            array = None if image is None else array_of(image)
            self.latest.ask(layer, _measured(request, labels_of(layer, request.axes), array, layer.features))
        else:
            self.latest.stop()

    def _show(self, layer: Labels, features: Any) -> None:
        layer.features = features
        if self._measured is layer:
            self._measured = None
        self._measure()


_TABLES: WeakKeyDictionary[LayerList, FollowedTables] = WeakKeyDictionary()


def tables_of(viewer: ViewerModel) -> FollowedTables:
    """Return what follows the results of a viewer."""
    if viewer.layers not in _TABLES:
        _TABLES[viewer.layers] = FollowedTables(viewer)
    return _TABLES[viewer.layers]


class MeasureAgainButton(QPushButton):
    """Measures large results of a method again; it is shown after they were edited by hand."""

    def __init__(self, viewer: ViewerModel, method: Method) -> None:
        super().__init__("Measure again")
        self.setToolTip(tooltip(HELP))
        self.method = method
        self.tables = tables_of(viewer)
        self.tables.changed.connect(self.refresh)
        self.clicked.connect(self.tables.measure_waiting)
        if not self.tables.has_waiting(method):  # shown without a parent, the button would be a window
            self.hide()

    def refresh(self) -> None:
        """Show the button if a result waits for it."""
        self.setVisible(self.tables.has_waiting(self.method))


def _measured(request: RunRequest, labels: np.ndarray, image: Any, features: Any) -> Job[Any]:
    """Return new features; columns that are not measured, such as the score, stay with the label of their object."""
    axes = request.axes if request.method.takes_image else request.intensity_axes
    table = yield from measuring(labels, request.spatial, image, axes)
    measured = feature_table(LabelImage("", labels, request.spatial, "objects", table))
    if measured is None or not len(measured):
        return features.iloc[:0]
    own = features.set_index("index")[[name for name in features if name != "index" and name not in measured]]
    joined = measured.join(own, on="index")
    texts = [name for name in own if own[name].dtype.kind not in "biuf"]
    joined[texts] = joined[texts].fillna("")
    return joined[[name for name in features if name in joined]]
