"""Run a method on one frame after the other (time, position, …) and put the labels together."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_tessera import labels as label_arrays
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.measure import measure_objects
from napari_tessera.request import Request, cropped
from napari_tessera.result import Kind
from napari_tessera.spec import Table

SHARE_OF_METHOD = 0.85


def run_region(request: Request) -> Job[tuple[np.ndarray, Table]]:
    """Run on the whole image, or on the request's region and lay the outcome into an image of zeros.

    Returns
    -------
    labels : array
        In the axis order of the image, without channels; for probabilities float32, with the classes in front.
    table : dict of str to array
        One row per object; with frames, a column per looped axis says which frame the object is in.
    """
    if request.region is None:
        return (yield from _run_all(request, None))
    part, crop = cropped(request)
    found, table = yield from _run_all(part, crop.inside)
    labels = np.zeros((*_in_front(found, part), *request.label_shape), found.dtype)
    labels[(..., *crop.index_for(request.layout.label_axes))] = found
    return labels, table


def _run_all(request: Request, inside: np.ndarray | None) -> Job[tuple[np.ndarray, Table]]:
    """Run the whole of a request, in blocks if it asks for them; labels outside `inside` (Y, X) are set to 0."""
    if request.blocks is None:
        labels, tables = yield from run_frames(request, inside)
    else:
        from napari_tessera.blockwise import run_in_blocks

        labels, tables = yield from run_in_blocks(request)
    return labels, _joined(tables, request)


def run_frames(request: Request, inside: np.ndarray | None) -> Job[tuple[np.ndarray, list[Table]]]:
    """Run frame after frame; objects are numbered on from frame to frame, classes keep their number."""
    layout = request.layout
    frames = list(np.ndindex(request.loop_shape))
    labels = np.zeros((), np.int32)
    tables: list[Table] = []
    largest = 0
    for done, frame in enumerate(frames):
        found, table = yield from part_of(run_frame(request, frame, inside), done, 1, len(frames))
        if request.kind == "objects":
            if largest:
                found = label_arrays.numbered_on(found, largest)
                table = {**table, "label": table["label"] + largest} if table else table
            largest = max(largest, int(found.max()))
        tables.append(table)
        if len(frames) == 1:
            labels = found.reshape(_whole_shape(request, found))
        else:
            labels = _with_frame(labels, found, frame, request)
    return np.ascontiguousarray(layout.from_working(labels)), tables


def run_frame(request: Request, frame: tuple[int, ...], inside: np.ndarray | None) -> Job[tuple[np.ndarray, Table]]:
    """Run the method on one frame, keep what lies inside the region, and measure it."""
    arguments = frame_arguments(request, frame)
    main = arguments[request.main_name]
    found = yield from part_of(request.method.function(**arguments), 0, SHARE_OF_METHOD, 1)
    labels, table = found if isinstance(found, tuple) else (found, {})
    if inside is not None:
        labels, table = keep_inside(labels, table, inside, request.kind)
    if request.measure and request.kind != "probabilities":
        yield Progress(SHARE_OF_METHOD, 1, "Measuring")
        image = main if request.method.takes_image else None
        measuring = measure_objects(
            labels,
            image,
            channel_axis=arguments.get("channel_axis"),
            spacing=request.spacing,
            unit=request.spatial.unit,
        )
        measured = yield from part_of(measuring, SHARE_OF_METHOD, 1 - SHARE_OF_METHOD, 1)
        table = _widened(measured, table)
    return labels, table


def frame_arguments(request: Request, frame: tuple[int, ...] = ()) -> dict[str, Any]:
    """Arguments for the method's function: this frame of every input, the parameters, spacing and channel axis."""
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
    return {**arguments, **request.parameters, **known}


def keep_inside(labels: np.ndarray, table: Table, inside: np.ndarray, kind: Kind) -> tuple[np.ndarray, Table]:
    """Set labels outside the region to 0; objects are renumbered and rows of those that vanish are dropped."""
    labels = np.where(inside, labels, 0)
    if kind != "objects":
        return labels, table
    old = label_arrays.first_seen(labels)
    labels = label_arrays.renumber(labels)
    if not table:
        return labels, table
    row_of = {label: row for row, label in enumerate(table["label"].tolist())}
    rows = [row_of[label] for label in old.tolist()]
    kept = {name: column[rows] for name, column in table.items()}
    return labels, {**kept, "label": np.arange(1, len(old) + 1)}


def _points_in_frame(points: np.ndarray, axes: str, loops: str, space: str, frame: tuple[int, ...]) -> np.ndarray:
    here = np.ones(len(points), bool)
    for axis, index in zip(loops, frame, strict=True):
        here &= np.rint(points[:, axes.index(axis)]) == index
    return np.ascontiguousarray(points[here][:, [axes.index(axis) for axis in space]])


def _in_front(found: np.ndarray, request: Request) -> tuple[int, ...]:
    """Lengths of the axes before those of the request: the classes of probabilities."""
    return found.shape[: found.ndim - len(request.layout.label_axes)]


def _whole_shape(request: Request, found: np.ndarray) -> tuple[int, ...]:
    """Shape of all frames together, from what was found in one."""
    n_space = len(request.layout.space)
    return (*found.shape[:-n_space], *request.loop_shape, *found.shape[-n_space:])


def _with_frame(labels: np.ndarray, found: np.ndarray, frame: tuple[int, ...], request: Request) -> np.ndarray:
    """Put one frame's labels into the whole; made with the first frame, widened when numbers outgrow it."""
    if labels.ndim == 0:
        labels = np.zeros(_whole_shape(request, found), found.dtype)
    if found.dtype.itemsize > labels.dtype.itemsize:
        labels = labels.astype(found.dtype)
    place: tuple[Any, ...] = (..., *frame, *(slice(None),) * len(request.layout.space))
    labels[place] = found
    return labels


def _joined(tables: list[Table], request: Request) -> Table:
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


def _widened(measured: Table, extra: Table) -> Table:
    """Add the method's own columns to the measured ones; both have one row per label, in order."""
    if not extra or len(extra["label"]) == len(measured["label"]):
        return {**measured, **extra}
    row_of = {label: row for row, label in enumerate(extra["label"].tolist())}
    rows = np.array([row_of.get(label, -1) for label in measured["label"].tolist()])
    columns = {name: np.where(rows >= 0, column[rows], np.nan) for name, column in extra.items() if name != "label"}
    return {**measured, **columns}
