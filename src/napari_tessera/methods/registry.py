"""Every method, in one visible tuple. Adding a method is one line here and one module in `methods/`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from napari_tessera.core.errors import ParameterError, short
from napari_tessera.core.result import Kind
from napari_tessera.core.spec import Declaration, Input, Parameter, Role

if TYPE_CHECKING:
    from napari_tessera.core.blockwise import Overlapping, Settings, TwoPass

Join = Literal["touch", "overlap"]
FixedSettings = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Method:
    """A method's name and what cannot be read from its signature.

    Attributes
    ----------
    name : str
        Name of the function, and of the module in `napari_tessera.methods` that holds it.
    title : str
        Name on the widget and in the menus.
    kind : "objects", "segments", "classes" or "probabilities"
        What the labels are; a parameter `output`, where there is one, decides instead.
    join : "touch", "overlap" or None
        How objects cut by a block face are put together again; None where the method needs the whole image.
    """

    name: str
    title: str
    kind: Kind = "objects"
    join: Join | None = None

    @cached_property
    def module(self) -> ModuleType:
        """The module that holds the method, imported when first asked for."""
        return importlib.import_module(f"napari_tessera.methods.{self.name}")

    @property
    def function(self) -> Callable[..., Any]:
        """The method itself: arrays in, labels out, as a job."""
        function: Callable[..., Any] = getattr(self.module, self.name)
        return function

    @cached_property
    def declaration(self) -> Declaration:
        """What the signature and the docstring say."""
        return Declaration(self.function)

    @property
    def summary(self) -> str:
        """One line on what the method does."""
        return self.declaration.summary

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Arrays the method takes, the main one first."""
        return self.declaration.inputs

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Settings of the method."""
        return self.declaration.parameters

    @property
    def takes_image(self) -> bool:
        """Whether the main input is an image (otherwise it is labels)."""
        return self.inputs[0].roles == (Role.IMAGE,)

    def kind_of(self, parameters: Mapping[str, Any]) -> Kind:
        """Return what the labels are, or that they are none but probabilities, given the parameters."""
        return parameters.get("output", self.kind)

    def implied(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that follow from the inputs given: a mask needs the rule that takes it."""
        rules = [rule for entry in self.inputs[1:] if given.get(entry.name) is not None for rule in entry.shown_if]
        return {rule.parameter: rule.values[0] for rule in rules if rule.parameter not in given}

    def class_names(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the classes 1…K that the labels or the probabilities speak of; empty where nobody has named them."""
        names = getattr(self.module, "class_names", None)
        return () if names is None else names(parameters)

    @property
    def two_pass(self) -> TwoPass | None:
        """The method's two passes, where it has them: the module's constant of the method's name."""
        return getattr(self.module, self.name.upper(), None)

    def measured_over_whole(self, settings: Mapping[str, Any]) -> tuple[TwoPass, Settings, FixedSettings] | None:
        """Return what must be measured over the whole image before blocks can be labelled alike.

        Returns
        -------
        two_pass, settings, fix : or None where nothing must
            What to measure and how; `fix` turns the outcome into the settings for the blocks.
        """
        measured = getattr(self.module, "measured_over_whole", None)
        return None if measured is None else measured(**settings)

    def overlapping(self, settings: Mapping[str, Any]) -> Overlapping:
        """Return what is looked at over the whole image, and how blocks are labelled then, where they overlap.

        A module says it with `overlapping`; for one that has only `measured_over_whole` and `reach`, it follows.
        """
        own = getattr(self.module, "overlapping", None)
        if own is not None:
            return own(**settings)
        from napari_tessera.core.blockwise import from_parts

        return from_parts(self.function, self.reach, self.measured_over_whole(settings), settings)

    @property
    def block_px(self) -> Mapping[int, tuple[int, ...]] | None:
        """Sides of a block by the number of axes, where the usual ones do not suit: the module's `BLOCK_PX`."""
        return getattr(self.module, "BLOCK_PX", None)

    @property
    def smallest_block_px(self) -> Mapping[int, tuple[int, ...]]:
        """Smallest sides of a block by the number of axes: the module's `SMALLEST_BLOCK_PX`, where it has one."""
        return getattr(self.module, "SMALLEST_BLOCK_PX", {})

    @property
    def decisive(self) -> tuple[str, ...]:
        """Parameters to look at first where nothing was found: the module's `DECISIVE`, where it has one."""
        return getattr(self.module, "DECISIVE", ())

    def is_better_in_blocks(self, shape: tuple[int, ...], parameters: Mapping[str, Any]) -> bool:
        """Return whether one frame of `shape` (space only) takes so much memory as a whole that blocks are better."""
        says = getattr(self.module, "is_better_in_blocks", None)
        return self.join is not None and says is not None and says(shape, **parameters)

    def reach(self, parameters: Mapping[str, Any]) -> int | None:
        """How many pixels away the image can change a label; None if the method needs the whole image."""
        reach = getattr(self.module, "reach", None)
        return None if self.join is None or reach is None else reach(**parameters)


METHODS: tuple[Method, ...] = (
    Method("threshold", "Threshold", join="touch"),
    Method("region_growing", "Region growing"),
    Method("watershed", "Watershed", join="overlap"),
    Method("kmeans", "K-means", kind="classes", join="touch"),
    Method("unet", "U-Net", join="overlap"),
    Method("mask_rcnn", "Mask R-CNN", join="overlap"),
    Method("panoptic", "Panoptic", kind="segments"),
    Method("refine", "Refine labels"),
    Method("compare", "Compare with truth"),
)


def method_named(name: str) -> Method:
    """Find a method by its name.

    Raises
    ------
    ParameterError
        If there is none; the message names the nearest.
    """
    by_name = {method.name: method for method in METHODS}
    if isinstance(name, str) and (asked := name.replace("-", "_")) in by_name:
        return by_name[asked]
    near = difflib.get_close_matches(short(name).strip("'"), by_name, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(by_name)}."
    raise ParameterError(f"There is no method named {short(name)}. {hint}", "method")
