"""Find k centres for weighted points: careful seeding, several starts on a sample, then Lloyd's steps on all points."""

from __future__ import annotations

import numpy as np

from napari_tessera.jobs import Job, Progress, drive
from napari_tessera.methods.nearest_centre import Tiles, assign_and_sum, squared_distances, tiles_of

MOST_STEPS = 300
STANDSTILL = 1e-3
"""Centres stand still when none moves farther than this part of the points' standard deviation."""
SAMPLE_POINTS = 2**12


def fit_centres(points: np.ndarray, weights: np.ndarray, k: int, restarts: int, seed: int) -> Job[np.ndarray]:
    """Find k centres with a small sum of squared distances to their points (inertia).

    Parameters
    ----------
    points : (N, F) float64 array
        In an order that keeps neighbours together, which makes it fast.
    weights : (N,) float64 array
        How often each point occurs, above 0.
    k : int
        Where there are fewer different points than k, each is a centre.
    restarts : int
        Starts, of which the best is taken to the end.
    seed : int
        The same seed gives the same centres, bit for bit.

    Returns
    -------
    (k or fewer, F) float64 array
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
    """Move each centre to the mean of its points until all stand still (Lloyd 1982, doi:10.1109/TIT.1982.1056489)."""
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
    """Sum of the weighted squared distances of the points to their nearest centres."""
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
        found.append(drive(lloyd(points, weights, tiles, seeds, spread)))
    return min(found, key=lambda centres: inertia(points, weights, centres))


def _sample(points: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw points by weight, in their order, or take all where they are few."""
    if len(points) <= SAMPLE_POINTS:
        return points, weights
    total = np.cumsum(weights)
    drawn = np.searchsorted(total, np.sort(rng.random(SAMPLE_POINTS)) * total[-1], side="right")
    chosen, times = np.unique(np.minimum(drawn, len(points) - 1), return_counts=True)
    return points[chosen], times.astype(np.float64)


def _spread_seeds(points: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Draw seeds far from each other: of a few points drawn by squared distance, the one that helps most.

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
    """Draw positions with a chance in proportion to their weight."""
    total = np.cumsum(weights)
    drawn = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    return np.minimum(drawn, np.flatnonzero(weights)[-1])


def _standard_deviation(tiles: Tiles) -> float:
    """Return the standard deviation of the tiles' means, as one number for all features."""
    means = tiles.sums / tiles.weights[:, np.newaxis]
    mean = np.average(means, axis=0, weights=tiles.weights)
    return float(np.sqrt(np.average(((means - mean) ** 2).mean(axis=1), weights=tiles.weights)))
