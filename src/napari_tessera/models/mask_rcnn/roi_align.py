"""RoIAlign: read the features inside each box on a grid of fixed size, without rounding its coordinates.

Every value of the grid is a weighted sum of a few rows of a table that holds the features of all levels and images,
one row per pixel. So one pass of `embedding_bag`, which sums weighted rows without storing them first, reads all boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Pooling:
    """How features are read from boxes.

    Aligned, the centre of feature pixel 0 lies half a feature pixel inside the image. Otherwise it lies on the image's
    border, and a box is taken as at least one feature pixel wide and high, as the published weights expect.
    """

    size: int  # rows and columns of the grid, `size` × `size` bins
    sampling: int = 2  # points along each side of a bin, whose mean is the bin's value
    canonical_px: float = 224  # side of a box that is read from the canonical level; twice as large, one level higher
    canonical_level: int = 2  # counted from the finest level, 0
    is_aligned: bool = False


def roi_align(
    features: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[float], pooling: Pooling
) -> Tensor:
    """Read the features inside boxes, each from the level of the pyramid that fits its size: (all N, C, size, size).

    Differentiable with respect to the features, not to the boxes (He et al. 2017, doi:10.1109/ICCV.2017.322, section
    3).

    Parameters
    ----------
    features : sequence of Tensor (B, C, Y, X)
        One per level, finest first. Half precision is computed in float32.
    boxes : sequence of B Tensors (N, 4)
        In pixels of the image.
    strides : sequence of float
        Image pixels per feature pixel, one per level.
    pooling : Pooling

    Examples
    --------
    >>> import torch
    >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    >>> roi_align([ramp], [torch.tensor([[1.0, 1, 5, 5]])], [1], Pooling(2))[0, 0]
    tensor([[2., 4.], [2., 4.]])
    """
    together, places = torch.cat(list(boxes)), _Places.of(features, boxes, strides, pooling)
    rows, row_weights = _samples(together[:, 1], together[:, 3], places.heights, places.strides, pooling)
    columns, column_weights = _samples(together[:, 0], together[:, 2], places.widths, places.strides, pooling)
    rows = places.first[:, None, None] + rows * places.widths[:, None, None]  # (N, size, 2·sampling)
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]  # (N, size, size, 2·sampling, 2·sampling)
    weight = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    terms = index.shape[-1] ** 2
    table = _table(features)  # (pixels, C)
    pooled = weighted_rows(table, index.reshape(-1, terms), weight.reshape(-1, terms).to(table.dtype))
    return pooled.reshape(len(together), pooling.size, pooling.size, table.shape[1]).permute(0, 3, 1, 2)


def assign_levels(boxes: Tensor, count: int, pooling: Pooling) -> Tensor:
    """Choose the level of the pyramid, 0…count − 1, from which each box is read: (N, 4) to (N,).

    Lin et al. 2017, doi:10.1109/CVPR.2017.106, equation 1.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    octaves = (sides.prod(dim=1).sqrt() / pooling.canonical_px).log2()
    # A box of exactly the canonical size must not fall below its level by rounding.
    return (pooling.canonical_level + octaves + 1e-6).floor().clamp(0, count - 1).long()


@dataclass(frozen=True)
class _Places:
    """Where each of N boxes reads: rows, columns and stride of its level, and the table's row of its first pixel."""

    heights: Tensor
    widths: Tensor
    strides: Tensor
    first: Tensor

    @staticmethod
    def of(features: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[float], pooling: Pooling) -> _Places:
        together = torch.cat(list(boxes))
        levels = assign_levels(together, len(features), pooling)
        sizes = torch.tensor([each.shape[-2:] for each in features], device=together.device)
        pixels = torch.tensor([each.shape[0] * each.shape[-2] * each.shape[-1] for each in features])
        starts = (pixels.cumsum(0) - pixels).to(together.device)
        counts = torch.tensor([len(each) for each in boxes], device=together.device)
        images = torch.arange(len(boxes), device=together.device).repeat_interleave(counts)
        heights, widths = sizes[levels].unbind(dim=1)
        first = starts[levels] + images * heights * widths
        return _Places(heights, widths, together.new_tensor(strides)[levels], first)


def _samples(low: Tensor, high: Tensor, sides: Tensor, strides: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """Return which pixels along one axis each bin reads, and their weights: both (N, size, 2·sampling).

    Between two pixels the feature runs linearly; beyond the outer pixels' centres it stays what it is there, and more
    than one pixel outside it is 0.
    """
    precise = torch.float32 if low.device.type == "mps" else torch.float64
    low, high, strides = low.to(precise), high.to(precise), strides.to(precise)
    points = pooling.size * pooling.sampling
    steps = (torch.arange(points, device=low.device, dtype=precise) + 0.5) / points
    length = (high - low) / strides
    if not pooling.is_aligned:
        length = length.clamp(min=1)
    at = (low / strides)[:, None] + length[:, None] * steps - 0.5 * pooling.is_aligned  # (N, size·sampling)
    last = sides[:, None] - 1
    is_inside = (at >= -1) & (at <= sides[:, None])
    at = torch.minimum(at.clamp(min=0), last)
    before = at.floor().long()
    after = torch.minimum(before + 1, last)
    share = at - before
    weights = torch.stack([1 - share, share], dim=-1) * is_inside[..., None] / pooling.sampling
    pixels = torch.stack([before, after], dim=-1)
    shape = (len(low), pooling.size, 2 * pooling.sampling)
    return pixels.reshape(shape), weights.reshape(shape)


def _table(features: Sequence[Tensor]) -> Tensor:
    """Lay the pixels of all levels and images below each other: (pixels, C), at least in float32."""
    rows = [each.permute(0, 2, 3, 1).reshape(-1, each.shape[1]) for each in features]
    return torch.cat([each if each.dtype == torch.float64 else each.float() for each in rows])


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sum weighted rows of a table (P, C): Σ_k weight[m, k]·table[index[m, k]], (M, C)."""
    if table.device.type == "mps":
        return _weighted_rows_by_term(table, index, weight)
    return functional.embedding_bag(index, table, per_sample_weights=weight, mode="sum")


def _weighted_rows_by_term(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Do the same with plain indexing, for devices where `embedding_bag` is missing or slow."""
    total = table[index[:, 0]] * weight[:, :1]
    for term in range(1, index.shape[1]):
        total = total + table[index[:, term]] * weight[:, term, None]
    return total
