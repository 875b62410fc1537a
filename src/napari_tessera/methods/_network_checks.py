"""Checks of the image and the model before a network runs, and the notes returned with its labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_tessera.core.blockwise import Settings, Stored
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import Job, in_background, middle, subtask
from napari_tessera.core.result import AutoValues

if TYPE_CHECKING:
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.predictor import Detector, Network
    from napari_tessera.inference.scale_search import Scale
    from napari_tessera.models.registry import ModelEntry


Loaded = TypeVar("Loaded")

LARGEST_FACTOR = 8
"""An object is magnified by no more than this, where the user gives its diameter."""
LARGEST_SHARE = 2.0
"""An object is no wider than this many times the image."""


def channels_for(
    entry: ModelEntry, image: np.ndarray, channel_axis: int | None, channel: int | None, method: str
) -> tuple[np.ndarray, bool]:
    """Choose the channels that a model uses, and return whether there are any: ([Z,] Y, X), or with the channels last.

    Channel None takes three or four channels as the colours red, green and blue, any other number as their mean; a
    model for channels of its own kind takes all of them. `method` is the name in an error about a missing channel or
    their number.
    """
    from napari_tessera.inference.normalization import kind_of

    if kind_of(entry.header) == "channels":
        return _own_channels(entry, image, channel_axis, channel, method), True
    return colours_of(image, channel_axis, channel, method)


def colours_of(
    image: np.ndarray, channel_axis: int | None, channel: int | None, method: str
) -> tuple[np.ndarray, bool]:
    """Choose what is shown of an image to a model for grey and RGB images; see `channels_for`."""
    from napari_tessera.core.checks import RGB_TO_LUMINANCE, to_grey

    is_coloured = channel_axis is not None and image.shape[channel_axis] in (3, 4) and channel is None
    if channel_axis is None or not is_coloured:
        return to_grey(image, channel_axis, channel, method), False
    return np.moveaxis(image, channel_axis, -1)[..., : len(RGB_TO_LUMINANCE)], True


def _own_channels(
    entry: ModelEntry, image: np.ndarray, channel_axis: int | None, channel: int | None, method: str
) -> np.ndarray:
    from napari_tessera.core.checks import to_grey

    wanted = int(entry.header["architecture"]["channels"])
    chosen = image[..., None] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    if channel is not None:
        chosen = to_grey(image, channel_axis, channel, method)[..., None]
    if chosen.shape[-1] == wanted:
        return chosen
    names = ", ".join(map(str, entry.header.get("channels", ())))
    plural = "" if wanted == 1 else "s"
    raise InputError(
        f"{method}: the model {entry.name!r} takes {wanted} channel{plural} ({names}), but the image has "
        f"{chosen.shape[-1]}. Give an image with these channels, or choose another model."
    )


def check_fit(entry: ModelEntry, shape: tuple[int, ...], diameter: float | None, method: str) -> None:
    """Refuse a plane for a model for volumes, and a diameter that neither the model nor an object can have."""
    if entry.ndim > len(shape):
        raise InputError(
            f"{method}: the model {entry.name!r} is for volumes (z, y, x), but the image has {len(shape)} axes in "
            "space. Choose a model for planes, or segment all planes of a stack together."
        )
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
    """Load torch, a U-Net and what decodes its scores, in the background."""

    def load() -> Network:
        from napari_tessera.inference.predictor import load_network

        import_module("napari_tessera.inference.segment_unet")
        return load_network(entry, device)

    return _loading(load)


def loaded_detector(entry: ModelEntry, device: str) -> Job[Detector]:
    """Load torch, a Mask R-CNN and what makes objects of its detections, in the background."""

    def load() -> Detector:
        from napari_tessera.inference.predictor import load_detector

        import_module("napari_tessera.inference.segment_mask_rcnn")
        return load_detector(entry, device)

    return _loading(load)


def _loading(load: Callable[[], Loaded]) -> Job[Loaded]:
    from napari_tessera.models.load_torch import load_torch

    yield from subtask(load_torch(), 0, 3, 4)
    return (yield from subtask(in_background(load, "Loading the model"), 3, 1, 4))


def look_with(
    load: Callable[[ModelEntry, str], Job[Loaded]], entry: ModelEntry, image: np.ndarray, method: str,
    *, diameter: float | None, channel_axis: int | None, channel: int | None, device: str, polarity: str,
    spacing: tuple[float, ...] | None, valid: np.ndarray | None = None, **_: Any,
) -> Job[tuple[Loaded, NormalizedImage]]:  # fmt: skip
    """Check that an image suits a model, load its network, and normalise the image for it; `method` is for errors.

    The settings are those of the method.
    """
    shape = tuple(side for axis, side in enumerate(image.shape) if channel_axis is None or axis != channel_axis)
    check_fit(entry, shape, diameter, method)
    shown, has_channels = channels_for(entry, image, channel_axis, channel, method)
    network = yield from subtask(load(entry, device), 0, 1, 2)
    seeing = viewed(entry, shown, has_channels, spacing or (1.0,) * len(shape), polarity, valid)
    view = yield from subtask(seeing, 1, 1, 2)
    return network, view


def viewed(
    entry: ModelEntry,
    image: np.ndarray,
    has_channels: bool,
    spacing: tuple[float, ...],
    polarity: str,
    valid: np.ndarray | None,
) -> Job[NormalizedImage]:
    """Measure the brightness of the whole image where it is valid, and normalise it by that."""
    from napari_tessera.inference.normalization import kind_of, measure_levels, with_polarity
    from napari_tessera.inference.pixel_grid import NormalizedImage

    measure = partial(measure_levels, image, kind_of(entry.header), valid)
    levels = yield from in_background(measure, "Measuring brightness")
    return NormalizedImage(image, with_polarity(levels, polarity, entry.header), has_channels, spacing)


FEWEST_PLANES = 12
"""A stack of fewer planes is too flat to be segmented from its sides."""
NEARLY_ALIKE = 1.5
"""Depth of a voxel over its width up to which a volume looks alike from all sides."""
FOR_VOLUMES = {"nuclei-unet": "nuclei-3d"}
"""By a shipped model for planes, the one for volumes that finds the same."""
COLOUR_PROBE_PX = 512
"""Side of the part of an image that shows whether it is in colour."""


def notes_on_image(view: NormalizedImage, n_channels: int, channel: int | None) -> tuple[str, ...]:
    """Return notes on how an image was normalised: the channels that were used, and what is far too bright."""
    notes = _notes_on_channels(view, n_channels, channel)
    bright = view.levels.bright
    if bright is None:
        return notes
    thing = f"{bright.percent:.2g} % of the image is about {bright.times:.0f} times as bright as the objects."
    if bright.is_left_out:
        how = (
            "Brightness was measured without it, so that the others are found. If it is what you look for, cut it out."
        )
    else:
        how = "If dim objects are missing, mask it."
    return (*notes, f"{thing} {how}")


def _notes_on_channels(view: NormalizedImage, n_channels: int, channel: int | None) -> tuple[str, ...]:
    """Return which channels a model used if the user chose none of several, and bright objects are likely stains."""
    if n_channels == 1 or channel is not None or view.levels.kind == "channels":
        return ()
    choose = f"If each channel is a stain, choose the one of what you look for with `channel`, 0 to {n_channels - 1}."
    if not view.has_channels:
        return (f"The model was shown the mean of {n_channels} channels. {choose}",)
    if not view.levels.shows_brightest or not _is_in_colour(view):
        return ()
    return (f"The model was shown the brightest of red, green and blue. {choose}",)


def notes_on_stored(view: NormalizedImage, image: Stored, settings: Settings) -> tuple[str, ...]:
    """Return the same for an image that is read piece by piece, whose channels are last."""
    n_channels = 1 if settings["channel_axis"] is None else image.shape[-1]
    return notes_on_image(view, n_channels, settings["channel"])


def _is_in_colour(view: NormalizedImage) -> bool:
    """Return whether the channels differ in the middle of an image, or are grey three times."""
    sides = (*(1 for _ in view.shape[:-2]), COLOUR_PROBE_PX, COLOUR_PROBE_PX)
    part = np.asarray(view.image[middle(view.shape, sides)])
    return bool((part != part[..., :1]).any())


def notes_on_volume(entry: ModelEntry, view: NormalizedImage, volume: str, output: str) -> tuple[str, ...]:
    """Return a note if a volume was segmented plane by plane, though there is a better way."""
    is_plane_by_plane = entry.ndim < view.ndim and volume == "stitch" and output == "objects"
    if not is_plane_by_plane or view.shape[0] < FEWEST_PLANES:
        return ()
    if entry.is_shipped and (better := FOR_VOLUMES.get(entry.name)):
        return (
            f"The volume was segmented plane by plane. The model {better!r} segments it as a volume, which parts "
            "crowded nuclei better. Give the pixel size if planes are farther apart than pixels.",
        )
    if view.spacing[0] > NEARLY_ALIKE * view.spacing[-1]:
        return ()
    return (
        "The volume was segmented plane by plane. Its voxels are taken to be as deep as they are wide: if they are, "
        "`volume` orthogonal often finds objects better, in three times the time; if not, give the pixel size.",
    )


def notes_on_scale(
    entry: ModelEntry, view: NormalizedImage, scale: Scale[Any], diameter: float | None
) -> tuple[str, ...]:
    """Return notes on what the search for the scale found: that the image is foreign, or the diameter uncertain."""
    from napari_tessera.inference.scale_search import may_be_held_back

    is_estimated = diameter is None and (entry.kind == "mask_rcnn" or "size" in entry.header["architecture"]["heads"])
    if not entry.diameter_px or not is_estimated:
        return ()
    diameter_px = entry.diameter_px / scale.factor
    if scale.likeness is not None and scale.likeness.is_foreign:
        return (
            f"The image does not look like the training images of the model {entry.name!r}: check what was found. Give "
            f"`diameter` (estimated as {diameter_px:.3g} px) or `polarity`, choose another model, or train one.",
        )
    if may_be_held_back(scale.factor, view, entry.ndim):
        return (
            "The image is so large that objects were not magnified any further, which would take long. If many are "
            f"smaller than {diameter_px:.3g} px, give `diameter`: more of them are found. A crop tells it.",
        )
    if scale.is_sure:
        return ()
    return (
        f"The diameter is uncertain: objects are taken to be {diameter_px:.3g} px wide, but those found differ. "
        "Measure an object, and give `diameter`.",
    )


def notes_on_second(entry: ModelEntry, network: Detector) -> tuple[str, ...]:
    """Return a note if the second network that should rescore a model's objects is missing."""
    from napari_tessera.models import registry as catalogue

    second = entry.header.get("second_opinion")
    if not second or network.second is not None:
        return ()
    is_there = catalogue.with_sha256(second["sha256"], second["model"]) is not None
    why = "cannot: it sees other channels or sizes, or judges nothing" if is_there else "is not among the models"
    return (
        f"The model {entry.name!r} judges objects together with {second['model']!r}, but the file it was made with "
        f"(SHA-256 {second['sha256'][:12]}…) {why}. It judged them alone, which is a little worse.",
    )


def chosen_diameter(entry: ModelEntry, factor: float, diameter: float | None) -> AutoValues:
    """Return the diameter that was estimated, if none was given (in pixels along X)."""
    usual_px = entry.diameter_px
    return {"diameter_px": round(usual_px / factor, 2)} if usual_px and diameter is None else {}
