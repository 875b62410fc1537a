"""The rows that choose the images of a training, each with its annotation layer."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, pieces
from napari_tessera.core.labels import label_dtype
from napari_tessera.core.method import Method
from napari_tessera.core.sparse_array import highest_of
from napari_tessera.core.spec import Image as ImageArray
from napari_tessera.core.spec import Labels as LabelArray
from napari_tessera.gui.autosave.autosave import Saved, earlier
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import (
    POINTED,
    Task,
    annotated_layer,
    annotation_facts,
    annotation_of_labels,
    is_annotation,
    is_empty,
    looks_complete,
    place_over,
)
from napari_tessera.gui.layers.read import array_of, labels_of
from napari_tessera.gui.method.inputs import InputsBox
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.layout import NOTE_STYLE, Rows, fill, wrapped_label
from napari_tessera.gui.qt.worker import Runner, showing_errors
from napari_tessera.training.interactive import AnnotatedLayer

NEW_HELP = "Add an empty annotation layer over the image, with the brush ready."
EARLIER_HELP = "Bring back what was painted before on this image, or on another one of this size."
PAINTED_BEFORE = '"Earlier …" brings back what you painted on this image before:'
MOST_LISTED = 15
MORE_HELP = "Add an image and its annotation; all are trained on together."


def pair(image: ImageArray, annotation: LabelArray | None = None) -> LabelArray:
    """Pair an image with its annotation.

    Parameters
    ----------
    image : array
        The image to train on.
    annotation : array
        The layer that you paint on: 0 is not painted and never counts, 1 is background, 2 and up are classes or
        objects.
    """
    return np.zeros(image.shape) if annotation is None else annotation


PAIR = Method(pair, "Image and annotation")


COMPLETE = (
    "{!r} looks like complete labels, in which 0 is background. Or is it an annotation, in which 0 is not painted and "
    "1 is background?"
)
PAINTED = "What is 0 in {!r}: not painted, as in an annotation where 1 is background? Or background of complete labels?"
SOME = (
    "Did you point at every object, so that 0 in {!r} is background? If not, 0 is not painted: then paint some "
    "background with 1."
)
ASKED_FIRST = "Say first what 0 means in {!r}: the question is below its box."
PX_AT_ONCE = 2**22


class LabelsQuestion(QWidget):
    """Asks what 0 means in a labels layer that was not made as an annotation.

    Attributes
    ----------
    answered : Signal
        Emitted with the layer to train on: the layer itself, or a new annotation with background where 0 was.
    """

    answered = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.layer: Labels | None = None
        self.image: Layer | None = None
        self.task: Task = "objects"
        self.text = wrapped_label(NOTE_STYLE)
        self.complete_button = QPushButton("0 is background")
        self.complete_button.clicked.connect(self._on_complete)
        self.paint_button = QPushButton("0 is not painted")
        self.paint_button.clicked.connect(self._on_paint)
        self.runner = Runner()
        self.runner.returned.connect(self._on_converted)
        self.runner.failed.connect(self.failed.emit)
        buttons = QHBoxLayout()
        buttons.addWidget(self.complete_button)
        buttons.addWidget(self.paint_button)
        fill(QVBoxLayout(self), self.text, buttons)
        self.hide()

    def show_error(self, error: BaseException) -> None:
        """Emit `failed`; the widget shows the error."""
        self.failed.emit(error)

    @showing_errors
    def follow(self, layer: Labels | None, image: Layer | None) -> None:
        """Ask about a layer, unless it is an annotation, or empty and so becomes one."""
        if layer is not None and image is not None and not is_annotation(layer) and is_empty(layer):
            place_over(layer, image)
        asked = None if layer is None or image is None or is_annotation(layer) else layer
        if asked is not None and asked is not self.layer:
            is_pointed = POINTED in asked.metadata
            question = SOME if is_pointed else COMPLETE if looks_complete(asked) else PAINTED
            self.text.setText(question.format(asked.name))
        self.layer, self.image = asked, image
        self.setVisible(asked is not None)

    @showing_errors
    def _on_paint(self) -> None:
        if self.layer is not None and POINTED in self.layer.metadata:
            self._convert(is_complete=False)
        elif self.layer is not None and self.image is not None:
            place_over(self.layer, self.image)
            self.answered.emit(self.layer)

    @showing_errors
    def _on_complete(self) -> None:
        self._convert(is_complete=True)

    def _convert(self, is_complete: bool) -> None:
        if self.layer is not None and self.image is not None and not self.runner.is_running:
            self.runner.start(converting(self.layer, self.image, self.task, is_complete))

    def _on_converted(self, annotation: Labels) -> None:
        if self.layer is not None:
            self.layer.visible = False
        self.viewer.add_layer(annotation)
        self.answered.emit(annotation)


def converting(layer: Labels, image: Layer, task: Task, is_complete: bool = True) -> Job[Labels]:
    """Turn labels into an annotation, in which numbers are one higher; 0 of complete labels is background."""
    data = array_of(layer)
    highest = (yield from highest_of(data)) + 1
    numbers = np.zeros(data.shape, label_dtype(highest))
    for piece in pieces(numbers.shape, PX_AT_ONCE):
        yield Progress(0, 1, "Reading the labels")
        numbers[piece] = np.asarray(data[piece])
        numbers[piece] += 1 if is_complete else numbers[piece] > 0
    return annotation_of_labels(numbers, highest, layer, image, task)


class PairBox(QWidget):
    """The rows of one image and its annotation; `new_asked` is emitted to ask for a new annotation layer."""

    new_asked = Signal()
    earlier_asked = Signal(object)
    """Emitted with the saved annotation that the user wants back."""
    removed = Signal()

    def __init__(self, viewer: ViewerModel, is_first: bool) -> None:
        super().__init__()
        self.viewer = viewer
        rows = Rows()
        self.inputs = InputsBox(viewer, PAIR, rows)
        self.new_button = OnceButton("New annotation layer")
        self.new_button.setToolTip(tooltip(NEW_HELP))
        self.new_button.pressed_once.connect(self.new_asked.emit)
        self.earlier_menu = QMenu(self)
        self.earlier_menu.aboutToShow.connect(self._list_earlier)
        self.earlier_button = QPushButton("Earlier …")
        self.earlier_button.setToolTip(tooltip(EARLIER_HELP))
        self.earlier_button.setMenu(self.earlier_menu)
        self.earlier_note = wrapped_label(NOTE_STYLE)
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(tooltip("Train without this image. Its layers stay."))
        self.remove_button.clicked.connect(self.removed.emit)
        self.remove_button.setHidden(is_first)
        buttons = QHBoxLayout()
        buttons.addWidget(self.new_button, 1)
        buttons.addWidget(self.earlier_button)
        buttons.addWidget(self.remove_button)
        self.question = LabelsQuestion(viewer)
        self.question.answered.connect(self._on_answered)
        fill(QVBoxLayout(self), rows, self.question, buttons, self.earlier_note)
        self.inputs.main.on_change(self.guess_paint)
        self.inputs.on_change(self._follow_choice)
        self._drop_unasked(None)
        self.guess_paint()
        self._follow_choice()

    @property
    def image(self) -> Layer | None:
        """The chosen image."""
        return self.inputs.main.layer

    @property
    def paint(self) -> Labels | None:
        """The chosen annotation layer."""
        layer = self.inputs.boxes["annotation"].layer
        return layer if isinstance(layer, Labels) else None

    @paint.setter
    def paint(self, layer: Labels) -> None:
        self.inputs.boxes["annotation"].layer = layer

    @property
    def annotation(self) -> Labels | None:
        """The chosen layer, if it is known to be an annotation."""
        return self.paint if self.paint is not None and is_annotation(self.paint) else None

    @property
    def axes(self) -> str:
        """One letter for each axis of the image's array."""
        return self.inputs.axes

    def choose(self, image: Layer, axes: str, labels: Labels) -> None:
        """Choose an image and a labels layer for it; if it is no annotation, what 0 means in it is asked."""
        self.inputs.refresh()
        self.inputs.main.layer = image
        self.inputs.axes_box.value = axes
        self.paint = labels
        self._follow_choice()

    def guess_paint(self) -> None:
        """Choose the annotation layer of this image, unless a layer that may belong to it is chosen."""
        if self.image is None or (self.paint is not None and self.may_belong(self.paint)):
            return
        box = self.inputs.boxes["annotation"]
        box.combo.value = next((each for each in box.offered() if is_annotation(each) and self.may_belong(each)), None)

    def follow_layers(self) -> None:
        """Update the boxes after layers were added, removed or renamed; a chosen annotation stays."""
        before = self.image, self.paint
        self.inputs.refresh()
        self._drop_unasked(before[1])
        is_as_chosen = self.paint is not None and (self.image, self.paint) == before
        if self.image is not None and not (is_as_chosen and self.fits(self.paint)):
            self.guess_paint()
        self._follow_choice()

    def earlier(self) -> list[Saved]:
        """Return the saved annotations that fit the image; without any if their folder cannot be read."""
        with suppress(OSError):
            return [] if self.image is None else earlier(self.viewer, self.image, self.axes)
        return []

    def offer_earlier(self) -> None:
        """Offer the annotations that were painted on the image before."""
        found = self.earlier()
        self.earlier_button.setHidden(not found)
        of_image = [saved for saved in found if self.image is not None and saved.image == self.image.name]
        is_offered = self.paint is None and bool(of_image)
        self.earlier_note.setText(f"{PAINTED_BEFORE} {_describe(of_image[0])}" if is_offered else "")
        self.earlier_note.setVisible(is_offered)

    def _follow_choice(self) -> None:
        self.inputs.show_rows({})
        has_same_shape = self.image is not None and self.paint is not None and self.fits(self.paint)
        self.question.follow(self.paint if has_same_shape else None, self.image)
        self.offer_earlier()

    def _drop_unasked(self, before: Labels | None) -> None:
        """Choose no layer, if one was chosen that is no annotation, and not by the user."""
        if self.paint is not before and self.paint is not None and not is_annotation(self.paint):
            self.inputs.boxes["annotation"].combo.value = None

    def _on_answered(self, layer: Labels) -> None:
        self.inputs.refresh()
        self.paint = layer
        self._follow_choice()

    def _list_earlier(self) -> None:
        self.earlier_menu.clear()
        for saved in self.earlier()[:MOST_LISTED]:
            action = QAction(f"{saved.name}: {_describe(saved)}", self.earlier_menu)
            action.triggered.connect(partial(self._on_earlier, saved))
            self.earlier_menu.addAction(action)

    def _on_earlier(self, saved: Saved, *_: object) -> None:
        self.earlier_asked.emit(saved)

    def may_belong(self, paint: Layer) -> bool:
        """Return whether the annotation has the image's shape, and was not made for an image with another name."""
        assert self.image is not None
        made_for = annotation_facts(paint).get("image") if is_annotation(paint) else None
        return self.fits(paint) and made_for in (None, self.image.name)

    def fits(self, paint: Layer) -> bool:
        """Return whether an annotation has the image's shape."""
        assert self.image is not None
        sides = zip(self.axes, array_of(self.image).shape, strict=False)
        return tuple(labels_of(paint, self.axes).shape) == tuple(side for axis, side in sides if axis != "C")

    def given(self) -> AnnotatedLayer:
        """Return the image and its annotation, or raise an InputError if one of them is missing."""
        image = self.inputs.main_layer()
        if self.paint is None:
            raise InputError(
                f'{image.name}: no annotation is chosen. Press "New annotation layer" and paint on it: 1 for '
                "background, 2 and up for what you look for."
            )
        if self.question.layer is not None:
            raise InputError(ASKED_FIRST.format(self.question.layer.name))
        return annotated_layer(image, self.paint, self.axes)


