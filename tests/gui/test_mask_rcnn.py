"""A run of a Mask R-CNN, as a user makes it: objects under the mouse, boxes, notes, and Cancel."""

import numpy as np
import pytest
from napari.layers import Labels, Shapes

from napari_tessera.engine import api
from napari_tessera.models.weights import save_model
from tests.helpers.tiny_models import BrightDetector, save_bright, small_mask_rcnn


def two_squares(*planes):
    """A small bright square on the left and a larger one on the right, half as bright, on black."""
    image = np.zeros((*planes, 24, 40), np.uint8)
    image[..., 4:14, 4:14], image[..., 6:20, 22:36] = 200, 100
    return image


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with a Mask R-CNN, in whose place a detector of bright regions runs, and a U-Net."""
    header = {"classes": ["background", "small", "large"], "normalisation": {"kind": "colours"}, "diameter_px": 14.0}
    save_model(tmp_path / "squares.safetensors", small_mask_rcnn(5, num_classes=3), header | {"title": "Squares"})
    save_bright(tmp_path / "bright.safetensors")
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    monkeypatch.setattr("napari_tessera.inference.predictor.load_detector", lambda path, device: BrightDetector(14.0))
    return tmp_path


@pytest.fixture
def widget(models, viewer, open_widget):
    widget = open_widget("Mask R-CNN")
    for name, value in {"model": "squares", "diameter": 14.0, "min_score": 0.3}.items():
        widget.form.fields[name].value = value
    return widget


def under_mouse(layer, *position):
    return layer.get_status(position, world=True)["coordinates"]


def show_boxes(widget, qtbot):
    widget.boxes.click()
    qtbot.waitUntil(lambda: widget.boxes.boxes is not None, timeout=30_000)
    return widget.boxes.boxes


def test_only_models_of_its_kind_are_offered(widget):
    box = widget.form.fields["model"].native
    titles = [box.itemText(number) for number in range(box.count())]
    assert "Squares" in titles
    assert "Bright things" not in titles


def test_run_adds_the_objects_that_python_gives(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares", scale=(0.5, 0.5), units=("um", "um"))
    run(widget)
    labels = viewer.layers[-1]
    assert isinstance(labels, Labels)
    expected = api.segment("mask_rcnn", two_squares(), model="squares", diameter=14, min_score=0.3).labels
    np.testing.assert_array_equal(labels.data, expected)
    assert labels.data.max() == 2
    np.testing.assert_array_equal(labels.scale, (0.5, 0.5))


def test_the_object_under_the_mouse_says_its_class_and_score_first(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares", scale=(0.5, 0.5))
    run(widget)
    assert viewer.layers.selection.active is viewer.layers[-1]
    assert ": 1; class: small, score: 1, " in under_mouse(viewer.layers[-1], 4, 4)
    assert ": 2; class: large, score: 0.5, " in under_mouse(viewer.layers[-1], 6, 15)


def test_what_the_score_cut_is_said_with_the_number_of_objects(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares")
    widget.form.fields["min_score"].value = 0.55
    run(widget)
    text = widget.bar.message.text()
    assert text.startswith("squares: 1 object in ")
    assert "1 object scored just below the least score" in text


def test_boxes_lie_around_the_objects_in_the_world(widget, viewer, run, qtbot):
    viewer.add_image(two_squares(), name="squares", scale=(0.5, 0.5), translate=(10, 20), units=("um", "um"))
    run(widget)
    boxes = show_boxes(widget, qtbot)
    assert isinstance(boxes, Shapes)
    first = [boxes.data_to_world(corner) for corner in boxes.data[0]]
    np.testing.assert_allclose(np.min(first, axis=0), (10 + 3.5 / 2, 20 + 3.5 / 2))
    np.testing.assert_allclose(np.max(first, axis=0), (10 + 13.5 / 2, 20 + 13.5 / 2))


def test_boxes_within_a_drawn_region_lie_around_the_objects(widget, viewer, run, qtbot):
    image = viewer.add_image(two_squares(), name="squares")
    drawn = viewer.add_shapes([[[0, 20], [0, 39], [23, 39], [23, 20]]], shape_type="polygon", name="drawn")
    widget.inputs.main.layer, widget.region.shapes.layer = image, drawn
    run(widget)
    boxes = show_boxes(widget, qtbot)
    np.testing.assert_allclose(boxes.data[0].min(axis=0), (5.5, 21.5), atol=0.5)


def test_boxes_of_a_volume_are_on_the_planes_of_their_objects(widget, viewer, run, qtbot):
    volume = two_squares(6)
    volume[[0, 5]] = 0
    viewer.add_image(volume, name="squares")
    run(widget)
    boxes = show_boxes(widget, qtbot)
    assert sorted({float(corners[0, 0]) for corners in boxes.data}) == [1, 2, 3, 4]


def test_boxes_of_a_time_series_are_at_the_times_of_their_objects(widget, viewer, run, qtbot):
    series = two_squares(3)
    series[1] = 0
    viewer.add_image(series, name="squares", axis_labels=("t", "y", "x"))
    run(widget)
    boxes = show_boxes(widget, qtbot)
    assert [float(corners[0, 0]) for corners in boxes.data] == [0, 0, 2, 2]


def test_boxes_of_the_plane_shown_are_on_that_plane(widget, viewer, run, qtbot):
    viewer.add_image(two_squares(6), name="squares")
    viewer.dims.set_point(0, 2)
    widget.region.plane_only.value = True
    run(widget)
    boxes = show_boxes(widget, qtbot)
    assert {float(corners[0, 0]) for corners in boxes.data} == {2}


def test_a_run_that_finds_nothing_offers_no_boxes(widget, viewer, run):
    viewer.add_image(np.zeros((24, 40), np.uint8), name="black", contrast_limits=(0, 255))
    run(widget)
    assert widget.boxes.isHidden()
    assert "Nothing was found" in widget.bar.message.text()


def test_a_second_run_leaves_the_labels_and_boxes_of_the_first(widget, viewer, run, qtbot):
    viewer.add_image(two_squares(), name="squares")
    run(widget)
    boxes = show_boxes(widget, qtbot)
    run(widget)
    assert [layer.name for layer in viewer.layers] == [
        "squares",
        "squares · mask r-cnn",
        "squares · mask r-cnn · boxes",
        "squares · mask r-cnn [1]",
    ]
    assert viewer.layers[2] is boxes
    assert widget.boxes.text() == "Show boxes"


def test_cancel_ends_the_run_and_adds_nothing(widget, viewer, qtbot):
    viewer.add_image(np.tile(two_squares(), (40, 40)), name="many")
    widget.form.fields["tile_size"].value = 32
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=60_000)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=10_000)
    assert widget.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 1


def test_forecast_says_device_time_and_memory(widget, viewer, qtbot):
    viewer.add_image(two_squares(), name="squares")
    qtbot.waitUntil(lambda: " of memory" in widget.forecast.text(), timeout=60_000)
    assert widget.forecast.text().startswith("On ")


def test_settings_of_volumes_are_shown_with_volumes_only(widget, viewer):
    viewer.add_image(two_squares(), name="plane")
    assert widget.form.fields["stitch_threshold"].native.isHidden()
    widget.inputs.main.layer = viewer.add_image(two_squares(6), name="volume")
    assert not widget.form.fields["stitch_threshold"].native.isHidden()


def test_closing_the_widget_leaves_labels_and_boxes(widget, viewer, run, qtbot):
    viewer.add_image(two_squares(), name="squares")
    run(widget)
    boxes = show_boxes(widget, qtbot)
    viewer.window.remove_dock_widget(widget)
    boxes.visible = False
    assert len(viewer.layers) == 3
