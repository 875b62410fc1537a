"""Run a request in blocks, one frame after the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from napari_tessera.core.atomic_writes import NEW, explain_refusal, move_together, working_folder
from napari_tessera.core.blockwise import BlockPlan
from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.file_checks import read_json
from napari_tessera.core.jobs import Job, in_background, subtask
from napari_tessera.core.labels import label_dtype
from napari_tessera.core.result import AutoValues, MethodOutput
from napari_tessera.core.spatial import CHANNEL
from napari_tessera.core.spec import Table
from napari_tessera.core.tiles import Tile
from napari_tessera.core.valid_area import Fill, find_fill
from napari_tessera.engine import block_passes as passes
from napari_tessera.engine import dask_pool as chunked
from napari_tessera.engine.bind import Request, fits_in_memory, is_large
from napari_tessera.engine.block_passes import Frame, Inputs, Output, Windows
from napari_tessera.engine.dask_pool import Pool
from napari_tessera.engine.run import joined, joined_notes, merge_auto_values

SHARE_OF_LABELLING = 0.9
SHARE_OF_MEASURING = 0.1


@dataclass(frozen=True)
class FrameSummary:
    """Table, notes and automatic values of one frame; see `MethodOutput`."""

    table: Table
    notes: tuple[str, ...]
    chosen: AutoValues


def run_in_blocks(request: Request) -> Job[MethodOutput]:
    """Label every frame in blocks; an unfinished folder of labels is removed.

    The labels are NumPy, or zarr if the request names a folder, with the axes of the request, without channels. The
    table has full measurements if image and labels fit into memory, otherwise numbers and sizes. Further images need
    the whole image at once; there are none.
    """
    blocks, layout = request.blocks, request.layout
    assert blocks is not None
    if blocks.out is not None and layout.label_axes != layout.loops + layout.space:
        raise InputError(f"Axes {layout.axes} cannot be written in blocks; reorder them to TZYX first.")
    image = layout.to_working(chunked.lazy(request.main))
    masked = None if request.masked is None else layout.to_working(chunked.lazy(request.masked))
    n_loops = len(layout.loops)
    shape = image.shape[: n_loops + len(layout.space)]
    dtype = np.int32 if request.kind == "classes" else label_dtype(int(np.prod(shape, dtype=np.int64)))
    with make_output(blocks.out, shape, blocks.size, dtype) as output:
        said = yield from _run_frames(request, image, masked, output)
        if blocks.out is not None and blocks.scheduler is not None:
            _remove_unfinished(Path(output.store.root))
    labels = open_output(blocks.out) if blocks.out else np.ascontiguousarray(layout.from_working(output))
    notes = joined_notes([each.notes for each in said], request)
    table = joined([each.table for each in said], request)
    return MethodOutput(labels, table, notes, chosen=merge_auto_values([each.chosen for each in said], request))


def _remove_unfinished(folder: Path) -> None:
    """Remove unfinished chunk files of lost workers; other workers have written these chunks again."""
    for part in folder.rglob("*.partial"):
        part.unlink(missing_ok=True)


def _run_frames(request: Request, image: Any, masked: Any, output: Any) -> Job[list[FrameSummary]]:
    """Label frame after frame into `output`."""
    assert request.blocks is not None
    said: list[FrameSummary] = []
    frames = list(np.ndindex(image.shape[: len(request.layout.loops)]))
    place = (request.blocks.n_workers, request.blocks.scheduler)
    with chunked.pool(*place) as at, _draft(request, output) as draft:
        for done, index in enumerate(frames):
            found = sum(len(each.table["label"]) for each in said) if request.kind == "objects" else 0
            labels = Output(output, index), Output(draft, index)
            hidden = None if masked is None else masked[index]
            fill = yield from in_background(partial(_fill_of, request, image[index], hidden), "Looking for padding")
            settings = _settings(request)
            frame = Frame(image[index], *labels, request.blocks.size, settings, _name(request), fill, hidden, found)
            said.append((yield from subtask(_run_frame(request, frame, at), done, 1, len(frames))))
    return said


def _fill_of(request: Request, image: Any, masked: Any) -> Fill | None:
    if not request.method.takes_image:
        return None
    is_colour = request.layout.axes.endswith(CHANNEL)
    try:
        return find_fill(image, _settings(request)["channel_axis"], masked=masked, may_be_transparent=is_colour)
    except (IndexError, ValueError):  # a part has another shape than it says, which is refused when it is read
        return None


def _name(request: Request) -> str:
    return f"{request.method.name}: `{request.main_name}`"


def _settings(request: Request) -> dict[str, Any]:
    """Return the method's keyword arguments for one frame."""
    channel_axis = len(request.layout.space) if request.layout.has_channels else None
    return {**request.settings, "spacing": request.spacing, "channel_axis": channel_axis}


