"""Trainings that were interrupted are offered as models when the widget opens."""

import pytest
from qtpy.QtWidgets import QApplication, QLabel, QPushButton

from napari_tessera.models.header import read_header
from napari_tessera.training.recovery import interrupted
from tests.gui.test_train import paint_halves
from tests.training.test_recovery import UNET, cut_short


@pytest.fixture
def left(own_models):
    return cut_short(own_models / "halves.safetensors", 12, **UNET)


def said_by(box):
    return [label.text() for label in box.findChildren(QLabel) if not label.isHidden()]


def press(box, title):
    next(button for button in box.findChildren(QPushButton) if button.text() == title).click()


def discard(box, qtbot):
    press(box, "Discard")
    qtbot.wait(QApplication.doubleClickInterval() + 50)
    press(box, "Discard for good?")


def test_what_was_learnt_is_saved_and_chosen_to_start_from(left, own_models, open_widget, qtbot):
    widget = open_widget("Train")
    assert not widget.interrupted.isHidden()
    assert any("'halves' was interrupted at step 12 of 40" in each for each in said_by(widget.interrupted))
    with qtbot.waitSignal(widget.interrupted.recovered, timeout=60_000):
        press(widget.interrupted, "Save as a model")
    assert read_header(own_models / "halves.safetensors")["training"]["steps"] == 12
    assert not left.exists()
    assert widget.interrupted.isHidden()
    values = widget.form.values
    assert (values["start_from"], values["task"], values["network"]) == ("halves", "classes", "unet")
    assert "step 10 are saved as the model 'halves'" in widget.bar.message.text()


def test_a_model_of_that_name_is_not_replaced(left, own_models, open_widget, qtbot):
    (own_models / "halves.safetensors").write_bytes(b"mine")
    widget = open_widget("Train")
    with qtbot.waitSignal(widget.interrupted.recovered, timeout=60_000) as blocker:
        press(widget.interrupted, "Save as a model")
    assert blocker.args[0].name == "halves-2"
    assert (own_models / "halves.safetensors").read_bytes() == b"mine"


def test_what_is_discarded_is_gone(left, open_widget, qtbot):
    widget = open_widget("Train")
    discard(widget.interrupted, qtbot)
    assert not left.exists()
    assert widget.interrupted.isHidden()


def test_a_double_click_discards_nothing(left, open_widget):
    widget = open_widget("Train")
    press(widget.interrupted, "Discard")
    press(widget.interrupted, "Discard for good?")
    assert left.exists()


def test_nothing_is_offered_where_nothing_was_interrupted(open_widget):
    assert open_widget("Train").interrupted.isHidden()


def test_what_cannot_be_saved_says_why_and_stays(left, open_widget, qtbot):
    widget = open_widget("Train")
    left.write_bytes(left.read_bytes()[:-100])
    with qtbot.waitSignal(widget.interrupted.failed, timeout=60_000):
        press(widget.interrupted, "Save as a model")
    assert "damaged" in widget.bar.message.text()
    assert left.exists()


def test_what_another_window_dealt_with_is_offered_no_longer(left, open_widget, qtbot):
    widget = open_widget("Train")
    left.unlink()
    with qtbot.waitSignal(widget.interrupted.failed):
        press(widget.interrupted, "Save as a model")
    assert "is gone" in widget.bar.message.text()
    assert widget.interrupted.isHidden()


def test_a_training_that_was_stopped_leaves_no_checkpoint_when_its_widget_closes(
    open_widget, viewer, qtbot, own_models
):
    widget = open_widget("Train")
    paint_halves(widget, viewer, steps=100_000)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=120_000)
    with qtbot.waitSignal(widget.runner.returned, timeout=60_000):
        widget.stop()
    left = own_models / "fine-tuned.safetensors.checkpoint"
    assert left.exists()
    assert not interrupted()
    viewer.window.remove_dock_widget(widget)
    assert not left.exists()
    assert (own_models / "fine-tuned.safetensors").exists()


def test_a_training_whose_widget_is_closed_leaves_no_checkpoint(open_widget, viewer, qtbot, own_models):
    widget = open_widget("Train")
    paint_halves(widget, viewer, steps=100_000)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=120_000)
    runner = widget.runner
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not runner.is_running, timeout=60_000)
    assert [each.name for each in own_models.glob("*.checkpoint")] == []
    assert (own_models / "fine-tuned.safetensors").exists()
