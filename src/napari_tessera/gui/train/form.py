"""The form of a training: its settings, length, start model, and the name of the new model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSizePolicy, QWidget

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.method import Parameter
from napari_tessera.gui.form.field import Field, fit_in_form
from napari_tessera.gui.form.form import make_field
from napari_tessera.gui.form.model_field import CARD_STYLE, ModelField
from napari_tessera.gui.form.number_field import LARGEST, NumberBox
from napari_tessera.gui.form.text import brief, tooltip
from napari_tessera.gui.qt.buttons import AskingButton
from napari_tessera.gui.qt.in_steps import Steps
from napari_tessera.gui.qt.layout import AsTallAsLines, Rows, fill, wrapped_label
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import CHECKPOINT
from napari_tessera.models.registry import ModelEntry
from napari_tessera.models.safetensors import ENDING
from napari_tessera.training.losses import LOSSES, loss_parameters
from napari_tessera.training.settings import DECLARATION, NOTHING, NetworkKind, usual_start

INITIAL_LENGTHS = {"minutes": 2.0, "epochs": 50.0, "steps": 500.0}
"""Default length in each unit, for a first try."""
HELP = (
    "Minutes: as many steps as fit into this time. Epochs: passes over the whole annotation. Steps: number of batches; "
    "gives the same weights for the same seed."
)

NUMBER_STYLE = "QAbstractSpinBox { padding: 1px 2px; }"
"""Smaller padding than napari's, so that six digits fit beside the unit."""
SPACING_PX = 4


class BudgetBox(QWidget):
    """The length of a training: a number and its unit."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = dict(INITIAL_LENGTHS)
        self.help = tooltip(HELP)
        self.number = NumberBox(min=0, max=LARGEST, tooltip=brief(self.help))
        self.unit = ComboBox(choices=list(INITIAL_LENGTHS), tooltip=brief(self.help))
        fit_in_form(self.number.native)
        fit_in_form(self.unit.native)
        self.number.native.setStyleSheet(NUMBER_STYLE)
        row = QHBoxLayout(self)
        fill(row, self.number.native, self.unit.native, spacing=SPACING_PX)
        row.setStretch(0, 6)
        row.setStretch(1, 5)
        self.unit.changed.connect(lambda _: self._show())
        self.number.changed.connect(self._keep)
        self._show()

    @property
    def value(self) -> dict[str, Any]:
        """The settings: one of minutes, epochs and steps."""
        unit, number = self.unit.value, self.number.value
        return {unit: round(number) if unit == "steps" else number}

    @value.setter
    def value(self, value: Mapping[str, Any]) -> None:
        ((unit, number),) = value.items()
        self._numbers[unit] = float(number)
        self.unit.value = unit
        self._show()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the length changes."""
        self.number.changed.connect(lambda *_: callback())
        self.unit.changed.connect(lambda *_: callback())

    def _keep(self, number: float) -> None:
        self._numbers[self.unit.value] = number

    def _show(self) -> None:
        unit = self.unit.value
        allowed = next(each.range for each in DECLARATION.parameters if each.name == unit)
        with self.number.changed.blocked():
            self.number.native.setDecimals(0 if unit == "steps" else 1)
            self.number.min = 0  # the number is still that of another unit
            self.number.max = min(allowed.high, LARGEST)
            self.number.value = self._numbers[unit]
            self.number.step = 1
            self.number.min = max(allowed.low, 0.1)


KINDS = {"unet": "unet", "mask-rcnn": "mask_rcnn"}
"""Networks that can be trained here, by their names in the settings, with their names in model files."""
USUAL = " (the usual start)"
FROM_NOTHING = "Nothing (random)"
COCO = "coco"
FROM_COCO = "COCO (everyday things)"
CARDS_OF_OTHERS = {
    NOTHING: "Trains on your annotation alone. Best for classes; objects need more annotation and more time.",
    COCO: "The published network, trained on everyday photographs: for objects that no model here finds. It is large, "
    "and downloaded once (170 MB).",
}


