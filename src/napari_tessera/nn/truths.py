"""What is known of a training image: objects with box and class, their pixels, and what was not painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Truth:
    """What is known of one training image.

    Parameters
    ----------
    boxes : Tensor (G, 4)
    labels : integer Tensor (G,)
        Class of each object, from 1.
    instances : integer Tensor (Y, X)
        g + 1 on the pixels of object g, 0 elsewhere.
    ignore : boolean Tensor (Y, X), optional
        Not painted: what is found there counts neither as right nor as wrong.
    """

    boxes: Tensor
    labels: Tensor
    instances: Tensor
    ignore: Tensor | None = None

    def scaled(self, shape: Sequence[int]) -> Truth:
        """Return the truth of the image scaled to `shape` (Y, X)."""
        if tuple(shape) == tuple(self.instances.shape):
            return self
        down, right = (new / old for new, old in zip(shape, self.instances.shape, strict=True))
        return Truth(
            self.boxes * self.boxes.new_tensor([right, down, right, down]),
            self.labels,
            _nearest(self.instances, shape),
            None if self.ignore is None else _nearest(self.ignore, shape),
        )

    def to(self, device: torch.device | str) -> Truth:
        """Return the same on another device."""
        ignore = None if self.ignore is None else self.ignore.to(device)
        parts = (self.boxes, self.labels, self.instances)
        return replace(Truth(*(each.to(device) for each in parts)), ignore=ignore)


def _nearest(image: Tensor, shape: Sequence[int]) -> Tensor:
    whole = functional.interpolate(image[None, None].double(), size=list(shape), mode="nearest-exact")
    return whole[0, 0].to(image.dtype)


def truth_of(labels: Tensor, classes: Tensor, ignore: Tensor | None = None, is_aligned: bool = False) -> Truth:
    """Read the truth off a label image.

    Parameters
    ----------
    labels : integer Tensor (Y, X)
        0 is the background; objects have any numbers.
    classes : integer Tensor (largest label + 1,)
        Class of each label, from 1; what is at 0 does not count.
    ignore : boolean Tensor (Y, X), optional
    is_aligned : bool
        Boxes reach to the outer edges of an object's outer pixels. False: from its first to its last column and row,
        one pixel less, as in the data of the published model.
    """
    numbers, instances = labels.unique(return_inverse=True)
    if numbers[0] != 0:
        instances, numbers = instances + 1, torch.cat([numbers.new_zeros(1), numbers])
    y, x = instances.nonzero(as_tuple=True)
    owner, count = instances[y, x] - 1, len(numbers) - 1
    places = torch.stack([x, y], dim=1)
    owners = owner[:, None].expand(-1, 2)
    low = torch.zeros(count, 2, dtype=torch.long).scatter_reduce(0, owners, places, "amin", include_self=False)
    high = torch.zeros(count, 2, dtype=torch.long).scatter_reduce(0, owners, places, "amax", include_self=False)
    boxes = torch.cat([low, high + int(is_aligned)], dim=1).float()
    return Truth(boxes, classes[numbers[1:]], instances, ignore)


def mask_targets(
    boxes: Sequence[Tensor], objects: Sequence[Tensor], truths: Sequence[Truth], size: int, is_aligned: bool
) -> Tensor:
    """Read the true masks on a grid in each box.

    Parameters
    ----------
    boxes, objects : sequence of Tensor (P, 4), (P,)
        Of each image: the boxes, and the number of the object of each.
    truths : sequence of Truth
    size : int
        Rows and columns of the grid.

    Returns
    -------
    integer Tensor (all P, size, size)
        0 not painted, 1 outside, 2 inside the object.
    """
    grids = [_grid(*each, size, is_aligned) for each in zip(boxes, objects, truths, strict=True)]
    return torch.cat(grids)


def _grid(boxes: Tensor, objects: Tensor, truth: Truth, size: int, is_aligned: bool) -> Tensor:
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    at = boxes[:, :2, None] + (boxes[:, 2:] - boxes[:, :2])[..., None] * steps  # (P, 2, size)
    pixels = (at if is_aligned else at + 0.5).floor().long()
    height, width = truth.instances.shape
    x, y = pixels[:, 0].clamp(0, width - 1)[:, None], pixels[:, 1].clamp(0, height - 1)[:, :, None]
    target = 1 + (truth.instances[y, x] == objects[:, None, None] + 1).long()
    return target if truth.ignore is None else target.masked_fill(truth.ignore[y, x], 0)
