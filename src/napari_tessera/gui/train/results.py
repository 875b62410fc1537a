"""The charts of a running training, and the scores and next steps after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.core.errors import as_html
from napari_tessera.engine.cost_estimate import in_time
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.qt.run_bar import NOTE_STYLE
from napari_tessera.gui.train.plot import SCORES, Chart, TrainingHistory, headline
from napari_tessera.training.data.advice import LOST_SCORE

LOSS_COLOUR, SCORE_COLOUR = "#e69f00", "#2f9ee0"
ON_VALIDATION = "on the validation set"
WORSE = " It is worse there than the model it started from: keep that one, or paint more and train again."
NO_SCORE = " There is no score: there was no validation set, or the training stopped before the first score."
OPEN_HELP = "Open the widget that runs this model, with the model chosen."


def wrapped(style: str = "") -> QLabel:
    """Make a label that breaks its lines."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setStyleSheet(style)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


class CourseView(QWidget):
    """Charts of loss and score, and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = Chart("Loss", LOSS_COLOUR, is_logarithmic=True)
        self.score = Chart("Score", SCORE_COLOUR)
        self.warnings = wrapped(NOTE_STYLE)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.loss, self.score, self.warnings):
            layout.addWidget(widget)
        self.hide()

    def show_course(self, course: TrainingHistory) -> None:
        """Show a history."""
        self.loss.show_points(list(course.losses), course.steps)
        scores = course.scores()
        self.score.show_points(scores, course.steps, f"{SCORES[course.score_name]} {ON_VALIDATION}", course.all_from)
        self.score.setVisible(bool(scores) or not course.losses)
        said = "\n".join(f"• {each}" for each in (*course.warnings, *course.advice))
        if said != self.warnings.text():
            self.warnings.setText(said)
        self.warnings.setVisible(bool(said))
        self.show()


class Outcome(QWidget):
    """Scores before and after a training, and the next steps.

    Attributes
    ----------
    open_asked : Signal
    next_steps : QVBoxLayout
        Ways to a better model.
    """

    open_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.saved = wrapped()
        self.scores = QGridLayout()
        self.scores.setColumnStretch(0, 1)
        self.open_button = QPushButton("Use the model")
        self.open_button.setToolTip(tooltip(OPEN_HELP))
        self.open_button.clicked.connect(self.open_asked.emit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.saved)
        layout.addLayout(self.scores)
        self.next_steps = QVBoxLayout()
        layout.addLayout(self.next_steps)
        layout.addWidget(self.open_button)
        self.hide()

    def show_outcome(
        self, name: str, widget: str, before: Mapping[str, float], after: Mapping[str, float], said: str = ""
    ) -> None:
        """Show the scores of the start model and of the trained one; `said` describes the latter."""
        rows = list(headline(before, after))
        scored = f" {said} Scores {ON_VALIDATION}:".replace("  ", " ") if rows else NO_SCORE
        worse = WORSE if before and after and after["score"] < before["score"] - LOST_SCORE else ""
        self.saved.setText(f'Saved as "{name}", in the list of the {widget} widget.{scored}{worse}')
        self.open_button.setText(f"Open in {widget}")
        table: Sequence[tuple[str, str, str]] = [("", "before", "after"), *rows] if rows else []
        while (item := self.scores.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        for row, cells in enumerate(table):
            for column, text in enumerate(cells):
                label = QLabel(f"<b>{as_html(text)}</b>" if column == 2 and row else as_html(text))
                label.setTextFormat(Qt.TextFormat.RichText)
                self.scores.addWidget(label, row, column, Qt.AlignmentFlag.AlignLeft)
        self.show()


def progress_text(course: TrainingHistory) -> str:
    """Return the step of a training and the time left, as text."""
    left = course.seconds_left
    if left is None or not course.steps:
        return f"{course.text} …" if course.text else "Starting …"
    return f"Step {course.step} of {course.steps}, {in_time(left)} left."
