"""Passes over the blocks of an image: measure it, label each block, join what the blocks cut, number the objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from napari_tessera.bands import worker_count
from napari_tessera.door import canonical_dtype, check_image
from napari_tessera.jobs import Job, Progress, drive, part_of
from napari_tessera.large import joining
from napari_tessera.large.chunked import Pool, Threads
from napari_tessera.large.frame import Frame, Inputs, Labelled, by_block, over
from napari_tessera.large.joined_tables import join_tables
from napari_tessera.large.joining import Numbering, Piece
from napari_tessera.large.tiles import Tile, tiles
from napari_tessera.overlapping import BlockPlan
from napari_tessera.result import Chosen, Found
from napari_tessera.spec import Table
from napari_tessera.two_pass import Touching, TwoPass, components_of_equal
from napari_tessera.value_range import UNSCALED, Number, Scale, scale_of


def measure(method: TwoPass, frame: Frame, at: Pool) -> Job[dict[str, Any]]:
    """Do the first pass: what the whole image says, from exact sums over its blocks."""
    scale = yield from _scale(method, frame, at)
    settings = {**frame.settings, "scale": scale}
    grid = frame.grid(method.reach(**settings))
    tiny = np.zeros((1,) * len(frame.block) + frame.image.shape[len(frame.block) :], frame.image.dtype)
    prepared = drive(method.prepare(check_image(tiny, ""), **settings))
    summary = None
    rounds = method.rounds(prepared, **settings)
    for done in range(rounds):

        def summarise(block: np.ndarray, tile: Tile, earlier: Any = summary) -> Job[Any]:
            prepared = yield from method.prepare(block, **settings)
            return method.summarise(prepared[tile.inner], _start(tile), earlier, **settings)

        measuring = over(frame, grid, summarise, at, "Measuring blocks")
        summaries = yield from part_of(measuring, done, 1, rounds)
        summary = reduce(method.merge, summaries)
    return {**(yield from method.fit(summary, **settings)), "scale": scale}


def _scale(method: TwoPass, frame: Frame, at: Pool) -> Job[Scale]:
    """Return the origin and the unit in which all blocks are worked on."""
    if not method.needs_scale(canonical_dtype(frame.image.dtype), **frame.settings):
        return UNSCALED

    def range_in(block: np.ndarray, _: Tile) -> Job[tuple[Number, Number]]:
        yield from ()
        return block.min().item(), block.max().item()

    ranges = yield from over(frame, frame.grid(0), range_in, at, "Measuring blocks")
    return scale_of(min(low for low, _ in ranges), max(high for _, high in ranges))


def _start(tile: Tile) -> tuple[int, ...]:
    return tuple(part.start for part in tile.write)


def label_two_pass(method: TwoPass, frame: Frame, at: Pool) -> Job[tuple[np.ndarray | None, Chosen]]:
    """Measure the image, then label every block.

    Returns
    -------
    sizes : (N + 1,) array or None
        Pixels of each object, after an unused entry 0; None where the labels are classes.
    chosen : dict
        What of the measures is worth to be told; see `Found`.
    """
    fitted = yield from part_of(measure(method, frame, at), 0, 0.3, 1)
    settings, shape = {**frame.settings, "scale": fitted["scale"]}, frame.shape
    touching = method.touching(**settings)

    def label(block: np.ndarray, tile: Tile) -> Job[Labelled]:
        prepared = yield from method.prepare(block, **settings)
        classes = method.apply(prepared, tile.inner, _start(tile), fitted, **settings)
        if touching is None:
            return Labelled(tile, classes, None)
        regions = touching.regions(classes, **settings)
        labels = yield from components_of_equal(regions, settings["connectivity"])
        own = Tile(tile.place, tile.write, tile.write)
        return Labelled(tile, labels, joining.describe_piece(labels, own, shape, classes))

    grid = frame.grid(method.reach(**settings))
    labelling = over(frame, grid, label, at, "Labelling blocks", frame.draft)
    pieces = yield from part_of(labelling, 0.3, 0.5, 1)
    chosen = method.chosen(fitted, **settings)
    if touching is None:
        return None, chosen
    sizes = yield from part_of(_join_by_touch(touching, pieces, grid, frame, at), 0.8, 0.2, 1)
    return (sizes if settings.get("output") == "objects" else None), chosen


def label_overlapping(
    plan: BlockPlan, inputs: Callable[[Tile], Inputs], is_joined: bool, frame: Frame, at: Pool
) -> Job[tuple[np.ndarray | None, Table, tuple[str, ...]]]:
    """Label every block with a margin; objects that two blocks both saw at their border are one.

    Parameters
    ----------
    plan : BlockPlan
    inputs : callable (tile) -> dict
        The method's other inputs, cut to the tile.
    is_joined : bool
        Whether labels are objects; classes are written as they are.
    frame, at

    Returns
    -------
    sizes : (N + 1,) array or None
        Pixels of each object, after an unused entry 0; None where the labels are classes.
    table : dict of str to array
        What the method said of each object, in the order of their numbers; empty where it said nothing.
    notes : tuple of str
        What the method had to say of any block, each sentence once.
    """
    shape = frame.shape

    def label(block: np.ndarray, tile: Tile, **others: Any) -> Job[Labelled]:
        told = plan.told(tile) if plan.told else {}
        found = Found.of((yield from plan.label(block, **others, **told)))
        piece = joining.describe_piece(found.labels, tile, shape, with_faces=True) if is_joined else None
        return Labelled(tile, found.labels[tile.inner], (piece, found.table, found.notes))

    grid = _planned_grid(plan, frame)
    place = at.narrowed() if plan.is_threaded else at
    labelling = over(frame, grid, label, place, "Labelling blocks", frame.draft, inputs)
    outcomes = yield from part_of(labelling, 0, 0.95, 1)
    notes = tuple(dict.fromkeys(note for _, _, some in outcomes for note in some))
    if not is_joined:
        return None, {}, notes
    pieces = [piece for piece, _, _ in outcomes if piece is not None]
    offsets, total = joining.count_up(pieces)
    pairs = joining.same_objects(pieces, offsets, {tile.place: tile for tile in grid})
    numbering = joining.number_objects(pieces, offsets, total, pairs)
    final = joining.without_small(numbering.sizes, plan.smallest_px)
    yield from part_of(_renumber(numbering, final, pieces, grid, frame, at), 0.95, 0.05, 1)
    table = join_tables([table for _, table, _ in outcomes], pieces, grid, numbering, final)
    return np.append(0, numbering.sizes[final > 0]), table, notes


def _planned_grid(plan: BlockPlan, frame: Frame) -> list[Tile]:
    parts = None if plan.parts is None else plan.parts(frame.block)
    grid = tiles(frame.shape, frame.block, plan.reach, parts)
    return list(grid if plan.aligned is None else map(plan.aligned, grid))


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
    numbering: Numbering, final: np.ndarray, pieces: list[Piece], grid: list[Tile], frame: Frame, at: Pool
) -> Job[None]:
    """Give every block its objects' final numbers, where the labels are."""
    output, draft = frame.output, frame.draft
    tables: dict[tuple[int, ...], np.ndarray] = {}
    for piece in pieces:
        start = numbering.offsets[piece.place]
        numbers = final[numbering.groups[start : start + piece.largest] + 1]
        tables[piece.place] = np.append(0, np.where(numbers > 0, numbers + frame.found, 0))

    def number(some: list[tuple[Tile, np.ndarray]]) -> None:
        for tile, table in some:
            output[tile.write] = table[np.asarray(draft[tile.write])]

    arguments = [([(tile, tables[tile.place]) for tile in some],) for some in by_block(frame, grid)]
    place = at if at.reaches(output) else Threads(worker_count())
    yield from place.run(number, arguments, "Numbering objects")
