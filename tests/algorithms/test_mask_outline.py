"""The outline of a mask, as lines along the borders of its pixels."""

import numpy as np
import pytest

from napari_tessera.algorithms.mask_outline import outline_lines


def lengths(lines):
    return np.abs(lines[:, 1] - lines[:, 0]).sum(axis=1)


def test_a_rectangle_has_four_lines():
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:5] = True
    assert sorted(outline_lines(mask).tolist()) == [
        [[0.5, 1.5], [0.5, 4.5]],
        [[0.5, 1.5], [3.5, 1.5]],
        [[0.5, 4.5], [3.5, 4.5]],
        [[3.5, 1.5], [3.5, 4.5]],
    ]


def test_a_hole_has_an_outline_too():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert lengths(outline_lines(mask)).sum() == 12 + 4


def test_the_length_is_the_number_of_borders_between_pixels():
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    padded = np.pad(mask, 1)
    borders = sum(int((np.diff(padded.astype(int), axis=axis) != 0).sum()) for axis in range(2))
    assert lengths(outline_lines(mask)).sum() == borders


@pytest.mark.parametrize("shape", [(0, 0), (4, 5)])
def test_an_empty_mask_has_none(shape):
    assert outline_lines(np.zeros(shape, bool)).shape == (0, 2, 2)
