"""The window closed in the middle of anything is gone at once, without a word on the way; other windows go on."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.method import preview_and_estimate
from napari_tessera.gui.method import run_request as asking
from napari_tessera.gui.method import widget as method_widget
from napari_tessera.gui.qt import warmup
from tests.helpers.scenes import blobs

MOST_SECONDS = 2.0
STUBBORN_SECONDS = 6.0

NAPARI = """
import napari, sys, time
from pathlib import Path
import numpy as np
from qtpy.QtCore import QTimer
from napari_tessera.gui.form import form as settings
settings.settings_path = lambda: Path(sys.argv[1]) / "settings.json"

viewer = napari.Viewer()
viewer.add_image(np.random.default_rng(1).random((2500, 2500)), name="noise")
_, widget = viewer.window.add_plugin_dock_widget("napari-tessera", sys.argv[2])
if sys.argv[2] != "U-Net":
    widget.preview_switch.value = True
widget.bar.run_button.click()
seen = []
widget.runner.progressed.connect(lambda step: seen.append(step.text))

def close_in_the_middle():
    if len(seen) > 2 or not widget.runner.is_running:
        ticking.stop()
        print("running:", widget.runner.is_running)
        began = time.monotonic()
        viewer.window._qt_window.close(quit_app=sys.argv[3] == "quit")
        print("seconds:", time.monotonic() - began)

ticking = QTimer()
ticking.timeout.connect(close_in_the_middle)
ticking.start(20)
napari.run()
"""


def stubborn(*_, **__):
    """A job with a step that is long, and that nothing can cut short."""
    yield Progress(0, 2, "Working")
    time.sleep(STUBBORN_SECONDS)
    yield Progress(1, 2, "Working")


def test_a_widget_whose_threads_are_all_busy_is_closed_in_time(viewer, open_widget, qtbot, monkeypatch):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    monkeypatch.setattr(method_widget, "run_request", stubborn)
    monkeypatch.setattr(preview_and_estimate, "preview", stubborn)
    widget.warm_up.start(widget.method, "uint8", "YX", {})
    qtbot.waitUntil(lambda: widget.warm_up.is_over, timeout=240_000)
    widget.preview_switch.value = True
    widget.forecast.latest.ask(None, stubborn())
    widget.run()
    qtbot.waitUntil(lambda: "Working" in widget.bar.message.text(), timeout=60_000)
    began = time.monotonic()
    viewer.window.remove_dock_widget(widget)
    assert time.monotonic() - began < MOST_SECONDS


def test_a_closed_widget_does_not_go_on_compiling(viewer, open_widget, qtbot, monkeypatch):
    def for_ever(*_):
        while True:
            time.sleep(0.01)
            yield Progress(0, 1)

    monkeypatch.setattr(warmup, "precompile", for_ever)
    warm_up = open_widget("Threshold").warm_up
    qtbot.waitUntil(lambda: warm_up._thread is not None)
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: warm_up.is_over)


def test_a_preview_that_is_switched_off_does_not_hold_up_the_window(viewer, open_widget, qtbot, monkeypatch):
    viewer.add_image(blobs(), name="blobs")
    widget = open_widget("Threshold")
    monkeypatch.setattr(preview_and_estimate, "preview", stubborn)
    widget.preview_switch.value = True
    qtbot.wait(300)
    began = time.monotonic()
    widget.preview_switch.value = False
    assert time.monotonic() - began < 0.2


@pytest.mark.skipif(os.environ.get("QT_QPA_PLATFORM") == "offscreen", reason="napari's window needs OpenGL")
@pytest.mark.parametrize("how", ["close", "quit"])
@pytest.mark.parametrize("title", ["Watershed", "U-Net"])
def test_napari_closed_in_the_middle_of_a_run_ends_without_a_word(title, how, tmp_path):
    variables = os.environ | {"NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    command = [sys.executable, "-c", NAPARI, str(tmp_path), title, how]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "running: True" in ended.stdout
    assert float(ended.stdout.split("seconds:")[1]) < MOST_SECONDS


@pytest.fixture
def two_windows(make_napari_viewer):
    """The widget of the threshold in each of two viewers."""
    widgets = []
    for _ in range(2):
        viewer = make_napari_viewer()
        viewer.add_image(blobs(), name="blobs")
        _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Threshold")
        widgets.append(widget)
    return widgets


def test_each_of_two_windows_gets_its_own_result(two_windows, qtbot):
    for widget in two_windows:
        widget.run()
    for widget in two_windows:
        qtbot.waitUntil(widget.bar.run_button.isEnabled, timeout=240_000)
        assert [layer.name for layer in widget.viewer.layers] == ["blobs", "blobs · threshold"]


@pytest.mark.parametrize("closed", [0, 1])
def test_a_window_closed_in_the_middle_leaves_the_run_of_another_alone(two_windows, qtbot, monkeypatch, closed):
    def lasting(request):
        for number in range(30):
            time.sleep(0.05)
            yield Progress(number, 30, "Working")
        return (yield from asking.run_request(request))

    monkeypatch.setattr(method_widget, "run_request", lasting)
    for widget in two_windows:
        widget.run()
    qtbot.waitUntil(lambda: all("Working" in each.bar.message.text() for each in two_windows), timeout=240_000)
    other = two_windows[1 - closed]
    two_windows[closed].viewer.close()
    qtbot.waitUntil(other.bar.run_button.isEnabled, timeout=60_000)
    assert other.bar.message.text().startswith("blobs: 1 class in ")
    assert np.any(other.viewer.layers[-1].data)
