"""A widget is docked at once; its content is loaded in a thread, and built while the window goes on."""

import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import QTimer

from napari_tessera.gui import docked as module
from napari_tessera.gui.docked import LOADING, Docked
from tests.helpers.scenes import blobs

TITLES = ("Start here…", "Threshold", "Compare with truth", "Train")
LONGEST_MS = 60_000


@pytest.fixture
def dock(viewer):
    """Dock a widget by its title, and build nothing of its content yet."""

    def dock_titled(title):
        _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", title)
        return widget

    return dock_titled


def is_built(widget):
    return widget._is_built


def line_of(widget):
    return widget._line


class Turns:
    """The processor time of each turn of the event loop, in seconds of this thread."""

    def __init__(self):
        self.seconds = []
        self._before = time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._note)
        self._timer.start(0)

    def _note(self):
        now = time.thread_time()
        self.seconds.append(now - self._before)
        self._before = now


@pytest.mark.parametrize("title", TITLES)
def test_a_widget_is_docked_before_its_content_is_built(dock, qtbot, title):
    widget = dock(title)
    assert not is_built(widget)
    assert line_of(widget).text() == LOADING
    qtbot.waitUntil(lambda: is_built(widget), timeout=LONGEST_MS)
    assert line_of(widget).isHidden()
    assert widget.bar.run_button.isEnabled()


def test_no_turn_of_the_event_loop_takes_most_of_the_building(dock, qtbot):
    turns = Turns()
    widget = dock("Train")
    qtbot.waitUntil(lambda: is_built(widget), timeout=LONGEST_MS)
    qtbot.wait(50)
    assert max(turns.seconds) < max(0.5 * sum(turns.seconds), 0.05)


def test_the_event_loop_turns_between_steps(dock, qtbot, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_AT_A_TIME", 0)
    turns = []
    widget = dock("Train")
    take = widget._take_some
    widget._timer.timeout.connect(lambda: turns.append(take))
    qtbot.waitUntil(lambda: is_built(widget), timeout=LONGEST_MS)
    assert len(turns) > len(widget.form.fields)


def test_an_attribute_of_the_content_builds_it_at_once(viewer, dock):
    viewer.add_image(blobs(), name="blobs")
    widget = dock("Threshold")
    assert widget.inputs.main.layer is viewer.layers["blobs"]
    assert is_built(widget)


def test_what_neither_part_has_is_no_attribute(dock):
    with pytest.raises(AttributeError):
        _ = dock("Threshold").no_such_thing


def test_an_image_opened_during_loading_is_chosen(viewer, dock, qtbot):
    widget = dock("Threshold")
    image = viewer.add_image(blobs(), name="blobs")
    qtbot.waitUntil(lambda: is_built(widget), timeout=LONGEST_MS)
    assert widget.inputs.main.layer is image


def test_an_action_waits_for_the_content(dock, qtbot):
    seen = []
    widget = dock("Threshold")
    widget.when_built(seen.append)
    assert not seen
    qtbot.waitUntil(lambda: bool(seen), timeout=LONGEST_MS)
    widget.when_built(seen.append)
    assert seen == [widget.whole()] * 2


def test_a_widget_closed_during_loading_builds_nothing(viewer, dock, qtbot):
    widget = dock("Train")
    viewer.window.remove_dock_widget(widget)
    qtbot.wait(300)
    assert not is_built(widget)


@pytest.mark.parametrize("title", TITLES)
def test_a_widget_closed_while_it_is_built_stops_everything(viewer, dock, qtbot, monkeypatch, title):
    monkeypatch.setattr(module, "SECONDS_AT_A_TIME", 0)
    monkeypatch.setattr(module, "MS_BETWEEN_STEPS", 500)
    widget = dock(title)
    qtbot.waitUntil(lambda: widget._content is not None, timeout=LONGEST_MS)
    assert not is_built(widget)
    viewer.window.remove_dock_widget(widget)
    viewer.add_image(np.zeros((9, 9)), name="later")
    qtbot.wait(300)
    assert not any(thread.name.startswith("tessera run") for thread in threading.enumerate())


class Broken(Docked):
    where = "napari_tessera.gui.no_such_module:Content"


def test_content_that_cannot_be_loaded_says_why(viewer, qtbot):
    widget = Broken(viewer)
    qtbot.addWidget(widget)
    qtbot.waitUntil(lambda: "no_such_module" in line_of(widget).text())


def test_docked_widgets_have_room_for_their_content(open_widget):
    for title in TITLES:
        widget = open_widget(title)
        assert widget.sizeHint().width() >= widget.whole().minimumSizeHint().width()
