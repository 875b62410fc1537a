"""Read an image or labels from any supported format or through an installed napari reader plugin; read points."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.checks import LARGEST_LABEL, whole_numbers
from napari_tessera.core.errors import FileError, visible
from napari_tessera.core.file_checks import (
    LARGEST_COMPRESSION,
    check_can_hold,
    check_exists,
    check_fits,
    explain_damage,
    files_in,
    is_zarr,
    read_text,
    stored_bytes,
)
from napari_tessera.core.jobs import run_job
from napari_tessera.core.labels import renumbering
from napari_tessera.io.image_file import Picture, Reading, choose_image, finish, recorded_places, sized, unit_name

FORMATS = "TIFF, OME-TIFF, ImageJ TIFF, LSM, PNG, JPEG, BMP, GIF, NumPy (.npy, .npz), OME-Zarr and Zarr"

PROGRAMS = (".py", ".pyw")


def read_with_plugin(path: Path, series: int | str | None = None, *, as_labels: bool = False) -> Reading:
    """Read an image (or label) layer that a reader plugin finds; napari's own reader would run a program."""
    if path.suffix.lower() in PROGRAMS:
        raise FileError(f"A file ending in {path.suffix} is a program. Give an image, such as {FORMATS}.")
    found = [layer for layer in _layers(path) if layer[0] is not None]  # napari's own reader returns None for no layer
    labels, images = ([layer for layer in found if layer[2] == kind] for kind in ("labels", "image"))
    layers = labels if as_labels else images or labels
    if not layers:
        raise FileError(f"The reader plugin found no layer with {'labels' if as_labels else 'an image'} in it.")
    planes = [data[0] if settings.get("multiscale") else data for data, settings, _ in layers]
    names = [visible(str(settings.get("name", ""))) for _, settings, _ in layers]
    sizes = {each: (name, np.shape(data)) for each, (name, data) in enumerate(zip(names, planes, strict=True))}
    choice = choose_image(sizes, series)
    return choice.told_with(_read_by_plugin(planes[choice.number], layers[choice.number][1]))


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


def _read_by_plugin(data: Any, settings: Mapping[str, Any]) -> Reading:
    """Name the axes of a layer: colours last, a channel axis as the plugin says, space at the end."""
    shape = np.shape(data)
    channel = len(shape) - 1 if settings.get("rgb") else settings.get("channel_axis")
    others = len(shape) - (channel is not None)
    if others > 4:
        return Reading(data)
    letters = list("TZYX"[-others:])
    scale, units = settings.get("scale"), settings.get("units")
    units = [units] * others if isinstance(units, str) else units
    sizes = [1.0] * others if scale is None or len(scale) != others else scale
    units = [None] * others if units is None or len(units) != others else units
    places = {
        letter: sized(size, unit_name(None if unit is None else str(unit)))
        for letter, size, unit in zip(letters, sizes, units, strict=True)
    }
    if channel is not None:
        letters.insert(int(channel) % len(shape), "C")
    return Reading(data, "".join(letters), places)


TIFF_ENDINGS = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".ndpi", ".qptiff", ".scn", ".flex")
MOST_COLORS = 10_000
"""Number of colours above which a picture is no label image."""
MANY_CHUNKS = 20_000
MOST_LEFT_OUT = 1000
"""Largest ratio of all chunks to existing chunks, for an image with many chunks."""
DOUBLE_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.btf", ".ome.zarr")


def read_image(
    path: str | Path, *, level: int = 0, series: int | str | None = None, axes: str | None = None
) -> Picture:
    """Read an image with its axes, its pixel size and their units.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-TIFF, ImageJ TIFF, PNG, JPEG, NumPy or (OME-)Zarr; any other format if a napari reader plugin for it
        is installed. For OME-Zarr the path may name a part, such as "plate.zarr/A/1/0" or "image.zarr/labels/nuclei".
    level : int
        Resolution level, 0 is full size; formats without levels have only 0.
    series : int or str, optional
        Number, from 0, or name of the image in a file with several (series, scenes, positions, frames); None reads the
        largest, the first of equal ones, and `notes` lists them.
    axes : str, optional
        One letter per axis, if the axes in the file are missing or wrong; either for all axes as stored, or for those
        longer than one pixel.

    Returns
    -------
    Picture
        Axes of length one are dropped, except Y and X. `data` is a dask array for Zarr and for TIFF of a gigabyte or
        more.

    Raises
    ------
    FileError
        If the file is missing, empty, damaged, or of an unknown format; if planes, parts or files that it names are
        missing or outside its folder; if it is not a regular file.

    Notes
    -----
    Without metadata, axes are guessed from the shape: YX, ZYX, TZYX, and colours last if there are three or four. EXIF
    rotation and opacity are ignored, and a screen's pixels per inch (72, 96) are no pixel size. Inverted grey is
    inverted back, and palettes, CMYK and YCbCr become RGB; the palettes of ImageJ and of microscopes are only display
    colours, and are ignored. What was done is in `notes`.
    """
    return _read(path, level, series, axes, as_labels=False)


