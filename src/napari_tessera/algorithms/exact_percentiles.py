"""Exact percentiles and scaling of values that float32 cannot hold: 64-bit integers and float64.

With an offset of 2⁶⁰ or values of 10³⁰⁰, only the differences between pixels matter.
"""

from __future__ import annotations

import math

import numpy as np

from napari_tessera.core.rescale import EXACT, above, is_wide


def exact_percentiles(image: np.ndarray, percents: list[float]) -> list[float]:
    """Return percentiles as `np.percentile`; for huge integers as integers, which keep their last digits."""
    if not is_wide(image.dtype) or image.dtype.kind == "f":
        return np.percentile(image, percents).tolist()
    lowest = image.min()
    return [offset_by(int(lowest), away) for away in np.percentile(above(image, lowest), percents).tolist()]


def offset_by(lowest: int, away: float) -> float:
    """Add a distance to the lowest value; the sum is an integer if float64 would lose digits."""
    return lowest + away if abs(lowest) + away < EXACT else lowest + round(away)


def share_of_way(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the position of values of a wide type between low (0) and high (1), float32, clipped to -1 and 2."""
    if image.dtype.kind == "f":
        # Halves cannot overflow, whatever the range.
        way = high / 2 - low / 2
        share = (image / 2 - low / 2) / (way if way > 0 else 1)
        return np.clip(share, -1, 2).astype(np.float32)
    way = high - low if high > low else 1
    limits = np.iinfo(image.dtype)
    start = max(int(limits.min), math.floor(low) - math.ceil(way))
    stop = min(int(limits.max), math.ceil(high) + math.ceil(way))
    first = image.dtype.type(start)
    return ((above(np.clip(image, first, image.dtype.type(stop)), first) - float(low - start)) / way).astype(np.float32)