class StartField(ModelField):
    """The field of the model to start from; it offers those that fit network, task and dimensions."""

    def __init__(self, parameter: Parameter) -> None:
        self.network: NetworkKind = "unet"
        self.task, self.ndim = "objects", 2
        super().__init__(parameter)
        self.value = self.usual()

    def follow(self, network: NetworkKind, task: str, ndim: int) -> None:
        """Offer the models that fit these settings, and choose the usual one."""
        if (network, task, ndim) == (self.network, self.task, self.ndim):
            return  # otherwise every model file would be read again
        self.network, self.task, self.ndim = network, task, ndim
        self.value = self.usual()

    def usual(self) -> str:
        """Return the usual start: for objects in planes a shipped model, otherwise "nothing"."""
        return usual_start(self.network, self.task, self.ndim)

    def other_choices(self) -> list[tuple[str, str]]:
        """Return the choices of published weights and of random weights."""
        published = [(FROM_COCO, COCO)] if self.network == "mask-rcnn" else []
        return [*published, (FROM_NOTHING, NOTHING)]

    def _choices(self, _: Any = None) -> list[tuple[str, str]]:
        """Return the choices as titles and values; the usual start is named so if it is a model."""
        choices, usual = super()._choices(), self.usual()
        return [
            (f"{title}{USUAL}" if name == usual and usual in self.entries else title, name) for title, name in choices
        ]

    def _fits(self, entry: ModelEntry) -> bool:
        is_of_kind = entry.kind == KINDS[self.network] and entry.ndim == self.ndim
        return bool(entry.error) or (is_of_kind and (self.task == "classes" or entry.task == "objects"))

    def _show_card(self) -> None:
        if self.value in CARDS_OF_OTHERS:
            self.below.say(CARDS_OF_OTHERS[self.value])
        else:
            super()._show_card()


class ModelNaming(QWidget):
    """The name of one of the user's models, with buttons to rename and to delete it."""

    rename_asked = Signal(str, str)
    delete_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self.name = QLineEdit()
        self.name.setToolTip(tooltip("Name of the model."))
        self.rename_button = QPushButton("Rename")
        self.rename_button.clicked.connect(lambda: self.rename_asked.emit(self._model, self.name.text()))
        self.delete_button = AskingButton("Delete", "Delete for good?")
        self.delete_button.confirmed.connect(lambda: self.delete_asked.emit(self._model))
        fill(QHBoxLayout(self), self.name, self.rename_button, self.delete_button)

    def show_model(self, model: str) -> None:
        """Show the name of a model; without one, nothing."""
        if model != self._model:
            self._model = model
            self.name.setText(model)
        self.setVisible(bool(model))


ABOVE_CLASSES = ("task",)
FIRST_SETTINGS = ("network", "start_from", "ndim")
SECOND_SETTINGS = ("loss", "mask_loss", "class_weights", *loss_parameters())
"""The first of "More settings"."""
LENGTHS = ("minutes", "epochs", "steps")
NOT_IN_ROWS = (*LENGTHS, "painted", "classes", "name", "title")
OF_FILES = ("ignore", "noise", "inversion", "rescaling", "balance", "card", "summary", "licence", "cite", "save_every")
"""Settings for trainings on folders, or for models that are published."""
FIXED_BY_MODEL, FIXED_BY_COCO = ("widths", "diameter"), ("widths",)
WEIGHTS_HINT = "all the same; balanced; or 1,5"


