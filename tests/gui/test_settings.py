"""Settings are remembered, and recipes run again."""

import json

import numpy as np
import pytest
from qtpy.QtGui import QGuiApplication

from napari_tessera.engine import api
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.layers.read import RECORD
from napari_tessera.methods.registry import method_named
from tests.helpers.scenes import blobs

THRESHOLD = method_named("threshold")


def test_settings_come_back_in_the_next_session(open_widget, viewer, settings_file, qtbot):
    widget = open_widget("Threshold")
    widget.form.fields["method"].value = "li"
    qtbot.waitUntil(settings_file.exists, timeout=5_000)
    viewer.window.remove_dock_widget(widget)
    assert open_widget("Threshold").form.fields["method"].value == "li"


def test_what_is_not_by_default_is_said_and_set_back(open_widget, viewer, settings_file, qtbot):
    settings.save(THRESHOLD, {"method": "li", "sigma": 2.5})
    widget = open_widget("Threshold")
    assert widget.bar.message.text() == "From last time, not the defaults: Method Li, Smoothing (sigma) 2.5."
    widget.bar.offer_button.click()
    assert widget.form.values == THRESHOLD.declaration.defaults
    assert not widget.bar.offer_button.isVisible()


def test_it_is_said_until_a_setting_changes(open_widget, viewer, settings_file):
    settings.save(THRESHOLD, {"method": "li"})
    image = viewer.add_image(blobs(), name="blobs", scale=(0.5, 0.5), units=("um", "um"))
    widget = open_widget("Threshold")
    image.scale = (0.25, 0.25)
    viewer.add_image(blobs(), name="other")
    widget.inputs.main.layer = viewer.layers["other"]
    assert "Method Li" in widget.bar.message.text()
    widget.form.fields["method"].value = "otsu"
    assert widget.bar.message.text() == ""


def test_defaults_are_not_worth_a_word(open_widget):
    settings.save(THRESHOLD, THRESHOLD.declaration.defaults | {"k": 0.5})  # which the rule has no use for
    assert open_widget("Threshold").bar.message.text() == ""


def test_damaged_settings_are_the_same_as_none(open_widget, settings_file):
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text('{"threshold": {"method": "l')
    assert open_widget("Threshold").form.values == THRESHOLD.declaration.defaults


def test_settings_that_no_longer_fit_are_left_out(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"threshold": {"method": "gone", "removed": 1, "sigma": -5, "classes": 4}}))
    assert settings.load(THRESHOLD, path) == {"classes": 4}


def test_saving_one_method_keeps_the_others(tmp_path):
    path = tmp_path / "settings.json"
    settings.save(THRESHOLD, {"method": "li"}, path)
    settings.save(method_named("watershed"), {"sigma": 2.0}, path)
    assert settings.load(THRESHOLD, path) == {"method": "li"}


def test_saving_leaves_no_other_file_behind(tmp_path):
    settings.save(THRESHOLD, {"method": "li"}, tmp_path / "settings.json")
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_settings_that_cannot_be_written_are_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert settings.save(THRESHOLD, {}, blocked / "settings.json") is False


def test_restore_defaults_restores_every_setting(open_widget):
    widget = open_widget("Threshold")
    widget.form.fields["method"].value = "manual"
    widget.form.fields["low"].value = 7.0
    widget.restore_defaults()
    assert widget.form.values == THRESHOLD.declaration.defaults


@pytest.fixture
def ran(viewer, open_widget, run):
    """A watershed widget that ran with settings of its own; its layer is selected."""
    viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="blobs")
    widget = open_widget("Watershed")
    widget.form.fields["sigma"].value = 1.7
    run(widget)
    return widget


def _finish(widget, qtbot):
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=60_000)


def test_layer_s_recipe_runs_again_bit_for_bit(ran, viewer, qtbot):
    first = viewer.layers[-1]
    ran.restore_defaults()
    ran.recipes.run_again()
    _finish(ran, qtbot)
    assert viewer.layers[-1] is not first
    assert viewer.layers[-1].data.dtype == first.data.dtype
    np.testing.assert_array_equal(viewer.layers[-1].data, first.data)


