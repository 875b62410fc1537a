"""Put one image of every frame (time, position, …) together, numbers and tables included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_tessera import labels as label_arrays
from napari_tessera.request import Request
from napari_tessera.result import Chosen, Other
from napari_tessera.spec import Table

NUMBERED_ON = ("objects", "segments")
NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass
class Stack:
    """One image as it grows frame by frame.

    Attributes
    ----------
    request : Request
    image : Other
        As the first frame has it: its name and kind hold for all.
    data : array
        In the working order of axes; made with the first frame, and widened when numbers outgrow it.
    tables : list of dict
        One per frame.
    largest : int
        Largest number so far.
    """

    request: Request
    image: Other
    data: np.ndarray = field(default_factory=lambda: np.zeros((), np.int32))
    tables: list[Table] = field(default_factory=list)
    largest: int = 0

    def add(self, image: Other, frame: tuple[int, ...]) -> None:
        """Add a frame; objects are numbered on from the frames before, classes keep their number."""
        if image.kind in NUMBERED_ON:
            image = self._numbered_on(image)
        self.tables.append(image.table)
        if int(np.prod(self.request.loop_shape)) == 1:
            self.data = image.data.reshape(self._whole_shape(image.data))
        else:
            self._put(image.data, frame)

    def whole(self) -> Other:
        """Return the image of all frames, with the axes of the request."""
        data = np.ascontiguousarray(self.request.layout.from_working(self.data))
        return replace(self.image, data=data, table=joined(self.tables, self.request))

    def _numbered_on(self, image: Other) -> Other:
        data, table = image.data, image.table
        if self.largest:
            data = label_arrays.numbered_on(data, self.largest)
            table = {**table, "label": table["label"] + self.largest} if table else table
        self.largest = max(self.largest, int(data.max()))
        return replace(image, data=data, table=table)

    def _whole_shape(self, data: np.ndarray) -> tuple[int, ...]:
        """Shape of all frames together; axes before those in space, such as the classes, stay in front."""
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
    """Put the frames' tables below each other, with a column for each looped axis."""
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


def joined_chosen(chosen: list[Chosen], request: Request) -> Chosen:
    """Put what was chosen for each frame into lists, in raster order of the frames; what was for one frame stays."""
    if not request.layout.loops:
        return chosen[0] if chosen else {}
    names = dict.fromkeys(name for each in chosen for name in each)
    return {name: [each.get(name) for each in chosen] for name in names}


def joined_notes(notes: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Tell once what was said of several frames; of sentences that differ in numbers only, the first stands for all.

    Examples
    --------
    >>> joined_notes([("3 objects were dropped.",), (), ("5 objects were dropped.", "It is dark.")])
    ('3 objects were dropped. (Said of 2 frames, each with its own numbers; these are of the first.)', 'It is dark.')
    """
    alike: dict[str, list[str]] = {}
    for note in (note for said in notes for note in said):
        alike.setdefault(NUMBER.sub("#", note), []).append(note)
    more = " (Said of {} frames, each with its own numbers; these are of the first.)"
    return tuple(same[0] + (more.format(len(same)) if set(same[1:]) - {same[0]} else "") for same in alike.values())
