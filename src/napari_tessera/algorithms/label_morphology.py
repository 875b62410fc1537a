"""Morphology of label images: merge small objects or similar regions, fill holes, split at necks, smooth outlines."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from napari_tessera.algorithms.distance_transform import distance_to_background
from napari_tessera.algorithms.flooding import steps_to_neighbours
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.relabel import count_pixels, map_numbers
from napari_tessera.algorithms.watershed import (
    Elevation,
    FloodInput,
    find_peaks,
    find_root,
    merged_peaks,
    offsets_within,
    quantize,
)
from napari_tessera.core.jobs import Job, Piece, Progress, bands, in_threads, pieces, subtask
from napari_tessera.core.labels import connected_components, label_dtype
from napari_tessera.core.overlaps import sum_pairs


def neighbour_slices(shape: tuple[int, ...]) -> Iterator[tuple[Piece, Piece]]:
    """Yield pairs of slices: every pixel of the first has its neighbour along one axis in the second."""
    for axis, length in enumerate(shape):
        if length < 2:
            continue
        for piece in pieces((*shape[:axis], length - 1, *shape[axis + 1 :])):
            ahead = slice(piece[axis].start + 1, piece[axis].stop + 1)
            yield piece, (*piece[:axis], ahead, *piece[axis + 1 :])


def merge_fragments(labels: np.ndarray, smallest: int, spacing: tuple[float, ...] | None) -> Job[None]:
    """Merge, in place, objects with fewer than `smallest` pixels into the neighbour with the longest common border.

    Adjacent fragments may merge with each other; the result is merged again if it is still too small.
    """
    pixels = yield from subtask(count_pixels(labels, "Merging fragments"), 0, 1, 4)
    borders = yield from subtask(_find_borders(labels, spacing), 1, 2, 4)
    owners = join_fragments(*borders, pixels, smallest)
    yield from subtask(map_numbers(labels, owners.astype(labels.dtype), labels, "Merging fragments"), 3, 1, 4)


def _find_borders(
    labels: np.ndarray, spacing: tuple[float, ...] | None
) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return each pair of touching objects, once, and the length (in 3-D the area) of their border."""
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
    """Return the final object of each object, (N + 1,).

    `first`, `second` and `border` list the pairs of touching objects and the length of their border; entry 0 of
    `pixels` is the background. Objects with fewer than `smallest` pixels are merged, round by round, while they have
    neighbours.
    """
    owners, pixels = np.arange(len(pixels)), pixels.copy()
    while (target := _choose_neighbours(first, second, border, pixels, smallest)) is not None:
        # Two fragments may choose each other; then the larger one, of equals the first, keeps its number.
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
    """Return the neighbour with the longest border of each fragment, others as they are; None if nothing changes.

    Among equal borders, that to the larger neighbour counts as longer.
    """
    # Unique ranks instead of lengths: three fragments with equal borders must not choose in a circle.
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


