"""Thresholds on arrays small enough to draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import napari_tessera as tessera
from napari_tessera.core.errors import ParameterError
from napari_tessera.methods.threshold import LevelMethod

METHODS = LevelMethod.__args__
FINDS_ITS_LEVEL = [method for method in METHODS if method not in ("manual", "minimum")]

DRAWN = np.array(
    [
        [1, 1, 1, 1, 1],
        [1, 9, 9, 1, 5],
        [1, 9, 9, 1, 5],
        [1, 1, 1, 1, 1],
        [5, 5, 1, 1, 9],
    ],
    np.uint8,
)


def test_classes_are_numbered_from_dim_to_bright():
    labels = tessera.threshold(DRAWN, method="multi-otsu", classes=3)
    np.testing.assert_array_equal(labels, np.choose(DRAWN // 4, [0, 1, 2]))


def test_classes_of_dark_objects_are_numbered_from_dim_to_bright_too():
    labels = tessera.threshold(DRAWN, method="multi-otsu", classes=3, polarity="dark")
    np.testing.assert_array_equal(labels, np.choose(DRAWN // 4, [1, 2, 0]))


def test_fewer_values_than_classes_give_a_class_each():
    image = np.array([[1, 1, 9]], np.uint8)
    assert tessera.threshold(image, method="multi-otsu", classes=5).tolist() == [[0, 0, 1]]


def test_objects_are_numbered_in_raster_order_across_classes():
    labels = tessera.threshold(DRAWN, method="multi-otsu", output="objects")
    assert labels.tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 0, 2], [0, 1, 1, 0, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 4]]


def test_small_objects_are_dropped_and_the_rest_renumbered():
    labels = tessera.threshold(DRAWN[::-1], method="manual", low=5, output="objects", min_size=2)
    assert labels.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 2, 2, 0, 3], [0, 2, 2, 0, 3], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(("connectivity", "count"), [(1, 2), (2, 1)])
def test_connectivity_decides_whether_corners_join(connectivity, count):
    image = np.array([[9, 0], [0, 9]], np.uint8)
    assert tessera.threshold(image, output="objects", connectivity=connectivity).max() == count


def test_manual_limits_belong_to_the_objects():
    assert tessera.threshold(DRAWN, method="manual", low=5, high=5).sum() == (DRAWN == 5).sum()


def test_manual_without_low_has_no_lower_end():
    np.testing.assert_array_equal(tessera.threshold(DRAWN, method="manual", high=5), DRAWN <= 5)


def test_hysteresis_keeps_weak_pixels_that_touch_strong_ones():
    image = np.array([[5, 5, 9, 1, 5], [1, 1, 1, 1, 5]], np.uint8)
    labels = tessera.threshold(image, method="hysteresis", low=3, high=7)
    assert labels.tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_hysteresis_of_dark_objects_is_that_of_the_inverted_image():
    image = np.array([[5, 5, 1, 9, 5], [9, 9, 9, 9, 5]], np.uint8)
    labels = tessera.threshold(image, method="hysteresis", low=3, high=7, polarity="dark")
    assert labels.tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_hysteresis_finds_its_levels_by_three_class_otsu():
    np.testing.assert_array_equal(
        tessera.threshold(DRAWN, method="hysteresis"), tessera.threshold(DRAWN, method="hysteresis", low=1, high=5)
    )


def test_dark_objects_are_what_bright_ones_leave():
    bright, dark = (tessera.threshold(DRAWN, method="otsu", polarity=polarity) for polarity in ("bright", "dark"))
    np.testing.assert_array_equal(bright + dark, np.ones_like(DRAWN))


def test_a_channel_can_be_picked():
    image = np.stack([DRAWN * 0, DRAWN], axis=-1)
    picked = tessera.threshold(image, channel_axis=2, channel=1)
    np.testing.assert_array_equal(picked, tessera.threshold(DRAWN))


def test_smoothing_takes_away_a_lone_pixel():
    image = np.zeros((9, 9), np.uint8)
    image[1:5, 1:5], image[7, 7] = 200, 200
    assert tessera.threshold(image, output="objects").max() == 2
    assert tessera.threshold(image, output="objects", sigma=1).max() == 1


def test_smoothing_follows_the_spacing():
    image = np.zeros((9, 9, 9))
    image[4, 4, 4] = 1
    flat = tessera.threshold(image, sigma=1, spacing=(4, 1, 1), method="manual", low=1e-3)
    assert flat.any(axis=(1, 2)).sum() < flat.any(axis=(0, 1)).sum()


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"method": "manual"}, "low"),
        ({"method": "manual", "low": 5, "high": 4}, "low"),
        ({"method": "hysteresis", "low": 5, "high": 4}, "low"),
        ({"method": "sauvola", "r": 0}, "r"),
        ({"method": "minimum"}, "method"),
        ({"classes": 6}, "classes"),
        ({"channel": 2}, "channel"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, parameter):
    with pytest.raises(ParameterError) as caught:
        tessera.threshold(np.array([[1, 2, 2, 3, 3, 3]], np.uint8), **settings)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("method", [method for method in METHODS if method != "manual"])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
@pytest.mark.parametrize("image", [np.full((3, 4), 7, np.uint16), np.full((2, 3, 4), -0.1), np.zeros((1, 1), np.int64)])
def test_a_constant_image_is_all_background(method, polarity, image):
    assert not tessera.threshold(image, method=method, polarity=polarity).any()


@pytest.mark.parametrize("method", ["local-mean", "local-gaussian", "local-median", "niblack"])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_even_ground_away_from_objects_is_background(method, polarity):
    image = np.full((30, 30), 0.3)
    image[:3, :3] = 0.7
    assert not tessera.threshold(image, method=method, polarity=polarity, radius=2)[10:, 10:].any()


@pytest.mark.parametrize("method", FINDS_ITS_LEVEL)
@settings(deadline=None)
@given(
    image=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.float32, np.float64]),
        arrays.array_shapes(min_dims=2, max_dims=3, max_side=6),
        fill=st.nothing(),
    ).filter(lambda image: np.isfinite(image).all() and not 0 < np.ptp(image.astype(float)) < 1e-300)  # refused
)
def test_a_brighter_pixel_is_never_in_a_lower_class(method, image):
    labels = tessera.threshold(image, method=method, radius=2, channel_axis=None)
    if not method.startswith("local") and method not in ("sauvola", "niblack", "hysteresis"):
        order = np.argsort(image, axis=None)
        assert (np.diff(labels.reshape(-1)[order]) >= 0).all()
    assert labels.shape == image.shape
    assert labels.min() >= 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_values_over_the_whole_range_of_the_dtype_are_parted(dtype):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    image = np.array([[limits.min, limits.max, limits.min]], dtype)
    assert tessera.threshold(image).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_a_note_asks_for_the_polarity_if_the_background_is_found(method):
    rng = np.random.default_rng(0)
    image = rng.normal(200, 5, (60, 60))
    image[20:40, 20:40] -= 150
    assert "89 % of the image is bright" in tessera.segment(method, image).notes[0]
    assert not tessera.segment(method, image, polarity="dark").notes
    assert "is dark" in tessera.segment(method, 255 - image, polarity="dark").notes[0]
    assert tessera.segment(method, image, blocks=32).notes == tessera.segment(method, image).notes
