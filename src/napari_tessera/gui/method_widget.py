"""The dock widget of a method: read the form, ask the question in a thread, add the layers that come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import napari.utils
from magicgui.widgets import CheckBox, ComboBox
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.errors import TesseraError
from napari_tessera.gui import settings
from napari_tessera.gui.asking import Question, answering
from napari_tessera.gui.fields import let_shrink
from napari_tessera.gui.form import Form, Rows, collapsible
from napari_tessera.gui.inputs_box import InputsBox
from napari_tessera.gui.layers import Placement, array_of, labels_layer, short_unit
from napari_tessera.gui.live_preview import METHODS as METHODS_WITH_PREVIEW
from napari_tessera.gui.live_preview import LivePreview
from napari_tessera.gui.recipe_menu import RecipeMenu
from napari_tessera.gui.region_box import RegionBox
from napari_tessera.gui.run_bar import RunBar
from napari_tessera.gui.wording import tooltip
from napari_tessera.gui.worker import Runner
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.registry import method_named
from napari_tessera.result import Result

SECONDS_TO_STOP = 1.0
SAVE_AFTER_MS = 500
WIDTH_PX = 320
PIXELS = "px"
PREVIEW_HELP = "Show what the settings do to the part of the plane that is in sight, as you change them. Run decides."


@dataclass(frozen=True)
class Answer:
    """A result, and the layers made from it that no viewer holds yet."""

    result: Result
    layers: tuple[Labels, ...]


class MethodWidget(QWidget):
    """Dock widget of one method; the subclasses in `widgets` say which."""

    method_name: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.method = method_named(self.method_name)
        self.runner = Runner()
        self._activity: Any = None
        self._build()
        self._remember()
        self._connect()
        self._follow_layer()

    # -- what the user set up ------------------------------------------------------------------------------------

    def question(self, recipe: Any = None) -> Question:
        """Read the whole widget.

        Raises
        ------
        InputError
            If a layer or an outline is missing.
        """
        layer = self.inputs.main_layer()
        values = self.form.values
        return Question(
            self.method.name,
            array_of(layer),
            self.inputs.axes,
            self.inputs.placement().spatial,
            layer.name,
            self.inputs.arrays(values) if recipe is None else {},
            values,
            self.region.region(layer, self.inputs.axes) if recipe is None else None,
            self.inputs.made_by(),
            recipe,
        )

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, recipe: Any = None) -> None:
        """Start a run; while one is running, nothing happens."""
        if self.runner.is_running:
            return
        try:
            question = self.question(recipe)
            job = self.job(question, self.inputs.placement())
        except TesseraError as error:
            self.bar.show_error(error)
            return
        self.bar.show_running(True)
        self.bar.say("Starting …")
        self.runner.start(job)
        self._activity = napari.utils.cancelable_progress(total=100, desc=self.method.title)

    def cancel(self) -> None:
        """Stop the run; it ends within half a second."""
        if self.runner.is_running:
            self.runner.cancel()
            self.bar.say("Cancelling …")

    def job(self, question: Question, placement: Placement) -> Job[Answer]:
        """Everything that is done in the thread, making the layers included."""
        result = yield from part_of(answering(question), 0, 97, 100)
        yield Progress(97, 100, "Making the layer")
        name = f"{question.name} · {self.method.title.lower()}"
        return Answer(result, tuple(labels_layer(image, placement, name, result.provenance) for image in result.images))

    def show_answer(self, answer: Answer) -> None:
        """Add the new layers to the viewer in the place of the preview, and say what was found."""
        self.preview_switch.value = False
        for layer in answer.layers:
            self.viewer.add_layer(layer)
        notes = answer.result.notes
        self.bar.say(" ".join(notes) if notes else summary_of(answer.result), is_warning=bool(notes))

    def shut_down(self) -> None:
        """Stop everything; called when the widget goes."""
        self.runner.cancel()
        self.preview.close()
        self.runner.wait(SECONDS_TO_STOP)
        self._end_activity()

    def reset_choices(self, *_: Any) -> None:
        """Follow the viewer's layers; napari calls this whenever one comes, goes or is renamed."""
        self.inputs.refresh()
        self.region.shapes.refresh()

    def restore_defaults(self) -> None:
        """Set every setting to its default."""
        self.form.restore_defaults()
        self.bar.say("All settings are back to their defaults.")

    def event(self, event: QEvent) -> bool:
        """Stop everything when napari takes the widget out of its dock, which is what closing means there."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)

    def _on_progress(self, step: Progress) -> None:
        if self._activity is None or not self.runner.is_running:
            return
        if self._activity.is_canceled:
            self.cancel()
            return
        self.bar.show_progress(step)
        self._activity.set_description(f"{self.method.title}: {step.text}")
        self._activity.update(max(round(100 * step.fraction) - self._activity.n, 0))

    def _on_returned(self, answer: Answer) -> None:
        self._on_ended()
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
        if self._activity is not None:
            self._activity.close()
            self._activity = None

    # -- following the layer -------------------------------------------------------------------------------------

    def _follow_layer(self) -> None:
        """Fit the form to the layer chosen: its axes, unit and intensities."""
        layer = self.inputs.main.layer
        axes = self.inputs.axes
        self.form.show_channels("C" in axes)
        self.region.show_plane_only(any(axis not in "YXC" for axis in axes))
        if layer is not None and hasattr(layer, "contrast_limits_range"):
            self.form.show_intensities(*layer.contrast_limits_range)
        self._offer_units()
        self._show_sizes()
        self._show_rows()
        self.preview.update()

    def _offer_units(self) -> None:
        layer, spacing = self.inputs.main.layer, self.inputs.spacing
        units = ["pixels"]
        if layer is not None and spacing is not None:
            unit = short_unit(layer)
            units.append("units of the layer" if unit == PIXELS else unit)
        with self.sizes.changed.blocked():
            chosen = self.sizes.value
            self.sizes.choices = units
            self.sizes.value = chosen if chosen in units else units[0]
        self.more.show_row(self.sizes.native, len(units) > 1)

    def _show_sizes(self) -> None:
        n_space = sum(axis in "ZYX" for axis in self.inputs.axes)
        is_pixels = self.sizes.value == "pixels"
        unit = "" if self.sizes.value == "units of the layer" else self.sizes.value
        self.form.show_sizes(None if is_pixels else self.inputs.spacing, unit, n_space)

    def _show_rows(self) -> None:
        self.inputs.show_rows(self.form.values)

    # -- building ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.input_rows = Rows()
        self.inputs = InputsBox(self.viewer, self.method, self.input_rows)
        self.form = Form(self.method)
        self.more = Rows()
        self.sizes = ComboBox(choices=["pixels"], tooltip="Unit of lengths and areas in this form.")
        let_shrink(self.sizes.native)
        self.more.add("Sizes in", self.sizes.native, self.sizes.tooltip or "")
        self.region = RegionBox(self.viewer, self.more)
        self.bar = RunBar()
        self.recipes = RecipeMenu(self)
        self.preview = LivePreview(self)
        self.preview_switch = CheckBox(text="Live preview", tooltip=tooltip(PREVIEW_HELP))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(self._make_summary())
        layout.addWidget(self._make_scroll_area())
        if self.method.name in METHODS_WITH_PREVIEW:
            layout.addWidget(self.preview_switch.native)
        layout.addWidget(self.bar)
        layout.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(WIDTH_PX)

    def sizeHint(self) -> QSize:
        """Keep the width, whatever rows are shown."""
        return QSize(WIDTH_PX, super().sizeHint().height())

    def _make_summary(self) -> QLabel:
        summary = QLabel(self.method.summary)
        summary.setWordWrap(True)
        summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        return summary

    def _make_scroll_area(self) -> AsTallAsContent:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(8)
        for widget in self.sections():
            column.addWidget(widget)
        column.addStretch(1)
        return AsTallAsContent(content)

    def sections(self) -> list[QWidget]:
        """Parts of the widget from top to bottom."""
        more = QWidget()
        column = QVBoxLayout(more)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.form.more)
        column.addWidget(self.more)
        self.more_settings = collapsible("More settings", more)
        return [self.input_rows, self.form.main, self.more_settings]

    def _remember(self) -> None:
        self.form.values = settings.load(self.method)
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
        self.inputs.on_change(self._follow_layer)
        self.form.on_change(self._show_rows)
        self.form.on_change(self._save_timer.start)
        self.form.on_change(self.preview.update)
        self.preview_switch.changed.connect(self.preview.switch)
        self.sizes.changed.connect(lambda *_: self._show_sizes())
        # Qt cuts a widget's own methods off before it says that the widget is destroyed.
        runner, latest = self.runner, self.preview.latest
        self.destroyed.connect(lambda: (runner.cancel(), latest.stop()))


class AsTallAsContent(QScrollArea):
    """A scroll area that takes no more room than its content needs, so that what stands below stays near."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QScrollArea { border: none; margin: 0; padding: 0; }")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        content.installEventFilter(self)

    def sizeHint(self) -> QSize:
        """Return the content's size."""
        return self.widget().sizeHint()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask for room anew when the content's rows come or go."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def summary_of(result: Result) -> str:
    """Say what a run found, and how long it took."""
    image = result.images[0]
    count = len(image.table["label"]) if image.table else int(image.data.max())
    kind = {"objects": "object", "classes": "class"}[image.kind]
    plural = {"object": "objects", "class": "classes"}[kind]
    return f"{count} {kind if count == 1 else plural} in {result.provenance['seconds']:.1f} s."
