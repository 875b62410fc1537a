"""How much detections stand out from the ground around them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.nn.detections import Detections

COLOURS = 3
"""Channels whose mean is brightness; see `intensity.network_channels`."""
MASK_LEVEL = 0.5
"""Probability above which a point belongs to a mask that is judged; what is painted may go by another one."""
AROUND = 0.25
"""Share of the sides of a box by which it is grown on each side, for the ground around an object to be seen."""
GROUND = 0.25
"""Share of the points around an object that are darker than its ground: the others may be of objects beside it."""
AT_ONCE = 1024
"""Detections measured at a time, which bounds the memory."""


def contrasts(image: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    """Measure how much brighter N detections are than the ground around them.

    Parameters
    ----------
    image : float32 Tensor (C, Y, X)
        What `network_channels` makes of an image: background near 0 and bright objects near 1.
    boxes : Tensor (N, 4)
        x0, y0, x1, y1, in pixels of `image`.
    masks : Tensor (N, m, m)
        Probability that a point of the box belongs to the object; m is even.

    Returns
    -------
    float32 Tensor (N,)
        Mean brightness within the mask minus that of the ground, the lower quartile of the points outside it in the
        box and a little around it.
    """
    brightness = image[:COLOURS].mean(0)
    parts = zip(boxes.split(AT_ONCE), masks.split(AT_ONCE), strict=True)
    return torch.cat([_contrasts(brightness, *part) for part in parts])


def mask_areas(found: Detections) -> Tensor:
    """Return the area of each mask, at least that of one of its points: float64 (N,) px²."""
    is_inside = found.masks > MASK_LEVEL
    points = is_inside.sum(dim=(1, 2)).clamp(min=1).double()
    width, height = (found.boxes[:, 2:] - found.boxes[:, :2]).double().clamp(min=0).unbind(1)
    return (points / is_inside[0].numel() if len(points) else points) * width * height


def _contrasts(brightness: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    is_inside = functional.avg_pool2d(masks[:, None].float(), 2)[:, 0] > MASK_LEVEL
    around = round(AROUND * is_inside.shape[-1])
    is_inside = functional.pad(is_inside, (around,) * 4)
    values = _sampled(brightness, boxes, is_inside.shape[-1], around)
    inside = (values * is_inside).sum((1, 2)) / is_inside.sum((1, 2)).clamp(min=1)
    outside = values.masked_fill(is_inside, torch.inf).flatten(1).sort(1).values
    rank = ((~is_inside).sum((1, 2)) * GROUND).long()
    return inside - outside.gather(1, rank[:, None])[:, 0]


def _sampled(brightness: Tensor, boxes: Tensor, points: int, around: int) -> Tensor:
    """Take the nearest pixels on a grid over each box, grown by `around` points: (N, points, points)."""
    steps = (torch.arange(points) - around + 0.5) / (points - 2 * around)
    at = boxes[:, :2, None] + (boxes[:, 2:] - boxes[:, :2])[..., None] * steps  # (N, 2, points)
    x, y = at.floor().long().unbind(1)
    height, width = brightness.shape
    return brightness[y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None]]
