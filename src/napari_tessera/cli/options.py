"""Command-line options: a method's parameters, and the axes and pixel size of an image."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from napari_tessera.core.errors import InputError, ParameterError, short, visible
from napari_tessera.core.method import Declaration, Input, Method, Parameter
from napari_tessera.core.spatial import LONGEST_UNIT, PIXEL, SPATIAL_AXES, Spatial, check_axes, check_unit
from napari_tessera.core.spec import Role, ShownIf


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the axes, the pixel size and its unit, and the resolution level."""
    group = parser.add_argument_group("the image")
    group.add_argument(
        "--axes", type=axis_letters, help="one letter per axis, such as YX, ZYX, TYX or YXC [default: as the file says]"
    )
    group.add_argument(
        "--spacing", type=pixel_size, nargs="+", action=AtMostThree, metavar="SIZE",
        help="pixel size along z, y, x, or one for all [default: as the file says]",
    )  # fmt: skip
    group.add_argument("--unit", type=unit_text, help="unit of the pixel size, such as µm [default: as the file says]")
    group.add_argument(
        "--resolution-level",
        type=count(0),
        default=0,
        metavar="LEVEL",
        help="level to read; 0 is full size [default: 0]",
    )
    add_file_options(group)


def add_file_options(group: argparse._ActionsContainer) -> None:
    """Add the choice among the images of a file, and the reading of pictures in colour as labels."""
    group.add_argument(
        "--series", type=number_or_name, metavar="NUMBER|NAME",
        help="which image to read of a file with several, by its number from 0 or its name [default: the largest]",
    )  # fmt: skip
    group.add_argument(
        "--number-colors", action="store_true",
        help="label images in colour: give each colour a number; black or the most common one is background",
    )  # fmt: skip


def reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `read_labels` that `add_file_options` and --axes give."""
    return {name: getattr(arguments, name) for name in ("axes", "series", "number_colors")}


class AtMostThree(argparse.Action):
    """Refuses more pixel sizes than there are spatial axes."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the sizes."""
        if values is not None and len(values) > len(SPATIAL_AXES):
            raise argparse.ArgumentError(self, f"{len(values)} sizes are given, but there are at most z, y and x")
        setattr(namespace, self.dest, values)


def axis_letters(text: str) -> str:
    """Return valid axes: letters, each once, with Y and X."""
    try:
        return check_axes(text, (1,) * len(text), np.dtype(np.uint8)).axes
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pixel_size(text: str) -> float:
    """Return a positive number."""
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a pixel size; it must be a positive number")
    return size


