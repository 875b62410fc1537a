"""The form of each method, such as `WatershedWidget`, made from the names of the methods."""

from __future__ import annotations

from napari_tessera.gui.docked import OWN_WIDGETS, class_name
from napari_tessera.gui.method.widget import MethodWidget
from napari_tessera.methods import NAMES

for _name in (name for name in NAMES if name not in OWN_WIDGETS):
    vars()[class_name(_name)] = type(
        class_name(_name), (MethodWidget,), {"__module__": __name__, "__doc__": f"{_name}.", "method_name": _name}
    )
"""The widget of a method, which `gui.docked` shows."""
