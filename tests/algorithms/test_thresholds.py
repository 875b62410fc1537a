"""Levels agree with scikit-image's, rule by rule."""

import numpy as np
import pytest
from skimage import data, filters

import napari_tessera as tessera
from napari_tessera.algorithms.histogram import Histogram, measure
from napari_tessera.algorithms.kmeans import best_breaks
from napari_tessera.algorithms.thresholds import RULES, otsu_levels
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import run_job

COINS = data.coins()[::4, ::4]
CELL = data.cell()[::8, ::8]
WINDOW, RADIUS = 15, 7
INSIDE = (slice(RADIUS + 1, -RADIUS - 1),) * 2


def find_level(image, rule):
    return RULES[rule](run_job(measure(image)).histogram)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("image", [COINS, CELL, COINS.astype(np.int16) - 100], ids=["coins", "cell", "signed"])
def test_level_of_integers_is_that_of_scikit_image(rule, image):
    assert find_level(image, rule) == pytest.approx(float(getattr(filters, f"threshold_{rule}")(image)), rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_level_of_floats_is_within_a_bin_of_scikit_image(rule):
    image = COINS / 255 + np.random.default_rng(0).normal(0, 0.02, COINS.shape)
    assert abs(find_level(image, rule) - getattr(filters, f"threshold_{rule}")(image)) <= np.ptp(image) / 256


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_multi_otsu_levels_are_those_of_scikit_image(classes):
    histogram = run_job(measure(COINS)).histogram
    assert otsu_levels(histogram, classes) == filters.threshold_multiotsu(COINS, classes).tolist()


def test_multi_otsu_with_two_classes_is_otsu():
    assert otsu_levels(run_job(measure(CELL)).histogram, 2) == [find_level(CELL, "otsu")]


def test_best_breaks_are_the_best_of_all():
    values, counts = np.array([1.0, 2, 4, 7, 11, 12]), np.array([3, 1, 4, 1, 5, 9])

    def explained(*cuts):
        parts = np.split(np.arange(6), np.array(cuts) + 1)
        return sum((values[part] @ counts[part]) ** 2 / counts[part].sum() for part in parts)

    best = max(((a, b) for a in range(4) for b in range(a + 1, 5)), key=lambda cuts: explained(*cuts))
    assert tuple(best_breaks(counts, values, 3)) == best


def test_minimum_says_what_to_use_instead():
    with pytest.raises(ParameterError, match=r"Use .*otsu"):
        find_level(np.array([1, 2, 2, 3, 3, 3], np.uint8).reshape(2, 3), "minimum")


def test_folding_keeps_all_pixels():
    folded = Histogram(np.array([1, 2, 3, 4, 5]), 10.0, 1.0, True).folded(2)
    assert folded.counts.tolist() == [6, 9]
    assert [folded.value_at(0), folded.value_at(1)] == [11.0, 14.0]


@pytest.mark.parametrize("offset", [0, 5])
def test_local_gaussian_is_that_of_scikit_image(offset):
    expected = filters.threshold_local(COINS, WINDOW, "gaussian", offset=-offset) < COINS
    np.testing.assert_array_equal(
        tessera.threshold(COINS, method="local-gaussian", radius=RADIUS, offset=offset), expected
    )


def test_local_median_is_that_of_scikit_image():
    expected = filters.threshold_local(COINS, WINDOW, "median") < COINS
    np.testing.assert_array_equal(tessera.threshold(COINS, method="local-median", radius=RADIUS), expected)


def test_local_mean_is_that_of_scikit_image_but_for_rounding():
    level = filters.threshold_local(COINS, WINDOW, "mean")
    is_clear = np.abs(level - COINS) > 1e-6
    labels = tessera.threshold(COINS, method="local-mean", radius=RADIUS)
    np.testing.assert_array_equal(labels[is_clear], (level < COINS)[is_clear])


def test_niblack_inside_the_image_is_that_of_scikit_image():
    expected = filters.threshold_niblack(COINS, WINDOW, 0.2) > COINS
    labels = tessera.threshold(COINS, method="niblack", radius=RADIUS, polarity="dark")
    np.testing.assert_array_equal(labels[INSIDE], expected[INSIDE])


@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_sauvola_inside_the_image_is_that_of_scikit_image(polarity):
    low, high = int(COINS.min()), int(COINS.max())
    image = COINS if polarity == "dark" else (low + high - COINS).astype(np.uint8)
    expected = image < filters.threshold_sauvola(image, WINDOW, 0.2, r=(high - low) / 2)
    labels = tessera.threshold(COINS, method="sauvola", radius=RADIUS, polarity=polarity)
    np.testing.assert_array_equal(labels[INSIDE], expected[INSIDE])


def test_hysteresis_is_that_of_scikit_image():
    expected = filters.apply_hysteresis_threshold(COINS, 90, 150)
    np.testing.assert_array_equal(tessera.threshold(COINS, method="hysteresis", low=90, high=150), expected)
