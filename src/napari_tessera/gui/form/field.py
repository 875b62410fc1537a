"""Form fields, each with a parameter, its widget and its value: the base class, switches, choices and text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

from napari_tessera.core.method import Parameter
from napari_tessera.gui.form.text import brief, tooltip

SAID_BY_FIELD = re.compile(",? in pixels along X|, from 0(?=[.;])")
"""What a field shows itself: its unit, which may be µm, and the names of channels."""
ALL_CHANNELS = "all together"


class Field:
    """A field of the form; `native` is the widget in its row."""

    has_own_title = False
    """Whether the widget shows the title itself, like a check box."""
    below: QWidget | None = None
    """A widget under the row, across the whole form."""
    button: QWidget | None = None
    """A button under the field, which is shown if `has_button`."""
    has_button = False

    def __init__(self, parameter: Parameter, widget: ValueWidget[Any]) -> None:
        self.parameter = parameter
        self.widget = widget
        self.native: QWidget = widget.native
        self.title = parameter.title
        self.show_help({})

    @property
    def value(self) -> Any:
        """The value as the method takes it: sizes in pixels, None for an automatic value."""
        return self.widget.value

    @value.setter
    def value(self, value: Any) -> None:
        self.widget.value = value

    def show_help(self, titles: Mapping[str, str]) -> None:
        """Show the first sentence of the help as the tooltip; names in it have these titles."""
        self.help = tooltip(SAID_BY_FIELD.sub("", self.parameter.help), titles)
        self.widget.tooltip = brief(self.help)

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the user or the program changes the value."""
        self.widget.changed.connect(lambda *_: callback())


class WheelFilter(QObject):
    """Lets a field change with the mouse wheel only when it has focus; otherwise the wheel scrolls the form."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Leave the wheel to the form."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget) or watched.hasFocus():
            return super().eventFilter(watched, event)
        event.ignore()
        return True


class LongChoices(QObject):
    """Lets the list of a combo box be as wide as its longest choice, and ends a choice that is cut off with "…"."""

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        self._box = box
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Draw the box, or fit its list before it opens."""
        if event is not None and event.type() == QEvent.Type.Paint:
            self._draw()
            return True
        if event is not None and event.type() in (QEvent.Type.MouseButtonPress, QEvent.Type.KeyPress):
            self._fit_list()
        return super().eventFilter(watched, event)

    def _draw(self) -> None:
        painter, option = QStylePainter(self._box), QStyleOptionComboBox()
        self._box.initStyleOption(option)
        option.currentText = shown_choice(self._box)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def _fit_list(self) -> None:
        choices = self._box.view()
        if choices is not None and (bar := choices.verticalScrollBar()) is not None:
            choices.setMinimumWidth(choices.sizeHintForColumn(0) + bar.sizeHint().width())


def shown_choice(box: QComboBox) -> str:
    """Return what a combo box shows of its choice: all, or the beginning and "…"."""
    option, style = QStyleOptionComboBox(), box.style()
    box.initStyleOption(option)
    if style is None:
        return box.currentText()
    control, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
    room = style.subControlRect(control, option, part, box).width()
    return box.fontMetrics().elidedText(box.currentText(), Qt.TextElideMode.ElideRight, room)


def fit_in_form(native: QWidget) -> None:
    """Let a field be narrower than its longest text, and change with the mouse wheel only when it has focus."""
    native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # by default, the wheel gives focus
    native.installEventFilter(WheelFilter(native))
    native.setMinimumWidth(60)
    native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if isinstance(native, QComboBox):
        native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        native.setMinimumContentsLength(8)
        LongChoices(native)


class Switch(Field):
    """A check box."""

    has_own_title = True

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter, CheckBox(name=parameter.name, text=parameter.title))
        self.value = parameter.default


class Choice(Field):
    """A combo box."""

    def __init__(self, parameter: Parameter) -> None:
        choices = [(parameter.choice_title(value), value) for value in parameter.choices]
        if parameter.is_optional:
            choices.insert(0, ("Automatic", None))
        super().__init__(parameter, ComboBox(name=parameter.name, choices=choices, value=parameter.default))
        fit_in_form(self.native)


class ChannelChoice(Field):
    """A combo box of the image's channels, by their names, and all of them together."""

    def __init__(self, parameter: Parameter) -> None:
        self._names: tuple[str, ...] = ()
        self._channel: int | None = parameter.default
        self._box = ComboBox(name=parameter.name, choices=self._choices)
        super().__init__(parameter, self._box)
        fit_in_form(self.native)
        self.widget.changed.connect(self._keep)

    @property
    def value(self) -> int | None:
        """The number of the channel, from 0; None for all together."""
        return self._channel

    @value.setter
    def value(self, channel: int | None) -> None:
        is_new, self._channel = channel != self._channel, channel
        self._show()
        if is_new:
            self.widget.changed.emit(channel)

    def show_names(self, names: tuple[str, ...]) -> None:
        """Offer the channels of another image; a channel that it does not have stays chosen."""
        if names and names != self._names:
            self._names = names
            self._show()

    def _show(self) -> None:
        with self.widget.changed.blocked():
            self._box.reset_choices()
            self.widget.value = self._channel

    def _keep(self, channel: int | None) -> None:
        self._channel = channel

    def _choices(self, _: Any = None) -> list[tuple[str, int | None]]:
        count = max(len(self._names), 0 if self._channel is None else self._channel + 1)
        more = [f"channel {number}" for number in range(len(self._names), count)]
        return [(ALL_CHANNELS, None), *((name, number) for number, name in enumerate((*self._names, *more)))]


class Text(Field):
    """A line of text; empty means None, if the parameter allows None."""

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter, LineEdit(name=parameter.name, value=parameter.default or ""))

    @property
    def value(self) -> str | None:
        """The text as the method takes it."""
        text = str(self.widget.value)
        return None if self.parameter.is_optional and not text else text

    @value.setter
    def value(self, value: str | None) -> None:
        self.widget.value = value or ""
