"""JSON from an unknown source: what would be ambiguous, endless or too deep is refused."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 32
LONGEST_NUMBER = 19
"""Characters of a whole number; 64 bits have no more."""


def parse_json(text: str) -> Any:
    """Parse JSON; keys given twice, endless numbers, NaN and deep nesting are refused with a `ValueError`."""
    value = json.loads(
        text, object_pairs_hook=unique_keys, parse_int=short_int, parse_float=finite_float, parse_constant=finite_float
    )
    if is_deeper(value, DEEPEST):
        raise ValueError("it is nested too deeply")
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of pairs whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it says something twice")
    return found


def short_int(text: str) -> int:
    """Read a whole number of a sensible size."""
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def finite_float(text: str) -> float:
    """Read a number that is neither infinite nor NaN."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds the number {text:.20}")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Say whether lists and dicts are nested in more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(each, levels - 1) for each in inner)


def without_nan(value: Any) -> Any:
    """Copy plain JSON with null in place of NaN and infinity, which JSON cannot say."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
