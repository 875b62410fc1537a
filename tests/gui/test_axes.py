"""What the sliders of a layer mean: its own names first, then what the user chose for it, and nothing from others."""

import numpy as np
import pytest

VOLUME = np.zeros((4, 8, 9), np.uint8)


@pytest.fixture
def widget(open_widget):
    return open_widget("Threshold")


def test_axis_names_of_a_new_layer_win_over_the_choice_before(viewer, widget):
    viewer.add_image(VOLUME, name="plain")
    assert widget.inputs.axes == "ZYX"
    viewer.layers.clear()
    viewer.add_image(VOLUME, axis_labels=("t", "y", "x"), name="series")
    assert widget.inputs.axes == "TYX"


def test_nothing_carries_over_from_a_deleted_layer(viewer, widget):
    viewer.add_image(VOLUME, name="first")
    widget.inputs.axes_box.value = "TYX"
    viewer.layers.clear()
    viewer.add_image(VOLUME, name="second")
    assert widget.inputs.axes == "ZYX"


def test_axes_chosen_for_one_layer_are_not_those_of_another(viewer, widget):
    first, second = viewer.add_image(VOLUME, name="first"), viewer.add_image(VOLUME, name="second")
    widget.inputs.main.layer = first
    widget.inputs.axes_box.value = "TYX"
    widget.inputs.main.layer = second
    assert widget.inputs.axes == "ZYX"


def test_axes_chosen_for_a_layer_stay_with_it(viewer, widget):
    first, second = viewer.add_image(VOLUME, name="first"), viewer.add_image(VOLUME, name="second")
    widget.inputs.main.layer = first
    widget.inputs.axes_box.value = "TYX"
    widget.inputs.main.layer = second
    widget.inputs.main.layer = first
    assert widget.inputs.axes == "TYX"


def test_axes_chosen_for_a_layer_stay_when_its_scale_changes(viewer, widget):
    layer = viewer.add_image(VOLUME, name="first")
    widget.inputs.axes_box.value = "TYX"
    layer.scale = (1, 0.5, 0.5)
    assert widget.inputs.axes == "TYX"
