"""The loops of k-means: assign points to their nearest centre, skipping whole tiles of points where one centre wins.

A tile is a run of neighbouring points. A centre that is farther than another one from every corner of the tile's
bounding box is nobody's nearest there (the filtering algorithm, Kanungo et al. 2002, doi:10.1109/TPAMI.2002.1017616).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

TILE = 64


class Tiles(NamedTuple):
    """What a whole tile adds to a centre, and the box around it.

    Attributes
    ----------
    low, high : (T, F) float64 array
        Corners of the bounding box.
    sums : (T, F) float64 array
        Sum of the points times their weights.
    weights : (T,) float64 array
        Sum of the weights.
    """

    low: np.ndarray
    high: np.ndarray
    sums: np.ndarray
    weights: np.ndarray


def tiles_of(points: np.ndarray, weights: np.ndarray) -> Tiles:
    """Cut (N, F) points, in an order that keeps neighbours together, into tiles of 64."""
    starts = np.arange(0, len(points), TILE)
    return Tiles(
        np.minimum.reduceat(points, starts),
        np.maximum.reduceat(points, starts),
        np.add.reduceat(points * weights[:, np.newaxis], starts),
        np.add.reduceat(weights, starts),
    )


@numba.njit(nogil=True, cache=True)
def assign_and_sum(
    points: np.ndarray, weights: np.ndarray, tiles: Tiles, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give each point to its nearest centre; return the weighted sums (K, F) and the weights (K,) that each one has."""
    sums, shares = np.zeros(centres.shape), np.zeros(len(centres))
    candidates = np.empty(len(centres), np.int64)
    for tile in range(len(tiles.weights)):
        count = _candidates(tiles.low[tile], tiles.high[tile], centres, candidates)
        if count == 1:
            sums[candidates[0]] += tiles.sums[tile]
            shares[candidates[0]] += tiles.weights[tile]
            continue
        for point in range(tile * TILE, min((tile + 1) * TILE, len(points))):
            winner, _ = _nearest(points[point], centres, candidates[:count])
            shares[winner] += weights[point]
            for feature in range(points.shape[1]):
                sums[winner, feature] += weights[point] * points[point, feature]
    return sums, shares


@numba.njit(nogil=True, cache=True)
def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distance of each point to its nearest centre, (N,)."""
    everyone = np.arange(len(centres))
    distances = np.empty(len(points))
    for point in range(len(points)):
        _, distances[point] = _nearest(points[point], centres, everyone)
    return distances


@numba.njit(nogil=True, cache=True)
def nearest_centre(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Position of the nearest centre of each point, the first of equals, (N,) uint8."""
    everyone = np.arange(len(centres))
    nearest = np.empty(len(points), np.uint8)
    for point in range(len(points)):
        winner, _ = _nearest(points[point], centres, everyone)
        nearest[point] = winner
    return nearest


@numba.njit(nogil=True, cache=True, inline="always")
def _nearest(point: np.ndarray, centres: np.ndarray, candidates: np.ndarray) -> tuple[int, float]:
    winner, least = candidates[0], np.inf
    for candidate in candidates:
        distance = 0.0
        for feature in range(centres.shape[1]):
            difference = point[feature] - centres[candidate, feature]
            distance += difference * difference
        if distance < least:
            winner, least = candidate, distance
    return winner, least


@numba.njit(nogil=True, cache=True)
def _candidates(low: np.ndarray, high: np.ndarray, centres: np.ndarray, candidates: np.ndarray) -> int:
    """Write down the centres that may be nearest somewhere in a box, in order; return how many."""
    middle, _ = _nearest((low + high) / 2, centres, np.arange(len(centres)))
    count = 0
    for centre in range(len(centres)):
        # The corner farthest in the direction from the middle's centre to this one is this one's best place.
        gain = 0.0
        for feature in range(len(low)):
            ahead = centres[centre, feature] > centres[middle, feature]
            corner = high[feature] if ahead else low[feature]
            gain += (corner - centres[middle, feature]) ** 2 - (corner - centres[centre, feature]) ** 2
        if centre == middle or gain > 0:
            candidates[count] = centre
            count += 1
    return count
