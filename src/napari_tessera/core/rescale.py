"""Scale values to their range without loss, also with large offsets and without overflow; equal steps of the range."""

from __future__ import annotations

from dataclasses import dataclass
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


def is_short(dtype: np.dtype) -> bool:
    """Return whether a type is an integer of 8 or 16 bits, of which float32 holds all values and their differences."""
    return dtype.kind in "iu" and 8 * dtype.itemsize <= INTEGER_BITS


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


STEPS = 2**16
COUNTED_STEPS = 2 * STEPS
"""Enough steps that two of up to 65,536 equally spaced values are never counted together, even with rounding."""
EDGE = 0.1
"""Offset of the steps, as part of a step: values often lie on simple fractions of their range, and if a step began
there, rounding would move pixels from step to step."""


@dataclass(frozen=True)
class Grid:
    """Equal steps between the lowest and the highest value, ends included; 65,536 at most.

    If `is_exact`, each step is one value, the first is `low` and the last `high`; otherwise steps are ranges of values.
    """

    low: Number
    high: Number
    size: int
    is_exact: bool

    @property
    def step(self) -> float:
        """Width of a step, in intensity."""
        parts = self.size - self.is_exact
        span = self.high - self.low if isinstance(self.low, int) else self.high / 2 - self.low / 2
        return span / parts if isinstance(self.low, int) else span / (parts / 2)

    def steps_above_black(self, scale: Scale = UNSCALED) -> float:
        """Return the position of the first step, in steps from intensity 0; `scale` is that of the values."""
        position = (scale.origin / scale.unit + self.low) / self.step
        if not self.is_exact:
            return position + 0.5
        # For rounded values, such as integers divided by 255, 0 is on a step too.
        return round(position) if abs(position - round(position)) < 1e-3 else position

    @property
    def is_constant(self) -> bool:
        """Whether there is only one value."""
        return self.low == self.high

    def index(self, values: np.ndarray) -> np.ndarray:
        """Return the step of each value, int64; the grid must not be constant."""
        if values.dtype.kind in "iu" and self.is_exact:
            width = (int(self.high) - int(self.low)) // (self.size - 1)
            steps = above(values, self.low)
            return (steps if width == 1 else steps // steps.dtype.type(width)).astype(np.int64)
        share = share_of_range(values, self.low, self.high)
        share *= self.size - self.is_exact
        if self.is_exact:
            return np.rint(share, out=share).astype(np.int64)
        share += EDGE * self.size / COUNTED_STEPS
        steps = share.astype(np.int64)
        return np.minimum(steps, self.size - 1, out=steps)


MOST_STEPS = STEPS - 1
PROBES = 64
CLEAR = 0.25
"""With a larger error, as part of a step, a value could belong to the next step."""
SLACKS = (0.5, 2.0)
"""Errors of values, in units in the last place: rounded once, and after several operations."""
COMPUTING = 4 * np.finfo(np.float64).eps
"""Relative error of a computed share of the range: two differences, a quotient and a product."""
PRECISIONS = (np.float64, np.float32, np.float16)


def equal_steps(values: np.ndarray) -> int | None:
    """Return the smallest number of equal steps from the first to the last value on which all others lie.

    The two or more values ascend; they are integers, or floating-point numbers that may be rounded. None if there is no
    such number up to 65,535.

    >>> equal_steps(np.array([7, 9, 13])), equal_steps(np.array([0, 1, 4, 255]) / 255)
    (3, 255)
    >>> equal_steps(np.array([0, 0.5, np.pi])) is None
    True
    """
    if len(values) > MOST_STEPS + 1:
        return None
    if values.dtype.kind in "iu":
        away = above(values, values[0])
        steps = int(away[-1]) // int(np.gcd.reduce(away))
        return steps if steps <= MOST_STEPS else None
    for precision in PRECISIONS[PRECISIONS.index(values.dtype.type) :]:
        with np.errstate(over="ignore"):
            rounded = values.astype(precision)
        if not np.array_equal(rounded, values):  # the values were not computed in this precision
            return None
        rounding = 2 * np.spacing(np.abs(rounded) / 2).astype(np.float64)  # that of the largest number is not finite
        for errors in SLACKS:
            found = _steps_of_rounded(values.astype(np.float64), errors * rounding)
            if found is not None:
                return found
    return None


def _steps_of_rounded(values: np.ndarray, errors: np.ndarray) -> int | None:
    """Return the smallest number of steps on which all values lie within their errors."""
    half = values[-1] / 2 - values[0] / 2  # halves do not overflow
    if not half:
        return None
    share = (values / 2 - values[0] / 2) / half
    error = (errors + errors[0] + share * (errors[0] + errors[-1])) / 2 / half + share * COMPUTING
    most = min(MOST_STEPS, int(CLEAR / error.max())) if error.max() * MOST_STEPS > CLEAR else MOST_STEPS
    steps = np.arange(len(values) - 1, most + 1, dtype=np.float64)
    for probe in np.unique(np.linspace(0, len(values) - 1, PROBES).astype(int)):
        steps = steps[_is_on_step(share[probe], error[probe], steps)]
    while len(steps):
        wrong = np.flatnonzero(~_is_on_step(share, error, steps[0]))
        if not len(wrong):
            return _reduced(share, int(steps[0]))
        steps = steps[_is_on_step(share[wrong[0]], error[wrong[0]], steps)]
    return None


def _reduced(share: np.ndarray, steps: int) -> int:
    """Return the smallest divisor of a number of steps that is sufficient: rounding may have given a multiple of it."""
    return steps // int(np.gcd.reduce(np.rint(share * steps).astype(np.int64)))


def _is_on_step(share: np.ndarray, error: np.ndarray, steps: np.ndarray) -> np.ndarray:
    position = share * steps
    return np.abs(position - np.rint(position)) <= error * steps
