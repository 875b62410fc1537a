"""Grow regions from seeds, the most similar pixel first (Adams & Bischof 1994), in slices.

Everything here works on flat views of arrays with a frame one pixel wide, so that a neighbour is a fixed step away. In
`labels` a positive number is a region, `FREE` is nobody's, `FRAME` is out of bounds, and `FRAME` less a region's
number is a pixel that waits for its turn on behalf of that region. Region number 0 is not used, so that arrays with one
entry per region have one entry more.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from napari_tessera.jobs import Job, Progress

FREE, FRAME = 0, -1
LEVELS = 4096
"""The queue sorts differences into this many levels; within one level, pixels go in order of arrival."""
PIXELS_PER_SLICE = 1 << 18
SLACK = 1e-6
"""A difference may exceed its limit by this much, so that a tolerance that is met exactly is met in float32 too."""


class Regions(NamedTuple):
    """What decides how far each region grows; entry 0 is not used.

    Attributes
    ----------
    means : (S + 1, C) array of float64
        Intensity that pixels are compared with.
    limits : (S + 1,) array of float64
        Largest difference that a region accepts.
    sizes : (S + 1,) array of int64
        Pixels that each region has.
    largest : int
        Size from which on a region accepts no more.
    follows_mean : bool
        Whether `means` are updated with every pixel.
    """

    means: np.ndarray
    limits: np.ndarray
    sizes: np.ndarray
    largest: int
    follows_mean: bool


class _Queue(NamedTuple):
    """Waiting pixels, first in first out at each level; the lists are chained through one entry per pixel.

    `first` and `last` hold a pixel for each level or -1; `following` and `preceding` hold a pixel for each pixel or -1.
    """

    first: np.ndarray
    last: np.ndarray
    following: np.ndarray
    preceding: np.ndarray
    levels: np.ndarray


def grow(labels: np.ndarray, values: np.ndarray, seeds: np.ndarray, steps: np.ndarray, regions: Regions) -> Job[None]:
    """Let all regions grow at once until no pixel next to them is acceptable.

    A pixel next to a region waits for its turn at its difference from the most similar one. When its turn comes, it
    goes to the region next to it whose mean is then nearest; of equals, to the one for which it waited.

    Parameters
    ----------
    labels : (P,) array of int32 or int64
        Filled in place; holds the seeds to begin with.
    values : (P, C) array of float32
        Intensities, 0 to 1.
    seeds : (K,) array of int64
        Flat positions of the seed pixels.
    steps : (M,) array of int64
        How far away in the flat array each neighbour lies.
    regions : Regions
        `sizes`, and `means` where they follow, are updated in place.

    References
    ----------
    Adams R., Bischof L. (1994), Seeded region growing, doi:10.1109/34.295913.
    """
    no_pixel = np.full((2, LEVELS), -1, np.int64)
    links = np.empty((2, labels.size), labels.dtype)
    queue = _Queue(no_pixel[0], no_pixel[1], links[0], links[1], np.empty(labels.size, np.uint16))
    state = np.zeros(3, np.int64)  # next seed, lowest level in use, pixels waiting
    levels_per_unit = (LEVELS - 1) / max(min(float(regions.limits.max()), 1.0), SLACK)
    seeded = int(regions.sizes.sum())
    is_done = False
    while not is_done:
        yield Progress(int(regions.sizes.sum()) - seeded, labels.size, "Growing")
        is_done = _grow_slice(labels, values, seeds, steps, regions, queue, state, levels_per_unit, PIXELS_PER_SLICE)


@numba.njit(nogil=True, cache=True)
def _grow_slice(labels, values, seeds, steps, regions, queue, state, levels_per_unit, budget):
    """Deal with up to `budget` pixels; say whether no more are waiting."""
    next_seed, level, waiting = state
    for _ in range(budget):
        if next_seed < len(seeds):
            pixel = seeds[next_seed]
            next_seed += 1
        elif waiting == 0:
            return True
        else:
            while queue.first[level] < 0:
                level += 1
            pixel = queue.first[level]
            _remove(queue, pixel)
            waiting -= 1
            region = _choose_region(labels, values, steps, pixel, regions)
            labels[pixel] = region
            if region == FREE:
                continue
            _take_in(values, pixel, region, regions)
        region = labels[pixel]
        if regions.sizes[region] >= regions.largest:
            continue
        for step in steps:
            joined, lowest = _offer(labels, values, pixel + step, region, regions, queue, levels_per_unit)
            waiting += joined
            level = min(level, lowest)
    state[0], state[1], state[2] = next_seed, level, waiting
    return False


@numba.njit(nogil=True, cache=True)
def _offer(labels, values, pixel, region, regions, queue, levels_per_unit):
    """Let a pixel wait for a region, if that accepts it and is more similar than the one it waits for already.

    Returns how many pixels joined the queue, and the level that the pixel now has.
    """
    holder = labels[pixel]
    if holder > 0 or holder == FRAME or holder == FRAME - region:
        return 0, LEVELS
    away = _difference(values, pixel, regions.means, region)
    if away > regions.limits[region]:
        return 0, LEVELS
    level = min(LEVELS - 1, int(away * levels_per_unit))
    is_new = holder == FREE
    if not is_new:
        if level >= queue.levels[pixel]:
            return 0, LEVELS
        _remove(queue, pixel)
    labels[pixel] = FRAME - region
    _append(queue, level, pixel)
    return int(is_new), level


@numba.njit(nogil=True, cache=True)
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


@numba.njit(nogil=True, cache=True)
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


@numba.njit(nogil=True, cache=True)
def _take_in(values, pixel, region, regions):
    regions.sizes[region] += 1
    if regions.follows_mean:
        for channel in range(values.shape[1]):
            away = values[pixel, channel] - regions.means[region, channel]
            regions.means[region, channel] += away / regions.sizes[region]


@numba.njit(nogil=True, cache=True)
def _append(queue, level, pixel):
    end = queue.last[level]
    queue.levels[pixel] = level
    queue.preceding[pixel] = end
    queue.following[pixel] = -1
    if end < 0:
        queue.first[level] = pixel
    else:
        queue.following[end] = pixel
    queue.last[level] = pixel


@numba.njit(nogil=True, cache=True)
def _remove(queue, pixel):
    level, before, after = queue.levels[pixel], queue.preceding[pixel], queue.following[pixel]
    if before < 0:
        queue.first[level] = after
    else:
        queue.following[before] = after
    if after < 0:
        queue.last[level] = before
    else:
        queue.preceding[after] = before


@numba.njit(nogil=True, cache=True)
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
