"""How well labels agree with the truth: overall scores, and a row for every object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import QModelIndex, Signal
from qtpy.QtWidgets import QAbstractItemView, QGridLayout, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from napari_tessera.gui.objects_model import ObjectsModel
from napari_tessera.spec import Table

STATE_COLOURS = {
    "found": "#009e73",
    "missed": "#d55e00",
    "invented": "#e69f00",
    "split": "#56b4e9",
    "merged": "#cc79a7",
}
"""The palette of Okabe & Ito, which colour-blind readers can tell apart."""

SCORES_PER_ROW = 4


class ScoresPanel(QWidget):
    """Scores and objects of one comparison; `object_chosen` comes with the number of the object in the clicked row."""

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
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._grid)
        layout.addWidget(self.legend)
        layout.addWidget(self.objects, 1)
        self.hide()

    def show_comparison(self, scores: Mapping[str, Any], table: Table) -> None:
        """Show the scores, and the objects with the mistakes first."""
        for number, (title, text) in enumerate(headline(scores).items()):
            self._say(number, title, text)
        states = table["state"] if table else np.empty(0, str)
        counts = {state: int(np.count_nonzero(states == state)) for state in STATE_COLOURS}
        parts = [
            f'<span style="color:{STATE_COLOURS[state]}">■</span>&nbsp;{n}&nbsp;{state}' for state, n in counts.items()
        ]
        self.legend.setText("&nbsp;&nbsp; ".join(parts))
        self.model = ObjectsModel(table)
        self.objects.setModel(self.model)
        self.show()

    def select(self, label: int) -> None:
        """Select an object's row."""
        row = self.model.row_of(label)
        if row is not None:
            self.objects.selectRow(row)

    def _say(self, number: int, title: str, text: str) -> None:
        if title not in self._scores:
            row, column = divmod(number, SCORES_PER_ROW)
            self._scores[title] = QLabel()
            self._grid.addWidget(QLabel(title), 2 * row, column)
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
