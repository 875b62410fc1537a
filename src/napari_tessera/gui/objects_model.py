"""A table of objects that makes a cell only when it is seen, so that thousands of rows open at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_tessera.spec import Table

COLUMNS = {"label": "Object", "state": "State", "iou": "IoU", "truth": "Truth", "prediction": "Prediction"}
MISTAKES_FIRST = ("missed", "invented", "merged", "split", "found")
TOP = QModelIndex()


class ObjectsModel(QAbstractTableModel):
    """The objects of a comparison, mistakes first.

    Attributes
    ----------
    labels : (N,) array
        Number of the object in each row.
    """

    def __init__(self, table: Table) -> None:
        super().__init__()
        states = table["state"].tolist() if table else []
        order = np.argsort([MISTAKES_FIRST.index(state) for state in states], kind="stable").astype(int)
        self._columns = [table[name][order] for name in COLUMNS] if table else []
        self.labels = self._columns[0] if self._columns else np.empty(0, int)

    def row_of(self, label: int) -> int | None:
        """Return the row of an object, or None."""
        rows = np.flatnonzero(self.labels == label)
        return int(rows[0]) if len(rows) else None

    def rowCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of objects."""
        return 0 if parent.isValid() else len(self.labels)

    def columnCount(self, parent: QModelIndex = TOP) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text."""
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
    """Write a value for a cell; 0 stands for no object and becomes a dash."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.2f}"
    return "–" if isinstance(value, (int, np.integer)) and value == 0 else str(value)
