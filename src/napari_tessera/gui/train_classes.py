"""Names and colours of the classes: a row for each, that also takes its brush."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils import CyclicLabelColormap
from napari.utils.colormaps.standardize_color import transform_color
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QHBoxLayout, QLineEdit, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_tessera.gui.annotation import MOST_CLASSES, class_names, colours_of_classes, set_class_names
from napari_tessera.gui.wording import tooltip

FIRST_NAMES = {"classes": ["background", "class 1"], "objects": ["background", "object"]}
BRUSH_HELP = "Paint with this number."
COLOUR_HELP = "Choose the colour of this class."
COLOUR_WIDTH_PX = 22


class ClassRow(QWidget):
    """One class: its brush, its name, its colour."""

    def __init__(self, number: int, name: str, colour: str | None) -> None:
        super().__init__()
        self.number = number
        self.brush = QToolButton()
        self.brush.setText(f"✎ {number}")
        self.brush.setToolTip(BRUSH_HELP)
        self.name = QLineEdit(name)
        self.name.setToolTip(tooltip("What this number stands for."))
        self.colour = QPushButton()
        self.colour.setFixedWidth(COLOUR_WIDTH_PX)
        self.colour.setToolTip(COLOUR_HELP)
        self.colour.setHidden(colour is None)
        self.colour.setStyleSheet(f"QPushButton {{ background-color: {colour}; border-radius: 3px; }}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.brush, self.name, self.colour):
            row.addWidget(widget)


class ClassBox(QWidget):
    """The classes of the layers that are painted on.

    Attributes
    ----------
    rows : list of ClassRow
    """

    def __init__(self) -> None:
        super().__init__()
        self.task = "objects"
        self.layers: Sequence[Labels] = ()
        self.colours: dict[int, str] = {}
        self.rows: list[ClassRow] = []
        self._names = {task: list(names) for task, names in FIRST_NAMES.items()}
        self._painting: list[Callable[[Labels, int], Any]] = []
        self._rows = QVBoxLayout()
        self._rows.setSpacing(3)
        self.add_button = QPushButton("+ One more class")
        self.add_button.clicked.connect(self.add)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        layout.addWidget(self.add_button)
        self._show()

    @property
    def names(self) -> list[str]:
        """Names of 1, 2 and so on."""
        return list(self._names[self.task])

    def follow(self, layers: Sequence[Labels], task: str) -> None:
        """Show the classes of these layers; a layer without names gets those that are shown."""
        known = next((names for layer in layers if (names := class_names(layer)) and len(names) > 1), None)
        is_new = list(layers) != list(self.layers) or task != self.task
        self.layers, self.task = tuple(layers), task
        if known is not None and is_new:
            self._names[task] = list(known) if task == "classes" else list(known[:2])
        if is_new:
            self._show()

    def add(self) -> None:
        """Add a class."""
        if len(self.names) < MOST_CLASSES:
            self._names[self.task].append(f"class {len(self.names)}")
            self._write()
            self._show()

    def rename(self, number: int, name: str) -> None:
        """Name a class; a comma would end the name in a list of names."""
        self._names[self.task][number - 1] = name.replace(",", " ").strip() or f"class {number - 1}"
        self._write()

    def recolour(self, number: int, colour: str) -> None:
        """Give a class another colour."""
        self.colours[number] = colour
        self._write()
        self._show()

    def paint_with(self, number: int) -> None:
        """Take the brush of a class, in the layer that is active or else the first."""
        for layer in self.layers[:1]:
            layer.selected_label = number
            layer.mode = "paint"

    def _write(self) -> None:
        for layer in self.layers:
            if class_names(layer) is not None:
                set_class_names(layer, self.names)
            if self.task == "classes" and self.colours:
                layer.colormap = self.colormap()

    def colormap(self) -> CyclicLabelColormap:
        """Return the colours of the classes as chosen."""
        colours = colours_of_classes().colors.copy()
        for number, colour in self.colours.items():
            colours[number] = transform_color(colour)[0]
        return CyclicLabelColormap(colors=colours)

    def colour_of(self, number: int) -> str:
        """Return the colour of a class, such as "#e69f00"."""
        red, green, blue = np.round(255 * self.colormap().map(number)[:3]).astype(int).tolist()
        return QColor(red, green, blue).name()

    def _show(self) -> None:
        for row in self.rows:
            self._rows.removeWidget(row)
            row.hide()
            row.deleteLater()
        is_classes = self.task == "classes"
        self.rows = []
        for number, name in enumerate(self.names, start=1):
            row = ClassRow(number, name, self.colour_of(number) if is_classes else None)
            row.brush.clicked.connect(partial(self._on_brush, number))
            row.name.editingFinished.connect(partial(self._on_named, row))
            row.colour.clicked.connect(partial(self._on_colour, number))
            self._rows.addWidget(row)
            self.rows.append(row)
        self.add_button.setVisible(is_classes)

    def _on_brush(self, number: int, *_: Any) -> None:
        self.paint_with(number)

    def _on_named(self, row: ClassRow) -> None:
        if row.name.text() != self.names[row.number - 1]:
            self.rename(row.number, row.name.text())

    def _on_colour(self, number: int, *_: Any) -> None:
        chosen = QColorDialog.getColor(QColor(self.colour_of(number)), self)
        if chosen.isValid():
            self.recolour(number, chosen.name())
