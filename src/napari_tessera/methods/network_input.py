"""What a network is given of an image, and whether the model suits it: checked before any work starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_tessera.bands import in_background
from napari_tessera.catalogue import ModelEntry
from napari_tessera.errors import InputError, ParameterError
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.grey import RGB_TO_LUMINANCE, to_grey
from napari_tessera.nn.intensity import kind_of

if TYPE_CHECKING:
    from napari_tessera.large.view import View
    from napari_tessera.nn.detecting import Detector
    from napari_tessera.nn.forward import Network

Loaded = TypeVar("Loaded")

LARGEST_FACTOR = 8
"""An object is magnified by no more than this, where the user gives its diameter."""
LARGEST_SHARE = 2.0
"""An object is no wider than this many times the image."""


def channels_for(
    entry: ModelEntry, image: np.ndarray, channel_axis: int | None, channel: int, method: str
) -> tuple[np.ndarray, bool]:
    """Choose the channels that a model is shown.

    Parameters
    ----------
    entry : ModelEntry
    image : array
    channel_axis : int or None
    channel : int
        1 is the first channel; 0 shows three or four channels as the colours red, green and blue, any other number as
        their mean. A model for channels of its own kind takes all of them.
    method : str
        Name for error messages.

    Returns
    -------
    array
        ([Z,] Y, X), or with channels last.
    bool
        Whether there are channels.

    Raises
    ------
    InputError, ParameterError
        If the model takes another number of channels, or the image does not have the channel.
    """
    if kind_of(entry.header) == "channels":
        return _own_channels(entry, image, channel_axis, channel, method), True
    is_coloured = channel_axis is not None and image.shape[channel_axis] in (3, 4) and channel == 0
    if channel_axis is None or not is_coloured:
        return to_grey(image, channel_axis, channel, method), False
    return np.moveaxis(image, channel_axis, -1)[..., : len(RGB_TO_LUMINANCE)], True


def _own_channels(
    entry: ModelEntry, image: np.ndarray, channel_axis: int | None, channel: int, method: str
) -> np.ndarray:
    wanted = int(entry.header["architecture"]["channels"])
    chosen = image[..., None] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    if channel:
        chosen = to_grey(image, channel_axis, channel, method)[..., None]
    if chosen.shape[-1] == wanted:
        return chosen
    names = ", ".join(map(str, entry.header.get("channels", ())))
    plural = "" if wanted == 1 else "s"
    raise InputError(
        f"{method}: the model {entry.name!r} takes {wanted} channel{plural} ({names}), but the image has "
        f"{chosen.shape[-1]}. Give an image with these channels, or choose another model."
    )


def check_dimensions(entry: ModelEntry, ndim: int, method: str) -> None:
    """Refuse a plane for a model for volumes.

    Raises
    ------
    InputError
    """
    if entry.ndim > ndim:
        raise InputError(
            f"{method}: the model {entry.name!r} is for volumes (z, y, x), but the image has {ndim} axes in space. "
            "Choose a model for planes, or segment all planes of a stack together."
        )


def check_diameter(entry: ModelEntry, diameter: float | None, shape: tuple[int, ...], method: str) -> None:
    """Refuse a diameter that the model cannot use, or that no object of the image can have.

    Raises
    ------
    ParameterError
    """
    if diameter is None:
        return
    if entry.diameter_px is None:
        raise ParameterError(
            f"{method}: `diameter` is {diameter:g} px, but the model {entry.name!r} knows no size. Leave it empty.",
            "diameter",
        )
    smallest, largest = entry.diameter_px / LARGEST_FACTOR, LARGEST_SHARE * max(shape[-2:])
    if not smallest <= diameter <= max(largest, smallest):
        raise ParameterError(
            f"{method}: `diameter` is {diameter:g} px, but with the model {entry.name!r} and an image of "
            f"{shape[-1]} × {shape[-2]} px it can be {smallest:g} to {max(largest, smallest):g} px. Measure an object, "
            "or leave it empty to have it estimated.",
            "diameter",
        )


def loaded(entry: ModelEntry, device: str) -> Job[Network]:
    """Load torch, a U-Net and what decodes its scores, without keeping anybody waiting."""
    return _loading(partial(_load_network, entry, device))


def loaded_detector(entry: ModelEntry, device: str) -> Job[Detector]:
    """Load torch, a Mask R-CNN and what makes objects of its detections, without keeping anybody waiting."""
    return _loading(partial(_load_detector, entry, device))


def _loading(load: Callable[[], Loaded]) -> Job[Loaded]:
    from napari_tessera.nn.loading import load_torch

    yield from part_of(load_torch(), 0, 3, 4)
    return (yield from part_of(in_background(load, "Loading the model"), 3, 1, 4))


def _load_network(entry: ModelEntry, device: str) -> Network:
    from napari_tessera.nn.forward import load_network

    import_module("napari_tessera.large.volumes")
    return load_network(entry.path, device)


def _load_detector(entry: ModelEntry, device: str) -> Detector:
    from napari_tessera.nn.detecting import load_detector

    import_module("napari_tessera.large.detected_volumes")
    return load_detector(entry.path, device)


def viewed(
    entry: ModelEntry, image: np.ndarray, has_channels: bool, spacing: tuple[float, ...], objects: str
) -> Job[View]:
    """Measure the brightness of the whole image, by which the network sees it."""
    from napari_tessera.large.view import View
    from napari_tessera.nn.intensity import measure_levels, turned

    measure = partial(measure_levels, image, kind_of(entry.header))
    levels = yield from in_background(measure, "Measuring brightness")
    return View(image, turned(levels, objects, entry.header), has_channels, spacing)
