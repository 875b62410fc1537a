"""`Picture`, an image read from a file, with its axes and placement; units, pixel sizes and sidecar records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.errors import FileError, InputError, short, visible
from napari_tessera.core.file_checks import LONE_SURROGATE, read_json
from napari_tessera.core.result import DEEPEST, LabelImage, without_nan
from napari_tessera.core.spatial import (
    CHANNEL,
    PIXEL,
    SPATIAL_AXES,
    SPELLINGS,
    Layout,
    Spatial,
    check_axes,
    check_spacing,
    guess_axes,
    unit_name,
)
from napari_tessera.core.valid_area import find_fill

MOST_LISTED = 6
NUMBERS = "buif"
"""NumPy's kinds of real numbers."""


@dataclass(frozen=True)
class Picture:
    """An image read from a file.

    Attributes
    ----------
    name : str
        Name of the file without its suffix.
    data : array
        NumPy, or a lazy dask array for a large file or an OME-Zarr.
    spatial : Spatial
        Placement of the axes other than the channels.
    axes : str
        One letter per axis of `data`, with "C" for channels.
    path : Path or None
        Path of the file.
    has_guessed_axes : bool
        Whether the axes were guessed, because neither the file nor the caller gives them.
    notes : tuple of str
        What was done to the pixels because of how they are stored, and what was not read.
    images : dict of int to str
        Name and shape of each image of a file with several, by its number; empty for one.
    series : int
        Number of the image that was read.
    channel_names : tuple of str
        A name for each channel, if the file gives them.
    """

    name: str
    data: Any
    spatial: Spatial
    axes: str
    path: Path | None = None
    has_guessed_axes: bool = False
    notes: tuple[str, ...] = ()
    images: Mapping[int, str] = field(default_factory=dict)
    series: int = 0
    channel_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Placement of one axis, from the file."""

    size: float = 1.0
    offset: float = 0.0
    unit: str = PIXEL


@dataclass(frozen=True)
class Reading:
    """The output of one format's reader, before axes of length one are dropped."""

    data: Any
    axes: str | None = None  # one letter per axis; "Q" and "I" are of unknown meaning
    places: Mapping[str, Place] = field(default_factory=dict)  # by axis letter; missing axes have pixels of size 1
    notes: tuple[str, ...] = ()
    images: Mapping[int, str] = field(default_factory=dict)
    series: int = 0
    channel_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Which image of a file is read, and what else there is."""

    number: int
    images: Mapping[int, str] = field(default_factory=dict)  # name and shape of each by its number; {} if only one
    notes: tuple[str, ...] = ()

    def told_with(self, reading: Reading) -> Reading:
        """Add the list of images and the note to what was read."""
        return replace(reading, series=self.number, images=self.images, notes=(*reading.notes, *self.notes))


def choose_image(
    images: Mapping[int, tuple[str, Sequence[int]]], wanted: int | str | None, *, count: int | None = None
) -> Choice:
    """Choose an image of a file: the largest, the first of equal ones, unless one is `wanted`; a note lists them.

    `images` has the name and the shape of each by its number; `count` is their number if more may be wanted than are
    listed. A wanted text is a name, or a name with the shape, as listed.
    """
    described = {each: _described(name, shape) for each, (name, shape) in images.items()}
    if isinstance(wanted, str):
        wanted = _number_of(wanted, {each: (name, described[each]) for each, (name, _) in images.items()})
    last = max([*images, (count or 0) - 1])
    if wanted is not None and not 0 <= wanted <= last:
        raise FileError(f"It holds the images 0 to {last}, but series {wanted} was requested.")
    number = max(images, key=lambda each: (prod(images[each][1]), -each)) if wanted is None else wanted
    if len(images) < 2:
        return Choice(number)
    if wanted is not None:
        return Choice(number, described)
    listed = ", ".join(f"{each} ({text})" for each, text in islice(described.items(), MOST_LISTED))
    more = f" and {len(images) - MOST_LISTED:,} more" if len(images) > MOST_LISTED else ""
    which = "largest" if len({prod(shape) for _, shape in images.values()}) > 1 else "first"
    note = (
        f"It holds {len(images):,} images: {listed}{more}. Image {number}, the {which}, was read; choose another with "
        "`series` (--series on the command line)."
    )
    return Choice(number, described, (note,))


def _described(name: str, shape: Sequence[int]) -> str:
    return ", ".join(filter(None, (name, " × ".join(map(str, shape)))))


def _number_of(wanted: str, images: Mapping[int, Sequence[str]]) -> int:
    """Return the number of the image that has a name; each has its name, and that with its shape."""
    found = [each for each, names in images.items() if wanted and wanted in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise FileError(f"The images {', '.join(map(str, found))} are named {short(wanted)}. Give the number of one.")
    known = [short(name) for name, _ in images.values() if name]
    there = f"; there are {', '.join(known[:MOST_LISTED])}{' …' * (len(known) > MOST_LISTED)}" if known else ""
    raise FileError(f"It holds no image named {short(wanted)}{there}.")


def hides_pixels(colours: np.ndarray) -> bool:
    """Return whether the last of four channels, (…, 4), is an opacity that hides pixels: then they are no image."""
    fill = find_fill(colours, colours.ndim - 1, may_be_transparent=True) if colours.shape[-1] == 4 else None
    return fill is not None and fill.is_transparent


def sized(size: Any, unit: str, offset: float = 0.0, *, may_be_mirrored: bool = False) -> Place:
    """Return a `Place`, or the default if `size` is 0 or no number; some formats mirror an axis by a negative one."""
    try:
        size = float(size)
    except (TypeError, ValueError):
        return Place()
    size = size if may_be_mirrored else abs(size)
    return Place(size, float(offset), unit) if math.isfinite(size) and size != 0 else Place()


def finish(reading: Reading, name: str, path: Path | None, axes: str | None) -> Picture:
    """Name the axes (from `axes`, else from the file, else by guessing) and drop those of length one."""
    data, letters, places = reading.data, reading.axes, dict(reading.places)
    if np.dtype(data.dtype).kind not in NUMBERS:
        raise InputError(f"It holds {data.dtype} values, but an image holds real numbers (integers or floats).")
    is_unsaid = letters is None or bool(set(letters) & set("QI"))
    are_as_stored = axes is not None and len(axes) == data.ndim
    if axes is not None and are_as_stored:
        places = _renamed(places, letters or axes, axes.upper())
        letters = check_axes(axes, data.shape, data.dtype).axes
    elif letters is None or is_unsaid:
        data, letters = _guessed(data)
    else:
        data, letters = _channels_in_one(data, letters.replace("S", CHANNEL) if CHANNEL not in letters else letters)
    data, letters = _without_singletons(data, letters)
    if axes is not None and not are_as_stored and letters != axes.upper():
        places = _renamed(places, letters, axes.upper()) if len(axes) == len(letters) else places
        letters = check_axes(axes, data.shape, data.dtype).axes
    spatial = _spatial(letters.replace(CHANNEL, ""), places)
    has_guessed_axes = axes is None and is_unsaid
    told = {each: getattr(reading, each) for each in ("notes", "images", "series", "channel_names")}
    return Picture(name, data, spatial, letters, path, has_guessed_axes, **told)


def _renamed(places: Mapping[str, Place], old: str, new: str) -> dict[str, Place]:
    """Keep the size of a renamed axis if both names are spatial, or both are not."""
    return {
        after: places[before]
        for before, after in zip(old, new, strict=True)
        if before in places and (before in SPATIAL_AXES) == (after in SPATIAL_AXES)
    }


def _guessed(data: Any) -> tuple[Any, str]:
    if data.ndim < 2:
        raise InputError(f"It has shape {tuple(data.shape)}, but an image has at least two axes, Y and X.")
    keep = [axis for axis, size in enumerate(data.shape) if size > 1]
    while len(keep) < 2:  # of axes of length one, the last are Y and X
        keep = sorted([*keep, max(axis for axis in range(data.ndim) if axis not in keep)])
    data = data.reshape([data.shape[axis] for axis in keep])
    return data, guess_axes(data.shape, np.dtype(data.dtype))


def _channels_in_one(data: Any, letters: str) -> tuple[Any, str]:
    """Join channels that are colour images: (C, Y, X, S) becomes (Y, X, C · S)."""
    if "S" not in letters:
        return data, letters
    order = [axis for axis, letter in enumerate(letters) if letter not in "CS"]
    moved = data.transpose([*order, letters.index(CHANNEL), letters.index("S")])
    kept = "".join(letters[axis] for axis in order)
    return moved.reshape([*moved.shape[:-2], moved.shape[-2] * moved.shape[-1]]), kept + CHANNEL


def _without_singletons(data: Any, letters: str) -> tuple[Any, str]:
    drop = [axis for axis, letter in enumerate(letters) if data.shape[axis] == 1 and letter not in "YX"]
    index = tuple(0 if axis in drop else slice(None) for axis in range(data.ndim))
    kept = "".join(letter for axis, letter in enumerate(letters) if axis not in drop)
    return (data[index] if drop else data), kept


def _spatial(axes: str, places: Mapping[str, Place]) -> Spatial:
    found = [places.get(axis, Place()) for axis in axes]
    scale, offset = tuple(place.size for place in found), tuple(place.offset for place in found)
    return Spatial(axes, scale, offset, tuple(place.unit for place in found))


def ome_symbol(unit: str) -> str | None:
    """Return the symbol for OME-XML ("µm"), or None for an unknown unit."""
    return SPELLINGS[unit][0] if unit in SPELLINGS else None


def imagej_unit(unit: str) -> str:
    """Return the unit as ImageJ writes it, in ASCII, with other letters escaped as in Java."""
    symbol = {"micrometer": "um", "angstrom": "angstrom", "inch": "inch", "second": "sec"}
    text = symbol.get(unit) or ome_symbol(unit) or unit
    return "".join(each if each.isascii() else f"\\u{ord(each):04x}" for each in text)


MEANINGS = {
    "ZYX": ("a volume", "TYX for a time series"),
    "ZYXC": ("a volume in colour", "TYXC for a time series in colour"),
    "TZYX": ("a time series of volumes", "TCYX for a time series with channels"),
}
"""Meaning of guessed axes (except for 2-D images), and an example of what they may be instead."""
WITH_CHANNELS_LAST = {"ZYX": "YXC for a plane with channels", "TZYX": "ZYXC for a volume with channels"}
"""Examples if the last axis is the shortest."""


def note_on_guessed_axes(picture: Picture) -> tuple[str, ...]:
    """Return a note if the axes of a volume or a film were guessed: the other one gives other results.

    Examples
    --------
    >>> film = Picture("film", np.zeros((40, 512, 512)), Spatial.plain("ZYX"), "ZYX", has_guessed_axes=True)
    >>> note_on_guessed_axes(film)[0][-82:]
    'a volume. If this is wrong, give --axes, for example --axes TYX for a time series.'
    """
    axes, shape = picture.axes, picture.data.shape
    if not picture.has_guessed_axes or axes not in MEANINGS:
        return ()
    meaning, instead = MEANINGS[axes]
    if shape[-1] < min(shape[:-1]):
        instead = WITH_CHANNELS_LAST.get(axes, instead)
    return (
        f"the file does not name its axes; they were guessed as {axes}, {meaning}. If this is wrong, give --axes, "
        f"for example --axes {instead}.",
    )


def with_pixel_size(picture: Picture, spacing: Sequence[float] | None, unit: str | None) -> Picture:
    """Return the image with another pixel size along z, y, x (or one number for all), or another unit."""
    spatial, layout = picture.spatial, Layout(picture.axes)
    sizes: dict[str, float] = {}
    if spacing is not None:
        checked = check_spacing(spacing[0] if len(spacing) == 1 else spacing, layout)
        sizes = dict(zip(layout.space, checked or (), strict=True))
    known = None if spacing is None else spatial.unit  # new sizes are in one unit
    units = {} if (named := unit or known) is None else dict.fromkeys(SPATIAL_AXES, unit_name(named))
    scale = tuple(sizes.get(axis, size) for axis, size in zip(spatial.axes, spatial.scale, strict=True))
    new_units = tuple(units.get(axis, old) for axis, old in zip(spatial.axes, spatial.units, strict=True))
    return replace(picture, spatial=replace(spatial, scale=scale, units=new_units))


def with_axes(picture: Picture, axes: str) -> Picture:
    """Return the image with renamed axes; an axis loses its size if its kind changes."""
    if axes == picture.axes:
        return replace(picture, has_guessed_axes=False)
    spatial = picture.spatial
    entries = zip(spatial.axes, spatial.scale, spatial.translate, spatial.units, strict=True)
    places = {axis: Place(size, offset, unit) for axis, size, offset, unit in entries}
    reading = Reading(picture.data, picture.axes, places, picture.notes, picture.images, picture.series)
    return finish(reading, picture.name, picture.path, axes)


def record_text(provenance: Mapping[str, Any], outputs: Iterable[tuple[str, LabelImage]]) -> str:
    """Return the record as JSON, with the written files, their placement, and the units of the table."""
    written = [
        {
            "file": visible(file),
            "name": image.name,
            "kind": image.kind,
            "spatial": image.spatial.to_json(),
            **({"units": image.units} if image.units else {}),
        }
        for file, image in outputs
    ]
    text = json.dumps(without_nan({**provenance, "outputs": written}), indent=2, ensure_ascii=False, allow_nan=False)
    # A lone surrogate, from a name that is not UTF-8, is written escaped.
    return LONE_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text) + "\n"


def recorded_places(path: Path, reading: Reading) -> Reading:
    """Add the axes and pixel size of the record beside `path`, if it exists and matches; refuse a damaged record."""
    spatial = _recorded_spatial(path)
    if spatial is None or len(spatial["axes"]) != reading.data.ndim:
        return reading
    entries = zip(spatial["axes"], spatial["scale"], spatial["units"], spatial["translate"], strict=True)
    places = {axis: sized(size, unit, start, may_be_mirrored=True) for axis, size, unit, start in entries}
    return replace(reading, axes=spatial["axes"], places=places)


def with_records(paths: Sequence[Path]) -> list[Path]:
    """Add the records beside the files, which are read with them."""
    beside = [path.with_suffix(".json") for path in paths if _recorded_spatial(path) is not None]
    return [*paths, *beside]


def _recorded_spatial(path: Path) -> dict[str, Any] | None:
    """Return the placement in the record; other .json files are ignored."""
    beside = path.with_suffix(".json")
    try:
        record = read_json(beside, DEEPEST)
    except (FileError, ValueError):
        return None
    if not (isinstance(record, dict) and {"tessera", "outputs"} <= record.keys()):
        return None
    from napari_tessera.core.record_schema import Sidecar, check_fields

    try:
        check_fields(Sidecar, record)
    except ValueError as error:
        raise FileError(f"The record {beside} is damaged: {error}. Put the original back, or remove it.") from error
    return next((entry["spatial"] for entry in record["outputs"] if entry["file"] == visible(path.name)), None)
