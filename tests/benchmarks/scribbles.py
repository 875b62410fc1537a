"""A seeded painter: strokes on what is known, as a person with little time would draw them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

STROKE_PX = 40
"""Steps of a stroke; it ends earlier where it can go nowhere without leaving its class."""
STEPS = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)])


def scribble(labels: np.ndarray, share: float, rng: np.random.Generator, brush_px: int = 1) -> np.ndarray:
    """Paint strokes on a plane until `share` of its pixels is painted, equally much of each class.

    Parameters
    ----------
    labels : (Y, X) integer array
        Classes; 0 is never painted.
    share : float
    rng : numpy Generator
    brush_px : int
        How far the brush reaches to each side; what it would paint of another class stays unpainted.

    Returns
    -------
    (Y, X) uint8 array
        0 not painted, otherwise as in `labels`.
    """
    paint = np.zeros(labels.shape, np.uint8)
    numbers = [int(number) for number in np.unique(labels) if number]
    for number in numbers:
        own, wanted = labels == number, share * labels.size / len(numbers)
        depth = distance_transform_edt(own)
        while (left := wanted - (paint == number).sum()) >= 1:
            line = walk(own, depth, rng, STROKE_PX)
            mask = np.zeros(labels.shape, bool)
            mask[tuple(line.T)] = True
            painted = np.flatnonzero(binary_dilation(mask, iterations=brush_px) & own & (paint == 0))
            paint.flat[painted[: int(left)]] = number
    return paint


def walk(own: np.ndarray, depth: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
    """Walk through a class, rather straight on and rather in its middle: (steps, 2) places."""
    place = rng.choice(np.argwhere(own))
    heading = int(rng.integers(8))
    line = [place]
    for _ in range(steps):
        turns = np.array([-1, 0, 1])
        ahead = np.clip(place + STEPS[(heading + turns) % 8], 0, np.array(own.shape) - 1)
        liking = np.where(own[tuple(ahead.T)], 0.2 + np.minimum(depth[tuple(ahead.T)], 4) * (1 + (turns == 0)), 0)
        if not liking.any():
            break
        chosen = rng.choice(3, p=liking / liking.sum())
        heading, place = (heading + turns[chosen]) % 8, ahead[chosen]
        line.append(place)
    return np.array(line)
