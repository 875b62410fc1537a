"""What the widget that trains shows: images and paint, classes, settings, and how it goes. It runs nothing."""

from __future__ import annotations

from magicgui.widgets import LineEdit
from napari.components import ViewerModel
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.gui.annotation import Task, new_annotation
from napari_tessera.gui.docking import Placing
from napari_tessera.gui.failing import showing_errors
from napari_tessera.gui.field import let_shrink
from napari_tessera.gui.panel import WIDTH_PX
from napari_tessera.gui.rows import AsTallAsContent, Rows, Shrinking, column_of
from napari_tessera.gui.run_bar import NOTE_STYLE
from napari_tessera.gui.train_bar import TrainBar
from napari_tessera.gui.train_classes import ClassBox
from napari_tessera.gui.train_correct import CorrectBox
from napari_tessera.gui.train_form import TrainForm
from napari_tessera.gui.train_lost import LostBox
from napari_tessera.gui.train_name import free_name
from napari_tessera.gui.train_outcome import CourseView, Outcome, wrapped
from napari_tessera.gui.train_pairs import PairBox, PairsBox
from napari_tessera.gui.train_rescue import RescueBox
from napari_tessera.gui.train_section import Section
from napari_tessera.gui.train_sight import Shown
from napari_tessera.gui.wording import tooltip
from napari_tessera.lesson import OBJECTS

SUMMARY = {
    "classes": "Paint strokes of each class, and of the background (1), on an image. Then press Train.",
    "objects": "Paint some objects whole, each with a number of its own from 2 on (M takes the next), and background "
    "(1) around them. Then press Train.",
}
NAME_HELP = "Name of the new model. No model is ever replaced."


class TrainPanel(QWidget):
    """The visible half of the widget that trains.

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
        self.pairs.on_change(self.follow)
        self.pairs.new_asked.connect(self.add_annotation)
        self.form.on_change(self.follow)
        self.follow()

    @property
    def task(self) -> str:
        """What is learnt, "objects" or "classes"."""
        return str(self.form.values["task"])

    @property
    def ndim(self) -> int:
        """How many axes are segmented together."""
        return int(self.form.values.get("ndim", 2))

    def shown(self) -> tuple[Shown, ...]:
        """Return the images with their paint, as far as both are chosen."""
        found = []
        for pair in self.pairs.pairs:
            if pair.image is not None and pair.paint is not None:
                axes = pair.axes if pair.paint.ndim == len(pair.axes) else pair.axes.replace("C", "")
                found.append(Shown(pair.image, pair.paint, axes, self.ndim, self.task))
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
        """Add a layer to paint on over the image of a pair."""
        if pair.image is None:
            self.bar.say("Open an image first: there is nothing to paint on.", is_warning=True)
            return
        task: Task = "objects" if self.task == OBJECTS else "classes"
        layer = new_annotation(self.viewer, pair.image, pair.axes, self.classes.names, task)
        self.pairs.refresh()
        pair.paint = layer
        self.bar.say(f"Paint on {layer.name!r}: drag with the mouse. 1 is background, 2 and up what you look for.")

    def show_training(self, is_training: bool) -> None:
        """Make room for the charts while it trains."""
        self.bar.show_running(is_training)
        self.setup.setEnabled(not is_training)
        if is_training:
            self.setup_section.open(False)
            self.outcome.hide()

    def sizeHint(self) -> QSize:
        """Keep the width, whatever rows are shown."""
        return QSize(WIDTH_PX, super().sizeHint().height())

    def sections(self) -> list[QWidget]:
        """Parts that scroll, from top to bottom."""
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
