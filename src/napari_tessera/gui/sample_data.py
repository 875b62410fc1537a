"""Sample images as napari layers, for File → Open Sample → Tessera."""

from __future__ import annotations

from functools import partial

from napari_tessera.gui.layers.add import LayerData, image_layer, placed_along
from napari_tessera.sample_data import SAMPLES, SampleEntry


def _open_sample(entry: SampleEntry) -> list[LayerData]:
    """Return the layers of a sample: the image, and the truth if there is one."""
    sample, title = entry.load(), entry.title.split(" (")[0]
    layers = [image_layer(sample.image, sample.spatial, sample.axes, title)]
    if sample.truth is not None:
        placed = placed_along(sample.spatial, sample.spatial.axes)
        layers.append((sample.truth, {"name": f"{title} · truth", "visible": False, **placed}, "labels"))
    return layers


for _entry in SAMPLES:  # the manifest names each function by the sample's name
    vars()[_entry.name] = partial(_open_sample, _entry)
