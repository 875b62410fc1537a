"""Read OME-Zarr 0.1 to 0.5 and plain Zarr arrays; write labels and probabilities as OME-Zarr 0.4.

Version 0.4 (Zarr 2) is written because napari-ome-zarr, Fiji, Bio-Formats, QuPath and webKnossos all read it; only the
newer ones of them read version 0.5 (Zarr 3).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_fits, check_regular, named_file
from napari_tessera.core.spatial import PIXEL, SPATIAL_AXES, Spatial
from napari_tessera.io.image_file import Reading, note_of_others, sized, unit_name
from napari_tessera.io.zarr_chunks import bound_chunks, refuse_larger_chunks

CHUNK_NAME = re.compile(r"(c[/.])?\d+([/.]\d+)*")
MOST_CHUNKS = 10**7
LARGEST_METADATA_BYTES = 2**27
LEAST_LIMIT_BYTES = 2**20
LARGEST_ENCODED = 8
"""Largest stored size of a chunk, in sizes of its pixels; a filter may store longer numbers."""
_LETTERS = {"time": "T", "channel": "C"}
_OLD_AXES = "TCZYX"

refuse_larger_chunks()


def read_zarr(path: Path, level: int, *, as_labels: bool = False) -> Reading:
    """Read one resolution level as a lazy dask array.

    With `as_labels`, an image with exactly one label image gives that one.
    """
    node = zarr.open(_RegularFiles(path, read_only=True), mode="r")
    if isinstance(node, zarr.Array):
        return _read_array(node)
    said = _metadata(node)
    if as_labels and "image-label" not in said and (names := _label_names(node)):
        return read_zarr(named_file(path / "labels", _only(names)), level)
    if "multiscales" in said:
        reading = _read_level(path, node, said["multiscales"][0], level)
        return replace(reading, notes=note_of_others(len(said["multiscales"])))
    raise FileError(_what_it_is(node, said))


class _RegularFiles(LocalStore):
    """A Zarr store that reads only regular files of a possible size.

    A pipe or a device in place of a chunk would never end.
    """

    largest_bytes = LARGEST_METADATA_BYTES

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        self._check(key, byte_range)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        self._check(key, byte_range)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    def _check(self, key: str, byte_range: Any) -> None:
        try:
            size = check_regular(f"{self.root}/{key}")
        except (FileNotFoundError, NotADirectoryError):
            return
        if byte_range is None and size > self.largest_bytes:
            raise FileError(f"{self.root}/{key} has {size / 1e6:,.0f} MB, more than a chunk can have.")


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    """Return the OME metadata: under "ome" since version 0.5, at the top before."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def _label_names(group: zarr.Group) -> list[str]:
    if "labels" not in group or not isinstance(group["labels"], zarr.Group):
        return []
    names = _metadata(group["labels"]).get("labels")
    return [str(name) for name in names] if isinstance(names, list) else []


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
        return f"It holds the label images {', '.join(map(str, said['labels']))}. Add the name of one to the path."
    return f"It is a Zarr group without OME-Zarr metadata; it holds {', '.join(members) or 'nothing'}. {example}"


def _read_array(array: zarr.Array) -> Reading:
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = "".join(_letter({"name": str(name or "")}) for name in names)
    is_clear = len(set(letters)) == array.ndim and {"Y", "X"} <= set(letters)
    return Reading(_lazily(array), letters if is_clear else None)


