"""What regions that grow have so far, and what they accept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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
    sums, squares : (S + 1, C) array of float64
        Sum of the values of each region's pixels, and of their squares.
    largest : int
        Size from which on a region accepts no more.
    follows_mean : bool
        Whether `means` are updated with every pixel.
    """

    means: np.ndarray
    limits: np.ndarray
    sizes: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    largest: int
    follows_mean: bool

    def measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (S + 1, C) means and (S + 1,) standard deviations (root mean square over the channels)."""
        n = np.maximum(self.sizes, 1)[:, None]
        means = self.sums / n
        variances = np.maximum(self.squares / n - means**2, 0)
        return means, np.sqrt(variances.mean(axis=1))
