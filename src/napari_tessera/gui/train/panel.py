"""The visible part of the Train widget: images and annotations, classes, settings, charts and Train bar."""

from __future__ import annotations

import numpy as np
from magicgui.widgets import LineEdit
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Image as ImageArray
from napari_tessera.core.spec import Labels as LabelArray
from napari_tessera.gui.autosave.autosave import RescueBox
from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import Task, annotated_layer, annotation_facts, is_annotation, new_annotation
from napari_tessera.gui.layers.read import array_of, labels_of
from napari_tessera.gui.method.inputs import InputsBox
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.layout import (
    NOTE_STYLE,
    WIDTH_PX,
    AsTallAsContent,
    Placing,
    Rows,
    Section,
    column_of,
    fill,
    fill_dock,
    wrapped_label,
)
from napari_tessera.gui.qt.run_bar import RunBar, RunKeys
from napari_tessera.gui.qt.worker import showing_errors
from napari_tessera.gui.train.after_training import CorrectBox, Outcome
from napari_tessera.gui.train.form import ClassBox, TrainForm, free_name
from napari_tessera.gui.train.live_layer import LiveImage
from napari_tessera.gui.train.plot import HistoryView
from napari_tessera.gui.train.running_training import InterruptedBox
from napari_tessera.training.interactive import OBJECTS, AnnotatedLayer

NEW_HELP = "Add an empty annotation layer over the image, with the brush ready."
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


class PairBox(QWidget):
    """The rows of one image and its annotation; `new_asked` is emitted to ask for a new annotation layer."""

    new_asked = Signal()
    removed = Signal()

    def __init__(self, viewer: ViewerModel, is_first: bool) -> None:
        super().__init__()
        self.viewer = viewer
        rows = Rows()
        self.inputs = InputsBox(viewer, PAIR, rows)
        self.new_button = OnceButton("New annotation layer")
        self.new_button.setToolTip(tooltip(NEW_HELP))
        self.new_button.pressed_once.connect(self.new_asked.emit)
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(tooltip("Train without this image. Its layers stay."))
        self.remove_button.clicked.connect(self.removed.emit)
        self.remove_button.setHidden(is_first)
        buttons = QHBoxLayout()
        buttons.addWidget(self.new_button, 1)
        buttons.addWidget(self.remove_button)
        fill(QVBoxLayout(self), rows, buttons)
        self.inputs.main.on_change(self.guess_paint)
        self.guess_paint()

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
    def axes(self) -> str:
        """One letter for each axis of the image's array."""
        return self.inputs.axes

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
        is_as_chosen = self.paint is not None and (self.image, self.paint) == before
        if self.image is not None and not (is_as_chosen and self.fits(self.paint)):
            self.guess_paint()

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
        return annotated_layer(image, self.paint, self.axes)


class PairsBox(QWidget):
    """All pairs of image and annotation; at the start there is one."""

    new_asked = Signal(object)
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


STOP_HELP = "End after this step, and save the best model so far. The training can go on later."
CANCEL_HELP = "End now. No layer and no model is changed. The training can go on later."
GO_ON_HELP = (
    "Continue the training that was stopped or cancelled, with its annotation, settings and name. It does not use "
    "newer strokes; for those, press Train."
)


class TrainBar(RunBar):
    """The bar at the bottom of the Train widget."""

    stop_asked = Signal()
    go_on_asked = Signal()

    def __init__(self) -> None:
        self.stop_button = QPushButton("Stop")
        self.go_on_button = QPushButton("Go on")
        super().__init__("Train", "Training …")
        self.stop_button.clicked.connect(self.stop_asked.emit)
        self.go_on_button.clicked.connect(self.go_on_asked.emit)
        self.stop_button.setToolTip(tooltip(STOP_HELP))
        self.cancel_button.setToolTip(tooltip(CANCEL_HELP))
        self.go_on_button.setToolTip(tooltip(GO_ON_HELP))
        self.menu_button.setToolTip("Defaults, code and report")
        self.buttons.insertWidget(1, self.stop_button)
        self.buttons.insertWidget(1, self.go_on_button)
        self.offer_to_go_on(False)

    def show_running(self, is_running: bool) -> None:
        """Switch between ready and running; Stop is enabled after the first step."""
        super().show_running(is_running)
        self.stop_button.setVisible(is_running)
        self.stop_button.setEnabled(False)
        self.cancel_button.setVisible(is_running)
        if is_running:
            self.offer_to_go_on(False)

    def offer_to_go_on(self, is_offered: bool) -> None:
        """Show or hide the button that continues a training."""
        self.go_on_button.setVisible(is_offered)


