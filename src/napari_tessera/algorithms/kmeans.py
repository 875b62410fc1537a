"""k-means for weighted points (seeding, several starts on a sample, Lloyd's steps), its features and its sample.

Each pixel has a random number that depends on the seed and its position; the pixels with the smallest numbers are the
sample, so the sample does not depend on how the image is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from napari_tessera.algorithms.color import to_cielab
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.kmeans_assignment import Tiles, assign_and_sum, squared_distances, tiles_of
from napari_tessera.core.checks import RGB_TO_LUMINANCE
from napari_tessera.core.jobs import Job, Progress, run_job
from napari_tessera.core.rescale import Number, Scale, scale_of, scaled


@njit
def random_keys(
    shape: tuple[int, int, int], start: tuple[int, int, int], salt: np.uint64, highest: np.uint64
) -> tuple[np.ndarray, np.ndarray]:
    """Give every position of a block a random number; return the positions (in raster order) of those up to `highest`.

    A number depends only on the position in the whole image and the salt. It comes from the mixing steps of SplitMix64
    (Steele et al. 2014, doi:10.1145/2660193.2660195), which map 64 bits one to one: no two positions have the same
    number.
    """
    places = np.empty(shape[0] * shape[1] * shape[2], np.int64)
    numbers = np.empty(len(places), np.uint64)
    place, found = 0, 0
    for z in range(start[0], start[0] + shape[0]):
        for y in range(start[1], start[1] + shape[1]):
            line = (np.uint64(z) << np.uint64(42)) | (np.uint64(y) << np.uint64(21))
            for x in range(start[2], start[2] + shape[2]):
                number = _mixed((line | np.uint64(x)) + salt)
                places[found], numbers[found] = place, number
                place += 1
                found += 1 if number <= highest else 0
    return places[:found].copy(), numbers[:found].copy()


@njit(inline="always")
def _mixed(number: np.uint64) -> np.uint64:
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


BITS_PER_FEATURE = 10


@dataclass(frozen=True)
class Place:
    """The value of each channel that becomes 0, and the intensity that becomes 1: no offset and no unit matters."""

    origins: tuple[Number, ...]
    unit: float

    def points(self, values: np.ndarray) -> np.ndarray:
        """Convert (N, C) values to points, float64."""
        wide = values.astype(np.float64) if values.dtype.kind == "f" else values
        columns = [scaled(wide[:, at], Scale(origin, self.unit)) for at, origin in enumerate(self.origins)]
        return np.stack(columns, axis=1)


def feature_points(
    values: np.ndarray,
    positions: np.ndarray | None,
    place: Place,
    *,
    features: str,
    position_weight: float,
    spacing: Sequence[float] | None,
    **_: Any,
) -> np.ndarray:
    """Convert (N, C) pixels to (N, C) or (N, C + D) points whose distances measure their difference.

    `positions` are z, y, x or y, x in pixels, None if position does not count; `position_weight` is the intensity per
    pixel along X. `features` "cielab" reads the values as sRGB.
    """
    points = to_cielab(values) if features == "cielab" else place.points(values)
    if positions is None or position_weight == 0:
        return points
    steps = np.array(spacing) / spacing[-1] if spacing else np.ones(positions.shape[1])
    return np.concatenate([points, positions * (steps * (position_weight / place.unit))], axis=1)


def place_of(values: np.ndarray, features: str) -> Place:
    """Return the lowest value of each channel and the widest channel's range; 0 and 1 for colours."""
    if features == "cielab":
        return Place((0,) * values.shape[1], 1.0)
    ends = [(channel.min().item(), channel.max().item()) for channel in values.T]
    widest = max(ends, key=lambda each: Fraction(each[1]) - Fraction(each[0]))
    return Place(tuple(low for low, _ in ends), scale_of(*widest).unit)


