"""After a training: show its scores, predict the viewport, correct the annotation, open the model or the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from qtpy.QtCore import QObject, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError, as_html
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.qt.layout import fill, wrapped_label
from napari_tessera.gui.qt.worker import LatestOnlyWorker, showing_errors
from napari_tessera.gui.train.accept import (
    CLICKS,
    VIEW,
    Accepted,
    Accepting,
    Selection,
    accept,
    clicked,
    in_outlines,
    in_view,
    is_whole_plane,
)
from napari_tessera.gui.train.brushes import PAINTING
from napari_tessera.gui.train.form import ModelNaming
from napari_tessera.gui.train.live_layer import LiveImage, LiveLayer
from napari_tessera.gui.train.plot import ON_VALIDATION, SCORES
from napari_tessera.gui.train.running_training import ANYTHING, ChangeWatcher
from napari_tessera.gui.train.suggestions import SuggestionRequest
from napari_tessera.methods.registry import method_named
from napari_tessera.models.registry import find, remove_model, rename_model
from napari_tessera.training.data.advice import LOST_SCORE
from napari_tessera.training.export import report_path
from napari_tessera.training.interactive import InteractiveResult
from napari_tessera.training.live_prediction import ViewportPrediction, looking_at
from napari_tessera.training.report import describe_scores

if TYPE_CHECKING:
    from napari_tessera.gui.train.panel import TrainPanel

WORSE = " It is worse there than the model it started from: keep that one, or paint more and train again."
NO_SCORE = " There is no score: there was no validation set, or the training stopped before the first score."
OPEN_HELP = "Open the widget that runs this model, with the model chosen."


class Outcome(QWidget):
    """Scores before and after a training, and the next steps: ways to a better model."""

    open_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.saved = wrapped_label()
        self.scores = QGridLayout()
        self.scores.setColumnStretch(0, 1)
        self.next_steps = QVBoxLayout()
        self.open_button = QPushButton("Use the model")
        self.open_button.setToolTip(tooltip(OPEN_HELP))
        self.open_button.clicked.connect(self.open_asked.emit)
        self.naming = ModelNaming()
        fill(QVBoxLayout(self), self.saved, self.naming, self.scores, self.next_steps, self.open_button)
        self.hide()

    def show_outcome(
        self, name: str, widget: str, before: Mapping[str, float], after: Mapping[str, float], scored_step: str = ""
    ) -> None:
        """Show the scores of the start model and of the trained one, the latter with the step that was scored."""
        rows = score_rows(before, after)
        scored = f" {scored_step} Scores {ON_VALIDATION}:".replace("  ", " ") if rows else NO_SCORE
        worse = WORSE if before and after and after["score"] < before["score"] - LOST_SCORE else ""
        self.naming.show_model(name)
        self.saved.setText(f'Saved as "{name}", in the list of the {widget} widget.{scored}{worse}')
        self.open_button.setText(f"Open in {widget}")
        while (item := self.scores.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        for row, cells in enumerate([("", "before", "after"), *rows] if rows else []):
            for column, text in enumerate(cells):
                label = QLabel(f"<b>{as_html(text)}</b>" if column == 2 and row else as_html(text))
                label.setTextFormat(Qt.TextFormat.RichText)
                self.scores.addWidget(label, row, column, Qt.AlignmentFlag.AlignLeft)
        self.show()


def choose(values: Mapping[str, Any], widget: Any) -> None:
    """Set those settings of a method's widget that it has."""
    for name, value in values.items():
        if name in widget.form.fields:
            widget.form.fields[name].value = value


