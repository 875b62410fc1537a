"""Labels, and probabilities, as OME-Zarr 0.4.

Version 0.4 (on Zarr 2) is written because every tool of today reads it: any release of napari-ome-zarr, Fiji,
Bio-Formats, QuPath and webKnossos. Version 0.5 (on Zarr 3) is read by the newer of them only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import zarr

from napari_tessera.spatial import PIXEL, SPATIAL_AXES, Spatial

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
    """Take every second pixel along Y and X; the first one keeps its place, so that no level is shifted."""
    steps = [2 if axis in "YX" else 1 for axis in axes]
    half = level[tuple(slice(None, None, step) for step in steps)]
    return half, [factor * step for factor, step in zip(factors, steps, strict=True)]


def _write_level(group: zarr.Group, number: int, source: Any, spatial: Spatial, factors: list[int]) -> dict[str, Any]:
    """Copy one level and return what the metadata say of it."""
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
