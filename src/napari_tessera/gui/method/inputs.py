"""The rows that choose a method's input layers and the meaning of the first layer's axes, or add layers for marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Layer, Points
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.method import Input, Method
from napari_tessera.core.spec import Role
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.form import Rows
from napari_tessera.gui.form.layer_combo import LAYER_TYPES, LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import empty_labels, empty_points, may_be_marks
from napari_tessera.gui.layers.read import (
    Placement,
    array_of,
    axis_names,
    is_panoptic,
    is_rgb,
    labels_of,
    list_axes,
    numbers_of,
    place,
    planes_shown,
    points_of,
    record_of,
    short_unit,
)
from napari_tessera.gui.open_image import OtherImages
from napari_tessera.gui.qt.layout import fill
from napari_tessera.gui.qt.worker import showing_errors

HOW_TO_MARK = 'Press "New points layer" and click once in each object, or choose a layer of points or labels.'
TRUTH = "truth"
"""Name of the input that holds the right labels, and of layers that hold them."""
HELP_IN_WINDOW = {
    "image": "The image to work on. It is the one selected in the list of layers, until you choose another here.",
    "labels": "The labels to clean up. The layer stays as it is; the result is a new one.",
    "seeds": "A point, or a painted stroke, in each object. Each painted number is one seed.",
    "truth": "The labels that are right.",
    "prediction": "The labels to judge.",
}
"""In place of what the docstrings say of arrays."""
AXES_HELP = "Meaning of the layer's sliders: planes of a volume, time points (or similar), or channels."


class InputsBox:
    """One layer box for each input, and the box of the axes, whose value is a string such as "TZYX"."""

    def __init__(self, viewer: ViewerModel, method: Method, rows: Rows) -> None:
        self.method = method
        self._viewer = viewer
        self._rows = rows
        self._followed: Layer | None = None
        self._axes_chosen: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()
        self._callbacks: list[Callable[[], Any]] = []
        self.boxes = {}
        titles = method.declaration.titles
        for number, entry in enumerate(method.inputs):
            types, text = tuple(LAYER_TYPES[role] for role in entry.roles), HELP_IN_WINDOW.get(entry.name, entry.help)
            # Without "(none)", a box chooses its first layer by itself.
            self.boxes[entry.name] = LayerBox(viewer, types, entry.title, tooltip(text, titles), is_optional=number > 0)
        self.axes_box = ComboBox(choices=[("2-D image", "YX")], tooltip=tooltip(AXES_HELP))
        fit_in_form(self.axes_box.native)
        self.mark_buttons: list[MarkButtons] = []
        for number, (entry, box) in enumerate(zip(method.inputs, self.boxes.values(), strict=True)):
            rows.add(box.title, box.native, box.help)
            if number == 0:
                rows.add("Axes", self.axes_box.native, self.axes_box.tooltip or "")
            if Role.POINTS in entry.roles:
                self.mark_buttons.append(MarkButtons(self, entry))
                rows.add_wide(self.mark_buttons[-1])
        self.other_images = OtherImages(viewer, self._on_layer)
        rows.add_wide(self.other_images)
        self._preselect()
        for box in self.boxes.values():
            box.on_change(self._on_layer)
        self.axes_box.changed.connect(self._on_axes)
        self._on_layer()

    @property
    def main(self) -> LayerBox:
        """The box of the first input."""
        return next(iter(self.boxes.values()))

    @property
    def axes(self) -> str:
        """One letter for each axis of the first input's array."""
        return self.axes_box.value

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Pixel size of the chosen layer along its axes among z, y, x; None if unit and scale are unknown."""
        layer = self.main.layer
        if layer is None:
            return None
        spacing = place(layer, self.axes).spatial.spacing
        return None if short_unit(layer) == "px" and set(spacing) == {1.0} else spacing

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever another layer or other axes are chosen, or the chosen layer moves."""
        self._callbacks.append(callback)

    def show_rows(self, values: Mapping[str, Any]) -> None:
        """Show the boxes that these settings need; a box that appears chooses a layer if there is one."""
        for entry in self.method.inputs:
            box = self.boxes[entry.name]
            is_asked_for = entry.matters(values) and bool(entry.shown_if) and box.native.isHidden()
            self._rows.show_row(box.native, entry.matters(values))
            if is_asked_for:
                self._take_one_if_empty(entry)
        self._rows.show_row(self.axes_box.native, len(self.axes_box.choices) > 1)

    def refresh(self, *_: Any) -> None:
        """Update the boxes after layers were added, removed or renamed."""
        is_chosen = all(box.layer is not None for box in (self.boxes.values() if self.has_truth else [self.main]))
        for box in self.boxes.values():
            box.refresh()
        if not is_chosen:
            self._preselect()
        for entry in self.method.inputs[1:]:
            is_shown = entry.shown_if and not self.boxes[entry.name].native.isHidden()
            if is_shown or not (entry.shown_if or entry.is_optional):
                self._take_one_if_empty(entry)

    @property
    def has_truth(self) -> bool:
        """Whether the first input is the truth, which is not the layer that the user selects."""
        return self.method.inputs[0].name == TRUTH

    def _take_one_if_empty(self, entry: Input) -> None:
        if self.boxes[entry.name].layer is None:
            taken = [each.layer for each in self.boxes.values()]
            self.boxes[entry.name].take_one(taken, fits=partial(self._fits, entry))

    def _fits(self, entry: Input, layer: Layer) -> bool:
        """Return whether a layer may be chosen unasked for an input."""
        if Role.POINTS in entry.roles:
            return may_be_marks(layer, entry.name)
        if not self.has_truth:
            return True
        if entry.name == TRUTH:
            return is_truth(layer) or not any(is_truth(each) for each in self.main.offered())
        made_by = (record_of(layer) or {}).get("method")
        return not is_truth(layer) and made_by != self.method.name

    def main_layer(self) -> Layer:
        """Return the layer of the first input; raise InputError if no layer is chosen."""
        if self.main.layer is None:
            kind = "an image" if self.method.takes_image else "a labels layer"
            raise InputError(f"Open {kind} first: there is no layer to work on.")
        return self.main.layer

    def placement(self) -> Placement:
        """Return the position of the chosen layer."""
        return place(self.main_layer(), self.axes)

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arrays of the other inputs that these settings need; raise InputError if one is missing."""
        image = self.main_layer()
        found = {}
        for entry in self._other_inputs(values):
            layer = self.boxes[entry.name].layer
            if isinstance(layer, Points):
                found[entry.name] = points_of(layer, image, self.axes, self._viewer.dims.point)
            elif layer is not None:
                found[entry.name] = labels_of(layer, self.axes)
            elif entry.shown_if:
                raise InputError(
                    f"{self.boxes[entry.name].title} is empty. Choose a labels layer, or add one (the tag button above "
                    "the list of layers) and paint on it; or choose another value for "
                    f"{self.method.declaration.titles[entry.shown_if[0].parameter]}."
                )
            elif Role.POINTS in entry.roles and not entry.is_optional:
                raise InputError(f"{entry.title} is empty. {HOW_TO_MARK}")
            elif not entry.is_optional:
                raise InputError(f"{entry.title} is empty. Choose a labels layer.")
        return found

    def things(self) -> dict[str, np.ndarray]:
        """Return the new numbers of the labels of inputs that are panoptic results; see `numbers_of`."""
        layers = {name: box.layer for name, box in self.boxes.items() if is_panoptic(box.layer)}
        return {name: numbers_of(layer, "stuff" if name == "stuff" else "thing") for name, layer in layers.items()}

    def _other_inputs(self, values: Mapping[str, Any]) -> list[Input]:
        return [entry for entry in self.method.inputs[1:] if entry.matters(values)]

    def notes(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a note for each points layer with fewer axes than the image: on which plane the points were put."""
        image = self.main_layer()
        planes = planes_shown(image, self.axes, self._viewer.dims.point)
        found = []
        for layer in (self.boxes[entry.name].layer for entry in self._other_inputs(values)):
            if not isinstance(layer, Points):
                continue
            missing = self.axes[: max(image.ndim - layer.ndim, 0)].replace("C", "")
            if missing and len(layer.data):
                where = ", ".join(f"{axis} {planes[axis]}" for axis in missing)
                found.append(f"The {layer.ndim}-D points of {layer.name!r} were placed on the plane shown ({where}).")
        for name in self.things():
            what = "regions (stuff)" if name == "stuff" else "objects (things)"
            found.append(
                f"{self.boxes[name].title}: only the {what} of {self.boxes[name].combo.current_choice!r} count."
            )
        return tuple(found)

    def input_records(self) -> dict[str, Any]:
        """Return the records of the inputs that Tessera made."""
        records = {name: record_of(box.layer) for name, box in self.boxes.items()}
        return {name: record for name, record in records.items() if record is not None}

    def _preselect(self) -> None:
        taken: list[Layer | None] = []
        for entry in reversed(self.method.inputs):
            box = self.boxes[entry.name]
            box.take_one(taken, only_active=entry.is_optional, fits=partial(self._fits, entry))
            taken.append(box.layer)
        for box in list(self.boxes.values())[1:]:
            if box.layer is self.main.layer:  # the only one
                box.combo.value = None

    def _on_layer(self, *_: Any) -> None:
        layer = self.main.layer
        self._follow(layer)
        self.other_images.follow(layer)
        if layer is not None and array_of(layer).ndim >= 2:
            choices = list_axes(layer.ndim, is_rgb(layer), axis_names(layer), self.method.takes_image)
            with self.axes_box.changed.blocked():
                self.axes_box.choices = choices
                letters = [axes for _, axes in choices]
                chosen = self._axes_chosen.get(layer)
                self.axes_box.value = chosen if chosen in letters else letters[0]
        self._tell()

    def _on_axes(self, axes: str) -> None:
        if (layer := self.main.layer) is not None:
            self._axes_chosen[layer] = axes
        self._tell()

    def _follow(self, layer: Layer | None) -> None:
        """Follow changes of the chosen layer's position."""
        if layer is self._followed:
            return
        for event in _placing_events(self._followed):
            event.disconnect(self._on_layer)
        for event in _placing_events(layer):
            event.connect(self._on_layer)
        self._followed = layer

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()


