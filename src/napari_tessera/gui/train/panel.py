"""The visible part of the Train widget: images and annotations, classes, settings, charts and Train bar."""

from __future__ import annotations

from magicgui.widgets import LineEdit
from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_tessera.gui.autosave.autosave import RescueBox, Saved
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.model_field import read_models_once
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import Task, new_annotation
from napari_tessera.gui.qt.in_steps import BuiltInSteps, Steps
from napari_tessera.gui.qt.layout import (
    NOTE_STYLE,
    AsTallAsContent,
    Rows,
    Section,
    column_of,
    fill_dock,
    wrapped_label,
)
from napari_tessera.gui.qt.run_bar import RunBar, RunKeys
from napari_tessera.gui.qt.worker import showing_errors
from napari_tessera.gui.train.accept import CorrectBox
from napari_tessera.gui.train.after_training import Outcome
from napari_tessera.gui.train.brushes import BrushBox
from napari_tessera.gui.train.form import TrainForm, free_name
from napari_tessera.gui.train.image_pairs import PairBox, PairsBox
from napari_tessera.gui.train.live_layer import LiveImage
from napari_tessera.gui.train.plot import HistoryView
from napari_tessera.gui.train.running_training import InterruptedBox
from napari_tessera.training.interactive import OBJECTS
from napari_tessera.training.settings import DECLARATION

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


class TrainPanel(BuiltInSteps):
    """The visible part of the Train widget; it trains nothing."""

    @classmethod
    def prepare(cls) -> None:
        """Read the declaration of the settings, and the models."""
        _ = DECLARATION.parameters
        read_models_once()

    def build(self) -> Steps:
        """Put the empty rows in place, and fill them."""
        self.summary = wrapped_label()
        self.form = TrainForm()
        self.name = LineEdit(value=free_name(), tooltip=tooltip(NAME_HELP))
        fit_in_form(self.name.native)
        self.bar = TrainBar()
        yield
        self.pairs = PairsBox(self.viewer)
        yield
        self.classes = BrushBox(self.viewer)
        self.history_view = HistoryView()
        yield
        self.correct_box = CorrectBox()
        self.outcome = Outcome()
        self.outcome.next_steps.addWidget(self.correct_box)
        yield
        self.rescue = RescueBox(self.viewer)
        self.interrupted = InterruptedBox()
        self.restored_for: PairBox | None = None
        self._said_of: tuple[Labels | None, str] = None, ""
        self.unsaved = wrapped_label(NOTE_STYLE)
        self.unsaved.hide()
        yield
        self._lay_out()
        yield
        yield from self.form.add_fields()
        yield
        self.keys = RunKeys(self, self.bar, self.viewer)
        self.pairs.changed.connect(self.follow)
        self.pairs.new_asked.connect(self.add_annotation)
        self.pairs.earlier_asked.connect(self.restore_earlier)
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
            if pair.image is not None and pair.annotation is not None:
                axes = pair.axes if pair.annotation.ndim == len(pair.axes) else pair.axes.replace("C", "")
                found.append(LiveImage(pair.image, pair.annotation, axes, self.ndim, self.task))
        return tuple(found)

    def follow(self) -> None:
        """Fit the rows to the layers and to the task."""
        axes = self.pairs.first.axes if self.pairs.first.image is not None else "YX"
        self.form.show_volumes("Z" in axes)
        self.summary.setText(SUMMARY[self.task])
        self.pairs.follow_task(self.task)
        self.classes.follow([each.annotation for each in self.pairs.pairs if each.annotation is not None], self.task)

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
        self.say_of(
            layer, f"Paint on {layer.name!r}: drag with the mouse. 1 is background, 2 and up are what you look for."
        )

    def say_of(self, layer: Labels, text: str) -> None:
        """Show a message about a layer, which disappears with it."""
        self.bar.say(text)
        self._said_of = layer, self.bar.message.text()

    def clear_message_of_removed(self) -> None:
        """Remove the message about a layer that is no longer in the viewer."""
        layer, text = self._said_of
        if layer is not None and layer not in self.viewer.layers:
            self._said_of = None, ""
            if self.bar.message.text() == text:
                self.bar.say("")

    def restore_earlier(self, pair: PairBox, saved: Saved) -> None:
        """Bring an earlier annotation back, for the image of a pair."""
        self.restored_for = pair
        self.rescue.recover(saved)

    def show_training(self, is_training: bool) -> None:
        """Make room for the charts during a training."""
        self.bar.show_running(is_training)
        self.setup.setEnabled(not is_training)
        self.save_row.setEnabled(not is_training)
        if is_training:
            self.setup_section.open(False)
            self.outcome.hide()

    def sections(self) -> list[QWidget]:
        """Return the sections that scroll, from top to bottom."""
        self.more_settings = Section("More settings", self.form.more)
        parts = (self.pairs, self.form.first, self.form.main, self.more_settings)
        self.setup = column_of(self.summary, *parts, spacing=6)
        self.setup_section = Section("Images and settings", self.setup, is_open=True)
        return [self.setup_section, self.history_view, self.outcome]

    def _lay_out(self) -> None:
        sections = AsTallAsContent(column_of(*self.sections(), spacing=8))
        self.save_row = Rows()
        self.save_row.add("Save as", self.name.native, self.name.tooltip or "")
        parts = (self.rescue, self.interrupted, sections, self.classes, self.save_row, self.unsaved, self.bar)
        fill_dock(self, *parts)
