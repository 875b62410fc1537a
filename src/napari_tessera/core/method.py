"""A method and its declaration: inputs and parameters, read from the signature and docstring of its function."""

from __future__ import annotations

import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import docstring_parser
import numpy as np

from napari_tessera.core.errors import ParameterError, did_you_mean, short
from napari_tessera.core.result import Kind
from napari_tessera.core.spec import (
    ARRAYS,
    AUTO,
    Advanced,
    Choices,
    CommaSeparated,
    FromModel,
    ModelName,
    NeedsAxis,
    NoneMeans,
    Range,
    Role,
    ShownIf,
    Title,
    title_of,
)

Metadata = TypeVar("Metadata")

if TYPE_CHECKING:
    from napari_tessera.core.blockwise import Overlapping, Settings, TwoPass
    from napari_tessera.core.jobs import Job

LARGEST_WHOLE = 2**53
"""Up to here floating-point numbers hold integers exactly."""
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Parameter:
    """One setting of a method."""

    name: str
    kind: type  # bool, int, float or str
    default: Any
    is_optional: bool  # None is allowed; `none` is its meaning
    choices: tuple[Any, ...]  # allowed values, or () if `range` defines them
    range: Range
    shown_if: tuple[ShownIf, ...]  # all must hold for the parameter to have an effect
    help: str
    model: ModelName | None = None
    none: str = AUTO.word  # word for None in the window and on the command line
    is_list: bool = False  # the text is a list with commas between
    title: str = ""
    choice_titles: Mapping[str, str] = field(default_factory=dict, hash=False)  # where the value does not give them
    needs_axis: str = ""  # axis that an image must have for the parameter to have an effect
    is_advanced: bool = False
    from_model: str = ""  # field of the model's header that gives the value where it is None

    def choice_title(self, value: Any) -> str:
        """Turn a choice such as "local-mean" into what a form shows, "Local mean"."""
        return self.choice_titles.get(value) or title_of(str(value))

    def matters(self, values: Mapping[str, Any]) -> bool:
        """Return whether the parameter has an effect, given the values of the others."""
        return all(values.get(rule.parameter) in rule.values for rule in self.shown_if)

    def checked(self, value: Any, method: str) -> Any:
        """Return `value` as the declared type, or raise a `ParameterError` that names the parameter."""
        if value is None and self.is_optional:
            return None
        if self.choices:
            return self._checked_choice(value, method)
        if self.kind is bool and isinstance(value, bool | np.bool_):
            return bool(value)
        if self.kind in (int, float):
            return self._checked_number(value, method)
        if self.is_list and isinstance(value, list | tuple):
            return self._joined(value, method)
        if self.kind is not str or not isinstance(value, str):
            raise self._error(method, value, self.describe_range())
        return value

    def _joined(self, values: Sequence[Any], method: str) -> str:
        parts = [str(each) for each in values if isinstance(each, str | int | float | np.integer | np.floating)]
        if len(parts) < len(values) or any("," in part for part in parts):
            raise self._error(method, values, "a list of texts or numbers without commas")
        return ",".join(parts)

    def _checked_choice(self, value: Any, method: str) -> Any:
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise self._error(method, value, self.describe_range())

    def _checked_number(self, value: Any, method: str) -> int | float:
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not is_number or (self.kind is int and value != value // 1):
            raise self._error(method, value, "a whole number" if self.kind is int else "a number")
        largest = min(self.range.high, LARGEST_WHOLE if self.kind is int else LARGEST)
        if not max(self.range.low, -largest) <= value <= largest:
            most = f", at most {largest:.4g}" if math.isinf(self.range.high) else ""
            raise self._error(method, value, self.describe_range() + most)
        return self.kind(value)

    def describe_range(self) -> str:
        """Describe the allowed values."""
        low, high = self.range.low, self.range.high
        unit = f" {self.range.unit}" if self.range.unit not in ("", "intensity") else ""
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        if self.kind is bool:
            return "True or False"
        if self.is_list:
            return "a list, or a text with commas"
        if self.kind is str:
            return "a text" if self.model is None else "the name of a model, or the path of a model file"
        if math.isinf(low) and math.isinf(high):
            return f"any number{unit}"
        if math.isinf(high):
            return f"{low:.10g} or more{unit}"
        return f"{low:.10g} to {high:.10g}{unit}"

    def _error(self, method: str, value: Any, needed: str) -> ParameterError:
        needed += " (or None)" if self.is_optional else ""
        return ParameterError(f"{method}: `{self.name}` is {short(value)}, but it must be {needed}.", self.name)


CONTEXT = (Role.SPACING, Role.CHANNEL_AXIS, Role.VALID)


@dataclass(frozen=True)
class Input:
    """One array that a method takes: an image, labels or points."""

    name: str
    roles: tuple[Role, ...]  # what may be given, in order of preference
    is_optional: bool
    shown_if: tuple[ShownIf, ...]
    help: str
    title: str

    def matters(self, values: Mapping[str, Any]) -> bool:
        """Return whether the input has an effect, given the values of the parameters."""
        return all(values.get(rule.parameter) in rule.values for rule in self.shown_if)


@dataclass(frozen=True)
class Declaration:
    """A function's inputs, parameters and help, from its signature and docstring."""

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """The function's name, which is also the method's name."""
        return self.function.__name__

    @cached_property
    def docstring(self) -> docstring_parser.Docstring:
        """The parsed numpydoc docstring."""
        return docstring_parser.parse(inspect.getdoc(self.function) or "", docstring_parser.DocstringStyle.NUMPYDOC)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.docstring.short_description or ""

    @cached_property
    def _arguments(self) -> dict[str, tuple[inspect.Parameter, Any, str]]:
        hints = typing.get_type_hints(self.function, include_extras=True)
        helps = {
            name: " ".join((entry.description or "").split())
            for entry in self.docstring.params
            for name in entry.arg_name.split(", ")
        }
        signature = inspect.signature(self.function)
        return {name: (argument, hints[name], helps.get(name, "")) for name, argument in signature.parameters.items()}

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Arrays the method takes, the image first."""
        return tuple(
            Input(name, roles, argument.default is None, _each(ShownIf, hint), text, _title(name, hint))
            for name, (argument, hint, text) in self._arguments.items()
            if (roles := _each(Role, hint)) and roles[0] not in CONTEXT
        )

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Settings of the method, in the order of the signature."""
        return tuple(
            _parameter(name, argument.default, hint, text)
            for name, (argument, hint, text) in self._arguments.items()
            if not _each(Role, hint)
        )

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Names of the arguments that describe the image (such as `spacing`), which the caller supplies."""
        return tuple(name for name, (_, hint, _) in self._arguments.items() if set(_each(Role, hint)) & set(CONTEXT))

    @cached_property
    def has_more_than_labels(self) -> bool:
        """Whether the function returns more than labels, such as a table."""
        returned = typing.get_type_hints(self.function, include_extras=True)["return"]
        return Role.LABELS not in _each(Role, typing.get_args(returned)[-1])

    @property
    def returned_names(self) -> tuple[str, ...]:
        """Names of what is returned, as the docstring lists them."""
        return tuple(entry.return_name for entry in self.docstring.many_returns if entry.return_name)

    @cached_property
    def plain_signature(self) -> inspect.Signature:
        """The signature as a reader needs it: types without choices, ranges and units, which the docstring explains."""
        kinds = {each.name: str | Sequence[str] if each.is_list else each.kind for each in self.parameters}
        arguments = []
        for name, (argument, hint, _) in self._arguments.items():
            kind = kinds.get(name, _bare(hint)[0])
            arguments.append(argument.replace(annotation=kind | None if argument.default is None else kind))
        returned = ARRAYS.get(self.returned_names, tuple) if self.has_more_than_labels else np.ndarray
        return inspect.Signature(arguments, return_annotation=returned)

    @property
    def titles(self) -> dict[str, str]:
        """Title in a form of each input and parameter."""
        return {each.name: each.title for each in self.inputs} | {each.name: each.title for each in self.parameters}

    @property
    def defaults(self) -> dict[str, Any]:
        """Default of each parameter."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def unknown(self, name: str) -> ParameterError:
        """Return the error for an unknown parameter."""
        near = did_you_mean(name, [*(entry.name for entry in self.inputs[1:]), *self.defaults])
        hint = near or f"It has: {', '.join(self.defaults)}."
        return ParameterError(f"{self.name}: there is no parameter `{name}`. {hint}", name)

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in defaults and check every value; raises `ParameterError` if one is unknown or out of range."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise self.unknown(name)
        return {
            name: parameter.checked(values.get(name, parameter.default), self.name) for name, parameter in known.items()
        }


def _members(hint: Any) -> list[Any]:
    """Return the members of a union without None, or the hint itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(hint) if member is not type(None)]
    return [hint]


def _metadata(hint: Any) -> list[Any]:
    """Return all metadata in `Annotated[...]`, through unions and nested annotations."""
    found: list[Any] = []
    for member in _members(hint):
        if typing.get_origin(member) is Annotated:
            inner, *extra = typing.get_args(member)
            found += _metadata(inner) + extra
    return found


def _each(kind: type[Metadata], hint: Any) -> tuple[Metadata, ...]:
    """Return the metadata of one kind."""
    return tuple(item for item in _metadata(hint) if isinstance(item, kind))


def _bare(hint: Any) -> list[Any]:
    """Return the types of the hint without annotations and without None."""
    bare: list[Any] = []
    for member in _members(hint):
        bare += _bare(typing.get_args(member)[0]) if typing.get_origin(member) is Annotated else [member]
    return bare


def _title(name: str, hint: Any) -> str:
    """Return the title in a form."""
    return next((given.text for given in _each(Title, hint)), title_of(name))


def _parameter(name: str, default: Any, hint: Any, text: str) -> Parameter:
    (kind,) = _bare(hint)
    choices: tuple[Any, ...] = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if choices:
        kind = type(choices[0])
    given = {type(item): item for item in _metadata(hint)}
    titles = given.get(Choices, Choices({})).titles
    return Parameter(
        name,
        kind,
        default,
        default is None,
        choices or tuple(titles),
        given.get(Range, Range()),
        _each(ShownIf, hint),
        text,
        given.get(ModelName),
        none=given.get(NoneMeans, AUTO).word,
        is_list=CommaSeparated in given,
        title=_title(name, hint),
        choice_titles=titles,
        needs_axis=given.get(NeedsAxis, NeedsAxis("")).axis,
        is_advanced=Advanced in given,
        from_model=given.get(FromModel, FromModel("")).field,
    )


Join = Literal["touch", "overlap"]
FixedSettings = Callable[[dict[str, Any]], dict[str, Any]]
PREVIEW_PX = 500_000
"""About a screen; most methods need about a tenth of a second for it."""


@dataclass(frozen=True)
class Redecoding:
    """How a preview follows settings that do not change what a network sees: it looks once, and decodes anew.

    Both callables take all settings of the method as keywords.
    """

    quick: tuple[str, ...]
    """Names of the settings that need no other look."""
    look: Callable[..., Job[Any]]
    """(plane, **settings) -> what the network saw of a whole plane, (Y, X) with its channels."""
    decode: Callable[..., Job[np.ndarray]]
    """(seen, window, step, **settings) -> labels of a window of the plane (slices along y and x), one pixel for every
    `step` pixels along y and x."""


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
    usual : dict of str to float
        Values that parameters which are left open begin with; the preview scales them like those that are given.
    redecoding : Redecoding, optional
        For a network: how a preview follows the settings without another look.
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
    usual: Mapping[str, float] = field(default_factory=dict)
    redecoding: Redecoding | None = None
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
        return parameters.get("output") or self.output

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
