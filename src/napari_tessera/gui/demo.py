"""`tessera demo` in a window: a real image, a result on it, and the widget that made it."""

from __future__ import annotations

import napari

from napari_tessera.demo import IMAGE, METHOD, segment_sample
from napari_tessera.gui.layers import place
from napari_tessera.gui.new_layers import result_layer
from napari_tessera.gui.samples import layers_of
from napari_tessera.registry import method_named
from napari_tessera.samples import sample_named

PLUGIN = "napari-tessera"


def open_demo(block: bool = True) -> napari.Viewer:
    """Open napari on the demo.

    Parameters
    ----------
    block : bool
        Run until the window is closed; otherwise return at once.

    Returns
    -------
    napari.Viewer
    """
    viewer = napari.Viewer(title="Tessera")
    sample, title = sample_named(IMAGE), method_named(METHOD).title
    ((data, options, _),) = layers_of(sample, IMAGE)
    image = viewer.add_image(data, **options)
    result = segment_sample(sample)
    name = f"{IMAGE} · {title.lower()}"
    viewer.add_layer(result_layer(result.images[0], place(image, sample.axes), name, result.provenance))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, title)
    widget.form.values = result.provenance["parameters"]
    widget.bar.say("These settings made the result. Change one and press Run.")
    if block:
        napari.run()
    return viewer
