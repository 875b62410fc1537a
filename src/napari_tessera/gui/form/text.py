"""Display text: titles of settings and choices, units, summaries of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_tessera.core.method import Method
from napari_tessera.core.result import Result
from napari_tessera.core.spec import Parameter
from napari_tessera.engine.frame_stack import describe_auto_values

PROPER = {
    "cielab": "CIELAB",
    "gaussian": "Gaussian",
    "iou": "IoU",
    "isodata": "Isodata",
    "kmeans": "K-means",
    "li": "Li",
    "multi-otsu": "Multi-Otsu",
    "niblack": "Niblack",
    "otsu": "Otsu",
    "rcnn": "R-CNN",
    "rgb": "RGB",
    "sauvola": "Sauvola",
    "unet": "U-Net",
    "yen": "Yen",
}
"""Words with a fixed spelling."""

WORDS = {"objects": ("object", "objects"), "segments": ("segment", "segments"), "classes": ("class", "classes")}
AUTOMATIC = "auto"
NO_LAYER = "(none)"
SHORTEST_TOLD_SECONDS = 0.1


FULLER = {"n_clusters": "Clusters", "sigma": "Smoothing (sigma)"}
"""Titles of settings whose name is not clear enough in a form."""


def title_of(name: str) -> str:
    """Turn `min_distance` into "Min distance"."""
    if name in FULLER:
        return FULLER[name]
    words = [PROPER.get(word, word) for word in name.replace("_", " ").split()]
    title = " ".join(words)
    # A single letter is a symbol from the literature, such as k.
    return title if len(title) == 1 else title[:1].upper() + title[1:]


CHOICES = {"combined": "Cross-entropy and Dice", "weighted-ce": "Weighted cross-entropy"}
"""Titles of choices whose name is not clear enough in a form."""


def choice_title(value: Any) -> str:
    """Turn a choice such as "local-mean" into its title, "Local mean"."""
    if not isinstance(value, str):
        return str(value)
    if value in CHOICES:
        return CHOICES[value]
    return PROPER[value] if value in PROPER else title_of(value.replace("-", "_"))


def unit_suffix(parameter: Parameter, unit: str, ndim: int) -> str:
    """Return the suffix of a number: " px", " µm", " µm²", " px³", or an empty text.

    Parameters
    ----------
    parameter : Parameter
    unit : str
        Unit of lengths: "px" or that of the layer.
    ndim : int
        2 or 3; areas become volumes in 3-D.
    """
    if parameter.range.unit == "px²":
        return f" {unit}{'³' if ndim == 3 else '²'}"
    if parameter.range.unit == "px":
        return f" {unit}"
    return "" if parameter.range.unit in ("", "intensity") else f" {parameter.range.unit}"


def tooltip(text: str) -> str:
    """Wrap a help text as rich text, so that Qt breaks its lines."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace("``", "").replace("`", "")
    return f"<qt>{plain}</qt>" if plain else ""


def as_last_time(method: Method, values: Mapping[str, Any]) -> str:
    """Return a sentence with the visible settings that differ from their defaults; empty if all are defaults."""
    changed = [
        f"{title_of(each.name)} {shown(values[each.name])}"
        for each in method.parameters
        if each.matters(values) and values[each.name] != each.default
    ]
    return f"From last time, not the defaults: {', '.join(changed)}." if changed else ""


def shown(value: Any) -> str:
    """Return a value as the form shows it.

    Examples
    --------
    >>> shown(18.0), shown("local-mean"), shown(True), shown(None)
    ('18', 'Local mean', 'on', 'auto')
    """
    if value is None:
        return AUTOMATIC
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else choice_title(value)


def summary_of(result: Result) -> str:
    """Return a summary of a result: what was found, the time, the automatic values."""
    chosen = describe_auto_values(result)
    return f"{_found_in_words(result)} {chosen}".rstrip()


def _found_in_words(result: Result) -> str:
    image = result.images[0]
    seconds = result.provenance["seconds"]
    took = f"{seconds:.1f} s" if seconds >= SHORTEST_TOLD_SECONDS else "less than 0.1 s"
    if image.kind == "probabilities":
        return f"Probabilities of {', '.join(each.name for each in result.images)} in {took}."
    if image.kind == "segments" and image.table:
        is_thing = image.table["kind"] == "thing"
        n_things, n_stuff = int(is_thing.sum()), len(set(image.table["class"][~is_thing]))
        what = "1 thing" if n_things == 1 else f"{n_things} things"
        return f"{what} on {n_stuff} kind{'' if n_stuff == 1 else 's'} of stuff in {took}."
    # A class of a time series has a row in each frame.
    count = len(set(image.table["label"].tolist())) if image.table else int(image.data.max())
    singular, plural = WORDS[image.kind]
    return f"{count} {singular if count == 1 else plural} in {took}."
