"""Painting for a training, by mouse and keys in a real viewer: the brushes of the classes and what was painted."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_tessera.gui.layers.add import PAINTED_BACKGROUND_COLOUR
from tests.gui.test_train import TINY
from tests.helpers.scenes_to_learn import halves

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def widget(shown, open_widget, qtbot):
    """The Train widget on an image with a new annotation layer, for classes."""
    shown.add_image(halves(), name="halves")
    widget = open_widget("Train")
    widget.form.values = TINY | {"task": "classes", "steps": 100_000}
    qtbot.mouseClick(widget.pairs.first.new_button, LEFT)
    qtbot.waitUntil(widget.isVisible)
    return widget


def drag(viewer, qtbot, start, end):
    """Paint a stroke with the mouse, from one pixel of the active layer to another."""
    canvas, layer = viewer.window._qt_viewer.canvas, viewer.layers.selection.active
    qtbot.wait(100)
    places = []
    for pixel in (start, end):
        y, x = np.asarray(layer.data_to_world(pixel))[-2:]
        across, down = canvas.view.scene.transform.map((x, y, 0, 1))[:2]
        places.append(QPoint(round(across), round(down)))
    qtbot.mouseMove(canvas.native, places[0])
    qtbot.mousePress(canvas.native, LEFT, pos=places[0])
    qtbot.mouseMove(canvas.native, places[1])
    qtbot.mouseRelease(canvas.native, LEFT, pos=places[1])
    qtbot.wait(50)


def active(widget):
    return [row.number for row in widget.classes.rows if row.brush.isChecked()]


def amounts(widget):
    return [row.amount.text() for row in widget.classes.rows]


def test_the_brush_of_a_class_paints_it_and_is_marked(widget, shown, qtbot):
    paint = widget.pairs.first.paint
    qtbot.mouseClick(widget.classes.rows[0].brush, LEFT)
    assert active(widget) == [1]
    drag(shown, qtbot, (20, 10), (20, 10))
    assert paint.data[20, 10] == 1
    qtbot.mouseClick(widget.classes.rows[1].brush, LEFT)
    assert active(widget) == [2]
    drag(shown, qtbot, (20, 60), (20, 60))
    assert paint.data[20, 60] == 2


def test_no_brush_is_marked_while_the_annotation_is_not_painted_on(widget, shown, qtbot):
    assert active(widget) == [2]
    widget.pairs.first.paint.mode = "pan_zoom"
    assert active(widget) == []
    qtbot.mouseClick(widget.classes.rows[0].brush, LEFT)
    assert active(widget) == [1]
    shown.layers.selection.active = shown.layers["halves"]
    assert active(widget) == []


def test_a_brush_makes_the_annotation_the_active_layer(widget, shown, qtbot):
    shown.layers.selection.active = shown.layers["halves"]
    qtbot.mouseClick(widget.classes.rows[1].brush, LEFT)
    assert shown.layers.selection.active is widget.pairs.first.paint


def test_what_is_painted_is_counted_after_strokes_and_undo(widget, shown, qtbot):
    paint = widget.pairs.first.paint
    drag(shown, qtbot, (20, 60), (20, 60))
    painted_px = int((paint.data == 2).sum())
    assert painted_px > 0
    qtbot.waitUntil(lambda: amounts(widget) == ["0 px", f"{painted_px:,} px"], timeout=10_000)
    qtbot.keyClick(shown.window._qt_viewer.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: amounts(widget) == ["0 px", "0 px"], timeout=10_000)


def test_the_brush_of_objects_takes_a_free_number(widget, shown, qtbot):
    widget.form.fields["task"].value = "objects"
    paint = widget.pairs.first.paint
    drag(shown, qtbot, (20, 60), (20, 60))
    qtbot.waitUntil(lambda: amounts(widget)[1] == "1 object", timeout=10_000)
    qtbot.mouseClick(widget.classes.rows[1].brush, LEFT)
    assert active(widget) == [2]
    drag(shown, qtbot, (50, 60), (50, 60))
    assert (paint.data[20, 60], paint.data[50, 60]) == (2, 3)
    qtbot.waitUntil(lambda: amounts(widget)[1] == "2 objects", timeout=10_000)


def test_the_brush_has_one_size_on_the_screen(widget, shown, qtbot):
    paint, slider = widget.pairs.first.paint, widget.classes.brush_size.slider
    slider.setValue(24)
    shown.scene.camera.zoom = 4
    assert paint.brush_size == 6
    shown.scene.camera.zoom = 8
    assert paint.brush_size == 3
    paint.brush_size = 5  # as in napari's layer controls
    assert slider.value() == 40
    shown.scene.camera.zoom = 4
    assert paint.brush_size == 10


def test_painted_background_differs_from_every_grey(widget):
    red, green, blue = (int(PAINTED_BACKGROUND_COLOUR[at : at + 2], 16) for at in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) > 128
    np.testing.assert_allclose(widget.pairs.first.paint.get_color(1)[:3], np.array((red, green, blue)) / 255, atol=0.01)


def is_in_sight(native):
    return not native.visibleRegion().isEmpty() and native.visibleRegion().boundingRect().height() == native.height()


def test_what_is_needed_is_in_sight_at_1280_by_800(widget, qtbot):
    qtbot.wait(300)
    for native in (
        widget.pairs.first.inputs.boxes["image"].native,
        widget.pairs.first.inputs.boxes["annotation"].native,
        widget.form.fields["task"].native,
        widget.form.start.native,
        widget.form.budget,
        *(row.brush for row in widget.classes.rows),
        widget.name.native,
        widget.bar.run_button,
    ):
        assert is_in_sight(native)


def test_the_brushes_stay_in_sight_while_training(widget, shown, qtbot):
    for row, place in zip(widget.classes.rows, ((20, 10), (20, 60)), strict=True):
        qtbot.mouseClick(row.brush, LEFT)
        drag(shown, qtbot, place, (place[0] + 20, place[1]))
    qtbot.mouseClick(widget.bar.run_button, LEFT)
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=120_000)
    assert all(is_in_sight(row.brush) and row.brush.isEnabled() for row in widget.classes.rows)
    qtbot.mouseClick(widget.classes.rows[0].brush, LEFT)
    drag(shown, qtbot, (50, 10), (50, 10))
    assert widget.pairs.first.paint.data[50, 10] == 1
    qtbot.mouseClick(widget.bar.cancel_button, LEFT)
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
