"""Run a request frame by frame (time, position, …), combine the frames, and record the run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from napari_tessera.core import labels as label_arrays
from napari_tessera.core.errors import ModelError
from napari_tessera.core.jobs import Job, Progress, in_background, monotonic, subtask
from napari_tessera.core.memory import check_room, explaining_lack_of_memory
from napari_tessera.core.region import Crop
from napari_tessera.core.result import (
    AutoValues,
    ExtraImage,
    Kind,
    LabelImage,
    MethodOutput,
    Result,
    describe_array,
    embed,
    make_record,
    position_columns,
    utc_now,
    with_seconds,
)
from napari_tessera.core.spatial import CHANNEL as CHANNEL_LETTER
from napari_tessera.core.spatial import SPATIAL_AXES
from napari_tessera.core.spec import Table
from napari_tessera.core.valid_area import filled, find_fill
from napari_tessera.engine.bind import Request, cropped
from napari_tessera.models import registry as catalogue

SHARE_OF_METHOD = 0.85
NUMBERED_ON = ("objects", "segments")
"""Kinds whose numbers continue in the next frame."""
NUMBER = re.compile(r"\d+(\.\d+)?")
MOST_FRAMES = 5
"""Up to so many frames are named in a note."""
SCIPY = "SciPy, which the methods use,"
CHANNEL = "channel"
Models = dict[str, dict[str, Any]]
"""Name and SHA-256 of a model file, and of the one that rescores it, by the parameter that names it."""


def job(request: Request) -> Job[Result]:
    """Run a request: yields `Progress`, returns the `Result`."""
    check_room("scipy.linalg", SCIPY)
    with explaining_lack_of_memory(request.method.name, request.main.shape):
        return (yield from _recorded_run(request))


def _recorded_run(request: Request) -> Job[Result]:
    started, clock = utc_now(), time.perf_counter()
    yield Progress(0, 100, "Starting")
    models = _models(request)
    # Read the names now: the model file may be gone when the run ends.
    names = request.method.class_names(**request.settings) if request.kind in ("classes", "probabilities") else ()
    found = yield from subtask(monotonic(run_region(request)), 0, 95, 100)
    yield Progress(95, 100, "Recording")
    record = yield from subtask(_record(request, models, found.chosen, started), 95, 5, 100)
    images = _images(request, found, names)
    notes = (*request.notes, *found.notes, *_notes(request, images[0], models))
    return with_seconds(Result(images, record, notes), clock)


def _images(request: Request, found: MethodOutput, names: Sequence[str]) -> tuple[LabelImage, ...]:
    """Name the images: the labels, or the probabilities of each class, and further images after them."""
    placed = request.spatial
    others = tuple(LabelImage(each.name, each.data, placed, each.kind, each.table) for each in found.others)
    if request.kind != "probabilities":
        table = with_class_names(found.table, names)
        return (LabelImage(request.method.name, found.labels, placed, request.kind, table), *others)
    named = zip(names, found.labels, strict=True)
    return (*(LabelImage(name, data, placed, request.kind, {}) for name, data in named), *others)


def with_class_names(table: Table, names: Sequence[str]) -> Table:
    """Add the names of the classes 1…K to a table, if they have names."""
    if not table or not names:
        return table
    return {"label": table["label"], "class": np.array(names)[table["label"] - 1], **table}


def _record(request: Request, models: Models, chosen: AutoValues, started: str) -> Job[dict[str, Any]]:
    main = yield from describe_array(request.main)
    inputs: dict[str, Any] = {request.main_name: {"name": request.name, **main}}
    for name, array in request.inputs.items():
        if name != request.main_name:
            inputs[name] = None if array is None else (yield from embed(array))
    for name, record in request.input_records.items():
        if inputs.get(name) is not None:
            inputs[name]["record"] = record
    return make_record(
        request.method.name,
        request.parameters,
        request.layout.axes,
        request.spacing and request.spatial.spacing if request.layout.has_one_plane else request.spacing,
        inputs,
        unit=request.spatial.unit,
        region=request.region and request.region.to_json(),
        blocks=request.blocks and request.blocks.to_json(),
        model=next(iter(models.values()), None),
        **({"models": models} if len(models) > 1 else {}),
        **({"chosen": dict(chosen)} if chosen else {}),
        started=started,
    )


def _models(request: Request) -> Models:
    """Return the model files in use: for each parameter that names one, its name and its SHA-256."""
    used = {each.name for each in request.method.parameters if each.matters(request.parameters)}
    return {
        name: {"name": entry.name, "sha256": entry.sha256(), **_second(entry)}
        for name, entry in request.models.items()
        if name in used
    }


def _second(entry: catalogue.ModelEntry) -> dict[str, Any]:
    """Return the network that rescores a model's objects, if it has one; None if that is missing."""
    if not entry.header.get("second_opinion"):
        return {}
    return {"second": entry.second and {"name": entry.second.name, "sha256": entry.second.sha256()}}


