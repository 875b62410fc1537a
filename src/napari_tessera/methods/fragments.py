"""Find out which objects touch, and merge small ones into their neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_tessera.bands import Piece, pieces
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.methods.selection import count_pixels, map_numbers
from napari_tessera.overlaps import sum_pairs


def neighbour_slices(shape: tuple[int, ...]) -> Iterator[tuple[Piece, Piece]]:
    """Cut an image into pairs of pieces: every pixel of the first has its neighbour along one axis in the second."""
    for axis, length in enumerate(shape):
        if length < 2:
            continue
        for piece in pieces((*shape[:axis], length - 1, *shape[axis + 1 :])):
            ahead = slice(piece[axis].start + 1, piece[axis].stop + 1)
            yield piece, (*piece[:axis], ahead, *piece[axis + 1 :])


def merge_fragments(labels: np.ndarray, smallest: int, spacing: tuple[float, ...] | None) -> Job[None]:
    """Merge, in place, objects of fewer than `smallest` pixels into the neighbour with the longest common border.

    A fragment between fragments joins them; the whole is merged on if it is still too small.
    """
    pixels = yield from part_of(count_pixels(labels, "Merging fragments"), 0, 1, 4)
    borders = yield from part_of(_find_borders(labels, spacing), 1, 2, 4)
    owners = join_fragments(*borders, pixels, smallest)
    yield from part_of(map_numbers(labels, owners.astype(labels.dtype), labels, "Merging fragments"), 3, 1, 4)


def _find_borders(
    labels: np.ndarray, spacing: tuple[float, ...] | None
) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return each pair of objects that touch, once, and the length (in 3-D the area) of the border between them."""
    sizes = np.ones(labels.ndim) if spacing is None else np.array(spacing)
    found = [(np.empty(0, labels.dtype), np.empty(0, labels.dtype), np.empty(0))]
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Merging fragments")
        here, there = labels[lower], labels[upper]
        touches = (here != there) & (here > 0) & (there > 0)
        here, there = here[touches], there[touches]
        axis = next(axis for axis in range(labels.ndim) if lower[axis] != upper[axis])
        face = np.full(len(here), sizes.prod() / sizes[axis])
        found.append(sum_pairs(np.minimum(here, there), np.maximum(here, there), face))
    first, second, border = map(np.concatenate, zip(*found, strict=True))
    return sum_pairs(first, second, border)


def join_fragments(
    first: np.ndarray, second: np.ndarray, border: np.ndarray, pixels: np.ndarray, smallest: int
) -> np.ndarray:
    """Say which object each object ends up in.

    Parameters
    ----------
    first, second, border : (B,) array
        Pairs of objects that touch, and the length of their border.
    pixels : (N + 1,) array
        Size of each object; entry 0 is the background.
    smallest : int
        Objects of fewer pixels are merged, round by round, as long as they have neighbours.

    Returns
    -------
    (N + 1,) array
    """
    owners, pixels = np.arange(len(pixels)), pixels.copy()
    while (target := _choose_neighbours(first, second, border, pixels, smallest)) is not None:
        # Two fragments may choose each other; then the larger one, of equals the first, stays what it is.
        chosen_back = target[target] == np.arange(len(target))
        is_larger = (pixels > pixels[target]) | ((pixels == pixels[target]) & (np.arange(len(target)) < target))
        stays = chosen_back & is_larger
        target[stays] = np.flatnonzero(stays)
        while not np.array_equal(target, target[target]):
            target = target[target]
        owners = target[owners]
        pixels = np.bincount(target, pixels, len(pixels)).astype(np.int64)
        first, second = target[first], target[second]
        apart = first != second
        low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
        first, second, border = sum_pairs(low, high, border[apart])
    return owners


def _choose_neighbours(
    first: np.ndarray, second: np.ndarray, border: np.ndarray, pixels: np.ndarray, smallest: int
) -> np.ndarray | None:
    """Return for each fragment the neighbour with the longest border, for others themselves; None if none can move.

    Of equal borders, that to the larger neighbour counts as longer.
    """
    # Ranks, all different, instead of lengths: three fragments with equal borders must not choose in a circle.
    rank = np.empty(len(border), np.intp)
    rank[np.lexsort((-second, -first, pixels[first] + pixels[second], border))] = np.arange(len(border))
    fragments, neighbours = np.concatenate([first, second]), np.concatenate([second, first])
    rank = np.concatenate([rank, rank])
    can_move = pixels[fragments] < smallest
    if not can_move.any():
        return None
    fragments, neighbours, rank = fragments[can_move], neighbours[can_move], rank[can_move]
    target = np.arange(len(pixels))
    ascending = np.argsort(rank)
    target[fragments[ascending]] = neighbours[ascending]
    return target