def _describe(saved: Saved) -> str:
    return saved.problem or f"{saved.painted_px:,} px, {saved.changed:%d %B, %H:%M}"


class PairsBox(QWidget):
    """All pairs of image and annotation; at the start there is one."""

    new_asked = Signal(object)
    earlier_asked = Signal(object, object)
    failed = Signal(object)
    changed = Signal()
    """Emitted whenever other layers or axes are chosen."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.pairs: list[PairBox] = []
        self._layout = QVBoxLayout(self)
        self.more_button = QPushButton("+ One more image")
        self.more_button.setToolTip(tooltip(MORE_HELP))
        self.more_button.clicked.connect(self.add)
        fill(self._layout, self.more_button)
        self.add()

    @property
    def first(self) -> PairBox:
        """The first pair; the form follows its image."""
        return self.pairs[0]

    def add(self) -> PairBox:
        """Add a pair, with the topmost image that no other pair has."""
        pair = PairBox(self.viewer, is_first=not self.pairs)
        taken = [each.image for each in self.pairs]
        if pair.image in taken:
            pair.inputs.main.take_one(taken)
        pair.new_asked.connect(lambda: self.new_asked.emit(pair))
        pair.question.failed.connect(self.failed.emit)
        pair.earlier_asked.connect(lambda saved: self.earlier_asked.emit(pair, saved))
        pair.removed.connect(lambda: self.remove(pair))
        pair.inputs.on_change(self.changed.emit)
        self._layout.insertWidget(len(self.pairs), pair)
        self.pairs.append(pair)
        self.changed.emit()
        return pair

    def remove(self, pair: PairBox) -> None:
        """Remove a pair."""
        self.pairs.remove(pair)
        self._layout.removeWidget(pair)
        pair.hide()
        pair.deleteLater()
        self.changed.emit()

    def follow_task(self, task: Task) -> None:
        """Take full labels for objects or for classes."""
        for pair in self.pairs:
            pair.question.task = task

    def refresh(self) -> None:
        """Update the boxes after layers were added, removed or renamed."""
        for pair in self.pairs:
            pair.follow_layers()

    def axes_of(self, image: Layer) -> str:
        """Return the axes of an image, or raise an InputError if it is no longer among the pairs."""
        found = next((pair.axes for pair in self.pairs if pair.image is image), None)
        if found is None:
            raise InputError(f"{image.name!r} is no longer among the images. Choose it again, or train again.")
        return found

    def given(self) -> tuple[AnnotatedLayer, ...]:
        """Return all images and their annotations, or raise an InputError if a layer is missing or given twice."""
        found = tuple(pair.given() for pair in self.pairs)
        paints = [pair.paint for pair in self.pairs]
        twice = next((each for each in paints if paints.count(each) > 1), None)
        if twice is not None:
            raise InputError(f"The annotation {twice.name!r} is given twice. Choose each layer once, or remove a pair.")
        return found
