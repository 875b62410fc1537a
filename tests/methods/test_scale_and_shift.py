"""An image that is multiplied and moved has the labels that it had, of any numeric type, whole and in blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

import napari_tessera as tessera
from napari_tessera.algorithms.histogram import measure
from napari_tessera.algorithms.thresholds import RULES
from napari_tessera.core.checks import check_image
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.rescale import equal_steps
from napari_tessera.inference.normalization import measure_levels, network_channels
from napari_tessera.methods.threshold import ALL_BUT_MANUAL
from tests.helpers.tiny_models import save_bright


@cache
def cells():
    """Bright discs of several heights on an uneven noisy ground, 0 to 120, uint8."""
    rng = np.random.default_rng(3)
    image = np.fromfunction(lambda y, x: 6 + x / 8, (64, 72)) + rng.normal(0, 2, (64, 72))
    y, x = np.indices(image.shape)
    for middle_y, middle_x, radius, height in ((14, 14, 8, 60), (17, 27, 7, 100), (46, 20, 9, 45), (40, 54, 11, 85)):
        image += height * ndimage.gaussian_filter((np.hypot(y - middle_y, x - middle_x) < radius) * 1.0, 1)
    image = np.clip(image, 0, 120).astype(np.uint8)
    image[0, 0], image[-1, -1] = 0, 120
    return image


@cache
def colours():
    """Three pictures of `cells` at once, (Y, X, C)."""
    return np.stack([cells(), cells()[::-1], cells()[:, ::-1]], axis=-1)


CASES = {
    "int8 - 60": lambda image: image.astype(np.int8) - np.int8(60),
    "uint8 × 2": lambda image: image * np.uint8(2),
    "uint8 + 100": lambda image: image + np.uint8(100),
    "int16 × 200 - 9000": lambda image: image * np.int16(200) - np.int16(9000),
    "uint16 + 60000": lambda image: image + np.uint16(60_000),
    "int32 × 1000 + 1e8": lambda image: image * np.int32(1000) + np.int32(10**8),
    "uint32 at its end": lambda image: image + np.uint32(2**32 - 121),
    "int64 at its end": lambda image: image + np.int64(2**63 - 121),
    "int64 at its beginning": lambda image: image + np.int64(-(2**63)),
    "uint64 at its end": lambda image: image + np.uint64(2**64 - 121),
    "float16 / 8": lambda image: image.astype(np.float16) / 8,
    "float32 / 255": lambda image: image / np.float32(255),
    "float32 + 1e6": lambda image: image + np.float32(1e6),
    "float32 × 3e-43": lambda image: image * np.float32(3e-43),
    "float32 over its whole range": lambda image: ((image / 60 - 1) * 3.4e38).astype(np.float32),
    "float64": lambda image: image.astype(np.float64),
    "float64 / 255": lambda image: image / 255,
    "float64 × 1000 + 7": lambda image: image * 1000.0 + 7,
    "float64 × 0.1 + 1e8": lambda image: image * 0.1 + 1e8,
    "float64 × 1e-310": lambda image: image * 1e-310,
    "float64 over its whole range": lambda image: (image / 60 - 1) * 1.79e308,
    "big-endian float32": lambda image: (image * np.float32(0.5)).astype(">f4"),
    "big-endian int64": lambda image: (image - np.int64(10**15)).astype(">i8"),
}
each_case = pytest.mark.parametrize("change", CASES.values(), ids=CASES)
FEW = (
    "uint16 + 60000",
    "int64 at its end",
    "float32 / 255",
    "float64 × 0.1 + 1e8",
    "float64 × 1e-310",
    "float32 over its whole range",
)
few_cases = pytest.mark.parametrize("change", [CASES[name] for name in FEW], ids=FEW)
HARDEST = ("int64 at its end", "float32 / 255", "float64 × 1e-310")
hardest_cases = pytest.mark.parametrize("change", [CASES[name] for name in HARDEST], ids=HARDEST)
whole_and_blocks = pytest.mark.parametrize("blocks", [False, 40], ids=["whole", "blocks"])
COUNTS_FROM_BLACK = ("sauvola",)
SETTINGS = [
    *(("threshold", {"method": method, "radius": 6}) for method in ALL_BUT_MANUAL if method not in COUNTS_FROM_BLACK),
    ("threshold", {"method": "otsu", "sigma": 1.0}),
    ("threshold", {"method": "multi-otsu", "polarity": "dark", "output": "objects"}),
    ("kmeans", {}),
    ("kmeans", {"sigma": 1.0}),
    ("watershed", {}),
    ("watershed", {"foreground": "otsu", "sigma": 0.0, "landscape": "intensity"}),
    ("watershed", {"foreground": "otsu", "sigma": 0.0, "landscape": "gradient"}),
]
each_setting = pytest.mark.parametrize(("method", "settings"), SETTINGS, ids=lambda value: str(value))
SEEDS = np.array([[14, 14], [17, 27], [46, 20], [3, 60]])


@cache
def found(method, blocks, settings):
    return labels_of(method, cells(), blocks=blocks, **dict(settings))


def labels_of(method, image, /, **settings):
    return tessera.segment(method, image, measure=False, **settings).labels


def assert_same(method, change, blocks, settings):
    labels = labels_of(method, change(cells()), blocks=blocks, **settings)
    expected = found(method, blocks, tuple(settings.items()))
    np.testing.assert_array_equal(labels, expected)
    assert labels.max() > 0


@each_case
@each_setting
def test_a_scaled_image_has_the_same_labels(method, settings, change):
    assert_same(method, change, False, settings)


@hardest_cases
@each_setting
def test_a_scaled_image_in_blocks_has_the_same_labels(method, settings, change):
    assert_same(method, change, 40, settings)


@each_case
@pytest.mark.parametrize("rule", ["tolerance", "adaptive", "competing"])
def test_regions_of_a_scaled_image_are_the_same(rule, change):
    labels, _ = tessera.region_growing(change(cells()), SEEDS, criterion=rule)
    np.testing.assert_array_equal(labels, tessera.region_growing(cells(), SEEDS, criterion=rule)[0])


@each_case
@pytest.mark.parametrize("feature", ["texture", "both"])
def test_textures_of_a_scaled_image_are_the_same(feature, change):
    settings = {"feature": feature, "texture_radius": 4, "tolerance": 0.3}
    labels, _ = tessera.region_growing(change(cells()), SEEDS, **settings)
    np.testing.assert_array_equal(labels, tessera.region_growing(cells(), SEEDS, **settings)[0])


@few_cases
@whole_and_blocks
def test_colours_of_a_scaled_image_are_in_the_same_classes(change, blocks):
    options = {"axes": "YXC", "blocks": blocks}
    labels = labels_of("kmeans", change(colours()), **options)
    np.testing.assert_array_equal(labels, labels_of("kmeans", colours(), **options))


@few_cases
@whole_and_blocks
def test_a_network_gives_a_scaled_image_the_same_labels(change, blocks, bright):
    settings = {"model": bright, "diameter": 14.0}
    labels = labels_of("unet", change(cells()), blocks=blocks, **settings)
    expected = labels_of("unet", cells(), blocks=blocks, **settings)
    np.testing.assert_array_equal(labels > 0, expected > 0)


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    return str(save_bright(tmp_path_factory.mktemp("models") / "bright.safetensors", task="objects", diameter_px=14.0))


@each_case
def test_networks_are_given_the_same_channels(change):
    image = check_image(change(cells()), "")
    is_huge = image.dtype.itemsize == 8 and image.dtype.kind in "iu"  # the levels of which are whole numbers
    given = network_channels(image, measure_levels(image))
    np.testing.assert_allclose(
        given, network_channels(cells(), measure_levels(cells())), atol=0.03 if is_huge else 1e-5
    )


@few_cases
def test_things_and_stuff_of_a_scaled_image_are_the_same(change):
    settings = {"things_from": "watershed", "stuff_from": "threshold"}
    labels = labels_of("panoptic", change(cells()), **settings)
    np.testing.assert_array_equal(labels, labels_of("panoptic", cells(), **settings))


@pytest.mark.parametrize("method", [method for method in ALL_BUT_MANUAL if method != "minimum"])
@pytest.mark.parametrize("blocks", [False, 40])
def test_yes_and_no_has_the_labels_of_0_and_1(method, blocks):
    is_bright = cells() > 40
    options = {"method": method, "radius": 6, "blocks": blocks}
    expected = labels_of("threshold", is_bright.astype(np.uint8), **options)
    for image in (is_bright, is_bright * 0.7 + (0 if method in COUNTS_FROM_BLACK else 1e6)):
        np.testing.assert_array_equal(labels_of("threshold", image, **options), expected)


@pytest.mark.parametrize("factor", [1 / 255, 3.0, 1e-310, 1e300])
def test_sauvola_counts_from_black_in_any_unit(factor):
    labels = tessera.threshold(cells() * factor, method="sauvola", radius=6)
    np.testing.assert_array_equal(labels, tessera.threshold(cells(), method="sauvola", radius=6))


def test_a_tenth_and_one_are_classes_of_their_own():
    image = np.array([[0, 0.1, 1]])
    assert tessera.threshold(image, method="multi-otsu", classes=3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("change", [CASES["int64 at its end"], CASES["int64 at its beginning"]])
@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_channels_of_huge_whole_numbers_are_not_combined(method, change):
    with pytest.raises(InputError, match=r"Subtract the lowest value first"):
        tessera.segment(method, change(colours()), axes="YXC")


@cache
def many_levels():
    """A bright and a dark class of 825 equal steps, some of them empty, as a 16-bit camera gives them."""
    rng = np.random.default_rng(0)
    image = np.where(rng.random((64, 64)) < 0.7, rng.normal(300, 60, (64, 64)), rng.normal(700, 60, (64, 64)))
    image = np.clip(image, 93, 918).astype(np.uint16)
    image[0, :2] = 93, 918
    return image


@cache
def on_no_steps():
    """Values between which the 256 bins of the range begin, and a few others."""
    rng = np.random.default_rng(0)
    image = np.where(rng.random((96, 96)) < 0.7, rng.normal(250, 60, (96, 96)), rng.normal(700, 80, (96, 96)))
    image = np.clip(image.round(), 0, 1024)
    image[0, :4] = 0, 1024, 100 * np.pi, 50 * np.e
    return image


UNITS = [(1 / 255, 0), (1 / 65535, 0), (1 / 3, 0), (0.1, 0.3), (np.pi, 1000), (0.01, 100), (0.7, 1e6)]
each_unit = pytest.mark.parametrize(("unit", "offset"), UNITS)


@each_unit
def test_equal_steps_are_as_many_in_any_unit(unit, offset):
    values = np.unique(many_levels())
    assert equal_steps(values * unit + offset) == equal_steps(values) == 825


@each_unit
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("image", [many_levels, on_no_steps])
def test_a_level_of_many_values_is_the_same_in_any_unit(image, rule, unit, offset):
    levels = [RULES[rule](run_job(measure(each)).histogram) for each in (image() * unit + offset, image())]
    np.testing.assert_array_equal(image() * unit + offset > levels[0], image() > levels[1])


@whole_and_blocks
@each_setting
def test_a_range_too_small_for_steps_is_refused(method, settings, blocks):
    image = cells() * 1.5e-323
    with pytest.raises(InputError, match=r"differ by 1\.78e-321 at most.* Multiply the image by 1e300 first\."):
        labels_of(method, image, blocks=blocks, **settings)


def test_a_channel_of_tiny_values_is_as_good_as_a_constant_one():
    empty, tiny = colours() * [1.0, 0, 1], colours() * [1.0, 1e-322, 1]
    np.testing.assert_array_equal(labels_of("kmeans", tiny, axes="YXC"), labels_of("kmeans", empty, axes="YXC"))


def test_the_level_that_is_told_is_a_value_of_the_image():
    image = cells() / 255
    (level,) = tessera.segment("threshold", image).provenance["chosen"]["levels"]
    assert level in image
    labels = tessera.threshold(image, method="hysteresis", low=level, high=level)
    np.testing.assert_array_equal(labels, tessera.threshold(image))
