"""Compare labels with the truth: scores, a table of objects, and a layer that shows where the mistakes are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils import DirectLabelColormap
from qtpy.QtWidgets import QWidget

from napari_tessera.gui.asking import Question, scoring
from napari_tessera.gui.failing import showing_errors, shown_by
from napari_tessera.gui.layers import Placement, camera_of
from napari_tessera.gui.method_widget import Answer, MethodWidget
from napari_tessera.gui.scores_panel import STATE_COLOURS, ScoresPanel, headline
from napari_tessera.jobs import Job, Progress, part_of


@dataclass(frozen=True)
class Comparison(Answer):
    """An answer with its scores."""

    scores: dict[str, Any]


class CompareWidget(MethodWidget):
    """Compare with truth."""

    method_name = "compare"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self.panel = ScoresPanel()
        self.errors: Labels | None = None
        super().__init__(napari_viewer)
        self.panel.object_chosen.connect(self.go_to)

    def sections(self) -> list[QWidget]:
        """Parts of the widget from top to bottom."""
        return [*super().sections(), self.panel]

    def job(self, question: Question, placement: Placement) -> Job[Comparison]:
        """Find the mistakes, then the scores."""
        answer = yield from part_of(super().job(question, placement), 0, 2, 3)
        scores = yield from part_of(scoring(question), 2, 1, 3)
        yield Progress(99, 100, "Colouring")
        for layer, image in zip(answer.layers, answer.result.images, strict=True):
            # napari colours up to 16 bits on the graphics card, and wider labels one by one, which takes seconds.
            if image.data.max() <= np.iinfo(np.uint16).max:
                layer.data = image.data.astype(np.uint16)
            layer.colormap = colour_states(image.table)
        return Comparison(answer.image_name, answer.result, answer.layers, scores)

    def show_answer(self, answer: Answer) -> None:
        """Add the layer, make its objects clickable, and fill the table."""
        super().show_answer(answer)
        assert isinstance(answer, Comparison)
        self.errors = answer.layers[0]
        self.errors.mouse_drag_callbacks.append(self._on_click)
        self.panel.show_comparison(answer.scores, answer.result.table)
        text = headline(answer.scores)
        self.bar.say(f"AP at 0.5 is {text['AP 0.5']}, mean AP {text['Mean AP']}. Click an object to see its row.")

    @showing_errors
    def go_to(self, label: int) -> None:
        """Select an object in the layer, and bring it into the middle of the view."""
        if self.errors is None or self.errors not in self.viewer.layers:
            return
        self.errors.selected_label = label
        row = self.errors.features[self.errors.features["index"] == label]
        names = [f"{axis} {end} (px)" for axis in "yx" for end in ("min", "max")]
        if len(row) == 0 or not all(name in row for name in names) or self.errors.ndim != 2:
            return
        top, bottom, left, right = (float(row[name].iloc[0]) for name in names)
        world = self.errors.data_to_world(((top + bottom) / 2, (left + right) / 2))
        camera_of(self.viewer).center = (0.0, *world)

    def _on_click(self, layer: Labels, event: Any) -> Iterator[None]:
        with shown_by(self.show_error):
            label = layer.get_value(
                event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
            )
            if label:
                self.panel.select(int(label))
        yield


def colour_states(table: dict[str, Any]) -> DirectLabelColormap:
    """Give every object the colour of its state."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    if table:
        states = zip(table["label"].tolist(), table["state"].tolist(), strict=True)
        colours |= {label: STATE_COLOURS[state] for label, state in states}
    return DirectLabelColormap(color_dict=colours)
