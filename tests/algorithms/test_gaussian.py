"""Gaussian smoothing in bands."""

import numpy as np
import pytest
from scipy import ndimage

from napari_tessera.algorithms.gaussian import smoothed
from napari_tessera.core import jobs as bands
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.rescale import scale_of


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (30, 40), (4, 9, 11), (3, 1, 8)])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 5.0])
def test_smoothing_is_a_gaussian_continued_by_edge_pixels(shape, sigma):
    image = np.random.default_rng(0).random(shape)
    expected = ndimage.gaussian_filter(image, sigma, mode="nearest")
    np.testing.assert_allclose(run_job(smoothed(image, sigma)), expected, atol=2e-6)


def test_sigma_is_in_pixels_along_x():
    image = np.random.default_rng(0).random((6, 20, 20))
    expected = ndimage.gaussian_filter(image, (0.5, 1, 1), mode="nearest")
    np.testing.assert_allclose(run_job(smoothed(image, 1.0, spacing=(2.0, 1.0, 1.0))), expected, atol=2e-6)


def test_result_does_not_depend_on_how_the_image_is_cut(monkeypatch):
    image = np.random.default_rng(0).random((50, 300))
    whole = run_job(smoothed(image, 2.0))
    monkeypatch.setattr(bands, "PIECE_PX", 500)
    np.testing.assert_array_equal(run_job(smoothed(image, 2.0)), whole)


def test_sigma_0_keeps_the_values():
    image = np.array([[3, 200], [7, 0]], np.uint8)
    np.testing.assert_array_equal(run_job(smoothed(image, 0)), image)


def test_image_is_not_changed():
    image = np.array([[0.0, 9.0, 0.0]], np.float32)
    run_job(smoothed(image, 1.0))
    np.testing.assert_array_equal(image, [[0, 9, 0]])


def test_small_contrast_on_a_large_offset_survives():
    image = np.array([[10**12, 10**12 + 1]], np.int64)
    values = run_job(smoothed(image, 0, scale=scale_of(image.min().item(), image.max().item())))
    assert values[0, 1] - values[0, 0] == 2


def test_whole_range_of_float64_does_not_overflow():
    image = np.array([[-1.7e308, 1.7e308]])
    assert np.isfinite(run_job(smoothed(image, 1.0, scale=scale_of(image.min().item(), image.max().item())))).all()


def test_values_that_float32_cannot_hold_are_refused():
    with pytest.raises(InputError, match=r"up to 1e\+184 in size.*Divide it by a constant"):
        run_job(smoothed(np.array([[0.0, -1e184]]), 1.0))
