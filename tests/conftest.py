"""Shared by all tests: Qt without a display, and what to do where Qt cannot start at all."""

import gc
import importlib
import logging
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from npe2 import PluginManager

from napari_tessera.core.daemon_threads import stop_threads

LARGEST_TEXTURE_PX = 16384
COMPILING_MS = 240_000
"""As long as Tessera itself waits for the process that compiles, and a minute to load what it left."""

SECONDS_TO_END = 60.0

settings.register_profile("unhurried", settings.default, deadline=None)  # a first call may compile for seconds
settings.load_profile("unhurried")

if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

try:
    importlib.import_module("qtpy.QtWidgets")
except ImportError as error:
    install = (Path(__file__).parents[1] / "docs" / "install.md").read_text(encoding="utf-8")
    system = re.search(r"sudo apt-get install .*", install)
    advice = system[0] if system and ".so" in str(error) else 'python -m pip install -e ".[app,test]"'
    pytest.exit(f"Qt cannot start ({error}). This helps (system packages by their names in Debian):\n  {advice}", 1)


class Loggers(dict):
    """All loggers: pytest goes through them while a thread may import a library that adds its own."""

    def values(self):
        """Return the loggers of this moment."""
        return list(super().values())


logging.Logger.manager.loggerDict = Loggers(logging.Logger.manager.loggerDict)


@pytest.fixture(scope="session", autouse=True)
def settings_after_a_test(tmp_path_factory):
    """Keep settings out of the user's own file that a widget remembers after its test has ended."""
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_tessera.gui.form.form.settings_path", lambda: path)
        yield


@pytest.fixture(autouse=True)
def settings_file(tmp_path, monkeypatch):
    """Keep the settings that a test remembers out of the user's own file."""
    path = tmp_path / "settings" / "settings.json"
    monkeypatch.setattr("napari_tessera.gui.form.form.settings_path", lambda: path)
    return path


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    """Keep the models that a test imports out of the user's own folder; return the folder used instead."""
    folder = tmp_path / "own-models"
    monkeypatch.setenv("TESSERA_MODELS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_annotations(tmp_path, monkeypatch):
    """Keep the annotations that a test paints out of the user's own folder; return the folder used instead."""
    folder = tmp_path / "annotations"
    monkeypatch.setenv("TESSERA_ANNOTATIONS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def ending_threads(settings_file, own_models, own_annotations):
    """Stop the threads that a test started: the next test would wait for them, or find what they do."""
    yield
    assert not stop_threads(SECONDS_TO_END)


@pytest.fixture
def sound():
    """The bytes of a sound model file."""
    from tests.helpers.model_bytes import sound_model

    return sound_model()


@pytest.fixture
def shipped_cells(tmp_path, monkeypatch):
    """Let "cells" be the one model that comes with Tessera; return its folder."""
    from tests.helpers.model_bytes import sound_model, with_fields

    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "cells.safetensors").write_bytes(with_fields(sound_model(), name="cells", summary="Finds cells."))
    monkeypatch.setattr("napari_tessera.models.registry.shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def yeast_file(tmp_path):
    """The file of a model named "yeast", as if downloaded."""
    from tests.helpers.model_bytes import sound_model, with_fields

    path = tmp_path / "download.safetensors"
    path.write_bytes(with_fields(sound_model(), name="yeast", title="Yeast", licence="CC0-1.0", diameter_px=20.5))
    return path


@pytest.fixture(scope="session")
def known_plugins():
    """Find the plugins of napari once: each viewer would read all their manifests again."""
    manager = PluginManager.instance()
    manager.discover(include_npe1=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "discover", lambda *_, **__: 0)
        yield


@pytest.fixture(scope="module")
def viewer_of_a_file(known_plugins):
    """What lends one viewer to the tests of a file."""
    from tests.helpers.viewer_of_a_file import ViewerOfAFile

    lender = ViewerOfAFile()
    yield lender
    lender.close()


@pytest.fixture
def without_viewer(viewer_of_a_file):
    """No viewer is open, and collections of garbage, as napari makes them for each layer, pass over what there is."""
    viewer_of_a_file.close()
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_napari_viewer(without_viewer, drawing, make_napari_viewer):
    """Make a new viewer of napari, or several."""
    return make_napari_viewer


@pytest.fixture
def drawing(monkeypatch):
    """Let napari's viewer open where Qt has no OpenGL: it then draws nothing, and all else is real."""
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        from vispy.gloo import gl

        limits = {gl.GL_EXTENSIONS: "", gl.GL_VERSION: "2.1"}
        monkeypatch.setattr(gl, "glGetParameter", lambda name: limits.get(name, LARGEST_TEXTURE_PX))


@pytest.fixture
def viewer(qtbot, drawing, viewer_of_a_file):
    """A real napari viewer, as new."""
    yield viewer_of_a_file.lend()
    viewer_of_a_file.take_back()


@pytest.fixture
def shown(viewer, qtbot):
    """The viewer in a window of 1280 × 800 on the screen."""
    viewer.window._qt_window.show()
    viewer.window._qt_window.resize(1280, 800)
    qtbot.waitExposed(viewer.window._qt_window)
    return viewer


@pytest.fixture
def open_widget(viewer):
    """Open a widget by its title, as the Plugins menu does, and build it to the end."""

    def open_titled(title):
        _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", title)
        widget.whole()
        return widget

    return open_titled


@pytest.fixture
def run(qtbot):
    """Press Run and wait until the widget is ready again."""

    def run_to_the_end(widget):
        widget.bar.run_button.click()
        is_ready = widget.bar.run_button.isEnabled
        # What is compiled once after installing has a time of its own, which says nothing about the run.
        qtbot.waitUntil(lambda: is_ready() or widget.warm_up.is_over, timeout=COMPILING_MS)
        qtbot.waitUntil(is_ready, timeout=60_000)

    return run_to_the_end
