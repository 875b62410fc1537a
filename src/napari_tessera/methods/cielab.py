"""Colours to CIELAB (CIE 15:2004), from sRGB (IEC 61966-2-1) under daylight (D65, 2°).

scikit-image's conversion multiplies matrices in threads of its own, which fight with ours: many times slower in a band.
"""

from __future__ import annotations

import numpy as np

XYZ_OF_WHITE = (0.95047, 1.0, 1.08883)
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
DARKEST_CUBE = (6 / 29) ** 3
TABLE_BYTES = 2


def to_cielab(colours: np.ndarray) -> np.ndarray:
    """Convert sRGB colours to CIELAB.

    Parameters
    ----------
    colours : (N, 3) array
        Integers up to their dtype's largest, or fractions of 1. What lies outside is clipped.

    Returns
    -------
    (N, 3) float64 array
        Lightness 0…100, and the axes from green to red and from blue to yellow.

    Examples
    --------
    >>> to_cielab(np.array([[255, 0, 0]], np.uint8)).round()
    array([[53., 80., 67.]])
    """
    red, green, blue = _linear(colours).T
    x, y, z = (
        _compressed((row[0] * red + row[1] * green + row[2] * blue) / white)
        for row, white in zip(XYZ_FROM_RGB, XYZ_OF_WHITE, strict=True)
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1) + 0.0


def white(dtype: np.dtype) -> float:
    """Return the value that stands for white."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _linear(colours: np.ndarray) -> np.ndarray:
    """Amount of light of each value, 0 to 1; looked up where there are few different ones."""
    if colours.dtype.kind == "u" and colours.dtype.itemsize <= TABLE_BYTES:
        return _light(np.arange(np.iinfo(colours.dtype).max + 1) / white(colours.dtype))[colours]
    return _light(np.clip(colours / white(colours.dtype), 0, 1))


def _light(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def _compressed(light: np.ndarray) -> np.ndarray:
    """Cube root, with a straight line near black."""
    return np.where(light > DARKEST_CUBE, np.cbrt(light), light / (3 * (6 / 29) ** 2) + 4 / 29)
