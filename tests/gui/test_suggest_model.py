"""The button "Suggest a model" by mouse: a run with Cancel, pictures side by side, and a click that chooses."""

import time

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.method import suggest_model as module
from tests.helpers.scenes import many_boxes
from tests.helpers.tiny_models import save_bright

LEFT = Qt.MouseButton.LeftButton
LONGEST_MS = 600_000
"""The first run after installing compiles, and loads PyTorch."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models, and no others."""
    monkeypatch.setattr("napari_tessera.models.registry.shipped_folder", lambda: tmp_path / "none")
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    save_bright(tmp_path / "one.safetensors", title="Model one")
    save_bright(tmp_path / "two.safetensors", title="Model two")
    return tmp_path


@pytest.fixture
def widget(folder, viewer, open_widget, qtbot):
    viewer.window._qt_window.show()
    viewer.window._qt_window.resize(1280, 780)
    viewer.add_image(many_boxes(), name="boxes")
    widget = open_widget("U-Net")
    qtbot.waitExposed(widget)
    yield widget
    if widget.suggester.window is not None:
        widget.suggester.window.close()
    widget.shut_down()


def suggest(widget, qtbot):
    """Press the button, and wait for the window with the pictures."""
    qtbot.mouseClick(widget.form.fields["model"].button, LEFT)
    assert not widget.bar.run_button.isEnabled()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=LONGEST_MS)
    assert widget.suggester.window is not None, widget.bar.message.text()
    return widget.suggester.window


def test_click_on_a_picture_chooses_its_model_and_closes_the_window(widget, qtbot):
    window = suggest(widget, qtbot)
    qtbot.waitExposed(window)
    assert [card.title for card in window.cards] == ["Model one", "Model two"]
    assert all("likely right" in card.found.text() and not card.picture.icon().isNull() for card in window.cards)
    assert "fits best" in window.verdict.text()
    qtbot.mouseClick(window.cards[1].picture, LEFT)
    assert widget.form.values["model"] == "two"
    assert widget.form.fields["model"].native.currentText() == "Model two"
    assert widget.suggester.window is None


def test_where_no_model_fits_the_window_says_so(widget, viewer, qtbot):
    viewer.layers[0].data = np.full((64, 64), 9, np.uint8)
    assert "None of the models fits" in suggest(widget, qtbot).verdict.text()


def test_cancel_ends_the_job_and_opens_no_window(widget, qtbot, monkeypatch):
    ended = []

    def endless(*_, **__):
        try:
            while True:
                time.sleep(0.01)
                yield Progress(1, 2, "Trying")
        finally:
            ended.append(True)

    monkeypatch.setattr(module, "suggest_steps", endless)
    qtbot.mouseClick(widget.form.fields["model"].button, LEFT)
    qtbot.waitUntil(lambda: "Trying" in widget.bar.message.text(), timeout=LONGEST_MS)
    qtbot.mouseClick(widget.bar.cancel_button, LEFT)
    qtbot.waitUntil(widget.bar.run_button.isEnabled)
    assert ended == [True]
    assert "Cancelled" in widget.bar.message.text()
    assert widget.suggester.window is None


def test_without_an_image_the_bar_says_how_to_open_one(widget, viewer, qtbot):
    viewer.layers.clear()
    qtbot.mouseClick(widget.form.fields["model"].button, LEFT)
    assert "Open an image first" in widget.bar.message.text()


def test_other_widgets_with_models_have_no_such_button(viewer, open_widget):
    form = open_widget("Panoptic").form
    assert form.fields["things_model"].button.isHidden()
