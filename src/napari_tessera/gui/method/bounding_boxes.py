"""Bounding boxes of objects as a Shapes layer, and the button that shows and hides it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from qtpy.QtWidgets import QPushButton

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.result import PX, column_title
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import record_of
from napari_tessera.gui.qt.worker import Runner

COLUMNS = tuple(column_title(f"box_{corner}", PX) for corner in ("y0", "x0", "y1", "x1"))
TO_CENTRE = -0.5
"""Boxes are measured from the edge of the first pixel, and a layer's coordinates from its centre."""
SHARE_OF_SIDE, THINNEST_PX = 0.04, 0.5
MOST_WITH_TEXT = 200
"""More texts in a plane are unreadable, and take napari seconds to draw."""
CLASS_COLOURS = ("#f0e442", "#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#d55e00")
"""Colours of Okabe and Ito, which colour-blind users can distinguish."""


def has_boxes(layer: Layer) -> bool:
    """Return whether a layer's table has boxes."""
    return isinstance(layer, Labels) and len(layer.features) > 0 and set(COLUMNS) <= set(layer.features)


def boxes_layer(layer: Labels) -> Shapes:
    """Make a Shapes layer of the boxes of a layer's objects, without adding it to a viewer.

    In a volume, a box is drawn on every plane that it spans; in a time series, at its object's time.
    """
    features = layer.features.reset_index(drop=True)
    rows, corners = [], []
    for row, rectangle in _rectangles(features.to_dict("list"), axes_of(layer)):
        rows.append(row)
        corners.append(rectangle)
    rectangles = np.array(corners)
    of_boxes = features.iloc[rows].reset_index(drop=True)
    sides = features[[*COLUMNS[2:]]].to_numpy() - features[[*COLUMNS[:2]]].to_numpy()
    return Shapes(
        rectangles,
        shape_type="rectangle",
        name=f"{layer.name} · boxes",
        features=of_boxes,
        face_color="transparent",
        edge_color="class" if "class" in of_boxes else CLASS_COLOURS[0],
        edge_color_cycle=list(CLASS_COLOURS),
        edge_width=max(SHARE_OF_SIDE * float(np.median(sides)), THINNEST_PX),
        text=_text(of_boxes, _most_in_a_plane(rectangles)),
        **_place_of(layer),
    )


def axes_of(layer: Labels) -> str:
    """Return one letter for each axis of a layer that Tessera made."""
    record = record_of(layer)
    axes = "ZYX"[-layer.ndim :] if record is None else str(record["axes"])
    return axes if len(axes) == layer.ndim else axes.replace("C", "")


def _rectangles(table: dict[str, list[Any]], axes: str) -> Iterator[tuple[int, list[list[float]]]]:
    """Yield the row and the four corners of each box, once for every plane that it spans."""
    for row, (top, left, bottom, right) in enumerate(zip(*(table[name] for name in COLUMNS), strict=True)):
        across = [_places(table, axis.lower(), row) for axis in axes[:-2]]
        plane = [[top, left], [top, right], [bottom, right], [bottom, left]]
        for before in itertools.product(*across):
            yield row, [[*before, y + TO_CENTRE, x + TO_CENTRE] for y, x in plane]


def _places(table: dict[str, list[Any]], axis: str, row: int) -> range:
    """Return the indices along an axis at which an object's box is drawn."""
    low, high = (column_title(f"box_{axis}{end}", PX) for end in (0, 1))
    if low in table:
        return range(int(table[low][row]), int(np.ceil(table[high][row])))
    place = int(table[axis][row]) if axis in table else 0
    return range(place, place + 1)


def _most_in_a_plane(rectangles: np.ndarray) -> int:
    """Count the boxes of the fullest plane, from (N, 4, ndim) corners."""
    _, counts = np.unique(rectangles[:, 0, :-2], axis=0, return_counts=True)
    return int(counts.max())


def _text(features: Any, most_in_a_plane: int) -> dict[str, Any] | None:
    if not {"class", "score"} <= set(features):
        return None
    return {
        "string": "{class} {score:.2f}",
        "size": 8,
        "color": "white",
        "anchor": "upper_left",
        "visible": most_in_a_plane <= MOST_WITH_TEXT,
    }


def _place_of(layer: Labels) -> dict[str, Any]:
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


SHOW, HIDE = "Show boxes", "Hide boxes"
HELP = "The box of each object with its class and score, as a layer of rectangles."


class BoxesButton(QPushButton):
    """Shows and hides the boxes of the last result; the layer is made at the first click."""

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
        """Show the button if one of these layers has boxes; the first such layer is used."""
        self._follow(None)
        self._labels = next((layer for layer in layers if isinstance(layer, Labels) and has_boxes(layer)), None)
        self.refresh()

    def close_down(self) -> None:
        """Stop, and forget the layers."""
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
        # napari shows the features under the mouse of the active layer only; the objects have more than the boxes.
        self.viewer.layers.selection.active = self._labels
        self.refresh()

    def _follow(self, boxes: Shapes | None) -> None:
        if self.boxes is not None:
            self.boxes.events.visible.disconnect(self.refresh)
        if boxes is not None:
            boxes.events.visible.connect(self.refresh)
        self.boxes = boxes

    def refresh(self, *_: Any) -> None:
        """Update the button after layers were shown, hidden or deleted."""
        has_labels = self._labels is not None and self._labels in self.viewer.layers
        are_seen = self.boxes is not None and self.boxes in self.viewer.layers and self.boxes.visible
        self.setText(HIDE if are_seen else SHOW)
        self.setVisible(has_labels)


def _making(labels: Labels) -> Job[Shapes]:
    yield Progress(0, 1, "Making the boxes")
    return boxes_layer(labels)
