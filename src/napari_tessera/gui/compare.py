"""The widget Compare with truth: scores, a table of objects with mistakes first, and a layer of mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils import DirectLabelColormap
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QGridLayout, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.result import PX, column_title
from napari_tessera.core.spec import Table
from napari_tessera.gui.form.text import time_taken, tooltip
from napari_tessera.gui.layers.read import Placement, camera_of
from napari_tessera.gui.method.run_request import RunRequest, scoring
from napari_tessera.gui.method.widget import MethodWidget, RunResult
from napari_tessera.gui.qt.in_steps import Steps
from napari_tessera.gui.qt.layout import fill
from napari_tessera.gui.qt.worker import showing_errors, shown_by

COLUMNS = {"label": "Object", "state": "State", "iou": "IoU", "truth": "Truth", "prediction": "Prediction"}
MISTAKES_FIRST = ("missed", "invented", "merged", "split", "found")
TOP = QModelIndex()


class ObjectsModel(QAbstractTableModel):
    """The objects of a comparison, mistakes first; `labels` has the number of the object in each row."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        states = table["state"].tolist() if table else []
        order = np.argsort([MISTAKES_FIRST.index(state) for state in states], kind="stable").astype(int)
        self._columns = [table[name][order] for name in COLUMNS] if table else []
        self.labels = self._columns[0] if self._columns else np.empty(0, int)

    def rowCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of objects."""
        return 0 if parent.isValid() else len(self.labels)

    def columnCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, made when the cell is shown: thousands of rows open at once."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return written(self._columns[index.column()][index.row()])

    def headerData(self, section: int, way: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's title."""
        is_title = way == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return list(COLUMNS.values())[section] if is_title else None


