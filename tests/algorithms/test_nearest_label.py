"""Zeros take the number of the nearest pixel that has one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_tessera.algorithms.distance_transform import fill_from_nearest
from napari_tessera.core.jobs import run_job


def filled(numbers, spacing=None):
    numbers = np.array(numbers, np.int32)
    run_job(fill_from_nearest(numbers, spacing))
    return numbers


def test_zeros_take_the_nearest_number():
    assert filled([[1, 0, 0, 0, 0, 2]]).tolist() == [[1, 1, 1, 2, 2, 2]]


def test_nearest_is_measured_across_rows():
    assert filled([[0, 0, 0], [0, 0, 7], [3, 0, 0]]).tolist() == [[3, 7, 7], [3, 7, 7], [3, 3, 7]]


def test_spacing_makes_rows_far():
    assert filled([[0, 0, 5], [4, 0, 0]], spacing=(3, 1))[0].tolist() == [5, 5, 5]


def test_nothing_but_zeros_stays():
    assert not filled(np.zeros((3, 4))).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 50), (6, 20, 30)])
def test_number_is_that_of_a_pixel_at_the_exact_distance(shape):
    rng = np.random.default_rng(1)
    numbers = np.where(rng.random(shape) < 0.03, rng.integers(1, 9, shape), 0)
    numbers.flat[0] = 1
    found = filled(numbers)
    to_any = ndimage.distance_transform_edt(numbers == 0)
    for number in np.unique(numbers[numbers > 0]):
        to_this = ndimage.distance_transform_edt(numbers != number)
        np.testing.assert_allclose(to_this[found == number], to_any[found == number], rtol=1e-6)
