"""Run a method on an image in blocks, with dask: threads on this computer, or any dask.distributed scheduler.

This is the only file that knows dask. A task reads its block, labels it, writes its part of the output and returns a
few numbers about its objects; nothing as large as the image is ever held.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import dask
import dask.array as da
import numpy as np

from napari_tessera.door import check_image
from napari_tessera.errors import RunError
from napari_tessera.jobs import Job, Progress, drive
from napari_tessera.large import joining
from napari_tessera.large.joining import Numbering, Piece
from napari_tessera.large.tiles import Tile, tiles
from napari_tessera.two_pass import Touching, TwoPass, components_of_equal

Compute = Callable[[Sequence[Any]], Sequence[Any]]
TASKS_PER_WORKER = 2


@dataclass(frozen=True)
class Frame:
    """One frame to be labelled in blocks.

    Attributes
    ----------
    image : dask array
        Spatial axes first, then channels if there are any.
    output : array-like
        Integers of the frame's spatial shape, written in place: NumPy, or zarr for workers elsewhere.
    block : tuple of int
        Pixels of a block along each spatial axis.
    settings : dict
        The method's parameters, with `spacing` and `channel_axis`.
    name : str
        Name of the image for error messages.
    found : int
        Objects found in earlier frames; numbers go on from there.
    """

    image: Any
    output: Any
    block: tuple[int, ...]
    settings: Mapping[str, Any]
    name: str
    found: int = 0

    def having(self, settings: Mapping[str, Any]) -> Frame:
        """Return the same frame with other settings."""
        return replace(self, settings=settings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return tuple(self.image.shape[: len(self.block)])

    def grid(self, reach: int) -> list[Tile]:
        """Tiles with a halo of `reach` pixels."""
        return list(tiles(self.shape, self.block, (reach,) * len(self.block)))


@dataclass(frozen=True)
class Pool:
    """Where tasks run.

    Attributes
    ----------
    compute : callable
        Runs dask tasks and returns their results in order.
    batch : int
        How many tasks to hand over at once; a run can be cancelled between two batches.
    """

    compute: Compute
    batch: int

    def over(self, frame: Frame, grid: Sequence[Tile], task: Callable[[np.ndarray, Tile], Any], text: str) -> Job[Any]:
        """Do `task` on every tile's part of the image and return the results in the order of the tiles."""
        name = frame.name

        def checked(block: np.ndarray, tile: Tile) -> Any:
            return task(check_image(block, name), tile)

        results: list[Any] = []
        delayed = dask.delayed(checked, pure=False)
        for start in range(0, len(grid), self.batch):
            yield Progress(start, len(grid), text)
            tasks = [delayed(frame.image[tile.read], tile) for tile in grid[start : start + self.batch]]
            results += self.compute(tasks)
        return results


@contextlib.contextmanager
def pool(workers: int | None, scheduler: str | None) -> Iterator[Pool]:
    """Open the place where tasks run: `workers` threads, or the dask.distributed scheduler at an address."""
    if scheduler is None:
        count = workers or os.cpu_count() or 1

        def compute(tasks: Sequence[Any]) -> Sequence[Any]:
            return tuple(dask.compute(*tasks, scheduler="threads", num_workers=count))

        yield Pool(compute, TASKS_PER_WORKER * count)
        return
    with _client(scheduler) as client:
        threads = sum(client.nthreads().values())
        yield Pool(lambda tasks: client.gather(client.compute(list(tasks))), TASKS_PER_WORKER * max(1, threads))


def _client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError('A scheduler needs dask.distributed: pip install "dask[distributed]".') from error
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"No dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler`."
        ) from error


def lazy(array: Any) -> da.Array:
    """Wrap a NumPy, zarr or dask array so that only what is asked for is read."""
    return da.asarray(array)


def label_two_pass(method: TwoPass, frame: Frame, at: Pool) -> Job[np.ndarray | None]:
    """Measure the image, then label every block.

    Returns
    -------
    (N + 1,) array or None
        Pixels of each object, after an unused entry 0; None where the labels are classes.
    """
    fitted = yield from measure(method, frame, at)
    settings, output = frame.settings, frame.output
    touching = method.touching(**settings)

    def label(block: np.ndarray, tile: Tile) -> Piece | None:
        prepared = drive(method.prepare(block, **settings))
        classes = method.apply(prepared, tile.inner, _start(tile), fitted, **settings)
        if touching is None:
            output[tile.write] = classes
            return None
        regions = touching.regions(classes, **settings)
        labels = drive(components_of_equal(regions, settings["connectivity"]))
        output[tile.write] = labels
        return joining.describe_piece(labels, Tile(tile.place, tile.write, tile.write), frame.shape, classes)

    grid = frame.grid(method.reach(**settings))
    pieces = yield from at.over(frame, grid, label, "Labelling blocks")
    if touching is None:
        return None
    sizes = yield from _join_by_touch(touching, pieces, grid, frame, at)
    return sizes if settings.get("output") == "objects" else None