@njit
def merge_similar(pairs: np.ndarray, pixels: np.ndarray, means: np.ndarray, threshold: float) -> np.ndarray:
    """Merge neighbouring regions, the most similar ones first, until no two differ by less than `threshold`.

    `pairs`, (P, 2), are the neighbours; `pixels`, (N,), and `means`, (N, F), are those of the regions, and change. A
    region gets the mean of its pixels. Return the final region of each.
    """
    owners, changes, visited = np.arange(len(pixels)), np.zeros(len(pixels), np.int64), np.full(len(pixels), -1)
    first, last = np.full(len(pixels), -1), np.full(len(pixels), -1)  # the chain of neighbours of each region
    neighbours, following = np.empty(2 * len(pairs), np.int64), np.full(2 * len(pairs), -1)
    heap = [(0.0, 0, 0, 0, 0) for _ in range(0)]  # difference, both regions, and how often each had changed
    for entry in range(2 * len(pairs)):
        one, other = pairs[entry // 2, entry % 2], pairs[entry // 2, 1 - entry % 2]
        neighbours[entry] = other
        _chain(first, last, following, one, entry)
        if one < other:
            heap.append((_distance(means, one, other), one, other, 0, 0))
    heapq.heapify(heap)
    while heap and heap[0][0] < threshold:
        _, kept, gone, changes_of_kept, changes_of_gone = heapq.heappop(heap)
        if changes[kept] != changes_of_kept or changes[gone] != changes_of_gone:
            continue
        total = pixels[kept] + pixels[gone]
        means[kept] = (pixels[kept] * means[kept] + pixels[gone] * means[gone]) / total
        pixels[kept], owners[gone] = total, kept
        changes[kept] += 1
        changes[gone] += 1
        entry = first[kept]
        following[last[kept]] = first[gone]
        first[kept] = last[kept] = -1
        visited[kept] = gone  # a region goes once, so that its number marks the neighbours of this merger
        while entry >= 0:
            after, neighbour = following[entry], find_root(owners, neighbours[entry])
            if visited[neighbour] != gone:
                visited[neighbour] = gone
                _chain(first, last, following, kept, entry)
                difference = _distance(means, kept, neighbour)
                heapq.heappush(heap, (difference, kept, neighbour, changes[kept], changes[neighbour]))
            entry = after
    for region in range(len(owners)):
        owners[region] = find_root(owners, region)
    return owners


@njit
def _chain(first: np.ndarray, last: np.ndarray, following: np.ndarray, region: int, entry: int) -> None:
    """Append an entry to the chain of a region."""
    if first[region] < 0:
        first[region] = entry
    else:
        following[last[region]] = entry
    last[region], following[entry] = entry, -1


@njit
def _distance(means: np.ndarray, one: int, other: int) -> float:
    square = 0.0
    for feature in range(means.shape[1]):
        square += (means[one, feature] - means[other, feature]) ** 2
    return np.sqrt(square)


def fill_label_holes(labels: np.ndarray, largest: int) -> Job[None]:
    """Give, in place, every hole of at most `largest` pixels to the one object that encloses it.

    A hole is background that hangs together across faces and touches neither the image's edge nor a second object.
    """
    yield Progress(0, 4, "Filling holes")
    holes = connected_components(labels == 0)
    pixels = yield from subtask(count_pixels(holes, "Filling holes"), 1, 1, 4)
    lowest, highest = yield from subtask(_find_owners(labels, holes, len(pixels)), 2, 1, 4)
    is_filled = (lowest == highest) & (pixels <= largest)
    for axis in range(labels.ndim):
        is_filled[np.unique(np.take(holes, (0, -1), axis))] = False
    owners = np.where(is_filled, lowest, 0).astype(labels.dtype)
    owners[0] = 0

    def fill(piece: Piece) -> None:
        labels[piece] += owners[holes[piece]]  # labels are 0 in holes, and there is no owner elsewhere

    yield from subtask(in_threads(fill, pieces(labels.shape), "Filling holes"), 3, 1, 4)


def _find_owners(labels: np.ndarray, holes: np.ndarray, count: int) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Return the lowest and the highest number among the objects around each hole."""
    lowest, highest = np.full(count, np.iinfo(labels.dtype).max), np.zeros(count, labels.dtype)
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Filling holes")
        for here, there in ((lower, upper), (upper, lower)):
            is_rim = (holes[here] > 0) & (labels[there] > 0)
            hole, owner = holes[here][is_rim], labels[there][is_rim]
            np.minimum.at(lowest, hole, owner)
            np.maximum.at(highest, hole, owner)
    return lowest, highest


FACES = 1
"""Parts are connected across the faces of pixels."""


def split_touching(
    labels: np.ndarray, min_distance: float, prominence: float, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Flood each object from the points farthest from its outline; parameters as in `refine`.

    The first part of each object keeps its number, others get numbers from N + 1 on.
    """
    core = yield from subtask(_without_rims(labels), 0, 1, 10)
    height = yield from subtask(distance_to_background(core, spacing), 1, 2, 10)
    peaks = yield from subtask(find_peaks(height, labels, min_distance, spacing), 3, 1, 10)
    peaks = _of_several(peaks, labels, height)
    if not len(peaks):
        return labels
    objects = labels[tuple(peaks.T)]
    ground = yield from subtask(quantize(Elevation(height, is_distance=True), core, FACES), 4, 1, 10)
    del height
    rims = yield from subtask(_mark_objects(labels, core, objects, ground.inner), 5, 1, 10)
    owners = yield from subtask(merged_peaks(ground, ground.flat_positions(peaks), FACES, prominence), 6, 2, 10)
    yield from subtask(_spread_into_rims(ground, rims, labels, np.append(0, objects)), 8, 1, 10)
    numbers = _number_parts(owners, objects, int(labels.max()))
    return (yield from subtask(_write_parts(labels, ground.inner, numbers), 9, 1, 10))


def _without_rims(labels: np.ndarray) -> Job[np.ndarray]:
    """Mask the objects without the pixels next to another object, so that each has a separate outline."""
    core = labels > 0
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Splitting")
        here, there = labels[lower], labels[upper]
        touches = (here != there) & (here > 0) & (there > 0)
        core[lower] &= ~touches
        core[upper] &= ~touches
    return core


def _of_several(peaks: np.ndarray, labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Keep the peaks of objects with two or more."""
    peaks = peaks[height[tuple(peaks.T)] > 0]
    owners = labels[tuple(peaks.T)]
    return peaks[np.bincount(owners)[owners] >= 2]


def _mark_objects(labels: np.ndarray, core: np.ndarray, objects: np.ndarray, regions: np.ndarray) -> Job[np.ndarray]:
    """Write minus the number of each of `objects` into `regions`, on its core; return the positions of their rims.

    Floods must not meet, so the rims are excluded at first.
    """
    negative = np.zeros(int(labels.max()) + 1, regions.dtype)
    negative[objects] = -objects

    def mark(piece: Piece) -> np.ndarray:
        here = negative[labels[piece]]
        regions[piece] = np.where(core[piece], here, 0)
        rims = np.argwhere((here != 0) & ~core[piece])
        return rims + [part.start for part in piece]

    return np.concatenate((yield from in_threads(mark, pieces(labels.shape), "Splitting")))


def _spread_into_rims(ground: FloodInput, rims: np.ndarray, labels: np.ndarray, objects: np.ndarray) -> Job[None]:
    """Assign rim pixels to the adjacent part of their object, layer by layer; unreached pixels stay negative.

    `objects` has the object of each basin.
    """
    flat = ground.labels.reshape(-1)
    waiting = ground.flat_positions(rims)
    flat[waiting] = -labels[tuple(rims.T)]
    steps = steps_to_neighbours(ground.labels.shape, ground.labels.ndim)
    while len(waiting):
        yield Progress(0, 1, "Splitting")
        parts = _find_parts(flat, objects, steps, waiting)
        is_reached = parts > 0
        if not is_reached.any():
            return
        flat[waiting[is_reached]] = parts[is_reached]
        waiting = waiting[~is_reached]


@njit
def _find_parts(flat, objects, steps, waiting):
    """Return for each waiting pixel the first part of its own object among its neighbours, or 0."""
    parts = np.zeros(len(waiting), flat.dtype)
    for index in range(len(waiting)):
        pixel = waiting[index]
        for step in steps:
            basin = flat[pixel + step]
            if basin > 0 and objects[basin] == -flat[pixel]:
                parts[index] = basin
                break
    return parts


def _number_parts(owners: np.ndarray, objects: np.ndarray, largest: int) -> np.ndarray:
    """Return the number of each basin: the first part of an object keeps its number, others get new ones."""
    roots, part_of_basin = np.unique(owners[1:], return_inverse=True)
    objects_of_parts = objects[roots - 1]
    _, firsts = np.unique(objects_of_parts, return_index=True)
    is_new = np.ones(len(roots), bool)
    is_new[firsts] = False
    numbers = np.where(is_new, largest + np.cumsum(is_new), objects_of_parts)
    return np.append(0, numbers[part_of_basin])


def _write_parts(labels: np.ndarray, basins: np.ndarray, numbers: np.ndarray) -> Job[np.ndarray]:
    """Write the number of their part into flooded pixels; others keep their number."""
    result = labels.astype(label_dtype(int(numbers.max())))

    def write(piece: Piece) -> None:
        result[piece] = np.where(basins[piece] > 0, numbers[np.maximum(basins[piece], 0)], result[piece])

    yield from in_threads(write, pieces(labels.shape), "Splitting")
    return result


def smooth_outlines(labels: np.ndarray, radius: float, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Assign every pixel to the object, or the background, with most of the pixels within `radius` px along X.

    Direct neighbours always count. Among equals, the pixel's own object wins. Objects that would vanish are restored.
    """
    offsets = offsets_within(radius, labels.ndim, spacing)
    shape = (1,) * (3 - labels.ndim) + labels.shape
    volume, result = labels.reshape(shape), np.empty(shape, labels.dtype)

    def smooth(rows: slice) -> None:
        _smooth_rows(volume, offsets, result, rows.start, rows.stop)

    row_work_px = shape[2] * max(1, len(offsets) // 32)
    yield from subtask(in_threads(smooth, bands(shape[0] * shape[1], row_work_px), "Smoothing outlines"), 0, 8, 10)
    yield from subtask(_restore_lost(volume, result), 8, 2, 10)
    return result.reshape(labels.shape)


def _restore_lost(before: np.ndarray, after: np.ndarray) -> Job[None]:
    """Restore objects that vanished; that may cover another one, which is then restored too."""
    had = yield from count_pixels(before, "Smoothing outlines")
    is_drawn = np.zeros(len(had), bool)
    while True:
        has = yield from count_pixels(after, "Smoothing outlines")
        is_lost = (had > 0) & ~is_drawn & (np.pad(has, (0, len(had) - len(has))) == 0)
        is_lost[0] = False
        if not is_lost.any():
            return
        is_drawn |= is_lost

        def restore(rows: slice, is_lost: np.ndarray = is_lost) -> None:
            part = before[:, rows]
            again = is_lost[part]
            after[:, rows][again] = part[again]

        yield from in_threads(restore, bands(before.shape[1], before[:, 0].size), "Smoothing outlines")


@njit
def _smooth_rows(volume, offsets, result, start, stop):
    """Smooth the rows from `start` to `stop`, counted through all planes."""
    depth, rows, columns = volume.shape
    seen = np.empty(len(offsets) + 1, volume.dtype)
    votes = np.empty(len(offsets) + 1, np.int64)
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            seen[0], votes[0] = volume[z, y, x], 1
            count = 1
            for index in range(len(offsets)):
                oz, oy, ox = z + offsets[index, 0], y + offsets[index, 1], x + offsets[index, 2]
                if 0 <= oz < depth and 0 <= oy < rows and 0 <= ox < columns:
                    label = volume[oz, oy, ox]
                    place = 0
                    while place < count and seen[place] != label:
                        place += 1
                    if place == count:
                        seen[count], votes[count] = label, 0
                        count += 1
                    votes[place] += 1
            best = 0
            for place in range(1, count):
                if votes[place] > votes[best]:
                    best = place
            result[z, y, x] = seen[best]
