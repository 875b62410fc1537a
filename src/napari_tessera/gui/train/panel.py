"""The visible part of the Train widget: images and annotations, classes, settings, charts and Train bar."""

from __future__ import annotations

from magicgui.widgets import LineEdit
from napari.components import ViewerModel
from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import Task, new_annotation
from napari_tessera.gui.method.panel import WIDTH_PX
from napari_tessera.gui.qt.docking import Placing
from napari_tessera.gui.qt.layout import AsTallAsContent, Rows, Section, Shrinking, column_of
from napari_tessera.gui.qt.run_bar import NOTE_STYLE, RunBar
from napari_tessera.gui.qt.run_keys import RunKeys
from napari_tessera.gui.qt.worker import showing_errors
from napari_tessera.gui.train.accept_box import CorrectBox
from napari_tessera.gui.train.form import ClassBox, TrainForm, free_name
from napari_tessera.gui.train.image_pairs import PairBox, PairsBox
from napari_tessera.gui.train.live_layer import LiveImage
from napari_tessera.gui.train.recovery import LostBox, RescueBox
from napari_tessera.gui.train.results import CourseView, Outcome, wrapped
from napari_tessera.training.interactive import OBJECTS

STOP_HELP = "End after this step, and save the best model so far. The training can go on later."
CANCEL_HELP = "End now. No layer and no model is changed. The training can go on later."
GO_ON_HELP = (
    "Continue the training that was stopped or cancelled, with its annotation, settings and name. It does not use "
    "newer strokes; for those, press Train."
)


class TrainBar(RunBar):
    """The bar at the bottom of the Train widget.

    Attributes
    ----------
    stop_asked, go_on_asked : Signal
    """

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
    """The visible part of the Train widget; it runs nothing.

    Attributes
    ----------
    pairs : PairsBox
    classes : ClassBox
    form : TrainForm
    name : magicgui line edit
    bar : TrainBar
    course_view : CourseView
    correct_box : CorrectBox
    outcome : Outcome
    rescue : RescueBox
    lost : LostBox
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.summary = wrapped()
        self.pairs = PairsBox(viewer)
        self.classes = ClassBox()
        self.form = TrainForm()
        self.name = LineEdit(value=free_name(), tooltip=tooltip(NAME_HELP))
        let_shrink(self.name.native)
        self.bar = TrainBar()
        self.course_view = CourseView()
        self.correct_box = CorrectBox()
        self.outcome = Outcome()
        self.outcome.next_steps.addWidget(self.correct_box)
        self.rescue = RescueBox(viewer)
        self.lost = LostBox()
        self.unsaved = wrapped(NOTE_STYLE)
        self.unsaved.hide()
        self._lay_out()
        self.placing = Placing(self)
        self.keys = RunKeys(self, self.bar)
        self.pairs.on_change(self.follow)
        self.pairs.new_asked.connect(self.add_annotation)
        self.form.on_change(self.follow)
        self.follow()

    @property
    def task(self) -> str:
        """The task, "objects" or "classes"."""
        return str(self.form.values["task"])

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
        task: Task = "objects" if self.task == OBJECTS else "classes"
        layer = new_annotation(self.viewer, pair.image, pair.axes, self.classes.names, task)
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
        return [self.setup_section, self.course_view, self.outcome]

    def _lay_out(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(8, 6, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(self.rescue)
        layout.addWidget(self.lost)
        layout.addWidget(AsTallAsContent(column_of(*self.sections(), spacing=8)))
        layout.addWidget(self.unsaved)
        layout.addWidget(self.bar)
        layout.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(Shrinking(content))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(WIDTH_PX)
