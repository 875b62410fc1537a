"""Words of the window: titles instead of names of the code, the image's unit, time that is left, no old messages."""

import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.form.text import in_titles
from napari_tessera.gui.qt.run_bar import remaining_time
from napari_tessera.methods.registry import METHODS
from tests.helpers.scenes import blobs


def test_names_of_settings_are_shown_as_in_the_form():
    text = "Check `min_size` and `x`."
    assert in_titles(text, {"min_size": "Min size"}, "{} {}".format) == "Check Min size and x."


@pytest.mark.parametrize(
    ("seconds", "fraction", "text"),
    [(1, 0.5, ""), (10, 0.01, ""), (10, 0.5, " About 10 s left."), (100, 0.25, " About 5 min left.")],
)
def test_the_time_that_is_left_is_said_once_it_is_known(seconds, fraction, text):
    assert remaining_time(seconds, fraction) == text


def test_a_run_of_some_seconds_says_how_long_it_will_still_take(viewer, open_widget):
    viewer.add_image(blobs(), name="blobs")
    bar = open_widget("Threshold").bar
    bar.show_running(True)
    bar._started -= 30
    bar.show_progress(Progress(75, 100, "Working"))
    assert bar.message.text() == "Working … About 10 s left."


def test_a_message_about_another_image_disappears(viewer, open_widget, run):
    viewer.add_image(blobs(), name="old")
    widget = open_widget("Threshold")
    run(widget)
    assert widget.bar.message.text().startswith("old: ")
    viewer.add_image(blobs() + 1, name="new")
    assert widget.bar.message.isHidden()


def test_sizes_are_in_the_unit_of_the_image_until_the_user_chooses_another(viewer, open_widget):
    viewer.add_image(blobs(), scale=(0.5, 0.5), units=("um", "um"), name="blobs")
    widget = open_widget("Threshold")
    assert widget.sizes.value == "µm"
    widget.sizes.native.setCurrentText("pixels")
    widget.sizes.native.activated.emit(0)
    viewer.add_image(blobs(), scale=(0.2, 0.2), units=("um", "um"), name="other")
    assert widget.inputs.main.layer.name == "other"
    assert widget.sizes.value == "pixels"


@pytest.mark.parametrize("title", [each.title for each in METHODS])
def test_tooltips_and_titles_are_in_words_of_the_window(open_widget, title):
    widget = open_widget(title)
    fields = list(widget.form.fields.values())
    tooltips = [field.widget.tooltip or "" for field in fields]
    tooltips += [box.combo.tooltip or "" for box in widget.inputs.boxes.values()]
    for word in ("dtype", "None", *(name for name in widget.form.fields if "_" in name)):
        assert not [text for text in tooltips if word in text], word
    assert not [field.title for field in fields if len(field.title) == 1]


def test_the_box_beside_an_open_end_says_no_limit_in_manual_only(open_widget):
    fields = open_widget("Threshold").form.fields
    fields["method"].value = "manual"
    assert fields["high"].automatic.native.text() == "no limit"
    fields["method"].value = "hysteresis"
    assert fields["high"].automatic.native.text() == "auto"
