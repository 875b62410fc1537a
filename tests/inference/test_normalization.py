"""What a network sees of an image."""

from functools import reduce
from operator import add

import numpy as np
import pytest

from napari_tessera.inference.normalization import (
    Levels,
    levels_between,
    measure_levels,
    network_channels,
    normalisation,
    with_polarity,
)
from napari_tessera.methods._network_blocks import counted, rounds, values_of


def levels_in_pieces(image, windows):
    """The levels as a run in blocks measures them."""
    found = None
    for _ in range(rounds(image)):
        found = reduce(add, [counted(np.ascontiguousarray(image[window]), found) for window in windows])
    return levels_between(values_of(found))


def test_dark_objects_on_a_bright_background_are_turned():
    image = np.full((20, 20), 200, dtype=np.uint8)
    image[5:8, 5:8] = 30
    levels = measure_levels(image)
    assert levels.inverted
    channels = network_channels(image, levels)
    assert channels[0, 6, 6] == pytest.approx(1)
    assert channels[0, 0, 0] == pytest.approx(0)


def test_bright_objects_stay_bright_and_grey_fills_all_colours():
    image = np.full((20, 20), 10, dtype=np.uint16)
    image[5:8, 5:8] = 4000
    channels = network_channels(image, measure_levels(image))
    assert channels.shape == (5, 20, 20)
    assert channels[:, 6, 6] == pytest.approx([1, 1, 1, 1, 0])


def test_dim_objects_stand_out_in_the_compressed_channel():
    channels = network_channels(np.array([[0.0, 0.1, 1.0]], dtype=np.float32), Levels(0, 1))
    assert channels[0, 0].tolist() == pytest.approx([0, 0.1, 1])
    assert channels[3, 0, 1] > 0.35


def test_a_constant_image_has_finite_channels():
    image = np.full((6, 6), 7, dtype=np.uint8)
    assert np.isfinite(network_channels(image, measure_levels(image))).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_types_that_models_were_trained_on_are_scaled_in_float32(dtype):
    image = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(dtype)
    levels = measure_levels(image)
    low, middle, high = np.percentile(image, [0.5, 50, 99.8]).tolist()
    expected = (image.astype(np.float32) - low) / np.float32(high - low)
    assert (levels.low, levels.high, levels.inverted) == (low, high, middle - low > 0.4 * (high - low))
    np.testing.assert_array_equal(
        network_channels(image, Levels(low, high))[0], np.clip(expected, -0.5, 2).astype(np.float32)
    )


def sparse_field(dtype=np.float64, background=50.0, noise=3.0, height=60.0, kind="normal"):
    """A field with one object, 14 pixels wide, that fills 0.03 % of it."""
    rng = np.random.default_rng(0)
    field = rng.normal(background, noise, (800, 800)) if kind == "normal" else np.full((800, 800), background)
    field[300:314, 400:414] += height
    return field.astype(dtype)


@pytest.mark.parametrize("kind", ["normal", "constant"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int64])
def test_an_object_that_fills_less_than_a_white_percentile_is_bright(dtype, kind):
    image = sparse_field(dtype, kind=kind)
    levels = measure_levels(image)
    assert not levels.inverted
    assert 100 < levels.high < 120
    channels = network_channels(image, levels)
    assert channels[0, 306, 406] == pytest.approx(1, abs=0.15)
    assert abs(np.median(channels[0])) < 0.2


@pytest.mark.parametrize("height", [-40.0, 40.0])
def test_a_sparse_object_says_whether_objects_are_dark(height):
    image = sparse_field(height=height, noise=2.0)
    levels = measure_levels(image)
    assert levels.inverted == (height < 0)
    assert network_channels(image, levels)[0, 306, 406] == pytest.approx(1, abs=0.2)


def test_noise_alone_and_dust_on_a_full_image_leave_the_usual_percentiles():
    rng = np.random.default_rng(0)
    noise = rng.normal(50, 3, (800, 800))
    full = np.where(rng.random((100, 100)).repeat(8, 0).repeat(8, 1) < 0.1, 200.0, noise)
    full[rng.random(full.shape) < 1e-4] = 5000
    for image in (noise, full):
        levels = measure_levels(image)
        assert (levels.low, levels.high) == tuple(np.percentile(image, [0.5, 99.8]))


def test_a_channel_with_sparse_objects_has_a_white_of_its_own():
    image = np.stack([sparse_field(), sparse_field(height=0)], axis=-1)
    levels = measure_levels(image, "channels")
    assert levels.high[0] > 100
    assert levels.high[1] == np.percentile(image[..., 1], 99.8)


