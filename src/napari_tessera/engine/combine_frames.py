"""Combine the results of all frames (time, position, …): images, tables, notes and automatic values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_tessera.core import labels as label_arrays
from napari_tessera.core.region import Crop
from napari_tessera.core.result import AutoValues, ExtraImage, Result, position_columns
from napari_tessera.core.spatial import PIXEL, SHORT_UNITS, SPATIAL_AXES
from napari_tessera.core.spec import Table
from napari_tessera.engine.bind import Request

MOST_TOLD = 3
"""Up to this many values are listed; of more, the smallest and the largest."""


def describe_auto_values(result: Result) -> str:
    """Return the automatic values of a run as a sentence; empty without any.

    Examples
    --------
    >>> describe_auto_values(Result((), {"chosen": {"levels": [112.0]}}))
    'Level: 112.'
    >>> describe_auto_values(Result((), {"chosen": {"diameter_px": [27.31, 30.0, 29.0, 28.0]}}))
    'Diameter: 27.3 to 30 px.'
    >>> record = {"chosen": {"diameter_px": 27.31}, "spacing": [0.5, 0.5], "unit": "micrometer"}
    >>> describe_auto_values(Result((), record))
    'Diameter: 27.3 px (13.7 µm).'
    """
    chosen = result.provenance.get("chosen", {})
    said = []
    if "levels" in chosen:
        said.append(_levels(chosen["levels"]))
    if "diameter_px" in chosen:
        said.append(_diameter(chosen["diameter_px"], result.provenance))
    return " ".join(each for each in said if each)


def _levels(levels: Any) -> str:
    frames = levels if levels and isinstance(levels[0], list) else [levels]
    counts = {len(each) for each in frames}
    if not counts - {0}:
        return ""
    name = "Level" if max(counts) == 1 else "Levels"
    if len(frames) == 1:
        return f"{name}: {', '.join(map(_number, frames[0]))}."
    return f"{name}: {_several([level for each in frames for level in each])}."


def _diameter(diameters: Any, record: Any) -> str:
    values = diameters if isinstance(diameters, list) else [diameters]
    values = [value for value in values if value is not None]
    if not values:
        return ""
    plain = f"Diameter: {_several(values)} px"
    spacing, unit = record.get("spacing"), record.get("unit", PIXEL)
    if not spacing or unit == PIXEL:
        return f"{plain}."
    return f"{plain} ({_several([value * spacing[-1] for value in values])} {SHORT_UNITS.get(unit, unit)})."


def _several(values: list[float]) -> str:
    different = sorted(set(values))
    if len(different) <= MOST_TOLD:
        return ", ".join(map(_number, different))
    return f"{_number(different[0])} to {_number(different[-1])}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


NUMBERED_ON = ("objects", "segments")
NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass
class Stack:
    """One image of all frames.

    Attributes
    ----------
    request : Request
    image : ExtraImage
        Of the first frame: all frames have its name and kind.
    data : array
        In the working order of axes; allocated with the first frame, and widened if numbers outgrow its dtype.
    tables : list of dict
        One per frame.
    largest : int
        Largest number so far.
    """

    request: Request
    image: ExtraImage
    data: np.ndarray = field(default_factory=lambda: np.zeros((), np.int32))
    tables: list[Table] = field(default_factory=list)
    largest: int = 0

    def add(self, image: ExtraImage, frame: tuple[int, ...]) -> None:
        """Add a frame; object numbers continue after the earlier frames, classes keep their number."""
        if image.kind in NUMBERED_ON:
            image = self._numbered_on(image)
        self.tables.append(image.table)
        if int(np.prod(self.request.loop_shape)) == 1:
            self.data = image.data.reshape(self._whole_shape(image.data))
        else:
            self._put(image.data, frame)

    def whole(self) -> ExtraImage:
        """Return the image of all frames, with the axes of the request."""
        data = np.ascontiguousarray(self.request.layout.from_working(self.data))
        return replace(self.image, data=data, table=joined(self.tables, self.request))

    def _numbered_on(self, image: ExtraImage) -> ExtraImage:
        data, table = image.data, image.table
        if self.largest:
            data = label_arrays.offset_labels(data, self.largest)
            table = {**table, "label": table["label"] + self.largest} if table else table
        self.largest = max(self.largest, int(data.max()))
        return replace(image, data=data, table=table)

    def _whole_shape(self, data: np.ndarray) -> tuple[int, ...]:
        """Return the shape of all frames together; axes before space, such as the classes, stay in front."""
        n_space = len(self.request.layout.space)
        return (*data.shape[:-n_space], *self.request.loop_shape, *data.shape[-n_space:])

    def _put(self, data: np.ndarray, frame: tuple[int, ...]) -> None:
        if self.data.ndim == 0:
            self.data = np.zeros(self._whole_shape(data), data.dtype)
        if data.dtype.itemsize > self.data.dtype.itemsize:
            self.data = self.data.astype(data.dtype)
        place: tuple[Any, ...] = (..., *frame, *(slice(None),) * len(self.request.layout.space))
        self.data[place] = data


def joined(tables: list[Table], request: Request) -> Table:
    """Concatenate the frames' tables, with a column for each looped axis."""
    loops = request.layout.loops.lower()
    placed = [
        {**table, **{axis: np.full(len(table["label"]), index) for axis, index in zip(loops, frame, strict=True)}}
        for frame, table in zip(np.ndindex(request.loop_shape), tables, strict=True)
        if table
    ]
    if not placed:
        return {}
    names = [name for name in placed[0] if all(name in table for table in placed)]
    return {name: np.concatenate([table[name] for table in placed]) for name in names}


