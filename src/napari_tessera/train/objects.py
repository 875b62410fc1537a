"""Learning objects: a batch of patches, and the loss of a network with the heads of `targets.HEADS`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.train.examples import Example
from napari_tessera.train.losses import ClassLoss, regression
from napari_tessera.train.patches import MakeTargets
from napari_tessera.train.targets import BACKGROUND, Targets, instance_targets

DISTANCE_COUNTS, SIZE_COUNTS = 6.0, 0.25
"""Weights of the losses beside that of the classes: the distance parts objects, the size only finds the scale."""


@dataclass(frozen=True)
class ObjectBatch:
    """Patches and targets as tensors: classes and weight (B, [Z,] Y, X), all others (B, channels, [Z,] Y, X)."""

    images: Tensor
    classes: Tensor
    distance: Tensor
    size: Tensor
    weight: Tensor


def object_targets(diameter_px: float) -> MakeTargets:
    """Return what makes the targets of a patch at this usual diameter."""

    def make(labels: np.ndarray, example: Example, factor: float, inner: tuple[slice, ...]) -> Targets:
        sizes = example.sizes * factor**labels.ndim
        return instance_targets(labels, diameter_px, sizes).cut(inner)

    return make


def object_batch(patches: np.ndarray, targets: Sequence[Targets], device: torch.device | None = None) -> ObjectBatch:
    """Stack patches and targets."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(target, name) for target in targets])).to(device)

    images = channels_last(patches).to(device)
    return ObjectBatch(images, stack("classes"), stack("distance")[:, None], stack("size")[:, None], stack("weight"))


def channels_last(patches: np.ndarray) -> Tensor:
    """Lay patches (B, C, [Z,] Y, X) out in memory as convolutions like it best."""
    layout = torch.channels_last if patches.ndim == 4 else torch.channels_last_3d
    return torch.from_numpy(patches).contiguous(memory_format=layout)


def object_loss(net: nn.Module, batch: ObjectBatch, class_loss: ClassLoss) -> dict[str, Tensor]:
    """Return the loss of each head: of the classes, of the distance, and of the size."""
    scores = net(batch.images)
    is_object = (batch.classes > BACKGROUND).float()
    return {
        **class_loss(scores["classes"], batch.classes, batch.weight),
        "distance": DISTANCE_COUNTS * regression(scores["distance"], batch.distance, batch.weight),
        "size": SIZE_COUNTS * regression(scores["size"], batch.size, is_object),  # large objects count by their area
    }
