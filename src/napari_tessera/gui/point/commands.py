"""One command for each action of Point, such as `accept`, for the manifest and napari's command palette."""

from __future__ import annotations

from collections.abc import Callable

import napari.viewer

PLUGIN, WIDGET = "napari-tessera", "Point"
COMMANDS = {
    "start": "start or stop",
    "accept": "accept",
    "drop": "drop",
    "take_back": "take the last click back",
    "follow": "follow through planes",
    "undo": "undo the last object",
}
"""Titles of the commands, by name."""


def _command(name: str) -> Callable[[napari.viewer.Viewer], None]:
    def act(viewer: napari.viewer.Viewer) -> None:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        if name == "start":
            widget.switch(not widget.is_on)
        else:
            getattr(widget, name)()

    act.__doc__ = f"Open Point, and {COMMANDS[name]}."
    return act


vars().update({name: _command(name) for name in COMMANDS})
