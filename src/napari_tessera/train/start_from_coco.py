"""Start from the published Mask R-CNN, which has learnt to find the things of everyday photographs (COCO)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from napari_tessera.errors import ParameterError
from napari_tessera.nn.coco_classes import COCO_CLASSES
from napari_tessera.nn.coco_weights import coco_file, digest_of, read_coco_weights
from napari_tessera.nn.detection_settings import IMAGENET_MEAN, IMAGENET_STD, Architecture
from napari_tessera.nn.intensity import CHANNELS, normalisation
from napari_tessera.train.detection import detection_architecture
from napari_tessera.train.patches import Sampling
from napari_tessera.train.settings import Training
from napari_tessera.train.start_from import Start

COCO = "coco"
"""Name under which the published weights are downloaded; their file, too, can be given."""
ENDING = ".pth"
FIRST_CONVOLUTION = "backbone.body.conv1.weight"


def is_coco(start_from: str) -> bool:
    """Say whether the setting names the published weights, or a file of them."""
    return start_from == COCO or start_from.endswith(ENDING)


def read_coco_start(settings: Training) -> Start:
    """Read the published weights, as a network for patches instead of photographs.

    Images keep their size, anchors suit the objects, and beside the three colours there are the channels that our
    networks see, which count for nothing at first.

    Raises
    ------
    ParameterError
        If the settings ask for another network.
    FileError
        If the file is missing, is not the published one, or cannot be downloaded.
    """
    check_suits_coco(settings)
    file = coco_file(None if settings.start_from == COCO else settings.start_from)
    diameter_px = settings.diameter or Sampling().diameter_px
    assert diameter_px is not None
    header = {
        "architecture": {"kind": "mask_rcnn", **coco_architecture(diameter_px, settings.patch).as_json()},
        "task": "objects",
        "classes": list(COCO_CLASSES),
        "diameter_px": diameter_px,
        "decoding": {},
        "normalisation": normalisation("colours", len(IMAGENET_MEAN)),
    }
    return Start(COCO, digest_of(file), header, with_own_channels(read_coco_weights(file)))


def check_suits_coco(settings: Training) -> None:
    """Refuse another network than the published one.

    Raises
    ------
    ParameterError
    """
    if settings.network != "mask-rcnn":
        raise ParameterError(
            f"Training: `start_from` is {settings.start_from!r}, the published Mask R-CNN, but `network` is "
            f'{settings.network!r}. Choose the network "mask-rcnn", or another model.',
            "start_from",
        )
    if settings.widths is not None:
        raise ParameterError(
            "Training: `widths` are those of the model to start from, the published Mask R-CNN. Leave it out.", "widths"
        )


def coco_architecture(diameter_px: float, patch_px: int | None = None) -> Architecture:
    """Say how the published network is built for objects of a usual diameter, learnt from patches of this side."""
    published = Architecture(len(COCO_CLASSES))
    own = detection_architecture(CHANNELS, diameter_px, patch_px or Sampling().size_px, published.widths)
    more = CHANNELS - len(IMAGENET_MEAN)
    as_published = {"image_mean": (*IMAGENET_MEAN, *[0.0] * more), "image_std": (*IMAGENET_STD, *[1.0] * more)}
    return replace(published, channels=CHANNELS, settings={**own.settings, **as_published})


def with_own_channels(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Let the first convolution see the colours as before, and our other channels with weight 0."""
    first = weights[FIRST_CONVOLUTION]
    more = torch.zeros(len(first), CHANNELS - first.shape[1], *first.shape[2:])
    return {**weights, FIRST_CONVOLUTION: torch.cat([first, more], dim=1)}
