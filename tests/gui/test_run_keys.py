"""Keys of the widgets: Return and Ctrl-Return run, Esc cancels, and typing is left alone."""

import time

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.method import widget as method_widget
from tests.helpers.scenes import blobs

CONTROL = Qt.KeyboardModifier.ControlModifier
RETURN, ESCAPE = Qt.Key.Key_Return, Qt.Key.Key_Escape


@pytest.fixture
def widget(viewer, open_widget, qtbot):
    viewer.add_image(blobs(), name="blobs")
    found = open_widget("Threshold")
    viewer.window._qt_window.show()
    qtbot.waitExposed(found)
    yield found
    found.shut_down()


@pytest.fixture
def press(qtbot, viewer):
    """Press a key where the window has its focus, as a keyboard does."""

    def press_key(key, modifier=Qt.KeyboardModifier.NoModifier):
        viewer.window._qt_window.activateWindow()
        qtbot.waitUntil(lambda: QApplication.focusWidget() is not None)
        qtbot.keyClick(QApplication.focusWidget(), key, modifier)

    return press_key


@pytest.fixture
def focus_on(qtbot, viewer):
    def give(native):
        viewer.window._qt_window.activateWindow()
        native.setFocus()
        qtbot.waitUntil(native.hasFocus)

    return give


def finished(widget, qtbot):
    qtbot.waitUntil(lambda: widget.bar.run_button.isEnabled() and not widget.runner.is_running, timeout=240_000)


@pytest.mark.parametrize("modifier", [Qt.KeyboardModifier.NoModifier, CONTROL])
def test_return_runs_after_a_click_beside_the_fields(widget, viewer, press, qtbot, modifier):
    viewer.window._qt_window.activateWindow()
    qtbot.mouseClick(widget.bar.message.parentWidget(), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.isAncestorOf(QApplication.focusWidget()))
    press(RETURN, modifier)
    finished(widget, qtbot)
    assert viewer.layers[-1].name == "blobs · threshold"


def test_return_in_a_number_field_keeps_the_number_and_does_not_run(widget, viewer, press, focus_on, qtbot):
    spin_box = widget.form.fields["sigma"].spin_box.native
    focus_on(spin_box)
    spin_box.selectAll()
    qtbot.keyClicks(spin_box, "9")
    press(RETURN)
    assert widget.form.values["sigma"] == 9
    assert not widget.runner.is_running
    assert len(viewer.layers) == 1


def test_control_return_in_a_number_field_runs_with_the_number(widget, viewer, press, focus_on, qtbot):
    spin_box = widget.form.fields["sigma"].spin_box.native
    focus_on(spin_box)
    spin_box.selectAll()
    qtbot.keyClicks(spin_box, "9")
    press(RETURN, CONTROL)
    finished(widget, qtbot)
    assert viewer.layers[-1].metadata["tessera"]["parameters"]["sigma"] == 9


def test_return_runs_where_a_choice_has_the_focus(widget, viewer, press, focus_on, qtbot):
    focus_on(widget.form.fields["output"].native)
    press(RETURN)
    finished(widget, qtbot)
    assert len(viewer.layers) == 2


@pytest.fixture
def canvas(viewer):
    return viewer.window._qt_viewer.canvas.native


def test_keys_of_napari_stay_those_of_napari_in_the_canvas(widget, viewer, press, focus_on, canvas):
    shapes = viewer.add_shapes(name="outlines")
    shapes.mode = "add_polygon"
    focus_on(canvas)
    press(RETURN)
    assert not widget.runner.is_running
    heard = []
    viewer.layers.selection.active = viewer.layers["blobs"]
    viewer.bind_key("Enter", lambda _: heard.append("Enter"))
    press(RETURN)
    assert heard == ["Enter"]
    assert not widget.runner.is_running


def test_control_return_runs_and_escape_cancels_in_the_canvas(
    widget, viewer, press, focus_on, canvas, qtbot, monkeypatch
):
    focus_on(canvas)
    press(RETURN, CONTROL)
    finished(widget, qtbot)
    assert viewer.layers.selection.active.name == "blobs · threshold"
    monkeypatch.setattr(method_widget, "run_request", _endless)
    press(RETURN)  # with labels selected, which know the key while a polygon is drawn
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=240_000)
    press(ESCAPE)
    finished(widget, qtbot)
    assert widget.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 2


def test_of_two_widgets_the_one_that_is_seen_runs(widget, viewer, open_widget, press, focus_on, canvas, qtbot):
    other = open_widget("K-means")
    qtbot.waitUntil(lambda: widget.visibleRegion().isEmpty() and not other.visibleRegion().isEmpty(), timeout=60_000)
    focus_on(canvas)
    press(RETURN, CONTROL)
    assert other.runner.is_running
    assert not widget.runner.is_running
    finished(other, qtbot)


def test_control_return_runs_from_every_field(widget, viewer, press, focus_on, monkeypatch):
    asked = []
    widget.bar.run_button.clicked.disconnect()
    widget.bar.run_button.clicked.connect(lambda: asked.append(True))
    widget.more_settings.open()
    QApplication.processEvents()
    fields = [each for each in widget.findChildren(QWidget) if each.isVisible() and each.isEnabled()]
    fields = [each for each in fields if each.focusPolicy() & Qt.FocusPolicy.TabFocus and not each.focusProxy()]
    assert len(fields) > 8
    for number, field in enumerate(fields, start=1):
        focus_on(field)
        press(RETURN, CONTROL)
        assert len(asked) == number, field


def _endless(question):
    for _ in range(10_000):
        time.sleep(0.01)
        yield Progress(1, 2, "Working")


def test_escape_cancels_a_run_wherever_in_the_widget_the_focus_is(widget, viewer, press, focus_on, qtbot, monkeypatch):
    monkeypatch.setattr(method_widget, "run_request", _endless)
    focus_on(widget.form.fields["sigma"].spin_box.native)
    press(RETURN, CONTROL)
    qtbot.waitUntil(lambda: widget.bar.progress_bar.value() > 0, timeout=240_000)
    press(ESCAPE)
    finished(widget, qtbot)
    assert widget.bar.message.text() == "Cancelled. Nothing was changed."
    assert len(viewer.layers) == 1


def test_escape_without_a_run_is_passed_on(widget, viewer, press, focus_on):
    focus_on(widget.bar.menu_button)
    press(ESCAPE)
    assert widget.bar.message.text() != "Cancelling …"
    assert not widget.bar.cancel_button.isEnabled()


def test_return_trains(viewer, open_widget, press, focus_on, qtbot):
    viewer.add_image(np.zeros((32, 32), np.uint8), name="dark")
    widget = open_widget("Train")
    viewer.window._qt_window.show()
    qtbot.waitExposed(widget)
    focus_on(widget.bar.menu_button)
    assert not widget.bar.message.text()
    press(RETURN)
    # Nothing is painted, and Train says so.
    qtbot.waitUntil(lambda: "annotation" in widget.bar.message.text().lower(), timeout=10_000)
    widget.shut_down()
