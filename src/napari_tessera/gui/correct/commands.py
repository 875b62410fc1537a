"""One command for each tool of Correct labels, such as `delete`, for the manifest and napari's command palette."""

from __future__ import annotations

from collections.abc import Callable

import napari.viewer

from napari_tessera.gui.correct.tools import TOOLS

PLUGIN, WIDGET = "napari-tessera", "Correct labels"


def _command(name: str) -> Callable[[napari.viewer.Viewer], None]:
    def take_tool(viewer: napari.viewer.Viewer) -> None:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        widget.take(None)
        widget.take(name)

    take_tool.__doc__ = f"Open the widget with the tool {name!r} in hand."
    return take_tool


vars().update({tool.name: _command(tool.name) for tool in TOOLS})
