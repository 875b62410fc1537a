"""The layer that a run takes: the one selected in the viewer, unless the user chose another in the widget."""

import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QApplication

from tests.helpers.scenes import blobs, two_boxes


@pytest.fixture
def select(viewer, qtbot):
    """Click a layer in napari's list of layers."""

    def click(name):
        view = viewer.window._qt_viewer.layers
        viewer.window._qt_window.show()
        model = view.model()
        rows = [model.index(row, 0) for row in range(model.rowCount())]
        (index,) = [each for each in rows if model.data(each, Qt.ItemDataRole.DisplayRole) == name]
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(index).center())
        assert viewer.layers.selection.active.name == name

    return click


@pytest.fixture
def widget(viewer, open_widget):
    viewer.add_image(blobs(), name="old")
    return open_widget("Threshold")


def choose_by_hand(widget, name, qtbot):
    """Choose a layer in the box, with the keyboard."""
    box = widget.inputs.main.native
    box.setFocus()
    wanted = box.findText(name)
    while box.currentIndex() != wanted:
        qtbot.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < wanted else Qt.Key.Key_Up)


def test_a_newly_opened_image_is_the_one_that_run_takes(widget, viewer, run):
    viewer.add_image(blobs() + 1, name="new")
    assert widget.inputs.main.layer.name == "new"
    run(widget)
    assert viewer.layers[-1].name == "new · threshold"


def test_the_image_selected_in_the_list_is_taken(widget, viewer, select):
    viewer.add_image(blobs() + 1, name="new")
    select("old")
    assert widget.inputs.main.layer.name == "old"


def test_an_image_chosen_by_hand_stays(widget, viewer, select, qtbot):
    viewer.add_image(blobs() + 1, name="new")
    choose_by_hand(widget, "old", qtbot)
    select("new")
    viewer.add_image(blobs() + 2, name="newest")
    assert widget.inputs.main.layer.name == "old"


def test_when_the_image_chosen_by_hand_is_deleted_the_selected_one_is_taken(widget, viewer, select, qtbot):
    viewer.add_image(blobs() + 1, name="new")
    viewer.add_image(blobs() + 2, name="newest")
    choose_by_hand(widget, "old", qtbot)
    viewer.layers.remove("old")
    select("new")
    assert widget.inputs.main.layer.name == "new"


def test_a_result_is_not_refined_again_unless_it_is_selected(viewer, open_widget, run, select):
    viewer.add_labels(two_boxes(), name="boxes")
    widget = open_widget("Refine labels")
    run(widget)
    assert widget.inputs.main.layer.name == "boxes"
    select("boxes")
    select("boxes · refine labels")
    assert widget.inputs.main.layer.name == "boxes · refine labels"


def pointed_at(widget, is_pointed):
    at = QPointF(5, 5)
    QApplication.sendEvent(widget.whole(), QEnterEvent(at, at, at) if is_pointed else QEvent(QEvent.Type.Leave))


def test_while_the_mouse_is_over_the_widget_its_image_has_a_frame(widget, viewer):
    new = viewer.add_image(blobs() + 1, name="new")
    pointed_at(widget, True)
    assert new.bounding_box.visible
    assert not viewer.layers["old"].bounding_box.visible
    pointed_at(widget, False)
    assert not new.bounding_box.visible


def test_a_single_image_needs_no_frame(widget, viewer):
    pointed_at(widget, True)
    assert not viewer.layers["old"].bounding_box.visible