def is_truth(layer: Layer) -> bool:
    """Return whether a layer is named truth, and is not a result made from it."""
    return TRUTH in layer.name.lower() and record_of(layer) is None


def _placing_events(layer: Layer | None) -> tuple[Any, ...]:
    return () if layer is None else (layer.events.scale, layer.events.units, layer.events.axis_labels)


class FollowedLayer:
    """Chooses the layer that the user selects in the viewer, unless the user chose one in the box."""

    def __init__(self, box: LayerBox, is_following: bool = True) -> None:
        self._box, self._viewer, self._is_following = box, box.viewer, is_following
        self._chosen: Layer | None = None
        self._framed: Layer | None = None
        self._is_paused = False
        self._active = self._viewer.layers.selection.active
        self._viewer.layers.selection.events.active.connect(self.update)
        box.native.activated.connect(self._on_chosen)

    def update(self, *_: Any) -> None:
        """Choose the selected layer if another one was selected."""
        active = self._viewer.layers.selection.active
        if active is not None and active is not self._active and not self._is_paused:
            self._active = active if active in self._box.combo.choices else self._active
            if self._is_following and (self._chosen is None or self._chosen not in self._viewer.layers):
                self._box.layer = active

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stay with the chosen layer while the program selects others, such as new results."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused, self._active = False, self._viewer.layers.selection.active

    def show_frame(self, is_shown: bool) -> None:
        """Draw a frame around the chosen layer, if there are others to choose."""
        layer = self._box.layer if is_shown and len(self._box.offered()) > 1 else None
        if self._framed is not None and self._framed is not layer:
            self._framed.bounding_box.visible, self._framed = False, None
        if layer is not None and not layer.bounding_box.visible:  # otherwise the user's own frame is shown
            layer.bounding_box.visible, self._framed = True, layer

    def close(self) -> None:
        """Stop following."""
        self._viewer.layers.selection.events.active.disconnect(self.update)
        self.show_frame(False)

    def _on_chosen(self, *_: Any) -> None:
        self._chosen = self._box.layer


