"""The brushes of a training: a row for each class with what is painted so far, and the size of the brush."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils import CyclicLabelColormap
from napari.utils.colormaps.standardize_color import transform_color
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QShowEvent
from qtpy.QtWidgets import (
    QColorDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_tessera.core.jobs import Job
from napari_tessera.core.sparse_array import count_numbers
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import (
    BACKGROUND,
    MOST_CLASSES,
    class_names,
    colours_of_annotation,
    set_class_names,
)
from napari_tessera.gui.layers.read import camera_of
from napari_tessera.gui.qt.layout import fill
from napari_tessera.gui.qt.worker import LatestOnlyWorker
from napari_tessera.gui.train.running_training import ANYTHING

FIRST_NAMES = {"classes": ["background", "class 1"], "objects": ["background", "object"]}
BRUSH_HELP = "Paint with this number."
OBJECT_HELP = "Paint the next object, with a number that is still free."
COLOUR_HELP = "Choose the colour of this class."
SIZE_HELP = "Size of the brush on the screen, in pixels; it stays when you zoom."
COLOUR_WIDTH_PX = 22
USUAL_AMOUNT = "100,000 px"
"""So that the names of the rows have one width."""
TINIEST_PX = 1e-6
MOST_ROWS, ROW_SPACING_PX = 6, 3
"""More rows scroll."""
PAINTING = ("paint", "fill", "polygon")


COUNT_AFTER_MS = 300


class PaintedAmounts(QObject):
    """Counts the painted pixels of each number in a thread, soon after each change.

    Attributes
    ----------
    counts : list of Counter
        The pixels of each number, for each layer; empty before the first count.
    """

    counted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[Counter[int]] = []
        self._layers: Sequence[Labels] = ()
        self._worker = LatestOnlyWorker()
        self._worker.ready.connect(self._on_ready)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(COUNT_AFTER_MS)
        self._timer.timeout.connect(lambda: self._worker.ask(self._layers, counting(self._layers)))

    def follow(self, layers: Sequence[Labels]) -> None:
        """Count in these layers; without layers, stop."""
        for old, is_new in ((self._layers, False), (layers, True)):
            for layer in old:
                for name in ANYTHING:
                    event = getattr(layer.events, name)
                    (event.connect if is_new else event.disconnect)(self._on_change)
        self._layers, self.counts = tuple(layers), []
        if layers:
            self._timer.start()
        else:
            self._timer.stop()
            self._worker.stop()

    def px(self, number: int) -> int:
        """Return how many pixels are painted with a number."""
        return sum(each[number] for each in self.counts)

    def n_objects(self) -> int:
        """Return how many numbers above the background are painted."""
        return sum(number > BACKGROUND for each in self.counts for number in each)

    def highest(self, layer: Labels) -> int:
        """Return the highest number that is painted on a layer, 0 before the first count."""
        counts = dict(zip(self._layers, self.counts, strict=False)).get(layer)
        return max(counts, default=0) if counts else 0

    def _on_change(self, *_: Any) -> None:
        self._timer.start()

    def _on_ready(self, layers: Sequence[Labels], counts: list[Counter[int]]) -> None:
        if layers == self._layers:
            self.counts = counts
            self.counted.emit()


def counting(layers: Sequence[Labels]) -> Job[list[Counter[int]]]:
    """Count the painted pixels of each number, for each layer."""
    counts = []
    for layer in layers:
        counts.append((yield from count_numbers(layer.data)))
    return counts


FIRST_SIZE_PX, LARGEST_SIZE_PX = 12, 60


class BrushSize(QWidget):
    """The size of the brush on the screen, which stays when the user zooms."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self._layers: Sequence[Labels] = ()
        self._is_fitting = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(1, LARGEST_SIZE_PX)
        self.slider.setValue(FIRST_SIZE_PX)
        self.slider.setToolTip(tooltip(SIZE_HELP))
        fit_in_form(self.slider)
        self.slider.valueChanged.connect(self.fit)
        fill(QHBoxLayout(self), QLabel("Brush"), self.slider)
        camera_of(viewer).events.zoom.connect(self.fit)

    def follow(self, layers: Sequence[Labels]) -> None:
        """Fit the brushes of these layers."""
        for layer in self._layers:
            layer.events.brush_size.disconnect(self._on_size)
        self._layers = tuple(layers)
        self.fit()
        for layer in self._layers:
            layer.events.brush_size.connect(self._on_size)

    def fit(self, *_: Any) -> None:
        """Give each brush the size on the screen."""
        self._is_fitting = True
        for layer in self._layers:
            layer.brush_size = max(1, round(self.slider.value() / self._screen_px(layer)))
        self._is_fitting = False

    def shut_down(self) -> None:
        """Follow no layer and no camera any more."""
        self.follow(())
        camera_of(self.viewer).events.zoom.disconnect(self.fit)

    def _screen_px(self, layer: Labels) -> float:
        """Return how many pixels of the screen one of the layer takes."""
        return max(camera_of(self.viewer).zoom * abs(float(layer.scale[-1])), TINIEST_PX)

    def _on_size(self, event: Any) -> None:
        """Take the size that was chosen among napari's layer controls."""
        if not self._is_fitting:
            self.slider.setValue(round(event.source.brush_size * self._screen_px(event.source)))


