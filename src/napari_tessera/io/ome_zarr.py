"""OME-Zarr 0.1 to 0.5 and plain Zarr arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_tessera.errors import FileError
from napari_tessera.io.picture import Reading, sized
from napari_tessera.io.units import unit_name

_LETTERS = {"time": "T", "channel": "C"}
_OLD_AXES = "TCZYX"


def read_zarr(path: Path, level: int, *, as_labels: bool = False) -> Reading:
    """Read one resolution level as a dask array: nothing is loaded before it is asked for.

    With `as_labels`, an image that holds exactly one label image gives that one.
    """
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return _read_array(node)
    said = _metadata(node)
    if as_labels and "image-label" not in said and (names := _label_names(node)):
        return read_zarr(path / "labels" / _only(names), level)
    if "multiscales" in said:
        return _read_level(node, said["multiscales"][0], level)
    raise FileError(_what_it_is(node, said))


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    """OME metadata: under "ome" since version 0.5, at the top before."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def _label_names(group: zarr.Group) -> list[str]:
    if "labels" not in group or not isinstance(group["labels"], zarr.Group):
        return []
    names: list[str] = _metadata(group["labels"]).get("labels", [])
    return list(names)


def _only(names: list[str]) -> str:
    if len(names) > 1:
        raise FileError(f"It holds the label images {', '.join(names)}. Add /labels/NAME to the path.")
    return names[0]


def _what_it_is(group: zarr.Group, said: Mapping[str, Any]) -> str:
    members = sorted(name for name, _ in group.members())[:8]
    example = f"Add the part you want to the path, for example /{members[0]}." if members else ""
    if "plate" in said or "well" in said:
        return f"It is a plate or well of many images. Add one field to the path, such as /A/1/0. {example}"
    if "labels" in said:
        return f"It holds the label images {', '.join(said['labels'])}. Add the name of one to the path."
    return f"It is a Zarr group without OME-Zarr metadata; it holds {', '.join(members) or 'nothing'}. {example}"


def _read_array(array: zarr.Array) -> Reading:
    import dask.array

    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = "".join(_letter({"name": str(name or "")}) for name in names)
    is_clear = len(set(letters)) == array.ndim and {"Y", "X"} <= set(letters)
    return Reading(dask.array.from_zarr(array), letters if is_clear else None)


def _read_level(group: zarr.Group, image: Mapping[str, Any], level: int) -> Reading:
    import dask.array

    levels = image["datasets"]
    if not 0 <= level < len(levels):
        raise FileError(f"It has the resolution levels 0 to {len(levels) - 1}, but level {level} was asked for.")
    array = group[levels[level]["path"]]
    if not isinstance(array, zarr.Array):
        raise FileError(f"Its level {level} is no array.")
    axes = _axes(image, array.ndim)
    letters = "".join(_letter(axis) for axis in axes)
    if len(set(letters)) != array.ndim:
        raise FileError(f"Its metadata names {len(axes)} axes ({letters}), but the array has {array.ndim}.")
    scale, offset = _transform(levels[level], image, array.ndim)
    places = {
        letter: sized(size, unit_name(axis.get("unit")), start)
        for letter, axis, size, start in zip(letters, axes, scale, offset, strict=True)
    }
    return Reading(dask.array.from_zarr(array), letters, places)


def _axes(image: Mapping[str, Any], ndim: int) -> list[Mapping[str, Any]]:
    """Axes as dictionaries; version 0.3 has names only, and older ones nothing."""
    axes = image.get("axes") or list(_OLD_AXES[-ndim:].lower())
    return [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]


def _letter(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name", ""))
    return _LETTERS.get(str(axis.get("type", name)), name[:1].upper())


def _transform(dataset: Mapping[str, Any], image: Mapping[str, Any], ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of a level: its own transformations, then those of the whole image."""
    scale, offset = np.ones(ndim), np.zeros(ndim)
    for holder in (dataset, image):
        for step in holder.get("coordinateTransformations") or ():
            if "scale" in step:
                scale, offset = scale * step["scale"], offset * step["scale"]
            if "translation" in step:
                offset = offset + step["translation"]
    return scale, offset
