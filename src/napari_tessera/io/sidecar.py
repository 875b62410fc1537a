"""The record beside a file: how it was made, and the pixel size that PNG and NumPy cannot hold themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_tessera.io.open_files import read_text
from napari_tessera.io.picture import Reading, sized
from napari_tessera.result import LabelImage
from napari_tessera.spatial import Spatial

LARGEST_RECORD_BYTES = 2**24


def record_text(provenance: Mapping[str, Any], outputs: Iterable[tuple[str, LabelImage]]) -> str:
    """Return the record as JSON, with a list of the files written and where each lies."""
    written = [
        {"file": file, "name": image.name, "kind": image.kind, "spatial": image.spatial.to_json()}
        for file, image in outputs
    ]
    return json.dumps({**provenance, "outputs": written}, indent=2, ensure_ascii=False) + "\n"


def recorded_places(path: Path, reading: Reading) -> Reading:
    """Add the axes and pixel size that the record beside `path` gives for it, if there is one and it fits."""
    spatial = _recorded_spatial(path)
    if spatial is None or len(spatial.axes) != reading.data.ndim:
        return reading
    entries = zip(spatial.axes, spatial.scale, spatial.units, spatial.translate, strict=True)
    places = {axis: sized(size, unit, start) for axis, size, unit, start in entries}
    return replace(reading, axes=spatial.axes, places=places)


def with_records(paths: Sequence[Path]) -> list[Path]:
    """Add to files that are read the records beside them that are read with them."""
    beside = [path.with_suffix(".json") for path in paths if _recorded_spatial(path) is not None]
    return [*paths, *beside]


def _recorded_spatial(path: Path) -> Spatial | None:
    """Return what the record says; any other .json file beside an image is passed over."""
    try:
        record = json.loads(read_text(path.with_suffix(".json"), largest_bytes=LARGEST_RECORD_BYTES))
        for entry in record["outputs"]:
            if entry["file"] == path.name:
                return Spatial.from_json(entry["spatial"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None
