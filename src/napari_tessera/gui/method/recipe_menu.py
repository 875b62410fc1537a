"""The menu of a method's widget: defaults, the table of objects, recipes, and the run as code."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_tessera.core.errors import InputError
from napari_tessera.core.file_checks import parse_json
from napari_tessera.core.record_schema import check_recipe
from napari_tessera.core.result import DEEPEST
from napari_tessera.gui.layers.read import record_of
from napari_tessera.gui.method.run_request import as_command, as_python
from napari_tessera.gui.qt import buttons as clipboard
from napari_tessera.gui.qt.worker import shown_by

if TYPE_CHECKING:
    from napari_tessera.gui.method.widget import MethodWidget


class RecipeMenu:
    """Adds the actions to the menu of a method's widget."""

    def __init__(self, widget: MethodWidget) -> None:
        self.widget = widget
        entries = {
            "Restore defaults": widget.restore_defaults,
            "Table of the objects": self.open_table,
            "Copy recipe of the selected layer": self.copy_recipe,
            "Apply copied recipe to this form": self.apply_recipe,
            "Run copied recipe again": self.run_copied,
            "Run the selected layer's recipe again": self.run_again,
            "Copy as Python": lambda: self._copy(as_python(widget.request()), "Python code"),
            "Copy as command line": lambda: self._copy(as_command(widget.request()), "Command"),
        }
        for title, action in entries.items():
            widget.bar.menu.addAction(title, lambda action=action: self._try(action))

    def open_table(self) -> None:
        """Open napari's table of the selected layer."""
        window = getattr(self.widget.viewer, "window", None)
        if window is None or not isinstance(self.widget.viewer.layers.selection.active, Labels):
            raise InputError("Select a labels layer in the list of layers; its objects are in the table.")
        dock, _ = window.add_plugin_dock_widget("napari", "Features table widget", tabify=True)
        dock.show()
        dock.raise_()

    def copy_recipe(self) -> None:
        """Copy the selected layer's record to the clipboard, as JSON."""
        self._copy(json.dumps(self._selected_record(), indent=1), "Recipe")

    def apply_recipe(self) -> None:
        """Fill the form with the settings of the recipe on the clipboard."""
        record, *_ = check_recipe(self._copied())
        if record["method"] != self.widget.method.name:
            raise InputError(f"The recipe belongs to {record['method']}; open that widget to apply it.")
        self.widget.form.values = self.widget.method.declaration.checked(record["parameters"])
        self.widget.bar.say("The form now has the recipe's settings. Press Run.")

    def run_copied(self) -> None:
        """Replay the recipe on the clipboard on the chosen layer."""
        self.widget.run(recipe=self._copied())

    def run_again(self) -> None:
        """Replay the selected layer's record on the chosen layer."""
        self.widget.run(recipe=self._selected_record())

    def _selected_record(self) -> dict[str, Any]:
        record = record_of(self.widget.viewer.layers.selection.active)
        if record is None:
            raise InputError("Select a labels layer that Tessera made; other layers have no recipe.")
        return record

    def _copied(self) -> Any:
        copied = None
        with suppress(ValueError):
            copied = parse_json(clipboard.paste(), DEEPEST)
        if copied is None:
            raise InputError("There is no recipe on the clipboard. Copy one first (it is JSON text).")
        return copied

    def _copy(self, text: str, what: str) -> None:
        clipboard.copy(text)
        self.widget.bar.say(f"{what} copied to the clipboard.")

    def _try(self, action: Any) -> None:
        with shown_by(self.widget.bar.show_error):
            action()