@contextmanager
def _draft(request: Request, output: Any) -> Iterator[Any]:
    """Make the array for labels before their final numbers are known: for labels in a folder, a second array."""
    assert request.blocks is not None
    if request.blocks.out is None or not _is_numbered_later(request):
        yield output
        return
    import zarr

    folder = Path(output.store.root).with_name(f"draft-{uuid4().hex}")
    like: dict[str, Any] = {name: getattr(output, name) for name in ("shape", "chunks", "dtype")}
    try:
        yield zarr.create_array(folder, **like, fill_value=0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_numbered_later(request: Request) -> bool:
    two_pass = request.method.two_pass
    return request.kind == "objects" if two_pass is None else two_pass.touching(**_settings(request)) is not None


def _run_frame(request: Request, frame: Frame, at: Pool) -> Job[FrameSummary]:
    """Label one frame, and measure its objects."""
    assert request.blocks is not None
    said = yield from subtask(_label(request, frame, at), 0, SHARE_OF_LABELLING, 1)
    if not request.measure or not may_be_measured(frame.image, request.blocks.out):
        return said
    from napari_tessera.algorithms.regionprops import measure_objects

    everything = (slice(None),) * len(request.layout.space)
    measuring = measure_objects(
        np.asarray(frame.output[everything]),
        np.asarray(frame.image) if frame.fill is None else Windows(frame)[everything],
        channel_axis=frame.settings["channel_axis"],
        spacing=request.spacing,
    )
    measured = yield from subtask(measuring, SHARE_OF_LABELLING, 1 - SHARE_OF_LABELLING, 1)
    own = {name: column for name, column in said.table.items() if name not in measured}
    return replace(said, table={"label": measured["label"], **own, **measured})


def _label(request: Request, frame: Frame, at: Pool) -> Job[FrameSummary]:
    """Run the method's two passes, or the method itself on overlapping blocks."""
    own: Table = {}
    if request.method.two_pass is not None:
        sizes, notes, chosen = yield from passes.label_two_pass(request.method.two_pass, frame, at)
    else:
        plan = yield from subtask(_plan(request, frame, at), 0, SHARE_OF_MEASURING, 1)
        inputs = partial(_cut_to_tile, request, frame.output.frame)
        takes_valid = "valid" in request.method.declaration.context
        labelling = passes.label_overlapping(plan, inputs, request.kind == "objects", takes_valid, frame, at)
        sizes, own, notes = yield from subtask(labelling, SHARE_OF_MEASURING, 1 - SHARE_OF_MEASURING, 1)
        notes, chosen = (*plan.notes, *notes), plan.chosen
    if sizes is None:
        return FrameSummary({}, notes, chosen)
    table = {"label": np.arange(1, len(sizes)) + frame.found, "num_pixels": sizes[1:], **own}
    return FrameSummary(table, notes, chosen)


def _plan(request: Request, frame: Frame, at: Pool) -> Job[BlockPlan]:
    """Examine the whole image, as far as the method needs it, before the first block is labelled."""
    overlapping = request.method.block_plan(frame.settings)
    fitted: dict[str, Any] = {}
    if overlapping.measured is not None:
        two_pass, settings = overlapping.measured
        fitted = yield from subtask(passes.measure(two_pass, frame.having(settings), at), 0, 0.5, 1)
    planning = chunked.Threads(1).run(overlapping.plan, [(fitted, Windows(frame))], "Examining the image")
    (plan,) = yield from subtask(planning, 0.5, 0.5, 1)
    return plan


def _cut_to_tile(request: Request, index: tuple[int, ...], tile: Tile) -> Inputs:
    """Cut the method's other inputs to one tile of one frame; points get coordinates of the tile."""
    cut: dict[str, np.ndarray | None] = {}
    for name, array in request.inputs.items():
        if name == request.main_name:
            continue
        if array is None:
            cut[name] = None
        elif name in request.points:
            cut[name] = _points_in_tile(array, tile)
        else:
            cut[name] = request.layout.to_working(array)[index][tile.read]
    return cut


def _points_in_tile(points: np.ndarray, tile: Tile) -> np.ndarray:
    local = points - [part.start for part in tile.read]
    size = np.array([part.stop - part.start for part in tile.read])
    return local[np.all((np.rint(local) >= 0) & (np.rint(local) < size), axis=1)]


def may_be_measured(image: Any, out: str | None) -> bool:
    """Return whether every object is measured after a run in blocks; otherwise the table has only numbers and sizes."""
    return fits_in_memory(image) and not (out is not None and is_large(image))


def _is_zarr_array(folder: Path) -> bool:
    if not os.path.isfile(folder / "zarr.json"):
        return os.path.isfile(folder / ".zarray")
    try:
        return bool(read_json(folder / "zarr.json")["node_type"] == "array")
    except (FileError, ValueError, LookupError, TypeError):
        return False


def check_is_new(out: Path) -> None:
    """Refuse a file, and a folder with content, for the labels."""
    if "\0" in str(out):
        raise FileError(f"`out` is {str(out)!r}, but a path cannot contain the character \\0. Choose another folder.")
    if any(_is_zarr_array(folder) for folder in out.absolute().parents):
        raise FileError(f"`out` is {out}, but that lies inside a Zarr array. Choose a folder outside of it.")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise FileError(f"`out` is {out}, which exists already and is not overwritten. Choose a new folder.")


@contextmanager
def make_output(out: str | None, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any) -> Iterator[Any]:
    """Make the array for the labels: zeros in memory, or a zarr array whose chunks match the blocks.

    The zarr array is in `out` when the `with` block has ended; after an error there is nothing.
    """
    if out is None:
        yield np.zeros(shape, dtype)
        return
    path = Path(out).absolute()
    check_is_new(path)
    with working_folder(path.parent, path) as work, explain_refusal(path.parent, only_full=True):
        yield _new_zarr(work / NEW / path.name, shape, block, dtype)
        with suppress(OSError):
            path.rmdir()  # an empty folder
        move_together(work, [path], overwrite=False)


def open_output(out: str) -> Any:
    """Open the zarr array in a folder."""
    import zarr

    return zarr.open_array(out, mode="r+")


def _new_zarr(path: Path, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any) -> Any:
    import zarr

    chunks = (1,) * (len(shape) - len(block)) + tuple(
        min(side, length) for side, length in zip(block, shape[-len(block) :], strict=True)
    )
    with explain_refusal(path.parent):
        return zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype, fill_value=0, overwrite=False)
