"""What was painted comes back after the layer, the widget or napari was closed, with two clicks."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_tessera.gui.autosave.autosave import kept
from tests.gui.test_brushes import drag
from tests.helpers.scenes_to_learn import halves

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def painted(shown, open_widget, qtbot):
    """The pixels that were painted in a session whose layers and widget were closed."""
    shown.add_image(halves(), name="halves", scale=(0.5, 0.5))
    widget = open_widget("Train")
    qtbot.mouseClick(widget.pairs.first.new_button, LEFT)
    drag(shown, qtbot, (20, 60), (40, 60))
    pixels = np.array(widget.pairs.first.paint.data)
    assert pixels.any()
    shown.window.remove_dock_widget(widget)
    shown.layers.clear()
    qtbot.waitUntil(lambda: any(saved.has_ended for saved in kept()), timeout=30_000)
    return pixels


def choose_earlier(pair, qtbot, row=0):
    """Open the menu "Earlier …", and choose an entry."""
    pair.earlier_menu.aboutToShow.emit()
    pair.earlier_menu.actions()[row].trigger()


def test_paint_comes_back_after_a_normal_close(painted, shown, open_widget, qtbot):
    shown.add_image(halves(), name="halves", scale=(0.5, 0.5))
    widget = open_widget("Train")
    pair = widget.pairs.first
    assert "you painted on this image before" in pair.earlier_note.text()
    assert f"{np.count_nonzero(painted):,} px" in pair.earlier_note.text()
    choose_earlier(pair, qtbot)
    qtbot.waitUntil(lambda: pair.paint is not None, timeout=30_000)
    np.testing.assert_array_equal(pair.paint.data, painted)
    np.testing.assert_allclose(pair.paint.scale, (0.5, 0.5))
    assert pair.earlier_note.isHidden()
    assert pair.earlier_button.isHidden()  # the only one is open
    qtbot.waitUntil(lambda: pair.paint.mode == "paint")
    assert shown.layers.selection.active is pair.paint
    assert pair.paint.selected_label == painted.max() + 1  # the next object
    assert any(row.brush.isChecked() for row in widget.classes.rows)


def test_it_is_placed_over_another_image_of_the_same_size(painted, shown, open_widget, qtbot):
    shown.add_image(halves(), name="other", scale=(2, 2))
    widget = open_widget("Train")
    pair = widget.pairs.first
    assert pair.earlier_note.isHidden()
    choose_earlier(pair, qtbot)
    qtbot.waitUntil(lambda: pair.paint is not None, timeout=30_000)
    np.testing.assert_allclose(pair.paint.scale, (2, 2))
    np.testing.assert_array_equal(pair.paint.data, painted)


def test_it_is_not_offered_for_an_image_of_another_size(painted, shown, open_widget):
    shown.add_image(halves()[:50], name="halves")
    widget = open_widget("Train")
    assert widget.pairs.first.earlier_button.isHidden()
    assert widget.pairs.first.earlier_note.isHidden()


def test_the_annotation_in_use_is_not_offered(shown, open_widget, qtbot):
    shown.add_image(halves(), name="halves")
    widget = open_widget("Train")
    qtbot.mouseClick(widget.pairs.first.new_button, LEFT)
    drag(shown, qtbot, (20, 60), (40, 60))
    assert widget.autosave.save_now()
    widget.pairs.refresh()
    assert widget.pairs.first.earlier_button.isHidden()
    layer = widget.pairs.first.paint
    shown.layers.remove(layer)
    qtbot.waitUntil(lambda: any(saved.has_ended for saved in kept()), timeout=30_000)
    widget.pairs.refresh()
    assert not widget.pairs.first.earlier_button.isHidden()


def test_a_layer_that_is_deleted_is_offered_at_once_and_no_longer_spoken_of(shown, open_widget, qtbot):
    shown.add_image(halves(), name="halves")
    widget = open_widget("Train")
    pair = widget.pairs.first
    qtbot.mouseClick(pair.new_button, LEFT)
    drag(shown, qtbot, (20, 60), (40, 60))
    assert "annotation" in widget.bar.message.text()
    shown.layers.remove(pair.paint)
    assert not widget.bar.message.isVisible()
    qtbot.waitUntil(lambda: not pair.earlier_button.isHidden(), timeout=30_000)
    assert "you painted on this image before" in pair.earlier_note.text()
