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


def test_the_menu_opens_the_table_of_the_selected_layer(found, viewer, open_widget, qtbot):
    widget = open_widget("Watershed")
    viewer.layers.selection.active = found
    [action] = [each for each in widget.bar.menu.actions() if each.text() == "Table of the objects"]
    action.trigger()
    [table] = [each for name, each in viewer.window.dock_widgets.items() if "Features table" in name]
    qtbot.waitUntil(lambda: table.table.model().rowCount() == 13, timeout=60_000)


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


def test_the_table_is_measured_again_after_a_stroke(found, squares, qtbot):
    area = found.features.set_index("index").loc[6, "area (px²)"]
    found.brush_size = 3
    found.paint((3, 3), 6)
    painted = int((found.data == 6).sum())
    assert painted > area
    qtbot.waitUntil(lambda: found.features.set_index("index").loc[6, "area (px²)"] == painted, timeout=10_000)
    brightness = squares.data[found.data == 6].mean()
    np.testing.assert_allclose(found.features.set_index("index").loc[6, "intensity_mean"], brightness)


def test_a_new_object_and_an_erased_one_are_in_the_table(found, qtbot):
    found.data_setitem(tuple(np.nonzero(found.data == 2)), 0)
    found.paint((1, 1), 13)
    qtbot.waitUntil(lambda: found.features["index"].max() == 13, timeout=10_000)
    rows = found.features.set_index("index")
    assert rows.loc[2, "num_pixels"] == 0
    assert rows.loc[13, "num_pixels"] == (found.data == 13).sum()


def test_the_table_is_measured_again_after_ctrl_z(found, viewer, qtbot):
    before = found.features.copy()
    found.brush_size = 3
    found.paint((1, 1), 13)
    qtbot.waitUntil(lambda: found.features["index"].max() == 13, timeout=10_000)
    viewer.window._qt_window.show()
    viewer.window._qt_window.activateWindow()
    canvas = viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: found.features["index"].max() == 12, timeout=10_000)
    assert found.features.equals(before)


def test_scores_and_names_stay_with_their_objects(found, qtbot):
    found.features = found.features.assign(score=np.arange(13) / 10, **{"class": ["background", *"abcdefghijkl"]})
    found.paint((1, 1), 13)
    qtbot.waitUntil(lambda: found.features["index"].max() == 13, timeout=10_000)
    rows = found.features.set_index("index")
    assert rows.loc[7, "score"] == 0.7
    assert rows.loc[12, "class"] == "l"
    assert np.isnan(rows.loc[13, "score"])
    assert rows.loc[13, "class"] == ""


def test_a_large_result_is_measured_when_the_button_is_pressed(squares, viewer, open_widget, run, qtbot, monkeypatch):
    monkeypatch.setattr("napari_tessera.gui.method.object_table.LARGEST_MEASURED_PX", 100)
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    assert widget.table.isHidden()
    labels = viewer.layers[-1]
    labels.paint((1, 1), 13)
    assert not widget.table.isHidden()
    qtbot.mouseClick(widget.table, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: labels.features["index"].max() == 13, timeout=10_000)
    assert widget.table.isHidden()


def test_the_table_follows_after_the_widget_is_closed(squares, viewer, open_widget, run, qtbot):
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    labels = viewer.layers[-1]
    viewer.window.remove_dock_widget(widget)
    labels.paint((1, 1), 13)
    qtbot.waitUntil(lambda: labels.features["index"].max() == 13, timeout=10_000)


def test_a_reopened_widget_measures_an_earlier_large_result(squares, viewer, open_widget, run, qtbot, monkeypatch):
    monkeypatch.setattr("napari_tessera.gui.method.object_table.LARGEST_MEASURED_PX", 100)
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    labels = viewer.layers[-1]
    viewer.window.remove_dock_widget(widget)
    labels.paint((1, 1), 13)
    again, other = open_widget("Threshold"), open_widget("Watershed")
    assert not again.table.isHidden()
    assert other.table.isHidden()
    qtbot.mouseClick(again.table, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: labels.features["index"].max() == 13, timeout=10_000)
    assert again.table.isHidden()
