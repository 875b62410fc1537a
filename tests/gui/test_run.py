"""A run, as a user makes it: choose a layer, change a setting, press Run, look at the new layer."""

import time

import numpy as np
import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.engine import api
from napari_tessera.gui.layers.read import RECORD
from napari_tessera.gui.method import widget as method_widget
from tests.helpers.scenes import blobs, two_boxes


def test_run_adds_the_labels_that_python_gives(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    np.testing.assert_array_equal(viewer.layers[-1].data, api.segment("threshold", blobs()).labels)


def test_result_is_named_after_image_and_method(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    assert viewer.layers[-1].name == "blobs · threshold"


def test_second_run_adds_a_second_layer_and_leaves_the_first(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    first = viewer.layers[-1]
    kept = first.data.copy()
    widget.form.fields["polarity"].value = "dark"
    run(widget)
    assert len(viewer.layers) == 3
    np.testing.assert_array_equal(first.data, kept)


def test_changed_setting_reaches_the_method(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    widget.form.fields["output"].widget.value = "objects"
    run(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, two_boxes())


def test_input_is_not_changed(viewer, open_widget, run):
    image = viewer.add_image(blobs(), name="blobs")
    run(open_widget("Watershed"))
    np.testing.assert_array_equal(image.data, blobs())


def test_hover_shows_what_was_measured(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    widget.form.fields["output"].value = "objects"
    run(widget)
    labels = viewer.layers[-1]
    row = labels.features[labels.features["index"] == 2]
    assert row["num_pixels"].item() == (two_boxes() == 2).sum()
    assert "pixels: 63" in labels.get_status((14, 15), world=True)["coordinates"]


def test_record_is_in_the_metadata(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    assert viewer.layers[-1].metadata[RECORD]["method"] == "threshold"


def test_points_are_seeds_where_they_lie_in_the_world(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs", scale=(2, 2))
    viewer.add_points([[10, 12]], scale=(1, 1), name="seeds")
    viewer.layers.selection.active = viewer.layers["blobs"]
    run(open_widget("Region growing"))
    labels = viewer.layers[-1].data
    assert labels[5, 6] == 1
    assert not labels[two_boxes() != 1].any()


def test_labels_can_be_refined(viewer, open_widget, run):
    viewer.add_labels(two_boxes(), name="boxes")
    run(open_widget("Refine labels"))
    assert viewer.layers[-1].name == "boxes · refine labels"


def test_missing_image_is_said_in_the_widget(open_widget, run):
    widget = open_widget("Threshold")
    run(widget)
    assert "Open an image first" in widget.bar.message.text()


def test_an_infinite_pixel_is_left_out_and_said_in_the_widget(viewer, open_widget, run):
    image = blobs(dtype=float)
    image[0, 0] = np.inf
    viewer.add_image(image, name="blobs", contrast_limits=(0, 255))
    widget = open_widget("Threshold")
    run(widget)
    assert "not image (NaN or infinite)" in widget.bar.message.text()
    assert viewer.layers[-1].data[0, 0] == 0


def test_error_goes_with_the_layer_it_is_about(viewer, open_widget, run):
    viewer.add_image(np.full((9, 9), np.nan), name="gaps", contrast_limits=(0, 1))
    widget = open_widget("Threshold")
    run(widget)
    assert "NaN" in widget.bar.message.text()
    viewer.layers.clear()
    assert widget.bar.message.text() == ""


def test_error_goes_when_another_layer_is_chosen(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    viewer.add_image(np.full((9, 9), np.nan), name="gaps", contrast_limits=(0, 1))
    widget = open_widget("Threshold")
    run(widget)
    widget.inputs.main.layer = viewer.layers["blobs"]
    assert widget.bar.message.text() == ""


def test_what_a_run_found_disappears_when_another_image_is_chosen(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    other = viewer.add_image(blobs(), name="other")
    widget = open_widget("Threshold")
    run(widget)
    widget.inputs.main.layer = other
    run(widget)
    assert widget.bar.message.text().startswith("other: ")
    widget.inputs.main.layer = viewer.layers["blobs"]
    assert not widget.bar.message.text()


def test_bad_setting_is_said_in_the_widget(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    widget.form.values = {"low": 9, "high": 5, "method": "manual"}
    run(widget)
    assert "Low is 9, which is above High" in widget.bar.message.text()


def _endless(request):
    for _ in range(10_000):
        time.sleep(0.01)
        yield Progress(1, 2, "Working")


def _broken(request):
    yield Progress(1, 2, "Working")
    raise RuntimeError("a library failed")


@pytest.fixture
def running(viewer, open_widget, monkeypatch, qtbot):
    monkeypatch.setattr(method_widget, "run_request", _endless)
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=10_000)
    return widget


def test_cancel_stops_the_thread_and_adds_nothing(running, viewer, qtbot):
    running.bar.cancel_button.click()
    qtbot.waitUntil(lambda: running.bar.run_button.isEnabled(), timeout=10_000)
    assert not running.runner.is_running
    assert running.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 1


def test_a_second_run_cannot_start_while_one_runs(running):
    thread = running.runner._thread
    running.run()
    assert running.runner._thread is thread
    assert not running.bar.run_button.isEnabled()
    running.shut_down()


def test_progress_is_shown_in_the_activity_dock(running):
    from napari.utils import progress

    shown = [bar.desc for bar in progress._all_instances]
    running.shut_down()
    assert any(text.startswith("Threshold") for text in shown)


def test_closing_the_widget_stops_the_run(running, viewer, qtbot):
    runner = running.runner
    viewer.window.remove_dock_widget(running)
    qtbot.waitUntil(lambda: not runner.is_running, timeout=10_000)


def test_an_unexpected_error_is_shown_with_details_to_copy(viewer, open_widget, run, monkeypatch):
    monkeypatch.setattr(method_widget, "run_request", _broken)
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    assert "RuntimeError: a library failed" in widget.bar.message.text()
    assert "in _broken" in widget.bar._details
    assert not widget.bar.details_button.isHidden()


def test_a_class_of_a_film_is_counted_once(viewer, open_widget, run):
    viewer.add_image(np.stack([blobs()] * 3), name="film", axis_labels=("t", "y", "x"))
    widget = open_widget("Threshold")
    widget.inputs.axes_box.value = "TYX"
    run(widget)
    assert widget.bar.message.text().startswith("film: 1 class in ")


def test_a_new_result_hides_the_one_before_and_does_not_delete_it(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    run(widget)
    image, first, second = viewer.layers
    assert image.visible
    assert not first.visible
    assert second.visible


def test_a_result_hides_the_one_of_a_widget_that_was_closed(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    viewer.window.remove_dock_widget(widget)
    viewer.layers.selection.active = viewer.layers[0]
    run(open_widget("Threshold"))
    assert [layer.visible for layer in viewer.layers] == [True, False, True]


def test_results_of_other_images_and_widgets_stay_visible(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    run(open_widget("Watershed"))
    widget = open_widget("Threshold")
    viewer.add_image(blobs(), name="other")
    run(widget)
    assert [layer.visible for layer in viewer.layers] == [True] * 5