SUMMARY = {
    "classes": "Paint strokes of each class, and of the background (1), on an image. Then press Train.",
    "objects": "Paint some objects completely, each with its own number from 2 on (M takes the next), and background "
    "(1) around them. Then press Train.",
}
NAME_HELP = "Name of the new model. Models are never replaced."


class TrainPanel(QWidget):
    """The visible part of the Train widget; it trains nothing."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.summary = wrapped_label()
        self.pairs = PairsBox(viewer)
        self.classes = ClassBox()
        self.form = TrainForm()
        self.name = LineEdit(value=free_name(), tooltip=tooltip(NAME_HELP))
        let_shrink(self.name.native)
        self.bar = TrainBar()
        self.history_view = HistoryView()
        self.correct_box = CorrectBox()
        self.outcome = Outcome()
        self.outcome.next_steps.addWidget(self.correct_box)
        self.rescue = RescueBox(viewer)
        self.interrupted = InterruptedBox()
        self.unsaved = wrapped_label(NOTE_STYLE)
        self.unsaved.hide()
        self._lay_out()
        self.placing = Placing(self)
        self.keys = RunKeys(self, self.bar)
        self.pairs.changed.connect(self.follow)
        self.pairs.new_asked.connect(self.add_annotation)
        self.form.on_change(self.follow)
        self.follow()

    @property
    def task(self) -> Task:
        """What the network learns."""
        return "objects" if self.form.values["task"] == OBJECTS else "classes"

    @property
    def ndim(self) -> int:
        """Number of axes that are segmented together."""
        return int(self.form.values.get("ndim", 2))

    def shown(self) -> tuple[LiveImage, ...]:
        """Return the pairs of image and annotation in which both are chosen."""
        found = []
        for pair in self.pairs.pairs:
            if pair.image is not None and pair.paint is not None:
                axes = pair.axes if pair.paint.ndim == len(pair.axes) else pair.axes.replace("C", "")
                found.append(LiveImage(pair.image, pair.paint, axes, self.ndim, self.task))
        return tuple(found)

    def follow(self) -> None:
        """Fit the rows to the layers and to the task."""
        axes = self.pairs.first.axes if self.pairs.first.image is not None else "YX"
        self.form.show_volumes("Z" in axes)
        self.summary.setText(SUMMARY[self.task])
        self.classes.follow([pair.paint for pair in self.pairs.pairs if pair.paint is not None], self.task)

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self.bar.show_error(error)

    @showing_errors
    def add_annotation(self, pair: PairBox) -> None:
        """Add an annotation layer over the image of a pair."""
        if pair.image is None:
            self.bar.say("Open an image first; there is no image to paint on.", is_warning=True)
            return
        layer = new_annotation(self.viewer, pair.image, pair.axes, self.classes.names, self.task)
        self.pairs.refresh()
        pair.paint = layer
        self.bar.say(f"Paint on {layer.name!r}: drag with the mouse. 1 is background, 2 and up are what you look for.")

    def show_training(self, is_training: bool) -> None:
        """Make room for the charts during a training."""
        self.bar.show_running(is_training)
        self.setup.setEnabled(not is_training)
        if is_training:
            self.setup_section.open(False)
            self.outcome.hide()

    def sizeHint(self) -> QSize:
        """Return a fixed width, whichever rows are shown."""
        return QSize(WIDTH_PX, super().sizeHint().height())

    def sections(self) -> list[QWidget]:
        """Return the sections that scroll, from top to bottom."""
        self.save_row = Rows()
        self.save_row.add("Save as", self.name.native, self.name.tooltip or "")
        self.more_settings = Section("More settings", self.form.more)
        parts = (self.pairs, self.form.first, self.classes, self.form.main, self.more_settings, self.save_row)
        self.setup = column_of(self.summary, *parts, spacing=8)
        self.setup_section = Section("Images, classes and settings", self.setup, is_open=True)
        return [self.setup_section, self.history_view, self.outcome]

    def _lay_out(self) -> None:
        sections = AsTallAsContent(column_of(*self.sections(), spacing=8))
        fill_dock(self, self.rescue, self.interrupted, sections, self.unsaved, self.bar)
