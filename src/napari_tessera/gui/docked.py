"""What napari docks: a widget that is there at once, loads its content in a thread, and builds it in steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import napari
from qtpy.QtCore import QEvent, QSize, QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.gui.qt.in_steps import BuiltInSteps, take_all
from napari_tessera.gui.qt.layout import ERROR_STYLE, WIDTH_PX, Placing, fill, wrapped_label
from napari_tessera.gui.qt.worker import Runner, sentence, shown_by
from napari_tessera.methods import NAMES

LOADING = "Loading …"
SECONDS_AT_A_TIME = 0.02
"""So long steps are taken before the window goes on."""
MS_BETWEEN_STEPS = 1
MAGICGUI = "native"
"""An attribute by which napari knows widgets of magicgui."""


class Docked(QWidget):
    """A dock widget that shows "Loading …" until its content is built.

    Its attributes are those of the content, which `whole` builds to the end at once.
    """

    where: ClassVar[str]
    """Module and class of the content."""
    width_px: ClassVar[int] = WIDTH_PX
    built = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._content: BuiltInSteps | None = None
        self._is_built = self._is_closed = False
        self._line = wrapped_label()
        self._line.setText(LOADING)
        self._column = QVBoxLayout(self)
        fill(self._column, self._line)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(self.width_px)
        self._placing = Placing(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._take_some)
        self._runner = Runner()
        self._runner.returned.connect(self._begin)
        self._runner.failed.connect(self._show_error)
        self._runner.start(_loading(self.where))

    def whole(self) -> Any:
        """Return the content, built to the end."""
        if not self._is_built:
            self._make(_content_class(self.where))
            assert self._content is not None
            take_all(self._content.building)
            self._show()
        return self._content

    def when_built(self, action: Callable[[Any], object]) -> None:
        """Call `action` with the content as soon as it is built."""
        if self._is_built:
            action(self._content)
        else:
            self.built.connect(lambda: action(self._content))

    def reset_choices(self, *_: Any) -> None:
        """Update the layer boxes; napari calls this when a layer is added, removed or renamed."""
        if self._is_built and not self._is_closed and self._content is not None:
            self._content.reset_choices()

    def shut_down(self) -> None:
        """Stop everything; content that is built by half is built to the end first, since it then knows how to stop."""
        self._is_closed = True
        self._timer.stop()
        self._runner.cancel()
        if self._content is not None:
            self.whole().shut_down()

    def sizeHint(self) -> QSize:
        """Return a fixed width, whichever rows are shown."""
        return QSize(self.width_px, super().sizeHint().height())

    def event(self, event: QEvent | None) -> bool:
        """Stop everything when napari takes the widget out of its dock, which is how napari closes it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the content, which is built to the end for it."""
        is_asked_by_napari = name == MAGICGUI or name.startswith("_")
        if is_asked_by_napari and not vars(self).get("_is_built", False):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def _begin(self, content_class: type[BuiltInSteps]) -> None:
        if not self._is_closed and not self._is_built:
            with shown_by(self._show_error):
                self._make(content_class)
                self._timer.start(MS_BETWEEN_STEPS)

    def _make(self, content_class: type[BuiltInSteps]) -> None:
        """Make the empty content, hidden in its place: each part then takes napari's style when it is added."""
        if self._content is None:
            self._content = content_class(self._viewer, self, in_steps=True)
            self._content.hide()
            self._column.addWidget(self._content)

    def _take_some(self) -> None:
        end = time.perf_counter() + SECONDS_AT_A_TIME
        if self._content is None or self._is_built:
            return
        with shown_by(self._show_error):
            for _ in self._content.building:
                if time.perf_counter() > end:
                    self._timer.start(MS_BETWEEN_STEPS)
                    return
            self._show()

    def _show(self) -> None:
        self._is_built = True
        self._line.hide()
        if self._content is not None:
            self._content.reset_choices()  # for layers that were added meanwhile
            self._content.show()
        self.built.emit()

    def _show_error(self, error: BaseException) -> None:
        self._line.setStyleSheet(ERROR_STYLE)
        self._line.setText(sentence(error))


def _content_class(where: str) -> type[BuiltInSteps]:
    module, name = where.split(":")
    found: type[BuiltInSteps] = getattr(import_module(module), name)
    return found


def _loading(where: str) -> Job[type[BuiltInSteps]]:
    yield Progress(0, 1, LOADING)
    found = _content_class(where)
    yield Progress(0, 1, LOADING)
    found.prepare()
    return found


def class_name(name: str, ending: str = "Widget") -> str:
    """Turn the name of a method, such as "region_growing", into that of its widget, "RegionGrowingWidget"."""
    return "".join(word.capitalize() for word in name.split("_")) + ending


def dock_name(name: str) -> str:
    """Return the name of the class that napari docks, such as "RegionGrowingDock"."""
    return class_name(name, "Dock")


OWN_WIDGETS = {
    "compare": "napari_tessera.gui.compare:CompareWidget",
    "correct": "napari_tessera.gui.correct.widget:CorrectWidget",
    "point": "napari_tessera.gui.point.widget:PointWidget",
    "start_here": "napari_tessera.gui.start_here.widget:StartHereWidget",
    "train": "napari_tessera.gui.train.widget:TrainWidget",
}
"""Widgets that are no form of a method, or more."""
WIDTHS_PX = {"start_here": 390}

for _name in ("start_here", *NAMES, "correct", "train"):
    vars()[dock_name(_name)] = type(
        dock_name(_name),
        (Docked,),
        {
            "__module__": __name__,
            "__doc__": f"{_name}.",
            "where": OWN_WIDGETS.get(_name, f"napari_tessera.gui.widgets:{class_name(_name)}"),
            "width_px": WIDTHS_PX.get(_name, WIDTH_PX),
        },
    )
