"""The actions after a training: predict the viewport, correct, suggest places, open the model, open the report."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject, QUrl
from qtpy.QtGui import QDesktopServices

from napari_tessera.core.errors import InputError
from napari_tessera.gui.qt.worker import LatestOnlyWorker, showing_errors
from napari_tessera.gui.train.accept import Accepted
from napari_tessera.gui.train.accept_box import Correcting
from napari_tessera.gui.train.live_layer import LiveLayer
from napari_tessera.gui.train.panel import TrainPanel
from napari_tessera.gui.train.running_training import ANYTHING, ChangeWatcher
from napari_tessera.gui.train.suggestions import SuggestionRequest
from napari_tessera.methods.registry import method_named
from napari_tessera.training.interactive import InteractiveResult
from napari_tessera.training.live_prediction import ViewportPrediction, looking_at
from napari_tessera.training.report import describe_scored_step

"""Widgets by the network that they run."""
PLUGIN = "napari-tessera"
CLICK = "Click on what is predicted correctly, to paint it. Then correct the rest, and train."
THEN = "Correct what is wrong, then press Train: it starts from the model just trained."
PAINT_THERE = "Paint what is missing or wrong, then press Train: it starts from the model just trained."


class AfterTraining(QObject):
    """The actions for the model that was trained last.

    Attributes
    ----------
    learnt : InteractiveResult or None
    """

    def __init__(self, panel: TrainPanel, live: LiveLayer) -> None:
        super().__init__()
        self.panel = panel
        self.viewer: ViewerModel = panel.viewer
        self.live = live
        self.learnt: InteractiveResult | None = None
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self.show_error)
        self.correcting = Correcting(self.viewer, live)
        self.correcting.ended.connect(self._on_accepted)
        self.correcting.failed.connect(self.show_error)
        self._accepted = ""
        self._since_accepted = ChangeWatcher(ANYTHING, self._on_painted_on)
        live.on_move(self.look)

    @property
    def widget_title(self) -> str:
        """Title of the widget that runs the model."""
        assert self.learnt is not None
        return method_named(self.learnt.trained.header["training"]["settings"]["network"]).title

    def begin(self, learnt: InteractiveResult) -> None:
        """Show the result of a training."""
        self.learnt = learnt
        name = learnt.trained.path.stem
        said = describe_scored_step(learnt.trained.header["training"])
        self.panel.outcome.show_outcome(name, self.widget_title, learnt.scores_before, learnt.scores, said)
        self.look()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self.panel.bar.show_error(error)

    def forget(self) -> None:
        """Drop the model, before another one is trained."""
        self.learnt = None
        self.latest.stop()
        self.correcting.click(False)
        self._since_accepted.watch(())

    @showing_errors
    def look(self) -> None:
        """Predict the viewport with the model."""
        learnt, sight = self.learnt, self.live.sight
        if learnt is None or sight is None or sight.index >= len(learnt.paintings):
            return
        painting = learnt.paintings[sight.index]
        diameter_px = learnt.diameters_px.get(painting.name)
        trained = learnt.trained
        self.latest.ask(None, looking_at(trained.path, painting, sight, trained.header, diameter_px))

    @showing_errors
    def open_model(self) -> None:
        """Open the widget that runs the model, with the model and its output chosen."""
        window = getattr(self.viewer, "window", None)
        if window is not None and self.learnt is not None:
            _, widget = window.add_plugin_dock_widget(PLUGIN, self.widget_title, tabify=True)
            trained = self.learnt.trained
            for name, value in {"model": trained.path.stem, "output": trained.header["task"]}.items():
                if name in widget.form.fields:
                    widget.form.fields[name].value = value

    @showing_errors
    def correct(self) -> None:
        """Accept the prediction in the chosen area; the next training starts from this model."""
        if self.learnt is None:
            return
        self._start_from_it()
        self.correcting.take(self.panel.correct_box.where.value)
        if self.correcting.is_clicking:
            self.panel.bar.say(CLICK)

    def unsure(self) -> SuggestionRequest:
        """Return the request for suggestions; the next training starts from this model.

        Raises
        ------
        InputError
            If there is no model, or its image was removed.
        """
        at = self.live.sight.index if self.live.sight is not None else 0
        if self.learnt is None or at >= len(self.live.shown):
            raise InputError("Train a model first.")
        of, painting = self.live.shown[at], self.learnt.paintings[at]
        axes = self.panel.pairs.axes_of(of.image)
        diameter_px = self.learnt.diameters_px.get(painting.name)
        self._start_from_it()
        self.panel.bar.say(PAINT_THERE)
        return SuggestionRequest(of.image, axes, self.learnt.trained.path, of.paint, of.ndim, diameter_px)

    @showing_errors
    def open_report(self) -> None:
        """Open the report of the training."""
        if self.learnt is None:
            self.panel.bar.show_error(InputError("There is no report yet: it is written at the end of a training."))
        else:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.learnt.trained.report)))

    @showing_errors
    def _show(self, _: Any, seen: ViewportPrediction) -> None:
        if self.learnt is not None:
            self.live.show(seen)

    def _start_from_it(self) -> None:
        assert self.learnt is not None
        self.panel.form.start_from(self.learnt.trained.header, self.learnt.trained.path.stem)

    def _on_accepted(self, accepted: Accepted) -> None:
        self._accepted = f"{accepted} {THEN}"
        self.panel.bar.say(self._accepted)
        self._since_accepted.watch([self.live.of.paint] if self.live.of is not None else [])

    def _on_painted_on(self) -> None:
        """Remove the hint to Ctrl-Z, which now undoes something else, or has undone it already."""
        if self.panel.bar.message.text() == self._accepted:
            self.panel.bar.say(THEN)