def _notes(request: Request, image: LabelImage, models: Models) -> tuple[str, ...]:
    notes = []
    if models and not _are_still_there(request, models):
        names = " and ".join(repr(model["name"]) for model in models.values())
        notes.append(
            f"The file of the model {names} was replaced or removed during the run; the record names the file "
            "of the start."
        )
    if image.kind != "probabilities" and isinstance(image.data, np.ndarray) and not image.data.any():
        hint = _note_on_one_value(request) or _hint(request)
        notes.append(f"Nothing was found: every label is 0. {hint}")
    return tuple(notes)


def _note_on_one_value(request: Request) -> str:
    main = request.main
    if not (request.method.takes_image and isinstance(main, np.ndarray)):
        return ""
    finite = main[np.isfinite(main)]
    lowest, highest = finite.min(), finite.max()
    return f"Every pixel has the value {lowest:g}." if lowest == highest else ""


def _are_still_there(request: Request, models: Models) -> bool:
    try:
        return _models(request) == models
    except ModelError:
        return False


def _hint(request: Request) -> str:
    """Return advice on which settings to try, among those that have an effect."""
    names = [parameter.name for parameter in request.method.parameters if parameter.matters(request.parameters)]
    names = [name for name in names if name != CHANNEL or request.layout.has_channels]
    first = [f"`{name}`" for name in request.method.look_first if name in names]
    if first:
        return f"Check {', '.join(first[:-1])} and {first[-1]}." if first[1:] else f"Check {first[0]}."
    others = [f"another {name}, or " for name in ("method", "criterion") if name in names]
    return f"Try {''.join(others)}less strict settings."


def run_region(request: Request) -> Job[MethodOutput]:
    """Run on the whole image, or on the request's region, with zeros outside.

    Images have the axis order of the request, without channels; probabilities have the classes in front. Tables have
    one row per object; with frames, a column per looped axis has the frame of the object.
    """
    if request.region is None:
        return (yield from _run_all(request, None))
    part, crop = cropped(request)
    found = yield from _run_all(part, crop.inside)
    return _laid_out(found, crop, request.layout.label_axes, request, request.label_shape)


def _laid_out(found: MethodOutput, crop: Crop, axes: str, request: Request, shape: tuple[int, ...]) -> MethodOutput:
    """Put what was found in a crop into an image of zeros that has these axes and this shape."""
    index = crop.index_for(axes)
    n_axes = sum(isinstance(part, slice) for part in index)

    def whole(data: np.ndarray) -> np.ndarray:
        wide = np.zeros((*data.shape[: data.ndim - n_axes], *shape), data.dtype)
        wide[(..., *index)] = data
        return wide

    def placed(table: Table) -> Table:
        return in_whole_image(table, crop, dict(zip(request.layout.space, request.spacing or (), strict=False)))

    others = tuple(replace(each, data=whole(each.data), table=placed(each.table)) for each in found.others)
    return replace(found, labels=whole(found.labels), table=placed(found.table), others=others)


def _run_all(request: Request, inside: np.ndarray | None) -> Job[MethodOutput]:
    """Run a request on its whole image, in blocks if wanted; labels outside `inside` (Y, X) are set to 0."""
    if request.blocks is None:
        return (yield from run_frames(request, inside))
    from napari_tessera.engine.blockwise import run_in_blocks

    return (yield from run_in_blocks(request))


def run_frames(request: Request, inside: np.ndarray | None) -> Job[MethodOutput]:
    """Run frame by frame, and combine all frames; each note is shown once."""
    frames = list(np.ndindex(request.loop_shape))
    stacks: list[Stack] = []
    notes, chosen = [], []
    for done, frame in enumerate(frames):
        found = yield from subtask(run_frame(request, frame, inside), done, 1, len(frames))
        images = (ExtraImage(request.method.name, request.kind, found.labels, found.table), *found.others)
        stacks = stacks or [Stack(request, image) for image in images]
        for stack, image in zip(stacks, images, strict=True):
            stack.add(image, frame)
        notes.append(found.notes)
        chosen.append(found.chosen)
    main, *others = [stack.whole() for stack in stacks]
    settled = merge_auto_values(chosen, request)
    return MethodOutput(main.data, main.table, joined_notes(notes, request), tuple(others), settled)


