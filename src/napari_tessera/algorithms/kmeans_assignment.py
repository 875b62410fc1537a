"""Assign points to their nearest k-means centre, a whole tile of points at once where one centre is nearest.

A tile is a run of neighbouring points. If a centre is farther than another one from every corner of the tile's bounding
box, it is nearest to no point there (filtering algorithm, Kanungo et al. 2002, doi:10.1109/TPAMI.2002.1017616).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_tessera.algorithms.jit import njit

TILE = 32
BATCH = 512
"""Pixels compared at once, feature by feature, to fill the processor's vector registers."""


class Tiles(NamedTuple):
    """Tiles of points: corners of the box and weighted sum of the points, (T, F) each, and sum of the weights."""

    low: np.ndarray
    high: np.ndarray
    sums: np.ndarray
    weights: np.ndarray


@njit
def tiles_of(points: np.ndarray, weights: np.ndarray) -> Tiles:
    """Cut (N, F) points, ordered so that neighbours are similar, into tiles of 32."""
    count, features = (len(points) + TILE - 1) // TILE, points.shape[1]
    low, high = np.full((count, features), np.inf), np.full((count, features), -np.inf)
    sums, shares = np.zeros((count, features)), np.zeros(count)
    for point in range(len(points)):
        tile = point // TILE
        shares[tile] += weights[point]
        for feature in range(features):
            value = points[point, feature]
            low[tile, feature] = min(low[tile, feature], value)
            high[tile, feature] = max(high[tile, feature], value)
            sums[tile, feature] += weights[point] * value
    return Tiles(low, high, sums, shares)


@njit
def assign_and_sum(
    points: np.ndarray, weights: np.ndarray, tiles: Tiles, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Assign each point to its nearest centre; return the weighted sums (K, F) and weights (K,) of the centres."""
    sums, shares = np.zeros(centres.shape), np.zeros(len(centres))
    candidates, features = np.empty(len(centres), np.int64), points.shape[1]
    for tile in range(len(tiles.weights)):
        count = _candidates(tiles.low, tiles.high, tile, centres, candidates)
        if count == 1:
            shares[candidates[0]] += tiles.weights[tile]
            for feature in range(features):
                sums[candidates[0], feature] += tiles.sums[tile, feature]
            continue
        for point in range(tile * TILE, min((tile + 1) * TILE, len(points))):
            winner, least = candidates[0], np.inf
            for candidate in candidates[:count]:
                distance = _squared_distance(points, point, centres, candidate)
                if distance < least:
                    winner, least = candidate, distance
            shares[winner] += weights[point]
            for feature in range(features):
                sums[winner, feature] += weights[point] * points[point, feature]
    return sums, shares


@njit
def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the squared distance of each point to its nearest centre, (N,)."""
    distances = np.full(len(points), np.inf)
    for point in range(len(points)):
        for centre in range(len(centres)):
            distances[point] = min(distances[point], _squared_distance(points, point, centres, centre))
    return distances


@njit(error_model="numpy")
def nearest_centre(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the index of the nearest centre of each point, the first of equals, (N,) uint8.

    Distances are computed in the centres' precision.
    """
    nearest = np.empty(len(points), np.uint8)
    batch, winners = np.empty((points.shape[1], BATCH), centres.dtype), np.empty(BATCH, np.int32)
    least, distances = np.empty(BATCH, centres.dtype), np.empty(BATCH, centres.dtype)
    for start in range(0, len(points), BATCH):
        size = min(BATCH, len(points) - start)
        for feature in range(points.shape[1]):
            for at in range(size):
                batch[feature, at] = points[start + at, feature]
        least[:] = np.inf
        winners[:] = 0
        for centre in range(len(centres)):
            _set_squares(batch[0], centres[centre, 0], distances)
            for feature in range(1, points.shape[1]):
                _add_squares(batch[feature], centres[centre, feature], distances)
            _keep_nearer(np.int32(centre), distances, winners, least)
        for at in range(size):
            nearest[start + at] = winners[at]
    return nearest


@njit(error_model="numpy")
def _set_squares(values: np.ndarray, centre: float, distances: np.ndarray) -> None:
    for at in range(BATCH):
        difference = values[at] - centre
        distances[at] = difference * difference


@njit(error_model="numpy")
def _add_squares(values: np.ndarray, centre: float, distances: np.ndarray) -> None:
    for at in range(BATCH):
        difference = values[at] - centre
        distances[at] += difference * difference


@njit(error_model="numpy")
def _keep_nearer(centre: np.int32, distances: np.ndarray, winners: np.ndarray, least: np.ndarray) -> None:
    for at in range(BATCH):
        distance, least_yet = distances[at], least[at]
        is_nearer = distance < least_yet
        least[at] = distance if is_nearer else least_yet
        winners[at] = centre if is_nearer else winners[at]


@njit(inline="always")
def _squared_distance(points: np.ndarray, point: int, centres: np.ndarray, centre: int) -> float:
    distance = 0.0
    for feature in range(centres.shape[1]):
        difference = points[point, feature] - centres[centre, feature]
        distance += difference * difference
    return distance


@njit
def _candidates(low: np.ndarray, high: np.ndarray, tile: int, centres: np.ndarray, candidates: np.ndarray) -> int:
    """List the centres that may be nearest somewhere in a tile's box, in order; return their number."""
    middle = _nearest_to_middle(low, high, tile, centres)
    count = 0
    for centre in range(len(centres)):
        # The corner farthest in the direction from the middle's centre to this one is the best corner for this one.
        gain = 0.0
        for feature in range(low.shape[1]):
            here, there = centres[centre, feature], centres[middle, feature]
            corner = high[tile, feature] if here > there else low[tile, feature]
            gain += (corner - there) ** 2 - (corner - here) ** 2
        if centre == middle or gain > 0:
            candidates[count] = centre
            count += 1
    return count


@njit
def _nearest_to_middle(low: np.ndarray, high: np.ndarray, tile: int, centres: np.ndarray) -> int:
    nearest, least = 0, np.inf
    for centre in range(len(centres)):
        distance = 0.0
        for feature in range(low.shape[1]):
            distance += ((low[tile, feature] + high[tile, feature]) / 2 - centres[centre, feature]) ** 2
        if distance < least:
            nearest, least = centre, distance
    return nearest
