"""A panoptic run, as a user makes it: inputs where they matter, two layers, and what lies under the mouse."""

import numpy as np
import pytest
from napari.layers import Labels

import napari_tessera as tessera
from tests.helpers.tiny_models import save_bright

CELLS = np.zeros((24, 40), np.int32)
CELLS[4:14, 4:14], CELLS[8:20, 22:34] = 7, 4
TISSUE = np.zeros((24, 40), np.int32)
TISSUE[:, 20:] = 2


def two_squares(*planes):
    """A bright and a dimmer square on black."""
    image = np.zeros((*planes, 24, 40), np.uint8)
    image[..., 4:14, 4:14], image[..., 8:20, 22:34] = 200, 120
    return image


@pytest.fixture
def widget(viewer, open_widget):
    """The widget, set to the watershed, which needs no model."""
    widget = open_widget("Panoptic")
    widget.form.fields["things_from"].value = "watershed"
    return widget


@pytest.fixture
def of_layers(widget, viewer):
    """The widget, set to fuse two layers that are there."""
    viewer.add_image(two_squares(), name="squares", scale=(0.5, 0.5), units=("um", "um"))
    for name, data in {"things": CELLS, "stuff": TISSUE}.items():
        viewer.add_labels(data, name=name, scale=(0.5, 0.5), units=("um", "um"))
        widget.form.fields[f"{name}_from"].value = "layer"
        widget.inputs.boxes[name].layer = viewer.layers[name]
    widget.form.fields["smallest_stuff"].value = 0
    return widget


def under_mouse(layer, *position):
    return layer.get_status(position, world=True)["coordinates"]


def shown(widget):
    """Names of the settings that are shown."""
    return {name for name, field in widget.form.fields.items() if not field.native.isHidden()}


def test_layers_are_asked_for_where_they_matter_only(widget):
    assert widget.inputs.boxes["things"].native.isHidden()
    widget.form.fields["things_from"].value = "layer"
    assert not widget.inputs.boxes["things"].native.isHidden()
    assert widget.inputs.boxes["stuff"].native.isHidden()


def test_a_layer_that_is_asked_for_is_taken_from_those_that_no_other_box_has(widget, viewer):
    viewer.add_image(two_squares(), name="squares")
    first, second = (viewer.add_labels(data, name=name) for name, data in {"a": CELLS, "b": TISSUE}.items())
    widget.form.fields["things_from"].value = "layer"
    widget.form.fields["stuff_from"].value = "layer"
    assert {box.layer for name, box in widget.inputs.boxes.items() if name != "image"} == {first, second}


def test_a_layer_that_comes_later_is_taken_where_one_is_asked_for(widget, viewer):
    viewer.add_image(two_squares(), name="squares")
    widget.form.fields["things_from"].value = "layer"
    layer = viewer.add_labels(CELLS, name="things")
    assert widget.inputs.boxes["things"].layer is layer


def test_a_class_of_a_film_has_one_row_for_all_frames(widget, viewer, run):
    viewer.add_image(two_squares(3), name="film")
    widget.inputs.axes_box.value = "TYX"
    run(widget)
    classes = viewer.layers["film · panoptic · classes"].features
    assert classes["index"].tolist() == [0, 1, 2]
    assert classes["num_pixels"].tolist() == [0, 3 * (24 * 40 - 244), 3 * 244]
    assert "t" not in classes
    assert "6 objects (things) on 1 kind of region (stuff)" in widget.bar.message.text()


def test_settings_of_a_network_are_shown_with_it_only(widget):
    assert not {"things_unet", "things_model", "min_score", "diameter"} & shown(widget)
    widget.form.fields["things_from"].value = "unet"
    assert {"things_unet", "diameter"} <= shown(widget)
    assert "things_model" not in shown(widget)


def test_the_card_of_a_model_is_shown_with_its_model_only(widget):
    cards = {name: field.below for name, field in widget.form.fields.items() if field.below is not None}
    assert all(card.isHidden() for card in cards.values())
    widget.form.fields["things_from"].value = "unet"
    assert not cards["things_unet"].isHidden()
    assert cards["stuff_unet"].isHidden()


def test_diameter_starts_from_that_of_the_model_that_finds_the_things(tmp_path, monkeypatch, open_widget):
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    for name, diameter_px in {"small": 8, "large": 60}.items():
        save_bright(tmp_path / f"{name}.safetensors", diameter_px=diameter_px)
    form = open_widget("Panoptic").form
    form.values = {"things_from": "unet", "things_unet": "small", "stuff_from": "unet", "stuff_unet": "large"}
    form.fields["diameter"].automatic.value = False
    assert form.values["diameter"] == 8


def test_run_adds_segments_and_below_them_classes(of_layers, viewer, run):
    run(of_layers)
    classes, segments = viewer.layers[-2:]
    assert [layer.name for layer in (classes, segments)] == [
        "squares · panoptic · classes",
        "squares · panoptic",
    ]
    expected = tessera.panoptic(two_squares(), CELLS, TISSUE, smallest_stuff=0)
    np.testing.assert_array_equal(segments.data, expected[0])
    np.testing.assert_array_equal(classes.data, expected[1])
    for layer in (classes, segments):
        assert isinstance(layer, Labels)
        np.testing.assert_array_equal(layer.scale, (0.5, 0.5))


