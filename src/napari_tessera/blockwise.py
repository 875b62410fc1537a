"""Run a request in blocks, one frame after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from napari_tessera.blocks import make_output, may_be_measured, open_output
from napari_tessera.errors import InputError
from napari_tessera.frame_stack import joined, joined_chosen
from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.grid import Slices
from napari_tessera.labels import label_dtype
from napari_tessera.large import chunked, passes
from napari_tessera.large.chunked import Pool
from napari_tessera.large.frame import Frame, Windows
from napari_tessera.large.tiles import Tile
from napari_tessera.measure import measure_objects
from napari_tessera.overlapping import BlockPlan
from napari_tessera.request import Request
from napari_tessera.result import Chosen, Found
from napari_tessera.spec import Table

SHARE_OF_LABELLING = 0.9
SHARE_OF_MEASURING = 0.1


@dataclass(frozen=True)
class Part:
    """One frame of a larger array, written and read in place; zarr arrays have no views of their own."""

    whole: Any
    frame: tuple[int, ...]

    def __getitem__(self, index: Slices) -> Any:
        """Read some pixels of the frame."""
        return self.whole[(*self.frame, *index)]

    def __setitem__(self, index: Slices, values: Any) -> None:
        """Write some pixels of the frame."""
        self.whole[(*self.frame, *index)] = values


@dataclass(frozen=True)
class Said:
    """What there is to say of the labels of one frame; see `Found`."""

    table: Table
    notes: tuple[str, ...]
    chosen: Chosen


def run_in_blocks(request: Request) -> Job[Found]:
    """Label every frame in blocks; a folder of labels that does not get finished is removed.

    Returns
    -------
    found : Found
        Labels as NumPy, or as zarr where the request names a folder to write to; axes as in the request, without
        channels. The table holds full measurements where image and labels fit into memory, otherwise numbers and sizes.
        There are no further images: the method's own come from the whole image at once.
    """
    blocks, layout = request.blocks, request.layout
    assert blocks is not None
    if blocks.out is not None and layout.label_axes != layout.loops + layout.space:
        raise InputError(f"Axes {layout.axes} cannot be written in blocks; bring them in the order TZYX first.")
    image = layout.to_working(chunked.lazy(request.main))
    n_loops = len(layout.loops)
    shape = image.shape[: n_loops + len(layout.space)]
    dtype = np.int32 if request.kind == "classes" else label_dtype(int(np.prod(shape, dtype=np.int64)))
    with make_output(blocks.out, shape, blocks.size, dtype) as output:
        said = yield from _run_frames(request, image, output)
    labels = open_output(blocks.out) if blocks.out else np.ascontiguousarray(layout.from_working(output))
    notes = tuple(dict.fromkeys(note for each in said for note in each.notes))
    table = joined([each.table for each in said], request)
    return Found(labels, table, notes, chosen=joined_chosen([each.chosen for each in said], request))


def _run_frames(request: Request, image: Any, output: Any) -> Job[list[Said]]:
    """Label frame after frame into `output`."""
    assert request.blocks is not None
    said: list[Said] = []
    frames = list(np.ndindex(image.shape[: len(request.layout.loops)]))
    with chunked.pool(request.blocks.workers, request.blocks.scheduler) as at:
        for done, index in enumerate(frames):
            found = sum(len(each.table["label"]) for each in said) if request.kind == "objects" else 0
            job = _run_frame(request, image[index], Part(output, index), found, at)
            said.append((yield from part_of(job, done, 1, len(frames))))
    return said


def _run_frame(request: Request, image: Any, output: Part, found: int, at: Pool) -> Job[Said]:
    """Label one frame; objects are numbered on from `found`."""
    assert request.blocks is not None
    channel_axis = len(request.layout.space) if request.layout.has_channels else None
    settings = {**request.parameters, "spacing": request.spacing, "channel_axis": channel_axis}
    name = f"{request.method.name}: `{request.main_name}`"
    frame = Frame(image, output, request.blocks.size, settings, name, found)
    said = yield from part_of(_label(request, frame, output.frame, at), 0, SHARE_OF_LABELLING, 1)
    whole = (slice(None),) * len(request.layout.space)
    if not request.measure or not may_be_measured(image, request.blocks.out):
        return said
    labels = np.asarray(output[whole])
    measuring = measure_objects(
        labels, np.asarray(image), channel_axis=channel_axis, spacing=request.spacing, unit=request.spatial.unit
    )
    measured = yield from part_of(measuring, SHARE_OF_LABELLING, 1 - SHARE_OF_LABELLING, 1)
    own = {name: column for name, column in said.table.items() if name not in measured}
    return replace(said, table={"label": measured["label"], **own, **measured})


def _label(request: Request, frame: Frame, index: tuple[int, ...], at: Pool) -> Job[Said]:
    """Run the method's two passes, or the method itself on overlapping blocks."""
    own: Table = {}
    notes: tuple[str, ...] = ()
    if request.method.two_pass is not None:
        sizes, chosen = yield from passes.label_two_pass(request.method.two_pass, frame, at)
    else:
        plan = yield from part_of(_plan(request, frame, at), 0, SHARE_OF_MEASURING, 1)
        extra = partial(_cut_to_tile, request, index)
        labelling = passes.label_overlapping(plan, extra, request.kind == "objects", frame, at)
        sizes, own, notes = yield from part_of(labelling, SHARE_OF_MEASURING, 1 - SHARE_OF_MEASURING, 1)
        notes, chosen = (*plan.notes, *notes), plan.chosen
    if sizes is None:
        return Said({}, notes, chosen)
    table = {"label": np.arange(1, len(sizes)) + frame.found, "pixels": sizes[1:], **own}
    return Said(table, notes, chosen)


def _plan(request: Request, frame: Frame, at: Pool) -> Job[BlockPlan]:
    """Look at the whole image, as far as the method asks for it, before the first block is labelled."""
    overlapping = request.method.overlapping(frame.settings)
    fitted: dict[str, Any] = {}
    if overlapping.measured is not None:
        two_pass, settings = overlapping.measured
        fitted = yield from part_of(passes.measure(two_pass, frame.having(settings), at), 0, 0.5, 1)
    planning = chunked.Threads(1).run(overlapping.plan, [(fitted, Windows(frame))], "Looking at the image")
    (plan,) = yield from part_of(planning, 0.5, 0.5, 1)
    return plan


def _cut_to_tile(request: Request, index: tuple[int, ...], tile: Tile) -> Mapping[str, np.ndarray | None]:
    """Cut the method's other inputs to one tile of one frame; points are counted from the tile's first pixel."""
    cut: dict[str, np.ndarray | None] = {}
    for name, array in request.inputs.items():
        if name == request.main_name:
            continue
        if array is None:
            cut[name] = None
        elif name in request.points:
            cut[name] = _points_in_tile(array, tile)
        else:
            cut[name] = np.ascontiguousarray(request.layout.to_working(array)[index][tile.read])
    return cut


def _points_in_tile(points: np.ndarray, tile: Tile) -> np.ndarray:
    local = points - [part.start for part in tile.read]
    size = np.array([part.stop - part.start for part in tile.read])
    return np.ascontiguousarray(local[np.all((np.rint(local) >= 0) & (np.rint(local) < size), axis=1)])
