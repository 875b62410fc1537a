"""Small pictures with paint that a network can learn from in a few steps."""

from __future__ import annotations

import numpy as np


def halves() -> np.ndarray:
    """A dark and a bright half, with noise."""
    noise = np.random.default_rng(0).normal(60, 9, (64, 80))
    return np.clip(noise + 120 * (np.arange(80) > 40), 0, 255).astype(np.uint8)


def strokes() -> np.ndarray:
    """A stroke of background in the dark half, and one of class 2 in the bright half."""
    paint = np.zeros((64, 80), np.uint8)
    paint[30:33, 5:30], paint[30:33, 50:75] = 1, 2
    return paint


def squares() -> tuple[np.ndarray, np.ndarray]:
    """Nine bright squares, and their paint: each has its number, with background around it."""
    image, paint = np.full((64, 64), 10, np.uint8), np.zeros((64, 64), np.int32)
    for number in range(9):
        y, x = 20 * (number // 3) + 4, 20 * (number % 3) + 4
        paint[y - 4 : y + 16, x - 4 : x + 16] = 1
        image[y : y + 12, x : x + 12], paint[y : y + 12, x : x + 12] = 200, 2 + number
    return image, paint
