"""Pictures of labels over their image."""

import numpy as np

from napari_tessera.algorithms.overlay import colours, draw_overlay, outlines


def test_background_stays_as_it_is():
    image = np.array([[[10, 20, 30]] * 3] * 3, np.uint8)
    labels = np.zeros((3, 3), int)
    np.testing.assert_array_equal(draw_overlay(image, labels), image)


def test_outline_lies_inside_the_object():
    labels = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
    drawn = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(outlines(labels), drawn)


def test_neighbouring_numbers_differ_in_colour():
    table = colours(20)[1:]
    assert np.abs(np.diff(table, axis=0)).sum(axis=1).min() > 0.5


def test_constant_grey_image_is_drawn():
    assert draw_overlay(np.full((4, 4), 7.0), np.eye(4, dtype=int)).shape == (4, 4, 3)


def test_colours_of_16_bits_are_drawn():
    assert draw_overlay(np.zeros((4, 4, 3), np.uint16), np.eye(4, dtype=int)).dtype == np.uint8
