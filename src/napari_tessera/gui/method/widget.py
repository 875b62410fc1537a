"""The dock widget of a method: read the form, run the job in a thread, add the result layers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import napari.utils
from napari.layers import Layer
from qtpy.QtCore import QEvent, QTimer

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.result import Result
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.form.text import as_last_time, summary_of
from napari_tessera.gui.layers.add import result_layer
from napari_tessera.gui.layers.read import Placement, array_of
from napari_tessera.gui.method.live_preview import LivePreview
from napari_tessera.gui.method.panel import Panel
from napari_tessera.gui.method.recipe_menu import RecipeMenu
from napari_tessera.gui.method.run_request import RunRequest, compiling, in_space, needs_network, run_request
from napari_tessera.gui.qt.warmup import WarmUp
from napari_tessera.gui.qt.worker import Runner, showing_errors, shown_by
from napari_tessera.methods.registry import method_named

SECONDS_TO_STOP = 1.0
SECONDS_BETWEEN_ACTIVITY = 0.5
SAVE_AFTER_MS = 500
WARM_UP_AFTER_MS = 300
WARM_UP_AFTER_PRESSING_MS = 150
DEVICE = "device"


@dataclass(frozen=True)
class RunResult:
    """A result, and its layers before they are added to a viewer."""

    image_name: str
    result: Result
    layers: tuple[Layer, ...]


class MethodWidget(Panel):
    """Dock widget of one method; subclasses in `gui.widgets` set `method_name`."""

    method_name: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        # napari may pass a proxy that hides private names; its layers differ from the viewer's.
        super().__init__(getattr(napari_viewer, "__wrapped__", napari_viewer), method_named(self.method_name))
        self.runner = Runner()
        self.recipes = RecipeMenu(self)
        self.preview = LivePreview(self)
        self._activity: Any = None
        self._activity_told = 0.0
        self._notes: tuple[str, ...] = ()
        self._remember()
        self._connect()
        self.warm_up = WarmUp()
        QTimer.singleShot(WARM_UP_AFTER_MS, self._warm_up)
        if needs_network(self.method):
            self.forecast.follow(self.question, self._is_busy)

    def question(self, recipe: Any = None) -> RunRequest:
        """Read the run request from the widget.

        Raises
        ------
        InputError
            If a layer or an outline is missing.
        """
        layer = self.inputs.main_layer()
        values = self.form.values
        return RunRequest(
            self.method.name,
            array_of(layer),
            self.inputs.axes,
            self.inputs.placement().spatial,
            layer.name,
            self.inputs.arrays(values) if recipe is None else {},
            values,
            self.region.region(layer, self.inputs.axes) if recipe is None else None,
            self.inputs.input_records(),
            recipe,
        )

    def run(self, recipe: Any = None) -> None:
        """Start a run, unless one is running."""
        if self.runner.is_running or self._activity is not None:
            return
        with shown_by(self._on_failed):
            self._start(recipe)

    def cancel(self) -> None:
        """Cancel the run; it ends within half a second."""
        if self.runner.is_running:
            self.runner.cancel()
            self.bar.say("Cancelling …")

    def job(self, question: RunRequest, placement: Placement) -> Job[RunResult]:
        """Return the job for the thread: run the request, and make the layers."""
        yield from self.warm_up.waiting()
        yield from compiling(question)
        result = yield from subtask(run_request(question), 0, 97, 100)
        yield Progress(97, 100, "Making the layer")
        name = f"{question.name} · {self.method.title.lower()}"
        made = [
            result_layer(image, placement, name, result.provenance, number)
            for number, image in enumerate(result.images)
        ]
        return RunResult(question.name, result, tuple(made))

    def show_answer(self, answer: RunResult) -> None:
        """Replace the preview by the new layers, and show a summary."""
        self.preview_switch.value = False
        main, *others = answer.layers
        for layer in (*others, main):  # the last one is on top, and active: napari shows its features under the mouse
            self.viewer.add_layer(layer)
        self.boxes.offer(answer.layers)
        notes = (*self._notes, *answer.result.notes)
        summary = f"{answer.image_name}: {summary_of(answer.result)}"
        self.bar.say("\n".join((summary, *notes)), is_warning=bool(notes))

    def shut_down(self) -> None:
        """Stop everything; called when the widget is closed."""
        self.runner.cancel()
        self.preview.close()
        self.forecast.close_down()
        self.boxes.close_down()
        until = time.monotonic() + SECONDS_TO_STOP
        for each in (self.runner, self.preview.latest, self.forecast.latest):
            each.wait(max(0.0, until - time.monotonic()))
        self._end_activity()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self.bar.show_error(error)

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the layer boxes; napari calls this when a layer is added, removed or renamed."""
        self.inputs.refresh()
        self.region.shapes.refresh()
        self.boxes.refresh()
        if self.preview.has_lost_its_image():
            self.preview_switch.value = False

    def restore_defaults(self) -> None:
        """Set every setting to its default."""
        self.form.restore_defaults()
        self.bar.say("All settings have their defaults again.")

    def set_for_now(self, values: Mapping[str, Any]) -> None:
        """Set settings without saving them for the next session."""
        self.form.values = values
        self._save_timer.stop()

    def event(self, event: QEvent | None) -> bool:
        """Stop everything when napari takes the widget out of its dock, which is how napari closes it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)

    def _start(self, recipe: Any) -> None:
        question = self.question(recipe)
        job = self.job(question, self.inputs.placement())
        self._notes = self.inputs.notes(question.parameters) if recipe is None else ()
        self.bar.show_running(True)
        self.bar.say("Starting …")
        # napari processes events while it makes the bar, so the run must start after it.
        self._activity = napari.utils.cancelable_progress(total=100, desc=self.method.title)
        self.runner.start(job)
        # The window is redrawn first: loading would delay it.
        QTimer.singleShot(WARM_UP_AFTER_PRESSING_MS, self._warm_up)

    @showing_errors
    def _on_progress(self, step: Progress) -> None:
        activity = self._activity
        if activity is None or not self.runner.is_running:
            return
        if activity.is_canceled:
            self.cancel()
            return
        self.bar.show_progress(step)
        # Each change of napari's activity bar redraws the whole window, so it is updated rarely.
        if time.monotonic() - self._activity_told < SECONDS_BETWEEN_ACTIVITY:
            return
        self._activity_told = time.monotonic()
        activity.update(max(round(100 * step.fraction) - activity.n, 0))
        # The activity dock processes events while it redraws; the run may have ended in the meantime.
        if activity is self._activity:
            activity.set_description(f"{self.method.title}: {step.text}")

    def _on_returned(self, answer: RunResult) -> None:
        self._on_ended()
        with shown_by(self.bar.show_error):
            self.show_answer(answer)

    def _on_failed(self, error: BaseException) -> None:
        self._on_ended()
        self.bar.show_error(error)

    def _on_cancelled(self) -> None:
        self._on_ended()
        self.bar.say("Cancelled. Nothing was changed.")

    def _on_ended(self) -> None:
        self._end_activity()
        self.bar.show_running(False)

    def _end_activity(self) -> None:
        activity, self._activity = self._activity, None
        if activity is not None:
            with shown_by(self.show_error):
                activity.close()

    @showing_errors
    def _warm_up(self) -> None:
        layer, values = self.inputs.main.layer, self.form.values
        dtype = "uint8" if layer is None else str(array_of(layer).dtype)
        chosen = {each.name: values[each.name] for each in self.method.parameters if each.model or each.name == DEVICE}
        self.warm_up.start(self.method, dtype, in_space(self.inputs.axes), chosen)

    def _is_busy(self) -> bool:
        """Return whether a job runs, or the first one is being prepared."""
        return not self.warm_up.is_over or self.runner.is_running

    def _remember(self) -> None:
        self.form.values = settings.load(self.method)
        if changed := as_last_time(self.method, self.form.values):
            self.bar.offer(changed, "Restore defaults", self.restore_defaults)
        self._save_timer = QTimer(self)
        self._save_timer.setSingleShot(True)
        self._save_timer.setInterval(SAVE_AFTER_MS)
        self._save_timer.timeout.connect(lambda: settings.save(self.method, self.form.values))

    def _connect(self) -> None:
        self.bar.run_asked.connect(self.run)
        self.bar.cancel_asked.connect(self.cancel)
        self.runner.progressed.connect(self._on_progress)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._on_cancelled)
        self.boxes.runner.failed.connect(self.bar.show_error)
        for buttons in self.inputs.mark_buttons:
            buttons.added.connect(self.bar.say)
            buttons.failed.connect(self.bar.show_error)
        self.form.on_change(self._save_timer.start)
        self.form.on_failure(self.bar.show_error)
        self.form.on_change(self.preview.update)
        self.inputs.on_change(self.preview.update)
        for on_change in (self.form.on_change, self.inputs.on_change, self.region.on_change):
            on_change(self.forecast.update_soon)
        self.inputs.on_change(self.bar.clear_error)
        self.form.on_change(self.bar.clear_offer)
        self.region.on_change(self.bar.clear_error)
        self.preview_switch.changed.connect(self.preview.switch)
        # Qt disconnects a widget's own methods before it emits `destroyed`.
        runner, served = self.runner, (self.preview.latest, self.forecast.latest)
        self.destroyed.connect(lambda: runner.cancel())
        for latest in served:
            self.destroyed.connect(lambda _=None, latest=latest: latest.stop())
