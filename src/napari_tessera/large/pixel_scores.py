"""What an instance network says of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelScores:
    """What an instance network says of each pixel, on its own grid.

    Parameters
    ----------
    object : float32 array ([Z,] Y, X)
        Probability that the pixel belongs to any object, borders between objects included.
    border : float32 array ([Z,] Y, X)
        Probability that two objects touch there.
    distance : float32 array ([Z,] Y, X)
        Distance to the edge of the object over the largest in it, 0…1.
    size : float32 array ([Z,] Y, X), optional
        Natural logarithm of the diameter of the object over the usual one.
    """

    object: np.ndarray
    border: np.ndarray
    distance: np.ndarray
    size: np.ndarray | None = None
