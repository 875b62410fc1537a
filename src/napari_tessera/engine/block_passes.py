"""Passes over the blocks of one frame: measure, label each block, join objects across blocks, number them."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.blockwise import BlockPlan, Touching, TwoPass, components_of_equal, within
from napari_tessera.core.checks import canonical_dtype, check_image
from napari_tessera.core.errors import FileError, InputError
from napari_tessera.core.jobs import Job, Progress, run_job, subtask, worker_count
from napari_tessera.core.rescale import UNSCALED, Number, Scale, scale_of
from napari_tessera.core.result import AutoValues, MethodOutput
from napari_tessera.core.spec import Table
from napari_tessera.core.tiles import Slices, Tile, block_of, tiles
from napari_tessera.core.valid_area import PADDING_REACH, Fill, filled
from napari_tessera.engine import block_joining as joining
from napari_tessera.engine.block_joining import BlockObjects, GlobalLabels, join_tables
from napari_tessera.engine.dask_pool import Made, Pool, Threads, read, unchanged


def trim_memory() -> None:
    """Return freed memory to the system, which glibc keeps for each thread.

    Without this, memory grows from block to block. On other systems than Linux, nothing happens.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


Work = Callable[..., Job[Any]]
"""Function of a tile's part of the image, the tile, where the part is image (or None), and the other inputs by name."""
Inputs = Mapping[str, np.ndarray | None]
"""Inputs other than the image, by name."""


