"""Distance to the background."""

import numpy as np
import pytest
from scipy import ndimage

from napari_tessera.algorithms.distance_transform import distance_to_background
from napari_tessera.core.jobs import run_job


def test_distance_of_a_square_is_counted_from_the_nearest_background_pixel():
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    expected = [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(run_job(distance_to_background(mask)), expected)


@pytest.mark.parametrize("density", [0.4, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (40, 33), (7, 12, 15)])
@pytest.mark.parametrize("is_spaced", [False, True])
def test_distance_is_that_of_scipy(shape, density, is_spaced):
    mask = np.random.default_rng(0).random(shape) < density
    mask.flat[0] = False
    spacing = (3.0, 0.5, 1.5)[-mask.ndim :] if is_spaced else (1.0,) * mask.ndim
    expected = ndimage.distance_transform_edt(mask, np.array(spacing) / spacing[-1])
    np.testing.assert_allclose(run_job(distance_to_background(mask, spacing)), expected, rtol=1e-5, atol=1e-4)


def test_edge_of_the_image_is_not_background():
    np.testing.assert_array_equal(run_job(distance_to_background(np.array([[False, True, True]]))), [[0, 1, 2]])


def test_edge_counts_where_there_is_no_background():
    np.testing.assert_array_equal(
        run_job(distance_to_background(np.ones((3, 3), bool))), [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    )


def test_empty_mask_has_distance_0():
    assert not run_job(distance_to_background(np.zeros((2, 3), bool))).any()


def test_one_background_pixel_in_a_corner_is_seen_from_everywhere():
    mask = np.ones((200, 300), bool)
    mask[0, 0] = False
    assert run_job(distance_to_background(mask))[199, 299] == pytest.approx(np.hypot(199, 299))


@pytest.mark.parametrize("shape", [(1, 30), (40, 33), (7, 12, 15)])
def test_distance_in_labels_is_to_the_nearest_pixel_of_another_one(shape):
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.int32)
    expected = sum(ndimage.distance_transform_edt(labels == number) for number in (1, 2))
    np.testing.assert_allclose(run_job(distance_to_background(labels)), expected, rtol=1e-5)