def run_frame(request: Request, frame: tuple[int, ...], inside: np.ndarray | None) -> Job[MethodOutput]:
    """Run the method on one frame, keep what is inside the region, and measure it."""
    arguments, valid, notes = yield from prepared_arguments(request, frame)
    main = arguments[request.main_name]
    space = request.layout.space
    crop = None if valid is None else _bounds(valid, space)
    if crop is not None:
        arguments = _cropped_arguments(arguments, request, crop)
    found = MethodOutput.of((yield from subtask(request.method.function(**arguments), 0, SHARE_OF_METHOD, 1)))
    if crop is not None and valid is not None:
        found = _laid_out(found, crop, space, request, valid.shape)
    if valid is not None:
        inside = valid if inside is None else valid & inside
    if inside is not None:
        found = keep_inside(found, inside, request.kind)
    found = replace(found, notes=(*notes, *found.notes))
    if not request.measure or request.kind == "probabilities":
        return found
    yield Progress(SHARE_OF_METHOD, 1, "Measuring")
    from napari_tessera.algorithms.regionprops import measure_objects

    measuring = measure_objects(
        found.labels,
        main if request.method.takes_image else None,
        channel_axis=arguments.get("channel_axis"),
        spacing=request.spacing,
    )
    measured = yield from subtask(measuring, SHARE_OF_METHOD, 1 - SHARE_OF_METHOD, 1)
    return replace(found, table=_widened(measured, found.table))


def _bounds(valid: np.ndarray, space: str) -> Crop | None:
    """Return the box around all that is image; None if that is everything, or nothing."""
    index = []
    for axis in range(valid.ndim):
        places = np.flatnonzero(valid.any(axis=tuple(other for other in range(valid.ndim) if other != axis)))
        if not len(places):
            return None
        index.append(slice(int(places[0]), int(places[-1]) + 1))
    is_whole = all(part.stop - part.start == side for part, side in zip(index, valid.shape, strict=True))
    return None if is_whole else Crop(space, tuple(index), None)


def _cropped_arguments(arguments: Mapping[str, Any], request: Request, crop: Crop) -> dict[str, Any]:
    """Cut every input, and where it is image, to a box in space."""
    cut = dict(arguments)
    for name in (*request.inputs, "valid"):
        if cut.get(name) is not None:
            is_points = name in request.points
            cut[name] = crop.points(cut[name], crop.axes) if is_points else np.ascontiguousarray(cut[name][crop.index])
    if cut.get("valid") is not None and cut["valid"].all():
        cut["valid"] = None
    return cut


def prepared_arguments(
    request: Request, frame: tuple[int, ...] = ()
) -> Job[tuple[dict[str, Any], np.ndarray | None, tuple[str, ...]]]:
    """Return the arguments of the method's function for one frame, filled where it is no image.

    Beside them are where it is image (None: everywhere), and a note on how much is not.
    """
    arguments = frame_arguments(request, frame)
    if not request.method.takes_image:
        return arguments, None, ()
    image = arguments[request.main_name]
    channel_axis = len(request.layout.space) if request.layout.has_channels else None
    masked = None if request.masked is None else np.asarray(request.layout.to_working(request.masked)[frame])
    fill = request.fill
    if fill is None:
        may_be_transparent = request.layout.axes.endswith(CHANNEL_LETTER)
        find = partial(find_fill, image, channel_axis, masked=masked, may_be_transparent=may_be_transparent)
        fill = yield from in_background(find, "Looking for padding")
    valid = None if fill is None else (yield from in_background(partial(fill.valid, image, channel_axis, masked)))
    if fill is None or valid is None:
        return arguments, None, ()
    image = yield from in_background(partial(filled, image, valid, channel_axis, fill.typical), "Filling padding")
    arguments[request.main_name] = image
    if "valid" in request.method.declaration.context and valid.any():
        arguments["valid"] = valid
    return arguments, valid, (fill.note(1 - float(valid.mean())),)


