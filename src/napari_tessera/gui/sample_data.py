"""File → Open Sample → Tessera: the samples as napari layers, the truth beside the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_tessera.core.spatial import Spatial
from napari_tessera.sample_data import SAMPLES, Sample, SampleEntry

LayerData = tuple[Any, dict[str, Any], str]


def layers_of(sample: Sample, title: str) -> list[LayerData]:
    """Describe the layers of a sample: the image, and the truth where there is one."""
    is_rgb = sample.axes.endswith("C")
    placed = _placed(sample.spatial, sample.axes[:-1] if is_rgb else sample.axes)
    layers: list[LayerData] = [(sample.image, {"name": title, **({"rgb": True} if is_rgb else {}), **placed}, "image")]
    if sample.truth is not None:
        truth = {"name": f"{title} · truth", "visible": False, **_placed(sample.spatial, sample.spatial.axes)}
        layers.append((sample.truth, truth, "labels"))
    return layers


def _placed(spatial: Spatial, axes: str) -> dict[str, Any]:
    """Return where the layer lies; an axis of channels has steps of 1."""
    at = {axis: place for place, axis in enumerate(spatial.axes)}
    return {
        "scale": [spatial.scale[at[axis]] if axis in at else 1.0 for axis in axes],
        "translate": [spatial.translate[at[axis]] if axis in at else 0.0 for axis in axes],
        "units": [spatial.units[at[axis]] if axis in at else "pixel" for axis in axes],
        "axis_labels": [axis.lower() for axis in axes],
    }


def _opener(entry: SampleEntry) -> Callable[[], list[LayerData]]:
    def open_sample() -> list[LayerData]:
        return layers_of(entry.load(), entry.title.split(" (")[0])

    return open_sample


_OPENERS = {entry.name: _opener(entry) for entry in SAMPLES}


def __getattr__(name: str) -> Any:
    """Find the function that opens a sample under the sample's own name, as the manifest asks for it."""
    if name in _OPENERS:
        return _OPENERS[name]
    raise AttributeError(f"module 'napari_tessera.gui.sample_data' has no attribute {name!r}")
