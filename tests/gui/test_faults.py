"""A fault in any part of the window is a sentence in its widget; no layer is changed, and all buttons work again."""

import numpy as np
import pytest

from napari_tessera.gui import compare as compare_widget
from napari_tessera.gui.form import model_field as model_card
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.gui.layers.annotation import new_annotation
from napari_tessera.gui.method import preview_and_estimate
from napari_tessera.gui.qt import buttons as clipboard
from napari_tessera.gui.qt.worker import LatestOnlyWorker, Runner
from napari_tessera.gui.train import live_layer as train_sight
from napari_tessera.gui.train import suggestions as paint_next
from napari_tessera.gui.train.accept import accept
from napari_tessera.gui.train.suggestions import PaintNext, SuggestionRequest
from napari_tessera.training.interactive import LivePredictor
from tests.gui.test_train import TINY, paint_halves
from tests.helpers.faults import SAID, each_fault, job_of, memory_or_bug, plain_bug
from tests.helpers.scenes import blobs


def no_thread(*_, **__):
    raise RuntimeError("can't start new thread")


def labels_of_blobs():
    return (blobs() > blobs().mean()).astype(np.uint8)


@pytest.fixture
def compare(viewer, open_widget):
    """The widget that compares, with two layers of labels."""
    for name in ("truth", "found"):
        viewer.add_labels(labels_of_blobs(), name=name)
    widget = open_widget("Compare with truth")
    widget.inputs.boxes["truth"].layer = viewer.layers["truth"]
    return widget


def contents(viewer):
    return {layer.name: np.array(layer.data) for layer in viewer.layers if PREVIEW not in layer.metadata}


def check_same(viewer, before):
    after = contents(viewer)
    assert list(after) == list(before)
    for name, data in before.items():
        np.testing.assert_array_equal(after[name], data)


@each_fault
def test_scores_that_fail_are_said(compare, viewer, run, monkeypatch, fault):
    before = contents(viewer)
    with monkeypatch.context() as patch:
        patch.setattr(compare_widget, "scoring", job_of(fault))
        run(compare)
    assert SAID[fault] in compare.bar.message.text()
    check_same(viewer, before)
    run(compare)
    assert compare.bar.message.text().startswith("AP at 0.5 is")


@memory_or_bug
def test_scores_that_cannot_be_shown_are_said(compare, run, monkeypatch, fault):
    with monkeypatch.context() as patch:
        patch.setattr(compare.panel, "show_comparison", fault)
        run(compare)
    assert SAID[fault] in compare.bar.message.text()
    assert compare.bar.run_button.isEnabled()


@memory_or_bug
def test_an_object_that_cannot_be_gone_to_is_said(compare, run, monkeypatch, fault):
    run(compare)
    monkeypatch.setattr(compare_widget, "camera_of", fault)
    compare.panel.object_chosen.emit(1)
    assert SAID[fault] in compare.bar.message.text()


@pytest.fixture
def previewed(viewer, open_widget, qtbot):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    yield widget
    widget.shut_down()


@each_fault
@pytest.mark.parametrize("where", ["in the thread", "in the window"])
def test_a_preview_that_fails_is_said_and_comes_back(previewed, viewer, qtbot, monkeypatch, fault, where):
    with monkeypatch.context() as patch:
        if where == "in the thread":
            patch.setattr(preview_and_estimate, "preview", job_of(fault))
        else:
            patch.setattr(preview_and_estimate, "view_to_world", fault)
        previewed.preview_switch.value = True
        qtbot.waitUntil(lambda: SAID[fault] in previewed.bar.message.text(), timeout=30_000)
    previewed.form.fields["polarity"].value = "dark"
    qtbot.waitUntil(lambda: previewed.preview.layer in viewer.layers, timeout=30_000)
    assert previewed.bar.message.text() == ""


def test_a_preview_of_an_image_whose_data_are_replaced_follows(previewed, viewer, qtbot):
    previewed.preview_switch.value = True
    qtbot.waitUntil(lambda: previewed.preview.layer in viewer.layers, timeout=30_000)
    viewer.layers["blobs"].data = np.zeros((7, 9))
    previewed.form.fields["polarity"].value = "dark"
    qtbot.waitUntil(lambda: previewed.preview.layer.data.shape == (7, 9), timeout=30_000)


@pytest.mark.parametrize(
    "title",
    ["Copy recipe of the selected layer", "Copy as Python", "Copy as command line", "Restore defaults"],
)
@memory_or_bug
def test_an_entry_of_the_menu_that_fails_is_said(previewed, viewer, run, monkeypatch, title, fault):
    run(previewed)
    monkeypatch.setattr(clipboard, "copy", fault)
    monkeypatch.setattr(previewed.form, "restore_defaults", fault)
    next(action for action in previewed.bar.menu.actions() if action.text() == title).trigger()
    assert SAID[fault] in previewed.bar.message.text()


