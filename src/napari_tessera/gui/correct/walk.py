"""Walk through the objects of a layer: a table in any order, next and previous, and what is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.sparse_array import count_numbers, stored_pieces
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import camera_of
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.layout import fill
from napari_tessera.gui.qt.worker import LatestOnlyWorker, showing_errors

CHECKED = "checked"
"""Column of a layer's features with what the user has checked."""
NUMBER, PIXELS = "index", "num_pixels"
KEYS = {"next": "N", "previous": "Shift-N", "check": "Q"}
COUNT_AFTER_MS = 600
LARGEST_COUNTED_PX = 2**26
"""Larger labels are counted once, when they are chosen."""
TOP = QModelIndex()
SORT_HELP = "The order of the objects: by their number, or by a column of the layer's table, such as score or area."
HIDE_HELP = "Leave out what is checked."
CHECK_HELP = "Mark this object as checked, and go to the next one; an object that was checked is unmarked."


class WalkModel(QAbstractTableModel):
    """Rows of objects: a check mark, the number, and the measure by which they are sorted."""

    def __init__(self, rows: pd.DataFrame, measure: str) -> None:
        super().__init__()
        self.numbers = rows[NUMBER].to_numpy(int)
        self._checked = rows[CHECKED].to_numpy(bool)
        self._measure = "" if measure == NUMBER else measure
        self._values = rows[measure].to_numpy()

    def rowCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of objects."""
        return 0 if parent.isValid() else len(self.numbers)

    def columnCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else 2 + bool(self._measure)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, made when it is shown."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        row = index.row()
        if index.column() == 0:
            return "✓" if self._checked[row] else ""
        value = self.numbers[row] if index.column() == 1 else self._values[row]
        return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)

    def headerData(self, section: int, way: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's title."""
        is_title = way == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return ("✓", "Object", title(self._measure))[section] if is_title else None


