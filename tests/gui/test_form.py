"""The form: made from the declaration, rows that come and go, boxes that follow the layers, sizes in two units."""

from typing import Annotated, Literal

import numpy as np
import pytest

from napari_tessera.core.method import Declaration
from napari_tessera.core.spec import Image, Labels, Range, title_of
from napari_tessera.gui.form.form import make_field
from napari_tessera.gui.layers.read import list_axes, name_axes
from tests.helpers.forms import WITH_FORM
from tests.helpers.scenes import blobs, two_boxes

TITLES = [method.title for method in WITH_FORM]


def declared(
    image: Image,
    *,
    radius: Annotated[int, Range(1, 50, unit="px")] = 10,
    area: Annotated[float, Range(0, unit="px²")] = 100.0,
    level: Annotated[float | None, Range(unit="intensity")] = None,
    kind: Literal["round", "long"] = "round",
    fast: bool = True,
) -> Labels:
    """Do nothing.

    Parameters
    ----------
    radius : int
        How far to look.
    """


FIELDS = {parameter.name: parameter for parameter in Declaration(declared).parameters}


@pytest.fixture
def field(qtbot):
    return lambda name: make_field(FIELDS[name])


@pytest.mark.parametrize("method", WITH_FORM, ids=lambda method: method.name)
def test_form_shows_the_declared_defaults(method, open_widget):
    assert open_widget(method.title).form.values == method.declaration.defaults


@pytest.mark.parametrize("title", TITLES)
def test_no_title_is_cut_off(title, open_widget):
    widget = open_widget(title)
    for rows in (widget.input_rows, widget.form.main, widget.form.more, widget.more):
        for label in rows._titles.values():
            longest = max(label.fontMetrics().horizontalAdvance(word) for word in (label.text() or " ").split(" "))
            assert longest <= label.width()


def test_help_text_is_the_tooltip(field):
    assert field("radius").widget.tooltip == "<qt>How far to look.</qt>"


def test_unit_stands_behind_the_number(field):
    assert field("radius").widget.native.text() == "10 px"


def test_size_in_pixels_is_shown_in_micrometres(field):
    radius = field("radius")
    radius.show_sizes((0.5, 0.5), "µm", 2)
    assert radius.widget.native.text() == "5 µm"
    assert radius.value == 10


def test_area_is_shown_in_square_micrometres_and_volume_in_cubic_ones(field):
    area = field("area")
    area.show_sizes((2.0, 0.5, 0.5), "µm", 2)
    assert area.widget.native.text() == "25 µm²"
    area.show_sizes((2.0, 0.5, 0.5), "µm", 3)
    assert area.widget.native.text() == "50 µm³"


def test_numbers_have_no_needless_zeros_and_take_as_many_decimals_as_before(field):
    area = field("area")
    area.value = 1.8 / 0.25
    area.show_sizes((0.5, 0.5), "µm", 2)
    native = area.widget.native
    assert (native.text(), area.in_words(area.value), native.decimals()) == ("1.8 µm²", "1.8 µm²", 2)
    native.setValue(1.85)
    assert native.text() == "1.85 µm²"
    native.setValue(native.minimum())
    assert native.text() == "0 µm²"


def test_typed_micrometres_become_pixels(field):
    radius = field("radius")
    radius.show_sizes((0.5, 0.5), "µm", 2)
    radius.widget.native.setValue(4.0)
    assert radius.value == 8


def test_changing_the_unit_back_and_forth_changes_no_value(field):
    area = field("area")
    area.value = 100 / 3
    for _ in range(5):
        area.show_sizes((0.37, 0.37), "µm", 2)
        area.show_sizes(None, "px", 2)
    assert area.value == 100 / 3


def test_optional_number_is_none_until_auto_is_switched_off(field):
    level = field("level")
    level.show_intensities(0, 1000)
    assert level.value is None
    level.automatic.value = False
    assert level.value == 500


def test_a_number_that_is_found_automatically_is_not_shown(field):
    level = field("level")
    level.show_intensities(0, 1000)
    assert level.spin_box.native.text().strip() == ""
    level.automatic.value = False
    assert level.spin_box.native.text().startswith("500")
    level.value = level.parameter.range.low if np.isfinite(level.parameter.range.low) else 0
    assert level.spin_box.native.text().strip() != ""


def test_switching_auto_on_again_gives_none(field):
    level = field("level")
    level.automatic.value = False
    level.automatic.value = True
    assert level.value is None


def test_choice_and_switch_keep_their_values(field):
    kind, fast = field("kind"), field("fast")
    kind.value, fast.value = "long", False
    assert (kind.value, fast.value) == ("long", False)


