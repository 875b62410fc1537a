"""Scale values to their range without loss: also with large offsets, and without overflow."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, bands, in_threads

Number = int | float
EXACT = 2**53
"""Integers up to here are exact as float64."""


class Scale(NamedTuple):
    """An origin and a unit for values, chosen so that float32 holds the image without loss."""

    origin: Number
    unit: float
    is_stepped: bool = False  # each value is a whole number of units from the origin, up to rounding


UNSCALED = Scale(0, 1.0)
TINY = 1e-290
"""Half of a range for which the steps per unit of intensity would overflow."""
LEAST = 2.0**-1038
"""Range below which float64 rounds the 65,536th part of it by more than a millionth."""
SMALL = 1e-30
"""Units above this are exact as float32."""
FAR = 10**30
"""Larger than all scaled values, and within float32."""


INTEGER_BITS = 16
"""Integers of up to this many bits are exact as float32."""


def is_wide(dtype: np.dtype) -> bool:
    """Return whether float32 may not hold the differences between values of a type."""
    return dtype.newbyteorder("=") == np.float64 or (dtype.kind in "iu" and 8 * dtype.itemsize > INTEGER_BITS)


def value_range(image: np.ndarray) -> Job[tuple[Number, Number]]:
    """Return the lowest and the highest value as Python numbers, which hold every integer exactly."""
    parts = bands(len(image), image[0].size)
    ranges = yield from in_threads(lambda part: (image[part].min(), image[part].max()), parts, "Finding range")
    return min(low.item() for low, _ in ranges), max(high.item() for _, high in ranges)


def refuse_tiny(low: Number, high: Number) -> None:
    """Refuse a range that float64 cannot divide into steps."""
    if 0 < high - low < LEAST:
        raise InputError(
            f"The image's values differ by {high - low:.3g} at most, which is too little to divide into steps. "
            "Multiply the image by 1e300 first."
        )


def above(values: np.ndarray, low: Number) -> np.ndarray:
    """Subtract the lowest value from integers; unsigned numbers hold every difference."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    return np.ascontiguousarray(values).view(unsigned) - np.array(low, values.dtype).view(unsigned)


def reducing(low: Number, high: Number) -> float:
    """Return the power of two that keeps a range and its step from overflowing: usually 1."""
    if isinstance(low, int):
        return 1.0
    if high / 2 - low / 2 < TINY:
        return 2.0**600
    return 1.0 if np.isfinite(2 * (high - low)) else 0.25


def share_of_range(values: np.ndarray, low: Number, high: Number) -> np.ndarray:
    """Return the position of each value between `low` and `high`, which must differ: 0 to 1, float64."""
    if values.dtype.kind in "iu":
        return above(values, low) / float(high - low)
    factor = reducing(low, high)
    share = values.astype(np.float64)
    if factor != 1:
        share *= factor
    share -= low * factor
    share /= high * factor - low * factor
    return share


def scale_of(low: Number, high: Number) -> Scale:
    """Return the lowest value and half of the range: no contrast is lost and nothing overflows; refuse a tiny range."""
    refuse_tiny(low, high)
    half = (high - low) / 2 if isinstance(low, int) else high / 2 - low / 2
    return Scale(low, half or 1.0)


def scaled(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Convert values to another origin and unit; float32 stays float32, other types become float64."""
    away = _away(values, scale.origin, scale.unit)
    return np.rint(away, out=away) if scale.is_stepped else away


def _away(values: np.ndarray, origin: Number, unit: float) -> np.ndarray:
    if values.dtype.kind in "iu":
        return _signed_above(values, origin) / unit
    if values.dtype == np.float32 and origin > -np.finfo(np.float32).max / 16 and unit > SMALL:
        away = values - np.float32(origin)
        away /= np.float32(unit)
        return away
    if origin > -np.finfo(np.float64).max / 16:
        away = np.subtract(values, origin, dtype=np.float64)
        away /= unit
        return away
    return (values.astype(np.float64) / 2 - origin / 2) / (unit / 2)


def scaled_number(value: Number | Fraction, scale: Scale) -> Number:
    """Convert one number to another origin and unit, limited to ±`FAR`."""
    if scale == UNSCALED:
        return float(value) if isinstance(value, Fraction) else value
    exact = (Fraction(value) - Fraction(scale.origin)) / Fraction(scale.unit)
    return float(min(max(exact, Fraction(-FAR)), Fraction(FAR)))


def unscaled_number(value: float, scale: Scale) -> Number:
    """Invert `scaled_number`; the result is an integer if float64 would lose its last digits."""
    if scale == UNSCALED:
        return value
    origin, unit = Fraction(scale.origin), Fraction(scale.unit)
    exact = origin + Fraction(value) * unit
    return round(exact) if isinstance(scale.origin, int) and abs(exact) > EXACT else float(exact)


def _signed_above(values: np.ndarray, origin: Number) -> np.ndarray:
    """Subtract a whole number from integers, which may be smaller; float64."""
    away = above(values, origin)
    result = away.astype(np.float64)
    is_below = values < np.array(origin, values.dtype)
    if is_below.any():
        result[is_below] = -np.negative(away[is_below]).astype(np.float64)  # unsigned numbers wrap around
    return result
