"""How long to train: a number, and whether it counts minutes, epochs or steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_tessera.gui.field import let_shrink
from napari_tessera.gui.number_field import LARGEST
from napari_tessera.gui.wording import tooltip
from napari_tessera.train.settings import DECLARATION

FIRST = {"minutes": 2.0, "epochs": 50.0, "steps": 500.0}
"""What each begins with: enough for a first look."""
HELP = (
    "Minutes: as many steps as fit into the time, measured at the start. Epochs: so many times all that is painted. "
    "Steps: exactly so many batches, which gives the same weights again for the same seed."
)


NUMBER_STYLE = "QAbstractSpinBox { padding: 1px 2px; }"
UNIT_STYLE = "QComboBox { padding: 3px 0px 3px 6px; } QComboBox::drop-down { width: 22px; }"
"""Less room at the sides than elsewhere in napari, so that six digits can be read beside the unit."""
SPACING_PX = 4


class BudgetBox(QWidget):
    """The length of a training.

    Attributes
    ----------
    unit : magicgui combo box
    number : magicgui spin box
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = dict(FIRST)
        self.number = FloatSpinBox(min=0, max=LARGEST, tooltip=tooltip(HELP))
        self.unit = ComboBox(choices=list(FIRST), tooltip=tooltip(HELP))
        let_shrink(self.number.native)
        let_shrink(self.unit.native)
        self.number.native.setStyleSheet(NUMBER_STYLE)
        self.unit.native.setStyleSheet(UNIT_STYLE)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACING_PX)
        row.addWidget(self.number.native, 6)
        row.addWidget(self.unit.native, 5)
        self.unit.changed.connect(lambda _: self._show())
        self.number.changed.connect(self._keep)
        self._show()

    @property
    def value(self) -> dict[str, Any]:
        """The settings: one of minutes, epochs and steps."""
        unit, number = self.unit.value, self.number.value
        return {unit: round(number) if unit == "steps" else number}

    @value.setter
    def value(self, value: Mapping[str, Any]) -> None:
        ((unit, number),) = value.items()
        self._numbers[unit] = float(number)
        self.unit.value = unit
        self._show()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the length changes."""
        self.number.changed.connect(lambda *_: callback())
        self.unit.changed.connect(lambda *_: callback())

    def _keep(self, number: float) -> None:
        self._numbers[self.unit.value] = number

    def _show(self) -> None:
        unit = self.unit.value
        allowed = next(each.range for each in DECLARATION.parameters if each.name == unit)
        with self.number.changed.blocked():
            self.number.native.setDecimals(0 if unit == "steps" else 1)
            self.number.min = 0  # while the number is that of another unit
            self.number.max = min(allowed.high, LARGEST)
            self.number.value = self._numbers[unit]
            self.number.step = 1
            self.number.min = max(allowed.low, 0.1)