class BrushRow(QWidget):
    """One class: its brush, its name, how much of it is painted, its colour."""

    def __init__(self, number: int, name: str, colour: str | None) -> None:
        super().__init__()
        self.number = number
        self.brush = QToolButton()
        self.brush.setText(f"✎ {number}" if colour or number == BACKGROUND else f"✎ {number}…")
        self.brush.setToolTip(BRUSH_HELP if colour or number == BACKGROUND else OBJECT_HELP)
        self.brush.setCheckable(True)
        self.brush.setStyleSheet("QToolButton:checked { background-color: #2374c6; color: white; }")
        self.name = QLineEdit(name)
        self.name.setToolTip(tooltip("Name of this class."))
        self.amount = QLabel()
        self.amount.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.amount.setMinimumWidth(self.amount.fontMetrics().horizontalAdvance(USUAL_AMOUNT))
        self.colour = QPushButton()
        self.colour.setFixedWidth(COLOUR_WIDTH_PX)
        self.colour.setToolTip(COLOUR_HELP)
        self.colour.setHidden(colour is None)
        self.colour.setStyleSheet(f"QPushButton {{ background-color: {colour}; border-radius: 3px; }}")
        fill(QHBoxLayout(self), self.brush, self.name, self.amount, self.colour)


class BrushBox(QWidget):
    """The classes of the annotation layers: brush, name, painted amount and colour of each."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.task = "objects"
        self.layers: Sequence[Labels] = ()
        self.colours: dict[int, str] = {}
        self.rows: list[BrushRow] = []
        self._names = {task: list(names) for task, names in FIRST_NAMES.items()}
        content = QWidget()
        self._rows = QVBoxLayout(content)
        fill(self._rows, spacing=ROW_SPACING_PX)
        self._area = QScrollArea()
        self._area.setWidget(content)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.brush_size = BrushSize(viewer)
        self.amounts = PaintedAmounts()
        self.amounts.counted.connect(self._show_amounts)
        self.add_button = QPushButton("+ One more class")
        self.add_button.clicked.connect(self.add)
        last = QHBoxLayout()
        last.addWidget(self.brush_size, 1)
        last.addWidget(self.add_button)
        fill(QVBoxLayout(self), self._area, last, spacing=4)
        viewer.layers.selection.events.active.connect(self._show_active)
        self._show()

    @property
    def names(self) -> list[str]:
        """Names of 1, 2 and so on."""
        return list(self._names[self.task])

    def follow(self, layers: Sequence[Labels], task: str) -> None:
        """Show the classes of these layers; a layer without names gets the names shown."""
        known = next((names for layer in layers if (names := class_names(layer)) and len(names) > 1), None)
        if list(layers) == list(self.layers) and task == self.task:
            return
        for layer in self.layers:
            for event in (layer.events.mode, layer.events.selected_label):
                event.disconnect(self._show_active)
        self.layers, self.task = tuple(layers), task
        for layer in self.layers:
            for event in (layer.events.mode, layer.events.selected_label):
                event.connect(self._show_active)
        self.brush_size.follow(self.layers)
        self.amounts.follow(self.layers)
        if known is not None:
            self._names[task] = list(known) if task == "classes" else list(known[:2])
        self._show()

    def shut_down(self) -> None:
        """Follow no layer and no viewer any more."""
        self.follow((), self.task)
        self.brush_size.shut_down()
        self.viewer.layers.selection.events.active.disconnect(self._show_active)

    def add(self) -> None:
        """Add a class."""
        if len(self.names) < MOST_CLASSES:
            self._names[self.task].append(f"class {len(self.names)}")
            self._write()
            self._show()

    def rename(self, number: int, name: str) -> None:
        """Name a class; commas, which separate names in lists, are replaced."""
        self._names[self.task][number - 1] = name.replace(",", " ").strip() or f"class {number - 1}"
        self._write()

    def recolour(self, number: int, colour: str) -> None:
        """Give a class another colour."""
        self.colours[number] = colour
        self._write()
        self._show()

    def colormap(self) -> CyclicLabelColormap:
        """Return the chosen colours of the classes."""
        colours = colours_of_annotation().colors.copy()
        for number, colour in self.colours.items():
            colours[number] = transform_color(colour)[0]
        return CyclicLabelColormap(colors=colours)

    def colour_of(self, number: int) -> str:
        """Return the colour of a class, such as "#e69f00"."""
        red, green, blue = np.round(255 * self.colormap().map(number)[:3]).astype(int).tolist()
        return QColor(red, green, blue).name()

    def _write(self) -> None:
        for layer in self.layers:
            if class_names(layer) is not None:
                set_class_names(layer, self.names)
            if self.task == "classes" and self.colours:
                layer.colormap = self.colormap()

    def _show(self) -> None:
        for row in self.rows:
            self._rows.removeWidget(row)
            row.hide()
            row.deleteLater()
        is_classes = self.task == "classes"
        self.rows = []
        for number, name in enumerate(self.names, start=1):
            row = BrushRow(number, name, self.colour_of(number) if is_classes else None)
            row.brush.clicked.connect(partial(self._on_brush, number))
            row.name.editingFinished.connect(partial(self._on_named, row))
            row.colour.clicked.connect(partial(self._on_colour, number))
            self._rows.addWidget(row)
            self.rows.append(row)
        self.add_button.setVisible(is_classes)
        self._fit_rows()
        self._show_active()
        self._show_amounts()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Fit the height to the rows: in napari's style they are taller than before."""
        super().showEvent(event)
        self._fit_rows()

    def _fit_rows(self) -> None:
        row_px = max(row.sizeHint().height() for row in self.rows) + ROW_SPACING_PX
        self._area.setFixedHeight(row_px * min(len(self.rows), MOST_ROWS))

    def _show_active(self, *_: Any) -> None:
        """Mark the brush in use."""
        layer = self.viewer.layers.selection.active
        number = 0
        if isinstance(layer, Labels) and layer in self.layers and str(layer.mode) in PAINTING:
            number = layer.selected_label if self.task == "classes" else min(layer.selected_label, BACKGROUND + 1)
        for row in self.rows:
            row.brush.setChecked(row.number == number)

    def _show_amounts(self) -> None:
        for row in self.rows:
            n_objects, n_px = self.amounts.n_objects(), self.amounts.px(row.number)
            of_objects = f"{n_objects:,} object{'' if n_objects == 1 else 's'}"
            text = of_objects if self.task == "objects" and row.number > BACKGROUND else f"{n_px:,} px"
            row.amount.setText(text if self.amounts.counts else "")

    def _on_brush(self, number: int, *_: Any) -> None:
        active = self.viewer.layers.selection.active
        layer = active if isinstance(active, Labels) and active in self.layers else next(iter(self.layers), None)
        if layer is not None:
            self.viewer.layers.selection.active = layer
            is_object = self.task == "objects" and number > BACKGROUND
            layer.selected_label = max(number, self.amounts.highest(layer) + 1) if is_object else number
            layer.mode = "paint"
        self._show_active()

    def _on_named(self, row: BrushRow) -> None:
        if row.name.text() != self.names[row.number - 1]:
            self.rename(row.number, row.name.text())

    def _on_colour(self, number: int, *_: Any) -> None:
        chosen = QColorDialog.getColor(QColor(self.colour_of(number)), self)
        if chosen.isValid():
            self.recolour(number, chosen.name())
