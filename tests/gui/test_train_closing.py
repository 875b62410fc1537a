"""A training whose widget is closed is stopped, not thrown away: the best so far is saved."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from napari_tessera.core.jobs import Progress
from napari_tessera.gui.qt.worker import Runner
from napari_tessera.gui.train import running_training as train_under_way
from tests.gui.test_train import paint_halves

NAPARI = """
import napari, sys
from pathlib import Path
from qtpy.QtCore import QTimer
from napari_tessera.gui.form import form as settings
settings.settings_path = lambda: Path(sys.argv[1]) / "settings.json"
from tests.gui.test_train import paint_halves

viewer = napari.Viewer()
_, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Train")
paint_halves(widget, viewer, steps=100_000)
widget.bar.run_button.click()
runner = widget.runner

def close_when_learnt():
    if widget.history.losses or not runner.is_running:
        ticking.stop()
        viewer.window._qt_window.close(quit_app=sys.argv[2] == "quit")

ticking = QTimer()
ticking.timeout.connect(close_when_learnt)
ticking.start(50)
napari.run()
print("running:", runner.is_running)
"""


@pytest.fixture
def widget(open_widget):
    return open_widget("Train")


@pytest.fixture
def said(monkeypatch):
    """What napari is asked to show."""
    texts = []
    monkeypatch.setattr(train_under_way, "show_info", texts.append)
    monkeypatch.setattr(train_under_way, "show_warning", texts.append)
    return texts


def begin(widget, viewer, qtbot, **settings):
    """Begin a long training, and wait for its first step."""
    paint_halves(widget, viewer, steps=100_000, **settings)
    widget.bar.run_button.click()
    qtbot.waitUntil(lambda: bool(widget.history.losses), timeout=120_000)


def waiting_for_ever():
    while True:
        time.sleep(0.01)
        yield Progress(0, 1)


def test_closing_the_widget_saves_the_best_so_far(widget, viewer, qtbot, own_models, said):
    begin(widget, viewer, qtbot)
    runner = widget.runner
    viewer.window.remove_dock_widget(widget)
    (text,) = said
    assert "its widget was closed" in text
    assert '"fine-tuned"' in text
    qtbot.waitUntil(lambda: not runner.is_running, timeout=60_000)
    assert (own_models / "fine-tuned.safetensors").exists()


def test_closing_the_widget_before_the_first_step_saves_nothing(widget, viewer, qtbot, own_models, said, monkeypatch):
    monkeypatch.setattr(widget.warm_up, "waiting", waiting_for_ever)
    paint_halves(widget, viewer, steps=100_000)
    runner = widget.runner
    widget.bar.run_button.click()
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not runner.is_running, timeout=60_000)
    assert not said
    assert not list(own_models.glob("*.safetensors"))


def test_what_was_cancelled_is_not_saved_by_closing(widget, viewer, qtbot, own_models, said):
    begin(widget, viewer, qtbot)
    runner = widget.runner
    widget.bar.cancel_button.click()
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not runner.is_running, timeout=60_000)
    assert not said
    assert not list(own_models.glob("*.safetensors"))


def test_a_model_that_cannot_be_saved_is_said(widget, viewer, qtbot, own_models, said, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("napari_tessera.training.session.write_model", fail)
    begin(widget, viewer, qtbot)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: len(said) == 2, timeout=60_000)
    assert "disk full" in said[1]


@pytest.mark.skipif(os.environ.get("QT_QPA_PLATFORM") == "offscreen", reason="napari's window needs OpenGL")
@pytest.mark.parametrize("how", ["close", "quit"])
def test_napari_ends_when_the_model_is_saved(how, tmp_path, own_models):
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    variables = os.environ | {"PYTHONPATH": paths, "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    command = [sys.executable, "-c", NAPARI, str(tmp_path), how]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "running: False" in ended.stdout
    assert (own_models / "fine-tuned.safetensors").exists()


def test_a_job_that_was_left_goes_on_though_the_window_has_gone(qtbot):
    def counting():
        for number in range(5):
            time.sleep(0.15)  # longer than between two reports
            yield Progress(number, 5)
        ended.set()

    ended = threading.Event()
    runner = Runner()
    runner.start(counting())
    runner.leave()
    runner.deleteLater()
    qtbot.wait(100)
    assert ended.wait(10)
