"""Watershed flooding from markers over a map of levels (Meyer 1994), also compact (Neubert & Protzel 2014).

All functions work on flat views of arrays with a border of one pixel, so that a neighbour is a fixed offset away and
the border stops the flood. In `labels`, a positive number is an object, 0 is outside, and a negative number is a pixel
to be flooded: minus the number of its connected region. Floods of different regions never meet, so each region is
flooded alone, which uses the cache well and lets several threads work on one array.

In compact flooding, the cost of a pixel depends on the marker that reaches it, so pixels wait in a heap, each maybe
several times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from napari_tessera.algorithms.jit import njit, numba
from napari_tessera.core.jobs import Job, Progress, worker_count

PIXELS_PER_SLICE = 1 << 18
LEVELS_PER_CROWD = 256
"""Waiting pixels are counted in each run of so many levels, so that empty runs are skipped at once."""


@dataclass(frozen=True)
class Seeds:
    """Pixels to flood from, sorted by region: flat positions, object numbers and connected regions, (N,) each."""

    pixels: np.ndarray
    labels: np.ndarray
    regions: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> Seeds:
        return Seeds(self.pixels[part], self.labels[part], self.regions[part])

    def in_portions(self, portions: int) -> Iterator[Seeds]:
        """Cut into about `portions` parts, but never within a region."""
        if len(self) == 0:
            return iter(())
        starts = np.flatnonzero(np.diff(self.regions, prepend=0))  # regions are numbered from 1
        wanted = np.linspace(0, len(self), portions, endpoint=False)
        cuts = [*np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1]), len(self)]
        return (self[start:stop] for start, stop in pairwise(cuts))


def seeds_from(labels: np.ndarray, pixels: np.ndarray, numbers: np.ndarray) -> Seeds:
    """Sort marker pixels by their region; those outside every region are dropped."""
    regions = -labels.reshape(-1)[pixels]
    order = np.lexsort((pixels, regions))
    order = order[regions[order] > 0]
    return Seeds(pixels[order], numbers[order].astype(labels.dtype), regions[order])


def steps_to_neighbours(shape: tuple[int, ...], connectivity: int) -> np.ndarray:
    """Return the flat offset of each neighbour, the nearest kind first."""
    offsets = np.indices((3,) * len(shape)).reshape(len(shape), -1).T - 1
    kinds = np.abs(offsets).sum(1)
    offsets = offsets[(kinds > 0) & (kinds <= connectivity)]
    strides = np.cumprod((1, *shape[:0:-1]))[::-1]
    return (offsets @ strides)[np.argsort(np.abs(offsets).sum(1), kind="stable")].astype(np.int64)


def flood(
    labels: np.ndarray, levels: np.ndarray, seeds: Seeds, connectivity: int, watershed_line: bool = False
) -> Job[None]:
    """Flood every region from its seeds, the lowest level first, within a level in order of arrival.

    `labels` and the uint16 `levels` are framed, as the top of this module describes, and `labels` is filled in place;
    regions without a seed stay negative. `watershed_line` sets pixels where two objects meet to 0. (Meyer 1994,
    Topographic distance and watershed lines, doi:10.1016/0165-1684(94)90060-4.)
    """
    labels.reshape(-1)[seeds.pixels] = seeds.labels
    following = np.empty(labels.size, labels.dtype)
    steps = steps_to_neighbours(labels.shape, connectivity)
    queued = -int(labels.min(initial=0))  # values below -queued: waiting pixels, with their future label
    level_count = int(levels.max(initial=0)) + 1

    def start(part: Seeds) -> Callable[[], bool]:
        # A queue per level, of which `first` is -1 if it is empty, and the next seed, the level and the waiting pixels.
        first, last = np.full((2, level_count), -1, np.int64)
        crowds, state = np.zeros(level_count // LEVELS_PER_CROWD + 1, np.int64), np.zeros(3, np.int64)
        return lambda: _flood_slice(
            labels.reshape(-1), levels.reshape(-1), following, steps, queued, watershed_line,
            part.pixels, part.regions, first, last, crowds, state, PIXELS_PER_SLICE,
        )  # fmt: skip

    yield from _run_round_robin(seeds, start)


def _run_round_robin(seeds: Seeds, start: Callable[[Seeds], Callable[[], bool]]) -> Job[None]:
    """Run as many floods at once as there are cores, slice by slice, until a slice returns that its flood is done."""
    done = 0
    parts = seeds.in_portions(8 * worker_count())
    running: dict[Future[bool], tuple[int, Callable[[], bool]]] = {}
    pool = ThreadPoolExecutor(worker_count())
    try:
        while True:
            while len(running) < worker_count() and (part := next(parts, None)) is not None:
                go_on = start(part)
                running[pool.submit(go_on)] = len(part), go_on
            if not running:
                return
            yield Progress(done, len(seeds), "Flooding")
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                size, go_on = running.pop(future)
                if future.result():
                    done += size
                else:
                    running[pool.submit(go_on)] = size, go_on
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@njit
def _flood_slice(
    labels, levels, following, steps, queued, watershed_line, seeds, regions, first, last, crowds, state, budget
):  # fmt: skip
    """Flood up to about `budget` pixels, and return whether all is flooded."""
    next_seed, level, waiting = state
    for _ in range(budget):
        if waiting == 0:
            if next_seed == len(seeds):
                return True
            region = regions[next_seed]
            level = 0
            while next_seed < len(seeds) and regions[next_seed] == region:
                _append(first, last, crowds, following, level, seeds[next_seed])
                waiting += 1
                next_seed += 1
        while first[level] < 0:
            is_empty_run = crowds[level // LEVELS_PER_CROWD] == 0
            level = (level // LEVELS_PER_CROWD + 1) * LEVELS_PER_CROWD if is_empty_run else level + 1
        pixel = first[level]
        first[level] = following[pixel]
        crowds[level // LEVELS_PER_CROWD] -= 1
        waiting -= 1
        label = labels[pixel]
        if label < 0:
            label = -label - queued
            labels[pixel] = 0 if touches_other(labels, steps, pixel, label) else label
        for step in steps:
            neighbour = pixel + step
            if -queued <= labels[neighbour] < 0:
                labels[neighbour] = -label - queued if watershed_line else label
                _append(first, last, crowds, following, max(level, levels[neighbour]), neighbour)
                waiting += 1
    state[0], state[1], state[2] = next_seed, level, waiting
    return False


@njit
def _append(first, last, crowds, following, level, pixel):
    crowds[level // LEVELS_PER_CROWD] += 1
    following[pixel] = -1
    if first[level] < 0:
        first[level] = pixel
    else:
        following[last[level]] = pixel
    last[level] = pixel


@njit
def touches_other(labels, steps, pixel, label):
    """Return whether a pixel has a neighbour in another object than `label`."""
    found = False
    for step in steps:
        found |= labels[pixel + step] > 0 and labels[pixel + step] != label
    return found


COMPACT_PIXELS_PER_SLICE = 1 << 16
WAITING = numba.types.Tuple((numba.float32, numba.int64, numba.int64, numba.int64))
"""Cost, order of arrival, flat position, flat position of the marker."""


def flood_compactly(
    labels: np.ndarray,
    levels: np.ndarray,
    seeds: Seeds,
    compactness: float,
    connectivity: int,
    watershed_line: bool = False,
    spacing: tuple[float, ...] | None = None,
) -> Job[None]:
    """Flood every region from its seeds as `flood`, the lowest sum of level and distance to the marker first.

    One pixel along X of distance is worth `compactness` levels. (Neubert & Protzel 2014, Compact watershed and
    preemptive SLIC, doi:10.1109/ICPR.2014.181.)
    """
    labels.reshape(-1)[seeds.pixels] = seeds.labels
    steps = steps_to_neighbours(labels.shape, connectivity)
    cheapest = np.full(labels.size, np.inf, np.float32)  # lowest cost of each pixel so far
    strides = np.cumprod((1, *labels.shape[:0:-1]))[::-1].astype(np.int64)
    sizes = np.ones(labels.ndim) if spacing is None else np.array(spacing) / spacing[-1]

    def start(part: Seeds) -> Callable[[], bool]:
        heap, state = numba.typed.List.empty_list(WAITING), np.zeros(2, np.int64)
        return lambda: _flood_compact_slice(
            labels.reshape(-1), levels.reshape(-1), cheapest, steps, strides, sizes, compactness, watershed_line,
            part.pixels, part.regions, heap, state, COMPACT_PIXELS_PER_SLICE,
        )  # fmt: skip

    yield from _run_round_robin(seeds, start)


@njit
def _flood_compact_slice(
    labels, levels, cheapest, steps, strides, sizes, compactness, watershed_line, seeds, regions, heap, state, budget
):  # fmt: skip
    """Flood up to `budget` pixels, and return whether all is flooded."""
    next_seed, age = state
    for _ in range(budget):
        if len(heap) == 0:
            if next_seed == len(seeds):
                return True
            region = regions[next_seed]
            while next_seed < len(seeds) and regions[next_seed] == region:
                heapq.heappush(heap, (np.float32(-np.inf), age, seeds[next_seed], seeds[next_seed]))
                age += 1
                next_seed += 1
        cost, _, pixel, source = heapq.heappop(heap)
        if pixel != source:
            if labels[pixel] >= 0:
                continue
            is_line = watershed_line and touches_other(labels, steps, pixel, labels[source])
            labels[pixel] = 0 if is_line else labels[source]
        for step in steps:
            neighbour = pixel + step
            if labels[neighbour] < 0:
                away = compactness * _distance(neighbour, source, strides, sizes)
                offer = max(cost, np.float32(levels[neighbour] + away))
                if offer < cheapest[neighbour]:
                    cheapest[neighbour] = offer
                    heapq.heappush(heap, (offer, age, neighbour, source))
                    age += 1
    state[0], state[1] = next_seed, age
    return False


@njit
def _distance(pixel, other, strides, sizes):
    """Return the distance of two flat positions, in pixels along X."""
    square = 0.0
    for axis in range(len(strides)):
        away = (pixel // strides[axis] - other // strides[axis]) * sizes[axis]
        square += away * away
        pixel %= strides[axis]
        other %= strides[axis]
    return np.sqrt(square)
