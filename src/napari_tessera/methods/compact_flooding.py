"""Flooding in which distance counts too, for objects of similar size (Neubert & Protzel 2014).

What a pixel costs depends on the marker that reaches it, so pixels wait in a heap and may wait there several times.
The arrays are those of `flooding`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_tessera.bands import worker_count
from napari_tessera.jobs import Job
from napari_tessera.kernels.flooding import Seeds, meets_other, steps_to_neighbours, take_turns
from napari_tessera.kernels.jit import njit, numba

PIXELS_PER_SLICE = 1 << 16
WAITING = numba.types.Tuple((numba.float32, numba.int64, numba.int64, numba.int64))
"""Cost, order of arrival, flat position, flat position of the marker."""


@dataclass
class _CompactFlood:
    """A flood under way: a heap, the next seed, and how many pixels have arrived."""

    seeds: Seeds
    heap: Any = field(default_factory=lambda: numba.typed.List.empty_list(WAITING))
    state: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))


def flood_compactly(
    labels: np.ndarray,
    levels: np.ndarray,
    seeds: Seeds,
    compactness: float,
    connectivity: int,
    watershed_line: bool = False,
    spacing: tuple[float, ...] | None = None,
) -> Job[None]:
    """Flood every region from its seeds, the lowest sum of level and distance to the marker first.

    Parameters
    ----------
    labels, levels, seeds, connectivity, watershed_line
        As for `flooding.flood`; `labels` is filled in place.
    compactness : float
        Levels that one pixel along X of distance to the marker is worth.
    spacing : tuple of float, optional
        Size of a pixel along each axis.

    References
    ----------
    Neubert P., Protzel P. (2014), Compact watershed and preemptive SLIC, doi:10.1109/ICPR.2014.181.
    """
    labels.reshape(-1)[seeds.pixels] = seeds.labels
    steps = steps_to_neighbours(labels.shape, connectivity)
    cheapest = np.full(labels.size, np.inf, np.float32)  # what each pixel has been offered so far
    strides = np.cumprod((1, *labels.shape[:0:-1]))[::-1].astype(np.int64)
    sizes = np.ones(labels.ndim) if spacing is None else np.array(spacing) / spacing[-1]

    def go_on(part: _CompactFlood) -> bool:
        return _flood_slice(
            labels.reshape(-1), levels.reshape(-1), cheapest, steps, strides, sizes, compactness, watershed_line,
            part.seeds.pixels, part.seeds.regions, part.heap, part.state, PIXELS_PER_SLICE,
        )  # fmt: skip

    yield from take_turns((_CompactFlood(part) for part in seeds.in_portions(8 * worker_count())), go_on, len(seeds))


@njit
def _flood_slice(
    labels, levels, cheapest, steps, strides, sizes, compactness, watershed_line, seeds, regions, heap, state, budget
):  # fmt: skip
    """Flood up to `budget` pixels; say whether all is flooded."""
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
            is_line = watershed_line and meets_other(labels, steps, pixel, labels[source])
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
    """Measure between two flat positions, in pixels along X."""
    square = 0.0
    for axis in range(len(strides)):
        away = (pixel // strides[axis] - other // strides[axis]) * sizes[axis]
        square += away * away
        pixel %= strides[axis]
        other %= strides[axis]
    return np.sqrt(square)