def read_labels(
    path: str | Path,
    *,
    level: int = 0,
    series: int | str | None = None,
    axes: str | None = None,
    number_colors: bool = False,
) -> Picture:
    """Read a label image; arguments and result as `read_image`.

    An OME-Zarr image with exactly one label image gives that one; palette images give their numbers. Whole numbers
    stored as floating point, as in ImageJ, become int32 or int64. A picture in colour of which all pixels are grey
    gives its grey values.

    Parameters
    ----------
    path, level, series, axes
        As for `read_image`.
    number_colors : bool
        Give each colour of a picture a number, in the order in which they first appear; black, or else the most common
        colour, is background.

    Raises
    ------
    FileError
        As `read_image`, and if the values are not whole numbers, floating-point values are not in memory, or there are
        channels whose colours are not to be numbered.
    """
    picture = _read(path, level, series, axes, as_labels=True)
    if "C" in picture.axes:
        picture = _of_colors(picture, number_colors=number_colors)
    labels = whole_numbers(picture.data, str(path), FileError)
    if not isinstance(labels, np.ndarray) or int(labels.max(initial=0)) <= LARGEST_LABEL:
        return replace(picture, data=labels)
    note = (
        f"Its labels go up to {labels.max():,}; above 2⁶³ − 1 they have new numbers, from 1 in the order of the pixels."
    )
    return replace(picture, data=run_job(renumbering(labels))[0], notes=(*picture.notes, note))


def _of_colors(picture: Picture, *, number_colors: bool) -> Picture:
    """Return the numbers of the colours of a picture, or its grey values if it has no colours."""
    shape, at = tuple(picture.data.shape), picture.axes.index("C")
    refusal = f"{picture.path} has channels (axes {picture.axes}, shape {shape}), but labels have no channels."
    if shape[at] != 3 or picture.data.dtype not in (np.uint8, np.uint16):
        raise FileError(refusal)
    axes = picture.axes.replace("C", "")
    with explain_damage(picture.path or Path(picture.name), "a label image"):
        red, green, blue = np.moveaxis(np.asarray(picture.data), at, 0).astype(np.int64)
    if np.array_equal(red, green) and np.array_equal(red, blue):
        note = "It is a picture in colour, but all its pixels are grey: their values are the labels."
        return replace(picture, data=red.astype(picture.data.dtype), axes=axes, notes=(*picture.notes, note))
    packed = red << 32 | green << 16 | blue
    colors, counts = np.unique(packed, return_counts=True)
    if not number_colors or len(colors) > MOST_COLORS:
        raise FileError(f"{refusal} {_on_colors(len(colors))}")
    background = colors[0] if colors[0] == 0 else colors[counts.argmax()]
    labels, _ = run_job(renumbering(np.where(packed == background, 0, packed + 1)))
    name = "black" if background == 0 else f"the most common one, RGB {tuple(_rgb(int(background)))},"
    note = f"Its {len(colors)} colours became numbers: {name} is background, the others are 1 to {len(colors) - 1}."
    return replace(picture, data=labels, axes=axes, notes=(*picture.notes, note))


def _on_colors(count: int) -> str:
    if count > MOST_COLORS:
        return f"It has {count:,} colours, as a photograph or a JPEG has them. Save the labels as numbers, in a TIFF."
    return (
        f"It has {count:,} colours. If each is an object or a class, and black or the most common one is background, "
        "number them: number_colors=True, or --number-colors on the command line."
    )


def _rgb(packed: int) -> tuple[int, int, int]:
    return packed >> 32, packed >> 16 & 0xFFFF, packed & 0xFFFF


def load(picture: Picture) -> Picture:
    """Load the pixels into memory. Raises `FileError` if a part of the file is damaged, or it does not fit."""
    path, data = picture.path or Path(picture.name), picture.data
    with explain_damage(path, "an image"):
        if not isinstance(data, np.ndarray):
            _check_believable(path, data)
        return replace(picture, data=np.asarray(data))


