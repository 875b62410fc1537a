"""Whatever goes wrong in the window is a sentence in the widget; nothing is lost, and Run can be pressed again."""

import errno
import os

import numpy as np
import pandas as pd
import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.engine import api
from napari_tessera.gui.method import widget as method_widget
from napari_tessera.gui.method.panel import BoxesButton
from tests.gui.test_boxes import labelled
from tests.gui.test_train import paint_halves
from tests.helpers.scenes import blobs


def _greedy(request):
    yield Progress(1, 2, "Working")
    np.empty(2**55)


def _on_a_full_disk(request):
    yield Progress(1, 2, "Working")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "labels.zarr")


@pytest.fixture
def widget(viewer, open_widget):
    """The widget of the threshold, with an image."""
    viewer.add_image(blobs(), name="blobs")
    return open_widget("Threshold")


@pytest.fixture
def run_while(widget, qtbot):
    """Press Run, do something before the run has come far, and wait for its end."""

    def pressed(action):
        widget.bar.run_button.click()
        assert widget.runner.is_running
        action()
        qtbot.waitUntil(widget.bar.run_button.isEnabled, timeout=240_000)
        return widget

    return pressed


def found():
    return api.segment("threshold", blobs()).labels


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (_greedy, "There is too little memory (Unable to allocate 256. PiB"),
        (_on_a_full_disk, "A file cannot be read or written: labels.zarr (No space left on device)."),
    ],
)
def test_what_the_computer_lacks_is_said_in_words(widget, run, monkeypatch, job, said):
    monkeypatch.setattr(method_widget, "run_request", job)
    run(widget)
    assert widget.bar.message.text().startswith(said)
    assert widget.bar.details_button.isHidden()


def test_after_a_failure_run_works(widget, run, viewer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(method_widget, "run_request", _greedy)
        run(widget)
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, found())


def test_without_a_thread_nothing_runs_and_it_is_said(widget, run, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("napari_tessera.gui.qt.worker.start_thread", refused)
        widget.bar.run_button.click()
        assert "can't start new thread" in widget.bar.message.text()
        assert widget.bar.run_button.isEnabled()
    run(widget)
    assert len(widget.viewer.layers) == 2


def test_labels_of_an_image_deleted_meanwhile_are_added(run_while, viewer):
    run_while(lambda: viewer.layers.remove("blobs"))
    [labels] = viewer.layers
    np.testing.assert_array_equal(labels.data, found())


def test_labels_of_an_image_renamed_meanwhile_keep_the_name_of_the_start(run_while, viewer):
    run_while(lambda: setattr(viewer.layers["blobs"], "name", "other"))
    assert [layer.name for layer in viewer.layers] == ["other", "blobs · threshold"]


def test_labels_of_an_image_whose_data_were_replaced_are_those_of_the_start(run_while, viewer):
    run_while(lambda: setattr(viewer.layers["blobs"], "data", np.zeros((9, 9))))
    np.testing.assert_array_equal(viewer.layers[-1].data, found())


def test_all_layers_deleted_meanwhile_are_no_trouble(run_while, viewer, run):
    widget = run_while(viewer.layers.clear)
    viewer.add_image(blobs(), name="again")
    widget.inputs.main.layer = viewer.layers["again"]
    run(widget)
    assert viewer.layers[-1].name == "again · threshold"


def test_labels_that_cannot_be_shown_are_said(widget, run, viewer, monkeypatch):
    def full(layer):
        np.empty(2**55)

    with monkeypatch.context() as patch:
        patch.setattr(type(viewer), "add_layer", lambda viewer, layer: full(layer))
        run(widget)
    assert widget.bar.message.text().startswith("There is too little memory")
    assert widget.bar.run_button.isEnabled()


def test_endless_brackets_on_the_clipboard_are_no_recipe(widget, monkeypatch):
    monkeypatch.setattr("napari_tessera.gui.qt.buttons.paste", lambda: "[" * 100_000)
    next(action for action in widget.bar.menu.actions() if action.text() == "Run copied recipe again").trigger()
    assert "no recipe on the clipboard" in widget.bar.message.text()


def test_boxes_that_cannot_be_made_leave_their_button(viewer, qtbot):
    labels = viewer.add_layer(labelled())
    button = BoxesButton(viewer)
    qtbot.addWidget(button)
    button.offer([labels])
    labels.features = pd.DataFrame({"index": [1, 2]})
    with qtbot.waitSignal(button.runner.failed, timeout=30_000):
        button.click()
    assert button.isEnabled()
    button.close_down()


@pytest.fixture
def training(open_widget, viewer, qtbot):
    """A training under way, as its widget."""
    widget = paint_halves(open_widget("Train"), viewer, steps=100_000)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=240_000)
    return widget


@pytest.mark.parametrize("which", [0, 1], ids=["image", "paint"])
def test_a_layer_deleted_meanwhile_does_not_stop_the_training(training, viewer, qtbot, own_models, which):
    del viewer.layers[which]
    training.stop()
    qtbot.waitUntil(training.bar.run_button.isEnabled, timeout=120_000)
    assert (own_models / "fine-tuned.safetensors").exists()
    assert training.bar.message.text().startswith("Stopped")


def test_a_model_that_is_gone_cannot_be_started_from_and_that_is_said(
    open_widget, viewer, qtbot, yeast_file, own_models
):
    from napari_tessera.models import registry as catalogue

    catalogue.import_model(yeast_file)
    widget = paint_halves(open_widget("Train"), viewer, start_from="yeast")
    (own_models / "yeast.safetensors").unlink()
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.run_button.isEnabled, timeout=240_000)
    assert "'yeast'" in widget.bar.message.text()
    assert "This should not have happened" not in widget.bar.message.text()


def test_a_folder_for_models_that_cannot_be_made_is_said(open_widget, viewer, qtbot, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path / "file" / "models"))
    widget = paint_halves(open_widget("Train"), viewer)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.run_button.isEnabled, timeout=240_000)
    assert "models" in widget.bar.message.text()
    assert "This should not have happened" not in widget.bar.message.text()
