"""The widget "Start here…" by mouse and keys: pictures of several methods, and the widget behind each."""

import time

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Progress
from napari_tessera.engine import api
from napari_tessera.engine.trials import TRIALS
from napari_tessera.gui.layers.picture import fitted, outlined
from napari_tessera.gui.layers.read import corners_shown
from napari_tessera.gui.qt.layout import Shrinking
from napari_tessera.gui.start_here import widget as module
from napari_tessera.sample_data import nuclei_2d
from tests.helpers.scenes import blobs

LEFT = Qt.MouseButton.LeftButton
LONGEST_MS = 240_000
"""The first run after installing compiles."""


@pytest.fixture
def quick(monkeypatch):
    """Try the two methods that need no network."""
    monkeypatch.setattr(module, "TRIALS", TRIALS[:2])


@pytest.fixture
def opened(viewer, open_widget, qtbot):
    viewer.window._qt_window.show()
    viewer.window._qt_window.resize(1280, 780)
    widget = open_widget("Start here…")
    qtbot.waitExposed(widget)
    yield widget
    widget.shut_down()


def wait_for_all(widget, qtbot):
    ended = widget.bar.run_button.isEnabled
    qtbot.waitUntil(lambda: ended() and all(card.result is not None for card in widget.cards), timeout=LONGEST_MS)


def test_four_methods_are_tried_by_themselves_and_find_the_nuclei(viewer, opened, qtbot):
    viewer.add_image(nuclei_2d()[0], name="nuclei")
    wait_for_all(opened, qtbot)
    assert [card.trial.method for card in opened.cards] == ["threshold", "watershed", "unet", "mask_rcnn"]
    for card in opened.cards:
        assert f"{card.result.n_objects} objects" in card.found.text()
        assert card.result.n_objects > 20
        assert not card.picture.icon().isNull()


def test_clicked_picture_opens_its_method_with_its_settings_and_return_runs_it(viewer, quick, opened, qtbot):
    image = viewer.add_image(255 - blobs(), name="dark blobs", axis_labels=("y", "x"))
    wait_for_all(opened, qtbot)
    qtbot.mouseClick(opened.cards[0].picture, LEFT)
    widget = viewer.window.dock_widgets["Threshold (napari-tessera)"]
    widget = getattr(widget, "inner_widget", lambda: widget)()
    assert widget.inputs.main.layer is image
    assert (widget.form.values["output"], widget.form.values["polarity"]) == ("objects", "dark")
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(widget.bar.run_button.hasFocus)
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2 and widget.bar.run_button.isEnabled(), timeout=LONGEST_MS)
    wanted = api.segment("threshold", image.data, output="objects", polarity="dark", min_size=30).labels
    np.testing.assert_array_equal(viewer.layers[-1].data, wanted)
    widget.shut_down()


def test_picture_opens_with_return_too(viewer, quick, opened, qtbot):
    viewer.add_image(blobs(), name="blobs")
    wait_for_all(opened, qtbot)
    opened.cards[1].picture.setFocus()
    qtbot.keyClick(opened.cards[1].picture, Qt.Key.Key_Return)
    assert "Watershed (napari-tessera)" in viewer.window.dock_widgets


def test_without_an_image_the_widget_says_how_to_open_one(quick, opened, qtbot):
    qtbot.waitUntil(lambda: "Open an image" in opened.bar.message.text())


def _endless(trial, image, axes, view):
    for _ in range(10_000):
        time.sleep(0.01)
        yield Progress(1, 2, "Working")


def test_escape_cancels_and_the_window_goes_on(viewer, quick, opened, qtbot, monkeypatch):
    monkeypatch.setattr(module, "try_method", _endless)
    viewer.add_image(blobs(), name="blobs")
    qtbot.waitUntil(lambda: "Working" in opened.bar.message.text(), timeout=LONGEST_MS)
    opened.bar.cancel_button.setFocus()
    qtbot.keyClick(opened.bar.cancel_button, Qt.Key.Key_Escape)
    qtbot.waitUntil(opened.bar.run_button.isEnabled)
    assert not opened.runner.is_running
    assert all("not tried" in card.found.text() for card in opened.cards)


def test_method_that_fails_says_why_and_the_next_one_is_tried(viewer, quick, opened, qtbot, monkeypatch):
    real = module.try_method

    def fail_first(trial, *scene):
        if trial.method == "threshold":
            raise InputError("It is <too> dark.")
        return (yield from real(trial, *scene))

    monkeypatch.setattr(module, "try_method", fail_first)
    viewer.add_image(blobs(), name="blobs")
    qtbot.waitUntil(lambda: opened.cards[1].result is not None, timeout=LONGEST_MS)
    assert "It is &lt;too&gt; dark." in opened.cards[0].found.text()
    qtbot.mouseClick(opened.cards[0].picture, LEFT)
    assert "Threshold (napari-tessera)" not in viewer.window.dock_widgets


def test_another_image_is_tried_when_it_is_opened_or_chosen(viewer, quick, opened, qtbot):
    viewer.add_image(blobs(), name="blobs")
    wait_for_all(opened, qtbot)
    other = viewer.add_image(np.pad(np.full((8, 8), 200, np.uint8), 6), name="other")
    assert opened.inputs.main.layer is other
    qtbot.waitUntil(lambda: "other" in opened.bar.message.text(), timeout=LONGEST_MS)
    assert opened.cards[0].result.n_objects == 1
    opened.inputs.main.layer = viewer.layers["blobs"]
    qtbot.waitUntil(lambda: "blobs" in opened.bar.message.text(), timeout=LONGEST_MS)


def test_plane_shown_of_a_volume_is_tried(viewer, quick, opened, qtbot):
    viewer.add_image(blobs(3), name="volume", axis_labels=("z", "y", "x"))
    viewer.dims.set_point(0, 2)
    wait_for_all(opened, qtbot)
    assert opened.scene().view.planes == {"Z": 2}
    assert not opened.findChild(Shrinking).verticalScrollBar().isVisible()
    assert opened.cards[0].result.n_objects == 2


def test_button_opens_the_training(viewer, quick, opened, qtbot):
    qtbot.mouseClick(opened.train_button, LEFT)
    assert "Train (napari-tessera)" in viewer.window.dock_widgets


def test_part_in_view_of_an_image_with_levels_is_in_pixels_of_the_finest(viewer, qtbot):
    fine = np.zeros((4096, 4096), np.uint8)
    layer = viewer.add_image([fine, fine[::4, ::4], fine[::16, ::16]], multiscale=True, contrast_limits=(0, 1))
    viewer.window._qt_window.show()
    qtbot.waitUntil(lambda: layer.corner_pixels.any(), timeout=10_000)
    assert layer.data_level > 0
    first, last = corners_shown(layer, "YX")
    assert (last - first > 3000).any()


def test_outlines_are_drawn_on_the_objects_alone():
    labels = np.zeros((9, 9), int)
    labels[2:7, 2:7] = 1
    drawn = outlined(np.zeros((9, 9, 3), np.uint8), labels)
    assert not drawn[labels == 0].any()
    assert drawn[2, 2].sum() > drawn[4, 4].sum() > 0


def test_picture_keeps_its_shape():
    assert fitted(np.zeros((30, 60, 3)), 20).shape == (10, 20, 3)
    np.testing.assert_array_equal(fitted(np.array([[1, 2]]), 4), [[1, 1, 2, 2], [1, 1, 2, 2]])
