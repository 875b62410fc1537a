"""The boxes of objects as a layer of rectangles: where they lie, what they say, and the button that shows them."""

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels

from napari_tessera.core.jobs import run_job
from napari_tessera.gui.layers.add import boxes_layer, has_boxes
from napari_tessera.gui.layers.read import RECORD
from napari_tessera.gui.method.panel import BoxesButton


def labelled(shape=(12, 16), axes="YX", **placed):
    """Labels of two objects with boxes, as Tessera adds them."""
    data = np.zeros(shape, np.int32)
    data[..., 2:5, 3:8], data[..., 7:11, 9:15] = 1, 2
    features = {
        "index": [1, 2],
        "class": ["cell", "debris"],
        "score": np.array([0.875, 0.5], np.float32),
        "box_y0 (px)": [2.0, 7.0],
        "box_x0 (px)": [3.0, 9.0],
        "box_y1 (px)": [5.0, 11.0],
        "box_x1 (px)": [8.0, 15.0],
    }
    return Labels(data, name="cells", features=features, metadata={RECORD: {"axes": axes}}, **placed)


@pytest.fixture
def button(viewer, qtbot):
    """The button, with a result whose objects have boxes."""
    labels = viewer.add_layer(labelled())
    button = BoxesButton(viewer)
    qtbot.addWidget(button)
    button.offer([labels])
    yield button
    button.close_down()


def press(button, qtbot):
    button.click()
    qtbot.waitUntil(button.isEnabled, timeout=30_000)


def test_a_box_goes_around_the_pixels_of_its_object():
    boxes = run_job(boxes_layer(labelled()))
    # The first object covers rows 2 to 4 and columns 3 to 7; a pixel is drawn half a pixel around its centre.
    np.testing.assert_array_equal(boxes.data[0], [[1.5, 2.5], [1.5, 7.5], [4.5, 7.5], [4.5, 2.5]])


def test_boxes_carry_class_and_score():
    features = run_job(boxes_layer(labelled())).features
    assert features["class"].tolist() == ["cell", "debris"]
    assert features["score"].tolist() == [0.875, 0.5]


def test_boxes_say_class_and_score():
    assert run_job(boxes_layer(labelled())).text.values.tolist() == ["cell 0.88", "debris 0.50"]


def test_many_texts_wait_until_they_are_asked_for():
    labels = labelled()
    labels.features = pd.concat([labels.features] * 150, ignore_index=True)
    assert not run_job(boxes_layer(labels)).text.visible


def test_texts_on_many_planes_are_shown_where_each_has_few():
    labels = labelled((150, 12, 16), "ZYX")
    labels.features = labels.features.assign(**{"box_z0 (px)": 0.0, "box_z1 (px)": 150.0})
    assert run_job(boxes_layer(labels)).text.visible


def test_classes_have_colours_of_their_own():
    first, second = run_job(boxes_layer(labelled())).edge_color
    assert not np.array_equal(first, second)


def test_boxes_lie_where_the_labels_lie():
    turned = [[0.0, -1.0], [1.0, 0.0]]
    labels = labelled(scale=(0.5, 0.25), translate=(3, 4), rotate=turned, units=("um", "um"))
    boxes = run_job(boxes_layer(labels))
    np.testing.assert_allclose(boxes.data_to_world((1, 2)), labels.data_to_world((1, 2)))
    assert boxes.units == labels.units


def test_a_box_of_a_volume_is_on_every_plane_that_it_spans():
    labels = labelled((5, 12, 16), "ZYX")
    labels.features = labels.features.assign(**{"box_z0 (px)": [1.0, 0.0], "box_z1 (px)": [3.0, 1.0]})
    boxes = run_job(boxes_layer(labels))
    assert [float(corners[0, 0]) for corners in boxes.data] == [1, 2, 0]
    assert boxes.features["index"].tolist() == [1, 1, 2]


def test_a_box_of_a_time_series_is_at_the_time_of_its_object():
    labels = labelled((4, 12, 16), "TYX")
    labels.features = labels.features.assign(t=[3, 0])
    assert [float(corners[0, 0]) for corners in run_job(boxes_layer(labels)).data] == [3, 0]


def test_an_axis_kept_for_channels_is_at_its_only_place():
    labels = labelled((1, 12, 16), "CYX")
    assert [float(corners[0, 0]) for corners in run_job(boxes_layer(labels)).data] == [0, 0]


def test_colours_have_no_place_among_the_axes():
    assert run_job(boxes_layer(labelled(axes="YXC"))).data[0].shape == (4, 2)


def test_labels_without_boxes_have_none():
    assert not has_boxes(Labels(np.ones((2, 2), int)))
    assert not has_boxes(Labels(np.ones((2, 2), int), features={"index": [1], "num_pixels": [4]}))


def test_button_is_there_while_a_result_has_boxes(button, viewer):
    assert not button.isHidden()
    button.offer([Labels(np.ones((2, 2), int))])
    assert button.isHidden()


def test_boxes_become_a_layer_when_asked_for(button, viewer, qtbot):
    assert len(viewer.layers) == 1
    press(button, qtbot)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells · boxes"]


def test_the_objects_stay_the_ones_that_are_told_of_under_the_mouse(button, viewer, qtbot):
    press(button, qtbot)
    assert viewer.layers.selection.active is viewer.layers["cells"]


def test_boxes_are_hidden_and_shown_again(button, viewer, qtbot):
    press(button, qtbot)
    assert button.text() == "Hide boxes"
    button.click()
    assert not viewer.layers["cells · boxes"].visible
    assert button.text() == "Show boxes"
    button.click()
    assert viewer.layers["cells · boxes"].visible
    assert len(viewer.layers) == 2


def test_boxes_that_were_deleted_are_made_again(button, viewer, qtbot):
    press(button, qtbot)
    viewer.layers.remove("cells · boxes")
    button.refresh()
    assert button.text() == "Show boxes"
    press(button, qtbot)
    assert "cells · boxes" in viewer.layers


def test_button_goes_with_its_labels(button, viewer):
    viewer.layers.clear()
    button.refresh()
    assert button.isHidden()