def measure(method: TwoPass, frame: Frame, at: Pool) -> Job[dict[str, Any]]:
    """Do the first pass: what the whole image says, from exact sums over its blocks."""
    settings = frame.settings
    grid = frame.grid(method.reach(**settings))
    tiny = np.zeros((1,) * len(frame.block) + frame.image.shape[len(frame.block) :], frame.image.dtype)
    prepared = drive(method.prepare(check_image(tiny, ""), **settings))
    summary = None
    for _ in range(method.rounds(prepared, **settings)):

        def summarise(block: np.ndarray, tile: Tile, earlier: Any = summary) -> Any:
            prepared = drive(method.prepare(block, **settings))
            return method.summarise(prepared[tile.inner], _start(tile), earlier, **settings)

        summaries = yield from at.over(frame, grid, summarise, "Measuring blocks")
        summary = reduce(method.merge, summaries)
    return (yield from method.fit(summary, **settings))


def _start(tile: Tile) -> tuple[int, ...]:
    return tuple(part.start for part in tile.write)


def label_overlapping(
    function: Callable[..., Any], reach: int, extra: Callable[[Tile], Mapping[str, Any]], frame: Frame, at: Pool
) -> Job[np.ndarray]:
    """Label every block with a margin of `reach` pixels; objects that two blocks both saw at their border are one.

    Parameters
    ----------
    function : callable
        The method.
    reach : int
    extra : callable (tile) -> dict
        The method's other inputs, cut to the tile.
    frame, at

    Returns
    -------
    (N + 1,) array
        Pixels of each object, after an unused entry 0.
    """
    settings, output, shape = frame.settings, frame.output, frame.shape

    def label(block: np.ndarray, tile: Tile) -> Piece:
        found = drive(function(block, **extra(tile), **settings))
        labels = found[0] if isinstance(found, tuple) else found
        output[tile.write] = labels[tile.inner]
        return joining.describe_piece(labels, tile, shape, with_faces=True)

    grid = frame.grid(reach)
    pieces = yield from at.over(frame, grid, label, "Labelling blocks")
    offsets, total = joining.count_up(pieces)
    pairs = joining.same_objects(pieces, offsets, {tile.place: tile for tile in grid})
    numbering = joining.number_objects(pieces, offsets, total, pairs)
    yield from _renumber(numbering, np.arange(len(numbering.sizes)), pieces, grid, frame, at)
    return numbering.sizes


def _join_by_touch(
    touching: Touching, pieces: list[Piece], grid: list[Tile], frame: Frame, at: Pool
) -> Job[np.ndarray]:
    offsets, total = joining.count_up(pieces)
    values = np.zeros(total + 1, np.int64)
    for piece in pieces:
        values[piece.numbers + offsets[piece.place]] = touching.regions(piece.highest, **frame.settings)
    pairs = [np.empty((0, 2), np.int64)]
    for axis, border in _borders(grid):
        yield Progress(0, 1, "Joining blocks")
        slab = _unique_numbers(frame, grid, offsets, axis, border)
        pairs.append(joining.touching_numbers(slab, values, axis, frame.settings["connectivity"]))
    numbering = joining.number_objects(pieces, offsets, total, np.concatenate(pairs))
    final = touching.numbers(numbering.sizes, numbering.highest, **frame.settings)
    yield from _renumber(numbering, final, pieces, grid, frame, at)
    return np.append(0, numbering.sizes[final > 0])


def _borders(grid: list[Tile]) -> list[tuple[int, int]]:
    """Every plane between two rows of tiles: the axis across it and its first index."""
    starts = {(axis, part.start) for tile in grid for axis, part in enumerate(tile.write) if part.start}
    return sorted(starts)


def _unique_numbers(
    frame: Frame, grid: list[Tile], offsets: Mapping[tuple[int, ...], int], axis: int, border: int
) -> np.ndarray:
    """Read the two planes at a border, and make the tiles' own numbers unique."""
    index = [slice(None)] * len(frame.shape)
    index[axis] = slice(border - 1, border + 1)
    slab = np.asarray(frame.output[tuple(index)]).astype(np.int64)
    for tile in grid:
        part = tile.write[axis]
        if part.start <= border <= part.stop:
            local = [*tile.write]
            local[axis] = slice(max(part.start, border - 1) - border + 1, min(part.stop, border + 1) - border + 1)
            view = slab[tuple(local)]
            view[view > 0] += offsets[tile.place]
    return slab


def _renumber(
    numbering: Numbering, final: np.ndarray, pieces: list[Piece], grid: list[Tile], frame: Frame, at: Pool
) -> Job[None]:
    """Give every block its objects' final numbers."""
    output = frame.output
    tables = {}
    for piece in pieces:
        start = numbering.offsets[piece.place]
        numbers = final[numbering.groups[start : start + piece.largest] + 1]
        tables[piece.place] = np.append(0, np.where(numbers > 0, numbers + frame.found, 0))

    def number(tile: Tile, table: np.ndarray) -> None:
        output[tile.write] = table[np.asarray(output[tile.write])]

    delayed = dask.delayed(number, pure=False)
    for start in range(0, len(grid), at.batch):
        yield Progress(start, len(grid), "Numbering objects")
        at.compute([delayed(tile, tables[tile.place]) for tile in grid[start : start + at.batch]])
