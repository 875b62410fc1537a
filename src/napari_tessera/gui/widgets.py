"""One dock widget for each method, such as `WatershedWidget`, made from the names of the methods for the manifest."""

from __future__ import annotations

from napari_tessera.gui.method.widget import MethodWidget
from napari_tessera.methods import NAMES

OWN_WIDGETS = {"compare": "napari_tessera.gui.compare:CompareWidget"}
"""Widgets that have more than a form."""


def class_name(method_name: str) -> str:
    """Turn the name of a method, such as "region_growing", into that of its widget, "RegionGrowingWidget"."""
    return "".join(word.capitalize() for word in method_name.split("_")) + "Widget"


for _name in (name for name in NAMES if name not in OWN_WIDGETS):
    vars()[class_name(_name)] = type(
        class_name(_name), (MethodWidget,), {"__module__": __name__, "__doc__": f"{_name}.", "method_name": _name}
    )
