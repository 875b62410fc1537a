"""Training, as a user does it: paint, press Train, watch, stop or cancel, use the model."""

import itertools

import numpy as np
import pytest
from scenes_to_learn import halves, squares, strokes
from test_train_cli import same_weights

import napari_tessera as tessera
from napari_tessera.gui.annotation import class_names
from napari_tessera.gui.layer_box import PREVIEW

TINY = {"start_from": "nothing", "patch": 32, "batch": 1, "validations": 2, "threads": 1, "widths": "4,8"}
TINY_DETECTOR = TINY | {"patch": 64, "widths": "8,8,8,8", "network": "mask-rcnn"}
LOSSES = ("combined", "dice", "weighted-ce", "focal")


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


def own_layers(viewer):
    """Layers that the user made, not the live prediction."""
    return [layer for layer in viewer.layers if PREVIEW not in layer.metadata]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_unet_of_classes_is_trained_saved_and_predicts(loss, widget, viewer, train, own_models):
    train(paint_halves(widget, viewer, loss=loss))
    assert widget.learnt.trained.path == own_models / "fine-tuned.safetensors"
    labels = tessera.unet(halves(), model="fine-tuned", output="classes")
    assert labels.shape == halves().shape


@pytest.mark.parametrize(("network", "loss"), list(itertools.product(("unet", "mask-rcnn"), LOSSES)))
def test_a_network_of_objects_is_trained_stopped_saved_and_predicts(network, loss, widget, viewer, qtbot):
    tiny = TINY_DETECTOR | {"mask_loss": loss} if network == "mask-rcnn" else TINY
    paint_squares(widget, viewer, **tiny, loss=loss, steps=1000, validation=0.0)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.stop_button.isEnabled, timeout=120_000)
    widget.bar.stop_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert not widget.learnt.trained.is_finished
    found = tessera.segment(network.replace("-", "_"), squares()[0], model="fine-tuned")
    assert found.labels.shape == (64, 64)


def test_what_was_stopped_goes_on_to_its_end(widget, viewer, train, qtbot):
    paint_halves(widget, viewer, steps=200)
    widget.bar.run_button.click()
    qtbot.waitUntil(widget.bar.stop_button.isEnabled, timeout=120_000)
    widget.bar.stop_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    stopped_at = widget.learnt.trained.header["training"]["steps"]
    assert stopped_at < 200
    viewer.layers[-1].data = np.zeros_like(strokes())  # painting went on meanwhile
    widget.bar.go_on_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert widget.learnt.trained.header["training"]["steps"] == 200


def test_cancel_leaves_the_layers_and_no_model(widget, viewer, qtbot, own_models):
    paint_halves(widget, viewer, steps=100_000)
    before = list(viewer.layers)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: len(widget.course.losses) > 2, timeout=120_000)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=120_000)
    assert list(viewer.layers) == before
    np.testing.assert_array_equal(before[-1].data, strokes())
    assert [path.name for path in own_models.iterdir()] == ["fine-tuned.safetensors.checkpoint"]
    assert "No layer and no model was changed" in widget.bar.message.text()
    assert not widget.bar.go_on_button.isHidden()


def test_the_weights_are_those_of_python(widget, viewer, train, tmp_path):
    train(paint_halves(widget, viewer, steps=4, seed=3))
    other = tmp_path / "other.safetensors"
    tessera.fine_tune(halves(), strokes(), other, **TINY, task="classes", steps=4, seed=3, classes="background,class 2")
    assert same_weights(widget.learnt.trained.path, other)


def test_classes_are_named_as_in_the_widget(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.classes.rows[1].name.setText("bright")
    widget.classes.rows[1].name.editingFinished.emit()
    assert class_names(viewer.layers[-1]) == ["background", "bright"]
    train(widget)
    assert widget.learnt.trained.header["classes"] == ["background", "bright"]


def test_the_live_prediction_is_a_layer_of_its_own_that_is_never_offered(widget, viewer, qtbot):
    paint_halves(widget, viewer, steps=100_000)
    viewer.add_labels(np.ones((64, 80), np.uint8), name="halves · live prediction")
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.live.layer is not None, timeout=120_000)
    widget.bar.cancel_button.click()
    live = widget.live.layer
    assert live.name != "halves · live prediction"
    assert live not in widget.pairs.first.inputs.boxes["paint"].offered()
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
    assert "No background is painted" in widget.course_view.warnings.text()


def test_paint_of_another_shape_is_refused(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.pairs.first.paint = viewer.add_labels(np.ones((9, 9), np.uint8), name="small")
    train(widget)
    assert "the paint has shape (9, 9)" in widget.bar.message.text()


def test_no_model_is_replaced(widget, viewer, train):
    paint_halves(widget, viewer)
    widget.name.value = "nuclei-unet"
    train(widget)
    assert "There is a model 'nuclei-unet' already" in widget.bar.message.text()


def test_the_model_is_in_the_list_of_a_widget_that_is_open(widget, viewer, open_widget, train, qtbot):
    unet = open_widget("U-Net")
    train(paint_halves(widget, viewer))
    qtbot.waitUntil(lambda: "fine-tuned" in unet.form.fields["model"].combo.choices, timeout=10_000)
    widget.outcome.open_button.click()
    assert unet.form.fields["model"].value == "fine-tuned"


def test_two_images_are_learnt_together(widget, viewer, train):
    paint_halves(widget, viewer)
    viewer.add_image(halves()[::-1].copy(), name="turned")
    widget.pairs.more_button.click()
    pair = widget.pairs.pairs[1]
    assert pair.image is viewer.layers["turned"]
    pair.new_button.click()
    viewer.layers[-1].data = strokes()
    train(widget)
    assert widget.learnt.trained.header["training"]["images"]["train"] == ["halves", "turned"]


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
    qtbot.waitUntil(lambda: bool(widget.course.losses), timeout=120_000)
    runner = widget.runner
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not runner.is_running, timeout=10_000)
    assert not [layer for layer in viewer.layers if PREVIEW in layer.metadata]
