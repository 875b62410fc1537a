"""The `Method` class: what each method's module declares for the registry and the front ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from napari_tessera.core.result import Kind
from napari_tessera.core.spec import Declaration, Input, Parameter, Role

if TYPE_CHECKING:
    from napari_tessera.core.blockwise import Overlapping, Settings, TwoPass

Join = Literal["touch", "overlap"]
FixedSettings = Callable[[dict[str, Any]], dict[str, Any]]
PREVIEW_PX = 500_000
"""About a screen; most methods need about a tenth of a second for it."""


@dataclass(frozen=True, eq=False, repr=False)
class Method:
    """A method's function, with the facts that its signature does not contain.

    The callables take all settings of the method as keywords.

    Attributes
    ----------
    function : callable
        Arrays in, labels out, as a job. The method, its module and its command have the same name.
    title : str
        Name on the widget and in the menus.
    output : "objects", "segments", "classes" or "probabilities"
        What the labels are; a parameter `output` of the method overrides it.
    join : "touch", "overlap" or None
        How objects cut by a block face are joined; None if the method needs the whole image.
    look_first : tuple of str
        Parameters to check first if nothing was found.
    has_preview : bool
        Whether the widget has a live preview.
    preview_px : int
        How many pixels a preview can have to take about a tenth of a second.
    two_pass : TwoPass or None
        The method's two passes, if it has them.
    reach : callable (**settings) -> int, optional
        For a method with overlapping blocks: how far away, in pixels, the image can change a label.
    measured_over_whole : callable (**settings) -> (TwoPass, settings, fix) or None
        What must be measured over the whole image before blocks can be labelled; `fix` turns the measurement into the
        settings for the blocks.
    overlapping : callable (**settings) -> Overlapping, optional
        What is examined over the whole image, and how overlapping blocks are then labelled. The default is made from
        `measured_over_whole` and `reach`.
    is_better_in_blocks : callable (shape, **settings) -> bool
        Whether one frame of `shape` (space only) needs so much memory that blocks are better.
    class_names : callable (**settings) -> tuple of str
        Names of the classes 1…K of the labels or the probabilities; empty if they have no names.
    block_px : dict of int to tuple of int, optional
        Sides of a block by the number of axes, instead of the default.
    smallest_block_px : dict of int to tuple of int
        Smallest sides of a block by the number of axes.
    """

    function: Callable[..., Any]
    title: str
    output: Kind = "objects"
    join: Join | None = None
    look_first: tuple[str, ...] = ()
    has_preview: bool = False
    preview_px: int = PREVIEW_PX
    two_pass: TwoPass | None = None
    reach: Callable[..., int] | None = None
    measured_over_whole: Callable[..., tuple[TwoPass, Settings, FixedSettings] | None] = lambda **_: None
    overlapping: Callable[..., Overlapping] | None = None
    is_better_in_blocks: Callable[..., bool] = lambda shape, **_: False
    class_names: Callable[..., tuple[str, ...]] = lambda **_: ()
    block_px: Mapping[int, tuple[int, ...]] | None = None
    smallest_block_px: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Method({self.name}, {self.title!r})"

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.function.__name__

    @cached_property
    def declaration(self) -> Declaration:
        """The parsed signature and docstring."""
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
        """Return what the labels are, given the parameters."""
        return parameters.get("output", self.output)

    def implied(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that follow from the given inputs: a mask needs the rule that uses it."""
        rules = [rule for entry in self.inputs[1:] if given.get(entry.name) is not None for rule in entry.shown_if]
        return {rule.parameter: rule.values[0] for rule in rules if rule.parameter not in given}

    def block_plan(self, settings: Mapping[str, Any]) -> Overlapping:
        """Return how the whole image is examined, and overlapping blocks are labelled."""
        if self.overlapping is not None:
            return self.overlapping(**settings)
        from napari_tessera.core.blockwise import from_parts

        return from_parts(self.function, self.reach, self.measured_over_whole(**settings), settings)
