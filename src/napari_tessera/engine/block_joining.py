"""Join objects that block faces cut, and merge the rows of their tables."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from napari_tessera.core.result import position_columns
from napari_tessera.core.spatial import SPATIAL_AXES
from napari_tessera.core.spec import Table
from napari_tessera.core.tiles import Slices, Tile

SAME_OBJECT = 0.5
"""Two blocks have the same object if they share this part of the smaller of its two cross-sections."""

Face = tuple[int, int]
"""Axis, and 0 for the face at its start or 1 for the face at its end."""


PART_PX = 2**22
"""Pixels counted at once."""


@dataclass(frozen=True)
class BlockFace:
    """A few planes of labels, compressed to a hundredth, so that those of all blocks fit into memory."""

    shape: tuple[int, ...]
    dtype: np.dtype
    packed: bytes

    @classmethod
    def of(cls, labels: np.ndarray) -> BlockFace:
        """Compress labels."""
        return cls(labels.shape, labels.dtype, zlib.compress(np.ascontiguousarray(labels).data, level=1))

    @property
    def labels(self) -> np.ndarray:
        """Decompress the labels."""
        return np.frombuffer(zlib.decompress(self.packed), self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class BlockObjects:
    """The objects of one block; arrays have one entry per object in the pixels that it writes."""

    place: tuple[int, ...]
    largest: int
    """Largest number in the block, also in its margin."""
    numbers: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    """Raster position, in the whole image, of the first pixel."""
    highest: np.ndarray
    """Highest class in the object; 1 without classes."""
    faces: Mapping[Face, BlockFace] = field(default_factory=dict)
    """Numbers on the two planes on either side of a face of what is written, also in the margin."""


def describe_block(
    labels: np.ndarray, tile: Tile, shape: tuple[int, ...], classes: np.ndarray | None = None, with_faces: bool = False
) -> BlockObjects:
    """Measure the objects of one block; `labels` and `classes` cover what it reads, `shape` is that of the image."""
    core = np.ascontiguousarray(labels[tile.inner])
    first, sizes = _first_and_size(core.reshape(-1))
    numbers = np.flatnonzero(sizes[1:]) + 1
    highest = np.ones(len(sizes), np.int64)
    if classes is not None:
        highest[:] = 0
        np.maximum.at(highest, core.reshape(-1), classes[tile.inner].reshape(-1))
    at = np.unravel_index(first[numbers], core.shape)
    in_image = tuple(index + part.start for index, part in zip(at, tile.write, strict=True))
    return BlockObjects(
        tile.place,
        int(labels.max()),
        numbers,
        sizes[numbers],
        np.ravel_multi_index(in_image, shape),
        highest[numbers],
        dict(_faces(labels, tile)) if with_faces else {},
    )


def _first_and_size(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the first pixel of each number, and its pixel count; (largest + 1,) each."""
    count = int(labels.max()) + 1
    first, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for start in reversed(range(0, len(labels), PART_PX)):
        part = labels[start : start + PART_PX]
        first[part[::-1]] = np.arange(start + len(part) - 1, start - 1, -1)  # for equal numbers, the last one is kept
        sizes += np.bincount(part, minlength=count)
    return first, sizes


def _faces(labels: np.ndarray, tile: Tile) -> Iterator[tuple[Face, BlockFace]]:
    """Cut out the two planes at each face with a margin beyond it, over the write region along the other axes."""
    for axis, (inner, size) in enumerate(zip(tile.inner, labels.shape, strict=True)):
        for side, border in enumerate((inner.start, inner.stop)):
            if 0 < border < size:
                index = [*tile.inner]
                index[axis] = slice(border - 1, border + 1)
                yield (axis, side), BlockFace.of(labels[tuple(index)])


@dataclass(frozen=True)
class GlobalLabels:
    """Numbers of the objects over all blocks, before and after joining."""

    offsets: Mapping[tuple[int, ...], int]
    groups: np.ndarray
    """The object (from 0) of each unique number, less 1, in raster order of the objects' first pixels."""
    sizes: np.ndarray
    highest: np.ndarray
    """Sizes and highest classes of each object, after an unused entry 0 for the background."""


def label_offsets(blocks: Iterable[BlockObjects]) -> tuple[dict[tuple[int, ...], int], int]:
    """Return the offset of each block that makes its numbers unique, and the largest number."""
    offsets, total = {}, 0
    for block in blocks:
        offsets[block.place] = total
        total += block.largest
    return offsets, total


