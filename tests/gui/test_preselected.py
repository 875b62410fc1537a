"""The layers that a widget chooses by itself: no full labels as seeds, the truth as truth, never one layer twice."""

import numpy as np
import pytest

from tests.helpers.scenes import blobs, two_boxes
from tests.helpers.scenes_to_learn import squares


@pytest.fixture
def image(viewer):
    return viewer.add_image(squares()[0], name="squares")


@pytest.fixture
def full():
    """Nine objects, numbered from 1."""
    return np.maximum(squares()[1] - 1, 0)


@pytest.mark.parametrize(("title", "name"), [("Region growing", "seeds"), ("Watershed", "markers")])
@pytest.mark.parametrize("named", ["squares · truth", "Labels"])
def test_full_labels_are_no_seeds(image, full, viewer, open_widget, title, name, named):
    viewer.add_labels(full, name=named)
    assert open_widget(title).inputs.boxes[name].layer is None


@pytest.mark.parametrize(("title", "name"), [("Region growing", "seeds"), ("Watershed", "markers")])
def test_a_result_is_no_seeds(viewer, open_widget, run, title, name):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    assert open_widget(title).inputs.boxes[name].layer is None


def test_a_result_added_later_is_no_seeds_and_points_are(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Region growing")
    run(open_widget("Threshold"))
    assert widget.inputs.boxes["seeds"].layer is None
    run(widget)
    assert "Seeds is empty" in widget.bar.message.text()
    points = viewer.add_points([[5, 5]], name="clicks")
    assert widget.inputs.boxes["seeds"].layer is points


@pytest.mark.parametrize("name", ["Labels", "squares · seeds"])
def test_painted_seeds_are_chosen(image, viewer, open_widget, name):
    strokes = np.zeros(image.data.shape[:2], np.int32)
    strokes[3, 3:6], strokes[9, 3:6] = 1, 2
    seeds = viewer.add_labels(strokes, name=name)
    assert open_widget("Region growing").inputs.boxes["seeds"].layer is seeds


def chosen(widget):
    return [None if box.layer is None else box.layer.name for box in widget.inputs.boxes.values()]


@pytest.mark.parametrize("names", [("blobs · truth", "found"), ("found", "blobs · truth")])
@pytest.mark.parametrize("active", ["blobs · truth", "found"])
def test_the_layer_named_truth_is_the_truth(viewer, open_widget, names, active):
    for name in names:
        viewer.add_labels(two_boxes(), name=name)
    viewer.layers.selection.active = viewer.layers[active]
    assert chosen(open_widget("Compare with truth")) == ["blobs · truth", "found"]


def test_the_only_labels_are_not_chosen_twice(viewer, open_widget):
    viewer.add_labels(two_boxes(), name="found")
    widget = open_widget("Compare with truth")
    assert chosen(widget) == ["found", None]
    viewer.add_labels(two_boxes(), name="truth")
    assert chosen(widget) == ["truth", "found"]


def test_the_truth_stays_when_another_layer_is_selected(viewer, open_widget):
    for name in ("truth", "found"):
        viewer.add_labels(two_boxes(), name=name)
    widget = open_widget("Compare with truth")
    for layer in viewer.layers:
        viewer.layers.selection.active = layer
    assert chosen(widget) == ["truth", "found"]


def test_the_same_layer_twice_is_said_and_not_scored(viewer, open_widget, run):
    for name in ("truth", "found"):
        viewer.add_labels(two_boxes(), name=name)
    widget = open_widget("Compare with truth")
    widget.inputs.boxes["prediction"].layer = viewer.layers["truth"]
    run(widget)
    assert "Truth and Prediction are both 'truth'" in widget.bar.message.text()
    assert len(viewer.layers) == 2