class TrainForm:
    """All settings of a training; `add_fields` adds them, so that the rows can stand in the window before.

    Attributes
    ----------
    first, main, more : Rows
        The task, above the classes; the main settings; and those under "More settings".
    advice : QLabel
        When to use the loss that is chosen.
    """

    def __init__(self) -> None:
        self.first, self.main, self.more = Rows(), Rows(), Rows()
        self.fields: dict[str, Field] = {}
        self.budget = BudgetBox()
        self.naming = ModelNaming()
        self.advice = wrapped_label(CARD_STYLE)
        self.advice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._has_volumes = False

    def add_fields(self) -> Steps:
        """Add the fields, one in each step."""
        known = {each.name: each for each in DECLARATION.parameters}
        known["network"] = replace(known["network"], choices=tuple(KINDS))
        for name in (*ABOVE_CLASSES, *FIRST_SETTINGS, *SECOND_SETTINGS, *known):
            if name in known and name not in (*self.fields, *NOT_IN_ROWS, *OF_FILES):
                self._add(known[name])
                yield
        self.main.add("Train for", self.budget, self.budget.help)
        for label in (self.start.below, self.advice):
            AsTallAsLines(label)
        self.fields["class_weights"].widget.native.setPlaceholderText(WEIGHTS_HINT)
        self._follow()

    @property
    def start(self) -> StartField:
        """The box of models to start from."""
        field = self.fields["start_from"]
        assert isinstance(field, StartField)
        return field

    @property
    def values(self) -> dict[str, Any]:
        """The settings that have an effect, as `training.settings.Training` takes them."""
        shown = self._shown()
        values = {name: field.value for name, field in self.fields.items() if name in shown}
        return values | self._forced() | self.budget.value

    @values.setter
    def values(self, values: Mapping[str, Any]) -> None:
        # `start_from` comes last, since a change of task or network chooses another model.
        for name, value in sorted(values.items(), key=lambda each: each[0] == "start_from"):
            if name in self.fields:
                self.fields[name].value = value
        lengths = {name: values[name] for name in LENGTHS if values.get(name) is not None}
        if len(lengths) == 1:
            self.budget.value = lengths

    def start_from(self, header: Mapping[str, Any], name: str) -> None:
        """Start from a model that was trained here, with its network and its task."""
        network = header["training"]["settings"]["network"]
        self.values = {"network": network, "task": header["task"], "start_from": name}

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever any setting changes."""
        self.budget.on_change(callback)
        for field in self.fields.values():
            field.on_change(callback)

    def show_volumes(self, has_volumes: bool) -> None:
        """Show the choice between planes and volumes only for volumes."""
        self._has_volumes = has_volumes
        self._follow()

    def restore_defaults(self) -> None:
        """Set every setting to its default, and start from the usual model."""
        self.values = {name: value for name, value in DECLARATION.defaults.items() if name not in LENGTHS}
        self.start.value = self.start.usual()

    def _rows_of(self, name: str) -> Rows:
        return self.first if name in ABOVE_CLASSES else self.main if name in FIRST_SETTINGS else self.more

    def _add(self, parameter: Parameter) -> None:
        rows = self._rows_of(parameter.name)
        field = StartField(parameter) if parameter.name == "start_from" else make_field(parameter)
        self.fields[parameter.name] = field
        rows.add("" if field.has_own_title else field.title, field.native, field.help)
        if field.below is not None:
            rows.add_wide(field.below)
        if parameter.name == "start_from":
            rows.add_wide(self.naming)
        if parameter.name == "loss":
            rows.add_wide(self.advice)
        field.on_change(self._follow)

    def _forced(self) -> dict[str, Any]:
        """Return the settings that follow from the network: a Mask R-CNN finds objects in planes."""
        return {"task": "objects", "ndim": 2} if self.fields["network"].value == "mask-rcnn" else {}

    def _shown(self) -> set[str]:
        values = {name: field.value for name, field in self.fields.items()} | self._forced()
        hidden = set(self._forced())
        if not self._has_volumes:
            hidden.add("ndim")
        if values["start_from"] != NOTHING:
            hidden.update(FIXED_BY_COCO if values["start_from"] == COCO else FIXED_BY_MODEL)
        matter = {name for name, field in self.fields.items() if field.parameter.matters(values)}
        return matter - hidden

    def _follow(self) -> None:
        forced = self._forced()
        network, task, ndim = (forced.get(n, self.fields[n].value) for n in ("network", "task", "ndim"))
        self.start.follow(network, task, ndim if self._has_volumes else 2)
        entry = self.start.entries.get(self.start.value)
        self.naming.show_model(entry.name if entry is not None and not entry.is_shipped else "")
        self.advice.setText(LOSSES[self.fields["loss"].value].when_to_use)
        shown = self._shown()
        for name, field in self.fields.items():
            self._rows_of(name).show_row(field.native, name in shown)


FIRST_NAME = "fine-tuned"


def free_name(wish: str = FIRST_NAME) -> str:
    """Return `wish`, or a similar name that is not used by a model or an interrupted training."""
    names = (f"{wish}-{number}" if number > 1 else wish for number in itertools.count(1))
    return next(name for name in names if not is_taken(name) and not _file(name, ENDING + CHECKPOINT).exists())


def is_taken(name: str) -> bool:
    """Return whether a model has this name."""
    is_shipped = any(entry.name.casefold() == name.casefold() for entry in catalogue.shipped_models())
    return is_shipped or _file(name).exists()


def path_for(name: str) -> Path:
    """Return the path of a new model with this name.

    Raises
    ------
    ParameterError
        If the name is not valid, or a model has it.
    """
    name = catalogue.checked_name(name.strip())
    if is_taken(name):
        raise ParameterError(
            f'A model {name!r} exists already, and models are never replaced. Give another name under "Save as", such '
            f"as {free_name(name)!r}.",
            "name",
        )
    return _file(name)


def _file(name: str, ending: str = ENDING) -> Path:
    return catalogue.user_folder() / (name + ending)
