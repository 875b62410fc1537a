"""The button "Suggest a model": what each model finds in one part of the image, side by side; a click chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QVBoxLayout, QWidget

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.result import count_in_words
from napari_tessera.engine.suggest_model import ModelSuggestion, suggest_steps, verdict
from napari_tessera.gui.form.model_field import ModelField
from napari_tessera.gui.layers.picture import picture_of
from napari_tessera.gui.layers.read import array_of, planes_shown
from napari_tessera.gui.method.run_request import RunRequest
from napari_tessera.gui.qt.layout import NOTE_STYLE, OFFER_STYLE, wrapped_label
from napari_tessera.gui.qt.worker import shown_by
from napari_tessera.gui.start_here.card import PictureCard

if TYPE_CHECKING:
    from napari_tessera.gui.method.widget import MethodWidget

MOST_SHOWN, COLUMNS, SIDE_PX = 6, 3, 240
CLICK = "Click a picture to choose its model. All show the same part of the image."
CHOOSE = "Choose this model."


@dataclass(frozen=True)
class Suggestions:
    """The models that were tried, the best first, and the picture of the part of the image that they are shown on."""

    models: Sequence[ModelSuggestion]
    picture: np.ndarray | None


def suggesting(request: RunRequest, layer: Image, frame: dict[str, int]) -> Job[Suggestions]:
    """Return the job that tries the models of a request's method on its image."""
    sizes = dict(zip(request.spatial.axes, request.spatial.scale, strict=True))
    spacing = {axis: size for axis, size in sizes.items() if axis in "ZYX"}
    settings = {name: request.parameters[name] for name in ("channel", "device")}
    models = yield from subtask(
        suggest_steps(
            request.image, axes=request.axes, spacing=spacing, network=request.method.name, frame=frame, **settings
        ),
        0, 99, 100,
    )  # fmt: skip
    yield Progress(99, 100, "Drawing")
    if not models:
        return Suggestions((), None)
    part = np.asarray(array_of(layer)[models[0].crop])
    return Suggestions(models, picture_of(layer, part, "".join(axis for axis in request.axes if axis in "YXC")))


class SuggestionWindow(QDialog):
    """A window with a card for each model; `chosen` is emitted with the name of the one that is clicked."""

    chosen = Signal(str)

    def __init__(self, suggestions: Suggestions, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Suggest a model")
        self.verdict, how = wrapped_label(), wrapped_label()
        models = suggestions.models
        self.verdict.setText(verdict(models))
        self.verdict.setStyleSheet(OFFER_STYLE if models and models[0].fits else NOTE_STYLE)
        how.setText(CLICK)
        self.cards = [self._card(each, suggestions.picture) for each in models[:MOST_SHOWN]]
        grid = QGridLayout()
        grid.setSpacing(8)
        for number, card in enumerate(self.cards):
            grid.addWidget(card, number // COLUMNS, number % COLUMNS, Qt.AlignmentFlag.AlignTop)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.verdict)
        layout.addLayout(grid)
        layout.addWidget(how)
        layout.addWidget(buttons)
        how.setVisible(bool(self.cards))
        self.setMinimumWidth(2 * SIDE_PX)

    def _card(self, model: ModelSuggestion, picture: Any) -> PictureCard:
        size = "" if model.diameter_px is None else f", about {model.diameter_px:.3g} px wide"
        card = PictureCard(model.title, CHOOSE, f"{count_in_words(model.n_objects)}{size}", SIDE_PX)
        card.say(f"{model.confidence:.0%} likely right")
        card.draw(model.labels, picture)
        card.picture.clicked.connect(partial(self._choose, model.model))
        return card

    def _choose(self, name: str) -> None:
        self.chosen.emit(name)
        self.accept()


class ModelSuggester:
    """Adds the button to the form of a method's widget, if a model is among its settings."""

    def __init__(self, widget: MethodWidget) -> None:
        self.widget = widget
        self.window: SuggestionWindow | None = None
        self.field = widget.form.fields.get("model")
        if isinstance(self.field, ModelField):
            self.field.on_suggest(self.start)
            widget.form.show_rows()

    def start(self) -> None:
        """Try the models on the chosen image, unless a job runs."""
        widget = self.widget
        with shown_by(widget.show_error):
            if widget.is_running:
                return
            request, layer = widget.request(), widget.inputs.main_layer()
            frame = planes_shown(layer, request.axes, widget.viewer.dims.point)
            widget.begin(widget.compiled(request, suggesting(request, layer, frame)))

    def show(self, suggestions: Suggestions) -> None:
        """Open the window in which the user chooses."""
        self.widget.bar.say(verdict(suggestions.models))
        self.window = SuggestionWindow(suggestions, self.widget.window())
        self.window.chosen.connect(self._choose)
        self.window.finished.connect(self._forget)
        self.window.show()

    def _forget(self, *_: Any) -> None:
        self.window = None

    def _choose(self, name: str) -> None:
        with shown_by(self.widget.show_error):
            if self.field is not None:
                self.field.value = name
                self.widget.bar.say("The model is chosen. Press Run.")
