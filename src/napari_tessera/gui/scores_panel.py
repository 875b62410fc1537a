"""How well labels agree with the truth: overall scores, and a row for every object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_tessera.spec import Table

STATE_COLOURS = {
    "found": "#009e73",
    "missed": "#d55e00",
    "invented": "#e69f00",
    "split": "#56b4e9",
    "merged": "#cc79a7",
}
"""The palette of Okabe & Ito, which colour-blind readers can tell apart."""

OBJECT_COLUMNS = {"label": "Object", "state": "State", "iou": "IoU", "truth": "Truth", "prediction": "Prediction"}
SCORES_PER_ROW = 4
MISTAKES_FIRST = ("missed", "invented", "merged", "split", "found")


class ScoresPanel(QWidget):
    """Scores and objects of one comparison; `object_chosen` comes with the number of the object in the clicked row."""

    object_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        self.objects = QTableWidget(0, len(OBJECT_COLUMNS))
        self.objects.setHorizontalHeaderLabels(list(OBJECT_COLUMNS.values()))
        if (numbers := self.objects.verticalHeader()) is not None:
            numbers.setVisible(False)
        if (header := self.objects.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.objects.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.objects.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.objects.setMinimumHeight(170)
        self.objects.cellClicked.connect(self._on_clicked)
        self._rows: dict[int, int] = {}
        self._labels: list[int] = []
        self._scores: dict[str, QLabel] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._grid)
        layout.addWidget(self.legend)
        layout.addWidget(self.objects, 1)
        self.hide()

    def show_comparison(self, scores: Mapping[str, Any], table: Table) -> None:
        """Show the scores, and the objects with the mistakes first."""
        for number, (title, text) in enumerate(headline(scores).items()):
            self._say(number, title, text)
        counts = {state: int(np.count_nonzero(table["state"] == state)) for state in STATE_COLOURS} if table else {}
        parts = [
            f'<span style="color:{STATE_COLOURS[state]}">■</span> {count} {state}' for state, count in counts.items()
        ]
        self.legend.setText(" &nbsp; ".join(parts))
        self._fill(table)
        self.show()

    def select(self, label: int) -> None:
        """Select an object's row."""
        if label in self._rows:
            self.objects.selectRow(self._rows[label])

    def _say(self, number: int, title: str, text: str) -> None:
        if title not in self._scores:
            row, column = divmod(number, SCORES_PER_ROW)
            self._scores[title] = QLabel()
            self._grid.addWidget(QLabel(title), 2 * row, column)
            self._grid.addWidget(self._scores[title], 2 * row + 1, column)
        self._scores[title].setText(f"<b>{text}</b>")

    def _fill(self, table: Table) -> None:
        order = _mistakes_first(table)
        self.objects.setRowCount(len(order))
        self._labels = [int(table["label"][entry]) for entry in order]
        self._rows = {label: row for row, label in enumerate(self._labels)}
        for row, entry in enumerate(order):
            for column, name in enumerate(OBJECT_COLUMNS):
                item = QTableWidgetItem(_written(table[name][entry]))
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.objects.setItem(row, column, item)

    def _on_clicked(self, row: int, _: int) -> None:
        self.object_chosen.emit(self._labels[row])


def headline(scores: Mapping[str, Any]) -> dict[str, str]:
    """Choose the scores that are read first."""
    return {
        "Dice": f"{scores['dice']:.3f}",
        "IoU": f"{scores['iou']:.3f}",
        "AP 0.5": f"{scores['ap']['0.50']:.3f}",
        "Mean AP": f"{scores['map']:.3f}",
        "F1": f"{scores['f1']:.3f}",
        "PQ": f"{scores['pq']:.3f}",
        "Splits": str(scores["splits"]),
        "Merges": str(scores["merges"]),
    }


def _mistakes_first(table: Table) -> np.ndarray:
    if not table:
        return np.empty(0, int)
    rank = {state: number for number, state in enumerate(MISTAKES_FIRST)}
    return np.argsort([rank[state] for state in table["state"].tolist()], kind="stable")


def _written(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.2f}"
    return "–" if isinstance(value, (int, np.integer)) and value == 0 else str(value)
