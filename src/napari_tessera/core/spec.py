"""Read a method's inputs and parameters from its signature and docstring.

The classes below are all that an annotation in a signature may use. A parameter's range, unit, default and help are
written only there.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import docstring_parser
import numpy as np

from napari_tessera.core.errors import ParameterError, short

Kind = TypeVar("Kind")
LARGEST_WHOLE = 2**53
"""Up to here floating-point numbers hold integers exactly."""
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, both ends included, and their unit.

    Units "px", "px²" (an area, in 3-D a volume) can be converted to the image's unit; "intensity" depends on the
    image's values.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    step: float | None = None


@dataclass(frozen=True, init=False)
class ShownIf:
    """The parameter has an effect only if another one has one of the given values."""

    parameter: str
    values: tuple[Any, ...]

    def __init__(self, parameter: str, *values: Any) -> None:
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class NoneMeans:
    """What None stands for, in a word for the window and the command line; without it, "auto": found automatically."""

    word: str


AUTO = NoneMeans("auto")


@dataclass(frozen=True)
class CommaSeparated:
    """The text is a list with commas between; in Python, a list or a tuple is taken, too."""


@dataclass(frozen=True)
class ModelName:
    """The text names a model, or is a path to a model file, of a kind of network such as "unet"."""

    kind: str


@dataclass(frozen=True)
class Title:
    """The parameter's title in a form, where its name says too little."""

    text: str


@dataclass(frozen=True)
class Choices:
    """The values of a text, with their titles in a form; of a `Literal`, the titles that its values do not give."""

    titles: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class NeedsAxis:
    """The parameter has no effect on an image without this axis."""

    axis: str


@dataclass(frozen=True)
class Advanced:
    """The parameter is rarely changed: a form does not show it among the first."""


def title_of(name: str) -> str:
    """Turn `min_distance` into "Min distance"."""
    title = name.replace("_", " ").replace("-", " ")
    # A single letter is a symbol of the literature, such as k.
    return title if len(title) == 1 else title[:1].upper() + title[1:]


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


class Role(Enum):
    """What an argument is, if its Python type alone does not tell."""

    IMAGE = "image"
    LABELS = "labels"
    POINTS = "points"
    SPACING = "spacing"
    CHANNEL_AXIS = "channel_axis"


Image = Annotated[np.ndarray, Role.IMAGE]
"""Intensities, (Y, X) or (Z, Y, X), with the channel axis at `channel_axis`."""
Labels = Annotated[np.ndarray, Role.LABELS]
"""Integers, (Y, X) or (Z, Y, X); 0 is background."""
Points = Annotated[np.ndarray, Role.POINTS]
"""Pixel coordinates, (N, 2) as y, x or (N, 3) as z, y, x."""
Spacing = Annotated[tuple[float, ...] | None, Role.SPACING]
"""Size of a pixel along each spatial axis, all in one unit; None means 1. Shapes depend only on the ratios."""
ChannelAxis = Annotated[int | None, Role.CHANNEL_AXIS]
"""Axis of `image` that holds channels, or None for a grey image. RGB is three channels."""
Channel = Annotated[int | None, Range(0, 100), NoneMeans("all"), NeedsAxis("C")]
"""Channel to work on, counted from 0; None takes all together."""
Connectivity = Annotated[int, Range(1, 3), Advanced()]
"""1 joins pixels that share a side (in 3-D, a face), 2 an edge too, 3 a corner too."""
Seed = Annotated[int, Range(0, 2**31 - 1), Advanced()]
"""Seed of random numbers."""
TileSize = Annotated[int | None, Range(32, 8192), Advanced()]
"""Side of the pieces an image is computed in, in pixels of the network; None means as large as suits."""
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Advanced()]
"""Where a network runs."""
SIGMA_TITLE = Title("Smoothing (sigma)")
Table = dict[str, np.ndarray]
"""Columns by name, one row per object in the order of its label; a column "label" is always there."""


class LabelsAndTable(NamedTuple):
    """What a method returns that finds a table beside its labels."""

    labels: np.ndarray
    table: Table


class LabelsClassesAndTable(NamedTuple):
    """What a panoptic method returns: the number of the segment and the class of each pixel, and a table."""

    labels: np.ndarray
    classes: np.ndarray
    table: Table


ARRAYS: Mapping[tuple[str, ...], type] = {kind._fields: kind for kind in (LabelsAndTable, LabelsClassesAndTable)}
"""What is returned by a function of a method's own name that finds more than labels, by the names of its parts."""

CONTEXT = (Role.SPACING, Role.CHANNEL_AXIS)


@dataclass(frozen=True)
class Input:
    """One array that a method takes: an image, labels or points."""

    name: str
    roles: tuple[Role, ...]  # what may be given, in order of preference
    is_optional: bool
    shown_if: tuple[ShownIf, ...]
    help: str

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
            Input(name, roles, argument.default is None, _each(ShownIf, hint), text)
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
        """Names of the arguments that describe the image (`spacing`, `channel_axis`), which the caller supplies."""
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
    def defaults(self) -> dict[str, Any]:
        """Default of each parameter."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def unknown(self, name: str) -> ParameterError:
        """Return the error for an unknown parameter."""
        known = ", ".join(self.defaults)
        return ParameterError(f"{self.name}: there is no parameter `{name}`. It has: {known}.", name)

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


def _each(kind: type[Kind], hint: Any) -> tuple[Kind, ...]:
    """Return the metadata of one kind."""
    return tuple(item for item in _metadata(hint) if isinstance(item, kind))


def _bare(hint: Any) -> list[Any]:
    """Return the types of the hint without annotations and without None."""
    bare: list[Any] = []
    for member in _members(hint):
        bare += _bare(typing.get_args(member)[0]) if typing.get_origin(member) is Annotated else [member]
    return bare


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
        title=given.get(Title, Title(title_of(name))).text,
        choice_titles=titles,
        needs_axis=given.get(NeedsAxis, NeedsAxis("")).axis,
        is_advanced=Advanced in given,
    )