@dataclass(frozen=True)
class Output:
    """Labels of one frame within a larger array, written and read in place, because zarr arrays have no views.

    `whole` is NumPy, in the memory of this process; or zarr, which workers open themselves.
    """

    whole: Any
    frame: tuple[int, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether the labels are in this process's memory, which remote workers cannot access."""
        return isinstance(self.whole, np.ndarray)

    def __getitem__(self, index: Slices) -> Any:
        """Read some pixels of the frame."""
        return self.whole[(*self.frame, *index)]

    def __setitem__(self, index: Slices, values: Any) -> None:
        """Write some pixels, unless the folder is gone: zarr would make it again, with nothing else in it."""
        if not self.is_held and not Path(self.whole.store.root, self.whole.path).is_dir():
            raise FileError(f"The folder for the labels, {self.whole.store.root}, was removed during the run.")
        self.whole[(*self.frame, *index)] = values


@dataclass(frozen=True)
class Labelled:
    """The output of a task: labels of the pixels that the tile writes, and other results, which must be small."""

    tile: Tile
    labels: np.ndarray
    told: Any


@dataclass(frozen=True)
class Frame:
    """One frame to label in blocks."""

    image: Any
    output: Output
    draft: Output
    """Where labels go before their final numbers are known. In memory it is `output`; labels in a folder are renumbered
    from one array into the other, so that no number is changed twice if a block is processed twice."""
    block: tuple[int, ...]
    settings: Mapping[str, Any]
    name: str
    fill: Fill | None = None
    """What of the image is no image."""
    masked: Any = None
    found: int = 0
    """Objects in earlier frames, after which numbers continue."""

    def having(self, settings: Mapping[str, Any]) -> Frame:
        """Return the frame with other settings."""
        return replace(self, settings=settings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return tuple(self.image.shape[: len(self.block)])

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels."""
        axis: int | None = self.settings["channel_axis"]
        return axis

    def grid(self, reach: int) -> list[Tile]:
        """Return the tiles with a margin of `reach` pixels, or what padding needs to be found as in the whole image."""
        least = PADDING_REACH if self.fill is not None and self.fill.colours else 0
        return list(tiles(self.shape, self.block, (max(reach, least),) * len(self.block)))

    def notes(self, left_out: Iterable[int]) -> tuple[str, ...]:
        """Return a note on the pixels that are no image, from their number in each block."""
        count = sum(left_out)
        return (self.fill.note(count / math.prod(self.shape)),) if self.fill is not None and count else ()


@dataclass(frozen=True)
class Windows:
    """The pixels of a frame, read and checked window by window."""

    frame: Frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, channels included."""
        return tuple(self.frame.image.shape)

    def __getitem__(self, window: Slices) -> np.ndarray:
        """Read a window; what is no image in it is filled."""
        return self._read(window)[0]

    def valid(self, window: Slices) -> np.ndarray | None:
        """Return where a window is image; None if all of it is."""
        return self._read(window)[1]

    def _read(self, window: Slices) -> tuple[np.ndarray, np.ndarray | None]:
        frame = self.frame
        return _filled_part(frame.image[window], _cut(frame.masked, window), frame.name, frame.fill, frame.channel_axis)


def _cut(array: Any, window: Slices) -> Any:
    return None if array is None else array[window]


def _filled_part(
    part: Any, masked: Any, name: str, fill: Fill | None, channel_axis: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a part of an image, and fill what is no image in it; the second array is True where it is image, or None."""
    block = check_image(read(part), name, may_have_nan=fill is not None)
    if fill is None:
        return block, None
    valid = fill.valid(block, channel_axis, None if masked is None else read(masked))
    return (block, None) if valid is None else (filled(block, valid, channel_axis, fill.typical), valid)


def over(
    frame: Frame,
    grid: Sequence[Tile],
    work: Work,
    at: Pool,
    text: str,
    into: Output | None = None,
    inputs: Callable[[Tile], Inputs] | None = None,
) -> Job[list[Any]]:
    """Process every tile's part of the image, and return the results in the order of the tiles.

    The tiles of one block are one task: no two tasks write to the same chunk of a zarr array. With `into`, workers
    write the labels of `Labelled` there themselves, or send them if they cannot access it; the result is then what was
    told. `inputs` cuts the other inputs to a tile.
    """
    together = list(by_block(frame, grid))

    def given(some: list[Tile]) -> tuple[Any, ...]:
        return (
            [
                (tile, frame.image[tile.read], _cut(frame.masked, tile.read), inputs(tile) if inputs else {})
                for tile in some
            ],
        )

    def receive(found: list[Labelled]) -> list[Any]:
        return [_written(into, each) for each in found]

    is_reached = into is None or at.reaches(into)
    reading = partial(_filled_part, name=frame.name, fill=frame.fill, channel_axis=frame.channel_axis)
    task = partial(_over_tiles, work, into if is_reached else None, reading, text)
    outcomes = yield from at.run(task, Made(given, together), text, unchanged if is_reached else receive)
    by_place = {
        tile.place: outcome
        for some, found in zip(together, outcomes, strict=True)
        for tile, outcome in zip(some, found, strict=True)
    }
    return [by_place[tile.place] for tile in grid]


def _over_tiles(
    work: Work, into: Output | None, reading: Callable[..., Any], text: str, parts: list[tuple[Tile, Any, Any, Inputs]]
) -> Job[list[Any]]:
    """Process the tiles of one block, and write the labels if `into` is given; the task holds only what it needs."""
    outcomes = []
    for done, (tile, part, masked, others) in enumerate(parts):
        yield Progress(done, len(parts), text)
        block, valid = reading(part, masked)
        own = {key: array if array is None else np.ascontiguousarray(array) for key, array in others.items()}
        found = yield from subtask(work(block, tile, valid, **own), done, 1, len(parts))
        outcomes.append(found if into is None else _written(into, found))
        del block
        trim_memory()
    return outcomes


def _written(into: Output | None, found: Labelled) -> Any:
    assert into is not None
    into[found.tile.write] = found.labels
    return found.told


def by_block(frame: Frame, grid: Sequence[Tile]) -> Iterator[list[Tile]]:
    """Group the tiles that are parts of the same block."""

    def block(tile: Tile) -> tuple[int, ...]:
        return block_of(tile, frame.block)

    for _, some in itertools.groupby(sorted(grid, key=block), block):
        yield list(some)


def measure(method: TwoPass, frame: Frame, at: Pool) -> Job[dict[str, Any]]:
    """Run the first pass: exact sums over the blocks of the whole image."""
    scale = yield from _scale(method, frame, at)
    settings = {**frame.settings, "scale": scale}
    grid = frame.grid(method.reach(**settings))
    tiny = np.zeros((1,) * len(frame.block) + frame.image.shape[len(frame.block) :], frame.image.dtype)
    prepared = run_job(method.prepare(check_image(tiny, ""), **settings))
    summary = None
    rounds = method.rounds(prepared, **settings)
    for done in range(rounds):

        def summarise(block: np.ndarray, tile: Tile, valid: np.ndarray | None, earlier: Any = summary) -> Job[Any]:
            if valid is not None and not valid[tile.inner].any():
                return None
            own = {**settings, "valid": valid}
            prepared = yield from method.prepare(block, **own)
            return method.summarise(prepared[tile.inner], _start(tile), earlier, **within(own, tile.inner))

        measuring = over(frame, grid, summarise, at, "Measuring blocks")
        summaries = [each for each in (yield from subtask(measuring, done, 1, rounds)) if each is not None]
        if not summaries:
            raise InputError(f"{frame.name} is NaN, infinite, masked or padding in every pixel.")
        summary = reduce(method.merge, summaries)
    return {**(yield from method.fit(summary, **settings)), "scale": scale}


def _scale(method: TwoPass, frame: Frame, at: Pool) -> Job[Scale]:
    """Return the origin and the unit of values for all blocks."""
    if not method.needs_scale(canonical_dtype(frame.image.dtype), **frame.settings):
        return UNSCALED

    def range_in(block: np.ndarray, _: Tile, valid: np.ndarray | None) -> Job[tuple[Number, Number] | None]:
        yield from ()
        return None if valid is not None and not valid.any() else (block.min().item(), block.max().item())

    found = yield from over(frame, frame.grid(0), range_in, at, "Measuring blocks")
    ranges = [each for each in found if each is not None] or [(0, 0)]
    return scale_of(min(low for low, _ in ranges), max(high for _, high in ranges))


def _start(tile: Tile) -> tuple[int, ...]:
    return tuple(part.start for part in tile.write)


Notes = tuple[str, ...]


def label_two_pass(method: TwoPass, frame: Frame, at: Pool) -> Job[tuple[np.ndarray | None, Notes, AutoValues]]:
    """Measure the image, then label every block; return the objects' sizes, notes and the automatic values.

    Sizes have an unused entry 0; they are None if the labels are classes.
    """
    fitted = yield from subtask(measure(method, frame, at), 0, 0.3, 1)
    settings, shape = {**frame.settings, "scale": fitted["scale"]}, frame.shape
    touching = method.touching(**settings)

    def label(block: np.ndarray, tile: Tile, valid: np.ndarray | None) -> Job[Labelled]:
        own_settings = {**settings, "valid": valid}
        prepared = yield from method.prepare(block, **own_settings)
        classes = method.apply(prepared, tile.inner, _start(tile), fitted, **own_settings)
        n_left_out = _clear(classes, valid, tile)
        if touching is None:
            return Labelled(tile, classes, (None, n_left_out))
        regions = touching.regions(classes, **settings)
        labels = yield from components_of_equal(regions, settings["connectivity"])
        own = Tile(tile.place, tile.write, tile.write)
        return Labelled(tile, labels, (joining.describe_block(labels, own, shape, classes), n_left_out))

    grid = frame.grid(method.reach(**settings))
    labelling = over(frame, grid, label, at, "Labelling blocks", frame.draft)
    outcomes = yield from subtask(labelling, 0.3, 0.5, 1)
    chosen = method.chosen(fitted, **settings)
    notes = (*frame.notes(count for _, count in outcomes), *method.notes(fitted, **settings))
    if touching is None:
        return None, notes, chosen
    objects = [own for own, _ in outcomes]
    sizes = yield from subtask(_join_by_touch(touching, objects, grid, frame, at), 0.8, 0.2, 1)
    return (sizes if settings.get("output") == "objects" else None), notes, chosen


def _clear(labels: np.ndarray, valid: np.ndarray | None, tile: Tile) -> int:
    """Set the labels of what a tile writes to 0 where there is no image; return the number of these pixels."""
    if valid is None:
        return 0
    labels[~valid[tile.inner]] = 0
    return int(np.count_nonzero(~valid[tile.inner]))


def label_overlapping(
    plan: BlockPlan, inputs: Callable[[Tile], Inputs], is_joined: bool, takes_valid: bool, frame: Frame, at: Pool
) -> Job[tuple[np.ndarray | None, Table, Notes]]:
    """Label every block with a margin; objects that two blocks have in common at their border are one.

    Return the objects' sizes after an unused entry 0, or None if the labels are classes (not `is_joined`); the method's
    table of the objects; and its notes on all blocks, each sentence once.
    """
    shape = frame.shape

    def label(block: np.ndarray, tile: Tile, valid: np.ndarray | None, **others: Any) -> Job[Labelled]:
        told = plan.told(tile) if plan.told else {}
        known = {"valid": valid} if takes_valid else {}
        found = MethodOutput.of((yield from plan.label(block, **others, **told, **known)))
        labels = found.labels if valid is None else np.where(valid, found.labels, 0)
        n_left_out = 0 if valid is None else int(np.count_nonzero(~valid[tile.inner]))
        objects = joining.describe_block(labels, tile, shape, with_faces=True) if is_joined else None
        return Labelled(tile, labels[tile.inner], (objects, found.table, found.notes, n_left_out, found.chosen))

    grid = _planned_grid(plan, frame)
    place = at.narrowed() if plan.is_threaded else at
    labelling = over(frame, grid, label, place, "Labelling blocks", frame.draft, inputs)
    outcomes = yield from subtask(labelling, 0, 0.95, 1)
    notes = frame.notes(count for *_, count, _ in outcomes)
    notes += tuple(dict.fromkeys(note for _, _, some, *_ in outcomes for note in some))
    if plan.notes_on_blocks is not None:
        notes += plan.notes_on_blocks([told for *_, told in outcomes])
    if not is_joined:
        return None, {}, notes
    objects = [own for own, *_ in outcomes if own is not None]
    offsets, total = joining.label_offsets(objects)
    pairs = joining.same_objects(objects, offsets, {tile.place: tile for tile in grid})
    numbering = joining.number_objects(objects, offsets, total, pairs)
    final = joining.without_small(numbering.sizes, plan.smallest_px)
    yield from subtask(_renumber(numbering, final, objects, grid, frame, at), 0.95, 0.05, 1)
    table = join_tables([table for _, table, *_ in outcomes], objects, grid, numbering, final)
    return np.append(0, numbering.sizes[final > 0]), table, notes


def _planned_grid(plan: BlockPlan, frame: Frame) -> list[Tile]:
    parts = None if plan.parts is None else plan.parts(frame.block)
    grid = tiles(frame.shape, frame.block, plan.reach, parts)
    return list(grid if plan.aligned is None else map(plan.aligned, grid))


def _join_by_touch(
    touching: Touching, objects: list[BlockObjects], grid: list[Tile], frame: Frame, at: Pool
) -> Job[np.ndarray]:
    offsets, total = joining.label_offsets(objects)
    values = np.zeros(total + 1, np.int64)
    for each in objects:
        values[each.numbers + offsets[each.place]] = touching.regions(each.highest, **frame.settings)
    pairs = [np.empty((0, 2), np.int64)]
    for axis, border in _borders(grid):
        yield Progress(0, 1, "Joining blocks")
        slab = _unique_numbers(frame, grid, offsets, axis, border)
        pairs.append(joining.touching_numbers(slab, values, axis, frame.settings["connectivity"]))
    numbering = joining.number_objects(objects, offsets, total, np.concatenate(pairs))
    final = touching.numbers(numbering.sizes, numbering.highest, **frame.settings)
    yield from _renumber(numbering, final, objects, grid, frame, at)
    return np.append(0, numbering.sizes[final > 0])


def _borders(grid: list[Tile]) -> list[tuple[int, int]]:
    """List every plane between two rows of tiles: the axis across it and its first index."""
    starts = {(axis, part.start) for tile in grid for axis, part in enumerate(tile.write) if part.start}
    return sorted(starts)


def _unique_numbers(
    frame: Frame, grid: list[Tile], offsets: Mapping[tuple[int, ...], int], axis: int, border: int
) -> np.ndarray:
    """Read the two planes at a border, and make the tiles' numbers unique."""
    index = [slice(None)] * len(frame.shape)
    index[axis] = slice(border - 1, border + 1)
    slab = np.asarray(frame.draft[tuple(index)]).astype(np.int64)
    for tile in grid:
        part = tile.write[axis]
        if part.start <= border <= part.stop:
            local = [*tile.write]
            local[axis] = slice(max(part.start, border - 1) - border + 1, min(part.stop, border + 1) - border + 1)
            view = slab[tuple(local)]
            view[view > 0] += offsets[tile.place]
    return slab


def _renumber(
    numbering: GlobalLabels, final: np.ndarray, objects: list[BlockObjects], grid: list[Tile], frame: Frame, at: Pool
) -> Job[None]:
    """Give every block its objects' final numbers, in place."""
    output, draft = frame.output, frame.draft
    tables: dict[tuple[int, ...], np.ndarray] = {}
    for each in objects:
        start = numbering.offsets[each.place]
        numbers = final[numbering.groups[start : start + each.largest] + 1]
        tables[each.place] = np.append(0, np.where(numbers > 0, numbers + frame.found, 0))

    def number(some: list[tuple[Tile, np.ndarray]]) -> None:
        for tile, table in some:
            output[tile.write] = table[np.asarray(draft[tile.write])]

    arguments = [([(tile, tables[tile.place]) for tile in some],) for some in by_block(frame, grid)]
    place = at if at.reaches(output) else Threads(worker_count())
    yield from place.run(number, arguments, "Numbering objects")