def positions_in(shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    """Return the position of each pixel of a block in the whole image, (N, D) float64."""
    axes = [np.arange(first, first + length, dtype=np.float64) for first, length in zip(start, shape, strict=True)]
    return np.stack([grid.reshape(-1) for grid in np.meshgrid(*axes, indexing="ij")], axis=1)


def neighbour_order(points: np.ndarray) -> np.ndarray:
    """Order points so that neighbours are similar, by interleaving the bits of the features (Morton order)."""
    low = points.min(axis=0)
    extent = np.maximum(points.max(axis=0) - low, np.finfo(np.float64).tiny)
    steps = ((points - low) / extent * (2**BITS_PER_FEATURE - 1)).astype(np.uint64)
    features = min(points.shape[1], 64 // BITS_PER_FEATURE)
    key = np.zeros(len(points), np.uint64)
    for bit in range(BITS_PER_FEATURE):
        for feature in range(features):
            key |= ((steps[:, feature] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(bit * features + feature)
    return np.argsort(key, kind="stable")


def brightness(centres: np.ndarray, channels: int, features: str) -> np.ndarray:
    """Return lightness, luminance of three or four channels, or mean of the channels of each centre."""
    if features == "cielab":
        return centres[:, 0]
    return centres[:, :3] @ RGB_TO_LUMINANCE if channels in (3, 4) else centres[:, :channels].mean(axis=1)


MOST_STEPS = 300
STANDSTILL = 1e-3
"""Centres have converged when each moves less than this part of the points' standard deviation."""
SAMPLE_POINTS = 2**12


def fit_centres(points: np.ndarray, weights: np.ndarray, k: int, restarts: int, seed: int) -> Job[np.ndarray]:
    """Find k centres with a small sum of squared distances to their points, the best of several starts.

    The (N, F) points are ordered so that neighbours are similar, which makes it fast; each occurs `weights` times. With
    fewer different points than k, each is a centre. The same seed gives exactly the same centres.
    """
    if len(points) <= k:
        return points.copy()
    tiles = tiles_of(points, weights)
    spread = _standard_deviation(tiles)
    if len(points) <= SAMPLE_POINTS:
        return (yield from _best_start(points, weights, k, restarts, seed, spread))
    means = tiles.sums / tiles.weights[:, np.newaxis]
    centres = yield from _best_start(means, tiles.weights, k, restarts, seed, spread)
    centres = yield from lloyd(means, tiles.weights, tiles_of(means, tiles.weights), centres, spread)
    return (yield from lloyd(points, weights, tiles, centres, spread))


def lloyd(points: np.ndarray, weights: np.ndarray, tiles: Tiles, centres: np.ndarray, spread: float) -> Job[np.ndarray]:
    """Move each centre to the mean of its points until convergence (Lloyd 1982, doi:10.1109/TIT.1982.1056489)."""
    for step in range(MOST_STEPS):
        sums, shares = assign_and_sum(points, weights, tiles, centres)
        is_used = shares > 0
        moved = np.where(is_used[:, np.newaxis], sums / np.maximum(shares, 1e-300)[:, np.newaxis], centres)
        for unused in np.flatnonzero(~is_used):
            moved[unused] = points[np.argmax(squared_distances(points, moved) * weights)]
        longest = np.sqrt(((moved - centres) ** 2).sum(axis=1).max())
        centres = moved
        if longest <= STANDSTILL * spread and is_used.all():
            break
        yield Progress(step, MOST_STEPS, "Moving centres")
    return centres


def inertia(points: np.ndarray, weights: np.ndarray, centres: np.ndarray) -> float:
    """Return the sum of the weighted squared distances of the points to their nearest centres."""
    return float((squared_distances(points, centres) * weights).sum())


def _best_start(
    points: np.ndarray, weights: np.ndarray, k: int, restarts: int, seed: int, spread: float
) -> Job[np.ndarray]:
    """Find centres on a sample of the points from several starts, and return those with the least inertia."""
    rng = np.random.default_rng(seed)
    points, weights = _sample(points, weights, rng)
    tiles = tiles_of(points, weights)
    found: list[np.ndarray] = []
    for start in range(restarts):
        yield Progress(start, restarts, "Trying starts")
        seeds = _spread_seeds(points, weights, k, rng)
        found.append(run_job(lloyd(points, weights, tiles, seeds, spread)))
    return min(found, key=lambda centres: inertia(points, weights, centres))


def _sample(points: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw points by weight, in their order, or return all if they are few."""
    if len(points) <= SAMPLE_POINTS:
        return points, weights
    total = np.cumsum(weights)
    drawn = np.searchsorted(total, np.sort(rng.random(SAMPLE_POINTS)) * total[-1], side="right")
    chosen, times = np.unique(np.minimum(drawn, len(points) - 1), return_counts=True)
    return points[chosen], times.astype(np.float64)


def _spread_seeds(points: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distant seeds: each is the best of a few points drawn with a probability of their squared distance.

    This is k-means++ with its greedy choice (Arthur & Vassilvitskii 2007).
    """
    trials = 2 + int(np.log(k))
    seeds = points[_draw(weights, 1, rng)]
    distances = ((points - seeds[0]) ** 2).sum(axis=1)
    while len(seeds) < k and distances.any():
        tried = points[_draw(distances * weights, trials, rng)]  # (trials, F)
        to_tried = ((points - tried[:, np.newaxis]) ** 2).sum(axis=2)  # (trials, N)
        with_tried = np.minimum(distances, to_tried)
        best = int(np.argmin(with_tried @ weights))
        seeds, distances = np.concatenate([seeds, tried[best : best + 1]]), with_tried[best]
    return seeds


def _draw(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw positions with a probability proportional to their weight."""
    total = np.cumsum(weights)
    drawn = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    return np.minimum(drawn, np.flatnonzero(weights)[-1])


def _standard_deviation(tiles: Tiles) -> float:
    """Return the standard deviation of the tiles' means, as one number for all features."""
    means = tiles.sums / tiles.weights[:, np.newaxis]
    mean = np.average(means, axis=0, weights=tiles.weights)
    return float(np.sqrt(np.average(((means - mean) ** 2).mean(axis=1), weights=tiles.weights)))


SAMPLE_PX = 2**17


@dataclass(frozen=True)
class PixelSample:
    """The pixels with the smallest random numbers.

    `numbers` are uint64, ascending and unique; `positions` are z, y, x or y, x in the whole image.
    """

    numbers: np.ndarray
    values: np.ndarray
    positions: np.ndarray

    def __add__(self, other: PixelSample) -> PixelSample:
        numbers = np.concatenate([self.numbers, other.numbers])
        values = np.concatenate([self.values, other.values])
        positions = np.concatenate([self.positions, other.positions])
        first = np.argsort(numbers)[:SAMPLE_PX]
        return PixelSample(numbers[first], values[first], positions[first])


def sample_block(block: np.ndarray, start: tuple[int, ...], seed: int, valid: np.ndarray | None = None) -> PixelSample:
    """Draw the sample of a block, ([Z,] Y, X, C), whose first pixel is at `start`: all of up to 131,072 pixels."""
    shape = block.shape[:-1]
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    depth, first_plane = (shape[0], start[0]) if len(shape) == 3 else (1, 0)
    box, corner = (depth, shape[-2], shape[-1]), (first_plane, start[-2], start[-1])
    places, numbers = random_keys(
        box, corner, salt, _highest(math.prod(shape) if valid is None else int(np.count_nonzero(valid)))
    )
    if valid is not None:
        places, numbers = (values[valid.reshape(-1)[places]] for values in (places, numbers))
    first = np.argsort(numbers)[:SAMPLE_PX]
    inside = np.unravel_index(places[first], shape)
    return PixelSample(numbers[first], block[inside], np.stack(inside, axis=1) + np.array(start))


def _highest(pixels: int) -> np.uint64:
    """Return a limit for the random numbers that keeps about a tenth more pixels than the sample needs."""
    share = min(1.0, 1.1 * SAMPLE_PX / pixels)
    return np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def best_breaks(counts: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Cut ascending values into classes with the least sum of squared distances to the classes' means.

    This is one-dimensional k-means, multi-level Otsu and Jenks' natural breaks. The best last cut increases with the
    number of values, so each row of the dynamic programme is solved by halving (Grønlund et al. 2017,
    arXiv:1701.07204): O(classes · values · log values) instead of all cuts.

    Each value occurs `counts` times, at least once. Return the position of the last value of each class but the last;
    among equally good cuts, the lowest. With fewer values than classes, each is a class.

    >>> best_breaks(np.array([1, 1, 1]), np.array([1.0, 2.0, 9.0]), 2)
    array([1])
    """
    if len(values) <= classes:
        return np.arange(len(values) - 1)
    offset = np.asarray(values, np.float64) - values[0]  # from 0 on, so that less precision is lost
    pixels = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    sums = np.concatenate([[0.0], np.cumsum(counts * offset)])
    lasts = _last_cuts(pixels, sums, classes)  # (classes, B)
    breaks = np.empty(classes - 1, np.int64)
    end = len(values) - 1
    for number in range(classes - 1, 0, -1):
        end = lasts[number, end]
        breaks[number - 1] = end
    return breaks


def class_means(counts: np.ndarray, values: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """Return the mean of each class, given the result of `best_breaks`; (classes,) float64."""
    starts = np.concatenate([[0], breaks + 1])
    offset = values - values[0]
    return values[0] + np.add.reduceat(counts * offset, starts) / np.add.reduceat(counts, starts)


@njit
def _last_cuts(pixels: np.ndarray, sums: np.ndarray, classes: int) -> np.ndarray:
    """Return the end of the previous class in the best cut of values 0…j into c + 1 classes, (classes, B)."""
    size = len(pixels) - 1
    lasts = np.zeros((classes, size), np.int32)
    best = sums[1:] ** 2 / pixels[1:]  # squared sum over pixels: the variance that the classes' means explain
    for number in range(1, classes):
        row = np.full(size, -np.inf)
        _fill_row(pixels, sums, number, best, row, lasts[number])
        best = row
    return lasts


@njit
def _fill_row(
    pixels: np.ndarray, sums: np.ndarray, number: int, before: np.ndarray, row: np.ndarray, last: np.ndarray
) -> None:
    """Fill one row by halving: the best cut for the middle value bounds those of both halves."""
    size = len(row)
    stack = [(number, size - 1, number - 1, size - 2)]
    while stack:
        low, high, cut_low, cut_high = stack.pop()
        if low > high:
            continue
        middle = (low + high) // 2
        for cut in range(cut_low, min(cut_high, middle - 1) + 1):
            explained = (sums[middle + 1] - sums[cut + 1]) ** 2 / (pixels[middle + 1] - pixels[cut + 1])
            if before[cut] + explained > row[middle]:
                row[middle] = before[cut] + explained
                last[middle] = cut
        stack.append((low, middle - 1, cut_low, last[middle]))
        stack.append((middle + 1, high, last[middle], cut_high))
