"""Refine measures the intensities of an image: which one is chosen, and what is in the table."""

import numpy as np
import pytest
from qtpy.QtCore import Qt


@pytest.fixture
def two_squares(viewer):
    """An image with a dim and a bright square, and labels of both."""
    image, labels = np.full((30, 40), 10, np.uint8), np.zeros((30, 40), np.int32)
    image[3:13, 3:13], image[15:25, 20:30] = 50, 200
    labels[3:13, 3:13], labels[15:25, 20:30] = 1, 2
    viewer.add_image(image, name="squares")
    return viewer.add_labels(labels, name="drawn")


def test_the_image_of_the_same_shape_is_chosen_and_its_intensities_are_in_the_table(
    two_squares, viewer, open_widget, run, qtbot
):
    viewer.add_image(np.zeros((8, 9)), name="another shape")
    viewer.layers.selection.active = two_squares
    widget = open_widget("Refine labels")
    assert widget.inputs.main.layer is two_squares
    assert [each and each.name for each in widget.intensities.combo.choices] == [None, "squares"]
    assert widget.intensities.layer.name == "squares"
    run(widget)
    refined = viewer.layers[-1]
    assert refined.features.set_index("index")["intensity_mean"].tolist()[1:] == [50, 200]
    # An edit by hand is measured in the same image.
    refined.data_setitem((np.array([0]), np.array([0])), 2)
    qtbot.waitUntil(lambda: refined.features["num_pixels"].tolist()[2] == 101, timeout=30_000)
    assert refined.features["intensity_min"].tolist()[2] == 10
    # Without an image, there are no intensities; (none) is chosen with the arrow keys.
    viewer.layers.selection.active = two_squares
    box = widget.intensities.native
    viewer.window._qt_window.show()
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert widget.intensities.layer is None
    run(widget)
    assert "intensity_mean" not in viewer.layers[-1].features


def test_colours_and_frames_are_measured_with_their_own_axes(viewer, open_widget, run):
    colours = np.zeros((2, 12, 12, 3), np.uint8)
    colours[0, 2:5, 2:5], colours[1, 6:9, 6:9] = (10, 20, 30), (40, 50, 60)
    labels = (colours[..., 0] > 0).astype(np.int32)
    viewer.add_image(colours, rgb=True, name="film")
    viewer.add_labels(labels, name="drawn")
    widget = open_widget("Refine labels")
    widget.inputs.axes_box.value = "TYX"
    assert widget.intensities.layer.name == "film"
    assert widget.intensities.axes == "TYXC"
    run(widget)
    rows = viewer.layers[-1].features.set_index("index")
    assert rows.loc[[1, 2], [f"intensity_mean-{channel}" for channel in range(3)]].to_numpy().tolist() == [
        [10, 20, 30],
        [40, 50, 60],
    ]
