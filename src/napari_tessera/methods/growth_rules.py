"""The rules by which regions grow: a fixed tolerance, one that adapts to the region, or competition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.labels import chunks, label_dtype
from napari_tessera.methods.flooding import steps_to_neighbours
from napari_tessera.methods.growing import FRAME, FREE, SLACK, Regions, find_rivals, grow
from napari_tessera.methods.seeds import Seeds
from napari_tessera.overlaps import count_pairs, sum_pairs

MOST_ROUNDS = 50
STILL = 1e-9


@dataclass(frozen=True)
class Ground:
    """The framed image that regions grow over, seen flat, with the seeds on it.

    Attributes
    ----------
    labels : array of int
        Framed; region numbers, from 1 in the order of the seeds.
    values : (P, C) array of float32
        Intensities, 0 to 1.
    starts, owners : (K,) array
        Flat position of each seed pixel, and its region.
    seed_sizes : (S + 1,) array
        Pixels of each region's seed.
    steps : (M,) array
        How far away in the flat array each neighbour lies.
    """

    labels: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    seed_sizes: np.ndarray
    steps: np.ndarray


def lay_out(values: np.ndarray, seeds: Seeds, connectivity: int) -> Ground:
    """Put seeds on a framed image, (Y + 2, X + 2, C) or (Z + 2, Y + 2, X + 2, C)."""
    shape = values.shape[:-1]
    labels = np.full(shape, FRAME, label_dtype(int(np.prod(shape))))
    labels[(slice(1, -1),) * len(shape)] = FREE
    starts = np.ravel_multi_index(tuple(seeds.pixels + 1), shape)
    owners = seeds.owners + 1
    labels.reshape(-1)[starts] = owners
    seed_sizes = np.bincount(owners, minlength=len(seeds.numbers) + 1)
    steps = steps_to_neighbours(shape, connectivity)
    return Ground(labels, values.reshape(-1, values.shape[-1]), starts, owners, seed_sizes, steps)


def grow_by_tolerance(ground: Ground, tolerance: float, largest: int) -> Job[Regions]:
    """Take pixels that differ from the mean of the seed by at most `tolerance`."""
    means, _ = _measure(ground.owners, ground.values[ground.starts], ground.seed_sizes)
    regions = Regions(means, np.full(len(means), tolerance + SLACK), ground.seed_sizes.copy(), largest, False)
    yield from grow(ground.labels.reshape(-1), ground.values, ground.starts, ground.steps, regions)
    return regions


def grow_in_competition(ground: Ground, largest: int) -> Job[Regions]:
    """Share out the whole image; the means follow the regions."""
    means, _ = _measure(ground.owners, ground.values[ground.starts], ground.seed_sizes)
    regions = Regions(means, np.full(len(means), np.inf), ground.seed_sizes.copy(), largest, True)
    yield from grow(ground.labels.reshape(-1), ground.values, ground.starts, ground.steps, regions)
    return regions


def grow_adaptively(ground: Ground, k: float, largest: int) -> Job[Regions]:
    """Take pixels within `k` standard deviations of the region's mean, until all means and limits stand still."""
    labels = ground.labels.reshape(-1)
    means, deviations = _measure_surroundings(ground)
    for done in range(MOST_ROUNDS):
        regions = Regions(means, k * deviations + SLACK, ground.seed_sizes.copy(), largest, False)
        growing = grow(labels, ground.values, ground.starts, ground.steps, regions)
        yield from part_of(growing, done, 1, MOST_ROUNDS)
        means, deviations = yield from _measure_regions(ground, regions.sizes)
        is_still = np.allclose(means, regions.means, 0, STILL)
        if (is_still and np.allclose(k * deviations + SLACK, regions.limits, 0, STILL)) or done == MOST_ROUNDS - 1:
            break
        yield from _clear(ground)
    return regions


def find_contests(ground: Ground, regions: Regions) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Count the pixels of each region that another one next to them would accept too.

    Returns
    -------
    owners, rivals, pixels : (Q,) array
        Pairs of regions, and how many pixels of the first the second contests.
    """
    flat = ground.labels.reshape(-1)
    found = [(flat[:0], flat[:0], np.empty(0, np.int64))]
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Finding out who owns what")
        rivals = find_rivals(flat, ground.values, ground.steps, regions.means, regions.limits, part.start, part.stop)
        contested = np.flatnonzero(rivals)
        found.append(count_pairs(flat[part][contested], rivals[contested]))
    return sum_pairs(*map(np.concatenate, zip(*found, strict=True)))


def _clear(ground: Ground) -> Job[None]:
    """Take all regions back to their seeds."""
    flat = ground.labels.reshape(-1)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Growing")
        np.minimum(flat[part], FREE, out=flat[part])
    flat[ground.starts] = ground.owners


def _measure_surroundings(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """Measure every seed with the pixels around it, because one pixel alone has no spread."""
    steps = np.append(0, steps_to_neighbours(ground.labels.shape, ground.labels.ndim))
    pixels = (ground.starts[:, None] + steps).reshape(-1)
    owners, pixels, _ = sum_pairs(np.repeat(ground.owners, len(steps)), pixels, np.ones(len(pixels), np.int64))
    is_inside = ground.labels.reshape(-1)[pixels] != FRAME
    owners, pixels = owners[is_inside], pixels[is_inside]
    return _measure(owners, ground.values[pixels], np.bincount(owners, minlength=len(ground.seed_sizes)))


def _measure_regions(ground: Ground, sizes: np.ndarray) -> Job[tuple[np.ndarray, np.ndarray]]:
    labels = ground.labels.reshape(-1)
    first, second = np.zeros((2, len(sizes), ground.values.shape[1]))
    for part in chunks(labels.size):
        yield Progress(part.start, labels.size, "Measuring regions")
        is_region = labels[part] > 0
        more = _sums(labels[part][is_region], ground.values[part][is_region], len(sizes))
        first, second = first + more[0], second + more[1]
    return _mean_and_deviation(first, second, sizes)


def _measure(owners: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (S + 1, C) means and (S + 1,) standard deviations of the (K, C) values of each region."""
    return _mean_and_deviation(*_sums(owners, values, len(sizes)), sizes)


def _sums(owners: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    exact = values.astype(np.float64)
    first = np.stack([np.bincount(owners, channel, count) for channel in exact.T], axis=1)
    second = np.stack([np.bincount(owners, channel**2, count) for channel in exact.T], axis=1)
    return first, second


def _mean_and_deviation(first: np.ndarray, second: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = np.maximum(sizes, 1)[:, None]
    mean = first / n
    variance = np.maximum(second / n - mean**2, 0)
    return mean, np.sqrt(variance.mean(axis=1))
