"""The line above Run that says where a network will run, how long it will take, and how much memory it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_tessera.errors import TesseraError
from napari_tessera.gui.asking import Question, foreseeing
from napari_tessera.gui.latest import Latest
from napari_tessera.gui.run_bar import NOTE_STYLE, PLAIN_STYLE

if TYPE_CHECKING:
    from napari_tessera.forecast import Forecast

SETTLE_MS = 150
"""A burst of changes is answered once."""
UNKNOWN = "Working out time and memory …"


class ForecastLine(QLabel):
    """Says what a run would cost, worked out in a thread whenever the question changes."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setStyleSheet(PLAIN_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.latest = Latest()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._say_failed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        self._question: Callable[[], Question] | None = None
        self._is_busy: Callable[[], bool] = bool
        self.hide()

    def follow(self, question: Callable[[], Question], is_busy: Callable[[], bool]) -> None:
        """Show the line from now on; `question` reads the widget, `is_busy` says when it is no time to measure."""
        self._question, self._is_busy = question, is_busy
        self.update_soon()

    def update_soon(self, *_: Any) -> None:
        """Something changed: work it out anew."""
        if self._question is not None:
            self._timer.start()

    def close_down(self) -> None:
        """Let go of everything."""
        self._question = None
        self._timer.stop()
        self.latest.stop()

    def _ask(self) -> None:
        if self._question is None:
            return
        try:
            question = self._question()
        except TesseraError:
            # Run will say what is missing; until then there is nothing to foresee.
            self.hide()
            return
        except Exception as error:
            self._say_failed(error)
            return
        if not self.text():
            self._say(UNKNOWN)
        self.latest.ask(None, foreseeing(question, self._is_busy))

    def _show(self, _: None, forecast: Forecast | None) -> None:
        if forecast is None:
            self.hide()
        else:
            self._say(forecast.sentence, forecast.is_too_large)

    def _say_failed(self, error: Exception) -> None:
        if isinstance(error, TesseraError):
            self._say(str(error), is_warning=True)
        else:
            self._say("How long this will take is not known.")

    def _say(self, text: str, is_warning: bool = False) -> None:
        self.setText(text)
        self.setStyleSheet(NOTE_STYLE if is_warning else PLAIN_STYLE)
        self.show()
