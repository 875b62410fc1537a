"""The base class of form fields: one parameter, its widget and its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from magicgui.widgets.bases import ValueWidget
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from napari_tessera.core.method import Parameter
from napari_tessera.gui.form.text import tooltip


class Field:
    """A field of the form.

    Attributes
    ----------
    parameter : Parameter
    native : QWidget
        The widget in the field's row.
    has_own_title : bool
        Whether the widget shows the title itself, like a check box.
    below : QWidget or None
        A widget under the row, across the whole form.
    """

    has_own_title = False
    below: QWidget | None = None

    def __init__(self, parameter: Parameter, widget: ValueWidget[Any]) -> None:
        self.parameter = parameter
        self.widget = widget
        self.native: QWidget = widget.native
        self.title = parameter.title
        widget.tooltip = tooltip(parameter.help)

    @property
    def value(self) -> Any:
        """The value as the method takes it: sizes in pixels, None for an automatic value."""
        return self.widget.value

    @value.setter
    def value(self, value: Any) -> None:
        self.widget.value = value

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the user or the program changes the value."""
        self.widget.changed.connect(lambda *_: callback())

    @property
    def starts(self) -> Mapping[str, float]:
        """Start values of other settings, by name, for when "auto" is switched off."""
        return {}

    def on_failure(self, callback: Callable[[BaseException], Any]) -> None:
        """Call `callback` with the error if an action of the field fails; most fields have no such action."""

    def show_sizes(self, spacing: tuple[float, ...] | None, unit: str, ndim: int) -> None:
        """Show lengths and areas in another unit; only number fields use this."""

    def show_intensities(self, low: float, high: float) -> None:
        """Fit the field to the intensities of the image; only fields of intensities use this."""

    def start_from(self, number: float) -> None:
        """Set the start value for when "auto" is switched off."""


def let_shrink(native: QWidget) -> None:
    """Let a widget be narrower than its longest text, so that the form fits a narrow dock."""
    native.setMinimumWidth(60)
    native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if isinstance(native, QComboBox):
        native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        native.setMinimumContentsLength(8)
