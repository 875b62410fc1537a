"""Find the common step of an image's values, such as those of an integer image in another unit."""

from __future__ import annotations

import numpy as np

MOST_STEPS = 2**16 - 1
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
        above = values.astype(np.uint64) - values.astype(np.uint64)[0]  # wraps around, which is correct for int64 too
        steps = int(above[-1]) // int(np.gcd.reduce(above))
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
