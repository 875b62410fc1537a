"""In words: what a method worked with where the settings left it open."""

from __future__ import annotations

from typing import Any

from napari_tessera.measure import SHORT_UNITS
from napari_tessera.result import Result
from napari_tessera.spatial import PIXEL

MOST_TOLD = 3
"""Values that are told one by one; of more, the smallest and the largest."""


def chosen_in_words(result: Result) -> str:
    """Say what came out where the settings left it open, in a sentence; empty if nothing did.

    Examples
    --------
    >>> chosen_in_words(Result((), {"chosen": {"levels": [112.0]}}))
    'Level: 112.'
    >>> chosen_in_words(Result((), {"chosen": {"diameter_px": [27.31, 30.0, 29.0, 28.0]}}))
    'Diameter: 27.3 to 30 px.'
    >>> chosen_in_words(Result((), {"chosen": {"diameter_px": 27.31}, "spacing": [0.5, 0.5], "unit": "micrometer"}))
    'Diameter: 27.3 px (13.7 µm).'
    """
    chosen = result.provenance.get("chosen", {})
    said = []
    if "levels" in chosen:
        said.append(_levels(chosen["levels"]))
    if "diameter_px" in chosen:
        said.append(_diameter(chosen["diameter_px"], result.provenance))
    return " ".join(each for each in said if each)


def _levels(levels: Any) -> str:
    frames = levels if levels and isinstance(levels[0], list) else [levels]
    counts = {len(each) for each in frames}
    if not counts - {0}:
        return ""
    name = "Level" if max(counts) == 1 else "Levels"
    if len(frames) == 1:
        return f"{name}: {', '.join(map(_number, frames[0]))}."
    return f"{name}: {_several([level for each in frames for level in each])}."


def _diameter(diameters: Any, record: Any) -> str:
    values = diameters if isinstance(diameters, list) else [diameters]
    values = [value for value in values if value is not None]
    if not values:
        return ""
    plain = f"Diameter: {_several(values)} px"
    spacing, unit = record.get("spacing"), record.get("unit", PIXEL)
    if not spacing or unit == PIXEL:
        return f"{plain}."
    return f"{plain} ({_several([value * spacing[-1] for value in values])} {SHORT_UNITS.get(unit, unit)})."


def _several(values: list[float]) -> str:
    different = sorted(set(values))
    if len(different) <= MOST_TOLD:
        return ", ".join(map(_number, different))
    return f"{_number(different[0])} to {_number(different[-1])}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
