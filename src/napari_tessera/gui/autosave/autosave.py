"""Save annotation layers in a background thread, and restore them after a crash.

The thread does not depend on Qt, and may outlive the window.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_tessera.core.daemon_threads import start_thread
from napari_tessera.core.errors import FileError
from napari_tessera.core.jobs import Job, Progress, run_job
from napari_tessera.gui.autosave.layer_copy import SAVED_IN, LayerCopy
from napari_tessera.gui.layers.annotation import (
    ANNOTATION,
    BACKGROUND,
    annotation_facts,
    empty_paint,
    fitting_brush_px,
    set_class_names,
)
from napari_tessera.gui.layers.read import array_of
from napari_tessera.gui.qt.buttons import RecoveryBox
from napari_tessera.gui.qt.worker import sentence, short_switch_interval, shown_by
from napari_tessera.io.annotation_store import (
    Saved,
    annotations_folder,
    discard,
    discard_old,
    read_blocks,
    saved_annotations,
)

SECONDS_BETWEEN_SAVES = 1.0
SECONDS_AFTER_FAILURE = 5.0
MEANWHILE = "Tessera tries again every few seconds. While you see this line, save the layer yourself (File → Save)."


class SavingThread:
    """Saves its layers every second.

    `tell` is called in this thread with the reason why a layer could not be saved, or "" when all are saved again;
    `ended` when the last strokes of a closed layer are saved.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None], ended: Callable[[], None]) -> None:
        self.copies: list[LayerCopy] = []
        self._folder, self._tell, self._ended = folder, tell, ended
        self._reported = ""
        self._wake = threading.Event()
        self._turns = threading.Condition()
        self._begun = self._done = 0
        self._is_over = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start saving; if no thread can be started, this can be called again."""
        if self._thread is not None or not self.copies or self._is_over:
            return
        try:
            self._thread = start_thread(self._serve, "tessera autosave", stop=self._end)
        except RuntimeError as error:
            self._note(_failure(self.copies[-1], error))

    def settle(self, seconds: float) -> bool:
        """Save everything now; return whether it was saved in time."""
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
        with suppress(Exception):  # old copies do no harm; saving matters more
            discard_old(self._folder)
        while not self._is_over:
            self._wake.wait(SECONDS_AFTER_FAILURE if self._reported else SECONDS_BETWEEN_SAVES)
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
        """Report a failure, or its end, once."""
        if failure != self._reported:
            self._reported = failure
            self._tell(failure)

    def _saved(self, copy: LayerCopy) -> str:
        """Save one layer; return the reason if that failed, or ""."""
        try:
            with short_switch_interval():
                if copy.is_closed:
                    copy.end()
                    self.copies.remove(copy)
                    self._ended()
                else:
                    copy.save()
        except Exception as error:  # the other layers are saved all the same
            return _failure(copy, error)
        return ""


def _failure(copy: LayerCopy, error: Exception) -> str:
    return f"{copy.layer.name!r} is not saved in the background: {sentence(error)} {MEANWHILE}"


SECONDS_TO_CLOSE = 5.0
BLOCKS_AT_A_TIME = 8


class Autosave(QObject):
    """Saves the annotation layers of a viewer a second or two after each stroke.

    A separate thread writes only the blocks that have changed, each completely or not at all. The copy of a closed
    layer is kept for 30 days; the copy of a session that crashed is kept until the user discards it.
    """

    failed = Signal(str)
    """Why a layer could not be saved, such as a full disk; empty when it was saved later."""
    ended = Signal()
    """The last strokes of a closed layer are saved."""

    def __init__(self, viewer: ViewerModel, folder: Path | None = None) -> None:
        super().__init__()
        self.viewer = viewer
        self.folder = folder or annotations_folder()
        self._thread = SavingThread(self.folder, _teller(self), _end_teller(self))
        viewer.layers.events.removed.connect(self._on_removed)
        # Also at the end of Python, if `close` was not called.
        self._end = weakref.finalize(self, self._thread.close, SECONDS_TO_CLOSE)

    def watch(self, layer: Labels, image_layer: Layer) -> None:
        """Start to save a layer, unless it is saved already."""
        if not self.is_watching(layer) and not layer.multiscale:
            self._thread.copies.append(LayerCopy(layer, image_layer.name, self.viewer, self.folder))
        self._thread.begin()

    def is_watching(self, layer: Layer) -> bool:
        """Return whether a layer is being saved."""
        return any(copy.layer is layer and not copy.is_closed for copy in self._thread.copies)

    def save_now(self, seconds: float = SECONDS_TO_CLOSE) -> bool:
        """Save all changes now; return whether they were saved in time."""
        return not self._end.alive or not self._thread.copies or self._thread.settle(seconds)

    def close(self, is_awaited: bool = True) -> None:
        """Stop, and save the rest, in another thread if nobody waits for it; the layers count as closed."""
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        if is_awaited:
            self._end()
        else:  # a thread for which Python waits at its end
            threading.Thread(target=self._end, name="tessera autosave end").start()

    def _on_removed(self, event: Any) -> None:
        for copy in self._thread.copies:
            if copy.layer is event.value:
                copy.is_closed = True


def _teller(autosave: Autosave) -> Callable[[str], None]:
    """Return a function that emits `failed`, or shows a napari warning if the window is closed."""
    known = weakref.ref(autosave)

    def tell(why: str) -> None:
        listening = known()
        try:
            if listening is not None:
                listening.failed.emit(why)
                return
        except RuntimeError:  # Qt has deleted its half of the object
            pass
        if why:
            show_warning(why)

    return tell


def _end_teller(autosave: Autosave) -> Callable[[], None]:
    """Return a function that emits `ended`, unless the window is closed."""
    known = weakref.ref(autosave)

    def tell() -> None:
        listening = known()
        with suppress(RuntimeError):  # Qt has deleted its half of the object
            if listening is not None:
                listening.ended.emit()

    return tell


def left_over(folder: Path | None = None) -> list[Saved]:
    """List the saved annotations of sessions that crashed, the latest first."""
    return [saved for saved in kept(folder) if not saved.has_ended]


def kept(folder: Path | None = None) -> list[Saved]:
    """List all annotations that can be restored, those of closed layers included, the latest first."""
    return [saved for saved in saved_annotations(folder) if saved.has_paint or saved.problem]


def earlier(viewer: ViewerModel, image: Layer, axes: str) -> list[Saved]:
    """List the annotations that can be restored over an image, those of its name first, then the latest.

    Those of layers that are open are left out; `axes` names every axis of the image's array.
    """
    in_use = {layer.metadata.get(SAVED_IN) for layer in viewer.layers}
    sides = dict(zip(axes, array_of(image).shape, strict=True))
    shapes = [[side for axis, side in sides.items() if axis != "C"]]
    shapes.append([1 if axis == "C" else side for axis, side in sides.items()])
    fitting = (saved for saved in saved_annotations() if saved.state.get("shape") in shapes)
    found = [saved for saved in fitting if str(saved.folder) not in in_use and saved.has_paint]
    return sorted(found, key=lambda saved: saved.image != image.name)


def restore(viewer: ViewerModel, saved: Saved) -> Labels:
    """Add a saved annotation to a viewer as a new layer, as `restoring`; if it is watched, the same copy is updated."""
    return viewer.add_layer(run_job(restoring(saved)))


def restoring(saved: Saved) -> Job[Labels]:
    """Read a saved annotation into a layer, or raise a FileError if it cannot be read."""
    if saved.problem:
        raise FileError(saved.problem)
    paint = empty_paint(saved.state["shape"], saved.state["dtype"])
    damaged = count = highest = 0
    for count, (window, block) in enumerate(read_blocks(saved), 1):
        if count % BLOCKS_AT_A_TIME == 0:
            yield Progress(0, 1, f"Reading {saved.name}")
        damaged += block is None
        if block is not None:
            paint[window] = block
            highest = max(highest, int(block.max()))
    layer = _layer(saved, paint)
    is_objects = annotation_facts(layer).get("task") == "objects"
    layer.selected_label = max(highest if is_objects else BACKGROUND, BACKGROUND) + 1
    if damaged:
        show_warning(
            f"{damaged} of {count} blocks of {saved.name!r} are damaged and cannot be read. Check the layer for gaps."
        )
    return layer


def _layer(saved: Saved, paint: Any) -> Labels:
    facts = dict(saved.state.get("facts", {}))
    try:
        layer = Labels(paint, name=saved.name, **saved.state["placed"])
        if "classes" in facts:
            layer.metadata[ANNOTATION] = facts
            set_class_names(layer, [str(name) for name in facts["classes"]])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"The annotation saved in {saved.folder} has no valid position ({error}).") from error
    layer.metadata[ANNOTATION] = {"image": saved.image, **layer.metadata.get(ANNOTATION, {})}
    layer.metadata[SAVED_IN] = str(saved.folder)
    layer.brush_size = fitting_brush_px(layer.data.shape[-2:])
    return layer


class RescueBox(RecoveryBox):
    """Offers the annotations left by a crash; `recovered` is emitted with the new layer."""

    title = "Restore"

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._in_use: set[Path] = set()
        super().__init__()

    def found(self) -> list[Saved]:
        """Return the annotations that were not restored in this session."""
        return [saved for saved in left_over() if saved.folder not in self._in_use]

    def describe(self, item: Saved) -> str:
        """Return the name, size and date of an annotation."""
        size, when = f"{item.painted_px:,} pixels", f"{item.changed:%d %B, %H:%M}"
        return f"Saved from a session that crashed: {item.name!r}, {size}, {when}."

    def recovering(self, item: Saved) -> Job[Labels]:
        """Return the job that reads an annotation into a layer."""
        return restoring(item)

    def delete(self, item: Saved) -> None:
        """Delete a saved annotation."""
        discard(item)

    def _on_recovered(self, thing: Labels) -> None:
        with shown_by(self.failed.emit):
            self.viewer.add_layer(thing)
            self._in_use.add(Path(thing.metadata[SAVED_IN]))
            self.recovered.emit(thing)
        self.refresh()