def unit_text(text: str) -> str:
    """Return the unit of a pixel size: a length, or "pixel"."""
    if visible(text) != text or len(text) > LONGEST_UNIT:
        raise argparse.ArgumentTypeError(f"{short(text)} is not a unit; it must be a short text, such as µm")
    try:
        check_unit(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def count(smallest: int) -> Callable[[str], int]:
    """Return a converter to a whole number of at least `smallest`."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, {smallest} or more")
        return number

    return convert


def number_or_name(text: str) -> int | str:
    """Return a whole number of at least 0, or a name."""
    return count(0)(text) if text.lstrip("-").isdecimal() or not text else text


def has_no_pixel_size(spatial: Spatial) -> bool:
    """Return whether a file has no pixel size: 1 along each spatial axis, without a unit."""
    return set(spatial.spacing) == {1.0} and spatial.unit == PIXEL


def check_pixel_size_is_known(spatial: Spatial) -> None:
    """Refuse a file without a pixel size along each spatial axis."""
    units = {unit for axis, unit in zip(spatial.axes, spatial.units, strict=True) if axis in SPATIAL_AXES}
    if has_no_pixel_size(spatial) or (PIXEL in units and len(units) > 1):
        raise ParameterError(
            "Sizes are given in the image's unit (--units physical), but its pixel size is not known. "
            "Give --spacing, and --unit to name the unit.",
            "units",
        )


AUTO = "auto"
INTENSITY = "intensity"


def flag(name: str) -> str:
    """Return the option of a parameter or input: "min_size" is --min-size."""
    return "--" + name.replace("_", "-")


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse, and suggest the nearest option for an unknown one."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [text for text in parser.format_help().replace(",", " ").split() if text.startswith("--")]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        parser.error(f"there is no option {unknown[0]!r}." + (f" Did you mean {near[0]}?" if near else ""))
    return arguments


def add_inputs(parser: argparse.ArgumentParser, method: Method) -> None:
    """Add a path for each input after the first."""
    if len(method.inputs) == 1:
        return
    group = parser.add_argument_group("further inputs (a file for all images, or a folder with a file for each)")
    for entry in method.inputs[1:]:
        group.add_argument(
            flag(entry.name),
            metavar="PATH",
            required=not entry.is_optional,
            default=argparse.SUPPRESS,
            help=_escaped(f"{entry.help} {_bracketed(_kinds(entry), *_conditions(entry.shown_if, method))}"),
        )


def add_parameters(parser: argparse.ArgumentParser, method: Method | Declaration) -> None:
    """Add an option for each setting; omitted settings are not in the parsed arguments."""
    group = parser.add_argument_group("settings")
    for parameter in method.parameters:
        default = parameter.none if parameter.default is None else shown(parameter.default)
        said = _bracketed(_allowed(parameter), f"default: {default}", *_conditions(parameter.shown_if, method))
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _escaped(f"{parameter.help} {said}")}
        if parameter.kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            metavar = parameter.name.upper() if parameter.model is None else "NAME|PATH"
            options |= {"type": _converter(parameter), "metavar": metavar}
        group.add_argument(flag(parameter.name), **options)


def sources(method: Method) -> str:
    """Return the references in the method's docstring."""
    found = [entry.description or "" for entry in method.declaration.docstring.meta if entry.args == ["references"]]
    return " " + _escaped(f"Sources: {' '.join(' '.join(found).split())}") if found else ""


def given_parameters(arguments: argparse.Namespace, method: Method | Declaration) -> dict[str, Any]:
    """Return the settings that were written on the command line."""
    found = vars(arguments)
    return {parameter.name: found[parameter.name] for parameter in method.parameters if parameter.name in found}


def without_effect(method: Method, given: Mapping[str, Any]) -> list[str]:
    """Return which given settings and inputs have no effect with the others."""
    values = {**method.declaration.defaults, **given, **method.implied(given)}
    entries: list[Parameter | Input] = [*method.parameters, *method.inputs[1:]]
    return [
        f"{flag(entry.name)} has no effect: it is used {_conditions(entry.shown_if, method)[0]}."
        for entry in entries
        if entry.name in given and not entry.matters(values)
    ]


def shown(value: Any) -> str:
    """Format a default as it would be typed."""
    if value is None:
        return AUTO
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(parameter: Parameter) -> str:
    if parameter.kind is bool:
        return ""
    if parameter.choices:
        return ", ".join(shown(choice) for choice in parameter.choices)
    if parameter.kind is str:
        return ""
    said = parameter.describe_range()
    return f"{said} ({INTENSITY})" if parameter.range.unit == INTENSITY else said


def _conditions(rules: tuple[ShownIf, ...], method: Method | Declaration) -> list[str]:
    """Return when a setting has an effect, by the shorter of two lists: with these values, or not with those."""
    choices = {parameter.name: parameter.choices for parameter in method.parameters}
    said = []
    for rule in rules:
        others = [choice for choice in choices.get(rule.parameter, ()) if choice not in rule.values]
        is_shorter = 0 < len(others) < len(rule.values)
        typed = [_typed(rule.parameter, value) for value in (others if is_shorter else rule.values)]
        said.append(f"{'not' if is_shorter else 'only'} with {' or '.join(typed)}")
    return said


def _typed(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return flag(name) if value else flag(f"no_{name}")
    return f"{flag(name)} {shown(value)}"


def _kinds(entry: Input) -> str:
    words = {Role.IMAGE: "image", Role.LABELS: "label image", Role.POINTS: "points as CSV"}
    return " or ".join(words[role] for role in entry.roles)


def _bracketed(*parts: str) -> str:
    return f"[{'; '.join(part for part in parts if part)}]"


def _escaped(text: str) -> str:
    return text.strip().replace("%", "%%")


def _converter(parameter: Parameter) -> Callable[[str], Any]:
    """Return a converter of typed text; the range is checked later, when units are known."""

    def convert(text: str) -> Any:
        if parameter.is_optional and text.lower() == parameter.none:
            return None
        return text if parameter.kind is str else _number(text)

    return convert


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
