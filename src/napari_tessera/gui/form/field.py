"""One setting of a method: a magicgui widget made from its declaration, that holds its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from magicgui.widgets.bases import ValueWidget
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from napari_tessera.core.spec import Parameter
from napari_tessera.gui.form.text import title_of, tooltip


class Field:
    """A setting in the form.

    Attributes
    ----------
    parameter : Parameter
    native : QWidget
        What the form shows in the setting's row.
    has_own_title : bool
        The widget says its own title (a check box), so the row needs none.
    below : QWidget or None
        What stands under the row, across the whole form.
    """

    has_own_title = False
    below: QWidget | None = None

    def __init__(self, parameter: Parameter, widget: ValueWidget[Any]) -> None:
        self.parameter = parameter
        self.widget = widget
        self.native: QWidget = widget.native
        self.title = title_of(parameter.name)
        widget.tooltip = tooltip(parameter.help)

    @property
    def value(self) -> Any:
        """The value as the method wants it: sizes in pixels, None where it is to be found automatically."""
        return self.widget.value

    @value.setter
    def value(self, value: Any) -> None:
        self.widget.value = value

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the user or the program changes the value."""
        self.widget.changed.connect(lambda *_: callback())

    @property
    def starts(self) -> Mapping[str, float]:
        """Where other settings, by name, start when "auto" is switched off, if this one implies it."""
        return {}

    def on_failure(self, callback: Callable[[BaseException], Any]) -> None:
        """Call `callback` with the error when something that the field does fails; most fields do nothing that can."""

    def show_sizes(self, spacing: tuple[float, ...] | None, unit: str, ndim: int) -> None:
        """Show lengths and areas in another unit; only numbers care."""

    def show_intensities(self, low: float, high: float) -> None:
        """Show which intensities the image has; only intensities care."""

    def start_from(self, number: float) -> None:
        """Show what a number starts from when "auto" is switched off."""


def let_shrink(native: QWidget) -> None:
    """Let a box be narrower than its longest possible text, so that the form fits a narrow dock."""
    native.setMinimumWidth(60)
    native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if isinstance(native, QComboBox):
        native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        native.setMinimumContentsLength(8)
