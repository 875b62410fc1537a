"""The table of objects in the window: its rows are the objects that napari selects, also after edits by hand."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from tests.helpers.scenes import blobs


@pytest.fixture
def squares(viewer):
    """An image of twelve squares."""
    image = np.full((40, 50), 10, np.uint8)
    for number in range(12):
        row, column = divmod(number, 4)
        image[3 + 12 * row : 10 + 12 * row, 3 + 12 * column : 10 + 12 * column] = 200
    return viewer.add_image(image, name="squares")


@pytest.fixture
def found(squares, viewer, open_widget, run):
    """The twelve objects, found in the window."""
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    return viewer.layers[-1]


def click_row(viewer, row, qtbot):
    """Click a row of napari's own table of features."""
    _, widget = viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    table = widget.table
    viewer.window._qt_window.show()
    qtbot.waitUntil(table.isVisible)
    at = table.visualRect(table.model().index(row, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    return table


def test_a_click_on_the_row_of_an_object_selects_the_object(found, viewer, qtbot):
    table = click_row(viewer, 6, qtbot)
    assert table.model().sourceModel().df["index"].iloc[6] == 6
    assert found.selected_label == 6


def test_picking_an_object_selects_its_row(found, viewer, qtbot):
    table = click_row(viewer, 2, qtbot)
    found.selected_label = 9
    (row,) = {index.row() for index in table.selectionModel().selectedRows()}
    assert table.model().sourceModel().df["index"].iloc[row] == 9


def test_the_row_of_the_background_has_its_pixels(found):
    background = found.features.iloc[0]
    assert background["index"] == 0
    assert background["num_pixels"] == (found.data == 0).sum()
    assert np.isnan(background["intensity_mean"])


def test_classes_and_objects_have_a_row_for_each_number(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("K-means"))
    labels = viewer.layers[-1]
    assert labels.features["index"].tolist() == list(range(labels.data.max() + 1))
