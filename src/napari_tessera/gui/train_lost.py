"""Trainings that were interrupted, by a crash or by Cancel, offered as models."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_tessera.catalogue import shipped_models
from napari_tessera.errors import FileError
from napari_tessera.gui.train_name import free_name
from napari_tessera.gui.train_rescue import DISCARD, exchanged, offer
from napari_tessera.gui.worker import Runner
from napari_tessera.interrupted import Interrupted, import_checkpoint, interrupted
from napari_tessera.io.model_entry import ModelEntry
from napari_tessera.io.model_file import ENDING
from napari_tessera.jobs import Job

MOST_SHOWN = 3
GONE = "What the training of {!r} had learnt is not there any more: another window saved, discarded or finished it."


class LostBox(QWidget):
    """A line for each training that was interrupted, with buttons to have a model of it or to let it go.

    Attributes
    ----------
    saved, failed : Signal
        With the new model's entry, or with the error.
    """

    saved = Signal(object)
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self.runner.returned.connect(self._on_saved)
        self.runner.failed.connect(self.failed.emit)
        self._lines: list[QWidget] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.refresh()

    def refresh(self) -> None:
        """Show what there is by now."""
        try:
            found = interrupted()[:MOST_SHOWN]
        except OSError:
            found = []
        self._lines = exchanged(self._layout, self._lines, [self._line(lost) for lost in found])
        self.setVisible(bool(found))

    def save(self, lost: Interrupted) -> None:
        """Save what a training had learnt as a model, in a thread; its checkpoint is not needed any more."""
        if not lost.path.exists():
            self.failed.emit(FileError(GONE.format(lost.name)))
            self.refresh()
        elif not self.runner.is_running:
            self.runner.start(_saving(lost))

    def discard(self, lost: Interrupted) -> None:
        """Delete what a training had learnt."""
        try:
            lost.path.unlink(missing_ok=True)
        except OSError as error:
            self.failed.emit(FileError(f"{lost.path} cannot be deleted: {error.strerror}."))
        self.refresh()

    def _line(self, lost: Interrupted) -> QWidget:
        return offer(
            f"The training of {lost.name!r} was interrupted at step {lost.step:,} of {lost.steps:,}, "
            f"{lost.when:%d %B, %H:%M}.",
            {"Save as a model": partial(self.save, lost), DISCARD: partial(self.discard, lost)},
        )

    def _on_saved(self, entry: ModelEntry) -> None:
        self.refresh()
        self.saved.emit(entry)


def _saving(lost: Interrupted) -> Job[ModelEntry]:
    entry = yield from import_checkpoint(lost.path, name_for(lost))
    lost.path.unlink(missing_ok=True)
    return entry


def name_for(lost: Interrupted) -> str:
    """Return the name that the model was to have, or one like it if there is a model of that name."""
    is_shipped = any(entry.name.casefold() == lost.name.casefold() for entry in shipped_models())
    is_taken = is_shipped or lost.path.with_name(lost.name + ENDING).exists()
    return free_name(lost.name) if is_taken else lost.name
