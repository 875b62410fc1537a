"""Sample images as napari layers, for File → Open Sample → Tessera and for `tessera demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import napari

from napari_tessera.core.spatial import Spatial
from napari_tessera.methods.registry import method_named
from napari_tessera.sample_data import SAMPLES, Sample, SampleEntry, sample_named

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


def _opener(entry: SampleEntry) -> Callable[[], list[LayerData]]:
    def open_sample() -> list[LayerData]:
        return layers_of(entry.load(), entry.title.split(" (")[0])

    return open_sample


_OPENERS = {entry.name: _opener(entry) for entry in SAMPLES}


def __getattr__(name: str) -> Any:
    """Return the function that opens a sample; the manifest names it by the sample's name."""
    if name in _OPENERS:
        return _OPENERS[name]
    raise AttributeError(f"module 'napari_tessera.gui.sample_data' has no attribute {name!r}")


PLUGIN = "napari-tessera"


def open_demo(image: str, method_name: str, settings: Mapping[str, Any], block: bool = True) -> napari.Viewer:
    """Open napari with the demo image, and start the run.

    Parameters
    ----------
    image : str
        Name of a sample image.
    method_name : str
        Method to run on it.
    settings : mapping
        Parameters that differ from the defaults.
    block : bool
        Wait until the window is closed; otherwise return at once, while the job runs.

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
