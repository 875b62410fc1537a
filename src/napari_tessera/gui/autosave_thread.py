"""The thread that saves annotations while they are painted; it knows no Qt, and outlives the window if it must."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from napari_tessera.ending import start_thread
from napari_tessera.gui.autosave_copy import LayerCopy
from napari_tessera.gui.failing import sentence
from napari_tessera.gui.worker import quick_switching
from napari_tessera.io.saved_paint import discard_old

SECONDS_BETWEEN_SAVES = 1.0
SECONDS_AFTER_FAILURE = 5.0
MEANWHILE = "It is tried again every few seconds. Until this line is gone, save the layer yourself (File → Save)."


class SavingThread:
    """Saves the layers given to it, every second.

    Parameters
    ----------
    folder : Path
    tell : function (str)
        Told why something could not be saved, in this thread; and nothing ("") when all is saved again.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.copies: list[LayerCopy] = []
        self._folder, self._tell = folder, tell
        self._told = ""
        self._wake = threading.Event()
        self._turns = threading.Condition()
        self._begun = self._done = 0
        self._is_over = False
        self._thread: threading.Thread | None = None

    def add(self, copy: LayerCopy) -> None:
        """Save one more layer, once it has begun."""
        self.copies.append(copy)

    def begin(self) -> None:
        """Save from now on; where no thread can be started, this can be tried again."""
        if self._thread is not None or not self.copies or self._is_over:
            return
        try:
            self._thread = start_thread(self._serve, "tessera autosave", stop=self._end)
        except RuntimeError as error:
            self._note(_failure(self.copies[-1], error))

    def settle(self, seconds: float) -> bool:
        """Save everything now; say whether that was done in time."""
        with self._turns:
            target = self._begun + 1
            for copy in self.copies:
                copy.hurry()
            self._wake.set()
            return self._turns.wait_for(lambda: self._done >= target and not self._is_searching(), seconds)

    def close(self, seconds: float) -> None:
        """Save everything and end."""
        self._end()
        if self._thread is not None:
            self._thread.join(seconds)

    def _end(self) -> None:
        self._is_over = True
        self._wake.set()

    def _is_searching(self) -> bool:
        for copy in self.copies:
            copy.hurry()
        self._wake.set()
        return any(copy.is_searching for copy in self.copies)

    def _serve(self) -> None:
        with suppress(Exception):  # what is old is in nobody's way; what is painted now matters
            discard_old(self._folder)
        while not self._is_over:
            self._wake.wait(SECONDS_AFTER_FAILURE if self._told else SECONDS_BETWEEN_SAVES)
            self._wake.clear()
            self._turn()
        for copy in self.copies:
            copy.is_closed = True
        self._turn()

    def _turn(self) -> None:
        self._begun += 1
        failures = [failure for copy in list(self.copies) if (failure := self._saved(copy))]
        self._note(failures[0] if failures else "")
        with self._turns:
            self._done = self._begun
            self._turns.notify_all()

    def _note(self, failure: str) -> None:
        """Tell of a failure, or of its end, once."""
        if failure != self._told:
            self._told = failure
            self._tell(failure)

    def _saved(self, copy: LayerCopy) -> str:
        """Save one layer; return why that failed, or nothing."""
        try:
            with quick_switching():
                if copy.is_closed:
                    copy.end()
                    self.copies.remove(copy)
                else:
                    copy.save()
        except Exception as error:  # the next layer, and the next second, must not suffer from it
            return _failure(copy, error)
        return ""


def _failure(copy: LayerCopy, error: Exception) -> str:
    return f"{copy.layer.name!r} is not saved in the background: {sentence(error)} {MEANWHILE}"
