"""Learning classes of pixels: a batch of patches, and the loss of a network with the one head "classes"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_tessera.train.examples import Example
from napari_tessera.train.losses import ClassLoss
from napari_tessera.train.objects import channels_last


@dataclass(frozen=True)
class ClassBatch:
    """Patches (B, C, [Z,] Y, X) and their classes (B, [Z,] Y, X), 0 where not painted."""

    images: Tensor
    classes: Tensor


def class_targets(labels: np.ndarray, _: Example, __: float, inner: tuple[slice, ...]) -> np.ndarray:
    """Return the classes of a patch: they are the paint itself."""
    return labels[inner].astype(np.uint8)


def class_batch(patches: np.ndarray, targets: Sequence[np.ndarray], device: torch.device | None = None) -> ClassBatch:
    """Stack patches and classes."""
    return ClassBatch(channels_last(patches).to(device), torch.from_numpy(np.stack(targets)).to(device))


def class_head_loss(net: nn.Module, batch: ClassBatch, class_loss: ClassLoss) -> dict[str, Tensor]:
    """Return the loss of the classes."""
    return class_loss(net(batch.images)["classes"], batch.classes, None)
