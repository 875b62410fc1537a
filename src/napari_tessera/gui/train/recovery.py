"""Boxes that offer what an earlier session left: saved annotations and interrupted trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import FileError
from napari_tessera.core.jobs import Job
from napari_tessera.gui.autosave.autosave import Saved, discard, left_over, restoring
from napari_tessera.gui.autosave.layer_copy import SAVED_IN
from napari_tessera.gui.layers.annotation import annotation_facts
from napari_tessera.gui.qt.buttons import AskingButton
from napari_tessera.gui.qt.run_bar import NOTE_STYLE
from napari_tessera.gui.qt.worker import Runner, shown_by
from napari_tessera.gui.train.form import free_name
from napari_tessera.gui.train.results import wrapped
from napari_tessera.models.registry import ModelEntry, shipped_models
from napari_tessera.models.safetensors import ENDING
from napari_tessera.training.recovery import Interrupted, import_checkpoint, interrupted

MOST_SHOWN = 3
DISCARD, DISCARD_FOR_GOOD = "Discard", "Discard for good?"


class RescueBox(QWidget):
    """A line for each annotation left by a crash, with buttons to restore or discard it.

    Attributes
    ----------
    restored, failed : Signal
        Emitted with the new layer, or with the error.
    """

    restored = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.runner = Runner()
        self.runner.returned.connect(self._on_restored)
        self.runner.failed.connect(self.failed.emit)
        self._lines: list[QWidget] = []
        self._in_use: set[Path] = set()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.refresh()

    def refresh(self) -> None:
        """Update the lines."""
        try:
            found = [saved for saved in left_over() if saved.folder not in self._in_use][:MOST_SHOWN]
        except OSError:
            found = []
        self._lines = exchanged(self._layout, self._lines, [self._line(saved) for saved in found])
        self.setVisible(bool(found))

    def restore(self, saved: Saved) -> None:
        """Read an annotation in a thread, and add it as a new layer."""
        if not self.runner.is_running:
            self.runner.start(restoring(saved))

    def discard(self, saved: Saved) -> None:
        """Delete a saved annotation."""
        with shown_by(self.failed.emit):
            discard(saved)
        self.refresh()

    def _line(self, saved: Saved) -> QWidget:
        return offer(
            f"Saved from a session that crashed: {saved.name!r}, {saved.painted_px:,} pixels, "
            f"{saved.changed:%d %B, %H:%M}.",
            {"Restore": partial(self.restore, saved), DISCARD: partial(self.discard, saved)},
        )

    def _on_restored(self, layer: Labels) -> None:
        with shown_by(self.failed.emit):
            self.viewer.add_layer(layer)
            self._in_use.add(Path(annotation_facts(layer)[SAVED_IN]))  # this session uses it now
            self.restored.emit(layer)
        self.refresh()


def offer(text: str, actions: Mapping[str, Callable[[], None]]) -> QWidget:
    """Make a line of text with a button for each action; "Discard" asks first."""
    line = QWidget()
    layout = QVBoxLayout(line)
    layout.setContentsMargins(0, 0, 0, 0)
    said = wrapped(NOTE_STYLE)
    said.setText(text)
    layout.addWidget(said)
    buttons = QHBoxLayout()
    for title, action in actions.items():
        button = AskingButton(title, DISCARD_FOR_GOOD) if title == DISCARD else QPushButton(title)
        pressed = button.confirmed if isinstance(button, AskingButton) else button.clicked
        pressed.connect(partial(_do, action))
        buttons.addWidget(button)
    layout.addLayout(buttons)
    return line


def _do(action: Callable[[], None], *_: object) -> None:
    action()


def exchanged(layout: QVBoxLayout, old: Sequence[QWidget], new: list[QWidget]) -> list[QWidget]:
    """Replace the old lines by new ones, and return these."""
    for line in old:
        layout.removeWidget(line)
        line.hide()
        line.deleteLater()
    for line in new:
        layout.addWidget(line)
    return new


GONE = "The checkpoint of {!r} is gone: another window saved, discarded or finished this training."


class LostBox(QWidget):
    """A line for each interrupted training, with buttons to save it as a model or to discard it.

    Attributes
    ----------
    saved, failed : Signal
        Emitted with the new model's entry, or with the error.
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
        """Update the lines."""
        try:
            found = interrupted()[:MOST_SHOWN]
        except OSError:
            found = []
        self._lines = exchanged(self._layout, self._lines, [self._line(lost) for lost in found])
        self.setVisible(bool(found))

    def save(self, lost: Interrupted) -> None:
        """Save an interrupted training as a model, in a thread, and delete its checkpoint."""
        if not lost.path.exists():
            self.failed.emit(FileError(GONE.format(lost.name)))
            self.refresh()
        elif not self.runner.is_running:
            self.runner.start(_saving(lost))

    def discard(self, lost: Interrupted) -> None:
        """Delete the checkpoint of a training."""
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
    """Return the name planned for the model, or a similar one if a model has it."""
    is_shipped = any(entry.name.casefold() == lost.name.casefold() for entry in shipped_models())
    is_taken = is_shipped or lost.path.with_name(lost.name + ENDING).exists()
    return free_name(lost.name) if is_taken else lost.name
