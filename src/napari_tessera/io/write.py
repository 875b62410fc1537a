"""Write a result: labels or probabilities, the record that replays it, and the table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_tessera.errors import FileError
from napari_tessera.io.picture import Picture
from napari_tessera.io.read import stem
from napari_tessera.io.sidecar import record_text
from napari_tessera.io.together import check_free, written_together
from napari_tessera.result import Kind, LabelImage, Result
from napari_tessera.spec import Table

OUTSIDE_NAMES = re.compile(r"[^\w .-]")
"""What a class may be called, but a file may not everywhere."""
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
        Further images than the first are written as "<name>-<method>", probabilities as "<name>-<class>".
    out_path : str or Path
        Its ending chooses the format: .tif (as ImageJ reads it, where it can be), .ome.tif, .zarr or .ome.zarr
        (OME-Zarr 0.4), .png (one plane, labels up to 65,535, no probabilities) or .npy. The folder is made if it is
        missing.
    picture : Picture, optional
        What was segmented; it is never overwritten.
    overwrite : bool
        Replace what is there.
    inputs : paths
        Other files that were read and must not be overwritten.

    Returns
    -------
    list of Path
        The files written, the labels first. All are written, or none.

    Raises
    ------
    FileError
        If the format is unknown or cannot hold the labels, something is there already, the folder is read-only or the
        disk full.
    """
    out_path = Path(out_path)
    ending = check_format(out_path)
    check_can_hold(out_path, result.images[0].kind)
    read = [*inputs, *([picture.path] if picture is not None and picture.path is not None else [])]
    base = stem(out_path)
    names = [base, *(f"{base}-{OUTSIDE_NAMES.sub('_', image.name)}" for image in result.images[1:])]
    files = [out_path, *(out_path.with_name(name + ending) for name in names[1:])]
    tables = [(out_path.with_name(f"{name}.csv"), image.table) for name, image in named_tables(names, result)]
    paths = [*files, out_path.with_name(f"{base}.json"), *(path for path, _ in tables)]
    check_free(paths, overwrite=overwrite, inputs=read)
    with written_together(paths, overwrite=overwrite) as parts:
        for part, image in zip(parts, result.images, strict=False):
            _write_labels(part, ending, image)
        outputs = zip((file.name for file in files), result.images, strict=True)
        parts[len(files)].write_text(record_text(result.provenance, outputs), encoding="utf-8")
        for part, (_, table) in zip(parts[len(files) + 1 :], tables, strict=True):
            _write_table(part, table)
    return paths


def check_format(path: Path) -> str:
    """Return the ending that says the format.

    Raises
    ------
    FileError
        If it is none that can be written.
    """
    for ending in FORMATS:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[-len(ending) :]
    raise FileError(f"{path} does not say a format that can be written. End its name in one of {', '.join(FORMATS)}.")


def is_of_format(path: Path, ending: str) -> bool:
    """Say whether a file's name ends so; .tiff is .tif, and .zarr is written as .ome.zarr is.

    Examples
    --------
    >>> [is_of_format(Path("cells.ome.tiff"), ending) for ending in ("ome.tif", "tif")]
    [True, False]
    """
    said = next((each for each in FORMATS if path.name.lower().endswith(each)), "")
    return said.replace(".tiff", ".tif").replace(".ome.zarr", ".zarr") == f".{ending}".replace(".ome.zarr", ".zarr")


def check_can_hold(path: Path, kind: Kind) -> None:
    """Refuse probabilities in a format that holds whole numbers.

    Raises
    ------
    FileError
    """
    if kind == "probabilities" and path.name.lower().endswith(".png"):
        raise FileError(f"{path}: PNG holds whole numbers, not probabilities. Write .tif, .ome.zarr or .npy instead.")


def planned_files(out_path: Path) -> list[Path]:
    """Files that `write_result` will write for a result of one label image."""
    check_format(out_path)
    return [out_path, *(out_path.with_name(f"{stem(out_path)}{ending}") for ending in (".json", ".csv"))]


def named_tables(names: list[str], result: Result) -> list[tuple[str, LabelImage]]:
    """Pair file names with the label images that have something in their table."""
    return [(name, image) for name, image in zip(names, result.images, strict=True) if image.table]


def _write_labels(path: Path, ending: str, image: LabelImage) -> None:
    kind = ending.lower()
    if kind.endswith(".zarr"):
        from napari_tessera.io.ome_zarr_labels import write_ome_zarr

        write_ome_zarr(path, image.data, image.spatial, image.name, is_labels=image.kind != "probabilities")
        return
    labels = np.asarray(image.data)
    if kind == ".png":
        from napari_tessera.io.bitmap import write_png

        write_png(path, labels)
    elif kind == ".npy":
        from napari_tessera.io.numpy_files import write_npy

        write_npy(path, labels)
    else:
        from napari_tessera.io.tiff import write_tiff

        write_tiff(path, labels, image.spatial, as_ome=kind.startswith(".ome"))


def _write_table(path: Path, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(table)
        rows.writerows(zip(*(np.asarray(column).tolist() for column in table.values()), strict=True))
