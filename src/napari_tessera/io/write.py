"""Write a result: labels or probabilities, their record, and the table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_tessera.core.atomic_writes import check_free, written_together
from napari_tessera.core.checks import PATH, check_types
from napari_tessera.core.errors import FileError, cell
from napari_tessera.core.result import Kind, LabelImage, Result
from napari_tessera.core.spec import Table
from napari_tessera.io.image_file import Picture, record_text
from napari_tessera.io.read import TIFF_ENDINGS, stem

OUTSIDE_NAMES = re.compile(r"[^\w .-]")
"""Characters of class names that file names cannot have on every system."""
TIFF_AXES = "TZCYXAEHPR"
"""Axes that a TIFF keeps."""
UNSAID_AXES = "QIS"
"""Letters that readers interpret as unknown axes, or as channels."""
FORMATS = (".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".zarr", ".png", ".npy")


def write_result(
    result: Result,
    out_path: str | Path,
    picture: Picture | None = None,
    *,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
) -> list[Path]:
    """Write label images or probabilities, and beside them the record as .json and the table as .csv.

    Parameters
    ----------
    result : Result
        Images after the first are written as "<name>-<method>", probabilities as "<name>-<class>".
    out_path : str or Path
        Its suffix chooses the format: .tif (for ImageJ, if possible), .ome.tif, .zarr or .ome.zarr (OME-Zarr 0.4), .png
        (one plane, labels up to 65,535, no probabilities) or .npy. The folder is made if needed. In a TIFF, Y and X
        become the last axes.
    picture : Picture, optional
        The segmented image; its file is never overwritten.
    overwrite : bool
        Replace existing files.
    inputs : paths
        Other files that were read and must not be overwritten.

    Returns
    -------
    list of Path
        The written files, the labels first. All are written, or none.

    Raises
    ------
    FileError
        If the format is unknown or cannot hold the labels or their axes, a file exists, the folder is read-only or the
        disk is full.
    """
    check_types({"out_path": out_path}, {"out_path": PATH})
    out_path = Path(out_path)
    ending = check_format(out_path)
    check_can_hold(out_path, result.images[0].kind)
    check_axes(out_path, result.images[0].spatial.axes)
    images = [in_order_of(out_path, image) for image in result.images]
    read = [*inputs, *([picture.path] if picture is not None and picture.path is not None else [])]
    base = stem(out_path)
    names = [base, *(f"{base}-{OUTSIDE_NAMES.sub('_', image.name)}" for image in result.images[1:])]
    files = [out_path, *(out_path.with_name(name + ending) for name in names[1:])]
    named = zip(names, result.images, strict=True)
    tables = [(out_path.with_name(f"{name}.csv"), image.table) for name, image in named if image.table]
    paths = [*files, out_path.with_name(f"{base}.json"), *(path for path, _ in tables)]
    check_free(paths, overwrite=overwrite, inputs=read)
    with written_together(paths, overwrite=overwrite) as parts:
        for part, image in zip(parts, images, strict=False):
            _write_labels(part, ending, image)
        outputs = zip((file.name for file in files), images, strict=True)
        parts[len(files)].write_text(record_text(result.provenance, outputs), encoding="utf-8")
        for part, (_, table) in zip(parts[len(files) + 1 :], tables, strict=True):
            _write_table(part, table)
    return paths


def check_format(path: Path) -> str:
    """Return the suffix of an output format. Raises `FileError` if the format cannot be written."""
    for ending in FORMATS:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[-len(ending) :]
    raise FileError(f"{path} does not end in a known format. End its name in one of {', '.join(FORMATS)}.")


def is_of_format(path: Path, ending: str) -> bool:
    """Return whether a file has this suffix; .tiff equals .tif, and .zarr equals .ome.zarr.

    Examples
    --------
    >>> [is_of_format(Path("cells.ome.tiff"), ending) for ending in ("ome.tif", "tif")]
    [True, False]
    """
    own = next((each for each in FORMATS if path.name.lower().endswith(each)), "")
    return own.replace(".tiff", ".tif").replace(".ome.zarr", ".zarr") == f".{ending}".replace(".ome.zarr", ".zarr")


def check_can_hold(path: Path, kind: Kind) -> None:
    """Refuse probabilities in an integer format."""
    if kind == "probabilities" and path.name.lower().endswith(".png"):
        raise FileError(f"{path}: PNG holds whole numbers, not probabilities. Write .tif, .ome.zarr or .npy instead.")


def check_axes(path: Path, axes: str) -> None:
    """Refuse axes that the format cannot store."""
    name = path.name.lower()
    if name.endswith(".png") and len(axes) > 2:
        raise FileError(
            f"{path}: PNG holds one plane, but the labels have the axes {axes}. Write .tif, .ome.zarr or .npy instead."
        )
    strange = [axis for axis in axes if axis in UNSAID_AXES]
    if name.endswith(".zarr") and strange:
        raise FileError(
            f"{path}: an OME-Zarr does not keep the axes {', '.join(strange)}. Name "
            "them by other letters with `axes`, or write .npy instead."
        )
    strange = [axis for axis in axes if axis not in TIFF_AXES]
    if name.endswith(TIFF_ENDINGS) and strange:
        raise FileError(
            f"{path}: TIFF has no axis {', '.join(strange)}, but the labels have the axes {axes}. Give it another "
            f"letter, such as T or P (--axes), or write .ome.zarr or .npy instead."
        )


def in_order_of(path: Path, image: LabelImage) -> LabelImage:
    """Return a label image with its axes in the format's order: Y and X are the last ones in a TIFF."""
    axes = image.spatial.axes
    wanted = "".join(axis for axis in axes if axis not in "YX") + "YX"
    if wanted == axes or not path.name.lower().endswith(TIFF_ENDINGS):
        return image
    data = np.asarray(image.data).transpose([axes.index(axis) for axis in wanted])
    return replace(image, data=data, spatial=image.spatial.reordered(wanted))


def note_on_axes(path: Path, image: LabelImage) -> tuple[str, ...]:
    """Return a note if the axes were moved."""
    axes, written = image.spatial.axes, in_order_of(path, image).spatial.axes
    return () if axes == written else (f"The labels have the axes {axes}; they are written as {written}, for TIFF.",)


def planned_files(out_path: Path) -> list[Path]:
    """Return the files that `write_result` will write for a result with one label image."""
    check_format(out_path)
    return [out_path, *(out_path.with_name(f"{stem(out_path)}{ending}") for ending in (".json", ".csv"))]


def _write_labels(path: Path, ending: str, image: LabelImage) -> None:
    kind = ending.lower()
    if kind.endswith(".zarr"):
        from napari_tessera.io.ome_zarr import write_ome_zarr

        write_ome_zarr(path, image.data, image.spatial, image.name, is_labels=image.kind != "probabilities")
        return
    labels = np.asarray(image.data)
    if kind == ".png":
        from napari_tessera.io.bitmap import write_png

        write_png(path, labels)
    elif kind == ".npy":
        from napari_tessera.io.npy import write_npy

        write_npy(path, labels)
    else:
        from napari_tessera.io.tiff import write_tiff

        write_tiff(path, labels, image.spatial, as_ome=kind.startswith(".ome"))


def _write_table(path: Path, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(map(cell, table))
        for values in zip(*(np.asarray(column).tolist() for column in table.values()), strict=True):
            rows.writerow([cell(value) if isinstance(value, str) else value for value in values])
