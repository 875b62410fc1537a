"""Turn a prediction into paint where the user agrees with it: in view, inside drawn outlines, or where was clicked.

Paint that is there is never changed, and one Ctrl-Z takes everything back. A large part is painted in small pieces
between which the window lives on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_tessera.accepted import BACKGROUND, UNKNOWN, objects_cut, objects_met, paint_of_classes, paint_of_objects
from napari_tessera.errors import InputError, RunError
from napari_tessera.gui.accepting_where import Overlaid, Part, Window, clicked, in_outlines, in_view, offset_of
from napari_tessera.gui.annotation import Task, annotation_facts
from napari_tessera.gui.autosave_changes import all_blocks
from napari_tessera.gui.failing import sentence
from napari_tessera.io.saved_paint import block_window
from napari_tessera.jobs import Job, Progress

__all__ = ["Accepted", "Accepting", "Part", "accept", "accepting", "clicked", "in_outlines", "in_view"]

SECONDS_AT_A_TIME = 0.03


@dataclass(frozen=True)
class Accepted:
    """What was taken over.

    Attributes
    ----------
    pixels : int
    objects : int
        Of objects, how many.
    cut, met : int
        Objects left out, as they go on beyond the part, or lie on objects painted by hand.
    """

    pixels: int = 0
    objects: int = 0
    cut: int = 0
    met: int = 0

    def __str__(self) -> str:
        said = [f"{self.pixels:,} pixels were painted as predicted; Ctrl-Z takes them back."]
        if self.cut:
            said.append(f"Objects left out as they go on beyond the part: {self.cut}.")
        if self.met:
            said.append(f"Objects left out where others are painted already: {self.met}.")
        return " ".join(said) if self.pixels else " ".join(["Nothing is left to paint there.", *said[1:]])


class Accepting(QObject):
    """Paints piece by piece; `ended` comes with an `Accepted`, or `failed` with an error."""

    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, job: Job[Accepted]) -> None:
        super().__init__()
        self._job = job
        self.accepted: Accepted | None = None

    def go_on(self) -> None:
        """Paint for a moment, and again when the window has done what it has to do."""
        until = time.monotonic() + SECONDS_AT_A_TIME
        try:
            while time.monotonic() < until:
                next(self._job)
        except StopIteration as end:
            self.accepted = end.value
            self.ended.emit(self.accepted)
        except Exception as error:
            self.failed.emit(error)
        else:
            QTimer.singleShot(0, lambda: self.go_on())


def accept(prediction: Labels, annotation: Labels, where: Part, task: Task | None = None) -> Accepting:
    """Copy a prediction into an annotation where the user agrees with it.

    Parameters
    ----------
    prediction : napari.layers.Labels
        0 background, 1… classes or objects; of pixels as large as the annotation's, it may cover a part of it.
    annotation : napari.layers.Labels
        Painted pixels are left as they are. Background becomes 1, classes 2…, objects get numbers that are free.
        Objects that go on beyond the part, or lie on painted ones, are left out: half an object would be a wrong one.
    where : Part
        From `in_view`, `in_outlines` or `clicked`.
    task : {"objects", "classes"}, optional
        Not given: that of the annotation.

    Returns
    -------
    Accepting
        Paints from the next moment on.

    Raises
    ------
    InputError
        If the layers do not fit each other, or the annotation cannot hold the numbers.
    """
    job = accepting(prediction, annotation, where, task or annotation_facts(annotation).get("task", "classes"))
    next(job)
    painting = Accepting(job)
    QTimer.singleShot(0, lambda: painting.go_on())
    return painting


def accepting(prediction: Labels, annotation: Labels, where: Part, task: Task) -> Job[Accepted]:
    """Do what `accept` does; to be run in the window's thread, in steps of a few milliseconds."""
    both = Overlaid(prediction.data, annotation.data, offset_of(prediction, annotation), where)
    yield Progress(0, 1, "Accepting")
    found, cut, met = yield from _numbers(both, task)
    taken = np.array(sorted(found - cut - met) if task == "objects" else (), np.int64)
    first = (yield from _highest(annotation.data)) + 1
    _check_fits(first + len(taken) - 1 if task == "objects" else max(found, default=0) + 1, annotation)
    pixels = 0
    with one_to_undo(annotation):
        for piece in both.pieces():
            yield Progress(0, 1, "Accepting")
            labels, paint, inside = both.read(piece)
            if task == "objects":
                new = paint_of_objects(labels, paint, inside, taken, first)
            else:
                new = paint_of_classes(labels, paint, inside)
            pixels += _set(annotation, piece, new)
    return Accepted(pixels, len(taken), len(cut), len(met - cut))


@contextmanager
def one_to_undo(annotation: Labels) -> Iterator[None]:
    """Paint what one Ctrl-Z takes back; if that fails half way, nothing of it stays.

    Raises
    ------
    RunError
    """
    failure: Exception | None = None
    has_painted = False

    def note(_: Any) -> None:
        nonlocal has_painted
        has_painted = True

    annotation.events.paint.connect(note)
    try:
        with annotation.block_history():  # which forgets what was painted if an error leaves it
            try:
                yield
            except Exception as error:
                failure = error
    finally:
        annotation.events.paint.disconnect(note)
    if failure is None:
        return
    if has_painted:
        annotation.undo()
    raise RunError(f"Nothing was accepted; what had been painted was taken back. {sentence(failure)}") from failure


def _numbers(both: Overlaid, task: Task) -> Job[tuple[set[int], set[int], set[int]]]:
    """List the numbers predicted, and of objects those that are cut off, or lie on painted ones."""
    found: set[int] = set()
    cut: set[int] = set()
    met: set[int] = set()
    for piece in both.pieces():
        yield Progress(0, 1, "Accepting")
        labels, paint, inside = both.read(piece, margin=task == "objects")
        found.update(np.unique(labels[inside]).tolist())
        if task == "objects":
            cut |= objects_cut(labels, inside)
            met |= objects_met(labels, paint)
    return found - {0, UNKNOWN}, cut, met & found


def _highest(data: Any) -> Job[int]:
    """Return the highest number that is painted, 1 at least."""
    highest = BACKGROUND
    for index in all_blocks(data):
        yield Progress(0, 1, "Looking for free numbers")
        highest = max(highest, int(np.max(data[block_window(index, data.shape)])))
    return highest


def _check_fits(highest: int, annotation: Labels) -> None:
    most = int(np.iinfo(annotation.dtype).max)
    if highest > most:
        raise InputError(
            f"{annotation.name!r} holds numbers up to {most}, and {highest} is needed. Convert its data type (right "
            "click on the layer), or make a new annotation layer."
        )


def _set(annotation: Labels, piece: Window, new: np.ndarray) -> int:
    """Paint a piece in a way that can be undone; 0 leaves a pixel as it is."""
    at = np.nonzero(new)
    if at[0].size:
        annotation.data_setitem(tuple(each + part.start for each, part in zip(at, piece, strict=True)), new[at])
    return at[0].size
