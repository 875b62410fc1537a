"""Words of the window: titles instead of names of the code, the image's unit, time that is left, no old messages."""

import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.form.text import in_titles
from napari_tessera.gui.qt.run_bar import remaining_time
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
