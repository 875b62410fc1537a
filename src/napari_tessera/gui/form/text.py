"""Display text: titles of settings and choices, units, summaries of results."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from napari_tessera.core.method import Method, Parameter
from napari_tessera.core.result import Result, count_in_words, describe_auto_values

NO_LAYER = "(none)"
SHORTEST_TOLD_SECONDS = 0.1


def unit_suffix(parameter: Parameter, unit: str, ndim: int) -> str:
    """Return the suffix of a number, such as " px" or " µm²", if lengths are in `unit`; areas become volumes in 3-D."""
    if parameter.range.unit == "px²":
        return f" {unit}{'³' if ndim == 3 else '²'}"
    if parameter.range.unit == "px":
        return f" {unit}"
    return "" if parameter.range.unit in ("", "intensity") else f" {parameter.range.unit}"


def tooltip(text: str, titles: Mapping[str, str] | None = None) -> str:
    """Wrap a help text as rich text, so that Qt breaks its lines; names that have titles are replaced by them."""
    plain = (
        re.sub("`([^`]+)`", lambda name: (titles or {}).get(name[1], name[1]), text)
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace("``", "")
        .replace("`", "")
    )
    first, rest = split_help(plain)
    return f"<qt>{first}{MORE + rest if rest else ''}</qt>" if plain else ""


MORE = "<br><br>"
"""Between the first sentence of a help text and its details."""
CLICK_FOR_MORE = "<br><i>Click its title for more.</i>"


def split_help(text: str) -> tuple[str, str]:
    """Part a text into its first sentence and its details.

    Examples
    --------
    >>> split_help("Smallest size, in pixels. 0 means no limit. See below.")
    ('Smallest size, in pixels.', '0 means no limit. See below.')
    """
    first, *rest = re.split(r"(?<=[.?!])\s+(?=[A-Z0-9\"“‘])", text.strip(), maxsplit=1)
    return first, "".join(rest)


def brief(text: str) -> str:
    """Return the first sentence of a tooltip, and how to read its details."""
    first, _, rest = text.partition(MORE)
    return f"{first}{CLICK_FOR_MORE}</qt>" if rest else text


def in_titles(text: str, titles: Mapping[str, str], size: Callable[[str, float], str]) -> str:
    """Write names of the code, such as `min_size`, as the form does; names that it does not show lose their quotes.

    A size that a field is to be set to, as in "`min_size` to 30 px", is written by `size`, of the name and the pixels.
    """
    text = re.sub("`([^`]+)` to ([0-9.]*[0-9]) px", lambda to: f"`{to[1]}` to {size(to[1], float(to[2]))}", text)
    return re.sub("`([^`]+)`", lambda name: titles.get(name[1], name[1]), text)


def as_last_time(method: Method, values: Mapping[str, Any]) -> str:
    """Return a sentence with the visible settings that differ from their defaults; empty if all are defaults."""
    changed = ", ".join(f"{each.title} {shown(each, values[each.name])}" for each in changed_parameters(method, values))
    return f"From last time, not the defaults: {changed}." if changed else ""


def changed_parameters(method: Method, values: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters that have an effect and differ from their default."""
    return [each for each in method.parameters if each.matters(values) and values[each.name] != each.default]


def shown(parameter: Parameter, value: Any) -> str:
    """Write a value as the form shows it: "18", "Local mean", "on", "auto"."""
    if value is None:
        return parameter.none
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else parameter.choice_title(value)


def summary_of(result: Result, seconds: float) -> str:
    """Return a summary of a result: what was found, the seconds that the user waited, the automatic values."""
    return f"{_found_in_words(result, time_taken(seconds))} {describe_auto_values(result)}".rstrip()


def time_taken(seconds: float) -> str:
    """Return a time as text."""
    return f"{seconds:.1f} s" if seconds >= SHORTEST_TOLD_SECONDS else "less than 0.1 s"


def _found_in_words(result: Result, took: str) -> str:
    image = result.images[0]
    if image.kind == "probabilities":
        return f"Probabilities of {', '.join(each.name for each in result.images)} in {took}."
    if image.kind == "segments" and image.table:
        is_thing = image.table["kind"] == "thing"
        n_things, n_stuff = int(is_thing.sum()), len(set(image.table["class"][~is_thing]))
        what = "1 object (thing)" if n_things == 1 else f"{n_things} objects (things)"
        return f"{what} on {n_stuff} kind{'' if n_stuff == 1 else 's'} of region (stuff) in {took}."
    # A class of a time series has a row in each frame.
    count = len(set(image.table["label"].tolist())) if image.table else int(image.data.max())
    return f"{count_in_words(count, image.kind)} in {took}."
