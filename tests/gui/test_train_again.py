"""Once more round: what is painted after a training, what the next one starts from, and what is said of it."""

import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.train.form import free_name
from napari_tessera.gui.train.plot import TrainingHistory
from napari_tessera.models.registry import find
from tests.gui.test_train import TINY, paint_halves, press_correct
from tests.helpers.scenes_to_learn import halves, strokes
from tests.training import test_recovery as test_interrupted

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def widget(open_widget):
    return open_widget("Train")


@pytest.fixture
def ready(qtbot):
    """Wait until the widget is ready again."""

    def wait_until_ready(widget):
        qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
        return widget

    return wait_until_ready


@pytest.fixture
def trained(widget, viewer, qtbot, ready):
    """The widget after a training, with its prediction in view."""
    paint_halves(widget, viewer)
    widget.bar.run_button.click()
    ready(widget)
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=60_000)
    return widget


@pytest.fixture
def stopped(widget, viewer, qtbot, ready):
    """The widget after a training that was stopped."""
    paint_halves(widget, viewer, steps=200)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.stop_button.isEnabled, timeout=120_000)
    widget.bar.stop_button.click()
    return ready(widget)


def paint_of(widget):
    return widget.pairs.first.paint


def paint_on(widget, number=2):
    paint_of(widget).data_setitem((np.array([3, 3]), np.array([4, 5])), number)


def accept(widget, qtbot):
    press_correct(widget, qtbot)
    qtbot.waitUntil(lambda: "predicted pixels were painted" in widget.bar.message.text(), timeout=30_000)


def test_a_name_with_the_checkpoint_of_a_killed_training_is_not_offered(own_models):
    own_models.mkdir()
    (own_models / "fine-tuned.safetensors.checkpoint").write_bytes(b"half learnt")
    assert free_name() == "fine-tuned-2"


def test_the_next_training_starts_from_the_model_that_said_where_to_paint(trained, qtbot):
    assert trained.form.values["start_from"] == "nothing"
    trained.paint_next.find_button.click()
    assert trained.form.values["start_from"] == "fine-tuned"
    assert "starts from the model just trained" in trained.bar.message.text()
    qtbot.waitUntil(lambda: not trained.paint_next.runner.is_running, timeout=60_000)


def test_going_on_says_that_strokes_painted_since_are_not_learnt(stopped, ready):
    paint_on(stopped)
    stopped.bar.go_on_button.click()
    assert "does not use strokes painted after its start" in stopped.bar.message.text()
    ready(stopped)
    assert "does not use strokes painted after its start" in stopped.bar.message.text()


def test_going_on_with_the_same_paint_says_nothing_of_it(stopped, ready):
    stopped.bar.go_on_button.click()
    assert "does not use strokes" not in stopped.bar.message.text()
    ready(stopped)


def test_paint_that_was_taken_back_is_not_said_to_be_there(trained, qtbot):
    accept(trained, qtbot)
    paint_of(trained).undo()
    np.testing.assert_array_equal(paint_of(trained).data, strokes())
    assert "Ctrl-Z" not in trained.bar.message.text()


def test_a_stroke_after_it_is_what_ctrl_z_takes_back(trained, qtbot):
    accept(trained, qtbot)
    qtbot.wait(300)
    assert "Ctrl-Z" in trained.bar.message.text()
    paint_on(trained, 0)
    assert "Ctrl-Z" not in trained.bar.message.text()


def test_looking_for_places_to_paint_ends_what_was_said_before(trained, qtbot):
    accept(trained, qtbot)
    trained.paint_next.find_button.click()
    assert "predicted pixels were painted" not in trained.bar.message.text()
    qtbot.waitUntil(lambda: not trained.paint_next.runner.is_running, timeout=60_000)


def test_a_reopened_widget_pairs_no_image_with_the_paint_of_another(open_widget, widget, viewer):
    layers = {}
    for name in ("A", "B"):
        viewer.add_image(halves(), name=name)
        pair = widget.pairs.first if name == "A" else widget.pairs.add()
        pair.new_button.click()
        layers[name] = viewer.layers[-1]
    viewer.layers.move(viewer.layers.index(layers["A"]), len(viewer.layers))  # the topmost paint is that of A
    viewer.window.remove_dock_widget(widget)
    pair = open_widget("Train").pairs.first
    assert (pair.image.name, pair.paint) == ("B", layers["B"])


