"""The settings of a training, made from their one declaration: those that matter first, and the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_tessera.gui.field import Field
from napari_tessera.gui.fields import make_field
from napari_tessera.gui.model_card import CARD_STYLE
from napari_tessera.gui.rows import Rows
from napari_tessera.gui.train_budget import BudgetBox
from napari_tessera.gui.train_lines import AsTallAsLines
from napari_tessera.gui.train_start import COCO, StartField
from napari_tessera.spec import Parameter
from napari_tessera.train.settings import DECLARATION, NOTHING

ABOVE_CLASSES = ("task",)
FIRST = ("network", "start_from", "ndim", "loss", "mask_loss", "class_weights", "gamma", "alpha")
LENGTHS = ("minutes", "epochs", "steps")
SAID_ELSEWHERE = (*LENGTHS, "painted", "classes", "name", "title")
OF_FILES = ("ignore", "noise", "inversion", "balance", "card", "summary", "licence", "cite", "save_every")
"""Settings for trainings on folders, or for models that are published."""
FIXED_BY_MODEL, FIXED_BY_COCO = ("widths", "diameter"), ("widths",)
NOT_WITH_DICE = ("class_weights",)
WHEN_TO_USE = {
    "combined": "Cross-entropy and half of Dice: steady, and fair to rare classes. Right for most images.",
    "dice": "Counts each class the same, however rare: for small or thin things on much background.",
    "weighted-ce": "Each pixel counts by the weight of its class: where one class matters more, as 1,10 for tumour.",
    "focal": "Looks at the pixels that are still wrong: where most of the image is easy and a little is hard.",
}
WEIGHTS_HINT = "all the same; balanced; or 1,5"


class TrainForm:
    """All settings of a training.

    Attributes
    ----------
    first, main, more : Rows
        The task, above the classes; what matters; and the rest.
    fields : dict of str to Field
    budget : BudgetBox
    advice : QLabel
        When to use the loss that is chosen.
    """

    def __init__(self) -> None:
        self.first, self.main, self.more = Rows(), Rows(), Rows()
        self.fields: dict[str, Field] = {}
        self.budget = BudgetBox()
        self.advice = QLabel()
        self.advice.setWordWrap(True)
        self.advice.setStyleSheet(CARD_STYLE)
        self.advice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._has_volumes = False
        known = {each.name: each for each in DECLARATION.parameters}
        for name in (*ABOVE_CLASSES, *FIRST, *known):
            if name in known and name not in (*self.fields, *SAID_ELSEWHERE, *OF_FILES):
                self._add(known[name])
        self.main.add("Train for", self.budget, self.budget.number.tooltip or "")
        for label in (self.start.below, self.advice):
            AsTallAsLines(label)
        self._hint_at_weights()
        self._follow()

    @property
    def start(self) -> StartField:
        """The box of models to start from."""
        field = self.fields["start_from"]
        assert isinstance(field, StartField)
        return field

    @property
    def values(self) -> dict[str, Any]:
        """The settings that matter, as `train.settings.Training` takes them."""
        shown = self._shown()
        values = {name: field.value for name, field in self.fields.items() if name in shown}
        return values | self._forced() | self.budget.value

    @values.setter
    def values(self, values: Mapping[str, Any]) -> None:
        # What to start from comes last: with another task or network, another model is chosen.
        for name, value in sorted(values.items(), key=lambda each: each[0] == "start_from"):
            if name in self.fields:
                self.fields[name].value = value
        lengths = {name: values[name] for name in LENGTHS if values.get(name) is not None}
        if len(lengths) == 1:
            self.budget.value = lengths

    def start_from(self, header: Mapping[str, Any], name: str) -> None:
        """Choose a model that was trained here to start from, with its network and its task."""
        network = header["training"]["settings"]["network"]
        self.values = {"network": network, "task": header["task"], "start_from": name}

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever any setting changes."""
        self.budget.on_change(callback)
        for field in self.fields.values():
            field.on_change(callback)

    def show_volumes(self, has_volumes: bool) -> None:
        """Ask whether to learn from planes or volumes only where there are volumes."""
        self._has_volumes = has_volumes
        self._follow()

    def restore_defaults(self) -> None:
        """Set every setting to what the declaration says, and start from the first model that suits."""
        self.values = {name: value for name, value in DECLARATION.defaults.items() if name not in LENGTHS}
        self.start.value = self.start.usual()

    def _rows_of(self, name: str) -> Rows:
        return self.first if name in ABOVE_CLASSES else self.main if name in FIRST else self.more

    def _add(self, parameter: Parameter) -> None:
        rows = self._rows_of(parameter.name)
        field = StartField(parameter) if parameter.name == "start_from" else make_field(parameter)
        self.fields[parameter.name] = field
        rows.add("" if field.has_own_title else field.title, field.native, field.widget.tooltip or "")
        if field.below is not None:
            rows.add_wide(field.below)
        if parameter.name == "loss":
            rows.add_wide(self.advice)
        field.on_change(self._follow)

    def _forced(self) -> dict[str, Any]:
        """Return what follows from the network: a Mask R-CNN finds objects, in planes."""
        return {"task": "objects", "ndim": 2} if self.fields["network"].value == "mask-rcnn" else {}

    def _shown(self) -> set[str]:
        values = {name: field.value for name, field in self.fields.items()} | self._forced()
        hidden = set(self._forced())
        if not self._has_volumes:
            hidden.add("ndim")
        if values["start_from"] != NOTHING:
            hidden.update(FIXED_BY_COCO if values["start_from"] == COCO else FIXED_BY_MODEL)
        if values["loss"] == "dice":
            hidden.update(NOT_WITH_DICE)
        matter = {name for name, field in self.fields.items() if field.parameter.matters(values)}
        return matter - hidden

    def _follow(self) -> None:
        forced = self._forced()
        network, task, ndim = (forced.get(n, self.fields[n].value) for n in ("network", "task", "ndim"))
        self.start.follow(network, task, ndim if self._has_volumes else 2)
        self.advice.setText(WHEN_TO_USE.get(self.fields["loss"].value, ""))
        shown = self._shown()
        for name, field in self.fields.items():
            self._rows_of(name).show_row(field.native, name in shown)

    def _hint_at_weights(self) -> None:
        self.fields["class_weights"].widget.native.setPlaceholderText(WEIGHTS_HINT)
