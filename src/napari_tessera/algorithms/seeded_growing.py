"""Seeded region growing, the most similar pixel first (Adams & Bischof 1994): seeds, criteria, region statistics.

All functions work on flat views of arrays with a border of one pixel, so that a neighbour is a fixed offset away. In
`labels`, a positive number is a region, `FREE` belongs to no region, `FRAME` is outside, and `FRAME` minus a region's
number is a pixel that waits to join that region. Region number 0 is not used, so arrays with one entry per region have
one entry more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_tessera.algorithms.flooding import steps_to_neighbours
from napari_tessera.algorithms.jit import njit
from napari_tessera.core.checks import is_labels
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import chunks, label_dtype, run_starts
from napari_tessera.core.overlaps import count_pairs, sum_pairs


class Regions(NamedTuple):
    """What decides how far each region grows; entry 0 is not used.

    Pixels are compared with `means`, (S + 1, C), which `follows_mean` updates with every pixel; a region accepts a
    difference up to `limits`, and from the size `largest` on no more pixels. `sums` and `squares` are of the values of
    each region's pixels.
    """

    means: np.ndarray
    limits: np.ndarray
    sizes: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    largest: int
    follows_mean: bool

    def measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (S + 1, C) means and (S + 1,) standard deviations (root mean square over the channels)."""
        n = np.maximum(self.sizes, 1)[:, None]
        means = self.sums / n
        variances = np.maximum(self.squares / n - means**2, 0)
        return means, np.sqrt(variances.mean(axis=1))


FREE, FRAME = 0, -1
LEVELS, LEVELS_PER_BLOCK = 4096, 64
"""The queue sorts differences into this many levels; within one level, pixels go in order of arrival."""
PIXELS_PER_SLICE = 1 << 15
SLACK = 1e-6
"""A difference may exceed its limit by this much, so that a tolerance that is met exactly is met in float32 too."""


