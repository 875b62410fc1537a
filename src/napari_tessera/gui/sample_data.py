"""Sample images as napari layers, for File → Open Sample → Tessera."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari_tessera.core.spatial import Spatial
from napari_tessera.sample_data import SAMPLES, Sample, SampleEntry

LayerData = tuple[Any, dict[str, Any], str]


def layers_of(sample: Sample, title: str) -> list[LayerData]:
    """Return the layers of a sample: the image, and the truth if there is one."""
    is_rgb = sample.axes.endswith("C")
    placed = _placed(sample.spatial, sample.axes[:-1] if is_rgb else sample.axes)
    layers: list[LayerData] = [(sample.image, {"name": title, **({"rgb": True} if is_rgb else {}), **placed}, "image")]
    if sample.truth is not None:
        truth = {"name": f"{title} · truth", "visible": False, **_placed(sample.spatial, sample.spatial.axes)}
        layers.append((sample.truth, truth, "labels"))
    return layers


def _placed(spatial: Spatial, axes: str) -> dict[str, Any]:
    """Return napari's arguments for the position of a layer; an axis of channels has a scale of 1."""
    at = {axis: place for place, axis in enumerate(spatial.axes)}
    return {
        "scale": [spatial.scale[at[axis]] if axis in at else 1.0 for axis in axes],
        "translate": [spatial.translate[at[axis]] if axis in at else 0.0 for axis in axes],
        "units": [spatial.units[at[axis]] if axis in at else "pixel" for axis in axes],
        "axis_labels": [axis.lower() for axis in axes],
    }


def _open_sample(entry: SampleEntry) -> list[LayerData]:
    return layers_of(entry.load(), entry.title.split(" (")[0])


for _entry in SAMPLES:  # the manifest names each function by the sample's name
    vars()[_entry.name] = partial(_open_sample, _entry)
