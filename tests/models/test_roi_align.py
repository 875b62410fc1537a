"""RoIAlign: equal to its definition, computed directly in float64; levels chosen by the size of the box."""

import pytest
import torch

from napari_tessera.models.mask_rcnn.roi_align import (
    Pooling,
    _weighted_rows_by_term,
    assign_levels,
    roi_align,
    weighted_rows,
)


def bilinear(plane, y, x):
    """Read one plane at one point: 0 more than a pixel outside, the nearest edge's value up to there."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[top, left] * (1 - (x - left)) + plane[top, right] * (x - left)
    lower = plane[bottom, left] * (1 - (x - left)) + plane[bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def by_definition(plane, box, stride, pooling):
    """Average `sampling`² points of each bin, one by one."""
    x0, y0, x1, y1 = (float(each) / stride for each in box)
    width, height = x1 - x0, y1 - y0
    if not pooling.is_aligned:
        width, height = max(width, 1), max(height, 1)
    shift = 0.5 if pooling.is_aligned else 0
    bins = torch.zeros(pooling.size, pooling.size, dtype=torch.float64)
    points = pooling.size * pooling.sampling
    for row in range(points):
        for column in range(points):
            y, x = y0 + (row + 0.5) * height / points - shift, x0 + (column + 0.5) * width / points - shift
            bins[row // pooling.sampling, column // pooling.sampling] += float(bilinear(plane, y, x))
    return bins / pooling.sampling**2


BOXES = torch.tensor(
    [
        [3.3, 5.1, 40.7, 22.9],
        [0.0, 0.0, 64.0, 48.0],
        [10.2, 10.2, 10.9, 10.4],  # smaller than a feature pixel
        [-9.0, -7.0, 12.0, 9.0],  # over the border
        [55.0, 30.0, 90.0, 80.0],
    ]
)


@pytest.mark.parametrize("is_aligned", [False, True])
@pytest.mark.parametrize(("size", "sampling"), [(7, 2), (3, 1), (4, 3)])
def test_equals_the_definition(size, sampling, is_aligned):
    torch.manual_seed(0)
    features, pooling = torch.randn(1, 2, 12, 16), Pooling(size, sampling, is_aligned=is_aligned)
    found = roi_align([features], [BOXES], [4], pooling)
    for box, bins in zip(BOXES, found, strict=True):
        for plane, values in zip(features[0].double(), bins, strict=True):
            torch.testing.assert_close(values.double(), by_definition(plane, box, 4, pooling), atol=1e-5, rtol=0)


def test_a_ramp_is_read_at_the_centres_of_the_bins():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    found = roi_align([ramp], [torch.tensor([[2.0, 2, 10, 10]])], [1], Pooling(4))
    assert found[0, 0, 0].tolist() == [3, 5, 7, 9]


def test_boxes_of_each_image_are_read_from_that_image():
    features = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    box = torch.tensor([[1.0, 1, 5, 5]])
    found = roi_align([features], [box, box.repeat(2, 1)], [1], Pooling(1))
    assert found.flatten().tolist() == [1, 2, 2]


def test_a_larger_box_is_read_from_a_higher_level():
    sides = torch.tensor([10.0, 111, 112, 223, 224, 447, 448, 5000])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert assign_levels(boxes, 4, Pooling(7)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_each_box_is_read_at_the_stride_of_its_level():
    torch.manual_seed(0)
    levels = [torch.randn(1, 1, 64 // 2**level, 96 // 2**level) for level in range(4)]
    boxes = torch.tensor([[8.0, 8, 40, 30], [3, 5, 200, 190], [0, 0, 380, 250]])
    found = roi_align(levels, [boxes], [4, 8, 16, 32], Pooling(3))
    for box, bins, level in zip(boxes, found, [0, 1, 2], strict=True):
        wanted = by_definition(levels[level][0, 0].double(), box, 4 * 2**level, Pooling(3))
        torch.testing.assert_close(bins[0].double(), wanted, atol=1e-5, rtol=0)


def test_gradient_is_the_slope():
    torch.manual_seed(0)
    levels = [torch.randn(2, 2, side, side, dtype=torch.float64, requires_grad=True) for side in (8, 4)]
    boxes = [torch.tensor([[3.0, 2, 20, 25], [0, 0, 200, 150]]), torch.tensor([[1.0, 1, 9, 6]])]

    def pooled(*levels):
        return roi_align(levels, boxes, [4, 8], Pooling(2, canonical_px=60, canonical_level=1))

    assert torch.autograd.gradcheck(pooled, levels)


def test_no_box_gives_no_features():
    assert roi_align([torch.zeros(1, 3, 8, 8)], [torch.zeros(0, 4)], [4], Pooling(7)).shape == (0, 3, 7, 7)


def test_plain_indexing_sums_the_same_rows():
    torch.manual_seed(0)
    table, index, weight = torch.randn(9, 4), torch.randint(9, (6, 5)), torch.rand(6, 5)
    torch.testing.assert_close(_weighted_rows_by_term(table, index, weight), weighted_rows(table, index, weight))
