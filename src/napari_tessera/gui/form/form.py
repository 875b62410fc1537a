"""The form of a method, made from its declaration, and the file of settings remembered between sessions."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from napari_tessera.core.atomic_writes import written_together
from napari_tessera.core.errors import FileError, ParameterError
from napari_tessera.core.method import Declaration, Method, Parameter
from napari_tessera.core.spatial import CHANNEL
from napari_tessera.gui.form.field import ChannelChoice, Choice, Field, Switch, Text
from napari_tessera.gui.form.model_field import ModelField
from napari_tessera.gui.form.number_field import Number
from napari_tessera.gui.qt.in_steps import Steps
from napari_tessera.gui.qt.layout import Rows

SETTINGS_SHOWN_FIRST = 6
"""Number of settings shown at first; the others are under "More settings"."""


class Form:
    """All settings of a method: in `main` those shown first, in `more` those under "More settings".

    `add_fields` adds them, so that the rows can stand in the window before.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.main, self.more = Rows(), Rows()
        self.fields: dict[str, Field] = {}
        self._axes = ""

    def add_fields(self) -> Steps:
        """Add the fields, one in each step."""
        first = names_shown_first(self.method.parameters)
        for parameter in self.method.parameters:
            self._add(parameter, self.main if parameter.name in first else self.more)
            yield
        self.show_rows()
        self._follow_model()

    @property
    def values(self) -> dict[str, Any]:
        """All settings as the method takes them: sizes in pixels."""
        return {name: field.value for name, field in self.fields.items()}

    @values.setter
    def values(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name in self.fields:
                self.fields[name].value = value

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever any setting changes."""
        for field in self.fields.values():
            field.on_change(callback)

    def on_failure(self, callback: Callable[[BaseException], Any]) -> None:
        """Call `callback` with the error if an action of a field fails."""
        for field in self._models():
            field.on_failure(callback)

    def restore_defaults(self) -> None:
        """Set every setting to its default."""
        self.values = self.method.declaration.defaults

    def show_sizes(self, spacing: tuple[float, ...] | None, unit: str, ndim: int) -> None:
        """Show lengths and areas in pixels (`spacing` None) or in the layer's unit."""
        for field in self._numbers():
            field.show_sizes(spacing, unit, ndim)

    def size_in_words(self, name: str, pixels: float) -> str:
        """Write a size as the field of this name shows it; in pixels if the form has no such field."""
        field = self.fields.get(name)
        return field.in_words(pixels) if isinstance(field, Number) else f"{pixels:g} px"

    def show_intensities(self, low: float, high: float) -> None:
        """Fit the fields of intensities to the intensities of the image."""
        for field in self._numbers():
            field.show_intensities(low, high)

    def show_axes(self, axes: str, channel_names: tuple[str, ...]) -> None:
        """Show settings about channels only with images that have them, and those about volumes only with volumes."""
        self._axes = axes
        for field in self.fields.values():
            if isinstance(field, ChannelChoice):
                field.show_names(channel_names)
        self.show_rows()

    def show_rows(self) -> None:
        """Show the rows of settings that have an effect."""
        values = self.values
        for field in self.fields.values():
            is_shown = field.parameter.needs_axis in self._axes and field.parameter.matters(values)
            self._rows_of(field).show_row(field.native, is_shown)
            if field.button is not None:
                self._rows_of(field).show_row(field.button, is_shown and field.has_button)
            if field.below is not None:
                field.below.setVisible(is_shown)

    def _follow_model(self) -> None:
        """Take start values from the chosen model; of several models, from the first that has an effect."""
        values = self.values
        starts = ChainMap(*(field.starts for field in self._models() if field.parameter.matters(values)))
        for field in self._numbers():
            if (start := starts.get(field.parameter.name)) is not None:
                field.start_from(start)

    def _numbers(self) -> list[Number]:
        return [field for field in self.fields.values() if isinstance(field, Number)]

    def _models(self) -> list[ModelField]:
        return [field for field in self.fields.values() if isinstance(field, ModelField)]

    def _add(self, parameter: Parameter, rows: Rows) -> None:
        field = make_field(parameter)
        field.show_help(self.method.declaration.titles)
        self.fields[parameter.name] = field
        rows.add("" if field.has_own_title else field.title, field.native, field.help)
        if field.button is not None:
            rows.add("", field.button)
        if field.below is not None:
            rows.add_wide(field.below)
        field.on_change(self.show_rows)
        field.on_change(self._follow_model)

    def _rows_of(self, field: Field) -> Rows:
        return self.more if field.native.parent() is self.more else self.main


def make_field(parameter: Parameter) -> Field:
    """Make the field for a parameter's declaration."""
    if parameter.choices:
        return Choice(parameter)
    if parameter.model is not None:
        return ModelField(parameter)
    if parameter.needs_axis == CHANNEL and parameter.kind is int:
        return ChannelChoice(parameter)
    kinds: dict[type, Callable[[Parameter], Field]] = {bool: Switch, int: Number, float: Number}
    return kinds.get(parameter.kind, Text)(parameter)


def names_shown_first(parameters: tuple[Parameter, ...]) -> set[str]:
    """Return the names of the settings shown first: the first of the signature, and those that depend on them."""
    usual = [parameter for parameter in parameters if not parameter.is_advanced]
    of_channels = {parameter.name for parameter in usual if parameter.needs_axis == CHANNEL}
    own = [parameter.name for parameter in usual if not parameter.shown_if and parameter.name not in of_channels]
    chosen = {*own[:SETTINGS_SHOWN_FIRST], *of_channels}
    for parameter in usual:
        if parameter.shown_if and all(rule.parameter in chosen for rule in parameter.shown_if):
            chosen.add(parameter.name)
    return chosen


def settings_path() -> Path:
    """Return the path of the settings file."""
    return Path(platformdirs.user_config_dir("napari-tessera", appauthor=False)) / "settings.json"


def load(method: Method | Declaration, path: Path | None = None) -> dict[str, Any]:
    """Return the saved settings of a method that fit its declaration; a missing or damaged file counts as empty."""
    saved = _read(path or settings_path()).get(method.name)
    known = {parameter.name: parameter for parameter in method.parameters}
    found = {}
    for name, value in saved.items() if isinstance(saved, dict) else ():
        with suppress(KeyError, ParameterError):
            found[name] = known[name].checked(value, method.name)
    return found


ATTEMPTS = 5
"""Each waits a second at most for other windows that save at the same moment."""


def save(method: Method | Declaration, values: dict[str, Any], path: Path | None = None) -> bool:
    """Save the settings of a method, and keep those that another window saves; return whether they could be written."""
    path = path or settings_path()
    for _ in range(ATTEMPTS):
        with suppress(FileError), written_together([path], overwrite=True, is_claimed=True) as (part,):
            everything = {**_read(path), method.name: values}
            part.write_text(json.dumps(everything, indent=1), encoding="utf-8")
            return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