def test_rows_appear_when_they_matter(open_widget):
    form = open_widget("Threshold").form
    radius = form.fields["radius"]
    assert radius.native.isHidden()
    form.fields["method"].widget.value = "sauvola"
    assert not radius.native.isHidden()
    assert form.fields["classes"].native.isHidden()


def test_channel_is_asked_only_where_there_are_channels(viewer, open_widget):
    viewer.add_image(blobs(), name="grey")
    viewer.add_image(np.stack([blobs()] * 3, axis=-1), rgb=True, name="colour")
    widget = open_widget("Threshold")
    channel = widget.form.fields["channel"].native
    widget.inputs.main.layer = viewer.layers["colour"]
    assert not channel.isHidden()
    widget.inputs.main.layer = viewer.layers["grey"]
    assert channel.isHidden()


def test_active_image_is_chosen(viewer, open_widget):
    viewer.add_image(blobs(), name="first")
    viewer.add_image(blobs(), name="second")
    viewer.layers.selection.active = viewer.layers["first"]
    assert open_widget("Threshold").inputs.main.layer.name == "first"


def test_box_follows_layers_that_come_and_go(viewer, open_widget):
    widget = open_widget("Threshold")
    assert widget.inputs.main.layer is None
    image = viewer.add_image(blobs(), name="blobs")
    assert widget.inputs.main.layer is image
    viewer.layers.remove(image)
    assert widget.inputs.main.layer is None


def test_renamed_layer_stays_chosen(viewer, open_widget):
    viewer.add_image(blobs(), name="other")
    chosen = viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    chosen.name = "renamed"
    assert widget.inputs.main.layer is chosen
    assert widget.inputs.main.combo.current_choice == "renamed"


def test_only_layers_of_the_right_type_are_offered(viewer, open_widget):
    viewer.add_image(blobs(), name="image")
    viewer.add_labels(two_boxes(), name="labels")
    viewer.add_points([[5, 5]], name="points")
    widget = open_widget("Watershed")
    assert [layer.name for layer in widget.inputs.boxes["image"].offered()] == ["image"]
    assert [layer.name for layer in widget.inputs.boxes["markers"].offered()] == ["points", "labels"]


def test_optional_layer_may_be_empty(viewer, open_widget):
    viewer.add_image(blobs(), name="image")
    viewer.add_labels(two_boxes(), name="labels")
    assert open_widget("Watershed").inputs.boxes["markers"].layer is None


def test_truth_and_prediction_are_not_the_same_layer(viewer, open_widget):
    viewer.add_labels(two_boxes(), name="truth")
    viewer.add_labels(two_boxes(), name="found")
    boxes = open_widget("Compare with truth").inputs.boxes
    assert (boxes["truth"].layer.name, boxes["prediction"].layer.name) == ("truth", "found")


def test_unit_of_sizes_is_offered_only_where_the_layer_has_one(viewer, open_widget):
    viewer.add_image(blobs(), name="pixels")
    viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="micrometres")
    widget = open_widget("Threshold")
    widget.inputs.main.layer = viewer.layers["pixels"]
    assert widget.sizes.choices == ("pixels",)
    widget.inputs.main.layer = viewer.layers["micrometres"]
    assert widget.sizes.choices == ("pixels", "µm")


def test_size_typed_in_the_layer_s_unit_reaches_the_method_in_pixels(viewer, open_widget):
    viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="blobs")
    widget = open_widget("Threshold")
    widget.sizes.value = "µm"
    widget.form.fields["sigma"].widget.native.setValue(1.5)
    assert widget.request().parameters["sigma"] == 3.0


def test_rescaled_layer_is_followed(viewer, open_widget):
    image = viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="blobs")
    widget = open_widget("Threshold")
    widget.sizes.value = "µm"
    widget.form.fields["sigma"].value = 2.0
    image.scale = (0.25, 0.25)
    assert widget.form.fields["sigma"].widget.native.value() == 0.5


def test_axis_names_of_the_layer_decide_what_its_axes_mean():
    assert name_axes(4, False, ("t", "z", "y", "x")) == "TZYX"
    assert name_axes(2, True, ("y", "x")) == "YXC"
    assert name_axes(3, False, ("-3", "-2", "-1")) is None


def test_unnamed_third_axis_may_be_depth_time_or_channels():
    assert [axes for _, axes in list_axes(3, False)] == ["ZYX", "TYX", "CYX"]


def test_rgb_has_no_second_axis_of_channels():
    assert [axes for _, axes in list_axes(3, True)] == ["ZYXC", "TYXC"]


def test_title_is_read_from_the_name():
    assert title_of("min_distance") == "Min distance"
