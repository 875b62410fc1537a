"""Masks back in the image: from m×m probabilities within a box to pixels, and from overlapping masks to labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

PIXELS_AT_ONCE = 1 << 22
"""Pixels of windows that are worked on at a time, which bounds the memory."""


def paste_masks(masks: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Draw each mask (N, m, m) into an image of its own: probabilities (N, Y, X), 0 outside the box.

    The mask, with a rim of zeros, is stretched over the whole pixels that its box touches, interpolated linearly.
    """
    windows = Windows.of(masks, boxes, is_aligned=False)
    rows = torch.arange(shape[0], device=boxes.device).expand(len(boxes), -1)
    columns = torch.arange(shape[1], device=boxes.device).expand(len(boxes), -1)
    return windows.read(masks, rows, columns)


@dataclass(frozen=True)
class Painted:
    """Overlapping masks made into one label image."""

    labels: Tensor  # int64 (Y, X): 0 is the background, n + 1 the mask number n
    claimed_px: Tensor  # (N,), pixels of each mask within the image,
    lost_px: Tensor  # (N,), and how many of them went to a mask of higher score


def paint_labels(
    masks: Tensor, boxes: Tensor, shape: Sequence[int], level: float = 0.5, is_aligned: bool = False
) -> Painted:
    """Give each pixel to the first of the masks (N, m, m) that hold it with a probability above `level`.

    Aligned masks are stretched over their boxes to a fraction of a pixel, others over whole pixels as by `paste_masks`.
    """
    windows, count = Windows.of(masks, boxes, is_aligned), len(boxes)
    first = torch.full((shape[0] * shape[1],), count, device=boxes.device)
    claimed = torch.zeros(count, dtype=torch.long, device=boxes.device)
    for numbers, pixels in _claims(masks, windows, shape, level):
        first.scatter_reduce_(0, pixels, numbers, "amin")
        claimed += numbers.bincount(minlength=count)
    won = first.bincount(minlength=count + 1)[:count]
    labels = torch.where(first < count, first + 1, 0).reshape(*shape)
    return Painted(labels, claimed, claimed - won)


def _claims(masks: Tensor, windows: Windows, shape: Sequence[int], level: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs (number of the mask, flat index of the pixel), in parts: windows of like size together."""
    last = torch.tensor(shape, device=masks.device) - 1
    low = windows.starts.floor().long().clamp(min=0)
    high = torch.minimum((windows.starts + windows.sizes).ceil().long() - 1, last)
    sides = (high - low + 1).amax(dim=1).clamp(min=0)
    for part in _parts(sides):
        steps = torch.arange(int(sides[part].max()), device=masks.device)
        rows, columns = low[part, :1] + steps, low[part, 1:] + steps
        is_inside = (rows <= high[part, :1])[:, :, None] & (columns <= high[part, 1:])[:, None]
        chances = windows.read(masks, rows, columns, part)
        which, down, right = ((chances > level) & is_inside).nonzero(as_tuple=True)
        yield part[which], rows[which, down] * shape[1] + columns[which, right]


def _parts(sides: Tensor) -> list[Tensor]:
    """Cut the order from small to large windows into parts with a bounded number of pixels each."""
    order = sides.argsort()
    parts, start, ascending = [], 0, sides[order].tolist()
    for stop in range(1, len(ascending) + 1):
        if stop == len(ascending) or (stop + 1 - start) * ascending[stop] ** 2 > PIXELS_AT_ONCE:
            parts.append(order[start:stop])
            start = stop
    return parts


@dataclass(frozen=True)
class Windows:
    """Where each of N masks, with a rim of zeros around it, lies in the image, px."""

    starts: Tensor  # (N, 2), first row and column
    sizes: Tensor  # (N, 2), rows and columns

    @staticmethod
    def of(masks: Tensor, boxes: Tensor, is_aligned: bool) -> Windows:
        """Find the windows of masks (N, m, m) in their boxes: to a fraction of a pixel, or whole pixels."""
        growth = (masks.shape[-1] + 2) / max(1, masks.shape[-1])
        centres = 0.5 * (boxes[:, 2:] + boxes[:, :2]).flip(1)
        half = 0.5 * (boxes[:, 2:] - boxes[:, :2]).flip(1) * growth
        if is_aligned:
            return Windows(centres - half, (2 * half).clamp(min=1e-3))
        low, high = (centres - half).trunc(), (centres + half).trunc()
        return Windows(low, (high - low + 1).clamp(min=1))

    def read(self, masks: Tensor, rows: Tensor, columns: Tensor, part: Tensor | slice = slice(None)) -> Tensor:
        """Interpolate masks at rows (n, R) and columns (n, C) of the image: (n, R, C)."""
        padded = functional.pad(masks[part], (1, 1, 1, 1))
        starts, sizes = self.starts[part], self.sizes[part]
        down = _weights(rows - starts[:, :1], sizes[:, :1], padded.shape[-1])
        right = _weights(columns - starts[:, 1:], sizes[:, 1:], padded.shape[-1])
        return down.to(masks.dtype) @ padded @ right.to(masks.dtype).transpose(1, 2)


def _weights(pixels: Tensor, sizes: Tensor, count: int) -> Tensor:
    """Return how much each of `count` mask values counts at each pixel of a window: (N, P) to (N, P, count)."""
    is_inside = (pixels > -1) & (pixels < sizes)
    at = ((pixels + 0.5) * (count / sizes) - 0.5).clamp(0, count - 1)
    distance = (at[..., None] - torch.arange(count, device=pixels.device)).abs()
    return (1 - distance).clamp(min=0) * is_inside[..., None]
