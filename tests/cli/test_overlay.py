"""Pictures of labels over their image."""

import numpy as np

from napari_tessera.cli.demo import draw_overlay


def test_background_stays_as_it_is():
    image = np.array([[[10, 20, 30]] * 3] * 3, np.uint8)
    labels = np.zeros((3, 3), int)
    np.testing.assert_array_equal(draw_overlay(image, labels), image)


def test_outline_lies_inside_the_object_and_is_opaque():
    labels = np.zeros((5, 5), int)
    labels[1:4, 1:4] = 1
    picture = draw_overlay(np.zeros((5, 5, 3), np.uint8), labels, opacity=0.5)
    brightest = picture.max(axis=-1)
    np.testing.assert_array_equal(brightest == 255, (labels == 1) & (np.arange(25).reshape(5, 5) != 12))
    assert 0 < brightest[2, 2] < 255


def test_constant_grey_image_is_drawn():
    assert draw_overlay(np.full((4, 4), 7.0), np.eye(4, dtype=int)).shape == (4, 4, 3)


def test_colours_of_16_bits_are_drawn():
    assert draw_overlay(np.zeros((4, 4, 3), np.uint16), np.eye(4, dtype=int)).dtype == np.uint8