class Walk(QWidget):
    """The table of a layer's objects, and the buttons to walk through them.

    Attributes
    ----------
    number : int
        The object that is shown; 0 without one.
    """

    failed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.layer: Labels | None = None
        self.number = 0
        self.sort = QComboBox()
        self.is_descending = QCheckBox("Largest first")
        self.hides_checked = QCheckBox("Hide checked")
        self.table = QTableView()
        self.model = WalkModel(_without_rows(), NUMBER)
        self.progress = QLabel()
        self.previous_button, self.next_button = QPushButton("◀  (Shift-N)"), QPushButton("(N)  ▶")
        self.check_button = QPushButton("Checked  (Q)")
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._on_ready)
        self.latest.failed.connect(self.failed.emit)
        self._soon = single_shot(self, COUNT_AFTER_MS, self._count)
        self._lay_out()

    def follow(self, layer: Labels | None) -> None:
        """Show the objects of a layer; without a table of its own it gets one, with the pixels of each object."""
        for each, is_new in ((self.layer, False), (layer, True)):
            if each is not None:
                change = "connect" if is_new else "disconnect"
                getattr(each.events.features, change)(self.refresh)
                for event in (each.events.paint, each.events.set_data):
                    getattr(event, change)(self._on_painted)
                for name, key in KEYS.items():
                    each.bind_key(key, self._key_press(name) if is_new else None, overwrite=True)
        self.layer, self.number = layer, 0
        if layer is not None and NUMBER not in layer.features:
            self._count()
        self.refresh()

    def step(self, by: int) -> None:
        """Go to the next object in the order of the table, or the one before."""
        numbers = self.model.numbers
        if len(numbers):
            at = np.flatnonzero(numbers == self.number)
            first = 0 if by > 0 else len(numbers) - 1
            self.go_to(int(numbers[(at[0] + by) % len(numbers) if len(at) else first]))

    def check(self) -> None:
        """Mark the object as checked and go on, or unmark it."""
        if self.layer is None or self.number == 0:
            self.step(1)
            return
        features = self.layer.features.copy()
        is_it = features[NUMBER] == self.number
        marks = _checked(features)
        was = bool(marks[is_it].any())
        number = self.number
        if not was:
            self.step(1)
        features[CHECKED] = marks.where(~is_it, not was)
        self.layer.features = features
        if was or self.number == number:
            self.refresh()

    @showing_errors
    def go_to(self, number: int) -> None:
        """Show an object in the middle of the view."""
        if self.layer is not None:
            self.number = number
            self.layer.selected_label = number
            self._select_row()
            self.latest.ask("place", _middle_of(self.layer, number))

    @showing_errors
    def refresh(self, *_: Any) -> None:
        """Update the table after the layer's table has changed."""
        rows = _rows(self.layer)
        measures = [name for name in rows if name not in (NUMBER, CHECKED) and rows[name].dtype.kind in "iuf"]
        self._offer([NUMBER, *measures])
        measure = self.sort.currentData() or NUMBER
        n_checked, n_objects = int(rows[CHECKED].sum()), len(rows)
        if self.hides_checked.isChecked():
            rows = rows[~rows[CHECKED].astype(bool)]
        rows = rows.sort_values(measure, ascending=not self.is_descending.isChecked(), kind="stable")
        self.model = WalkModel(rows, measure)
        self.table.setModel(self.model)
        self.progress.setText(f"{n_checked} of {n_objects} checked" if n_objects else "no objects")
        self._select_row()

    def show_error(self, error: Exception) -> None:
        """Pass an error on."""
        self.failed.emit(error)

    def close_down(self) -> None:
        """Stop following."""
        self.follow(None)
        self.latest.stop()

    def _lay_out(self) -> None:
        fit_in_form(self.sort)
        for widget, text in ((self.sort, SORT_HELP), (self.hides_checked, HIDE_HELP), (self.check_button, CHECK_HELP)):
            widget.setToolTip(tooltip(text))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setMinimumHeight(140)
        if (numbers := self.table.verticalHeader()) is not None:
            numbers.setVisible(False)
        if (header := self.table.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setStretchLastSection(True)
        order, options, buttons = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for line, widgets in (
            (order, (QLabel("Sort by"), self.sort)),
            (options, (self.is_descending, self.hides_checked)),
            (buttons, (self.previous_button, self.check_button, self.next_button)),
        ):
            fill(line, *widgets, spacing=6)
        order.setStretch(1, 1)
        fill(QVBoxLayout(self), order, options, self.table, buttons, self.progress, spacing=6)
        self.sort.activated.connect(self.refresh)
        self.is_descending.toggled.connect(self.refresh)
        self.hides_checked.toggled.connect(self.refresh)
        self.table.clicked.connect(lambda index: self.go_to(int(self.model.numbers[index.row()])))
        self.next_button.clicked.connect(lambda: self.step(1))
        self.previous_button.clicked.connect(lambda: self.step(-1))
        self.check_button.clicked.connect(self.check)

    def _key_press(self, name: str) -> Callable[[Labels], None]:
        button = {"next": self.next_button, "previous": self.previous_button, "check": self.check_button}[name]

        def press(_: Labels) -> None:  # napari reads the name of the function
            button.click()

        return press

    def _offer(self, measures: list[str]) -> None:
        if [self.sort.itemData(row) for row in range(self.sort.count())] != measures:
            chosen = self.sort.currentData()
            self.sort.clear()
            for name in measures:
                self.sort.addItem(title(name), name)
            self.sort.setCurrentIndex(max(0, self.sort.findData(chosen)))

    def _select_row(self) -> None:
        rows = np.flatnonzero(self.model.numbers == self.number)
        if len(rows):
            self.table.selectRow(int(rows[0]))
        else:
            self.table.clearSelection()

    def _on_painted(self, *_: Any) -> None:
        """Count again, also after Ctrl-Z, in a table that is only counted; results are measured again elsewhere."""
        layer = self.layer
        if layer is None or layer.data.size > LARGEST_COUNTED_PX:
            return
        if set(layer.features) <= {NUMBER, PIXELS, CHECKED}:
            self._soon.start()

    def _count(self) -> None:
        if self.layer is not None:
            self.latest.ask(self.layer, count_numbers(self.layer.data))

    @showing_errors
    def _on_ready(self, about: Any, found: Any) -> None:
        if about == "place":
            self._show_place(found)
        elif about is self.layer and self.layer is not None:
            counted = pd.DataFrame(sorted(found.items()), columns=[NUMBER, PIXELS])
            before = self.layer.features
            if counted.equals(before.drop(columns=CHECKED, errors="ignore")):
                return
            if CHECKED in before:
                marks = before.set_index(NUMBER)[CHECKED]
                counted[CHECKED] = [bool(marks.get(number, False)) for number in counted[NUMBER]]
            self.layer.features = counted

    def _show_place(self, pixel: np.ndarray | None) -> None:
        if pixel is None or self.layer is None:
            return
        world = self.layer.data_to_world(pixel)
        hidden = self.viewer.dims.ndim - self.layer.ndim
        for axis in self.viewer.dims.not_displayed:
            if axis >= hidden:
                self.viewer.dims.set_point(axis, world[axis - hidden])
        shown = [float(world[axis - hidden]) if axis >= hidden else 0.0 for axis in self.viewer.dims.displayed]
        camera_of(self.viewer).center = (0.0,) * (3 - len(shown)) + tuple(shown)


def title(column: str) -> str:
    """Return the title of a column of a layer's table."""
    return {NUMBER: "number", PIXELS: "pixels"}.get(column, column.replace("_", " "))


def _without_rows() -> pd.DataFrame:
    return pd.DataFrame({NUMBER: np.empty(0, int), CHECKED: np.empty(0, bool)})


def _checked(features: pd.DataFrame) -> pd.Series:
    if CHECKED not in features:
        return pd.Series(False, index=features.index)
    return features[CHECKED].fillna(False).astype(bool)


def _rows(layer: Labels | None) -> pd.DataFrame:
    """Return the table of the objects that a layer has, without the background."""
    if layer is None or NUMBER not in layer.features:
        return _without_rows()
    features = layer.features
    rows = features.assign(**{CHECKED: _checked(features)})[features[NUMBER] > 0]
    return rows[rows[PIXELS] > 0] if PIXELS in rows else rows


def _middle_of(layer: Labels, number: int) -> Job[np.ndarray | None]:
    """Return the pixel of an object that is nearest to its middle."""
    found = []
    for piece in stored_pieces(layer.data):
        yield Progress(0, 1, "Looking")
        inside = np.argwhere(np.asarray(layer.data[piece]) == number)
        found.append(inside + [part.start for part in piece])
    pixels = np.concatenate(found)
    if not len(pixels):
        return None
    return pixels[np.abs(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()]