@memory_or_bug
def test_a_model_card_that_fails_is_said(viewer, open_widget, monkeypatch, fault):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("U-Net")
    monkeypatch.setattr(model_card, "whole_card", fault)
    widget.form.fields["model"].below.linkActivated.emit(model_card.MORE)
    assert SAID[fault] in widget.bar.message.text()


@memory_or_bug
def test_models_that_cannot_be_listed_are_said(viewer, open_widget, monkeypatch, fault):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("U-Net")
    monkeypatch.setattr("napari_tessera.models.registry.list_models", fault)
    field = widget.form.fields["model"]
    field.watcher.directoryChanged.emit("")
    assert SAID[fault].split(":")[0] in field.below.text()
    monkeypatch.undo()
    field.watcher.directoryChanged.emit("")
    assert field.value in field.entries


@memory_or_bug
def test_a_forecast_that_fails_is_said(viewer, open_widget, monkeypatch, qtbot, fault):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("U-Net")
    monkeypatch.setattr(widget.region, "region", fault)
    monkeypatch.setattr(widget.forecast, "_request", widget.request)
    widget.forecast.setText("")
    widget.forecast.update_soon()
    qtbot.waitUntil(lambda: "is unknown" in widget.forecast.text(), timeout=30_000)


def test_the_end_of_a_run_frees_the_buttons_though_the_activity_bar_fails(previewed, run, monkeypatch):
    import napari.utils

    def broken(*given, **named):
        activity = real(*given, **named)
        monkeypatch.setattr(activity, "close", plain_bug)
        return activity

    real = napari.utils.cancelable_progress
    monkeypatch.setattr(napari.utils, "cancelable_progress", broken)
    run(previewed)
    assert previewed.bar.run_button.isEnabled()
    monkeypatch.undo()
    run(previewed)
    assert len(previewed.viewer.layers) == 3


@pytest.mark.parametrize("made", [Runner, LatestOnlyWorker])
def test_a_thread_that_cannot_be_started_is_a_failure_like_others(qtbot, monkeypatch, made):
    monkeypatch.setattr("napari_tessera.gui.qt.worker.start_thread", no_thread)
    monkeypatch.setattr("napari_tessera.gui.qt.worker.start_thread", no_thread)
    works = made()
    failures = []
    works.failed.connect(failures.append)
    works.start(iter(())) if made is Runner else works.ask(None, iter(()))
    assert [str(failure) for failure in failures] == ["can't start new thread"]


@pytest.fixture
def box(viewer, tmp_path, qtbot):
    """The box that says where to paint next."""
    from tests.gui.test_suggestions import half_bright
    from tests.helpers.tiny_models import save_bright

    model = save_bright(tmp_path / "bright.safetensors", diameter_px=20)
    image = viewer.add_image(half_bright(), name="cells")
    annotation = new_annotation(viewer, image, "ZYX", ["background", "cell"], "classes")
    box = PaintNext(viewer, lambda: SuggestionRequest(image, "ZYX", model, annotation, diameter_px=20))
    qtbot.addWidget(box)
    box.show()
    yield box
    box.runner.cancel()
    box.runner.wait(1)


def look_for_places(box, qtbot):
    box.find_button.click()
    qtbot.waitUntil(lambda: not box.runner.is_running and box.progress_bar.isHidden(), timeout=60_000)
    qtbot.wait(2 * 400)  # longer than a double click


@each_fault
@pytest.mark.parametrize("where", ["where_to_paint", "regions_layer", "go_to"])
def test_places_that_cannot_be_found_or_shown_are_said(box, viewer, qtbot, monkeypatch, fault, where):
    before = contents(viewer)
    with monkeypatch.context() as patch:
        patch.setattr(paint_next, where, job_of(fault) if where == "where_to_paint" else fault)
        look_for_places(box, qtbot)
        assert SAID[fault].split(" (")[0] in box.message.text()
    box.forget()
    check_same(viewer, before)
    look_for_places(box, qtbot)
    assert box.message.text().startswith("Place 1 of")


@memory_or_bug
def test_a_next_place_that_cannot_be_gone_to_is_said(box, qtbot, monkeypatch, fault):
    look_for_places(box, qtbot)
    monkeypatch.setattr(paint_next, "go_to", fault)
    box.next_button.click()
    assert SAID[fault].split(" (")[0] in box.message.text()


