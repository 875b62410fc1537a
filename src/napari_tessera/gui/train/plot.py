"""The history of a training (losses, scores, time left), and the charts that show it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF, QTextOption
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.engine.cost_estimate import in_time
from napari_tessera.gui.qt.layout import NOTE_STYLE, fill, wrapped_label
from napari_tessera.training.live_prediction import ViewportPrediction

FEWEST_STEPS = 3
"""Steps needed to estimate the time left."""
SCORES = {"dice": "Dice", "iou": "IoU", "ap": "AP 0.5", "map": "Mean AP", "score": "Score"}
"""Titles of the scores; the first one that exists is shown."""


@dataclass
class TrainingHistory:
    """All that a training has reported so far; losses as (step, loss), scores as mappings that have their step.

    Attributes
    ----------
    before : mapping
        Scores before the first step.
    warnings, advice : list of str
        Problems of the annotation, and of the training so far.
    prediction : ViewportPrediction or None
        The latest one, until it is shown.
    all_from : int or None
        Step from which the validation set is trained on too, so that there are no more scores.
    ends_at : float or None
        End of the given time, in seconds of `time.monotonic`.
    """

    losses: list[tuple[float, float]] = field(default_factory=list)
    validations: list[Mapping[str, float]] = field(default_factory=list)
    before: Mapping[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    advice: Sequence[str] = ()
    prediction: ViewportPrediction | None = None
    all_from: int | None = None
    steps: int = 0
    text: str = ""
    ends_at: float | None = None
    _began: tuple[float, int] | None = None
    _last: tuple[float, int] | None = None

    def continued(self) -> TrainingHistory:
        """Return the history for a training that is continued."""
        return TrainingHistory(list(self.losses), list(self.validations), self.before, list(self.warnings))

    def note(self, step: Progress) -> None:
        """Add a step."""
        self.text = step.text
        report: Any = step.data
        if not isinstance(report, dict):
            return
        if "warning" in report:
            self.warnings += [report["warning"]] * (report["warning"] not in self.warnings)
        elif "advice" in report:
            self.advice = report["advice"]
        elif "seconds" in report:
            self.ends_at = time.monotonic() + report["seconds"]
        elif "all_from" in report:
            self.all_from = report["all_from"]
        elif "before" in report:
            self.before = report["before"] or self.before  # empty if the training is continued
        elif "seen" in report:
            self.prediction = report["seen"]
        elif "loss" in report:
            self._forget_from(report["step"])
            self.losses.append((report["step"], report["loss"]))
            self._clock(report["step"], int(step.total))
        elif "score" in report:
            self.validations.append(report)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._last[1] if self._last else 0

    @property
    def seconds_left(self) -> float | None:
        """Time of the remaining steps, or None if it is unknown."""
        if self._began is None or self._last is None or self._last[1] - self._began[1] < FEWEST_STEPS:
            return None
        of_step = (self._last[0] - self._began[0]) / (self._last[1] - self._began[1])
        left = of_step * (self.steps - self.step)
        return left if self.ends_at is None else min(left, max(0.0, self.ends_at - self._last[0]))

    @property
    def score_name(self) -> str:
        """The score that is shown: Dice for classes, AP at 0.5 for objects."""
        latest = self.validations[-1] if self.validations else {}
        return next((name for name in SCORES if name in self.before or name in latest), "score")

    def scores(self) -> list[tuple[float, float]]:
        """Return the steps and values of the score, the one before the first step included."""
        name = self.score_name
        first = [(0.0, self.before[name])] if name in self.before else []
        return first + [(each["step"], each[name]) for each in self.validations if name in each]

    def _forget_from(self, step: int) -> None:
        """Drop steps that come again, if a training continues from an earlier step."""
        if self.losses and self.losses[-1][0] >= step:
            self.losses = [each for each in self.losses if each[0] < step]
            self.validations = [each for each in self.validations if each["step"] < step]

    def _clock(self, step: int, steps: int) -> None:
        now = (time.monotonic(), step)
        self.steps = steps
        self._began = self._began or now
        self._last = now


def record(job: Job[Any], history: TrainingHistory) -> Job[Any]:
    """Run a job, and add its steps to a history, in the job's thread."""
    try:
        while True:
            step = next(job)
            history.note(step)
            yield step
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def progress_text(history: TrainingHistory) -> str:
    """Return the step of a training and the time left, as text."""
    left = history.seconds_left
    if left is None or not history.steps:
        return f"{history.text} …" if history.text else "Starting …"
    return f"Step {history.step} of {history.steps}, {in_time(left)} left."


HEIGHT_PX = 74
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 40, 8, 18, 6
MOST_POINTS = 300
"""More points are averaged, since a chart is not wider."""
DOT_PX = 2.5
NO_MORE = "From here on trained on all: no score"
Point = tuple[float, float]


