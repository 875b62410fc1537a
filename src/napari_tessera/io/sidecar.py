"""The record beside a file: how it was made, and the pixel size that PNG and NumPy cannot hold themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_tessera.errors import FileError
from napari_tessera.escaping import visible
from napari_tessera.io.picture import Reading, sized
from napari_tessera.io.strict_json import read_json, without_nan
from napari_tessera.provenance import DEEPEST
from napari_tessera.result import LabelImage

HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def record_text(provenance: Mapping[str, Any], outputs: Iterable[tuple[str, LabelImage]]) -> str:
    """Return the record as JSON, with a list of the files written and where each lies."""
    written = [
        {"file": visible(file), "name": image.name, "kind": image.kind, "spatial": image.spatial.to_json()}
        for file, image in outputs
    ]
    text = json.dumps(without_nan({**provenance, "outputs": written}), indent=2, ensure_ascii=False, allow_nan=False)
    # Half a character, as of a name that is not UTF-8, is written as it is shown.
    return HALF_CHARACTER.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text) + "\n"


def recorded_places(path: Path, reading: Reading) -> Reading:
    """Add the axes and pixel size that the record beside `path` gives for it, if there is one and it fits.

    Raises
    ------
    FileError
        If there is a record of Tessera, but a damaged one.
    """
    spatial = _recorded_spatial(path)
    if spatial is None or len(spatial["axes"]) != reading.data.ndim:
        return reading
    entries = zip(spatial["axes"], spatial["scale"], spatial["units"], spatial["translate"], strict=True)
    places = {axis: sized(size, unit, start) for axis, size, unit, start in entries}
    return replace(reading, axes=spatial["axes"], places=places)


def with_records(paths: Sequence[Path]) -> list[Path]:
    """Add to files that are read the records beside them that are read with them."""
    beside = [path.with_suffix(".json") for path in paths if _recorded_spatial(path) is not None]
    return [*paths, *beside]


def _recorded_spatial(path: Path) -> dict[str, Any] | None:
    """Return what the record says; any other .json file beside an image is passed over."""
    beside = path.with_suffix(".json")
    try:
        record = read_json(beside, DEEPEST)
    except (FileError, ValueError):
        return None
    if not (isinstance(record, dict) and {"tessera", "outputs"} <= record.keys()):
        return None
    from napari_tessera.record_schema import Sidecar
    from napari_tessera.schema import check_fields

    try:
        check_fields(Sidecar, record)
    except ValueError as error:
        raise FileError(f"The record {beside} is damaged: {error}. Put the original back, or remove it.") from error
    return next((entry["spatial"] for entry in record["outputs"] if entry["file"] == visible(path.name)), None)
