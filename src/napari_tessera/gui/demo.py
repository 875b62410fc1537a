"""`tessera demo` in a window: a real image, and the widget that finds its nuclei at once."""

from __future__ import annotations

import napari

from napari_tessera.demo import IMAGE, METHOD, SETTINGS
from napari_tessera.gui.samples import layers_of
from napari_tessera.registry import method_named
from napari_tessera.samples import sample_named

PLUGIN = "napari-tessera"


def open_demo(block: bool = True) -> napari.Viewer:
    """Open napari on the demo, and start the run.

    Parameters
    ----------
    block : bool
        Wait until the window is closed; otherwise return at once, with the run under way.

    Returns
    -------
    napari.Viewer
    """
    viewer = napari.Viewer(title="Tessera")
    ((data, options, _),) = layers_of(sample_named(IMAGE), IMAGE)
    viewer.add_image(data, **options)
    method = method_named(METHOD)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, method.title)
    widget.set_for_now(method.declaration.defaults | SETTINGS)
    widget.run()
    if block:
        napari.run()
    return viewer