@each_fault
def test_accepting_that_fails_takes_back_what_it_painted(viewer, qtbot, monkeypatch, fault):
    image = viewer.add_image(np.zeros((600, 600)), name="cells")
    annotation = new_annotation(viewer, image, "YX", ["background", "cell"], "classes")
    annotation.data_setitem((np.array([3]), np.array([4])), 2)
    prediction = viewer.add_labels(np.ones((600, 600), np.int32), name="prediction")
    before = contents(viewer)
    real, calls = annotation.data_setitem, []

    def fails_later(*given, **named):
        calls.append(given)
        if len(calls) == 3:
            fault()
        return real(*given, **named)

    from napari_tessera.gui.train.accept import Selection

    failures = []
    with monkeypatch.context() as patch:
        patch.setattr(annotation, "data_setitem", fails_later)
        painting = accept(prediction, annotation, Selection((slice(0, 600), slice(0, 600))))
        painting.failed.connect(failures.append)
        qtbot.waitUntil(lambda: bool(failures), timeout=20_000)
    check_same(viewer, before)
    annotation.undo()
    assert not annotation.data.any()  # the stroke before is the next to be taken back


@pytest.fixture
def training(open_widget, viewer, qtbot):
    """A long training that is about to begin."""
    widget = paint_halves(open_widget("Train"), viewer, steps=100_000)
    yield widget
    widget.cancel()
    qtbot.waitUntil(lambda: not widget.runner.is_running, timeout=60_000)


def begin(widget, qtbot):
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=240_000)


@each_fault
@pytest.mark.parametrize("where", ["in the thread", "in the window"])
def test_a_live_prediction_that_fails_is_said_and_the_training_goes_on(training, qtbot, monkeypatch, fault, where):
    if where == "in the thread":
        monkeypatch.setattr(LivePredictor, "look", job_of(fault))
    else:
        monkeypatch.setattr(train_sight, "laid_out", fault)
    begin(training, qtbot)
    said = "The live prediction has stopped"
    qtbot.waitUntil(lambda: said in training.history_view.warnings.text(), timeout=60_000)
    step = training.history.step
    qtbot.waitUntil(lambda: training.history.step > step + 2, timeout=60_000)
    assert training.runner.is_running


def test_a_live_prediction_deleted_does_not_disturb_the_training(training, viewer, qtbot):
    begin(training, qtbot)
    for _ in range(2):
        qtbot.waitUntil(lambda: training.live.layer in viewer.layers, timeout=60_000)
        viewer.layers.remove(training.live.layer)
    step = training.history.step
    qtbot.waitUntil(lambda: training.history.step > step + 2, timeout=60_000)
    assert training.runner.is_running


@pytest.mark.parametrize("which", [0, 1], ids=["image", "paint"])
@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9)], ids=str)
def test_data_replaced_in_the_middle_do_not_stop_the_training(training, viewer, qtbot, own_models, which, shape):
    begin(training, qtbot)
    viewer.layers[which].data = np.zeros(shape, viewer.layers[which].data.dtype)
    viewer.camera.zoom *= 1.5
    qtbot.wait(1500)
    viewer.camera.zoom /= 1.5
    training.stop()
    qtbot.waitUntil(training.bar.run_button.isEnabled, timeout=120_000)
    assert (own_models / "fine-tuned.safetensors").exists()
    assert training.bar.message.text().startswith("Stopped")


@pytest.fixture
def trained(open_widget, viewer, qtbot):
    """A widget with a model just trained."""
    widget = paint_halves(open_widget("Train"), viewer)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.run_button.isEnabled, timeout=240_000)
    return widget


STEPS = {
    "correct": lambda widget: widget.correct_box.button.click(),
    "open": lambda widget: widget.outcome.open_button.click(),
    "find": lambda widget: widget.paint_next.find_button.click(),
    "look": lambda widget: widget.after.predict(),
}


@pytest.mark.parametrize("step", ["find", "look"])
def test_a_trained_model_that_is_gone_is_said(trained, qtbot, own_models, step):
    trained.after.latest.stop()
    for path in own_models.iterdir():
        path.unlink()
    trained.bar.say("")
    STEPS[step](trained)
    spoken = (trained.bar.message, trained.paint_next.message)
    qtbot.waitUntil(lambda: any("fine-tuned" in each.text() for each in spoken))
    assert not any("should not have happened" in each.text() for each in spoken)
    assert trained.bar.run_button.isEnabled()


@memory_or_bug
@pytest.mark.parametrize("step", STEPS)
def test_a_step_after_the_training_that_fails_is_said(trained, viewer, monkeypatch, step, fault):
    from napari_tessera.gui.train import after_training as train_after

    monkeypatch.setattr(train_after, "accept", fault)
    monkeypatch.setattr(train_after, "looking_at", fault)
    monkeypatch.setattr(trained.form, "start_from", fault)
    monkeypatch.setattr(viewer.window, "add_plugin_dock_widget", fault)
    STEPS[step](trained)
    assert any(SAID[fault] in each.text() for each in (trained.bar.message, trained.paint_next.message))


@memory_or_bug
def test_a_new_annotation_that_fails_is_said(open_widget, viewer, monkeypatch, fault):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Train")
    widget.form.values = TINY
    monkeypatch.setattr("napari_tessera.gui.train.panel.new_annotation", fault)
    widget.pairs.first.new_button.click()
    assert SAID[fault] in widget.bar.message.text()
