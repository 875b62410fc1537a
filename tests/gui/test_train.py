"""Training, as a user does it: paint, press Train, watch, stop or cancel, use the model."""

import itertools
import shutil

import dask.array as da
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QPushButton

import napari_tessera as tessera
from napari_tessera.core.jobs import finish_writing
from napari_tessera.gui.autosave.autosave import Autosave
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.form.layer_combo import PREVIEW
from napari_tessera.gui.layers.annotation import class_names, new_annotation
from napari_tessera.gui.train.widget import remembered
from napari_tessera.models.registry import find
from napari_tessera.training.losses import LOSSES
from napari_tessera.training.settings import DECLARATION, USUAL_STARTS
from tests.helpers.disc_folder import same_weights
from tests.helpers.scenes_to_learn import halves, squares, strokes

TINY = {"start_from": "nothing", "patch": 32, "batch": 1, "validations": 2, "threads": 1, "widths": "4,8"}
TINY_DETECTOR = TINY | {"patch": 64, "widths": "8,8,8,8", "network": "mask-rcnn"}


@pytest.fixture
def widget(open_widget):
    return open_widget("Train")


def paint_halves(widget, viewer, **settings):
    """Open an image with a dark and a bright half, with a stroke in each, and set the form."""
    viewer.add_image(halves(), name="halves")
    widget.form.values = TINY | {"task": "classes", "steps": 3} | settings
    widget.pairs.first.new_button.click()
    viewer.layers[-1].data = strokes()
    return widget


def paint_squares(widget, viewer, **settings):
    """Open an image of bright squares, each painted with a number of its own, and set the form."""
    image, paint = squares()
    viewer.add_image(image, name="squares")
    widget.form.values = TINY | {"task": "objects", "steps": 3, "diameter": 18} | settings
    widget.pairs.first.new_button.click()
    viewer.layers[-1].data = paint
    return widget


@pytest.fixture
def train(qtbot):
    """Press Train, and wait until the widget is ready again."""

    def train_to_the_end(widget):
        widget.bar.run_button.click()
        qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
        return widget

    return train_to_the_end


def press_correct(widget, qtbot):
    """Press "Correct and go on", and confirm that the whole image is meant."""
    widget.correct_box.button.click()
    assert "The whole image is in view" in widget.bar.message.text()
    qtbot.wait(QApplication.doubleClickInterval() + 50)
    widget.correct_box.button.click()


def own_layers(viewer):
    """Layers that the user made, not the live prediction."""
    return [layer for layer in viewer.layers if PREVIEW not in layer.metadata]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_unet_of_classes_is_trained_saved_and_predicts(loss, widget, viewer, train, own_models):
    train(paint_halves(widget, viewer, loss=loss))
    assert widget.after.result.trained.path == own_models / "fine-tuned.safetensors"
    labels = tessera.unet(halves(), model="fine-tuned", output="classes")
    assert labels.shape == halves().shape


def test_a_budget_in_minutes_is_measured_before_the_first_step(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.form.budget.value = {"minutes": 0.1}
    train(widget)
    assert widget.bar.message.text().startswith("Trained.")
    assert widget.after.result.trained.header["training"]["steps"] >= 10


@pytest.mark.parametrize(("network", "loss"), list(itertools.product(("unet", "mask-rcnn"), LOSSES)))
def test_a_network_of_objects_is_trained_stopped_saved_and_predicts(network, loss, widget, viewer, qtbot):
    tiny = TINY_DETECTOR | {"mask_loss": loss} if network == "mask-rcnn" else TINY
    paint_squares(widget, viewer, **tiny, loss=loss, steps=1000, validation=0.0)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.stop_button.isEnabled, timeout=120_000)
    widget.bar.stop_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert not widget.after.result.trained.is_finished
    found = tessera.segment(network.replace("-", "_"), squares()[0], model="fine-tuned")
    assert found.labels.shape == (64, 64)