def test_record_made_in_napari_runs_in_python_bit_for_bit(ran, viewer):
    labels = viewer.layers[-1]
    record = json.loads(json.dumps(labels.metadata[RECORD]))
    np.testing.assert_array_equal(api.run(record, blobs()).labels, labels.data)


def test_record_made_in_python_runs_in_napari_bit_for_bit(viewer, open_widget, qtbot):
    result = api.segment("threshold", blobs(), output="objects", sigma=0.8)
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    QGuiApplication.clipboard().setText(json.dumps(result.provenance))
    widget.recipes.run_copied()
    _finish(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers[-1].data, result.labels)


def test_copied_recipe_fills_the_form(ran):
    ran.recipes.copy_recipe()
    ran.restore_defaults()
    ran.recipes.apply_recipe()
    assert ran.form.fields["sigma"].value == 1.7


def test_recipe_of_a_run_with_painted_markers_holds_them(viewer, open_widget, run, qtbot):
    markers = np.zeros((20, 24), int)
    markers[5, 5], markers[14, 15] = 1, 2
    viewer.add_image(blobs(), name="blobs")
    paint = viewer.add_labels(markers, name="paint")
    viewer.layers.selection.active = viewer.layers["blobs"]
    widget = open_widget("Watershed")
    widget.inputs.boxes["markers"].layer = paint
    run(widget)
    first = viewer.layers[-1]
    viewer.layers.remove(paint)
    viewer.layers.selection.active = first
    widget.recipes.run_again()
    _finish(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers[-1].data, first.data)


def test_recipe_of_labels_made_from_labels_holds_both_steps(viewer, open_widget, run):
    viewer.add_image(blobs(), name="blobs")
    run(open_widget("Threshold"))
    run(open_widget("Refine labels"))
    record = viewer.layers[-1].metadata[RECORD]
    assert record["inputs"]["labels"]["record"]["method"] == "threshold"


def test_layer_without_a_recipe_is_said_in_the_widget(viewer, open_widget):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    widget.recipes._try(widget.recipes.run_again)
    assert "Select a labels layer that Tessera made" in widget.bar.message.text()


def test_recipe_of_another_method_is_said_in_the_widget(viewer, open_widget):
    widget = open_widget("Threshold")
    QGuiApplication.clipboard().setText(json.dumps(api.segment("watershed", blobs()).provenance))
    widget.recipes._try(widget.recipes.apply_recipe)
    assert "belongs to watershed" in widget.bar.message.text()


def test_text_that_is_no_recipe_is_said_in_the_widget(open_widget):
    widget = open_widget("Threshold")
    QGuiApplication.clipboard().setText("hello")
    widget.recipes._try(widget.recipes.apply_recipe)
    assert "no recipe on the clipboard" in widget.bar.message.text()


def test_null_on_the_clipboard_is_no_recipe_and_runs_nothing(viewer, open_widget):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    QGuiApplication.clipboard().setText("null")
    widget.recipes._try(widget.recipes.run_copied)
    assert "no recipe on the clipboard" in widget.bar.message.text()
    assert not widget.runner.is_running


def test_python_code_gives_the_same_labels(ran, viewer):
    from napari_tessera.gui.method.run_request import as_python

    found = {}
    exec(as_python(ran.request()), {"image": blobs()}, found)
    np.testing.assert_array_equal(found["result"].labels, viewer.layers[-1].data)


def test_command_line_holds_the_changed_settings(ran):
    from napari_tessera.gui.method.run_request import as_command

    assert as_command(ran.request()).endswith(" --sigma 1.7")


def test_command_line_holds_the_pixel_size_and_its_unit(ran):
    from napari_tessera.gui.method.run_request import as_command

    expected = "tessera watershed IMAGE.tif -o OUT.tif --axes YX --spacing 0.5 0.5 --unit micrometer "
    assert as_command(ran.request()).startswith(expected)


def test_command_line_says_no_pixel_size_where_none_is_known(viewer, open_widget):
    from napari_tessera.gui.method.run_request import as_command

    viewer.add_image(blobs(), name="blobs")
    assert "--spacing" not in as_command(open_widget("Threshold").request())
