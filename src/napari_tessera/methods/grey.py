"""One grey value per pixel from an image with channels."""

from __future__ import annotations

import numpy as np

from napari_tessera.errors import InputError, ParameterError
from napari_tessera.nn.wide import is_wide
from napari_tessera.value_range import EXACT

RGB_TO_LUMINANCE = (0.2125, 0.7154, 0.0721)


def to_grey(image: np.ndarray, channel_axis: int | None, channel: int, method: str) -> np.ndarray:
    """Pick one channel, or combine all of them.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), with the channels at `channel_axis`.
    channel_axis : int or None
    channel : int
        1 is the first channel; 0 combines all: luminance (Rec. 709) for three or four channels, of which the fourth
        is taken for opacity and left out, otherwise their mean.
    method : str
        Name for the error message.

    Returns
    -------
    array
        (Y, X) or (Z, Y, X). A picked channel is a view and keeps its dtype; a combination is float32, or float64
        where the channels are float64 or integers of over 16 bits.

    Raises
    ------
    ParameterError
        If the image does not have the channel.
    InputError
        If channels are to be combined whose values float64 does not hold.
    """
    if channel_axis is None:
        if channel > 1:
            raise ParameterError(f"{method}: `channel` is {channel}, but the image has no channels. Use 0.", "channel")
        return image
    channels = np.moveaxis(image, channel_axis, 0)
    if channel > len(channels):
        raise ParameterError(
            f"{method}: `channel` is {channel}, but the image has {len(channels)} channels. "
            f"Use 1 to {len(channels)}, or 0 for all together.",
            "channel",
        )
    if channel:
        return channels[channel - 1]
    _refuse_huge(image, method)
    weights = RGB_TO_LUMINANCE if len(channels) in (3, 4) else (1 / len(channels),) * len(channels)
    wanted = np.float64 if is_wide(image.dtype) else np.float32
    grey = np.zeros(channels.shape[1:], wanted)
    for weight, values in zip(weights, channels, strict=False):
        grey += wanted(weight) * values.astype(wanted, copy=False)
    return grey


def _refuse_huge(image: np.ndarray, method: str) -> None:
    """Refuse to combine whole numbers that float64 does not hold."""
    if image.dtype.kind not in "iu" or image.dtype.itemsize < 8:
        return
    farthest = max(abs(int(image.min())), abs(int(image.max())))
    if farthest > EXACT:
        raise InputError(
            f"{method}: the image has whole numbers of up to {farthest:.3g} in size, but channels can be combined only "
            f"up to {EXACT:.3g}. Subtract the lowest value first (in Python: image - image.min()), or choose one "
            "`channel`."
        )
