"""What a network sees of an image: channels of comparable brightness, whatever the microscope.

The levels are percentiles of the whole image, so that a tile is seen exactly as it is within the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHANNELS = 5
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.8
BRIGHT_BACKGROUND = 0.4
"""A median above this share of the way from low to high means dark objects on a bright background."""
DIM = 0.05
"""Brightness, as a share of the range, below which the compressed channel is linear and above which logarithmic."""


@dataclass(frozen=True)
class Levels:
    """The brightness of background and of bright objects in a whole image.

    Parameters
    ----------
    low, high : float
        Percentiles 0.5 and 99.8 of the intensities, all channels together.
    inverted : bool
        Objects are dark on a bright background, as in stained sections and in brightfield.
    """

    low: float
    high: float
    inverted: bool = False


def measure_levels(image: np.ndarray) -> Levels:
    """Measure the levels of an image.

    Parameters
    ----------
    image : array (Y, X) or (Y, X, C), or with planes in front
        Any numeric type.

    Returns
    -------
    Levels
        `inverted` where the median lies nearer to the bright end: background fills most of most images.
    """
    low, middle, high = np.percentile(image, [LOW_PERCENT, 50, HIGH_PERCENT])
    span = max(float(high - low), 1e-6)
    return Levels(float(low), float(high), bool((middle - low) / span > BRIGHT_BACKGROUND))


def network_channels(image: np.ndarray, levels: Levels) -> np.ndarray:
    """Turn an image into the network's channels.

    Parameters
    ----------
    image : array (Y, X) or (Y, X, 3)
        A grey image is given to all three colours.
    levels : Levels
        Of the whole image, of which this may be a tile.

    Returns
    -------
    float32 array (CHANNELS, Y, X)
        Red, green and blue, background near 0 and bright objects near 1; then their mean, compressed, in which dim
        objects beside bright ones stand out; then 1 everywhere if the image was turned, else 0, since dark objects on
        a bright background have other surroundings than bright ones on black.
    """
    colours = np.broadcast_to(image[None], (3, *image.shape)) if image.ndim == 2 else np.moveaxis(image[..., :3], -1, 0)
    linear = (colours.astype(np.float32) - levels.low) / max(levels.high - levels.low, 1e-6)
    return from_colours(1 - linear if levels.inverted else linear, levels.inverted)


def from_colours(colours: np.ndarray, inverted: bool) -> np.ndarray:
    """Clip what is far out in (3, Y, X) linear colours, and add their compressed mean and the turned-or-not channel."""
    colours = np.clip(colours, -0.5, 2).astype(np.float32)
    compressed = np.arcsinh(colours.mean(0, keepdims=True) / DIM) / np.float32(np.arcsinh(1 / DIM))
    return np.concatenate([colours, compressed.astype(np.float32), np.full_like(colours[:1], inverted)])