def number_objects(
    blocks: list[BlockObjects], offsets: Mapping[tuple[int, ...], int], total: int, pairs: np.ndarray
) -> GlobalLabels:
    """Join numbers that `pairs` (M, 2) connect, and order the objects by their first pixel."""
    ones = np.ones(len(pairs), bool)
    graph = sparse.coo_array((ones, (pairs[:, 0] - 1, pairs[:, 1] - 1)), shape=(total, total))
    count, member = connected_components(graph, directed=False) if total else (0, np.empty(0, int))
    first = np.full(count, np.iinfo(np.int64).max)
    sizes, highest = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for block in blocks:
        group = member[block.numbers + offsets[block.place] - 1]
        np.minimum.at(first, group, block.first)
        np.add.at(sizes, group, block.sizes)
        np.maximum.at(highest, group, block.highest)
    order = np.argsort(first, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    is_seen = sizes[order] > 0
    return GlobalLabels(
        offsets,
        np.where(is_seen[rank[member]], rank[member], 0) if total else member,
        np.append(0, sizes[order][is_seen]),
        np.append(0, highest[order][is_seen]),
    )


def without_small(sizes: np.ndarray, smallest_px: int) -> np.ndarray:
    """Renumber, in order, the objects of at least `smallest_px` pixels; the others, and entry 0, get 0."""
    is_kept = np.append(False, sizes[1:] >= smallest_px)
    return np.where(is_kept, np.cumsum(is_kept), 0)


def same_objects(
    blocks: list[BlockObjects], offsets: Mapping[tuple[int, ...], int], grid: Mapping[tuple[int, ...], Tile]
) -> np.ndarray:
    """Find objects that two neighbouring blocks both have at their common face: (M, 2) unique numbers."""
    by_place = {block.place: block for block in blocks}
    found = [np.empty((0, 2), np.int64)]
    for block in blocks:
        for axis in range(len(block.place)):
            other = by_place.get(grid[block.place].next_to(axis))
            if other is None or (axis, 1) not in block.faces or (axis, 0) not in other.faces:
                continue
            pairs = matching_sections(block.faces[axis, 1].labels, other.faces[axis, 0].labels)
            found.append(pairs + np.array([offsets[block.place], offsets[other.place]]))
    return np.concatenate(found)


def matching_sections(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Match the numbers of two labellings of the same pixels that share most of the smaller one: (M, 2)."""
    both = (ours > 0) & (theirs > 0)
    pairs, shared = np.unique(np.stack([ours[both], theirs[both]], axis=1), axis=0, return_counts=True)
    if not len(pairs):
        return np.empty((0, 2), np.int64)
    size_ours, size_theirs = np.bincount(ours.reshape(-1)), np.bincount(theirs.reshape(-1))
    smaller = np.minimum(size_ours[pairs[:, 0]], size_theirs[pairs[:, 1]])
    return pairs[shared >= SAME_OBJECT * smaller].astype(np.int64)


def touching_numbers(slab: np.ndarray, values: np.ndarray, axis: int, connectivity: int) -> np.ndarray:
    """Find the numbers of equal value that touch across the middle of a slab two planes thick: (M, 2).

    `slab` has unique numbers, `values` the value of each number (0 is the background).
    """
    here, there = (np.take(slab, side, axis=axis) for side in (0, 1))
    pairs = [np.empty((0, 2), slab.dtype)]
    for shift in np.ndindex(*(3,) * here.ndim):
        offset = np.array(shift) - 1
        if np.abs(offset).sum() >= connectivity:
            continue
        one, two = here[_overlap(-offset)], there[_overlap(offset)]
        touches = (one > 0) & (two > 0)
        touches &= values[one] == values[two]
        pairs.append(np.unique(np.stack([one[touches], two[touches]], axis=1), axis=0))
    return np.concatenate(pairs).astype(np.int64)


def _overlap(offset: np.ndarray) -> Slices:
    return tuple(slice(max(0, int(step)), min(0, int(step)) or None) for step in offset)


def join_tables(
    tables: Sequence[Table],
    blocks: Sequence[BlockObjects],
    grid: Sequence[Tile],
    numbering: GlobalLabels,
    final: np.ndarray,
) -> Table:
    """Return one row for each object, from the block with most of it, without its number.

    `tables` are the method's tables of the objects 1…N of each block, maybe empty. `final` is the new number of each
    object, after an unused entry 0; 0 if it was dropped. Boxes are counted from the image's first pixel.
    """
    names = [name for name in tables[0] if name != "label"] if all(tables) else []
    if not names:
        return {}
    moved = [_in_image(table, tile) for table, tile in zip(tables, grid, strict=True)]
    starts = np.cumsum([0, *(len(table["label"]) for table in tables[:-1])])
    rows = np.concatenate([start + block.numbers - 1 for start, block in zip(starts, blocks, strict=True)])
    numbers = np.concatenate(
        [final[numbering.groups[block.numbers + numbering.offsets[block.place] - 1] + 1] for block in blocks]
    )
    order = np.argsort(np.concatenate([block.sizes for block in blocks]), kind="stable")
    order = order[numbers[order] > 0]
    chosen = np.zeros(int(final.max(initial=0)), np.intp)
    chosen[numbers[order] - 1] = rows[order]  # of several, the last and largest is kept
    return {name: np.concatenate([table[name] for table in moved])[chosen] for name in names}


def _in_image(table: Table, tile: Tile) -> Table:
    """Convert box corners to coordinates of the whole image."""
    space = SPATIAL_AXES[-len(tile.read) :]
    starts = {axis: part.start for axis, part in zip(space, tile.read, strict=True)}
    axes = position_columns(space)
    return {name: column + starts[axes[name]] if name in axes else column for name, column in table.items()}
