"""What is told of a run of a network beside its labels: what was left open, and what may not have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_tessera import catalogue
from napari_tessera.bands import middle
from napari_tessera.catalogue import ModelEntry
from napari_tessera.overlapping import Stored
from napari_tessera.result import Chosen
from napari_tessera.two_pass import Settings

if TYPE_CHECKING:
    from napari_tessera.large.view import View
    from napari_tessera.nn.detecting import Detector

FEWEST_PLANES = 12
"""A stack of fewer planes is too flat to be seen from its sides."""
NEARLY_ALIKE = 1.5
"""Depth of a voxel over its width up to which a volume looks alike from all sides."""
SEEN_PX = 512
"""Side of the part of an image by which it is told whether it is in colour."""


def notes_on_channels(view: View, n_channels: int, channel: int) -> tuple[str, ...]:
    """Say what a model was shown of several channels where nobody chose one, and bright objects are likely stains.

    Parameters
    ----------
    view : View
        What the model sees.
    n_channels : int
        Of the image; 1 where it has no such axis.
    channel : int
        The one that was chosen; 0 for all.
    """
    if n_channels == 1 or channel or view.levels.kind == "channels":
        return ()
    choose = f"If each channel is a stain, choose the one of what you look for with `channel`, 1 to {n_channels}."
    if not view.has_channels:
        return (f"The model was shown the mean of {n_channels} channels. {choose}",)
    if not view.levels.shows_brightest or not _is_in_colour(view):
        return ()
    return (f"The model was shown the brightest of red, green and blue. {choose}",)


def notes_on_stored(view: View, image: Stored, settings: Settings) -> tuple[str, ...]:
    """Say the same of an image that is read piece by piece, whose channels are last."""
    n_channels = 1 if settings["channel_axis"] is None else image.shape[-1]
    return notes_on_channels(view, n_channels, settings["channel"])


def _is_in_colour(view: View) -> bool:
    """Say whether the channels differ in the middle of an image, or are grey three times."""
    sides = (*(1 for _ in view.shape[:-2]), SEEN_PX, SEEN_PX)
    part = np.asarray(view.image[middle(view.shape, sides)])
    return bool((part != part[..., :1]).any())


def notes_on_volume(entry: ModelEntry, view: View, volume: str, output: str) -> tuple[str, ...]:
    """Say that a volume was seen plane by plane where its voxels are, or are taken for, as deep as they are wide."""
    is_plane_by_plane = entry.ndim < view.ndim and volume == "planes" and output == "objects"
    if not is_plane_by_plane or view.shape[0] < FEWEST_PLANES or view.spacing[0] > NEARLY_ALIKE * view.spacing[-1]:
        return ()
    return (
        "The volume was segmented plane by plane. Its voxels are taken to be as deep as they are wide: if they are, "
        "`volume` orientations often finds objects better, in three times the time; if not, give the pixel size.",
    )


def notes_on_scale(entry: ModelEntry, view: View, factor: float, diameter: float | None) -> tuple[str, ...]:
    """Say that small objects were not magnified as far as they are in smaller images, where this may be so."""
    from napari_tessera.large.scale import may_be_held_back

    is_estimated = diameter is None and (entry.kind == "mask_rcnn" or "size" in entry.header["architecture"]["heads"])
    if not entry.diameter_px or not is_estimated or not may_be_held_back(factor, view.shape):
        return ()
    return (
        "The image is so large that objects were not magnified any further, which would take long. If many are smaller "
        f"than {entry.diameter_px / factor:.3g} px, give `diameter`: more of them are found. A crop tells it.",
    )


def notes_on_second(entry: ModelEntry, network: Detector) -> tuple[str, ...]:
    """Say that the second network is missing by which a model's objects are to be judged, too."""
    said = entry.header.get("second_opinion")
    if not said or network.second is not None:
        return ()
    is_there = catalogue.with_sha256(said["sha256"], said["model"]) is not None
    why = "cannot: it sees other channels or sizes, or judges nothing" if is_there else "is not among the models"
    return (
        f"The model {entry.name!r} judges objects together with {said['model']!r}, but the file it was made with "
        f"(SHA-256 {said['sha256'][:12]}…) {why}. It judged them alone, which is a little worse.",
    )


def chosen_diameter(entry: ModelEntry, factor: float, diameter: float | None) -> Chosen:
    """Say which usual diameter was worked with where nobody gave one: of a model that knows one, at a scale along X."""
    usual_px = entry.diameter_px
    return {"diameter_px": round(usual_px / factor, 2)} if usual_px and diameter is None else {}
