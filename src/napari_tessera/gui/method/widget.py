"""The dock widget of a method: read the form, run the job in a thread, add the layers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import napari
import napari.utils
from napari.layers import Layer
from qtpy.QtCore import QEvent, QTimer

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.result import Result, with_seconds
from napari_tessera.engine.precompile import precompile
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.form.text import as_last_time, summary_of
from napari_tessera.gui.layers.add import result_layer
from napari_tessera.gui.layers.read import RUN, Placement, array_of
from napari_tessera.gui.method.panel import Panel
from napari_tessera.gui.method.preview_and_estimate import LivePreview
from napari_tessera.gui.method.recipe_menu import RecipeMenu
from napari_tessera.gui.method.run_request import RunRequest, run_request
from napari_tessera.gui.method.suggest_model import ModelSuggester, Suggestions
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.in_steps import Steps
from napari_tessera.gui.qt.warmup import WarmUp
from napari_tessera.gui.qt.worker import Runner, showing_errors, shown_by
from napari_tessera.methods.registry import method_named

SECONDS_TO_STOP = 1.0
SECONDS_BETWEEN_ACTIVITY = 0.5
SAVE_AFTER_MS = 500
WARM_UP_AFTER_MS = 300
WARM_UP_AFTER_PRESSING_MS = 150
DEVICE = "device"
PLUGIN = "napari-tessera"
Found = TypeVar("Found")


@dataclass(frozen=True)
class RunResult:
    """A result, and its layers before they are added to a viewer."""

    image_name: str
    result: Result
    layers: tuple[Layer, ...]


class MethodWidget(Panel):
    """Dock widget of one method; subclasses in `gui.widgets` set `method_name`."""

    def build(self) -> Steps:
        """Make the visible part, and connect it."""
        yield from super().build()
        self.runner = Runner()
        self.recipes = RecipeMenu(self)
        self.suggester = ModelSuggester(self)
        self.preview = LivePreview(self)
        self._activity: Any = None
        self._activity_updated = self._pressed_at = 0.0
        self.bar.titles = self.method.declaration.titles
        self.bar.size_in_field = self.form.size_in_words
        self._shown_for = self.inputs.main.layer
        self._notes: tuple[str, ...] = ()
        self._request: RunRequest | None = None
        self._image: Layer | None = None
        self._measured_in: Layer | None = None
        yield
        self._remember()
        yield
        self._connect()
        if self.histogram is not None:
            self.histogram.follow(self)
        self.warm_up = WarmUp()
        QTimer.singleShot(WARM_UP_AFTER_MS, self._warm_up)
        if any(each.model for each in self.method.parameters):
            self.forecast.follow(self.request, self._is_busy)

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self.runner.is_running or self._activity is not None

    def request(self, recipe: Any = None) -> RunRequest:
        """Read the run request from the widget; raise InputError if a layer or an outline is missing."""
        layer = self.inputs.main_layer()
        values = self.form.values
        main = self.method, array_of(layer), self.inputs.axes, self.inputs.placement().spatial, layer.name
        records = self.inputs.input_records()
        if recipe is not None:
            return RunRequest(*main, parameters=values, input_records=records, recipe=recipe)
        arrays, region = self.inputs.arrays(values), self.region.region(layer, self.inputs.axes)
        request = RunRequest(*main, arrays, values, region, records, things=self.inputs.things())
        image = self.intensities
        if image is None or image.layer is None:
            return request
        return replace(request, intensities=array_of(image.layer), intensity_axes=image.axes)

    def run(self, recipe: Any = None) -> None:
        """Start a run, unless one is running."""
        with shown_by(self._on_failed):
            if not self.is_running:
                self._start(recipe)

    def cancel(self) -> None:
        """Cancel the run; it ends within half a second."""
        if self.runner.is_running:
            self.runner.cancel()
            self.bar.say("Cancelling …")

    def compiled(self, request: RunRequest, job: Job[Found]) -> Job[Found]:
        """Return a job that compiles what is not compiled yet before another."""
        yield from self.warm_up.waiting()
        yield from precompile(self.method, str(request.image.dtype), in_space(request.axes), request.parameters)
        return (yield from job)

    def job(self, request: RunRequest, placement: Placement) -> Job[RunResult]:
        """Return the job for the thread: compile what is not compiled yet, run the request, and make the layers."""
        begin = time.perf_counter()
        result = with_seconds((yield from subtask(self.compiled(request, run_request(request)), 0, 97, 100)), begin)
        yield Progress(97, 100, "Making the layer")
        about = placement, f"{request.name} · {self.method.title.lower()}", result.provenance
        layers = tuple(result_layer(image, *about, number) for number, image in enumerate(result.images))
        return RunResult(request.name, result, layers)

    def show_result(self, run: RunResult) -> None:
        """Replace the preview by the new layers, and show a summary."""
        self.preview_switch.value = False
        for layer in self.results_of(self._image):
            layer.visible = False
        main, *others = run.layers
        with self.followed.paused():
            for layer in (*others, main):  # the last one is on top, and active: napari shows its features
                self.viewer.add_layer(layer)
        if self._image is not None and self._request is not None:
            for layer in run.layers:
                layer.metadata[RUN] = self._run_on(self._image)
            self.table.tables.follow(run.layers, self._measured_in, self._request)
        self.boxes.offer(run.layers)
        notes = (*self._notes, *run.result.notes)
        summary = f"{run.image_name}: {summary_of(run.result, self.seconds_waited)}"
        self.bar.say("\n".join((summary, *notes)), is_warning=bool(notes))

    @property
    def seconds_waited(self) -> float:
        """The seconds since Run was pressed."""
        return time.monotonic() - self._pressed_at

    def results_of(self, image: Layer | None) -> list[Layer]:
        """Return the layers of the method's results of an image that are in the viewer."""
        if image is None:
            return []
        return [layer for layer in self.viewer.layers if layer.metadata.get(RUN) == self._run_on(image)]

    def shut_down(self) -> None:
        """Stop everything; called when the widget is closed."""
        self.runner.cancel()
        self.warm_up.stop()
        self.preview.close()
        self.forecast.close_down()
        self.boxes.close_down()
        self.followed.close()
        counting = () if self.histogram is None else (self.histogram.latest,)
        if self.histogram is not None:
            self.histogram.close_down()
        until = time.monotonic() + SECONDS_TO_STOP
        for each in (self.runner, self.preview.latest, self.forecast.latest, *counting):
            each.wait(max(0.0, until - time.monotonic()))
        self._end_activity()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self.bar.show_error(error)

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the layer boxes; napari calls this when a layer is added, removed or renamed."""
        self.inputs.refresh()
        self.followed.update()
        self.region.shapes.refresh()
        if self.intensities is not None:
            self.intensities.follow()
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
        """Show the widget's image while the mouse is over it."""
        if event is not None and event.type() in (QEvent.Type.Enter, QEvent.Type.Leave):
            self.followed.show_frame(event.type() == QEvent.Type.Enter)
        return super().event(event)

    def _run_on(self, image: Layer) -> dict[str, str]:
        return {"method": self.method.name, "image": str(image.unique_id)}

    def _start(self, recipe: Any) -> None:
        request = self._request = self.request(recipe)
        self._image = self._measured_in = self.inputs.main_layer()
        if not self.method.takes_image:
            self._measured_in = None if self.intensities is None else self.intensities.layer
        job = self.job(request, self.inputs.placement())
        self._notes = self.inputs.notes(request.parameters) if recipe is None else ()
        self.begin(job)

    def begin(self, job: Job[Any]) -> None:
        """Start a job, and show that it runs."""
        self._pressed_at = time.monotonic()
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
        if time.monotonic() - self._activity_updated < SECONDS_BETWEEN_ACTIVITY:
            return
        self._activity_updated = time.monotonic()
        activity.update(max(round(100 * step.fraction) - activity.n, 0))
        # The activity dock processes events while it redraws; the run may have ended in the meantime.
        if activity is self._activity:
            activity.set_description(f"{self.method.title}: {step.text}")

    def _on_returned(self, found: RunResult | Suggestions) -> None:
        self._on_ended()
        with shown_by(self.bar.show_error):
            if isinstance(found, RunResult):
                self.show_result(found)
            else:
                self.suggester.show(found)

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
        self._save_timer = single_shot(self, SAVE_AFTER_MS, lambda: settings.save(self.method, self.form.values))

    def _clear_message(self) -> None:
        """Remove what is said of another image, or an error about the inputs."""
        before, self._shown_for = self._shown_for, self.inputs.main.layer
        if before is self._shown_for or self.runner.is_running:
            self.bar.clear_error()
        else:
            self.bar.clear_message()

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
        for changing, clear in ((self.form, self.bar.clear_offer), (self.inputs, self._clear_message)):
            changing.on_change(self.preview.update)
            changing.on_change(self.forecast.update_soon)
            changing.on_change(clear)
        self.region.on_change(self.forecast.update_soon)
        self.region.on_change(self.bar.clear_error)
        self.preview_switch.changed.connect(self.preview.switch)
        # Qt disconnects a widget's own methods before it emits `destroyed`.
        for stop in (self.runner.cancel, self.preview.latest.stop, self.forecast.latest.stop):
            self.destroyed.connect(stop)


def in_space(axes: str) -> str:
    """Return whether an image is processed in planes ("YX") or volumes ("ZYX")."""
    return "ZYX" if "Z" in axes else "YX"


def open_demo(sample: str, method_name: str, settings: Mapping[str, Any], block: bool = True) -> napari.Viewer:
    """Open napari with a sample image and a method's widget, and start the run.

    `settings` are those that differ from the defaults. With `block`, this returns when the window is closed.
    """
    viewer = napari.Viewer(title="Tessera")
    (layer,) = viewer.open_sample(PLUGIN, sample)
    layer.name = sample
    method = method_named(method_name)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, method.title)
    widget.whole().set_for_now(method.declaration.defaults | dict(settings))
    widget.run()
    if block:
        napari.run()
    return viewer
