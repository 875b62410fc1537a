"""What the sliders of a layer mean: its own names first, then what the user chose for it, and nothing from others."""

import numpy as np
import pytest
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QComboBox

from napari_tessera.gui.form.field import shown_choice

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


LONG_NAME = "experiment 12, plate A, well 3, field 7, the second of its channels"


@pytest.fixture
def shown(viewer, open_widget, qtbot):
    """Open a widget in a window of 1280 × 800, where it has its usual width."""

    def shown_titled(title):
        viewer.window._qt_window.show()
        viewer.window._qt_window.resize(QSize(1280, 800))
        widget = open_widget(title)
        qtbot.waitUntil(widget.isVisible)
        qtbot.wait(100)
        return widget

    return shown_titled


IMAGES = {
    "plane": {"data": np.zeros((8, 9), np.uint8)},
    "volume": {"data": VOLUME, "axis_labels": ("z", "y", "x")},
    "series": {"data": VOLUME, "axis_labels": ("t", "y", "x")},
    "channels": {"data": VOLUME, "axis_labels": ("c", "y", "x")},
    "series of volumes": {"data": VOLUME[None], "axis_labels": ("t", "z", "y", "x")},
    "colour": {"data": np.zeros((8, 9, 3), np.uint8), "rgb": True},
    "series in colour": {"data": np.zeros((4, 8, 9, 3), np.uint8), "rgb": True},
}


@pytest.mark.parametrize("title", ["Watershed", "Train"])
def test_the_axes_of_usual_images_are_read_whole(viewer, shown, qtbot, title):
    widget = shown(title)
    cut = []
    for name, image in IMAGES.items():
        viewer.layers.clear()
        viewer.add_image(name=name, **image)
        qtbot.wait(50)
        for box in widget.findChildren(QComboBox):
            if box.isVisible() and shown_choice(box) != box.currentText():
                cut.append((name, box.currentText()))
    assert not cut


def test_a_name_that_is_cut_off_ends_so_and_is_whole_in_the_list(viewer, shown, qtbot):
    viewer.add_image(VOLUME, name=LONG_NAME)
    box = shown("Threshold").inputs.main.native
    assert shown_choice(box).endswith("…")
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(box.view().isVisible)
    assert box.view().viewport().width() >= box.fontMetrics().horizontalAdvance(LONG_NAME)
    box.hidePopup()