def test_paint_that_was_chosen_by_hand_stays_chosen_when_layers_come(widget, viewer):
    for name in ("A", "B"):
        viewer.add_image(halves(), name=name)
    pair = widget.pairs.first
    pair.inputs.main.layer = viewer.layers["A"]
    pair.new_button.click()
    paint = pair.paint
    pair.inputs.main.layer = viewer.layers["B"]
    assert pair.paint is None
    pair.paint = paint
    viewer.add_image(halves(), name="C")
    assert pair.paint is paint


def test_paint_of_an_image_that_is_not_open_comes_back_without_being_chosen(widget, viewer):
    viewer.add_image(halves(), name="A")
    widget.pairs.first.new_button.click()
    paint = paint_of(widget)
    viewer.layers.remove("A")
    viewer.add_image(halves(), name="another")
    widget._on_restored(paint)
    assert widget.pairs.first.paint is not paint
    assert "Open the image 'A'" in widget.bar.message.text()


def test_the_model_just_trained_is_started_from_with_the_network_that_it_is(trained, qtbot):
    trained.form.fields["network"].value = "mask-rcnn"
    accept(trained, qtbot)
    assert trained.form.values["network"] == "unet"
    assert trained.form.values["task"] == "classes"
    assert trained.form.start.value == trained.after.result.trained.path.stem


def test_numbers_without_a_class_are_refused(widget, viewer, ready):
    paint_halves(widget, viewer)
    paint_on(widget, number=9)
    widget.bar.run_button.click()
    ready(widget)
    assert "has the number 9, but there are 2 classes" in widget.bar.message.text()


def test_a_model_that_got_worse_is_said(widget):
    widget.outcome.show_outcome("mine", "U-Net", {"score": 0.9, "iou": 0.9}, {"score": 0.5, "iou": 0.5})
    assert "is worse there than the model it started from" in widget.outcome.saved.text()
    widget.outcome.show_outcome("mine", "U-Net", {"score": 0.5, "iou": 0.5}, {"score": 0.9, "iou": 0.9})
    assert "worse" not in widget.outcome.saved.text()


def test_what_is_taken_up_again_keeps_its_curves_and_the_scores_before():
    course = TrainingHistory(before={"iou": 0.5})
    for step in range(1, 5):
        course.note(Progress(step, 9, "", {"step": step, "loss": 1.0}))
    course.note(Progress(4, 9, "", {"step": 4, "score": 0.6, "iou": 0.6}))
    again = course.continued()
    again.note(Progress(3, 9, "", {"before": {}}))
    again.note(Progress(3, 9, "", {"step": 3, "loss": 0.5}))  # the checkpoint was older than the last step
    assert again.before == {"iou": 0.5}
    assert again.losses == [(1, 1.0), (2, 1.0), (3, 0.5)]
    assert again.validations == []


def test_the_time_left_is_no_longer_than_what_was_given():
    course = TrainingHistory()
    course.note(Progress(0, 1, "", {"seconds": 5.0}))
    for step in range(1, 7):
        course.note(Progress(step, 10**9, "", {"step": step, "loss": 0.5}))
        time.sleep(0.01)
    assert 4 < course.seconds_left < 5


def test_going_on_keeps_the_name(stopped, ready, own_models):
    stopped.name.value = "another"
    stopped.bar.go_on_button.click()
    assert stopped.name.value == "fine-tuned"
    ready(stopped)
    assert not (own_models / "another.safetensors").exists()


def test_the_chart_of_scores_says_from_where_on_there_is_none(widget, viewer, ready):
    image, paint = test_interrupted.halves()
    viewer.add_image(image, name="halves")
    widget.form.values = TINY | {"task": "classes", "steps": 4, "validation": 0.15}
    widget.pairs.first.new_button.click()
    viewer.layers[-1].data = paint
    widget.bar.run_button.click()
    ready(widget)
    assert (widget.history.all_from, widget.history_view.score.last) == (2, 2)
    assert max(step for step, _ in widget.history.scores()) == 2


def test_a_double_click_adds_one_layer_to_paint_on(widget, viewer):
    viewer.add_image(halves(), name="halves")
    for _ in range(2):
        widget.pairs.first.new_button.click()
    assert [layer.name for layer in viewer.layers] == ["halves", "halves · annotation"]


def test_a_double_click_counts_once_when_the_window_is_slow(qtbot):
    button, pressed = OnceButton("slow"), []
    qtbot.addWidget(button)
    button.pressed_once.connect(
        lambda: (pressed.append(1), time.sleep(QApplication.doubleClickInterval() / 1000 + 0.1))
    )
    for _ in range(2):
        button.click()
    assert pressed == [1]