def test_what_was_stopped_goes_on_to_its_end(widget, viewer, train, qtbot):
    paint_halves(widget, viewer, steps=200)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.stop_button.isEnabled, timeout=120_000)
    widget.bar.stop_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    stopped_at = widget.after.result.trained.header["training"]["steps"]
    assert stopped_at < 200
    viewer.layers[-1].data = np.zeros_like(strokes())  # painting went on meanwhile
    widget.bar.go_on_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert widget.after.result.trained.header["training"]["steps"] == 200


def test_cancel_leaves_the_layers_and_no_model(widget, viewer, qtbot, own_models):
    paint_halves(widget, viewer, steps=100_000)
    before = list(viewer.layers)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: len(widget.history.losses) > 2, timeout=120_000)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert list(viewer.layers) == before
    np.testing.assert_array_equal(before[-1].data, strokes())
    finish_writing()
    assert [path.name for path in own_models.iterdir()] == ["fine-tuned.safetensors.checkpoint"]
    assert "No layer and no model was changed" in widget.bar.message.text()
    assert not widget.bar.go_on_button.isHidden()


def test_the_weights_are_those_of_python(widget, viewer, train, tmp_path):
    train(paint_halves(widget, viewer, steps=4, seed=3))
    other = tmp_path / "other.safetensors"
    tessera.fine_tune(halves(), strokes(), other, **TINY, task="classes", steps=4, seed=3, classes="background,class 1")
    assert same_weights(widget.after.result.trained.path, other)


def test_classes_are_named_as_in_the_widget(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.classes.rows[1].name.setText("bright")
    widget.classes.rows[1].name.editingFinished.emit()
    assert class_names(viewer.layers[-1]) == ["background", "bright"]
    train(widget)
    assert widget.after.result.trained.header["classes"] == ["background", "bright"]


def test_the_live_prediction_is_a_layer_of_its_own_that_is_never_offered(widget, viewer, qtbot):
    paint_halves(widget, viewer, steps=100_000)
    viewer.add_labels(np.ones((64, 80), np.uint8), name="halves · live prediction")
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=120_000)
    widget.bar.cancel_button.click()
    live = widget.live.layer
    assert live.name != "halves · live prediction"
    assert live not in widget.pairs.first.inputs.boxes["annotation"].offered()
    assert viewer.layers["halves · live prediction"].data.all()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)


def test_without_paint_it_says_what_to_do(widget, viewer, train):
    viewer.add_image(halves(), name="halves")
    train(widget)
    assert "New annotation layer" in widget.bar.message.text()


def test_an_empty_annotation_is_said(widget, viewer, train, own_models):
    paint_halves(widget, viewer)
    viewer.layers[-1].data = np.zeros_like(strokes())
    train(widget)
    assert "Nothing is painted" in widget.bar.message.text()
    assert not list(own_models.glob("*.safetensors"))


def test_paint_without_background_is_a_warning(widget, viewer, train):
    paint_halves(widget, viewer)
    viewer.layers[-1].data = np.where(strokes() == 1, 0, strokes())
    train(widget)
    assert "No background is painted" in widget.history_view.warnings.text()