def written(value: Any) -> str:
    """Return a value as the text of a cell; 0 means no object, and becomes a dash."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.2f}"
    return "–" if isinstance(value, (int, np.integer)) and value == 0 else str(value)


STATE_COLOURS = {
    "found": "#009e73",
    "missed": "#d55e00",
    "invented": "#e69f00",
    "split": "#56b4e9",
    "merged": "#cc79a7",
}
"""Colours of Okabe and Ito, which colour-blind users can distinguish."""
SCORES_PER_ROW = 4
SCORES_HELP = {
    "Dice": "Overlap of all pixels of objects: twice the shared pixels by the pixels of both.",
    "IoU": "Overlap of all pixels of objects (intersection over union): shared pixels by pixels of either.",
    "AP 0.5": "Objects found, as a share of all found, missed and invented. An object is found if it overlaps by half.",
    "Mean AP": "The same, averaged over overlaps of 0.5 to 0.95.",
    "F1": "Objects found in both, as a share of the mean number of objects.",
    "PQ": "Panoptic quality: F1 times the mean overlap of the objects that were found.",
    "Splits": "True objects that were found in parts.",
    "Merges": "Predicted objects that join several true ones.",
}


class ScoresPanel(QWidget):
    """Scores and objects of one comparison; `object_chosen` is emitted with the number of the clicked object."""

    object_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self._scores: dict[str, QLabel] = {}
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        self.model = ObjectsModel({})
        self.objects = self._make_table()
        layout = QVBoxLayout(self)
        fill(layout, self._grid, self.legend, self.objects)
        layout.setStretchFactor(self.objects, 1)
        self.hide()

    def show_comparison(self, scores: Mapping[str, Any], table: Table) -> None:
        """Show the scores and the table of objects, mistakes first."""
        for number, (title, text) in enumerate(headline(scores).items()):
            self._say(number, title, text)
        states = table["state"] if table else np.empty(0, str)
        counts = {state: int(np.count_nonzero(states == state)) for state in STATE_COLOURS}
        span = '<span style="color:{}">■</span>&nbsp;{}&nbsp;{}'
        parts = [span.format(STATE_COLOURS[state], count, state) for state, count in counts.items()]
        self.legend.setText("&nbsp;&nbsp; ".join(parts))
        self.model = ObjectsModel(table)
        self.objects.setModel(self.model)
        self.show()

    def select(self, label: int) -> None:
        """Select an object's row."""
        for row in np.flatnonzero(self.model.labels == label):
            self.objects.selectRow(int(row))

    def _say(self, number: int, title: str, text: str) -> None:
        if title not in self._scores:
            row, column = divmod(number, SCORES_PER_ROW)
            self._scores[title] = QLabel()
            name = QLabel(title)
            for label in (name, self._scores[title]):
                label.setToolTip(tooltip(SCORES_HELP[title]))
            self._grid.addWidget(name, 2 * row, column)
            self._grid.addWidget(self._scores[title], 2 * row + 1, column)
        self._scores[title].setText(f"<b>{text}</b>")

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        if (numbers := table.verticalHeader()) is not None:
            numbers.setVisible(False)
        if (header := table.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setStretchLastSection(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setMinimumHeight(170)
        table.clicked.connect(self._on_clicked)
        return table

    def _on_clicked(self, index: QModelIndex) -> None:
        self.object_chosen.emit(int(self.model.labels[index.row()]))


def headline(scores: Mapping[str, Any]) -> dict[str, str]:
    """Return the main scores as text, by title."""
    main = {"Dice": scores["dice"], "IoU": scores["iou"], "AP 0.5": scores["ap"]["0.50"], "Mean AP": scores["map"]}
    main |= {"F1": scores["f1"], "PQ": scores["pq"]}
    counts = {"Splits": str(scores["splits"]), "Merges": str(scores["merges"])}
    return {title: f"{score:.3f}" for title, score in main.items()} | counts


@dataclass(frozen=True)
class Comparison(RunResult):
    """A result with its scores."""

    scores: dict[str, Any]


class CompareWidget(MethodWidget):
    """Dock widget that compares labels with the truth."""

    method_name = "compare"

    def build(self) -> Steps:
        """Make the form, and the panel of scores."""
        self.panel = ScoresPanel()
        self.errors: Labels | None = None
        yield from super().build()
        self.panel.object_chosen.connect(self.go_to)

    def sections(self) -> list[QWidget]:
        """Return the sections of the widget from top to bottom."""
        return [*super().sections(), self.panel]

    def request(self, recipe: Any = None) -> RunRequest:
        """Read the run request from the widget; raise InputError if both boxes have the same layer."""
        truth, prediction = (box.layer for box in self.inputs.boxes.values())
        if truth is prediction and truth is not None:
            raise InputError(
                f"Truth and Prediction are both {truth.name!r}, and labels are always equal to themselves. Choose "
                "another layer in one of the two boxes."
            )
        return super().request(recipe)

    def job(self, request: RunRequest, placement: Placement) -> Job[Comparison]:
        """Find the mistakes, then the scores."""
        run = yield from subtask(super().job(request, placement), 0, 2, 3)
        scores = yield from subtask(scoring(request), 2, 1, 3)
        yield Progress(99, 100, "Colouring")
        for layer, image in zip(run.layers, run.result.images, strict=True):
            # napari colours labels of up to 16 bits on the graphics card; wider labels take seconds.
            if image.data.max() <= np.iinfo(np.uint16).max:
                layer.data = image.data.astype(np.uint16)
            layer.colormap = colour_states(image.table)
        return Comparison(run.image_name, run.result, run.layers, scores)

    def show_result(self, run: RunResult) -> None:
        """Add the layer, connect clicks on its objects, and fill the table."""
        super().show_result(run)
        assert isinstance(run, Comparison)
        self.errors = run.layers[0]
        self.errors.mouse_drag_callbacks.append(self._on_click)
        self.panel.show_comparison(run.scores, run.result.table)
        text = headline(run.scores)
        scores = f"AP at 0.5 is {text['AP 0.5']}, mean AP {text['Mean AP']}, after {time_taken(self.seconds_waited)}."
        self.bar.say(f"{scores} Click an object to see its row.")

    @showing_errors
    def go_to(self, label: int) -> None:
        """Select an object in the layer, and centre the view on it."""
        if self.errors is None or self.errors not in self.viewer.layers:
            return
        self.errors.selected_label = label
        row = self.errors.features[self.errors.features["index"] == label]
        names = [column_title(f"bbox-{side}", PX) for side in range(4)]
        if len(row) == 0 or not all(name in row for name in names) or self.errors.ndim != 2:
            return
        top, left, bottom, right = (float(row[name].iloc[0]) for name in names)
        world = self.errors.data_to_world(((top + bottom - 1) / 2, (left + right - 1) / 2))
        camera_of(self.viewer).center = (0.0, *world)

    def _on_click(self, layer: Labels, event: Any) -> Iterator[None]:
        with shown_by(self.show_error):
            label = layer.get_value(
                event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
            )
            if label:
                self.panel.select(int(label))
        yield


def colour_states(table: dict[str, Any]) -> DirectLabelColormap:
    """Give every object the colour of its state."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    if table:
        states = zip(table["label"].tolist(), table["state"].tolist(), strict=True)
        colours |= {label: STATE_COLOURS[state] for label, state in states}
    return DirectLabelColormap(color_dict=colours)
