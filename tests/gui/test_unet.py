"""A run of a network, as a user makes it: the forecast before, labels or probabilities after, and Cancel."""

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_tessera.engine import api
from napari_tessera.gui.layers.add import colours_of_classes
from napari_tessera.gui.layers.annotation import empty_annotation
from napari_tessera.gui.layers.read import RECORD
from tests.helpers.scenes import blobs, two_boxes
from tests.helpers.tiny_models import save_bright


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    save_bright(tmp_path / "bright.safetensors")
    return tmp_path


@pytest.fixture
def widget(folder, viewer, open_widget):
    """The widget, with a network chosen that finds what is bright."""
    widget = open_widget("U-Net")
    widget.form.fields["model"].value = "bright"
    return widget


def test_run_adds_the_objects_that_python_gives(widget, viewer, run):
    viewer.add_image(blobs(), name="blobs", scale=(0.5, 0.5), units=("um", "um"))
    run(widget)
    labels = viewer.layers[-1]
    assert isinstance(labels, Labels)
    np.testing.assert_array_equal(labels.data, api.segment("unet", blobs(), model="bright").labels)
    assert labels.data.max() == 2
    assert labels.name == "blobs · u-net"
    np.testing.assert_array_equal(labels.scale, (0.5, 0.5))


def test_classes_have_the_colours_and_the_names_that_they_were_painted_with(widget, viewer, run):
    image = viewer.add_image(blobs(), name="blobs")
    paint = empty_annotation(image, "YX", ["background", "blob"], "classes")
    widget.form.fields["output"].value = "classes"
    run(widget)
    classes = viewer.layers[-1]
    np.testing.assert_array_equal(classes.get_color(1), paint.get_color(2))
    assert classes.features.set_index("index")["class"].tolist() == ["background", "blob"]


def test_record_names_the_model(widget, viewer, run):
    viewer.add_image(blobs(), name="blobs")
    run(widget)
    assert viewer.layers[-1].metadata[RECORD]["parameters"]["model"] == "bright"


def test_probabilities_become_an_image_in_the_same_place(widget, viewer, run):
    viewer.add_image(blobs(), name="blobs", scale=(0.5, 0.5), translate=(3, 4))
    widget.form.fields["output"].value = "probabilities"
    run(widget)
    image = viewer.layers[-1]
    assert isinstance(image, Image)
    assert image.name == "blobs · u-net · blob"
    assert tuple(image.contrast_limits) == (0, 1)
    np.testing.assert_allclose(image.colormap.colors[-1], colours_of_classes().map(2), atol=0.01)
    np.testing.assert_array_equal(image.translate, (3, 4))
    np.testing.assert_array_equal(image.data > 0.5, two_boxes() > 0)
    assert "Probabilities of blob in " in widget.bar.message.text()


def test_second_run_of_probabilities_leaves_the_first(widget, viewer, run):
    viewer.add_image(blobs(), name="blobs")
    widget.form.fields["output"].value = "probabilities"
    run(widget)
    first = viewer.layers[-1]
    run(widget)
    assert len(viewer.layers) == 3
    assert viewer.layers[-1] is not first


def test_current_plane_only(widget, viewer, run):
    viewer.add_image(blobs(3), name="blobs")
    viewer.dims.set_point(0, 2)
    widget.region.plane_only.value = True
    run(widget)
    labels = viewer.layers[-1].data
    assert labels[2].any()
    assert not labels[[0, 1, 3, 4, 5]].any()


def test_drawn_region_only(widget, viewer, run):
    viewer.add_image(blobs(), name="blobs")
    drawn = viewer.add_shapes([[[0, 0], [0, 12], [10, 12], [10, 0]]], shape_type="polygon", name="drawn")
    widget.region.shapes.layer = drawn
    run(widget)
    labels = viewer.layers[-1].data
    assert labels.max() == 1
    assert not labels[11:].any()


def test_cancel_ends_the_run_and_adds_nothing(widget, viewer, qtbot):
    viewer.add_image(np.tile(blobs(), (60, 60)), name="many")
    widget.form.fields["tile_size"].value = 32
    widget.form.fields["augment"].value = True
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=60_000)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=10_000)
    assert widget.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 1


def test_model_that_is_gone_is_said_in_the_widget(widget, folder, viewer, run):
    viewer.add_image(blobs(), name="blobs")
    (folder / "bright.safetensors").unlink()
    run(widget)
    assert "There is no model 'bright'" in widget.bar.message.text()
    assert len(viewer.layers) == 1


def test_model_that_was_damaged_meanwhile_is_said_in_the_widget(widget, folder, viewer, run):
    viewer.add_image(blobs(), name="blobs")
    content = (folder / "bright.safetensors").read_bytes()
    (folder / "bright.safetensors").write_bytes(content[: len(content) // 2])
    run(widget)
    assert "bright.safetensors" in widget.bar.message.text()
    assert widget.bar.details_button.isHidden()
    assert len(viewer.layers) == 1


def test_forecast_says_device_time_and_memory(widget, viewer, qtbot):
    viewer.add_image(blobs(), name="blobs")
    qtbot.waitUntil(lambda: " of memory" in widget.forecast.text(), timeout=60_000)
    assert widget.forecast.text().startswith("On ")
    assert "about 1 s" in widget.forecast.text()


def test_forecast_follows_the_image(widget, viewer, qtbot):
    viewer.add_image(blobs(), name="blobs")
    qtbot.waitUntil(lambda: "0.1 GB" in widget.forecast.text(), timeout=60_000)
    widget.inputs.main.layer = viewer.add_image(np.zeros((8192, 8192), np.uint8), name="large")
    qtbot.waitUntil(lambda: " GB" in widget.forecast.text() and "0.1 GB" not in widget.forecast.text(), timeout=60_000)


def test_forecast_of_a_missing_model_says_so(widget, folder, viewer, qtbot):
    viewer.add_image(blobs(), name="blobs")
    widget.form.fields["model"].value = "unicorn"
    qtbot.waitUntil(lambda: "There is no model 'unicorn'" in widget.forecast.text(), timeout=60_000)


def test_without_an_image_nothing_is_foreseen(widget, qtbot):
    qtbot.wait(300)
    assert widget.forecast.isHidden()


def test_settings_of_volumes_are_shown_with_volumes_only(widget, viewer):
    viewer.add_image(blobs(), name="plane")
    assert widget.form.fields["volume"].native.isHidden()
    volume = viewer.add_image(blobs(3), name="volume")
    widget.inputs.main.layer = volume
    assert not widget.form.fields["volume"].native.isHidden()
