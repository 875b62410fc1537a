"""Words of the window: titles instead of names of the code, the image's unit, time that is left, no old messages."""

import re
import time

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.form.text import CLICK_FOR_MORE, MORE, in_titles, split_help, tooltip
from napari_tessera.gui.method import widget as method_widget
from napari_tessera.gui.qt.layout import RowTitle
from napari_tessera.gui.qt.run_bar import remaining_time
from tests.helpers.forms import WITH_FORM
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


@pytest.mark.parametrize("title", [each.title for each in WITH_FORM])
def test_tooltips_and_titles_are_in_words_of_the_window(open_widget, title):
    widget = open_widget(title)
    fields = list(widget.form.fields.values())
    tooltips = [each.help for each in (*fields, *widget.inputs.boxes.values())]
    for word in ("dtype", "None", *(name for name in widget.form.fields if "_" in name)):
        assert not [text for text in tooltips if word in text], word
    assert not [field.title for field in fields if len(field.title) == 1]


def test_a_tooltip_is_one_sentence_and_a_click_on_the_title_shows_the_rest(open_widget, viewer, qtbot):
    field = open_widget("Threshold").form.fields["method"]
    first, rest = split_help(tooltip(field.parameter.help)[4:-5].replace(MORE, " "))
    assert rest
    assert field.widget.tooltip == f"<qt>{first}{CLICK_FOR_MORE}</qt>"
    viewer.window._qt_window.show()
    [title] = [each for each in field.native.parent().findChildren(RowTitle) if each.text() == field.title]
    qtbot.waitUntil(title.isVisible, timeout=60_000)
    qtbot.mouseClick(title, Qt.MouseButton.LeftButton)
    [shown] = [each for each in QApplication.topLevelWidgets() if each.inherits("QWhatsThat")]
    assert shown.isVisible()
    shown.close()


def test_no_size_is_told_with_needless_zeros(viewer, open_widget):
    viewer.add_image(blobs(), scale=(0.25, 0.25), units=("um", "um"), name="blobs")
    size = open_widget("Watershed").form.fields["min_size"]
    size.value = 0
    assert size.spin_box.native.text() == "0 µm²"
    size.value = 16
    assert size.spin_box.native.text().rstrip("0µm² ").rstrip(".") == "1"


def test_the_seconds_are_those_that_the_user_waited(viewer, open_widget, run, monkeypatch):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    run(widget)
    make_layer = method_widget.result_layer

    def slowly(*given):
        time.sleep(1.5)
        return make_layer(*given)

    monkeypatch.setattr(method_widget, "result_layer", slowly)
    run(widget)
    assert float(re.search(r"in ([0-9.]+) s", widget.bar.message.text())[1]) >= 1.5


def test_the_box_beside_an_open_end_says_no_limit_in_manual_only(open_widget):
    fields = open_widget("Threshold").form.fields
    fields["method"].value = "manual"
    assert fields["high"].automatic.native.text() == "no limit"
    fields["method"].value = "hysteresis"
    assert fields["high"].automatic.native.text() == "auto"