class _Queue(NamedTuple):
    """Waiting pixels, first in first out at each level.

    The entries of one level are chained from `first` to `last` by `following`, which end with -1; entries are used
    again, so that few of them serve a large image and stay close together in memory, and the `unused` are chained as
    well. `waiting` counts the entries in each block of levels, so that the lowest level in use is found without trying
    thousands.
    """

    first: np.ndarray
    last: np.ndarray
    waiting: np.ndarray
    pixels: np.ndarray
    following: np.ndarray
    unused: np.ndarray

    @classmethod
    def empty(cls) -> _Queue:
        """Return a queue that has no entries yet; `with_room` gives it some."""
        levels, entries = np.full((2, LEVELS), -1, np.int64), np.empty((2, 0), np.int64)
        waiting = np.zeros(LEVELS // LEVELS_PER_BLOCK, np.int64)
        return cls(levels[0], levels[1], waiting, entries[0], entries[1], np.full(1, -1, np.int64))

    def with_room(self, more: int) -> _Queue:
        """Return the queue with at least `more` unused entries."""
        count = len(self.pixels)
        if count - int(self.waiting.sum()) >= more:
            return self
        added = max(more, count)
        following = np.concatenate([self.following, np.arange(count + 1, count + added + 1)])
        following[-1] = self.unused[0]
        pixels = np.concatenate([self.pixels, np.zeros(added, np.int64)])
        return self._replace(pixels=pixels, following=following, unused=np.full(1, count, np.int64))


def grow(labels: np.ndarray, values: np.ndarray, seeds: np.ndarray, steps: np.ndarray, regions: Regions) -> Job[None]:
    """Let all regions grow at once until no pixel next to them is acceptable.

    A pixel next to a region waits for its turn at its difference from the most similar one. When its turn comes, it
    goes to the region next to it whose mean is then nearest; of equals, to the one for which it waited.

    The flat `labels`, which hold the seeds to begin with, and the statistics of `regions` are updated in place.
    `values` are (P, C) float32 from 0 to 1; `steps` are the offsets of the neighbours. (Adams & Bischof 1994,
    doi:10.1109/34.295913.)
    """
    queue = _Queue.empty()
    next_seed = 0
    levels_per_unit = (LEVELS - 1) / max(min(float(regions.limits.max()), 1.0), SLACK)
    seeded = int(regions.sizes.sum())
    while next_seed >= 0:
        yield Progress(int(regions.sizes.sum()) - seeded, labels.size, "Growing")
        queue = queue.with_room(PIXELS_PER_SLICE * len(steps))
        next_seed = _grow_slice(
            labels, values, seeds, next_seed, steps, regions, queue, levels_per_unit, PIXELS_PER_SLICE
        )


@njit
def _grow_slice(labels, values, seeds, next_seed, steps, regions, queue, levels_per_unit, budget):
    """Deal with up to `budget` pixels; return the next seed pixel to begin with, or -1 if no pixel waits any more."""
    for _ in range(budget):
        if next_seed < len(seeds):
            pixel = seeds[next_seed]
            next_seed += 1
        else:
            pixel = _take_first(queue)
            if pixel < 0:
                return -1
            if labels[pixel] >= FREE:  # it went ahead from a lower level
                continue
            region = _choose_region(labels, values, steps, pixel, regions)
            labels[pixel] = region
            if region == FREE:
                continue
            _take_in(values, pixel, region, regions)
        region = labels[pixel]
        if regions.sizes[region] < regions.largest:
            for step in steps:
                _offer(labels, values, pixel + step, region, regions, queue, levels_per_unit)
    return next_seed


@njit(inline="always")
def _offer(labels, values, pixel, region, regions, queue, levels_per_unit):
    """Let a pixel wait for a region, if that accepts it and is more similar than the one it waits for already."""
    holder = labels[pixel]
    if holder > 0 or holder == FRAME or holder == FRAME - region:
        return
    away = _difference(values, pixel, regions.means, region)
    if away > regions.limits[region]:
        return
    if holder == FREE or away < _difference(values, pixel, regions.means, FRAME - holder):
        labels[pixel] = FRAME - region
        _append(queue, min(LEVELS - 1, int(away * levels_per_unit)), pixel)


@njit(inline="always")
def _difference(values, pixel, means, region):
    """Return the root mean square over the channels of how far a pixel is from a region's mean."""
    channels = values.shape[1]
    if channels == 1:
        return abs(values[pixel, 0] - means[region, 0])
    total = 0.0
    for channel in range(channels):
        away = values[pixel, channel] - means[region, channel]
        total += away * away
    return np.sqrt(total / channels)


@njit(inline="always")
def _choose_region(labels, values, steps, pixel, regions):
    """Return the region next to a waiting pixel that accepts it and is nearest to its value, or `FREE`."""
    waited_for = FRAME - labels[pixel]
    nearest, smallest = FREE, np.inf
    for step in steps:
        region = labels[pixel + step]
        if region > 0 and region != nearest and regions.sizes[region] < regions.largest:
            away = _difference(values, pixel, regions.means, region)
            goes_first = region == waited_for or (nearest != waited_for and region < nearest)
            is_nearer = away < smallest or (away == smallest and goes_first)
            if away <= regions.limits[region] and is_nearer:
                nearest, smallest = region, away
    return nearest


@njit(inline="always")
def _take_in(values, pixel, region, regions):
    regions.sizes[region] += 1
    for channel in range(values.shape[1]):
        value = float(values[pixel, channel])
        regions.sums[region, channel] += value
        regions.squares[region, channel] += value * value
        if regions.follows_mean:
            regions.means[region, channel] = regions.sums[region, channel] / regions.sizes[region]


@njit(inline="always")
def _append(queue, level, pixel):
    entry = queue.unused[0]
    queue.unused[0] = queue.following[entry]
    queue.pixels[entry] = pixel
    queue.following[entry] = -1
    queue.waiting[level // LEVELS_PER_BLOCK] += 1
    if queue.first[level] < 0:
        queue.first[level] = entry
    else:
        queue.following[queue.last[level]] = entry
    queue.last[level] = entry


@njit(inline="always")
def _take_first(queue):
    """Remove and return the first pixel at the lowest level, or return -1."""
    for block in range(len(queue.waiting)):
        if queue.waiting[block] > 0:
            level = block * LEVELS_PER_BLOCK
            while queue.first[level] < 0:
                level += 1
            entry = queue.first[level]
            queue.first[level] = queue.following[entry]
            queue.following[entry] = queue.unused[0]
            queue.unused[0] = entry
            queue.waiting[block] -= 1
            return queue.pixels[entry]
    return -1


@njit
def find_rivals(labels, values, steps, means, limits, start, stop):
    """Return for each pixel from `start` to `stop` the other region next to it that would accept it, or 0.

    Where there are several it is the one nearest to the pixel's value, of equals the lowest number.
    """
    rivals = np.zeros(stop - start, labels.dtype)
    for pixel in range(start, stop):
        owner = labels[pixel]
        if owner <= 0:
            continue
        smallest = np.inf
        for step in steps:
            region = labels[pixel + step]
            if region <= 0 or region == owner:
                continue
            away = _difference(values, pixel, means, region)
            is_nearer = away < smallest or (away == smallest and region < rivals[pixel - start])
            if away <= limits[region] and is_nearer:
                rivals[pixel - start], smallest = region, away
    return rivals


@dataclass(frozen=True)
class Seeds:
    """S seeds and the pixels they are made of.

    `numbers` are those that the user painted, or of the points from 1; `pixels`, (D, K), the positions of the seed
    pixels in raster order; `owners`, (K,), the place in `numbers` of each pixel's seed; `absorbed` the numbers of
    points that fell on the pixel of an earlier one, by the number of that one.
    """

    numbers: np.ndarray
    pixels: np.ndarray
    owners: np.ndarray
    absorbed: dict[int, list[int]]


def read_seeds(seeds: np.ndarray, shape: tuple[int, ...]) -> Seeds:
    """List the pixels of (N, D) points, each in the pixel it lies in, or of integer labels of the image's shape."""
    if is_labels(seeds, shape):
        return _read_painted(seeds)
    return _read_points(seeds, shape)


def _read_painted(labels: np.ndarray) -> Seeds:
    flat = np.flatnonzero(labels)
    painted = labels.reshape(-1)[flat]
    starts = run_starts(painted)
    numbers, owners_of_runs = np.unique(painted[starts], return_inverse=True)
    owners = np.repeat(owners_of_runs, np.diff(starts, append=len(painted)))
    return Seeds(numbers, np.stack(np.unravel_index(flat, labels.shape)), owners, {})


def _read_points(points: np.ndarray, shape: tuple[int, ...]) -> Seeds:
    nearest = np.clip(np.rint(points).astype(np.int64), 0, np.array(shape) - 1)  # (N, D)
    flat = np.ravel_multi_index(tuple(nearest.T), shape)
    pixels, first, place = np.unique(flat, return_index=True, return_inverse=True)
    kept = np.sort(first)
    absorbed: dict[int, list[int]] = {}
    for later in np.setdiff1d(np.arange(len(flat)), kept):
        absorbed.setdefault(int(first[place[later]]) + 1, []).append(int(later) + 1)
    return Seeds(kept + 1, np.stack(np.unravel_index(pixels, shape)), np.searchsorted(kept, first), absorbed)


MOST_ROUNDS = 30
ACCEPTS_NOTHING = -1.0


@dataclass(frozen=True)
class Ground:
    """The framed image that regions grow over, with the seeds on it.

    The framed `labels` number the regions from 1 in the order of the seeds; `values` are (P, C) float32 from 0 to 1;
    `starts` and `owners` are the flat position of each seed pixel and its region; `count` is the number of seeds and
    one more; `steps` are the offsets of the neighbours in the flat array.
    """

    labels: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    count: int
    steps: np.ndarray

    def seeded(self, limits: np.ndarray, largest: int, follows_mean: bool = False) -> Regions:
        """Return regions that have nothing but their seeds, and compare pixels with the mean of those."""
        return _regions_of(self.owners, self.values[self.starts], limits, largest, follows_mean)

    def grow(self, regions: Regions, starts: np.ndarray | None = None) -> Job[None]:
        """Let regions grow from these or all seed pixels."""
        return grow(
            self.labels.reshape(-1), self.values, self.starts if starts is None else starts, self.steps, regions
        )


def lay_out(values: np.ndarray, seeds: Seeds, connectivity: int, valid: np.ndarray | None = None) -> Ground:
    """Put seeds on a framed image, (Y + 2, X + 2, C) or (Z + 2, Y + 2, X + 2, C).

    Nothing grows where it is not valid.
    """
    shape = values.shape[:-1]
    labels = np.full(shape, FRAME, label_dtype(int(np.prod(shape))))
    labels[(slice(1, -1),) * len(shape)] = FREE if valid is None else np.where(valid, FREE, FRAME)
    starts = np.ravel_multi_index(tuple(seeds.pixels + 1), shape)
    owners = seeds.owners + 1
    labels.reshape(-1)[starts] = owners
    steps = steps_to_neighbours(shape, connectivity)
    return Ground(labels, values.reshape(-1, values.shape[-1]), starts, owners, len(seeds.numbers) + 1, steps)


def grow_once(ground: Ground, tolerance: float, largest: int, follows_mean: bool = False) -> Job[Regions]:
    """Take pixels that differ by at most `tolerance` from the mean of the seed, or of the region as it grows."""
    regions = ground.seeded(np.full(ground.count, tolerance + SLACK), largest, follows_mean)
    yield from ground.grow(regions)
    return regions


def grow_adaptively(ground: Ground, k: float, largest: int) -> Job[Regions]:
    """Take pixels within `k` standard deviations of the region's mean, as it is when the region stands still."""
    means, limits = yield from subtask(_find_bands(ground, k, largest), 0, 4, 5)
    yield from _clear(ground, np.ones(ground.count, bool))
    regions = ground.seeded(limits, largest)._replace(means=means)
    yield from subtask(ground.grow(regions), 4, 1, 5)
    return regions


def _find_bands(ground: Ground, k: float, largest: int) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Grow regions, measure them and grow them again, until every one keeps its size; return their means and limits.

    A region that stands still keeps its pixels while others move on. One that loses more than half of its pixels in one
    round was crowded out and moves no more: measured on what is left to it, it would accept ever less.
    """
    means, deviations = _surroundings(ground).measure()
    limits = k * deviations + SLACK
    is_moving = np.ones(ground.count, bool)
    sizes_before = np.zeros(ground.count, np.int64)
    for done in range(MOST_ROUNDS):
        regions = ground.seeded(np.where(is_moving, limits, ACCEPTS_NOTHING), largest)._replace(means=means)
        starts = ground.starts[is_moving[ground.owners]]
        yield from subtask(ground.grow(regions, starts), done, 1, MOST_ROUNDS)
        is_moving &= (regions.sizes != sizes_before) & (2 * regions.sizes >= sizes_before)
        if not is_moving.any():
            break
        new_means, deviations = regions.measure()
        means = np.where(is_moving[:, None], new_means, means)
        limits = np.where(is_moving, k * deviations + SLACK, limits)
        sizes_before = regions.sizes
        yield from _clear(ground, is_moving)
    return means, limits


def find_contests(ground: Ground, regions: Regions) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return pairs of regions, and how many pixels of the first the second, next to them, would accept too."""
    flat = ground.labels.reshape(-1)
    found = [(flat[:0], flat[:0], np.empty(0, np.int64))]
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Finding out who owns what")
        rivals = find_rivals(flat, ground.values, ground.steps, regions.means, regions.limits, part.start, part.stop)
        contested = np.flatnonzero(rivals)
        found.append(count_pairs(flat[part][contested], rivals[contested]))
    return sum_pairs(*map(np.concatenate, zip(*found, strict=True)))


def _clear(ground: Ground, is_cleared: np.ndarray) -> Job[None]:
    """Take regions back to their seeds."""
    flat = ground.labels.reshape(-1)
    numbers = np.where(is_cleared, FREE, np.arange(ground.count)).astype(flat.dtype)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Growing")
        flat[part] = np.where(flat[part] > 0, numbers[flat[part]], flat[part])
    flat[ground.starts] = ground.owners


def _surroundings(ground: Ground) -> Regions:
    """Return every seed with the pixels around it, because one pixel alone has no spread."""
    steps = np.append(0, steps_to_neighbours(ground.labels.shape, ground.labels.ndim))
    pixels = (ground.starts[:, None] + steps).reshape(-1)
    owners, pixels, _ = sum_pairs(np.repeat(ground.owners, len(steps)), pixels, np.ones(len(pixels), np.int64))
    is_inside = ground.labels.reshape(-1)[pixels] != FRAME
    owners, pixels = owners[is_inside], pixels[is_inside]
    return _regions_of(owners, ground.values[pixels], np.zeros(ground.count), 0)


def _regions_of(
    owners: np.ndarray, values: np.ndarray, limits: np.ndarray, largest: int, follows_mean: bool = False
) -> Regions:
    """Make regions of the pixels that `owners` have, with (K, C) `values`."""
    count, exact = len(limits), values.astype(np.float64)
    sizes = np.bincount(owners, minlength=count)
    sums = np.stack([np.bincount(owners, channel, count) for channel in exact.T], axis=1)
    squares = np.stack([np.bincount(owners, channel**2, count) for channel in exact.T], axis=1)
    return Regions(sums / np.maximum(sizes, 1)[:, None], limits, sizes, sums, squares, largest, follows_mean)
