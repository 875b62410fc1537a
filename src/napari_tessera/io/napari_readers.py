"""Any other format, through the reader plugins that napari's users have installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.errors import FileError
from napari_tessera.io.image_file import Reading, sized, unit_name

FORMATS = "TIFF, OME-TIFF, ImageJ TIFF, LSM, PNG, JPEG, BMP, GIF, NumPy (.npy, .npz), OME-Zarr and Zarr"

PROGRAMS = (".py", ".pyw")


def read_with_plugin(path: Path, *, as_labels: bool = False) -> Reading:
    """Read the first image (or label) layer that an installed reader plugin makes of a file.

    Raises
    ------
    FileError
        If no plugin reads such files or finds a layer in it; if it is a program, which napari's own reader would run.
    """
    if path.suffix.lower() in PROGRAMS:
        raise FileError(f"A file ending in {path.suffix} is a program. Give an image, such as {FORMATS}.")
    for data, settings, kind in _layers(path):
        if data is None:  # what napari's own reader gives for a file without layers
            continue
        if kind == "labels" or (kind == "image" and not as_labels):
            return _reading(data[0] if settings.get("multiscale") else data, settings)
    wanted = "labels" if as_labels else "an image"
    raise FileError(f"The reader plugin found no layer with {wanted} in it.")


def _layers(path: Path) -> list[tuple[Any, Mapping[str, Any], str]]:
    import npe2

    manager = npe2.PluginManager.instance()
    manager.discover()
    if not any(True for _ in manager.iter_compatible_readers([str(path)])):
        raise FileError(
            f"No reader is known for {path.suffix or 'a file without an ending'}. Tessera reads {FORMATS}. "
            "For other formats install a napari reader plugin (napari-hub.org lists them), or convert the file."
        )
    found = npe2.read([str(path)], stack=False)
    filled = [(*layer, {}, "image")[: max(len(layer), 3)] for layer in found]
    return [(layer[0], layer[1] or {}, layer[2] if len(layer) > 2 else "image") for layer in filled]


def _reading(data: Any, settings: Mapping[str, Any]) -> Reading:
    """Name the axes of a layer: colours last, a channel axis where the plugin says, space at the end."""
    shape = np.shape(data)
    channel = len(shape) - 1 if settings.get("rgb") else settings.get("channel_axis")
    others = len(shape) - (channel is not None)
    letters = list("TZYX"[-others:]) if others <= 4 else None
    if letters is None:
        return Reading(data)
    places = {
        letter: sized(size, unit)
        for letter, size, unit in zip(letters, _scale(settings, others), _units(settings, others), strict=True)
    }
    if channel is not None:
        letters.insert(int(channel) % len(shape), "C")
    return Reading(data, "".join(letters), places)


def _scale(settings: Mapping[str, Any], ndim: int) -> list[float]:
    scale = settings.get("scale")
    return [1.0] * ndim if scale is None or len(scale) != ndim else list(scale)


def _units(settings: Mapping[str, Any], ndim: int) -> list[str]:
    units = settings.get("units")
    if isinstance(units, str):
        return [unit_name(units)] * ndim
    if units is None or len(units) != ndim:
        return [unit_name(None)] * ndim
    return [unit_name(str(unit)) for unit in units]