class Chart(QWidget):
    """One line over the steps, from 0 to 1 unless it is logarithmic."""

    def __init__(self, title: str, colour: str, is_logarithmic: bool = False) -> None:
        super().__init__()
        self.title, self.colour, self.is_logarithmic = title, QColor(colour), is_logarithmic
        self.points: list[Point] = []
        self.steps = 1
        self.last: int | None = None
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return a size that fits any dock."""
        return QSize(200, HEIGHT_PX)

    def show_points(
        self, points: Sequence[Point], steps: int, title: str | None = None, last: int | None = None
    ) -> None:
        """Draw these points; `steps` is the end of the axis, and `last` the step of the last score."""
        self.points, self.steps, self.last = thinned(points), max(steps, 1), last
        self.title = self.title if title is None else title
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the frame, two numbers beside it, and the line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(LEFT_PX, TOP_PX, self.width() - LEFT_PX - RIGHT_PX, self.height() - TOP_PX - BOTTOM_PX)
        low, high = self.limits()
        self._draw_frame(painter, frame, low, high)
        if self.last is not None:
            self._draw_end(painter, frame, self.last)
        places = [self._place(*point, frame, low, high) for point in self.points]
        painter.setPen(QPen(self.colour, 2))
        painter.drawPolyline(QPolygonF(places))
        if not self.is_logarithmic:
            painter.setBrush(self.colour)
            for place in places:
                painter.drawEllipse(place, DOT_PX, DOT_PX)
        painter.end()

    def limits(self) -> Point:
        """Return the values at the bottom and at the top."""
        if not self.is_logarithmic:
            return 0.0, 1.0
        values = [value for _, value in self.points if value > 0]
        low, high = (min(values), max(values)) if values else (0.1, 1.0)
        return low * 0.9, max(high * 1.1, low * 1.5)

    def _draw_frame(self, painter: QPainter, frame: QRectF, low: float, high: float) -> None:
        text = self.palette().color(self.foregroundRole())
        painter.setPen(text)
        latest = f"{self.points[-1][1]:.3g}" if self.points else ""
        metrics = QFontMetricsF(painter.font())
        painter.drawText(QPointF(LEFT_PX, TOP_PX - 5), self.title)
        painter.drawText(QPointF(frame.right() - metrics.horizontalAdvance(latest), TOP_PX - 5), latest)
        beside = QTextOption(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        beside.setWrapMode(QTextOption.WrapMode.NoWrap)
        for value, y in ((high, frame.top()), (low, frame.bottom())):
            at = y + (5 if value == high else -5)
            painter.drawText(QRectF(0, at - 8, LEFT_PX - 5, 16), f"{value:.2g}", beside)
        text.setAlpha(90)
        painter.setPen(text)
        painter.drawRect(frame)

    def _draw_end(self, painter: QPainter, frame: QRectF, last: int) -> None:
        """Shade the area after `last`, with the reason why it has no points."""
        shade = self.palette().color(self.foregroundRole())
        rest = frame.adjusted(frame.width() * min(last / self.steps, 1), 0, 0, 0)
        shade.setAlpha(25)
        painter.fillRect(rest, shade)
        shade.setAlpha(160)
        painter.setPen(shade)
        painter.drawText(rest.adjusted(3, 0, -3, 0), NO_MORE, QTextOption(Qt.AlignmentFlag.AlignCenter))

    def _place(self, step: float, value: float, frame: QRectF, low: float, high: float) -> QPointF:
        if self.is_logarithmic:
            value, low, high = (math.log(max(each, 1e-9)) for each in (value, low, high))
        share = min(max((value - low) / (high - low), 0), 1)
        return QPointF(frame.left() + frame.width() * step / self.steps, frame.bottom() - frame.height() * share)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Average neighbouring points, so that at most `most` remain.

    Examples
    --------
    >>> thinned([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)], most=2)
    [(2, 3.0), (4, 7.0)]
    """
    each = max(1, -(-len(points) // most))
    groups = [points[start : start + each] for start in range(0, len(points), each)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


LOSS_COLOUR, SCORE_COLOUR = "#e69f00", "#2f9ee0"
ON_VALIDATION = "on the validation set"


class HistoryView(QWidget):
    """Charts of loss and score, and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = Chart("Loss", LOSS_COLOUR, is_logarithmic=True)
        self.score = Chart("Score", SCORE_COLOUR)
        self.warnings = wrapped_label(NOTE_STYLE)
        fill(QVBoxLayout(self), self.loss, self.score, self.warnings, spacing=4)
        self.hide()

    def show_history(self, history: TrainingHistory) -> None:
        """Show a history."""
        self.loss.show_points(list(history.losses), history.steps)
        scores = history.scores()
        title = f"{SCORES[history.score_name]} {ON_VALIDATION}"
        self.score.show_points(scores, history.steps, title, history.all_from)
        self.score.setVisible(bool(scores) or not history.losses)
        text = "\n".join(f"• {each}" for each in (*history.warnings, *history.advice))
        if text != self.warnings.text():
            self.warnings.setText(text)
        self.warnings.setVisible(bool(text))
        self.show()
