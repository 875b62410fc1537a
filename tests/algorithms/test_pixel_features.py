import numpy as np
import pytest

from napari_tessera.algorithms.pixel_features import framed_features
from napari_tessera.core import jobs
from napari_tessera.core.jobs import run_job


def features(channels, feature="texture", radius=8, spacing=None):
    framed = run_job(framed_features(channels, feature, 0, radius, spacing))
    return framed[(slice(1, -1),) * (framed.ndim - 1)]


def stripes(period_y, period_x):
    """Return waves with these periods along the axes, 40×40; 0 is none."""
    y, x = np.indices((40, 40))
    turns = (y / period_y if period_y else 0) + (x / period_x if period_x else 0)
    return np.sin(2 * np.pi * turns)


def noise_above(row):
    """Return noise above a row and nothing below it, 40×40."""
    return np.random.default_rng(0).normal(size=(40, 40)) * (np.arange(40) < row)[:, None]


Y, X, FALLING, RISING = range(4)


@pytest.mark.parametrize(("period", "strongest"), [((8, 0), Y), ((0, 8), X), ((8, 8), FALLING), ((8, -8), RISING)])
def test_the_strongest_energy_is_that_across_the_stripes(period, strongest):
    assert features([stripes(*period)])[20, 20, :4].argmax() == strongest


def test_fine_stripes_have_less_energy_at_the_coarse_scale_than_wide_ones():
    fine, coarse = X, 4 + X
    narrow, wide = features([np.hstack([stripes(0, 5), stripes(0, 20)])])[20, [20, 60]]
    assert narrow[fine] > wide[fine]
    assert narrow[coarse] < wide[coarse]


def test_pixels_on_a_border_have_the_texture_of_one_side():
    image = np.hstack([stripes(8, 0), stripes(0, 8)])
    row = features([image])[20, :, [Y, X]]
    share = (row[0] - row[0].min()) / np.ptp(row[0])
    assert share[:38].min() > 0.85
    assert share[42:].max() < 0.15


def test_an_even_image_has_no_texture():
    assert not features([np.full((9, 9), 7)]).any()


def test_both_has_the_mean_intensity_of_every_channel_before_the_texture():
    rng = np.random.default_rng(0)
    channels = list(rng.normal(size=(3, 20, 20)))
    assert features(channels, "texture").shape == (20, 20, 8)
    assert features(channels, "both").shape == (20, 20, 3 + 8)


def test_a_radius_of_up_to_four_pixels_has_one_scale():
    assert features([stripes(8, 0)], radius=4).shape[-1] == 4


def test_volumes_have_seven_directions():
    assert features([np.random.default_rng(0).normal(size=(4, 20, 20))]).shape == (4, 20, 20, 14)


def test_a_window_holds_fewer_pixels_along_an_axis_whose_pixels_are_longer():
    even = noise_above(20)
    reached = [np.count_nonzero(features([even], spacing=spacing)[20:, 20, X] > 0.01) for spacing in (None, (4.0, 1.0))]
    assert reached[0] > 2 * reached[1] > 0


@pytest.mark.parametrize("shape", [(50, 60), (12, 30, 20)])
def test_features_are_the_same_wherever_the_image_is_cut(shape, monkeypatch):
    image = np.random.default_rng(0).normal(size=shape)
    whole = features([image], "both")
    monkeypatch.setattr(jobs, "PIECE_PX", 700)
    np.testing.assert_array_equal(features([image], "both"), whole)
