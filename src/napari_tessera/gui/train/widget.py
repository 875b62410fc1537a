"""The dock widget Train: read the form, train in a thread, show the progress and the next steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.gui.autosave.autosave import Autosave
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.layers.annotation import annotation_facts, place_over, ready_brush
from napari_tessera.gui.method.widget import WARM_UP_AFTER_MS
from napari_tessera.gui.qt.in_steps import Steps
from napari_tessera.gui.qt.worker import sentence, showing_errors, shown_by
from napari_tessera.gui.train.after_training import AfterTraining
from napari_tessera.gui.train.form import free_name, path_for
from napari_tessera.gui.train.live_layer import LiveLayer
from napari_tessera.gui.train.panel import TrainPanel
from napari_tessera.gui.train.plot import TrainingHistory, progress_text
from napari_tessera.gui.train.running_training import STROKES, ChangeWatcher, RunningTraining, TrainWarmUp
from napari_tessera.gui.train.suggestions import PaintNext
from napari_tessera.models.registry import ModelEntry
from napari_tessera.training.interactive import NOT_SHOWN, InteractiveResult, TrainingRequest, learning, snapshot
from napari_tessera.training.recovery import delete_checkpoint
from napari_tessera.training.settings import DECLARATION

SECONDS_TO_STOP = 1.0
SECONDS_BETWEEN_SHOWS = 0.4
"""Every change in the dock redraws the whole window: a tenth of a second on a slow computer."""
SAVE_AFTER_MS = 500
START = "start_from"
PAINTED_SINCE = " This training does not use strokes painted after its start; for those, press Train."


class TrainWidget(TrainPanel):
    """Dock widget that trains a network on annotations."""

    def build(self) -> Steps:
        """Make the visible part, and connect it."""
        yield from super().build()
        self.under_way = RunningTraining()
        self.runner = self.under_way.runner
        self.live = LiveLayer(self.viewer)
        self.after = AfterTraining(self, self.live)
        self.paint_next = PaintNext(self.viewer, self.after.request_suggestions)
        self.outcome.next_steps.addWidget(self.paint_next)
        yield
        self.autosave = Autosave(self.viewer)
        self.request: TrainingRequest | None = None
        self._since_begun = ChangeWatcher(STROKES)
        self._aside = ""
        self._is_over = False
        self._shown_at = 0.0
        self.form.values = remembered()
        yield
        self._save_timer = QTimer(self)
        self._save_timer.setSingleShot(True)
        self._save_timer.setInterval(SAVE_AFTER_MS)
        self._save_timer.timeout.connect(lambda: settings.save(DECLARATION, self.form.values))
        self._connect()
        self.save_paint()
        self.warm_up = TrainWarmUp()
        QTimer.singleShot(WARM_UP_AFTER_MS, self.warm_up.begin)

    @property
    def history(self) -> TrainingHistory:
        """The history of the training."""
        return self.under_way.history

    def train(self) -> None:
        """Start a training, unless one is running."""
        if self.runner.is_running:
            return
        with shown_by(self.bar.show_error):
            request = TrainingRequest(
                self.pairs.given(),
                path_for(self.name.value),
                self.form.values | {"title": self.name.value.strip()},
                self.classes.names,
            )
            self._since_begun.watch([of.paint for of in self.shown()])
            self._forget_the_last()
            self._start(request)

    @showing_errors
    def go_on(self) -> None:
        """Continue the training that was stopped or cancelled, with its annotation."""
        if not self.runner.is_running and self.request is not None:
            self.name.value = self.request.out.stem
            self._start(replace(self.request, goes_on=True))

    def stop(self) -> None:
        """Stop after this step, and save the best model so far."""
        if self.runner.is_running:
            self.under_way.stop()
            self.bar.stop_button.setEnabled(False)
            self.bar.say("Stopping after this step …")

    def cancel(self) -> None:
        """Cancel now; only the checkpoint is saved."""
        if self.runner.is_running:
            self.runner.cancel()
            self.bar.say("Cancelling …")

    def job(self, request: TrainingRequest, should_stop: Callable[[], bool]) -> Job[InteractiveResult]:
        """Return the job for the thread: copy the annotations, and train."""
        yield from self.warm_up.waiting()
        self.request = yield from snapshot(request)
        result = yield from learning(self.request, lambda: self.live.viewport, should_stop)
        if self._is_over or self.runner.is_left:
            delete_checkpoint(request.out)
        return result

    @showing_errors
    def save_paint(self) -> None:
        """Start to save the annotations of all pairs in the background."""
        for pair in self.pairs.pairs if not self._is_over else ():
            if pair.image is not None and pair.annotation is not None:
                self.autosave.watch(pair.annotation, pair.image)

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the layer boxes; napari calls this when a layer is added, removed or renamed."""
        self.pairs.refresh()
        self.clear_message_of_removed()

    def shut_down(self) -> None:
        """Stop everything when the widget is closed; the best model is saved, and the window does not wait."""
        if self._is_over:
            return
        self._is_over = True
        is_saving = self.under_way.detach()
        if not is_saving:
            self._forget_the_last()
        self.after.forget()
        self.paint_next.runner.cancel()
        self.live.close()
        self.classes.shut_down()
        until = time.monotonic() + SECONDS_TO_STOP
        for runner in (self.paint_next.runner, *(() if is_saving else (self.runner,))):
            runner.wait(max(0.0, until - time.monotonic()))
        # The last strokes are saved even if napari is closed; the window does not wait.
        self.autosave.close(is_awaited=False)

    def _forget_the_last(self) -> None:
        """Delete the checkpoint of the last training: its model is saved, and "Go on" is no longer offered."""
        if self.request is not None:
            delete_checkpoint(self.request.out)

    def _start(self, request: TrainingRequest) -> None:
        self.after.forget()
        self.paint_next.forget()
        self._aside = PAINTED_SINCE if request.goes_on and self._since_begun.has_changed else ""
        self.live.take_away()
        with shown_by(self._on_failed):
            self.live.follow(self.shown())
            self.show_training(True)
            self.bar.say(f"Starting …{self._aside}")
            self.warm_up.begin()
            self.under_way.begin(request.out.stem, partial(self.job, request), request.goes_on)

    @showing_errors
    def _on_progress(self, step: Progress) -> None:
        is_soon = time.monotonic() - self._shown_at < SECONDS_BETWEEN_SHOWS
        if not self.runner.is_running or is_soon:
            return
        self._shown_at = time.monotonic()
        self.bar.progress_bar.setValue(round(100 * step.fraction))
        is_stopping = self.under_way.is_stopping
        if self.history.losses and not is_stopping:
            self.bar.stop_button.setEnabled(True)
        self.bar.say(f"Stopping. {step.text} …" if is_stopping else f"{progress_text(self.history)}{self._aside}")
        self._show_history()

    def _show_history(self) -> None:
        self.history_view.show_history(self.history)
        prediction, self.history.prediction = self.history.prediction, None
        if prediction is not None:
            with shown_by(self._do_without_live):
                self.live.show(prediction)

    def _do_without_live(self, error: Exception) -> None:
        """Go on without a live prediction, and show a warning."""
        self.live.follow(())
        self.history.warnings.append(f"{NOT_SHOWN} {sentence(error)}")

    def _on_returned(self, result: InteractiveResult) -> None:
        self.show_training(False)
        with shown_by(self.bar.show_error):
            self._show_result(result)

    def _show_result(self, result: InteractiveResult) -> None:
        self._show_history()
        self.after.begin(replace(result, scores_before=self.history.before))
        record = result.trained.header["training"]
        is_last = record["best_step"] == record["steps"]
        stopped = f"Stopped: the {'last' if is_last else 'best'} weights are saved"
        how = "Trained" if result.trained.is_finished else stopped
        kept = f"The weights of step {record['best_step']} were kept, {record['seconds']} s of training."
        self.bar.say(f"{how}. {kept}{self._aside}")
        self.bar.offer_to_go_on(not result.trained.is_finished)
        self.name.value = free_name()

    def _on_failed(self, error: BaseException) -> None:
        self.show_training(False)
        self.live.take_away()
        self.setup_section.open()
        self.bar.show_error(error)

    def _on_cancelled(self) -> None:
        self.show_training(False)
        self.live.take_away()
        has_steps = bool(self.history.losses)
        kept = ' Press "Go on" to continue.' if has_steps else ""
        self.bar.say(f"Cancelled. No layer and no model was changed.{kept}")
        self.bar.offer_to_go_on(has_steps)
        self.setup_section.open()

    @showing_errors
    def _on_restored(self, layer: Labels) -> None:
        image = annotation_facts(layer).get("image", "")
        is_chosen = self._choose(layer)
        if is_chosen:
            ready_brush(self.viewer, layer, layer.selected_label)
        missing = "" if is_chosen else f" Open the image {image!r} to train on it."
        self.say_of(layer, f"{layer.name!r} is restored.{missing}")

    def _on_unsaved(self, why: str) -> None:
        """Show why an annotation is not saved; an empty text hides the line."""
        if self._is_over and why:
            show_warning(why)
        self.unsaved.setText(why)
        self.unsaved.setVisible(bool(why))

    @showing_errors
    def _on_saved(self, entry: ModelEntry) -> None:
        self.form.start_from(entry.header, entry.name)
        self.name.value = free_name()
        self.bar.say(
            f"The weights of step {entry.header['training']['best_step']} are saved as the model {entry.name!r}, which "
            "is chosen to start from. To go on, choose an image and its annotation, and press Train."
        )

    def _choose(self, layer: Labels) -> bool:
        """Choose an annotation layer for its image; return whether that image is among the pairs."""
        self.pairs.refresh()
        wanted_by, self.restored_for = self.restored_for, None
        if wanted_by in self.pairs.pairs and wanted_by.image is not None and wanted_by.fits(layer):
            place_over(layer, wanted_by.image)
            wanted_by.paint = layer
            return True
        for pair in self.pairs.pairs:
            if pair.image is not None and pair.may_belong(layer):
                pair.paint = layer
                return True
        return False

    def _connect(self) -> None:
        self.bar.run_asked.connect(self.train)
        self.bar.go_on_asked.connect(self.go_on)
        self.bar.stop_asked.connect(self.stop)
        self.bar.cancel_asked.connect(self.cancel)
        self.bar.menu.addAction("Restore defaults", self.form.restore_defaults)
        self.bar.menu.addAction("Open the report of the training", self.after.open_report)
        self.runner.progressed.connect(self._on_progress)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._on_cancelled)
        self.outcome.open_asked.connect(self.after.open_model)
        for naming in (self.outcome.naming, self.form.naming):
            naming.rename_asked.connect(self.after.rename)
            naming.delete_asked.connect(self.after.delete)
        self.correct_box.asked.connect(self.after.correct)
        self.rescue.recovered.connect(self._on_restored)
        self.rescue.failed.connect(self.bar.show_error)
        self.interrupted.recovered.connect(self._on_saved)
        self.interrupted.failed.connect(self.bar.show_error)
        self.autosave.failed.connect(self._on_unsaved)
        self.autosave.ended.connect(self.reset_choices)
        self.form.on_change(self._save_timer.start)
        self.form.start.on_failure(self.bar.show_error)
        self.pairs.changed.connect(self.bar.clear_error)
        self.pairs.failed.connect(self.bar.show_error)
        self.pairs.changed.connect(self.save_paint)
        # Qt disconnects a widget's own methods before it emits `destroyed`; a lambda cleared by Python crashes it.
        for stop in (self.under_way.detach, self.after.latest.stop):
            self.destroyed.connect(stop)


def remembered() -> dict[str, Any]:
    """Return the settings of the last session, except the start model, which depends on the annotation."""
    return {name: value for name, value in settings.load(DECLARATION).items() if name != START}
