"""One viewer for the tests of a file, which take turns: making and closing one takes longer than most of them."""

import gc
import threading
from collections import Counter
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from napari import Viewer
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from napari.settings._base import EventedConfigFileSettings
from napari.utils.events import EmitterGroup
from napari.utils.events.evented_model import EventedModel
from qtpy.QtCore import QCoreApplication, QEvent, QObject

from napari_tessera.core.daemon_threads import stop_threads

MANY_OBJECTS = 300_000
"""With more, the collections of garbage take longer than a new viewer, before which all is left out of them."""

SAVING_THE_LAST = "tessera autosave end"
"""The thread that saves the last strokes of a closed widget."""


class ViewerOfAFile:
    """Lends one viewer to one test after another; a viewer that is not as new after a test is closed.

    Attributes
    ----------
    viewer : napari.Viewer or None
        The viewer that is open.
    """

    def __init__(self) -> None:
        self.viewer: Viewer | None = None
        self._around = ExitStack()
        self._fresh: dict[str, object] = {}

    def lend(self) -> Viewer:
        """Return a viewer that is as new."""
        if self.viewer is None:
            self._open()
        return self.viewer

    def take_back(self) -> None:
        """Put the viewer back to how it was at first; close it if that fails."""
        if self.viewer is None:
            return
        window = self.viewer.window
        if not hasattr(window, "_qt_window") or window._qt_window.isVisible():
            self.close()
            return
        window.remove_dock_widget("all")
        stop_threads()  # they hold parts of the widgets
        for thread in threading.enumerate():
            if thread.name == SAVING_THE_LAST:
                thread.join()
        application = get_settings().application  # napari notes in it where a widget was docked
        application.plugin_widget_positions = self._fresh["settings"]["application"]["plugin_widget_positions"]
        self.viewer.layers.clear()
        for name, part in parts(self.viewer).items():
            part.update(self._fresh[name])
        self.viewer.status = "Ready"
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
        gc.collect()
        if len(gc.get_objects()) > MANY_OBJECTS or differences(self._fresh, state_of(self.viewer)):
            self.close()

    def close(self) -> None:
        """Close the viewer."""
        viewer, self.viewer = self.viewer, None
        if viewer is None:
            return
        with patch("napari._qt.qt_main_window._QtMainWindow._save_current_window_settings"):
            viewer.close()
        del viewer
        self._around.close()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()

    def _open(self) -> None:
        gc.collect()
        gc.freeze()
        self._around.callback(_forget_app)
        app = NapariApplication("test_app")
        app.injection_store.namespace = _napari_names
        self._around.callback(NapariApplication.destroy, "test_app")
        self._around.enter_context(patch.object(NapariApplication, "get_app_model", return_value=app))
        self._around.enter_context(patch("napari._qt.threads.status_checker.StatusChecker.start"))
        self._around.enter_context(patch.object(EventedConfigFileSettings, "_maybe_save"))
        _forget_app()
        get_settings().reset()
        self.viewer = Viewer(show=False, show_welcome_screen=False)
        QCoreApplication.processEvents()
        self._fresh = state_of(self.viewer)


def _forget_app() -> None:
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()


def parts(viewer: Viewer) -> dict[str, EventedModel]:
    """Return the parts of a viewer whose values can be put back, by name."""
    camera = getattr(viewer, "scene", viewer).camera  # before napari 0.9, a viewer had no scene
    return {"dims": viewer.dims, "camera": camera, "cursor": viewer.cursor}


def state_of(viewer: Viewer) -> dict[str, object]:
    """Return all of a viewer that a test may change, by name."""
    window = viewer.window._qt_window
    found: dict[str, object] = {
        "objects": Counter(type(each).__name__ for each in window.findChildren(QObject)),
        "title": window.windowTitle(),
        "keys": dict(viewer.keymap),
        **{name: part.model_dump() for name, part in parts(viewer).items()},
        "settings": get_settings().model_dump(),
        "layers": len(viewer.layers),
        "docks": sorted(viewer.window._wrapped_dock_widgets),
        "mouse": [len(each) for each in (*_mouse(viewer), *_mouse(viewer.window._qt_viewer.canvas))],
    }
    for name in type(viewer).model_fields:
        value = getattr(viewer, name)
        found[name] = value.model_dump() if isinstance(value, EventedModel) else repr(value)
    evented = (viewer, *(getattr(viewer, name) for name in type(viewer).model_fields), viewer.layers.selection)
    found["callbacks"] = [_callbacks(each.events) for each in evented if hasattr(each, "events")]
    return found


def differences(fresh: dict[str, object], now: dict[str, object]) -> list[str]:
    """Return the names of what is not as it was."""
    return [name for name, value in fresh.items() if repr(now[name]) != repr(value)]


def _mouse(of: object) -> list[list[object]]:
    kinds = ("move", "drag", "double_click", "wheel")
    return [getattr(of, f"mouse_{kind}_callbacks", []) for kind in kinds]


def _callbacks(events: EmitterGroup) -> dict[str, int]:
    """Return how many objects that still exist, and are not napari's own, listen to each event."""
    return {name: sum(map(_is_of_others, emitter.callbacks)) for name, emitter in events.emitters.items()}


def _is_of_others(callback: Any) -> bool:
    owner = type(callback[0]()) if isinstance(callback, tuple) else callback
    return owner is not type(None) and not owner.__module__.startswith("napari.")
