"""Images that are too bright, or the same everywhere, are named; a bright background is not."""

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.training.data.advice import advice_on_images, listed
from napari_tessera.training.data.example import Example

NOISE = np.random.default_rng(0).integers(0, 100, (40, 40)).astype(np.uint8)
PAINT = np.ones((40, 40), np.int32)
PAINT[10:30, 10:30] = 2


def example(image, paint=PAINT, name="cells", levels=None):
    where = np.zeros((1, 2))
    return Example(image, paint, levels or measure_levels(image), np.bincount(paint.ravel()), where, None, name=name)


def about(*images, **more):
    return [each.about for each in advice_on_images([example(image, **more) for image in images])]


def with_white(share):
    """Noise, of which the upper rows are white."""
    image = NOISE.copy()
    image[: round(40 * share)] = 255
    return image


def section():
    """Dark objects on a white background."""
    return np.where(PAINT > 1, NOISE, 255).astype(np.uint8)


def test_a_sound_image_needs_no_advice():
    assert about(NOISE) == []


@pytest.mark.parametrize("share", [0.1, 0.22, 0.78])
def test_a_saturated_image_is_named_once(share):
    assert about(with_white(share), with_white(share)) == ["saturated"]


def test_bright_cells_that_fill_most_of_a_saturated_image_are_too_bright():
    image = np.clip(NOISE + 300 * (PAINT > 1), 0, 255).astype(np.uint8)[8:32, 8:32]
    assert measure_levels(image).inverted
    assert about(image, paint=PAINT[8:32, 8:32]) == ["saturated"]


def test_a_white_background_does_no_harm():
    assert measure_levels(section()).inverted
    assert about(section()) == []


def test_paint_a_little_over_the_edge_of_a_dark_object_does_no_harm():
    wide = np.ones_like(PAINT)
    wide[10:31, 10:31] = 2
    assert about(section(), paint=wide) == []


def test_white_objects_on_a_white_background_are_too_bright():
    lost = section()
    lost[10:20] = 255
    (advice,) = advice_on_images([example(lost)])
    assert advice.text.startswith("50% of the painted objects or classes on cells")


def test_red_alone_does_not_make_a_stained_section_too_bright():
    stained = np.stack([np.full((40, 40), 255, np.uint8), section(), section()], axis=-1)
    assert about(stained) == []


def test_a_mask_and_a_dark_window_are_not_saturated():
    assert about(np.where(NOISE > 50, 255, 0).astype(np.uint8)) == []
    dark = (NOISE // 30).astype(np.uint8)
    assert about(dark, levels=measure_levels(NOISE)) == []


def test_the_worst_of_several_images_is_named():
    images = [example(with_white(share), name=name) for name, share in (("a", 0.1), ("b", 0.2))]
    (advice,) = advice_on_images(images)
    assert advice.text.startswith("20% of the pixels of b (the highest of 2 such images)")


def test_a_constant_image_is_refused():
    with pytest.raises(InputError, match=r"All pixels of cells have the same value.* file, layer or channel"):
        advice_on_images([example(np.full((40, 40), 7, np.uint8))])


def test_a_constant_image_among_others_is_named():
    images = [example(NOISE), example(np.zeros((40, 40)), name="blank")]
    (advice,) = advice_on_images(images)
    assert (advice.about, "blank" in advice.text) == ("constant", True)


def test_a_blank_plane_without_objects_is_nothing_amiss():
    blank = example(np.zeros((40, 40), np.uint8), np.ones_like(PAINT), "blank")
    assert advice_on_images([example(NOISE), blank]) == []


def test_a_window_of_one_value_in_an_image_of_many_is_not_constant():
    assert about(np.zeros((40, 40), np.uint8), levels=measure_levels(NOISE)) == []


def test_few_names_are_all_listed():
    assert listed(["a", "b"]) == "a, b"
