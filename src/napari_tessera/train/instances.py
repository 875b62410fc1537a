"""Loss of an instance network on a batch of patches, and patches as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.train.losses import dice, regression, weighted_cross_entropy
from napari_tessera.train.targets import BACKGROUND, Targets


@dataclass(frozen=True)
class InstanceBatch:
    """Patches and targets as tensors: classes and weight (B, Y, X), all others (B, channels, Y, X)."""

    images: Tensor
    classes: Tensor
    distance: Tensor
    size: Tensor
    weight: Tensor


def as_batch(patches: np.ndarray, targets: Sequence[Targets]) -> InstanceBatch:
    """Stack patches and targets."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(target, name) for target in targets]))

    images = torch.from_numpy(patches).contiguous(memory_format=torch.channels_last)
    return InstanceBatch(images, stack("classes"), stack("distance")[:, None], stack("size")[:, None], stack("weight"))


def instance_loss(net: nn.Module, batch: InstanceBatch) -> dict[str, Tensor]:
    """Return the loss of each head: of the classes, of the distance, and of the size."""
    scores = net(batch.images)
    is_object = (batch.classes > BACKGROUND).float()
    return {
        "entropy": weighted_cross_entropy(scores["classes"], batch.classes, batch.weight),
        "dice": 0.5 * dice(scores["classes"], batch.classes),
        "distance": 3 * regression(scores["distance"], batch.distance, batch.weight),
        "size": regression(scores["size"], batch.size, is_object),  # large objects count by their area
    }
