"""Intensities as fractions of the image's range, channel by channel, with a frame around them."""

from __future__ import annotations

import numpy as np

from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.smoothing import smoothed
from napari_tessera.methods.grey import RGB_TO_LUMINANCE, to_grey
from napari_tessera.value_range import Number, share_of_range

OPACITY = len(RGB_TO_LUMINANCE)


def chosen_channels(image: np.ndarray, channel_axis: int | None, channel: int, method: str) -> list[np.ndarray]:
    """Return one channel, or with `channel` 0 all of them; a fourth of four is taken for opacity and left out."""
    if channel_axis is None or channel:
        return [to_grey(image, channel_axis, channel, method)]
    channels = list(np.moveaxis(image, channel_axis, 0))
    return channels[:OPACITY] if len(channels) == OPACITY + 1 else channels


def framed_fractions(
    channels: list[np.ndarray], smoothing: float, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Scale intensities to 0…1 over the range of all channels together, smooth them, and add a frame of zeros.

    Parameters
    ----------
    channels : list of array
        Each (Y, X) or (Z, Y, X).
    smoothing : float
        Sigma of the Gaussian in pixels along X; 0 does not smooth.
    spacing : tuple of float, optional

    Returns
    -------
    (Y + 2, X + 2, C) or (Z + 2, Y + 2, X + 2, C) array of float32
    """
    shape = channels[0].shape
    framed = np.zeros((*(size + 2 for size in shape), len(channels)), np.float32)
    unframed = framed[(slice(1, -1),) * len(shape)]
    yield Progress(0, len(channels), "Reading intensities")
    low = min(channel.min().item() for channel in channels)
    high = max(channel.max().item() for channel in channels)
    for index, channel in enumerate(channels):
        fractions = yield from part_of(_fractions(channel, low, high), index, 0.3, len(channels))
        if smoothing:
            fractions = yield from part_of(smoothed(fractions, smoothing, spacing), index + 0.3, 0.7, len(channels))
        unframed[..., index] = fractions
    return framed


def _fractions(channel: np.ndarray, low: Number, high: Number) -> Job[np.ndarray]:
    """Scale low…high to 0…1, plane by plane or row by row; a constant image is 0 everywhere."""
    fractions = np.zeros(channel.shape, np.float32)
    if low == high:
        return fractions
    rows_at_once = max(1, (1 << 18) * len(channel) // channel.size)
    for start in range(0, len(channel), rows_at_once):
        yield Progress(start, len(channel), "Reading intensities")
        rows = slice(start, start + rows_at_once)
        fractions[rows] = share_of_range(channel[rows], low, high)
    return fractions
