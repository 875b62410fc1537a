"""`tessera demo` in a window: a real image, and the widget that finds its nuclei at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import napari

from napari_tessera.gui.sample_data import layers_of
from napari_tessera.methods.registry import method_named
from napari_tessera.sample_data import sample_named

PLUGIN = "napari-tessera"


def open_demo(image: str, method_name: str, settings: Mapping[str, Any], block: bool = True) -> napari.Viewer:
    """Open napari on the demo, and start the run.

    Parameters
    ----------
    image : str
        Name of a sample image.
    method_name : str
        Method to run on it.
    settings : mapping
        Its parameters, where they are not the defaults.
    block : bool
        Wait until the window is closed; otherwise return at once, with the run under way.

    Returns
    -------
    napari.Viewer
    """
    viewer = napari.Viewer(title="Tessera")
    ((data, options, _),) = layers_of(sample_named(image), image)
    viewer.add_image(data, **options)
    method = method_named(method_name)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, method.title)
    widget.set_for_now(method.declaration.defaults | dict(settings))
    widget.run()
    if block:
        napari.run()
    return viewer