def frame_arguments(request: Request, frame: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the arguments of the method's function for one frame."""
    layout = request.layout
    arguments: dict[str, Any] = dict.fromkeys(request.inputs)
    for name, array in request.inputs.items():
        if array is None:
            continue
        if name in request.points:
            arguments[name] = _points_in_frame(array, layout.label_axes, layout.loops, layout.space, frame)
        else:
            arguments[name] = np.ascontiguousarray(layout.to_working(array)[frame])
    context = {"spacing": request.spacing, "channel_axis": len(layout.space) if layout.has_channels else None}
    known = {name: value for name, value in context.items() if name in request.method.declaration.context}
    return {**arguments, **request.settings, **known}


def keep_inside(found: MethodOutput, inside: np.ndarray, kind: Kind) -> MethodOutput:
    """Set every image to 0 outside the region; objects are renumbered, and rows of removed objects are dropped."""
    main = _cut(ExtraImage("", kind, found.labels, found.table), inside)
    others = tuple(_cut(other, inside) for other in found.others)
    return replace(found, labels=main.data, table=main.table, others=others)


def _cut(image: ExtraImage, inside: np.ndarray) -> ExtraImage:
    data = np.where(inside, image.data, 0)
    if image.kind not in NUMBERED_ON:
        return replace(image, data=data)
    old = label_arrays.unique_in_order(data)
    if image.kind == "segments":
        old = np.sort(old)
    numbers = np.arange(len(old) + 1, dtype=label_arrays.label_dtype(len(old)))
    data = label_arrays.LabelMapping(np.append(0, old), numbers)[data]
    if not image.table:
        return replace(image, data=data)
    row_of = {label: row for row, label in enumerate(image.table["label"].tolist())}
    rows = [row_of[label] for label in old.tolist()]
    kept = {name: column[rows] for name, column in image.table.items()}
    return replace(image, data=data, table={**kept, "label": numbers[1:].astype(np.int64)})


def _points_in_frame(points: np.ndarray, axes: str, loops: str, space: str, frame: tuple[int, ...]) -> np.ndarray:
    here = np.ones(len(points), bool)
    for axis, index in zip(loops, frame, strict=True):
        here &= np.rint(points[:, axes.index(axis)]) == index
    return np.ascontiguousarray(points[here][:, [axes.index(axis) for axis in space]])


def _widened(measured: Table, extra: Table) -> Table:
    """Put the method's own columns before the measured ones; both have one row per label, in order."""
    if not extra or len(extra["label"]) == len(measured["label"]):
        return {**extra, **measured}
    row_of = {label: row for row, label in enumerate(extra["label"].tolist())}
    rows = np.array([row_of.get(label, -1) for label in measured["label"].tolist()])
    columns = {name: np.where(rows >= 0, column[rows], np.nan) for name, column in extra.items() if name != "label"}
    return {"label": measured["label"], **columns, **measured}


@dataclass
class Stack:
    """One image of all frames; `image` is that of the first frame, of whose name and kind all are."""

    request: Request
    image: ExtraImage
    data: np.ndarray = field(default_factory=lambda: np.zeros((), np.int32))
    """In the working order of axes; allocated with the first frame, and widened if numbers outgrow its dtype."""
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


def joined_notes(notes: Sequence[tuple[str, ...]], request: Request) -> tuple[str, ...]:
    """Merge the notes of all frames, in raster order; of those that differ only in numbers, the highest are shown."""
    frames = [
        ", ".join(f"{axis} {index}" for axis, index in zip(request.layout.loops, frame, strict=True))
        for frame in np.ndindex(request.loop_shape)
    ]
    alike: dict[str, dict[str, str]] = {}
    for frame, some in zip(frames, notes, strict=True):
        for note in some:
            alike.setdefault(NUMBER.sub("#", note), {})[frame] = note
    return tuple(_joined_note(same, len(frames)) for same in alike.values())


def _joined_note(notes: Mapping[str, str], n_frames: int) -> str:
    """Return a note with the frames that have it, by the frame's name.

    Examples
    --------
    >>> _joined_note({"T 0": "3 of 9 objects are cut.", "T 4": "5 of 9 objects are cut."}, 8)
    '5 of 9 objects are cut. (At T 4, where the numbers are highest; also at T 0.)'
    """
    highest = max(notes, key=lambda frame: [float(number[0]) for number in NUMBER.finditer(notes[frame])])
    others = [frame for frame in notes if frame != highest]
    is_same = len(set(notes.values())) == 1
    if is_same and len(notes) == n_frames:
        return notes[highest]
    if is_same:
        return f"{notes[highest]} (At {_listed(list(notes))}.)"
    where = "in all other frames" if len(notes) == n_frames else f"at {_listed(others)}"
    return f"{notes[highest]} (At {highest}, where the numbers are highest; also {where}.)"


def _listed(frames: Sequence[str]) -> str:
    shown = list(frames[:MOST_FRAMES])
    if len(frames) > MOST_FRAMES:
        shown.append(f"{len(frames) - MOST_FRAMES} more")
    return shown[0] if len(shown) == 1 else f"{'; '.join(shown[:-1])} and {shown[-1]}"


def in_whole_image(table: Table, crop: Crop, spacing: Mapping[str, float]) -> Table:
    """Convert the positions of a crop's objects to coordinates of the whole image, and add the planes.

    Corners are in pixels (``bbox-0``, ``box_y0``), centroids in the unit of `spacing` (``centroid-0``). Every axis
    along which the crop is a single plane gets a column such as ``z``.
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