POINTS_HELP = "Add an empty points layer over the image, and click once in each object."
PAINT_HELP = (
    "Add an empty labels layer over the image, and paint a stroke in each object, each with a number of its own (M "
    "takes the next number)."
)
CLICK = "Click once in each object"
PAINT = "Paint a stroke in each object; press M before the next one"


class MarkButtons(QWidget):
    """Adds an empty layer for the seeds or markers of a method, and chooses it; `added` says what to do with it."""

    added = Signal(str)
    failed = Signal(object)

    def __init__(self, inputs: InputsBox, entry: Input) -> None:
        super().__init__()
        self._inputs, self._entry = inputs, entry
        self.points_button = self._button("New points layer", POINTS_HELP, self.add_points)
        self.labels_button = self._button(f"New {entry.name} layer", PAINT_HELP, self.add_labels)
        fill(QHBoxLayout(self), self.points_button, self.labels_button)

    @showing_errors
    def add_points(self) -> None:
        """Add a points layer, in the mode that adds a point with each click."""
        self._add(empty_points, "add", CLICK)

    @showing_errors
    def add_labels(self) -> None:
        """Add a labels layer, with the brush ready."""
        self._add(empty_labels, "paint", PAINT)

    def show_error(self, error: BaseException) -> None:
        """Pass on what went wrong."""
        self.failed.emit(error)

    def _add(self, make: Callable[[Layer, str, str], Layer], mode: str, what_to_do: str) -> None:
        image, box = self._inputs.main_layer(), self._inputs.boxes[self._entry.name]
        layer = make(image, self._inputs.axes, f"{image.name} · {self._entry.name}")
        box.viewer.add_layer(layer)
        box.viewer.layers.selection.active = layer
        box.refresh()
        box.layer = layer
        layer.mode = mode
        self.added.emit(f"{what_to_do}, then press Run.")

    def _button(self, title: str, text: str, action: Callable[[], None]) -> QPushButton:
        button = QPushButton(title)
        button.setToolTip(tooltip(text))
        button.clicked.connect(lambda: action())
        return button