def _lazily(array: zarr.Array) -> Any:
    """Return a dask array, unless a damaged shape gives too many chunks to list."""
    import dask.array

    pieces = array.shards or array.chunks
    if (
        count := prod(-(-side // max(1, piece)) for side, piece in zip(array.shape, pieces, strict=True))
    ) > MOST_CHUNKS:
        raise ValueError(f"its shape {array.shape} gives {count:,} chunks of {pieces}")
    piece_bytes = prod(pieces) * array.dtype.itemsize
    check_fits(piece_bytes)
    bound_chunks(array, piece_bytes)
    if isinstance(array.store, _RegularFiles):
        _check_chunk_names(array, array.store.root / array.path)
        array.store.largest_bytes = max(LEAST_LIMIT_BYTES, LARGEST_ENCODED * piece_bytes)
    return dask.array.from_zarr(array)


def _check_chunk_names(array: zarr.Array, folder: Path) -> None:
    """Refuse chunks with other names than in the metadata: they would be read as zeros."""
    for inner, _, names in os.walk(folder):
        for name in names:
            key = (Path(inner) / name).relative_to(folder).as_posix()
            if CHUNK_NAME.fullmatch(key) is None:
                continue
            place = tuple(int(number) for number in re.findall(r"\d+", key))
            if len(place) != array.ndim or array.metadata.encode_chunk_key(place) != key:
                raise ValueError(f"its chunk {key} does not have the name that its metadata give")
            return


def _read_level(path: Path, group: zarr.Group, image: Mapping[str, Any], level: int) -> Reading:
    levels = image["datasets"]
    if not 0 <= level < len(levels):
        raise FileError(f"It has the resolution levels 0 to {len(levels) - 1}, but level {level} was requested.")
    named_file(path, name := str(levels[level]["path"]))
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise FileError(f"Its level {level} is not an array.")
    axes = _axes(image, array.ndim)
    letters = "".join(_letter(axis) for axis in axes)
    if len(set(letters)) != array.ndim:
        raise FileError(f"Its metadata names {len(axes)} axes ({letters}), but the array has {array.ndim}.")
    scale, offset = _transform(levels[level], image, array.ndim)
    places = {
        letter: sized(size, unit_name(axis.get("unit")), start)
        for letter, axis, size, start in zip(letters, axes, scale, offset, strict=True)
    }
    return Reading(_lazily(array), letters, places)


def _axes(image: Mapping[str, Any], ndim: int) -> list[Mapping[str, Any]]:
    """Return the axes as dictionaries; version 0.3 has only names, and older ones nothing."""
    axes = image.get("axes") or list(_OLD_AXES[-ndim:].lower())
    return [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]


def _letter(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name", ""))
    return _LETTERS.get(str(axis.get("type", name)), name[:1].upper())


def _transform(dataset: Mapping[str, Any], image: Mapping[str, Any], ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of a level: its own transformations, then those of the whole image."""
    scale, offset = np.ones(ndim), np.zeros(ndim)
    for holder in (dataset, image):
        for step in holder.get("coordinateTransformations") or ():
            if "scale" in step:
                scale, offset = scale * step["scale"], offset * step["scale"]
            if "translation" in step:
                offset = offset + step["translation"]
    return scale, offset


CHUNK = {"Z": 32, "Y": 512, "X": 512}
LARGEST_LAST_LEVEL = 512


def write_ome_zarr(path: Path, labels: Any, spatial: Spatial, name: str, *, is_labels: bool = True) -> None:
    """Write a label image, or probabilities, with smaller levels made by striding, never averaging.

    `labels` may be a zarr array on disk: it is copied chunk by chunk.
    """
    group = zarr.open_group(path, mode="w", zarr_format=2)
    source, factors = labels, [1] * labels.ndim
    datasets = [_write_level(group, 0, source, spatial, factors)]
    while max(size for axis, size in zip(spatial.axes, source.shape, strict=True) if axis in "YX") > LARGEST_LAST_LEVEL:
        source, factors = _halved(dask.array.from_zarr(group[str(len(datasets) - 1)]), factors, spatial.axes)
        datasets.append(_write_level(group, len(datasets), source, spatial, factors))
    axes = [_axis(letter, unit) for letter, unit in zip(spatial.axes, spatial.units, strict=True)]
    image = {"version": "0.4", "name": name, "axes": axes, "datasets": datasets, "type": "nearest"}
    said: dict[str, Any] = {"multiscales": [image]}
    if is_labels:
        said["image-label"] = {"version": "0.4"}
    group.attrs.update(said)


def _halved(level: Any, factors: list[int], axes: str) -> tuple[Any, list[int]]:
    """Take every second pixel along Y and X; the first one keeps its position, so no level is shifted."""
    steps = [2 if axis in "YX" else 1 for axis in axes]
    half = level[tuple(slice(None, None, step) for step in steps)]
    return half, [factor * step for factor, step in zip(factors, steps, strict=True)]


def _write_level(group: zarr.Group, number: int, source: Any, spatial: Spatial, factors: list[int]) -> dict[str, Any]:
    """Copy one level, and return its metadata."""
    chunks = tuple(min(size, CHUNK.get(axis, 1)) for axis, size in zip(spatial.axes, source.shape, strict=True))
    array: Any = group.create_array(
        str(number),
        shape=source.shape,
        dtype=source.dtype,
        chunks=chunks,
        chunk_key_encoding={"name": "v2", "separator": "/"},
        fill_value=0,
    )
    in_chunks = dask.array.asarray(source).rechunk(chunks)
    dask.array.store(in_chunks, array, lock=False)
    scale = [size * factor for size, factor in zip(spatial.scale, factors, strict=True)]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(spatial.translate):
        steps.append({"type": "translation", "translation": list(spatial.translate)})
    return {"path": str(number), "coordinateTransformations": steps}


def _axis(letter: str, unit: str) -> dict[str, str]:
    kind = "space" if letter in SPATIAL_AXES else "time" if letter == "T" else "other"
    named = {"name": letter.lower()}
    if kind != "other":
        named["type"] = kind
    return named if unit == PIXEL else {**named, "unit": unit}
