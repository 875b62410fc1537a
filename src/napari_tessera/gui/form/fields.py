"""Fields for switches, choices and text, and the function that makes the field of a parameter."""

from __future__ import annotations

from collections.abc import Callable

from magicgui.widgets import CheckBox, ComboBox, LineEdit

from napari_tessera.core.method import Parameter
from napari_tessera.gui.form.field import Field, let_shrink
from napari_tessera.gui.form.model_field import ModelField
from napari_tessera.gui.form.number_field import Number


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
        let_shrink(self.native)


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


def make_field(parameter: Parameter) -> Field:
    """Make the field for a parameter's declaration."""
    if parameter.choices:
        return Choice(parameter)
    if parameter.model is not None:
        return ModelField(parameter)
    kinds: dict[type, Callable[[Parameter], Field]] = {bool: Switch, int: Number, float: Number}
    return kinds.get(parameter.kind, Text)(parameter)