def test_paint_of_another_shape_is_refused(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.pairs.first.paint = viewer.add_labels(np.ones((9, 9), np.uint8), name="small")
    train(widget)
    assert "the annotation has shape (9, 9)" in widget.bar.message.text()


def test_no_model_is_replaced(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.name.value = "nuclei-unet"
    train(widget)
    assert "A model 'nuclei-unet' exists already" in widget.bar.message.text()


def test_the_model_is_in_the_list_of_a_widget_that_is_open(widget, viewer, open_widget, train, qtbot):
    unet = open_widget("U-Net")
    train(paint_halves(widget, viewer))
    qtbot.waitUntil(lambda: "fine-tuned" in unet.form.fields["model"].combo.choices, timeout=10_000)
    widget.outcome.open_button.click()
    assert unet.form.fields["model"].value == "fine-tuned"
    assert unet.form.fields["output"].value == "classes"


def test_two_images_are_learnt_together(widget, viewer, train):
    paint_halves(widget, viewer)
    viewer.add_image(halves()[::-1].copy(), name="turned")
    widget.pairs.more_button.click()
    pair = widget.pairs.pairs[1]
    assert pair.image is viewer.layers["turned"]
    pair.new_button.click()
    viewer.layers[-1].data = strokes()
    train(widget)
    assert widget.after.result.trained.header["training"]["images"]["train"] == ["halves", "turned"]


def test_scores_before_and_after_are_shown(widget, viewer, train, tmp_path):
    train(paint_squares(widget, viewer))
    widget.form.start.value = "fine-tuned"
    train(widget)
    shown = [widget.outcome.scores.itemAt(n).widget().text() for n in range(widget.outcome.scores.count())]
    assert shown[:4] == ["", "before", "after", "AP 0.5"]
    assert "–" not in shown


def test_closing_the_widget_ends_the_training(widget, viewer, qtbot):
    paint_halves(widget, viewer, steps=100_000)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=120_000)
    runner = widget.runner
    viewer.window.remove_dock_widget(widget)
    assert not [layer for layer in viewer.layers if PREVIEW in layer.metadata]
    qtbot.waitUntil(lambda: not runner.is_running, timeout=60_000)


def test_the_prediction_becomes_paint_and_the_next_training_starts_from_it(widget, viewer, train, qtbot):
    paint_halves(widget, viewer)
    paint = viewer.layers[-1]
    train(widget)
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=60_000)
    press_correct(widget, qtbot)
    qtbot.waitUntil(lambda: "predicted pixels were painted" in widget.bar.message.text(), timeout=30_000)
    painted = strokes() > 0
    np.testing.assert_array_equal(paint.data[painted], strokes()[painted])
    assert (paint.data > 0).sum() > painted.sum()
    assert widget.form.values["start_from"] == "fine-tuned"
    paint.undo()
    np.testing.assert_array_equal(paint.data, strokes())


def test_a_click_accepts_what_is_under_it(widget, viewer, train, qtbot):
    paint_halves(widget, viewer)
    paint = viewer.layers[-1]
    train(widget)
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=60_000)
    widget.correct_box.where.value = "where I click"
    widget.correct_box.button.click()
    on_click = viewer.mouse_drag_callbacks[-1]

    class Click:
        position = (5.0, 70.0)

    on_click(viewer, Click())
    qtbot.waitUntil(lambda: paint.data[5, 70] > 0, timeout=30_000)


def test_the_network_looks_at_the_plane_in_view(widget, viewer, qtbot):
    stack = np.stack([halves()] * 4)
    image = viewer.add_image(stack, name="stack", scale=(2, 0.5, 0.5), translate=(1, 3, 5))
    widget.form.values = TINY | {"task": "classes", "steps": 100_000}
    widget.pairs.first.new_button.click()
    paint = viewer.layers[-1]
    paint.data = np.stack([strokes()] * 4)
    viewer.dims.set_current_step(0, 2)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=120_000)
    live = widget.live.layer
    assert live.data.shape == (1, 64, 80)
    np.testing.assert_array_equal(live.scale, image.scale)
    np.testing.assert_array_equal(live.translate, (5, 3, 5))
    assert viewer.layers.index(live) < viewer.layers.index(paint)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)


def test_what_suits_the_network_is_offered_to_start_from(widget):
    assert "coco" not in widget.form.start.combo.choices
    widget.form.fields["network"].value = "mask-rcnn"
    assert {"nuclei-mask-rcnn", "coco", "nothing"} <= set(widget.form.start.combo.choices)
    assert "nuclei-unet" not in widget.form.start.combo.choices
    assert widget.form.values["start_from"] == "nuclei-mask-rcnn"
    assert widget.form.values["task"] == "objects"


def test_the_usual_start_is_chosen_and_named_so(widget):
    assert widget.form.fields["network"].parameter.choices == ("unet", "mask-rcnn")  # click networks: in Python
    for network in widget.form.fields["network"].parameter.choices:
        usual = USUAL_STARTS[network]
        widget.form.fields["network"].value = network
        assert widget.form.start.value == usual
        titles = [widget.form.start.combo.native.itemText(at) for at in range(widget.form.start.combo.native.count())]
        assert [title for title in titles if "usual" in title] == [f"{find(usual).title} (the usual start)"]
        assert widget.form.start.combo.current_choice == f"{find(usual).title} (the usual start)"