def _check_believable(path: Path, data: Any) -> None:
    """Before memory is allocated, refuse a stored image that is too large, or of which nearly all chunks are missing.

    A Zarr may omit chunks, so a damaged shape looks like an image that is almost empty.
    """
    if path.exists():
        check_can_hold(stored_bytes(path, enough=data.nbytes // LARGEST_COMPRESSION + 1), data.nbytes)
    if path.is_dir() and data.npartitions > MANY_CHUNKS:
        enough = data.npartitions // MOST_LEFT_OUT + 1
        if (files := sum(1 for _ in islice(files_in(path), enough))) < enough:
            raise ValueError(f"only {files} of its {data.npartitions:,} chunks exist")
    check_fits(data.nbytes)


def stem(path: str | Path) -> str:
    """Return the file's name without its suffix; ".ome.tif" and ".ome.zarr" are one suffix.

    Examples
    --------
    >>> stem("cells.ome.tif"), stem("day.1.png")
    ('cells', 'day.1')
    """
    name = Path(path).name
    for ending in DOUBLE_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return Path(name).stem


def _read(path: str | Path, level: int, series: int | str | None, axes: str | None, *, as_labels: bool) -> Picture:
    path = check_exists(path, may_be_folder=True)
    check_exists(path, may_be_folder=is_zarr(path))
    with explain_damage(path, "a label image" if as_labels else "an image"):
        return finish(_reading(path, level, series, as_labels), stem(path), path, axes)


def _reading(path: Path, level: int, series: int | str | None, as_labels: bool) -> Reading:
    if path.is_dir():
        from napari_tessera.io.ome_zarr import read_zarr

        return read_zarr(path, level, series, as_labels=as_labels)
    ending = path.suffix.lower()
    if ending in TIFF_ENDINGS:
        from napari_tessera.io.tiff import read_tiff

        return read_tiff(path, level, series, as_labels=as_labels)
    if level:
        raise FileError(f"It has only resolution level 0, but level {level} was requested.")
    return _read_flat(path, ending, series, as_labels)


def _read_flat(path: Path, ending: str, series: int | str | None, as_labels: bool) -> Reading:
    """Read a format without resolution levels."""
    from napari_tessera.io import bitmap
    from napari_tessera.io import npy as numpy_files

    if ending in bitmap.ENDINGS:
        return recorded_places(path, bitmap.read_bitmap(path, series, as_labels=as_labels))
    if ending == ".npy":
        choose_image({0: ("", ())}, series)
        return recorded_places(path, numpy_files.read_npy(path))
    if ending == ".npz":
        return numpy_files.read_npz(path, series)
    return read_with_plugin(path, series, as_labels=as_labels)


LARGEST_TABLE_BYTES = 2**28
"""About six million points."""


def read_points(path: str | Path) -> np.ndarray:
    r"""Read points from a CSV file.

    Parameters
    ----------
    path : str or Path
        A file as napari saves points (columns "index", "axis-0", "axis-1", …); or with columns named by axis ("y", "x"
        or "z", "y", "x", in any order; other columns are ignored); or numbers without a header, in the order of the
        image's axes. Separated by commas, semicolons or tabs.

    Returns
    -------
    array
        (N, D) float64, in pixels, in the order of the image's axes.

    Raises
    ------
    FileError
        If the file is missing, does not have such columns, or has a value that is not a number.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "seeds.csv"
    >>> _ = path.write_text("x,y\n3,1\n")
    >>> read_points(path)
    array([[1., 3.]])
    """
    path = check_exists(path)
    with explain_damage(path, "a table of points"):
        rows = _rows(path)
        if not rows:
            raise FileError("It is empty; points need a row each.")
        has_header = _is_header(rows[0])
        columns = _columns(rows[0]) if has_header else list(range(len(rows[0])))
        return _numbers(rows, columns, first_row=int(has_header))


def _rows(path: Path) -> list[list[str]]:
    text = read_text(path, largest_bytes=LARGEST_TABLE_BYTES, encoding="utf-8-sig")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    return [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(cell.strip() for cell in row)]


def _is_header(row: list[str]) -> bool:
    try:
        np.array(row, float)
    except ValueError:
        return True
    return False


def _columns(header: list[str]) -> list[int]:
    """Return the coordinate columns, in the order of the axes."""
    names = [cell.strip().lower() for cell in header]
    numbered = sorted(
        (int(match[1]), column) for column, name in enumerate(names) if (match := re.fullmatch(r"axis-(\d+)", name))
    )
    if numbered:
        return [column for _, column in numbered]
    if {"y", "x"} <= set(names):
        return [names.index(axis) for axis in "tzyx" if axis in names]
    raise FileError(
        f"It has the columns {', '.join(header)}, but points need y, x (and z), or axis-0, axis-1, … as napari saves."
    )


def _numbers(rows: list[list[str]], columns: list[int], first_row: int) -> np.ndarray:
    points = np.empty((len(rows) - first_row, len(columns)), np.float64)
    for number, row in enumerate(rows[first_row:], first_row):
        try:
            points[number - first_row] = [float(row[column]) for column in columns]
        except (ValueError, IndexError):
            raise FileError(f"Row {number + 1} ({', '.join(row)}) does not hold {len(columns)} numbers.") from None
    return points
