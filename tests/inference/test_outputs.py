"""What is made of a network's scores: objects, classes, probabilities."""

import numpy as np
import pytest

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.decode_unet import UNetOptions, classes_of, components_of, decoding_of, make_output
from napari_tessera.inference.pixel_grid import Grid

OBJECTS = {"task": "objects", "diameter_px": 4.0, "decoding": {"object_level": 0.6, "smoothing_px": 0.5}}
CLASSES = {"task": "classes", "diameter_px": None}


def square_scores(probability=0.9, side=10):
    """Scores of one square in the middle."""
    inside = np.zeros((side, side), np.float32)
    inside[3:7, 3:7] = probability
    return {"classes": np.stack([1 - inside, inside, 0 * inside]), "distance": inside[None].copy()}


def made(header, scores, shape=(10, 10), **wanted):
    size = scores["classes"].shape[1:]
    return run_job(make_output(scores, header, UNetOptions(**wanted), Grid.over(shape, size)))


def class_scores():
    """Background, then class 1 on the left and class 2 on the right, and a doubtful pixel between."""
    row = np.array([[0.9, 0.1, 0.4, 0.1, 0.1], [0.1, 0.9, 0.3, 0, 0], [0, 0, 0.3, 0.9, 0.9]], np.float32)
    return {"classes": row[:, None, :]}


def test_objects_come_from_scores():
    assert made(OBJECTS, square_scores()).sum() == 16


def test_a_level_given_goes_before_the_models_own():
    assert not made(OBJECTS, square_scores(0.5)).any()
    assert made(OBJECTS, square_scores(0.5), level=0.4).sum() == 16
    assert decoding_of(OBJECTS).object_level == 0.6


def test_a_setting_of_a_newer_model_is_passed_over():
    assert decoding_of({"decoding": {"prominence": 0.3, "colour": "blue"}}).prominence == 0.3


def test_small_objects_are_dropped_by_the_models_share_or_as_wanted():
    large = OBJECTS | {"diameter_px": 40.0}
    assert not made(large, square_scores()).any()
    assert made(large, square_scores(), min_size=16).any()
    assert not made(OBJECTS, square_scores(), min_size=17).any()


def test_smallest_size_counts_pixels_of_the_image_not_of_the_network():
    assert made(OBJECTS, square_scores(), (20, 20), min_size=40).any()
    assert not made(OBJECTS, square_scores(), (5, 5), min_size=16).any()


def test_classes_of_a_model_for_objects_are_background_and_object():
    assert made(OBJECTS, square_scores(), output="classes").sum() == 16
    assert not made(OBJECTS, square_scores(0.5), output="classes").any()


def test_probabilities_are_those_of_all_classes_but_the_background():
    assert made(OBJECTS, square_scores(), output="probabilities")[0, 4, 4] == pytest.approx(0.9)
    found = made(CLASSES, class_scores(), (1, 5), output="probabilities")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[1, 0], [0, 0, 0.3, 0.9, 0.9])


def test_probabilities_come_on_the_grid_of_the_image():
    assert made(OBJECTS, square_scores(), (20, 15), output="probabilities").shape == (1, 20, 15)


def test_border_between_objects_is_object():
    scores = square_scores()
    scores["classes"] = scores["classes"][[0, 2, 1]]
    assert made(OBJECTS, scores, output="classes").sum() == 16


def test_the_likeliest_class_wins():
    assert made(CLASSES, class_scores(), (1, 5), output="classes").tolist() == [[0, 1, 0, 2, 2]]


def test_a_level_decides_what_is_background_and_the_likeliest_class_the_rest():
    assert made(CLASSES, class_scores(), (1, 5), output="classes", level=0.5).tolist() == [[0, 1, 1, 2, 2]]


def test_objects_of_a_model_for_classes_are_connected_regions_of_one_class():
    assert made(CLASSES, class_scores(), (1, 5), level=0.5).tolist() == [[0, 1, 1, 2, 2]]
    assert made(CLASSES, class_scores(), (1, 5), min_size=2).tolist() == [[0, 0, 0, 1, 1]]


def test_regions_are_numbered_in_raster_order_whatever_their_class():
    classes = np.array([[2, 0, 1], [0, 0, 1], [2, 0, 0]], np.int32)
    assert run_job(components_of(classes, 0)).tolist() == [[1, 0, 2], [0, 0, 2], [3, 0, 0]]


def test_volumes_get_classes_too():
    probabilities = np.full((2, 3, 4, 5), 0.45, np.float32)
    probabilities[1, 0] = 0.5
    assert run_job(classes_of(probabilities, None))[:, 0, 0].tolist() == [2, 1, 1]
