"""Training task of a Mask R-CNN: batches of patches with their objects, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture
from napari_tessera.models.mask_rcnn.losses import Criteria, Loss
from napari_tessera.models.mask_rcnn.matcher import DetectionTarget, truth_of
from napari_tessera.models.mask_rcnn.model import MaskRCNN, light_architecture
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example
from napari_tessera.training.data.patches import MakeTargets
from napari_tessera.training.losses import ClassLoss

FEWEST_SHARE = 0.02
"""If less than this share of the usual area of an object is in the patch, its pixels are ignored."""
FEWEST_FITTING = 9
COUNTED_PER_OBJECT = {
    "rpn_pre_nms_top_n_train": 16.0,
    "rpn_post_nms_top_n_train": 8.0,
    "rpn_batch_size_per_image": 10.0,
    "box_batch_size_per_image": 2.5,
}
"""Sampled anchors and proposals per step, for each object that fits into a patch; more add little."""
RIGHT_SHARE = 0.25
"""Largest share of the sampled proposals that lie on an object, and so have a mask target."""


def detection_architecture(
    channels: int, diameter_px: float, patch_px: int, widths: Sequence[int]
) -> MaskRCNNArchitecture:
    """Return the Mask R-CNN architecture for objects of one class, trained on patches of this side.

    The more objects of the usual diameter fit into a patch, the more anchors and proposals are sampled per step.
    `widths` are the channels of the backbone at its four resolutions; the widths of pyramid and heads follow from them.
    """
    fits = max(FEWEST_FITTING, round((patch_px / diameter_px) ** 2))
    numbers = {name: round(per_object * fits) for name, per_object in COUNTED_PER_OBJECT.items()}
    light = light_architecture(2, channels, diameter_px, box_positive_fraction=RIGHT_SHARE, **numbers)
    return replace(light, widths=tuple(widths), width=3 * widths[0], box_width=12 * widths[0])


@dataclass(frozen=True)
class DetectionBatch:
    """Patches and their targets."""

    images: Tensor  # (B, C, Y, X)
    truths: Sequence[DetectionTarget]
    seed: int  # seed of the sampled anchors and proposals


def detection_targets(diameter_px: float) -> MakeTargets:
    """Return the function that makes the target of a patch, at this usual diameter."""
    fewest_px = FEWEST_SHARE * np.pi / 4 * diameter_px**2

    def make(labels: np.ndarray, _: Example, __: float, inner: tuple[slice, ...]) -> DetectionTarget:
        return truth_from(labels[inner], fewest_px)

    return make


def truth_from(labels: np.ndarray, fewest_px: float = 0) -> DetectionTarget:
    """Make the target from an annotation (Y, X), of which only the part in the patch counts.

    Objects with fewer than `fewest_px` pixels in the patch count as not annotated.
    """
    is_tiny = np.bincount(labels.ravel()) < fewest_px
    is_tiny[: BACKGROUND + 1] = False
    paint = np.where(is_tiny[labels], NOT_PAINTED, labels)
    objects = torch.from_numpy(np.maximum(paint - BACKGROUND, 0).astype(np.int64))
    classes = torch.ones(int(objects.max()) + 1, dtype=torch.long)
    return truth_of(objects, classes, torch.from_numpy(paint == NOT_PAINTED), is_aligned=True)


def detection_batch(
    patches: np.ndarray, truths: Sequence[DetectionTarget], seed: int, device: torch.device | str = "cpu"
) -> DetectionBatch:
    """Move patches (B, C, Y, X) and targets to a device."""
    return DetectionBatch(torch.from_numpy(patches).to(device), [truth.to(device) for truth in truths], seed)


def detection_loss(net: MaskRCNN, batch: DetectionBatch, criteria: Criteria) -> dict[str, Tensor]:
    """Return the parts of the loss; the same batch always samples the same anchors and proposals."""
    rng = torch.Generator().manual_seed(batch.seed)
    return net.losses(list(batch.images), batch.truths, criteria, rng)


def criteria_of(of_classes: ClassLoss, of_masks: ClassLoss) -> Criteria:
    """Use losses of class scores for the classes of boxes and for the pixels of their masks."""
    return Criteria(_in_all(of_classes), _in_all(of_masks))


def _in_all(loss: ClassLoss) -> Loss:
    def total(scores: Tensor, target: Tensor) -> Tensor:
        return torch.stack(list(loss(scores, target, None).values())).sum()

    return total
