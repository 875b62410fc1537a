"""Run a method on one frame after the other (time, position, …) and put the labels together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_tessera import labels as label_arrays
from napari_tessera.frame_stack import NUMBERED_ON, Stack, joined_chosen, joined_notes
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.measure import measure_objects
from napari_tessera.places import in_whole_image
from napari_tessera.request import Request, cropped
from napari_tessera.result import Found, Kind, Other
from napari_tessera.spec import Table

SHARE_OF_METHOD = 0.85


def run_region(request: Request) -> Job[Found]:
    """Run on the whole image, or on the request's region and lay the outcome into images of zeros.

    Returns
    -------
    found : Found
        Every image in the axis order of the request, without channels; probabilities with the classes in front.
        Tables have one row per object; with frames, a column per looped axis says which frame the object is in.
    """
    if request.region is None:
        return (yield from _run_all(request, None))
    part, crop = cropped(request)
    found = yield from _run_all(part, crop.inside)
    n_axes = len(part.layout.label_axes)

    def laid_out(data: np.ndarray) -> np.ndarray:
        whole = np.zeros((*data.shape[: data.ndim - n_axes], *request.label_shape), data.dtype)
        whole[(..., *crop.index_for(request.layout.label_axes))] = data
        return whole

    def placed(table: Table) -> Table:
        return in_whole_image(table, crop, dict(zip(request.layout.space, request.spacing or (), strict=False)))

    others = tuple(replace(each, data=laid_out(each.data), table=placed(each.table)) for each in found.others)
    return replace(found, labels=laid_out(found.labels), table=placed(found.table), others=others)


def _run_all(request: Request, inside: np.ndarray | None) -> Job[Found]:
    """Run the whole of a request, in blocks if it asks for them; labels outside `inside` (Y, X) are set to 0."""
    if request.blocks is None:
        return (yield from run_frames(request, inside))
    from napari_tessera.blockwise import run_in_blocks

    return (yield from run_in_blocks(request))


def run_frames(request: Request, inside: np.ndarray | None) -> Job[Found]:
    """Run frame after frame, and put each image of all frames together; a note is told once."""
    frames = list(np.ndindex(request.loop_shape))
    stacks: list[Stack] = []
    notes, chosen = [], []
    for done, frame in enumerate(frames):
        found = yield from part_of(run_frame(request, frame, inside), done, 1, len(frames))
        images = (Other(request.method.name, request.kind, found.labels, found.table), *found.others)
        stacks = stacks or [Stack(request, image) for image in images]
        for stack, image in zip(stacks, images, strict=True):
            stack.add(image, frame)
        notes.append(found.notes)
        chosen.append(found.chosen)
    main, *others = [stack.whole() for stack in stacks]
    return Found(main.data, main.table, joined_notes(notes), tuple(others), joined_chosen(chosen, request))


def run_frame(request: Request, frame: tuple[int, ...], inside: np.ndarray | None) -> Job[Found]:
    """Run the method on one frame, keep what lies inside the region, and measure it."""
    arguments = frame_arguments(request, frame)
    main = arguments[request.main_name]
    found = Found.of((yield from part_of(request.method.function(**arguments), 0, SHARE_OF_METHOD, 1)))
    if inside is not None:
        found = keep_inside(found, inside, request.kind)
    if not request.measure or request.kind == "probabilities":
        return found
    yield Progress(SHARE_OF_METHOD, 1, "Measuring")
    measuring = measure_objects(
        found.labels,
        main if request.method.takes_image else None,
        channel_axis=arguments.get("channel_axis"),
        spacing=request.spacing,
        unit=request.spatial.unit,
    )
    measured = yield from part_of(measuring, SHARE_OF_METHOD, 1 - SHARE_OF_METHOD, 1)
    return replace(found, table=_widened(measured, found.table))


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


def keep_inside(found: Found, inside: np.ndarray, kind: Kind) -> Found:
    """Set every image to 0 outside the region; objects are numbered anew, and rows of those that vanish are dropped."""
    main = _cut(Other("", kind, found.labels, found.table), inside)
    others = tuple(_cut(other, inside) for other in found.others)
    return replace(found, labels=main.data, table=main.table, others=others)


def _cut(image: Other, inside: np.ndarray) -> Other:
    data = np.where(inside, image.data, 0)
    if image.kind not in NUMBERED_ON:
        return replace(image, data=data)
    old = label_arrays.first_seen(data)
    if image.kind == "segments":
        old = np.sort(old)
    numbers = np.arange(len(old) + 1, dtype=label_arrays.label_dtype(len(old)))
    data = label_arrays.Mapping(np.append(0, old), numbers)[data]
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