def test_segments_are_outlines_so_that_the_classes_are_seen(of_layers, viewer, run):
    run(of_layers)
    assert viewer.layers[-1].contour > 0
    assert viewer.layers[-2].contour == 0
    assert viewer.layers[-2].visible


def test_classes_have_calm_and_distinct_colours_through_which_the_image_is_seen(of_layers, viewer, run):
    run(of_layers)
    classes = viewer.layers[-2]
    colours = [tuple(classes.get_color(number)) for number in (1, 2, 4)]
    assert len(set(colours)) == 3
    assert classes.opacity < 0.5


def test_huge_planes_are_shown_filled_since_napari_outlines_them_slowly(of_layers, viewer, run, monkeypatch):
    monkeypatch.setattr("napari_tessera.gui.layers.add.MOST_OUTLINED_PX", 100)
    run(of_layers)
    assert viewer.layers[-1].contour == 0


def test_what_lies_under_the_mouse_says_class_and_kind(of_layers, viewer, run):
    run(of_layers)
    segments = viewer.layers.selection.active
    assert segments is viewer.layers[-1]
    assert ": 1; class: object, kind: thing, " in under_mouse(segments, 4, 4)
    assert "class: class 2, kind: stuff, " in under_mouse(segments, 0.5, 19)


def test_classes_under_the_mouse_say_their_names(of_layers, viewer, run):
    run(of_layers)
    assert "class: background" in under_mouse(viewer.layers[-2], 0, 0)
    assert "class: object" in under_mouse(viewer.layers[-2], 4, 4)


def test_it_is_said_how_many_things_there_are(of_layers, run):
    run(of_layers)
    assert "2 objects (things) on 2 kinds of region (stuff) in " in of_layers.bar.message.text()


def test_the_layers_that_were_fused_are_left_as_they_were(of_layers, viewer, run):
    run(of_layers)
    np.testing.assert_array_equal(viewer.layers["things"].data, CELLS)
    np.testing.assert_array_equal(viewer.layers["stuff"].data, TISSUE)


def test_a_layer_that_is_missing_is_said_at_once(widget, viewer):
    viewer.add_image(two_squares(), name="squares")
    widget.form.fields["things_from"].value = "layer"
    widget.run()
    assert not widget.runner.is_running
    assert widget.bar.message.text().startswith("Objects (things) is empty. Choose a labels layer")
    assert widget.bar.details_button.isHidden()
    assert len(viewer.layers) == 1


def test_things_and_stuff_of_methods_need_no_model(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares")
    run(widget)
    assert viewer.layers[-1].features["kind"].tolist().count("thing") == 2
    assert widget.forecast.isHidden()


def test_volumes_and_time_series_keep_their_axes(widget, viewer, run):
    viewer.add_image(two_squares(3), name="squares", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    run(widget)
    for layer in viewer.layers[-2:]:
        assert layer.data.shape == (3, 24, 40)
        np.testing.assert_array_equal(layer.scale, (2, 1, 1))


def test_cancel_ends_the_run_and_adds_nothing(widget, viewer, qtbot):
    viewer.add_image(np.tile(two_squares(), (60, 40)), name="many")
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=60_000)
    widget.bar.cancel_button.click()
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled(), timeout=10_000)
    assert widget.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 1


def test_a_panoptic_result_is_not_chosen_as_its_own_input(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares")
    run(widget)
    widget.form.fields["things_from"].value = "layer"
    assert "panoptic" not in (widget.inputs.boxes["things"].combo.current_choice or "")


def test_of_a_panoptic_result_the_things_are_things_and_the_stuff_is_stuff(widget, viewer, run):
    viewer.add_image(two_squares(), name="squares")
    run(widget)
    segments = viewer.layers[-1]
    n_things = segments.features["kind"].tolist().count("thing")
    for name in ("things", "stuff"):
        widget.form.fields[f"{name}_from"].value = "layer"
        widget.inputs.boxes[name].layer = segments
    run(widget)
    again = viewer.layers[-1]
    assert again is not segments
    np.testing.assert_array_equal(again.data, segments.data)
    assert again.features["kind"].tolist().count("thing") == n_things
    assert "only the objects (things) of" in widget.bar.message.text()


def test_advice_on_rims_is_in_the_unit_of_the_field_and_removes_them(widget, viewer, run):
    viewer.add_image(np.pad(np.full((20, 20), 100.0), 20), name="image", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_labels(np.pad(np.ones((18, 18), np.int32), 21), name="things", scale=(0.5, 0.5), units=("um", "um"))
    widget.form.values = {"things_from": "layer", "smallest_stuff": 64, "sigma": 0.0}
    widget.inputs.boxes["things"].layer = viewer.layers["things"]
    run(widget)
    assert "set Smallest region to 19.25 µm² or more" in widget.bar.message.text()  # 77 px
    widget.form.fields["smallest_stuff"].spin_box.native.setValue(19.25)
    run(widget)
    assert "rims" not in widget.bar.message.text()