def test_settings_without_effect_are_not_shown(widget):
    assert not widget.form.fields["class_weights"].native.isHidden()
    widget.form.fields["loss"].value = "dice"
    assert widget.form.fields["class_weights"].native.isHidden()
    assert "class_weights" not in widget.form.values


def test_paint_of_a_session_that_was_lost_is_offered_back(
    viewer, open_widget, qtbot, own_annotations, tmp_path, monkeypatch
):
    image = viewer.add_image(halves(), name="halves")
    saving = Autosave(viewer)
    paint = new_annotation(viewer, image, "YX", ["background", "bright"])
    saving.watch(paint, image)
    paint.data_setitem((np.array([3, 3]), np.array([4, 5])), 2)
    assert saving.save_now(30)
    shutil.copytree(own_annotations, tmp_path / "crashed")  # as it lies on the disk at this moment
    monkeypatch.setenv("TESSERA_ANNOTATIONS", str(tmp_path / "crashed"))
    viewer.layers.remove(paint)
    saving.close()
    widget = open_widget("Train")
    assert not widget.rescue.isHidden()
    widget.rescue._lines[0].findChildren(QPushButton)[0].click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=30_000)
    assert viewer.layers[-1].data[3, 4] == 2
    assert widget.pairs.first.paint is viewer.layers[-1]
    assert widget.rescue.isHidden()  # what was restored is not offered again


def see_and_cancel(widget, qtbot):
    """Press Train, wait for the live prediction, and cancel; return what was seen."""
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.live.layer is not None or not widget.runner.is_running, timeout=120_000)
    assert widget.live.layer is not None, widget.bar.message.text()
    live = widget.live.layer
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    return live


def test_volumes_are_learnt_whole_if_asked_for(widget, viewer, qtbot):
    viewer.add_image(np.stack([halves()[:32]] * 16), name="volume")
    widget.form.values = TINY | {"task": "classes", "steps": 100_000, "patch": 16, "ndim": 3}
    assert not widget.form.fields["ndim"].native.isHidden()
    widget.pairs.first.new_button.click()
    paint = viewer.layers[-1]
    paint.data = np.stack([strokes()[8:40]] * 16)
    live = see_and_cancel(widget, qtbot)
    assert live.data.shape == (16, 32, 80)


def test_channels_are_learnt_together(widget, viewer, qtbot):
    viewer.add_image(np.stack([halves(), halves()[::-1]]), name="channels")
    widget.pairs.first.inputs.axes_box.value = "CYX"
    widget.form.values = TINY | {"task": "classes", "steps": 100_000}
    widget.pairs.first.new_button.click()
    paint = viewer.layers[-1]
    paint.data = strokes().reshape(paint.data.shape)
    live = see_and_cancel(widget, qtbot)
    assert live.data.shape == paint.data.shape


def test_a_class_gets_another_colour(widget, viewer):
    paint_halves(widget, viewer)
    widget.classes.recolour(2, "#ff0000")
    np.testing.assert_allclose(viewer.layers[-1].get_color(2), (1, 0, 0, 1))
    widget.classes.rename(2, "bright")
    np.testing.assert_allclose(viewer.layers[-1].get_color(2), (1, 0, 0, 1))


def test_images_of_dask_are_looked_at_while_they_are_learnt(widget, viewer, qtbot):
    paint_halves(widget, viewer, steps=500)
    viewer.layers["halves"].data = da.from_array(halves(), chunks=40)
    assert see_and_cancel(widget, qtbot).data.shape == halves().shape


def test_the_model_to_start_from_is_not_that_of_the_last_session():
    settings.save(DECLARATION, {"start_from": "nuclei-unet", "steps": 7})
    assert remembered() == {"steps": 7}
