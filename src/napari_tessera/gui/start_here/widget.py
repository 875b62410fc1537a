"""The dock widget "Start here…": try several methods on the image in view, and open the one that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.engine.preview import View
from napari_tessera.engine.trials import TRIALS, Trial, TrialResult, middle_view, try_method
from napari_tessera.gui.layers.picture import picture_of
from napari_tessera.gui.layers.read import array_of, check_plane_shown, corners_shown, planes_shown
from napari_tessera.gui.method.inputs import FollowedLayer, InputsBox
from napari_tessera.gui.method.widget import DEVICE, PLUGIN, MethodWidget
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.in_steps import BuiltInSteps, Steps
from napari_tessera.gui.qt.layout import Rows, fill_dock, wrapped_label
from napari_tessera.gui.qt.run_bar import RunBar, RunKeys
from napari_tessera.gui.qt.warmup import WarmUp
from napari_tessera.gui.qt.worker import Runner, sentence, showing_errors, shown_by
from napari_tessera.gui.start_here.card import Card
from napari_tessera.methods.registry import method_named

TRAIN = "Train"
COLUMNS = 2
BEGIN_AFTER_MS = 300
"""So long after the widget was opened, or another image was chosen, the methods are tried."""
SECONDS_TO_STOP = 1.0
INTRODUCTION = "The image in view, by four methods. Click a picture to open its method with these settings."
NO_IMAGE = "Open an image: drop a file on the window, or choose File → Open Sample → Tessera."
OPENED = "These are the settings of the picture you clicked. Press Run (or Return) for the whole image."
NONE_FITS = "None fits? Train a network …"
NONE_FITS_HELP = "Open Train: paint a few strokes, and a network learns from them what you look for."


@dataclass(frozen=True)
class Scene:
    """The part of an image on which the methods are tried.

    Attributes
    ----------
    layer : napari.layers.Image
    axes : str
    view : View
    """

    layer: Image
    axes: str
    view: View

    @property
    def sentence(self) -> str:
        """Where the pictures are from."""
        height, width = self.view.bottom - self.view.top, self.view.right - self.view.left
        planes = "".join(f", {axis.lower()} {index}" for axis, index in self.view.planes.items())
        return f"{self.layer.name}{planes}: the middle {width} × {height} px of the view."


class StartHereWidget(BuiltInSteps):
    """Dock widget that tries several methods on the image in view.

    Attributes
    ----------
    cards : list of Card
    inputs : InputsBox
    bar : RunBar
    runner : Runner
    """

    @classmethod
    def prepare(cls) -> None:
        """Read the declarations of the methods that are tried."""
        for trial in TRIALS:
            _ = method_named(trial.method).parameters

    def build(self) -> Steps:
        """Make the cards and the box of images, and begin soon."""
        rows = Rows()
        self.cards = [Card(trial) for trial in TRIALS]
        self.bar = RunBar("Try on the view", "Trying …")
        self.bar.menu_button.hide()
        self.train_button = QPushButton(NONE_FITS)
        self.train_button.setToolTip(NONE_FITS_HELP)
        yield
        self._lay_out(rows)
        yield
        self.inputs = InputsBox(self.viewer, method_named(TRIALS[0].method), rows)
        self.inputs.show_rows({})
        self.followed = FollowedLayer(self.inputs.main)
        self.runner = Runner()
        self._warm_ups = {trial.method: WarmUp() for trial in TRIALS}
        self._to_do: list[Card] = []
        self._scene: Scene | None = None
        self._begins_again = False
        self._soon = single_shot(self, BEGIN_AFTER_MS, self._begin_if_new)
        self.keys = RunKeys(self, self.bar, self.viewer)
        self._connect()
        self._soon.start()

    def run(self) -> None:
        """Try every method on the view, one after the other."""
        if self.runner.is_running:
            return
        with shown_by(self.show_error):
            self._scene = self.scene()
            self._to_do = list(self.cards)
            for card in self.cards:
                card.clear("waiting")
            self.bar.show_running(True)
            self.bar.say("")
            self._next()

    def cancel(self) -> None:
        """Stop trying; what was found stays."""
        self._to_do = []
        self.runner.cancel()

    def open(self, card: Card) -> None:
        """Open the widget of a method, with the settings of its picture."""
        if card.result is not None and self._scene is not None:
            with shown_by(self.show_error):
                self._open(card.title, self._scene, card.result.settings)

    def scene(self) -> Scene:
        """Return the part of the chosen image that is in view.

        Raises
        ------
        InputError
            If no image is open, or the viewer does not show Y and X.
        """
        layer, axes, dims = self.inputs.main_layer(), self.inputs.axes, self.viewer.dims
        assert isinstance(layer, Image)
        check_plane_shown(layer, axes, dims)
        shape = array_of(layer).shape
        plane = (shape[axes.index("Y")], shape[axes.index("X")])
        return Scene(layer, axes, middle_view(planes_shown(layer, axes, dims.point), corners_shown(layer, axes), plane))

    @showing_errors
    def reset_choices(self, *_: Any) -> None:
        """Update the box of images; napari calls this when a layer is added, removed or renamed."""
        self.inputs.refresh()
        self.followed.update()
        self._soon.start()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self.bar.show_error(error)

    def shut_down(self) -> None:
        """Stop everything; called when the widget is closed."""
        self._soon.stop()
        self.followed.close()
        self._begins_again = False
        self.cancel()
        for each in self._warm_ups.values():
            each.stop()
        self.runner.wait(SECONDS_TO_STOP)

    def job(self, trial: Trial, scene: Scene) -> Job[tuple[TrialResult, np.ndarray]]:
        """Return the job for the thread: load what the method needs, run it, and cut out the picture."""
        image, axes = array_of(scene.layer), scene.axes
        yield from self._warm_ups[trial.method].waiting()
        result = yield from try_method(trial, image, axes, scene.view)
        part = np.asarray(image[scene.view.index(axes)])
        return result, picture_of(scene.layer, part, "".join(axis for axis in axes if axis in "YXC"))

    def _next(self) -> None:
        """Try the next method, or end."""
        if not self._to_do or self._scene is None:
            self.bar.show_running(False)
            self.bar.say("" if self._scene is None else self._scene.sentence)
            return
        card = self._to_do[0]
        card.say("trying …")
        method = method_named(card.trial.method)
        chosen = {each.name: each.default for each in method.parameters if each.model or each.name == DEVICE}
        self._warm_ups[method.name].start(method, str(array_of(self._scene.layer).dtype), "YX", chosen)
        self.runner.start(self.job(card.trial, self._scene))

    @showing_errors
    def _on_progress(self, step: Progress) -> None:
        if self._to_do and self.runner.is_running:
            done = (len(self.cards) - len(self._to_do) + step.fraction) / len(self.cards)
            self.bar.progress_bar.setValue(round(100 * done))
            self.bar.say(f"{self._to_do[0].title}: {step.text} …")

    def _on_returned(self, found: tuple[TrialResult, np.ndarray]) -> None:
        with shown_by(self.show_error):
            if self._to_do:
                self._to_do.pop(0).show_result(*found)
            self._next()

    def _on_failed(self, error: Exception) -> None:
        with shown_by(self.show_error):
            if self._to_do:
                self._to_do.pop(0).clear(sentence(error))
            self._next()

    def _on_cancelled(self) -> None:
        for card in self.cards:
            if card.result is None:
                card.clear("not tried")
        self.bar.show_running(False)
        self.bar.say("Cancelled.")
        if self._begins_again:
            self._begins_again = False
            self.run()

    @showing_errors
    def _begin_if_new(self) -> None:
        """Try the methods on an image on which they were not tried yet."""
        layer = self.inputs.main.layer
        if layer is None:
            self.bar.say(NO_IMAGE)
        elif self._scene is None or self._scene.layer is not layer:
            self._begins_again = self.runner.is_running
            self.cancel()
            self.run()

    def _open(self, title: str, scene: Scene, settings: Mapping[str, Any]) -> None:
        dock, docked = self.viewer.window.add_plugin_dock_widget(PLUGIN, title)
        dock.show()
        dock.raise_()
        docked.when_built(partial(self._set_up, scene, settings))

    @showing_errors
    def _set_up(self, scene: Scene, settings: Mapping[str, Any], widget: MethodWidget) -> None:
        widget.inputs.main.layer = scene.layer
        widget.inputs.axes_box.value = scene.axes
        widget.set_for_now(settings)
        widget.bar.say(OPENED)
        widget.bar.run_button.setFocus()

    @showing_errors
    def _open_train(self) -> None:
        dock, _ = self.viewer.window.add_plugin_dock_widget(PLUGIN, TRAIN)
        dock.show()
        dock.raise_()

    def _connect(self) -> None:
        for card in self.cards:
            card.picture.clicked.connect(partial(self.open, card))
        self.train_button.clicked.connect(self._open_train)
        self.bar.run_asked.connect(self.run)
        self.bar.cancel_asked.connect(self.cancel)
        self.runner.progressed.connect(self._on_progress)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._on_cancelled)
        self.inputs.on_change(self._soon.start)
        self.destroyed.connect(self.runner.cancel)

    def _lay_out(self, rows: Rows) -> None:
        introduction, pictures = wrapped_label(), QWidget()
        introduction.setText(INTRODUCTION)
        grid = QGridLayout(pictures)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(8)
        for number, card in enumerate(self.cards):
            grid.addWidget(card, number // COLUMNS, number % COLUMNS)
        fill_dock(self, introduction, rows, pictures, self.bar, self.train_button)
