"""The rows that choose a method's input layers, and the meaning of the first layer's axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Layer, Points

from napari_tessera.core.errors import InputError
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Role, title_of
from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.form import Rows
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import (
    Placement,
    array_of,
    axis_names,
    is_rgb,
    labels_of,
    place,
    planes_shown,
    points_of,
    record_of,
    short_unit,
)
from napari_tessera.gui.method.mark_layers import MarkButtons

LETTERS = {
    "t": "T",
    "time": "T",
    "frame": "T",
    "z": "Z",
    "depth": "Z",
    "slice": "Z",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "y": "Y",
    "x": "X",
    "p": "P",
    "position": "P",
    "s": "S",
}
"""Names that viewers and file formats give to axes."""

LOOP_LETTERS = "TPSRQUVW"


def name_axes(ndim: int, is_rgb: bool, axis_labels: Sequence[str]) -> str | None:
    """Read the axes from a layer's axis labels; None if they do not name every axis.

    Parameters
    ----------
    ndim : int
        Axes of the layer, without RGB.
    is_rgb : bool
    axis_labels : sequence of str

    Examples
    --------
    >>> name_axes(3, False, ("t", "y", "x"))
    'TYX'
    """
    letters = [LETTERS.get(label.strip().lower(), "") for label in axis_labels]
    axes = "".join(letters)
    is_clear = len(axes) == ndim == len(set(axes)) and axes[-2:] == "YX" and not (is_rgb and "C" in axes)
    return axes + "C" * is_rgb if is_clear else None


def list_axes(
    ndim: int, is_rgb: bool, axis_labels: Sequence[str] = (), has_channels: bool = True
) -> list[tuple[str, str]]:
    """List the possible meanings of a layer's axes, the likeliest first.

    Parameters
    ----------
    ndim : int
        Axes of the layer, without RGB; at least 2.
    is_rgb : bool
    axis_labels : sequence of str
    has_channels : bool
        Whether an axis may hold channels (label images have none).

    Returns
    -------
    list of (str, str)
        Description, and one letter for each axis.

    Examples
    --------
    >>> list_axes(3, False)
    [('3-D volume', 'ZYX'), ('2-D planes, one by one', 'TYX'), ('2-D image, channels on axis 0', 'CYX')]
    """
    named = name_axes(ndim, is_rgb, axis_labels)
    loop_letters = _loop_letters(ndim, axis_labels)
    channel_places = [None] if is_rgb or not has_channels else [None, *range(ndim - 2)]
    found = [] if named is None or ("C" in named and not is_rgb and not has_channels) else [named]
    for channel_place in channel_places:
        for is_volume in (True, False):
            axes = _lettered(ndim, channel_place, is_volume, loop_letters)
            if axes is not None and axes + "C" * is_rgb not in found:
                found.append(axes + "C" * is_rgb)
    return [(describe_axes(axes, is_rgb), axes) for axes in found]


def describe_axes(axes: str, is_rgb: bool) -> str:
    """Describe how an image with these axes is processed."""
    n_loops = sum(axis not in "ZYXC" for axis in axes)
    one_by_one = ", one by one" if n_loops else ""
    what = "3-D volume" if "Z" in axes else "2-D plane" if n_loops else "2-D image"
    plural = "s" if n_loops else ""
    channels = f", channels on axis {axes.index('C')}" if "C" in axes and not is_rgb else ""
    return f"{what}{plural}{one_by_one}{channels}"


def _loop_letters(ndim: int, axis_labels: Sequence[str]) -> list[str]:
    """Return one letter for each axis but the last two, from its label if that names a loop axis."""
    wanted = [LETTERS.get(label.strip().lower(), "") for label in axis_labels[: ndim - 2]]
    wanted += [""] * (ndim - 2 - len(wanted))
    taken = {letter for letter in wanted if letter and letter in LOOP_LETTERS and wanted.count(letter) == 1}
    spare = (letter for letter in LOOP_LETTERS if letter not in taken)
    return [letter if letter in taken else next(spare) for letter in wanted]


def _lettered(ndim: int, channel_place: int | None, is_volume: bool, loop_letters: Sequence[str]) -> str | None:
    """Return the axes; Z of a volume is the last axis before Y and X that holds no channels."""
    letters = list(loop_letters)
    if channel_place is not None:
        letters[channel_place] = "C"
    if is_volume:
        free = [place for place in range(ndim - 2) if place != channel_place]
        if not free:
            return None
        letters[free[-1]] = "Z"
    return "".join(letters) + "YX"


HOW_TO_MARK = 'Press "New points layer" and click once in each object, or choose a layer of points or labels.'
AXES_HELP = "Meaning of the layer's sliders: planes of a volume, time points (or similar), or channels."


class InputsBox:
    """One layer box for each input, and the box of the axes.

    Attributes
    ----------
    boxes : dict of str to LayerBox
    axes_box : magicgui combo box
        Its value is the axes string, such as "TZYX".
    mark_buttons : list of MarkButtons
        Under the box of each input of points or labels.
    """

    def __init__(self, viewer: ViewerModel, method: Method, rows: Rows) -> None:
        self.method = method
        self._viewer = viewer
        self._rows = rows
        self._followed: Layer | None = None
        self._axes_chosen: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()
        self._callbacks: list[Callable[[], Any]] = []
        self.boxes = {entry.name: LayerBox.for_input(viewer, entry) for entry in method.inputs}
        self.axes_box = ComboBox(choices=[("2-D image", "YX")], tooltip=tooltip(AXES_HELP))
        let_shrink(self.axes_box.native)
        self.mark_buttons: list[MarkButtons] = []
        for number, (entry, box) in enumerate(zip(method.inputs, self.boxes.values(), strict=True)):
            rows.add(box.title, box.native, box.combo.tooltip or "")
            if number == 0:
                rows.add("Axes", self.axes_box.native, self.axes_box.tooltip or "")
            if Role.POINTS in entry.roles:
                self.mark_buttons.append(MarkButtons(self, entry))
                rows.add_wide(self.mark_buttons[-1])
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
                self._take_one_if_empty(box)
        self._rows.show_row(self.axes_box.native, len(self.axes_box.choices) > 1)

    def refresh(self, *_: Any) -> None:
        """Update the boxes after layers were added, removed or renamed."""
        had_none = self.main.layer is None
        for box in self.boxes.values():
            box.refresh()
        if had_none:
            self._preselect()
        for entry in self.method.inputs:
            if entry.shown_if and not self.boxes[entry.name].native.isHidden():
                self._take_one_if_empty(self.boxes[entry.name])

    def _take_one_if_empty(self, box: LayerBox) -> None:
        if box.layer is None:
            box.take_one([each.layer for each in self.boxes.values()])

    def main_layer(self) -> Layer:
        """Return the layer of the first input.

        Raises
        ------
        InputError
            If no layer is chosen.
        """
        layer = self.main.layer
        if layer is None:
            kind = "an image" if self.method.takes_image else "a labels layer"
            raise InputError(f"Open {kind} first: there is no layer to work on.")
        return layer

    def placement(self) -> Placement:
        """Return the position of the chosen layer."""
        return place(self.main_layer(), self.axes)

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arrays of the other inputs that these settings need, without empty ones.

        Raises
        ------
        InputError
            If an input that a setting requires is empty.
        """
        image = self.main_layer()
        found = {}
        for entry in self.method.inputs[1:]:
            layer = self.boxes[entry.name].layer
            if not entry.matters(values):
                continue
            if layer is None and entry.shown_if:
                raise InputError(_how_to_fill(self.boxes[entry.name].title, title_of(entry.shown_if[0].parameter)))
            if layer is None and Role.POINTS in entry.roles and not entry.is_optional:
                raise InputError(f"{title_of(entry.name)} is empty. {HOW_TO_MARK}")
            if layer is None:
                continue
            if isinstance(layer, Points):
                found[entry.name] = points_of(layer, image, self.axes, self._viewer.dims.point)
            else:
                found[entry.name] = labels_of(layer, self.axes)
        return found

    def notes(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a note for each points layer with fewer axes than the image: on which plane the points were put."""
        image = self.main_layer()
        planes = planes_shown(image, self.axes, self._viewer.dims.point)
        found = []
        for entry in self.method.inputs[1:]:
            layer = self.boxes[entry.name].layer
            if not isinstance(layer, Points) or not entry.matters(values):
                continue
            missing = self.axes[: max(image.ndim - layer.ndim, 0)].replace("C", "")
            if missing and len(layer.data):
                where = ", ".join(f"{axis} {planes[axis]}" for axis in missing)
                found.append(f"The {layer.ndim}-D points of {layer.name!r} were placed on the plane shown ({where}).")
        return tuple(found)

    def input_records(self) -> dict[str, Any]:
        """Return the records of the inputs that Tessera made."""
        records = {name: record_of(box.layer) for name, box in self.boxes.items()}
        return {name: record for name, record in records.items() if record is not None}

    def _preselect(self) -> None:
        taken: tuple[Layer | None, ...] = ()
        for box in reversed(self.boxes.values()):
            box.preselect(taken)
            taken += (box.layer,)

    def _on_layer(self, *_: Any) -> None:
        layer = self.main.layer
        self._follow(layer)
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
        for old, connect in ((self._followed, False), (layer, True)):
            if old is not None:
                for event in (old.events.scale, old.events.units, old.events.axis_labels):
                    (event.connect if connect else event.disconnect)(self._on_layer)
        self._followed = layer

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()


def _how_to_fill(title: str, asked_by: str) -> str:
    return (
        f"{title} is empty. Choose a labels layer, or add one (the tag button above the list of layers) and paint on "
        f"it; or choose another value for {asked_by}."
    )
