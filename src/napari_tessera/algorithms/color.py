"""Convert colour images to grey, or to CIELAB (CIE 15:2004) from sRGB (IEC 61966-2-1, D65, 2°).

scikit-image's conversion to CIELAB starts its own threads for the matrix product, which compete with ours: many times
slower in a piece of an image.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.algorithms.exact_percentiles import is_wide
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.rescale import EXACT

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
        Integers from 0 to the largest of their dtype, or fractions of 1. Other values are clipped.

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
    """Return the value of white."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _linear(colours: np.ndarray) -> np.ndarray:
    """Return the linear light of each value, 0 to 1, by a table if there are few different values."""
    if colours.dtype.kind == "u" and colours.dtype.itemsize <= TABLE_BYTES:
        return _light(np.arange(np.iinfo(colours.dtype).max + 1) / white(colours.dtype))[colours]
    return _light(np.clip(colours / white(colours.dtype), 0, 1))


def _light(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def _compressed(light: np.ndarray) -> np.ndarray:
    """Return the cube root, with a straight line near black."""
    return np.where(light > DARKEST_CUBE, np.cbrt(light), light / (3 * (6 / 29) ** 2) + 4 / 29)


RGB_TO_LUMINANCE = (0.2125, 0.7154, 0.0721)


def to_grey(image: np.ndarray, channel_axis: int | None, channel: int | None, method: str) -> np.ndarray:
    """Select one channel, or combine all (None): luminance (Rec. 709) of three or four, otherwise the mean.

    The fourth of four is opacity and left out. A picked channel is a view; a combination is float32, or float64 for
    float64 and for integers of over 16 bits. `method` is the name in an error about a missing channel, or about
    channels to combine whose values float64 does not hold.
    """
    if channel_axis is None:
        if channel:
            raise ParameterError(
                f"{method}: `channel` is {channel}, but the image has no channels. Leave it empty.", "channel"
            )
        return image
    channels = np.moveaxis(image, channel_axis, 0)
    if channel is not None and channel >= len(channels):
        raise ParameterError(
            f"{method}: `channel` is {channel}, but the image has {len(channels)} channels. "
            f"Use 0 to {len(channels) - 1}, or leave it empty for all together.",
            "channel",
        )
    if channel is not None:
        return channels[channel]
    _refuse_huge(image, method)
    weights = RGB_TO_LUMINANCE if len(channels) in (3, 4) else (1 / len(channels),) * len(channels)
    wanted = np.float64 if is_wide(image.dtype) else np.float32
    grey = np.zeros(channels.shape[1:], wanted)
    for weight, values in zip(weights, channels, strict=False):
        grey += wanted(weight) * values.astype(wanted, copy=False)
    return grey


def _refuse_huge(image: np.ndarray, method: str) -> None:
    """Refuse to combine integers that float64 cannot hold exactly."""
    if image.dtype.kind not in "iu" or image.dtype.itemsize < 8:
        return
    farthest = max(abs(int(image.min())), abs(int(image.max())))
    if farthest > EXACT:
        raise InputError(
            f"{method}: the image has whole numbers of up to {farthest:.3g} in size, but channels can be combined only "
            f"up to {EXACT:.3g}. Subtract the lowest value first (in Python: image - image.min()), or choose one "
            "`channel`."
        )