def merge_auto_values(chosen: list[AutoValues], request: Request) -> AutoValues:
    """Collect the automatic values of all frames in lists, in raster order; those of one frame stay as they are."""
    if not request.layout.loops:
        return chosen[0] if chosen else {}
    names = dict.fromkeys(name for each in chosen for name in each)
    return {name: [each.get(name) for each in chosen] for name in names}


def joined_notes(notes: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Merge the notes of all frames; notes that differ only in numbers are shown once.

    Examples
    --------
    >>> joined_notes([("3 objects were dropped.",), (), ("5 objects were dropped.", "It is dark.")])
    ('3 objects were dropped. (In 2 frames, with other numbers in each; these are of the first.)', 'It is dark.')
    """
    alike: dict[str, list[str]] = {}
    for note in (note for said in notes for note in said):
        alike.setdefault(NUMBER.sub("#", note), []).append(note)
    more = " (In {} frames, with other numbers in each; these are of the first.)"
    return tuple(same[0] + (more.format(len(same)) if set(same[1:]) - {same[0]} else "") for same in alike.values())


def in_whole_image(table: Table, crop: Crop, spacing: Mapping[str, float]) -> Table:
    """Convert the positions of a crop's objects to coordinates of the whole image, and add the planes.

    Parameters
    ----------
    table : dict of str to array
        Corners in pixels (``bbox-0``, ``box_y0``), centroids in the unit of `spacing` (``centroid-0``).
    crop : Crop
    spacing : mapping of str to float
        Size of a pixel along "Z", "Y" and "X"; 1 if missing.

    Returns
    -------
    dict of str to array
        With a column such as ``z`` for every axis along which the crop is a single plane.
    """
    if not table:
        return table
    starts: dict[str, float] = {}
    planes: Table = {}
    for axis, part in zip(crop.axes, crop.index, strict=True):
        if isinstance(part, int):
            planes[axis.lower()] = np.full(len(table["label"]), part)
        else:
            starts[axis] = part.start

    space = "".join(axis for axis in SPATIAL_AXES if axis in starts)
    moves = {name: starts[axis] for name, axis in position_columns(space).items()}
    moves |= {f"centroid-{place}": starts[axis] * spacing.get(axis, 1.0) for place, axis in enumerate(space)}
    return {name: column + moves[name] if name in moves else column for name, column in table.items()} | planes