def score_rows(before: Mapping[str, float], after: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return the title of each score, and its values before and after as text, or a dash."""
    rows = []
    for name, title in SCORES.items():
        if name != "score" and (name in before or name in after):
            was, now = (f"{scores[name]:.3f}" if name in scores else "–" for scores in (before, after))
            rows.append((title, was, now))
    return rows


PLUGIN = "napari-tessera"
CLICK = "Click on what is predicted correctly, to paint it. Then correct the rest, and train."
ALL_IN_VIEW = (
    "The whole image is in view. Press again to paint all that is predicted in it; or zoom in first, or choose to "
    "paint inside shapes or where you click."
)
THEN = "Correct what is wrong, then press Train: it starts from the model just trained."
PAINT_THERE = "Paint what is missing or wrong, then press Train: it starts from the model just trained."


class AfterTraining(QObject):
    """The actions for the model that was trained last."""

    def __init__(self, panel: TrainPanel, live: LiveLayer) -> None:
        super().__init__()
        self.panel, self.viewer, self.live = panel, panel.viewer, live
        self.result: InteractiveResult | None = None
        self.show_error = panel.bar.show_error
        self.is_accepting_clicks = False
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self.show_error)
        self._accepting: Accepting | None = None
        self._accepted = ""
        self._since_accepted = ChangeWatcher(ANYTHING, self._on_painted_on)
        live.moved.connect(self.predict)
        live.moved.connect(panel.correct_box.ask_no_longer)

    @property
    def widget_title(self) -> str:
        """Title of the widget that runs the model."""
        assert self.result is not None
        return method_named(self.result.trained.header["training"]["settings"]["network"]).title

    def begin(self, result: InteractiveResult) -> None:
        """Show the result of a training."""
        self.result = result
        self.show_outcome()
        self.predict()

    def show_outcome(self) -> None:
        """Show the name of the model, and its scores."""
        if (result := self.result) is not None:
            name, scored_step = result.trained.path.stem, describe_scores(result.trained.header["training"])
            self.panel.outcome.show_outcome(name, self.widget_title, result.scores_before, result.scores, scored_step)

    def forget(self) -> None:
        """Drop the model, before another one is trained."""
        self.result = None
        self.latest.stop()
        self._accept_clicks(False)
        self._since_accepted.watch(())

    @showing_errors
    def predict(self) -> None:
        """Predict the viewport with the model."""
        result, viewport = self.result, self.live.viewport
        if result is None or viewport is None or viewport.index >= len(result.paintings):
            return
        image, trained = result.paintings[viewport.index], result.trained
        diameter_px = result.diameters_px.get(image.name)
        self.latest.ask(None, looking_at(trained.path, image, viewport, trained.header, diameter_px))

    @showing_errors
    def open_model(self) -> None:
        """Open the widget that runs the model, with the model and its output chosen."""
        window = getattr(self.viewer, "window", None)
        if window is not None and self.result is not None:
            _, docked = window.add_plugin_dock_widget(PLUGIN, self.widget_title, tabify=True)
            trained = self.result.trained
            docked.when_built(partial(choose, {"model": trained.path.stem, "output": trained.header["task"]}))

    @showing_errors
    def open_report(self) -> None:
        """Open the report of the training."""
        if self.result is None:
            raise InputError("There is no report yet: it is written at the end of a training.")
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.result.trained.report)))

    @showing_errors
    def rename(self, name: str, new_name: str) -> None:
        """Give one of the user's models, and its report, another name."""
        old = find(name).path
        if new_name.strip() == name:
            return
        path, report = rename_model(name, new_name).path, report_path(old)
        if report.exists():
            report = report.rename(report_path(path))
        if self.result is not None and self.result.trained.path == old:
            self.result = replace(self.result, trained=replace(self.result.trained, path=path, report=report))
            self.show_outcome()
        start = self.panel.form.start
        start.value = path.stem if start.value == name else start.value
        self.panel.bar.say(f"The model {name!r} is called {path.stem!r} now.")

    @showing_errors
    def delete(self, name: str) -> None:
        """Delete one of the user's models, and its report."""
        path = remove_model(name)
        report_path(path).unlink(missing_ok=True)
        if self.result is not None and self.result.trained.path == path:
            self.forget()
            self.live.take_away()
            self.panel.outcome.hide()
        start = self.panel.form.start
        start.value = start.usual() if start.value == name else start.value
        self.panel.bar.say(f"The model {name!r} is deleted.")

    @showing_errors
    def correct(self) -> None:
        """Accept what is in view, inside outlines, or from now on under each click; the next training starts here."""
        if self.result is None:
            return
        self._start_from_it()
        box = self.panel.correct_box
        self._accept_clicks(box.where.value == CLICKS)
        if box.where.value == CLICKS:
            self.panel.bar.say(CLICK)
            return
        prediction, of = self._layers()
        selection = in_view(self.viewer, of.paint) if box.where.value == VIEW else self._outlined(of)
        if box.where.value == VIEW and not box.is_confirmed and is_whole_plane(selection, prediction, of.paint):
            box.ask_about_all()
            self.panel.bar.say(ALL_IN_VIEW)
            return
        box.ask_no_longer()
        self._accept(prediction, of, selection)

    def request_suggestions(self) -> SuggestionRequest:
        """Return the request for suggestions; the next training starts from this model.

        Raises
        ------
        InputError
            If there is no model, or its image was removed.
        """
        at = self.live.viewport.index if self.live.viewport is not None else 0
        if self.result is None or at >= len(self.live.shown):
            raise InputError("Train a model first.")
        of, image = self.live.shown[at], self.result.paintings[at]
        axes = self.panel.pairs.axes_of(of.image)
        diameter_px = self.result.diameters_px.get(image.name)
        self._start_from_it()
        self.panel.bar.say(PAINT_THERE)
        return SuggestionRequest(of.image, axes, self.result.trained.path, of.paint, of.ndim, diameter_px)

    @showing_errors
    def _show(self, _: Any, prediction: ViewportPrediction) -> None:
        if self.result is not None:
            self.live.show(prediction)

    def _start_from_it(self) -> None:
        assert self.result is not None
        self.panel.form.start_from(self.result.trained.header, self.result.trained.path.stem)

    def _accept_clicks(self, is_on: bool) -> None:
        if is_on == self.is_accepting_clicks:
            return
        self.is_accepting_clicks = is_on
        (self.viewer.mouse_drag_callbacks.append if is_on else self.viewer.mouse_drag_callbacks.remove)(self._on_click)
        if is_on and self.live.layer is not None:
            # The brush of the annotation layer would paint at every click.
            self.viewer.layers.selection.active = self.live.layer
            self.live.layer.mode = "pan_zoom"

    @showing_errors
    def _on_click(self, viewer: ViewerModel, event: Any) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Labels) and str(active.mode) in PAINTING:
            return  # the user has taken a brush since
        prediction, of = self._layers()
        self._accept(prediction, of, clicked(self.viewer, prediction, of.paint, event.position, of.task))

    def _accept(self, prediction: Labels, of: LiveImage, where: Selection) -> None:
        self._accepting = accept(prediction, of.paint, where, of.task)
        self._accepting.ended.connect(self._on_accepted)
        self._accepting.failed.connect(self.show_error)

    def _layers(self) -> tuple[Labels, LiveImage]:
        """Return the live prediction and its image, or raise an InputError if its layers are gone."""
        layer, of = self.live.layer, self.live.of
        if layer is None or of is None or layer not in self.viewer.layers:
            raise InputError("There is no live prediction in view. Move the view to an image of the training.")
        if of.paint not in self.viewer.layers:
            raise InputError(f"The annotation {of.paint.name!r} is gone. Make a new annotation layer, and train again.")
        return layer, of

    def _outlined(self, of: LiveImage) -> Selection:
        shapes = [layer for layer in reversed(self.viewer.layers) if isinstance(layer, Shapes) and layer.visible]
        if not shapes:
            raise InputError("There is no Shapes layer. Add one, and draw around what is right.")
        return in_outlines(self.viewer, shapes[0], of.paint, of.axes)

    def _on_accepted(self, accepted: Accepted) -> None:
        self._accepted = f"{accepted} {THEN}"
        self.panel.bar.say(self._accepted)
        self._since_accepted.watch([self.live.of.paint] if self.live.of is not None else [])

    def _on_painted_on(self) -> None:
        """Remove the hint to Ctrl-Z, which now undoes something else, or has undone it already."""
        if self.panel.bar.message.text() == self._accepted:
            self.panel.bar.say(THEN)