@pytest.mark.parametrize("kind", ["normal", "constant"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_sparse_objects_are_seen_piece_by_piece_as_in_the_whole(dtype, kind):
    image = sparse_field(dtype, kind=kind)
    halves = [(slice(0, 400), slice(None)), (slice(400, 800), slice(None))]
    ours, whole = levels_in_pieces(image, halves), measure_levels(image)
    assert (ours.low, ours.high) == pytest.approx((whole.low, whole.high), rel=2e-3)
    assert ours.inverted == whole.inverted


GREY_ONLY = {"normalisation": normalisation("colours", 5, knows_bright_colours=False)}


def test_a_model_of_grey_images_sees_the_brightest_colour_of_bright_objects():
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[5:9, 5:9] = (0, 20, 200)
    channels = network_channels(blue, with_polarity(measure_levels(blue), "auto", GREY_ONLY))
    assert channels[:, 6, 6].tolist() == pytest.approx([1, 1, 1, 1, 0])
    as_it_is = network_channels(blue, with_polarity(measure_levels(blue), "auto", {}))
    assert as_it_is[:3, 6, 6].tolist() == pytest.approx([0, 0.1, 1])


def test_dark_objects_keep_their_colours():
    stained = np.full((20, 20, 3), 220, np.uint8)
    stained[5:9, 5:9] = (120, 40, 160)
    levels = measure_levels(stained)
    assert levels.inverted
    assert with_polarity(levels, "auto", GREY_ONLY) == levels
    assert with_polarity(levels, "bright", GREY_ONLY).shows_brightest


def test_channels_of_their_own_are_never_put_together():
    levels = measure_levels(np.zeros((4, 4, 3), np.uint8), "channels")
    assert with_polarity(levels, "dark", GREY_ONLY) is levels


def crowded_field(rng, thing=0.0, share=0.003, count=1):
    """Discs of brightness 100 on noise that fill a fifth of the field, and `count` things that fill `share` of it."""
    y, x = np.mgrid[:400, :400]
    image = rng.normal(20, 3, y.shape)
    for top in range(20, 400, 40):
        for left in range(20, 400, 40):
            image += 100 * (np.hypot(y - top, x - left) < 10)
    radius = np.sqrt(share * y.size / np.pi / count)
    for number in range(count):
        image += thing * (np.hypot(y - 80 - 90 * number, x - 60 - 90 * number) < radius)
    return image


@pytest.mark.parametrize("times", [5, 10, 20, 100])
@pytest.mark.parametrize(("share", "count"), [(0.003, 1), (0.003, 3), (0.01, 1)])
def test_things_far_brighter_than_the_objects_are_left_out_of_the_levels(times, share, count):
    rng = np.random.default_rng(0)
    usual = measure_levels(crowded_field(rng))
    levels = measure_levels(crowded_field(rng, 100.0 * times, share, count))
    assert levels.high == pytest.approx(usual.high, rel=0.1)
    assert levels.bright.times == pytest.approx(times, rel=0.25)
    assert levels.bright.percent == pytest.approx(100 * share, rel=0.7)
    assert usual.bright is None


def test_objects_that_are_bright_by_degrees_stay_in_the_levels():
    rng = np.random.default_rng(0)
    image = rng.normal(20, 1, (300, 300))
    for number, brightness in enumerate(np.geomspace(20, 400, 36)):
        top, left = 45 * (number // 6) + 10, 45 * (number % 6) + 10
        image[top : top + 20, left : left + 20] += brightness
    assert measure_levels(image).bright is None
    assert measure_levels(image).high > 350


def test_a_few_far_darker_pixels_are_left_out_too():
    image = crowded_field(np.random.default_rng(0))
    usual = measure_levels(image)
    image[:, :3] = -1024
    assert measure_levels(image).low == pytest.approx(usual.low, abs=3)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_bright_thing_is_left_out_piece_by_piece_as_in_the_whole(dtype):
    image = np.clip(crowded_field(np.random.default_rng(0), 1000.0), 0, None).astype(dtype)
    halves = [(slice(0, 200), slice(None)), (slice(200, 400), slice(None))]
    whole, pieces = measure_levels(image), levels_in_pieces(image, halves)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), rel=0.01)
    assert pieces.bright.percent == whole.bright.percent
    assert pieces.bright.times == pytest.approx(whole.bright.times, rel=0.01)