def test_going_on_shows_the_whole_course(stopped, qtbot, ready):
    learnt = len(stopped.history.losses)
    stopped.bar.go_on_button.click()
    ready(stopped)
    steps = [step for step, _ in stopped.history.losses]
    assert steps == list(range(1, 201))
    assert learnt < 200


def test_the_model_gets_another_name(trained, own_models, qtbot):
    old = trained.after.result.trained
    trained.outcome.naming.name.setText("glands")
    qtbot.mouseClick(trained.outcome.naming.rename_button, LEFT)
    assert "is called 'glands' now" in trained.bar.message.text()
    assert not old.path.exists()
    assert not old.report.exists()
    assert (own_models / "glands.safetensors").exists()
    assert trained.after.result.trained.report.exists()
    assert find("glands").title == "glands"
    assert 'Saved as "glands"' in trained.outcome.saved.text()
    assert "glands" in trained.form.start.combo.choices


def test_a_name_that_is_taken_is_refused(trained, own_models, qtbot):
    trained.outcome.naming.name.setText("nuclei-unet")
    qtbot.mouseClick(trained.outcome.naming.rename_button, LEFT)
    assert "'nuclei-unet' is the name of a model that comes with Tessera" in trained.bar.message.text()
    assert (own_models / "fine-tuned.safetensors").exists()


def test_the_model_is_deleted_after_a_second_click(trained, own_models, qtbot):
    qtbot.mouseClick(trained.outcome.naming.delete_button, LEFT)
    assert (own_models / "fine-tuned.safetensors").exists()
    qtbot.wait(QApplication.doubleClickInterval() + 50)
    qtbot.mouseClick(trained.outcome.naming.delete_button, LEFT)
    assert list(own_models.glob("fine-tuned*")) == []
    assert trained.outcome.isHidden()
    assert trained.live.layer is None
    assert "fine-tuned" not in trained.form.start.combo.choices


def test_only_what_is_in_view_becomes_paint(trained, viewer, qtbot):
    window = viewer.window._qt_window
    window.show()
    window.resize(1280, 800)
    qtbot.waitExposed(window)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 50, 60), 40
    qtbot.waitUntil(lambda: paint_of(trained).corner_pixels[0, 0] > 30, timeout=10_000)
    qtbot.wait(500)
    rows, columns = paint_of(trained).corner_pixels[:, 0], paint_of(trained).corner_pixels[:, 1]
    assert trained.live.viewport.window[0] == slice(rows[0], rows[1] + 1)
    trained.correct_box.button.click()
    qtbot.waitUntil(lambda: "predicted pixels were painted" in trained.bar.message.text(), timeout=30_000)
    added = (paint_of(trained).data > 0) & (strokes() == 0)
    assert added.any()
    added[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = False
    assert not added.any()


def test_the_question_about_the_whole_image_ends_when_the_view_moves(trained, viewer, qtbot):
    trained.correct_box.button.click()
    assert trained.correct_box.is_confirmed
    viewer.scene.camera.zoom *= 2
    qtbot.waitUntil(lambda: not trained.correct_box.is_confirmed, timeout=10_000)
    np.testing.assert_array_equal(paint_of(trained).data, strokes())


def test_the_area_of_the_live_prediction_is_marked(trained):
    assert trained.live.layer.bounding_box.visible


def test_a_brush_taken_since_paints_and_accepts_nothing(trained, viewer, qtbot):
    trained.correct_box.where.value = "where I click"
    trained.correct_box.button.click()
    on_click = viewer.mouse_drag_callbacks[-1]
    qtbot.mouseClick(trained.classes.rows[0].brush, LEFT)
    on_click(viewer, SimpleNamespace(position=(5.0, 70.0)))
    qtbot.wait(300)
    np.testing.assert_array_equal(paint_of(trained).data, strokes())


def test_a_model_of_an_earlier_session_is_renamed_where_it_is_chosen(widget, own_models, qtbot):
    own_models.mkdir()
    shutil.copy(find("nuclei-unet").path, own_models / "mine.safetensors")
    assert widget.form.naming.isHidden()
    widget.form.start.value = "mine"
    assert not widget.form.naming.isHidden()
    widget.form.naming.name.setText("glands")
    qtbot.mouseClick(widget.form.naming.rename_button, LEFT)
    assert [path.name for path in own_models.iterdir()] == ["glands.safetensors"]
    assert widget.form.start.value == "glands"
    widget.form.start.value = "nuclei-unet"
    assert widget.form.naming.isHidden()
